// Package door runs a sallyport process for the lab: in front of a small
// upstream on loopback, guarded by the bench's specification, with everything
// embedded. In come a binary and a folder; out come addresses, a token, and the
// process to measure, interrupt or kill. It never leaves loopback.
package door

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/test/lab/issuer"
)

// A Door is the surroundings of one sallyport; Start may be called again after
// the process has ended.
type Door struct {
	Binary, Dir      string
	Gateway, Console string // host:port
	Token            string
	Cmd              *exec.Cmd

	ended chan error
}

// Host is the API's host name.
const Host = "shop.example.test"

// New makes the folder, the upstream, the issuer and the configuration.
func New(ctx context.Context, binary, dir, specification string) (*Door, error) {
	var err error
	d := &Door{Gateway: free(), Console: free()}
	if d.Binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	if d.Dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if specification, err = filepath.Abs(specification); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	upstream, err := serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	}))
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	iss, err := issuer.New("http://"+ln.Addr().String(), "shop", []issuer.Client{{ID: "mobile", Secret: "unused", Subject: "u-8412", Scopes: []string{"items"}}})
	if err != nil {
		return nil, err
	}
	iss.Life = 12 * time.Hour
	srv := &http.Server{Handler: iss, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	if d.Token, err = iss.Token("mobile", "ES256", nil); err != nil {
		return nil, err
	}
	return d, os.WriteFile(filepath.Join(d.Dir, "sallyport.yaml"), []byte(fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:master.key
log: warn
apis:
  - name: shop
    spec: %s
    match: {host: %s}
    upstreams: [{url: "http://%s"}]
    auth: {oidc: {issuer: "%s", audience: shop}}
    mode: enforce
`, d.Gateway, d.Console, specification, Host, upstream, iss.URL)), 0o600)
}

// Data is the data directory.
func (d *Door) Data() string { return filepath.Join(d.Dir, "data") }

// KeyFile is where the master key is.
func (d *Door) KeyFile() string { return filepath.Join(d.Dir, "master.key") }

func free() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func serve(ctx context.Context, h http.Handler) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	return ln.Addr().String(), nil
}

// Start starts the process and waits for its first allowed answer.
func (d *Door) Start(ctx context.Context) (took time.Duration, err error) {
	log, err := os.OpenFile(filepath.Join(d.Dir, "sallyport.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	began := time.Now()
	d.Cmd = exec.Command(d.Binary, "run", "--config", filepath.Join(d.Dir, "sallyport.yaml"))
	d.Cmd.Stdout, d.Cmd.Stderr = log, log
	d.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := d.Cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	d.ended = ended
	go func() { ended <- d.Cmd.Wait() }()
	for {
		if res, err := http.DefaultClient.Do(d.Request(ctx)); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		select {
		case err := <-ended:
			ended <- err
			return 0, fmt.Errorf("sallyport ended: %v; see %s", err, log.Name())
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(began) > 60*time.Second {
			return 0, fmt.Errorf("no allowed answer within a minute; see %s", log.Name())
		}
	}
}

// Request is one allowed GET.
func (d *Door) Request(ctx context.Context) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.Gateway+"/v1/items/1234?limit=20&sort=name&q=blue%20jacket", nil)
	if err != nil {
		panic(err) // the address is our own
	}
	req.Host = Host
	req.Header.Set("Authorization", "Bearer "+d.Token)
	return req
}

// Kill ends the process at once, as a power cut would; Stop asks it to end.
func (d *Door) Kill() {
	d.Cmd.Process.Kill()
	<-d.ended
}

// Stop asks the process to end and waits.
func (d *Door) Stop() error {
	d.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.ended:
		return err
	case <-time.After(60 * time.Second):
		d.Kill()
		return fmt.Errorf("sallyport did not end within a minute")
	}
}

// Metric reads one value of /metrics.
func (d *Door) Metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.Console+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// Process reads resident memory (MiB) and open descriptors.
func (d *Door) Process() (residentMiB float64, descriptors int) {
	pid := d.Cmd.Process.Pid
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
		if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			residentMiB = kb / 1024
		}
	}
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return residentMiB, len(list)
}
