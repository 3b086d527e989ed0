package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// product runs a program of somebody else's in dir until the test ends, and
// waits until each address takes connections.
func product(t *testing.T, dir string, ready []string, command ...string) *exec.Cmd {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(dir, filepath.Base(command[0])+".output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr = dir, out, out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // Pdeathsig is of the thread
	err = c.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v (test/setup.sh installs it)", err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
	for _, addr := range ready {
		eventually(t, 15*time.Second, func() string {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b, _ := os.ReadFile(out.Name())
				return fmt.Sprintf("%v; it said %s", err, b)
			}
			conn.Close()
			return ""
		})
	}
	return c
}

// callers ask one address by several callers, each with a connection that it
// keeps, and count the answers.
type callers struct {
	mu       sync.Mutex
	statuses map[int]int // 0: none
	stop     chan struct{}
	wg       sync.WaitGroup
}

func callersOf(t *testing.T, url string) *callers {
	l := &callers{statuses: map[int]int{}, stop: make(chan struct{})}
	for range 4 {
		l.wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(3 * time.Millisecond):
				}
				status := 0
				if res, err := client.Get(url); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					status = res.StatusCode
				}
				l.mu.Lock()
				l.statuses[status]++
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *callers) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

// since gives the answers since it was asked last.
func (l *callers) since() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.statuses
	l.statuses = map[int]int{}
	return was
}

const triggerSecret = "for the test of triggers"

// trigger says that something changed, and gives the answer's status and body.
func (s *gatedSite) trigger(t *testing.T, secret, id string, at time.Time, text string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+s.console+"/api/v1/gate/triggers", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, text)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// gatedSite is a product with the notes' API whose instances serve at doors of
// others as well.
type gatedSite struct {
	*site
	p    *process
	desk *desk
}

func newGatedSite(t *testing.T, upstreams []string, doors string) *gatedSite {
	t.Helper()
	s := &gatedSite{site: newSite(t)}
	var list []string
	for _, u := range upstreams {
		list = append(list, fmt.Sprintf("{url: %q}", "http://"+u))
	}
	write(t, filepath.Join(s.dir, "notes.yaml"), gatedSpec)
	write(t, filepath.Join(s.dir, "trigger.secret"), triggerSecret)
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: notes
    spec: notes.yaml
    match: {host: pets.example.test}
    upstreams: [%s]
    owner: {team: Notes, contact: notes@example.test}
    mode: enforce
    gate:
      admit: full
      identity: {path: /version, json: /boot}
      watch: 500ms
      triggers: file:trigger.secret
      parallel: 4
      doors: [%s]
`, s.gateway, s.console, strings.Join(list, ", "), doors))
	s.p = s.start(t)
	s.desk = s.p.signIn(s.p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	return s
}

type fleetRow struct {
	URL, State, Reason, Boot string
	Doors                    []struct {
		Door, Error string
		Open, Known bool
	}
}

func (s *gatedSite) row(addr string) fleetRow {
	var f struct{ Instances []fleetRow }
	s.desk.do("GET", "/gate", nil, 200, &f)
	for _, in := range f.Instances {
		if strings.HasSuffix(in.URL, addr) {
			return in
		}
	}
	return fleetRow{}
}

func (s *gatedSite) becomes(t *testing.T, addr, state string, open bool) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		got := s.row(addr)
		for _, d := range got.Doors {
			if d.Open != open || d.Error != "" {
				return fmt.Sprintf("%+v", got)
			}
		}
		if got.State != state || len(got.Doors) == 0 {
			return fmt.Sprintf("%s: %+v, want %s", addr, got, state)
		}
		return ""
	})
}

// HAProxy sends requests to admitted instances only: not to new ones, not to
// those that fail, not after a reload of HAProxy, not when we were killed.
func TestHAProxyServesWhatIsAdmitted(t *testing.T) {
	t.Parallel()
	a, b, c, d := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	good, bad, slotted, found := notesAt(t, a, "a1", false), notesAt(t, b, "b1", true), notesAt(t, c, "c1", false), notesAt(t, d, "d1", false)
	dir, front := t.TempDir(), freeAddr(t)
	sock := filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-hap-%d.sock", os.Getpid())) // a path of a socket is short
	t.Cleanup(func() { os.Remove(sock) })
	write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`global
  stats socket %s mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 20s
  timeout server 20s
  retries 2
  option redispatch
frontend edge
  bind %s
  default_backend notes
backend notes
  option httpchk GET /version
  default-server check inter 500ms fall 1 rise 4 observe layer4 error-limit 1 on-error mark-down
  server s1 %s disabled
  server s2 %s disabled
  server s4 %s disabled
  server-template slot 1-2 127.0.0.1:9 disabled
`, sock, front, a, b, d))
	hap := product(t, dir, []string{front}, "/usr/sbin/haproxy", "-W", "-f", "haproxy.cfg")
	l := callersOf(t, "http://"+front+"/notes/7")
	s := newGatedSite(t, []string{a, b, c}, fmt.Sprintf("{haproxy: {socket: %s, backend: notes, slots: slot}}", sock))
	s.becomes(t, a, "admitted", true)
	s.becomes(t, b, "quarantined", false)
	s.becomes(t, c, "admitted", true)
	s.becomes(t, d, "admitted", true) // only HAProxy knew it
	l.since()
	eventually(t, 10*time.Second, func() string {
		if good.users.Load() == 0 || slotted.users.Load() == 0 || found.users.Load() == 0 {
			return fmt.Sprintf("%d %d %d requests", good.users.Load(), slotted.users.Load(), found.users.Load())
		}
		return ""
	})
	time.Sleep(300 * time.Millisecond)
	if n, got := bad.users.Load(), l.since(); n != 0 || len(got) != 1 || got[200] == 0 {
		t.Errorf("%d requests reached the one that fails; answers %v", n, got)
	}

	// Loaded again, HAProxy knows no state but that of its file: closed.
	if err := hap.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	p := s.p
	p.wait(`HAProxy was loaded again`)
	for _, addr := range []string{a, c, d} {
		s.becomes(t, addr, "admitted", true)
	}
	l.since()

	// Started again behind HAProxy, with a defect.
	began := time.Now()
	good.srv.Close()
	time.Sleep(1200 * time.Millisecond) // longer than watch: nobody listens there, and that closes it
	next := notesAt(t, a, "a2", true)
	s.becomes(t, a, "quarantined", false)
	t.Logf("a start that nobody had tested: %d requests, closed and tested after %v; answers meanwhile %v", next.users.Load(), time.Since(began).Round(time.Millisecond), l.since())
	eventually(t, 10*time.Second, func() string { // tested as soon as it answers
		if got := s.row(a); !strings.Contains(got.Reason, "failed full") {
			return fmt.Sprintf("%+v", got)
		}
		return ""
	})
	if n := next.users.Load(); n != 0 {
		t.Errorf("%d requests reached a start that nobody had tested", n)
	}

	// Killed, we open nothing, and HAProxy goes on; back again, we close what is another start.
	p.cmd.Process.Kill()
	<-p.done
	p.done <- nil
	l.since()
	slotted.srv.Close()
	other := notesAt(t, c, "c2", true)
	time.Sleep(300 * time.Millisecond)
	if got := l.since(); got[200] == 0 || got[503] != 0 || next.users.Load() != 0 || bad.users.Load() != 0 {
		t.Errorf("while we were away: %v, %d, %d", got, next.users.Load(), bad.users.Load())
	}
	s.p = s.start(t)
	s.desk = s.p.signIn("", password)
	s.becomes(t, c, "quarantined", false)
	s.becomes(t, d, "admitted", true)
	after := other.users.Load()
	time.Sleep(300 * time.Millisecond)
	if got := l.since(); got[503] != 0 || got[502] != 0 {
		t.Errorf("an instance was admitted all the time, and the answers are %v", got)
	}
	if other.users.Load() != after || next.users.Load() != 0 || bad.users.Load() != 0 {
		t.Errorf("requests reached what is held: %d %d %d", other.users.Load()-after, next.users.Load(), bad.users.Load())
	}
	s.p.stop()
}

// How long a restart behind HAProxy stands open when HAProxy itself does not
// notice it: the connections that it keeps are to the start that is gone, and
// the next one leads to the new start.
func TestWindowAfterRestartBehindHAProxy(t *testing.T) {
	t.Parallel()
	a, b := freeAddr(t), freeAddr(t)
	good, _ := notesAt(t, a, "a1", false), notesAt(t, b, "b1", false)
	dir, front := t.TempDir(), freeAddr(t)
	sock := filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-hapw-%d.sock", os.Getpid()))
	t.Cleanup(func() { os.Remove(sock) })
	write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`global
  stats socket %s mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 20s
  timeout server 20s
frontend edge
  bind %s
  default_backend notes
backend notes
  server s1 %s disabled
  server s2 %s disabled
`, sock, front, a, b))
	product(t, dir, []string{front}, "/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg")
	s := newGatedSite(t, []string{a, b}, fmt.Sprintf("{haproxy: {socket: %s, backend: notes}}", sock))
	s.becomes(t, a, "admitted", true)
	s.becomes(t, b, "admitted", true)
	callersOf(t, "http://"+front+"/notes/7")
	good.srv.Close()
	next := notesAt(t, a, "a2", true)
	began := time.Now()
	var last atomic.Int64
	done := make(chan struct{})
	go func() {
		for seen := int64(0); ; time.Sleep(time.Millisecond) {
			select {
			case <-done:
				return
			default:
			}
			if n := next.users.Load(); n != seen {
				seen = n
				last.Store(int64(time.Since(began)))
			}
		}
	}()
	s.becomes(t, a, "quarantined", false)
	n := next.users.Load()
	time.Sleep(200 * time.Millisecond)
	close(done)
	t.Logf("without checks by HAProxy, watch 500ms: %d requests reached the new start, the last after %v", n, time.Duration(last.Load()).Round(time.Millisecond))
	if next.users.Load() != n {
		t.Error("requests reach what is held")
	}
	s.p.stop()
}

// The commands of the guide print what the guide says, by the real HAProxy.
func TestGateDoorsGuideRunsAsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var pairs []string
	for _, port := range []string{"8096", "9458", "9007", "9008", "8098"} {
		pairs = append(pairs, "127.0.0.1:"+port, freeAddr(t))
	}
	sock := filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-hapg-%d.sock", os.Getpid()))
	t.Cleanup(func() { os.Remove(sock) })
	edit := strings.NewReplacer(append(pairs, "/tmp/sallyport-example.sock", sock)...)
	for name, as := range map[string]string{"haproxy.yaml": "sallyport.yaml", "haproxy.cfg": "haproxy.cfg", "notes.openapi.yaml": "notes.openapi.yaml", "notes.go": "source/notes.go"} {
		b, err := os.ReadFile("../../examples/gate/" + name)
		if err != nil {
			t.Fatal(err)
		}
		os.MkdirAll(filepath.Dir(filepath.Join(dir, as)), 0o755)
		write(t, filepath.Join(dir, as), edit.Replace(string(b)))
	}
	bin := filepath.Join(dir, "notes")
	if out, err := exec.Command("go", "build", "-o", bin, filepath.Join(dir, "source/notes.go")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	product(t, dir, []string{edit.Replace("127.0.0.1:9007")}, bin)
	product(t, dir, []string{edit.Replace("127.0.0.1:8098")}, "/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg")
	p := (&site{dir: dir, gateway: edit.Replace("127.0.0.1:8096"), console: edit.Replace("127.0.0.1:9458")}).start(t)
	runGuide(t, "gate-doors.md", dir, 2, edit, "behind()", "opened()")
	p.stop()
}

// nginx, Traefik's file, clients of xDS and DNS have what is admitted, and nobody
// when nobody is.
func TestWrittenDoorsServeWhatIsAdmitted(t *testing.T) {
	t.Parallel()
	a, b, front := freeAddr(t), freeAddr(t), freeAddr(t)
	good, bad := notesAt(t, a, "a1", false), notesAt(t, b, "b1", true)
	dir, err := os.MkdirTemp("", "gate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conf, upstream, dynamic := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "notes.conf"), filepath.Join(dir, "notes.yaml")
	write(t, upstream, "upstream notes { server "+b+"; }\n") // as it stood before there was a gate
	write(t, conf, fmt.Sprintf(`pid %s/pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  include %s;
  server { listen %s; location / { proxy_pass http://notes; } }
}
`, dir, upstream, front))
	product(t, dir, []string{front}, "/usr/sbin/nginx", "-p", dir, "-c", conf, "-g", "daemon off;")
	store, peer := freeAddr(t), "http://"+freeAddr(t)
	etcd := "http://" + store
	product(t, dir, []string{store}, "/usr/bin/etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--log-level", "error", "--unsafe-no-fsync")
	records := func() string {
		res, err := http.Post(etcd+"/v3/kv/range", "application/json", strings.NewReader(fmt.Sprintf(`{"key": %q, "range_end": %q, "count_only": true}`, base64.StdEncoding.EncodeToString([]byte("/skydns/")), base64.StdEncoding.EncodeToString([]byte("/skydns0")))))
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		var got struct{ Count string }
		json.NewDecoder(res.Body).Decode(&got)
		return got.Count
	}
	s := newGatedSite(t, []string{a, b}, fmt.Sprintf("{nginx: {file: %s, upstream: notes, binary: /usr/sbin/nginx, config: %s, prefix: %s}}, {traefik: {file: %s, service: notes}}, {xds: {listen: %q, cluster: notes}}, {dns: {etcd: %q, name: notes.svc.test}}", upstream, conf, dir, dynamic, freeAddr(t), etcd))
	s.becomes(t, a, "admitted", true)
	s.becomes(t, b, "quarantined", false)
	get := func() int {
		res, err := http.Get("http://" + front + "/notes/7")
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	eventually(t, 10*time.Second, func() string { // workers from before a reload answer for a moment as they were told
		for range 30 {
			if got := get(); got != 200 {
				return fmt.Sprintf("answered %d", got)
			}
		}
		return ""
	})
	if bad.users.Load() != 0 || good.users.Load() == 0 {
		t.Errorf("%d requests reached the one that fails, %d the other", bad.users.Load(), good.users.Load())
	}
	file := func() string { b, _ := os.ReadFile(dynamic); return string(b) }
	if got := file(); !strings.Contains(got, "http://"+a) || strings.Contains(got, b) || records() != "1" {
		t.Error(got, records())
	}
	// A deployment says what it changed; what nobody signed, or is old, or known, tests nothing.
	now, text := time.Now(), `{"api":"notes","image_digest":"sha256:1"}`
	for _, c := range []struct {
		secret, text, want string
		at                 time.Time
		status             int
	}{
		{"another secret of the kind", text, "signature", now, 401},
		{triggerSecret, text, "signature", now.Add(-10 * time.Minute), 401},
		{triggerSecret, `{"api":"other","image_digest":"sha256:1"}`, "signature", now, 401},
		{triggerSecret, `{"api":"notes","url":"http://127.0.0.1:1","build_id":"1"}`, "no gated instance", now, 404},
		{triggerSecret, text, `"changed":["image digest"]`, now, 202},
		{triggerSecret, text, `"changed":[]`, now, 202},
		{triggerSecret, `{"api":"notes","url":"http://` + a + `","build_id":"7","configuration":"c","spec":"s"}`, `"changed":["build id","configuration","specification"]`, now, 202},
	} {
		if status, got := s.trigger(t, c.secret, "m1", c.at, c.text); status != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.text, status, got, c.status, c.want)
		}
	}
	eventually(t, 10*time.Second, func() string {
		var got struct{ Verdicts []struct{ Trigger string } }
		s.desk.do("GET", "/gate/verdicts?api=notes", nil, 200, &got)
		for _, v := range got.Verdicts {
			if strings.HasSuffix(v.Trigger, "changed") {
				return ""
			}
		}
		return fmt.Sprint(got)
	})
	s.desk.do("POST", "/gate/holds", map[string]string{"api": "notes", "url": "http://" + a, "reason": "disk is odd"}, 201, nil)
	eventually(t, 5*time.Second, func() string {
		if got := get(); got != 502 || strings.Contains(file(), "http://"+a) || records() != "" {
			return fmt.Sprint(got, file(), records())
		}
		return ""
	})
	s.p.stop()
}
