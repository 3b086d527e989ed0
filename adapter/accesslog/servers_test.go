package accesslog_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/sourcetest"
)

var ports atomic.Int64

func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+(os.Getpid()*37+int(ports.Add(1)))%8000)
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// serve runs a server in the foreground until the test ends.
func serve(t *testing.T, addr string, command ...string) {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatalf("%v (make setup installs what tests need)", err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		time.AfterFunc(3*time.Second, func() { c.Process.Kill() })
		c.Wait()
	})
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not listen: %s", command[0], out.String())
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The logs that real servers write of the same requests say the same.
func TestRealServers(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, "hello")
	}))
	defer upstream.Close()
	back := strings.TrimPrefix(upstream.URL, "http://")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	nginx, apache := freePort(t), freePort(t)
	for _, name := range []string{"body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		os.Mkdir(filepath.Join(dir, name), 0o777)
	}
	own := `$host $remote_addr [$time_iso8601] "$request" $status $body_bytes_sent $request_time $upstream_response_time "$http_authorization"`
	conf := put(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/nginx.err;
events {}
http {
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  log_format own '%[4]s';
  log_format js escape=json '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr","host":"$host","request_method":"$request_method","request_uri":"$request_uri","status":"$status","request_time":"$request_time","http_user_agent":"$http_user_agent"}';
  access_log %[1]s/combined.log combined; access_log %[1]s/own.log own; access_log %[1]s/json.log js;
  server { listen %[2]s; location / { proxy_pass http://%[3]s; } }
}`, dir, nginx, back, own))
	serve(t, nginx, "nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "nginx.err"))
	modules := "/usr/lib/apache2/modules"
	conf = put(t, filepath.Join(dir, "httpd.conf"), fmt.Sprintf(`ServerRoot %[1]s
ServerName localhost
Listen %[2]s
PidFile %[1]s/httpd.pid
ErrorLog %[1]s/httpd.err
User www-data
Group www-data
LoadModule mpm_event_module %[3]s/mod_mpm_event.so
LoadModule authz_core_module %[3]s/mod_authz_core.so
LoadModule proxy_module %[3]s/mod_proxy.so
LoadModule proxy_http_module %[3]s/mod_proxy_http.so
LogFormat "%%v:%%p %%h %%l %%u %%t \"%%r\" %%>s %%O \"%%{Referer}i\" \"%%{User-Agent}i\"" vhost
LogFormat "%%{Host}i %%a %%t \"%%m %%U%%q %%H\" %%>s %%B %%D \"%%{User-Agent}i\"" own
CustomLog %[1]s/vhost.log "%%{Host}i:80 %%h %%l %%u %%t \"%%r\" %%>s %%B \"%%{Referer}i\" \"%%{User-Agent}i\""
CustomLog %[1]s/apache.log own
CustomLog %[1]s/common.log "%%h %%l %%u %%t \"%%r\" %%>s %%b"
ProxyPass / http://%[4]s/
`, dir, apache, modules, back))
	serve(t, apache, "apache2", "-f", conf, "-DFOREGROUND")
	type ask struct{ method, target string }
	asks := []ask{{"GET", "/v1/items/7"}, {"POST", "/v1/orders?access_token=" + sourcetest.Secret}, {"GET", "/v1/broken"}, {"DELETE", "/v1/items/%C3%A4"}}
	for _, addr := range []string{nginx, apache} {
		for _, a := range asks {
			r, _ := http.NewRequest(a.method, "http://"+addr+a.target, nil)
			r.Host = "shop.example.test"
			r.Header.Set("Authorization", "Bearer "+sourcetest.Secret)
			r.Header.Set("User-Agent", `odd "agent" \ ä`)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
	for _, c := range []struct{ file, format, found string }{
		{"combined.log", "", "combined"}, {"own.log", own, ""}, {"json.log", "", "json"},
		{"vhost.log", "", "apache-vhost"}, {"apache.log", `%{Host}i %a %t \"%m %U%q %H\" %>s %B %D \"%{User-Agent}i\"`, ""}, {"common.log", "", "common"},
	} {
		t.Run(c.file, func(t *testing.T) {
			f := &accesslog.File{Path: filepath.Join(dir, c.file), Follow: true, Poll: 5 * time.Millisecond, Host: "shop.example.test"}
			if c.format != "" {
				format, err := accesslog.Compile(c.format, nil)
				if err != nil {
					t.Fatal(err)
				}
				f.Format = format
			}
			var got []*sallyport.Exchange
			enough := fmt.Errorf("enough")
			timer := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("%s: %+v", c.file, f.Health())) })
			defer timer.Stop()
			_ = f.Run(t.Context(), func(x *sallyport.Exchange) error {
				if got = append(got, x); len(got) == len(asks) {
					return enough
				}
				return nil
			})
			if h := f.Health(); h.Bad > 0 || c.found != "" && h.Format != c.found {
				t.Errorf("health %+v", h)
			}
			place := func(x *sallyport.Exchange) int { // workers may write in another order
				return slices.IndexFunc(asks, func(a ask) bool {
					path, _, _ := strings.Cut(a.target, "?")
					return a.method == x.Method && strings.EqualFold(path, x.Path)
				})
			}
			slices.SortFunc(got, func(a, b *sallyport.Exchange) int { return place(a) - place(b) })
			for i, x := range got {
				path, _, _ := strings.Cut(asks[i].target, "?")
				status := 200
				if path == "/v1/broken" {
					status = 500
				}
				host, _, _ := strings.Cut(x.Host, ":")
				if x.Method != asks[i].method || !strings.EqualFold(x.Path, path) || x.Status != status || host != "shop.example.test" || time.Since(x.Time).Abs() > time.Minute || !x.Client.IsLoopback() {
					t.Errorf("%+v is read as %s %s%s %d of %s by %s", asks[i], x.Method, x.Host, x.Path, x.Status, x.Time, x.Client)
				}
				sourcetest.Check(t, x)
			}
		})
	}
}
