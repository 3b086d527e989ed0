package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/test/integration/postgres"
	"sallyport.dev/test/lab/issuer"
)

// The tests run the real command in processes of its own: the test binary
// stands in for it when this variable is set.
const asCommand = "SALLYPORT_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// A process is a running `sallyport run`.
type process struct {
	t                *testing.T
	cmd              *exec.Cmd
	gateway, console string // host:port
	dir              string

	mu    sync.Mutex
	lines bytes.Buffer
	done  chan error
}

// freeAddr is an address on loopback at which nobody listens. It lies below the
// ports that the system gives to outgoing connections, which other tests make
// at the same time, and is not given twice by one process.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+(os.Getpid()*61+int(portCount.Add(1)))%12000)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		ln.Close()
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

var portCount atomic.Int64

// launch starts the command without waiting for it to be ready.
func launch(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, done: make(chan error, 1)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(self, "run", "--config", filepath.Join(dir, "sallyport.yaml"))
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.lines, s.Text())
			p.mu.Unlock()
		}
	}()
	go func() { err := p.cmd.Wait(); w.Close(); p.done <- err }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines.String()
}

// wait waits until the output matches and gives the submatches.
func (p *process) wait(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if m := re.FindStringSubmatch(p.output()); m != nil {
			return m
		}
		select {
		case err := <-p.done:
			p.done <- err
			time.Sleep(50 * time.Millisecond)
			if m := re.FindStringSubmatch(p.output()); m != nil {
				return m
			}
			p.t.Fatalf("the process ended (%v) and never said %q; it said\n%s", err, pattern, p.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.t.Fatalf("never said %q; it said\n%s", pattern, p.output())
	return nil
}

// stop interrupts the process and waits for its end.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			p.t.Fatalf("ended with %v; it said\n%s", err, p.output())
		}
	case <-time.After(45 * time.Second):
		p.t.Fatalf("did not end within 45 s; it said\n%s", p.output())
	}
}

// exit waits for the process to end by itself and gives its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		p.t.Fatalf("did not end by itself; it said\n%s", p.output())
	}
	return -1
}

// A site is everything around a process: upstream, issuer, folder.
type site struct {
	dir, gateway, console string
	upstream              *httptest.Server
	issuer                *issuer.Issuer
	asked                 atomic.Int64 // requests that reached the upstream
}

const petsSpec = "../../examples/first-api/petstore.openapi.yaml"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), gateway: freeAddr(t), console: freeAddr(t)}
	s.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/pets/666":
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"error":"no ark","stack":"\tat com.example.Ark.find(Ark.java:40)"}`)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"id":7,"name":"Tom","kind":"cat"}`)
		case r.URL.Path == "/pets":
			io.WriteString(w, `[{"id":7,"name":"Tom","kind":"cat"}]`)
		default:
			io.WriteString(w, `{"id":7,"name":"Tom","kind":"cat"}`)
		}
	}))
	t.Cleanup(s.upstream.Close)
	srv := httptest.NewUnstartedServer(nil)
	iss, err := issuer.New("http://"+srv.Listener.Addr().String(), "pets", []issuer.Client{{ID: "app", Secret: "s", Subject: "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = iss
	srv.Start()
	t.Cleanup(srv.Close)
	s.issuer = iss
	spec, err := os.ReadFile(petsSpec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "pets.yaml"), string(spec))
	s.configure(t, "")
	return s
}

func (s *site) configure(t *testing.T, more string) {
	t.Helper()
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
%s
apis:
  - name: pets
    spec: pets.yaml
    match: {host: pets.example.test}
    upstreams: [{url: "%s"}]
    owner: {team: Pets, contact: pets@example.test}
    mode: enforce
    shadow: refuse
    auth: {oidc: {issuer: "%s", audience: pets}, anonymous: never}
`, s.gateway, s.console, more, s.upstream.URL, s.issuer.URL))
}

func (s *site) start(t *testing.T) *process {
	t.Helper()
	p := launch(t, s.dir)
	p.gateway, p.console = s.gateway, s.console
	p.wait(`(?m)^console `)
	return p
}

// ask sends one request with a good token to the gateway.
func (s *site) ask(t *testing.T, method, target, body string) (status int, id string, answer []byte) {
	t.Helper()
	token, err := s.issuer.Token("app", "ES256", nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.gateway+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "pets.example.test"
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("X-Request-Id"), b
}

// A desk is a signed-in administrator.
type desk struct {
	t    *testing.T
	base string
	http http.Client
}

func (p *process) signIn(token, password string) *desk {
	p.t.Helper()
	jar, _ := cookiejar.New(nil)
	d := &desk{p.t, "http://" + p.console + "/api/v1", http.Client{Jar: jar, Timeout: 15 * time.Second}}
	if token != "" {
		d.do(http.MethodPost, "/setup", map[string]string{"token": token, "name": "root", "password": password}, http.StatusCreated, nil)
	} else {
		d.do(http.MethodPost, "/session", map[string]string{"name": "root", "password": password}, http.StatusCreated, nil)
	}
	return d
}

func (d *desk) do(method, path string, in any, want int, out any) {
	d.t.Helper()
	var body io.Reader
	if in != nil {
		b, _ := json.Marshal(in)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.base+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != want {
		d.t.Fatalf("%s %s: %d, want %d: %s", method, path, res.StatusCode, want, b)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			d.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
}

// eventually repeats f until it gives "" or the time is up.
func eventually(t *testing.T, within time.Duration, f func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		why := f()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(why)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

const password = "tortoise-granite-4711"

func TestFromRequestToInventory(t *testing.T) {
	s := newSite(t)
	p := s.start(t)
	setup := p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1]

	if status, _, body := s.ask(t, "GET", "/pets?limit=5", ""); status != 200 || !strings.Contains(string(body), "Tom") {
		t.Fatalf("an allowed request: %d %s", status, body)
	}
	status, id, body := s.ask(t, "POST", "/pets", `{"name":"x' OR '1'='1' UNION SELECT login, secret FROM accounts --","kind":"cat"}`)
	if status != 403 || !strings.Contains(string(body), id) || strings.Contains(string(body), "sql") {
		t.Fatalf("an injection: %d %s (request %s)", status, body, id)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d requests reached the upstream, want 1", n)
	}

	d := p.signIn(setup, password)
	eventually(t, 3*time.Second, func() string {
		var page struct {
			Operations []struct {
				Template string
				Counts   struct{ Requests int }
			}
		}
		var raw json.RawMessage
		d.do("GET", "/operations?api=pets", nil, 200, &raw)
		json.Unmarshal(raw, &page)
		if !strings.Contains(string(raw), `"/pets"`) || !strings.Contains(string(raw), `"/pets/{id}"`) {
			return "the operations are not listed: " + string(raw)
		}
		return ""
	})
	eventually(t, 3*time.Second, func() string {
		res, err := d.http.Get(d.base + "/decisions/" + id)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !strings.Contains(string(b), "sqli") || !strings.Contains(string(b), "/name") {
			return fmt.Sprintf("the decision of the refused request: %d %s", res.StatusCode, b)
		}
		if strings.Contains(string(b), "UNION") {
			return "the decision holds the value: " + string(b)
		}
		return ""
	})
	var overview json.RawMessage
	d.do("GET", "/overview", nil, 200, &overview)
	if !strings.Contains(string(overview), "no gate configured") {
		t.Errorf("the overview does not say why the instance is admitted: %s", overview)
	}
	p.stop()

	// Started again, it does nothing twice and has forgotten nothing.
	p = s.start(t)
	if strings.Contains(p.output(), "/setup#") {
		t.Error("a setup link although there is an administrator")
	}
	d = p.signIn("", password)
	d.do("GET", "/decisions/"+id, nil, 200, nil)
	p.stop()
	if out := p.output(); strings.Contains(out, "level=ERROR") {
		t.Errorf("errors in the log:\n%s", out)
	}
}

// What an upstream gives away reaches nobody but the administrator who opens it.
func TestErrorsAreSilentAndSealed(t *testing.T) {
	s := newSite(t)
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	status, id, body := s.ask(t, "GET", "/pets/666", "")
	if status != 500 || !strings.Contains(string(body), id) || strings.Contains(string(body), "Ark") {
		t.Fatalf("a failing upstream: %d %s", status, body)
	}
	var detail struct {
		Original bool
		Decision struct {
			Action  string
			Reasons []struct{ Stage, Rule, Class string }
		}
	}
	eventually(t, 10*time.Second, func() string {
		res, err := d.http.Get(d.base + "/decisions/" + id)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if json.Unmarshal(b, &detail) != nil || !detail.Original || strings.Contains(string(b), "Ark.java") {
			return fmt.Sprintf("the decision: %d %s", res.StatusCode, b)
		}
		return ""
	})
	reasons := fmt.Sprint(detail.Decision.Reasons)
	if detail.Decision.Action != "allow" || !strings.Contains(reasons, "{rewrite error.server }") || !strings.Contains(reasons, "{rewrite leak.stack-trace java}") {
		t.Errorf("the decision: %+v", detail.Decision)
	}
	var original struct{ Body string }
	d.do("POST", "/decisions/"+id+"/original", nil, 200, &original)
	if !strings.Contains(original.Body, "Ark.java:40") {
		t.Errorf("the original: %+v", original)
	}
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a journal may go while we look
		}
		if b, _ := os.ReadFile(path); strings.Contains(string(b), "Ark.java") {
			t.Errorf("%s holds the original in plain", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestChangesAreTakenOverOrRefusedWhole(t *testing.T) {
	s := newSite(t)
	p := s.start(t)
	first := p.wait(`program ([0-9a-f]{12})`)[1]

	// Under load from here on: no request may be dropped by a change.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var failed atomic.Pointer[string]
	token, _ := s.issuer.Token("app", "ES256", nil)
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequest("GET", "http://"+s.gateway+"/pets/7", nil)
				req.Host = "pets.example.test"
				req.Header.Set("Authorization", "Bearer "+token)
				res, err := http.DefaultClient.Do(req)
				if err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if err != nil || res.StatusCode != 200 {
					text := fmt.Sprint(err, res)
					failed.Store(&text)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	spec := filepath.Join(s.dir, "pets.yaml")
	good, _ := os.ReadFile(spec)
	write(t, spec, "openapi: 3.1.0\npaths: {/pets: {get: ")
	p.wait(`change refused \(pets.yaml was saved\); program ` + first + ` stays in force`)
	write(t, spec, strings.Replace(string(good), "maximum: 100", "maximum: 10", 1))
	second := p.wait(`change taken over \(pets.yaml was saved\): program ([0-9a-f]{12})`)[1]
	if second == first {
		t.Errorf("the changed program kept its name %s", first)
	}
	if status, _, _ := s.ask(t, "GET", "/pets?limit=50", ""); status != 400 {
		t.Errorf("limit=50 after the change to a maximum of 10: %d, want 400", status)
	}
	s.configure(t, "unknwon: 1")
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.wait(`unknown key "unknwon"`)
	cancel()
	wg.Wait()
	if f := failed.Load(); f != nil {
		t.Errorf("a request was dropped during a change: %s", *f)
	}
	p.stop()
}

func TestWhatStopsAStart(t *testing.T) {
	s := newSite(t)
	p := s.start(t)

	other := launch(t, s.dir)
	if code := other.exit(); code != exitRefused {
		t.Errorf("a second process on the same data: exit code %d", code)
	}
	other.wait(fmt.Sprintf(`%d`, p.cmd.Process.Pid))

	busy := newSite(t)
	busy.gateway = s.gateway
	busy.configure(t, "")
	q := launch(t, busy.dir)
	if code := q.exit(); code != exitRefused {
		t.Errorf("a port in use: exit code %d", code)
	}
	q.wait(`listen.gateway.*in use`)
	p.stop()

	key := filepath.Join(s.dir, "keys", "master.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	missing := launch(t, s.dir)
	missing.exit()
	missing.wait(`restore the file`)
	write(t, key, strings.Repeat("ab", 32))
	wrong := launch(t, s.dir)
	if code := wrong.exit(); code != exitRefused {
		t.Errorf("a wrong key: exit code %d", code)
	}
	wrong.wait(`(?i)key`)
}

// Nothing that the process keeps is readable by others, even when its folder
// was made for everyone.
func TestFilesAreNobodyElses(t *testing.T) {
	s := newSite(t)
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	p := s.start(t)
	defer p.stop()
	if status, _, _ := s.ask(t, "GET", "/pets", ""); status != 200 {
		t.Fatalf("got %d", status)
	}
	n := 0
	for _, dir := range []string{data, filepath.Join(s.dir, "keys")} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && path != data && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v", path, info.Mode())
			}
			n++
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a journal may go while we look
			t.Fatal(err)
		}
	}
	if n < 5 {
		t.Errorf("only %d files", n)
	}
}

func TestKilledUnderLoad(t *testing.T) {
	s := newSite(t)
	token, _ := s.issuer.Token("app", "ES256", nil)
	const rounds = 3
	for round := range rounds {
		p := s.start(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.gateway+"/pets/7", nil)
					req.Host = "pets.example.test"
					req.Header.Set("Authorization", "Bearer "+token)
					if res, err := http.DefaultClient.Do(req); err == nil {
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				}
			})
		}
		time.Sleep(700 * time.Millisecond)
		p.cmd.Process.Kill()
		<-p.done
		cancel()
		wg.Wait()
		if round == rounds-1 {
			p = s.start(t)
			if status, _, _ := s.ask(t, "GET", "/pets/7", ""); status != 200 {
				t.Errorf("after %d kills: %d", rounds, status)
			}
			p.stop()
			if out := p.output(); strings.Contains(out, "level=ERROR") {
				t.Errorf("errors after a kill:\n%s", out)
			}
		}
	}
}

// metric reads one value of the console's /metrics.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	res, err := http.Get("http://" + p.console + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b)
	if m == nil {
		p.t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func TestFullDiskStopsRecordingNotGuarding(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root, as continuous integration is")
	}
	s := newSite(t)
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=160m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(data, syscall.MNT_DETACH) })
	p := s.start(t)
	s.ask(t, "GET", "/pets", "")
	eventually(t, 5*time.Second, func() string {
		if p.metric("sallyport_exchanges_acknowledged_total") < 1 {
			return "nothing was recorded before the disk was full"
		}
		return ""
	})

	ballast, err := os.Create(filepath.Join(data, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := ballast.Write(block); err != nil {
			break // full
		}
	}
	ballast.Close()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(p.output(), "disk") {
		if status, _, _ := s.ask(t, "GET", "/pets", ""); status != 200 {
			t.Fatalf("on a full disk: %d, want guarding to go on", status)
		}
		if time.Now().After(deadline) {
			t.Fatalf("a full disk is not said loudly:\n%s", p.output())
		}
	}
	if status, _, _ := s.ask(t, "GET", "/pets?limit=0", ""); status != 400 {
		t.Errorf("on a full disk the guard lets pass what it refuses otherwise: %d", status)
	}

	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	before := p.metric("sallyport_exchanges_acknowledged_total")
	eventually(t, 30*time.Second, func() string {
		s.ask(t, "GET", "/pets", "")
		if p.metric("sallyport_exchanges_acknowledged_total") <= before {
			return "recording did not resume once there was space:\n" + p.output()
		}
		return ""
	})
	p.stop()
}
