// Package proxies starts the proxies that ask at our doors, for tests and labs:
// Debian's nginx, HAProxy, Caddy and Squid, each by the configuration that
// examples/doors has for it. In come a folder and what is to be written otherwise
// in that configuration, such as ports; out comes a running process, which ends
// with the one that started it. It installs nothing.
package proxies

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A Product is how a proxy is run.
type Product struct {
	Name    string
	files   []string
	command []string
}

// Products are those that can be started, by name.
var Products = map[string]Product{
	"nginx":   {"nginx", []string{"nginx.conf", "sallyport-ask.conf", "sallyport-upstream.conf", "sallyport.js"}, []string{"/usr/sbin/nginx", "-p", ".", "-c", "nginx.conf"}},
	"haproxy": {"haproxy", []string{"haproxy.cfg", "spoe.conf"}, []string{"/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"}},
	"caddy":   {"caddy", []string{"Caddyfile"}, []string{"/usr/bin/caddy", "run", "--config", "Caddyfile"}},
	"squid":   {"squid", []string{"squid.conf"}, []string{"/usr/sbin/squid", "-N", "-f", "squid.conf"}},
}

// examples is the folder with the configurations.
func examples() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../../examples/doors")
}

// A Process is a running proxy.
type Process struct {
	Cmd  *exec.Cmd
	Dir  string
	done chan struct{}
}

// Start runs a product in a folder of its own below dir, and waits until each
// address of ready takes connections.
func Start(product, dir string, edit *strings.Replacer, ready ...string) (*Process, error) {
	p, ok := Products[product]
	if !ok {
		return nil, fmt.Errorf("no proxy is called %s", product)
	}
	dir = filepath.Join(dir, product)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) { // workers have users of their own
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o005 != 0o005 {
			os.Chmod(d, info.Mode().Perm()|0o055)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	for _, name := range p.files {
		b, err := os.ReadFile(filepath.Join(examples(), name))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(edit.Replace(string(b))), 0o644); err != nil {
			return nil, err
		}
	}
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := exec.Command(p.command[0], p.command[1:]...)
	c.Dir, c.Stdout, c.Stderr = dir, out, out
	c.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // Pdeathsig is of the thread
	err = c.Start()
	runtime.UnlockOSThread()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w (test/setup.sh installs it)", product, err)
	}
	r := &Process{c, dir, make(chan struct{})}
	go func() { c.Wait(); close(r.done) }()
	for _, addr := range ready {
		if err := r.wait(addr); err != nil {
			said, _ := os.ReadFile(filepath.Join(dir, "output"))
			r.Stop()
			return nil, fmt.Errorf("%s: %w; it said\n%s", product, err, said)
		}
	}
	return r, nil
}

func (p *Process) wait(addr string) error {
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.done:
			return errors.New("it ended")
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return nil
		}
	}
	return errors.New("nobody listens at " + addr)
}

// Stop ends it and waits for its end.
func (p *Process) Stop() {
	p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		p.Cmd.Process.Kill()
		<-p.done
	}
}
