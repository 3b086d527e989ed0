package nginx_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/nginx"
)

func TestDoorOfNginx(t *testing.T) {
	dir, err := os.MkdirTemp("", "ngx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := ln.Addr().String()
	ln.Close()
	slow := make(chan struct{})
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, "begun ")
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-slow
		}
		io.WriteString(w, "done")
	}))
	defer srv.Close()
	one, two := srv.Listener.Addr().String(), "127.0.0.1:2"
	conf, file := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "notes.conf")
	config := fmt.Sprintf(`pid %s/pid; error_log stderr; worker_processes 2;
events {}
http {
  access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  include %s;
  server { listen %s; location / { proxy_pass http://notes; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }
}
`, dir, file, front)
	write := func(text string) {
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(config)
	at := func(addr string, a sallyport.Admission) sallyport.Instance {
		return sallyport.Instance{URL: "http://" + addr, Address: netip.MustParseAddrPort(addr), Admission: a}
	}
	door := func() *nginx.Door {
		return &nginx.Door{File: file, Upstream: "notes", Lines: []string{"keepalive 8"}, Binary: "/usr/sbin/nginx", Config: conf, Prefix: dir, Wait: time.Millisecond}
	}
	d := door()
	// nginx does not run: the file is as it is to be, and the door says what is wrong.
	if _, err := d.Apply(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "is not told") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(file); !strings.Contains(string(b), "127.0.0.1:9 down") || !strings.Contains(string(b), "keepalive 8;") {
		t.Errorf("%s", b)
	}
	c := exec.Command("/usr/sbin/nginx", "-p", dir, "-c", conf, "-g", "daemon off;")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread()
	err = c.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v (test/setup.sh installs it)", err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
	get := func(path string) int {
		res, err := http.Get("http://" + front + path)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	becomes := func(want int) {
		t.Helper()
		got := 0
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if got = get("/"); got == want {
				return
			}
		}
		t.Fatalf("answers %d, want %d", got, want)
	}
	becomes(502) // nobody is admitted
	apply := func(d *nginx.Door, list ...sallyport.Instance) {
		t.Helper()
		if _, err := d.Apply(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	d = door()
	apply(d, at(one, sallyport.Admitted), at(two, sallyport.Held))
	becomes(200)
	// A request in flight ends, and no new one begins.
	res, err := http.Get("http://" + front + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	apply(d, at(one, sallyport.Quarantined))
	becomes(502)
	n := asked.Load()
	for range 20 {
		get("/")
	}
	if asked.Load() != n {
		t.Error("requests reach what is held")
	}
	close(slow)
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "begun done" {
		t.Errorf("in flight: %q %v", b, err)
	}
	apply(d, at(one, sallyport.Admitted))
	becomes(200)
	// Another process of ours leaves what is not decided, and opens nothing that is not there.
	d = door()
	has, err := d.Apply(t.Context(), []sallyport.Instance{at(one, ""), at(two, "")})
	if err != nil || has[0].Admission != sallyport.Admitted || has[1].Admission != sallyport.Held {
		t.Errorf("%+v %v", has, err)
	}
	becomes(200)
	// A configuration that nginx does not take: the file from before is put back.
	before, _ := os.ReadFile(file)
	write("nonsense;")
	has, err = d.Apply(t.Context(), []sallyport.Instance{at(one, sallyport.Admitted), at(two, sallyport.Admitted)})
	if err == nil || !strings.Contains(err.Error(), "nonsense") || has[1].Admission != sallyport.Held {
		t.Errorf("%+v %v", has, err)
	}
	if b, _ := os.ReadFile(file); string(b) != string(before) {
		t.Errorf("%s", b)
	}
	becomes(200)
	write(config)
	// Somebody writes into the file: written over.
	os.WriteFile(file, []byte("upstream notes { server 127.0.0.1:3; }"), 0o644)
	apply(d, at(one, sallyport.Admitted))
	if b, _ := os.ReadFile(file); string(b) != string(before) {
		t.Errorf("%s", b)
	}
}
