package syslog_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/adapter/syslog"
	"sallyport.dev/observe"
)

func free(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		return pc.LocalAddr().String()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func server(t *testing.T, network string) *syslog.Server {
	g := &accesslog.Guess{}
	return &syslog.Server{Network: network, Address: free(t, network), Parse: g.Parse, Format: g.Name}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestSource(t *testing.T) {
	for _, c := range []struct{ name, network, header string }{
		{"udp, RFC 3164", "udp", "<190>Nov 24 17:00:00 edge nginx: "}, {"tcp, lines of RFC 5424", "tcp", `<165>1 2026-11-24T17:00:00.003Z edge nginx 12 - [a@1 b="]\"x"] `},
		{"tcp, counted octets", "count", "<165>1 - - - - - - \xef\xbb\xbf"}, {"tls", "tls", "<134>Nov 24 17:00:00 haproxy[7]: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			network, counted := c.network, c.network == "count"
			if counted {
				network = "tcp"
			}
			sourcetest.Run(t, sourcetest.Subject{New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
				s := server(t, network)
				if network == "tls" {
					s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
				}
				return s, func(list []sourcetest.Sent, bad bool) {
					var conn net.Conn
					for range 500 {
						var err error
						if network == "tls" {
							conn, err = tls.Dial("tcp", s.Address, &tls.Config{InsecureSkipVerify: true})
						} else {
							conn, err = net.Dial(network, s.Address)
						}
						if err == nil && (network != "udp" || s.Health().State == "reading") {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
					defer conn.Close()
					for i, x := range list {
						target := x.Path
						if x.Query != "" {
							target += "?" + x.Query
						}
						m := c.header + fmt.Sprintf(`%s:80 192.0.2.7 - - [%s] "%s %s HTTP/1.1" %d 5 "-" "x"`, x.Host, x.Time.Format("02/Jan/2006:15:04:05 -0700"), x.Method, target, x.Status)
						send := func(m string) {
							switch {
							case counted:
								m = fmt.Sprintf("%d %s", len(m), m)
							case network != "udp":
								m += "\n"
							}
							if _, err := io.WriteString(conn, m); err != nil {
								t.Error(err)
							}
						}
						send(m)
						if bad && i == 0 {
							send("<13>Nov 24 17:00:00 h su: " + sourcetest.Secret)
						}
					}
				}
			}})
		})
	}
}

// Streams that lie about themselves end, and are counted.
func TestHostileStreams(t *testing.T) {
	for name, text := range map[string]string{"endless line": strings.Repeat("a", 1<<20), "huge count": "99999999999 <1>", "no count": "5x <1>", "cut": "400 <13>short", "cut line": "<13>no end", "too long a count": strings.Repeat("1", 1<<18)} {
		t.Run(name, func(t *testing.T) {
			s := server(t, "tcp")
			ctx, end := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx, func(*sallyport.Exchange) error { return nil }) }()
			for s.Health().State != "reading" {
				time.Sleep(5 * time.Millisecond)
			}
			c, err := net.Dial("tcp", s.Address)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			for i := 0; s.Health().Bad == 0; i++ {
				if i > 1000 {
					t.Fatalf("health %+v", s.Health())
				}
				time.Sleep(5 * time.Millisecond)
			}
			c.Close()
			end()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"<13>Nov 24 17:00:00 h t: x", "<165>1 - - - - - - x", `<1>1 - - - - - [a b="c\"]"] x`, "<", "<999>x", "<1>1 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if text, err := syslog.Text(b); err == nil && (len(text) == 0 || !bytes.Contains(b, text)) {
			t.Errorf("%q gives %q", b, text)
		}
	})
}

// Real doors send what they log: nginx over UDP, HAProxy over UDP.
func TestRealSenders(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer upstream.Close()
	back, dir := strings.TrimPrefix(upstream.URL, "http://"), t.TempDir()
	for _, name := range []string{"body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		os.Mkdir(filepath.Join(dir, name), 0o777)
	}
	os.Chmod(dir, 0o755)
	for _, c := range []struct {
		name string
		conf func(door, log string) string
		run  func(conf string) []string
	}{
		{"nginx", func(door, log string) string {
			return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/nginx.err;
events {}
http {
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  access_log syslog:server=%[3]s combined;
  server { listen %[2]s; location / { proxy_pass http://%[4]s; } }
}`, dir, door, log, back)
		}, func(conf string) []string {
			return []string{"nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "nginx.err")}
		}},
		{"haproxy", func(door, log string) string {
			return fmt.Sprintf("global\n  log %s format rfc3164 local0\ndefaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\nfrontend in\n  bind %s\n  default_backend out\nbackend out\n  server one %s\n", log, door, back)
		}, func(conf string) []string { return []string{"haproxy", "-db", "-f", conf} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := server(t, "udp")
			s.Host = "shop.example.test"
			var n atomic.Int64
			ctx, end := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- s.Run(ctx, func(x *sallyport.Exchange) error {
					sourcetest.Check(t, x)
					if x.Method != "GET" || !strings.HasPrefix(x.Path, "/v1/items/") || x.Status != 200 || x.Host != "shop.example.test" {
						t.Errorf("%s %s%s %d", x.Method, x.Host, x.Path, x.Status)
					}
					n.Add(1)
					return nil
				})
			}()
			door := free(t, "tcp")
			conf := filepath.Join(dir, c.name+".conf")
			if err := os.WriteFile(conf, []byte(c.conf(door, s.Address)), 0o644); err != nil {
				t.Fatal(err)
			}
			args := c.run(conf)
			cmd := exec.Command(args[0], args[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatalf("%v (make setup installs what tests need)", err)
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			ok := 0
			for i := 0; ok < 5 && i < 500; i++ {
				res, err := http.Get(fmt.Sprintf("http://%s/v1/items/%d?token=%s", door, i, sourcetest.Secret))
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				ok++
			}
			for i := 0; n.Load() < 5; i++ {
				if i > 1500 {
					t.Fatalf("%d exchanges; health %+v; %s", n.Load(), s.Health(), out.String())
				}
				time.Sleep(10 * time.Millisecond)
			}
			end()
			<-done
		})
	}
}
