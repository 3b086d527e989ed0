// Command estate scans an estate of fifty hosts and says what was found, what
// was missed and what was invented. It makes a network namespace of its own,
// starts more than ten third-party servers and some small ones there, each at an
// address of its own, runs `sallyport discover` over the range, and compares
// the report with what each host is known to offer. Nothing outside of the
// namespace is asked; every process it starts is ended by its id.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/discovery/probe"
)

// A host is one address with what is to be found there.
type host struct {
	product string   // what it is; "own" for handlers of this program
	want    []string // kinds
	admin   string   // a route that is linked nowhere
	start   func(at, dir string) error
}

var started []*exec.Cmd

// spawn starts a server and waits until port answers.
func spawn(at string, port int, dir, name string, args ...string) error {
	out, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
	if err != nil {
		return err
	}
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr, c.Dir = out, out, dir
	c.Env = append(os.Environ(), "HOME="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	started = append(started, c)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if x, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", at, port), time.Second); err == nil {
			x.Close()
			return nil
		}
	}
	return fmt.Errorf("%s does not answer at %s:%d; %s", name, at, port, out.Name())
}

func file(dir, name, text string) string {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
	return path
}

func main() {
	sallyport := flag.String("sallyport", "bin/sallyport", "the binary to scan with")
	inside := flag.Bool("inside", false, "the namespace has been made")
	flag.Parse()
	log.SetFlags(0)
	if !*inside {
		self, err := os.Executable()
		if err != nil {
			log.Fatal(err)
		}
		bin, err := filepath.Abs(*sallyport)
		if err != nil {
			log.Fatal(err)
		}
		c := exec.Command(self, "-inside", "-sallyport", bin)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if err := c.Run(); err != nil {
			log.Fatal(err)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		log.Fatalf("bring loopback up: %v %s", err, out)
	}
	code := run(*sallyport)
	for _, c := range started {
		c.Process.Kill()
		c.Wait()
	}
	os.Exit(code)
}

func run(sallyport string) int {
	root, err := os.MkdirTemp("", "estate")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	os.Chmod(root, 0o755)
	hosts := estate()
	products := map[string]bool{}
	own := 0
	for i, h := range hosts {
		at := fmt.Sprintf("127.20.0.%d", i+1)
		dir := filepath.Join(root, fmt.Sprint(i+1))
		if out, err := exec.Command("ip", "addr", "add", at+"/32", "dev", "lo").CombinedOutput(); err != nil {
			log.Printf("give loopback the address %s: %v %s", at, err, out)
			return 1
		}
		os.MkdirAll(dir, 0o777)
		os.Chmod(dir, 0o777)
		if err := h.start(at, dir); err != nil {
			b, _ := exec.Command("sh", "-c", "tail -n 5 "+dir+"/*.log").CombinedOutput()
			log.Printf("%s: %v\n%s", h.product, err, b)
			return 1
		}
		if h.product == "own" {
			own++
		} else {
			products[h.product] = true
		}
	}
	fmt.Printf("%d hosts: %d of %d third-party products, %d of handlers of our own\n", len(hosts), len(hosts)-own, len(products), own)
	began := time.Now()
	c := exec.Command(sallyport, "discover", "127.20.0.0/26", "--json", "--rate", "4000", "--timeout", "2s")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		log.Print("discover: ", err)
		return 1
	}
	took := time.Since(began)
	memory := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	var r probe.Report
	if err := json.Unmarshal(out, &r); err != nil {
		log.Print(err)
		return 1
	}
	return compare(hosts, &r, took, memory)
}

func compare(hosts []host, r *probe.Report, took time.Duration, memory int64) int {
	wanted, found, missed, invented, admins, adminsFound := 0, 0, 0, 0, 0, 0
	kinds := map[string]bool{}
	fmt.Printf("%-13s %-22s %-34s %s\n", "host", "product", "found", "")
	for i, h := range hosts {
		at := fmt.Sprintf("127.20.0.%d", i+1)
		var got []string
		admin := false
		for _, a := range r.APIs {
			if addr, _, _ := net.SplitHostPort(a.Address); addr != at {
				continue
			}
			got = append(got, string(a.Kind))
			for _, o := range a.Operations {
				admin = admin || h.admin != "" && o.Template == h.admin && o.Status != 0
			}
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(h.want))
		rest := slices.Clone(got)
		note := ""
		for _, w := range want {
			wanted++
			kinds[w] = true
			if j := slices.Index(rest, w); j >= 0 {
				rest = slices.Delete(rest, j, j+1)
				found++
			} else {
				missed++
				note += " MISSED " + w
			}
		}
		for _, g := range rest {
			invented++
			note += " INVENTED " + g
		}
		if h.admin != "" {
			admins++
			if admin {
				adminsFound++
				note += " " + h.admin
			} else {
				note += " MISSED " + h.admin
			}
		}
		fmt.Printf("%-13s %-22s %-34s%s\n", at, h.product, strings.Join(got, " "), note)
	}
	for _, a := range r.APIs { // at addresses where nothing listens
		var last int
		if addr, _, _ := net.SplitHostPort(a.Address); addr != "" {
			fmt.Sscanf(addr, "127.20.0.%d", &last)
		}
		if last < 1 || last > len(hosts) {
			invented++
		}
	}
	fmt.Printf("\n%d APIs of %d kinds: %d found, %d missed, %d invented · hidden administration routes: %d of %d · %d findings · %d requests in %s · %d MiB at most\n",
		wanted, len(kinds), found, missed, invented, adminsFound, admins, len(r.Findings), r.Requests, took.Round(time.Second), memory)
	if missed+invented > 0 || adminsFound < admins || memory > 512 {
		return 1
	}
	return 0
}
