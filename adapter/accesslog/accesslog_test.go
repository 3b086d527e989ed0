package accesslog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/observe"
)

func line(s sourcetest.Sent) string {
	target := s.Path
	if s.Query != "" {
		target += "?" + s.Query
	}
	return fmt.Sprintf("%s:443 192.0.2.7 - - [%s] \"%s %s HTTP/1.1\" %d 12 \"-\" \"curl/8\"\n", s.Host, s.Time.Format("02/Jan/2006:15:04:05 -0700"), s.Method, target, s.Status)
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	var path string
	sourcetest.Run(t, sourcetest.Subject{
		New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
			path = filepath.Join(t.TempDir(), "access.log")
			return &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond}, func(list []sourcetest.Sent, bad bool) {
				var b strings.Builder
				for i, s := range list {
					if bad && i == 1 {
						b.WriteString("\x16\x03\x01 " + sourcetest.Secret + "\n")
					}
					b.WriteString(line(s))
				}
				appendTo(t, path, b.String())
			}
		},
		Again: func(t *testing.T) observe.Source {
			return &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond}
		},
	})
}

// One line of each product, found by looking.
func TestFormats(t *testing.T) {
	utc := func(s string) time.Time { x, _ := time.Parse(time.RFC3339Nano, s); return x }
	at := utc("2026-03-04T05:06:07Z")
	for _, c := range []struct {
		name, format, found, line string
		want                      sallyport.Exchange
	}{
		{"nginx combined", "", "combined", `192.0.2.7 - anna [04/Mar/2026:06:06:07 +0100] "GET /v1/a?x=1 HTTP/1.1" 200 612 "-" "curl/8 \"q\""`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, ResponseBytes: 612, Time: at, Proto: "HTTP/1.1"}},
		{"nginx log_format", `$remote_addr $host [$time_local] "$request" $status $body_bytes_sent $request_time $upstream_addr "$http_user_agent"`, "", `192.0.2.7 Api.Example.Test [04/Mar/2026:05:06:07 +0000] "POST /v1/a HTTP/2.0" 502 0 0.250 10.0.0.1:80, 10.0.0.2:80 "x"`,
			sallyport.Exchange{Method: "POST", Path: "/v1/a", Status: 502, Time: at, Proto: "HTTP/2.0", Host: "api.example.test", Duration: 250 * time.Millisecond, Instance: "10.0.0.2:80"}},
		{"nginx JSON", "", "json", `{"time_iso8601":"2026-03-04T05:06:07+00:00","remote_addr":"192.0.2.7","request_method":"GET","request_uri":"/v1/a?x=1","status":"404","body_bytes_sent":"12","request_time":"0.003","host":"api.example.test"}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 404, ResponseBytes: 12, Time: at, Host: "api.example.test", Duration: 3 * time.Millisecond}},
		{"Apache common", "", "common", `192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "DELETE /v1/a/7 HTTP/1.1" 204 -`, sallyport.Exchange{Method: "DELETE", Path: "/v1/a/7", Status: 204, Time: at, Proto: "HTTP/1.1"}},
		{"Apache vhost_combined", "", "apache-vhost", `api.example.test:443 192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET /v1/a HTTP/1.1" 200 5120 "-" "x"`, sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, Time: at, Proto: "HTTP/1.1", Host: "api.example.test"}},
		{"Apache LogFormat", `%v %h %t \"%m %U%q %H\" %>s %B %D`, "", `api.example.test 192.0.2.7 [04/Mar/2026:05:06:07 +0000] "PUT /v1/a?x=1 HTTP/1.1" 200 7 1500`,
			sallyport.Exchange{Method: "PUT", Path: "/v1/a", Query: "x=1", Status: 200, ResponseBytes: 7, Time: at, Proto: "HTTP/1.1", Host: "api.example.test", Duration: 1500 * time.Microsecond}},
		{"HAProxy HTTP", "", "haproxy-http", `Mar  4 05:06:07 lb haproxy[14389]: 192.0.2.7:33317 [04/Mar/2026:05:06:07.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {api.example.test|x} {} "GET /v1/a HTTP/1.1"`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, ResponseBytes: 2750, Time: at.Add(655 * time.Millisecond), Proto: "HTTP/1.1", Duration: 109 * time.Millisecond, Upstream: 69 * time.Millisecond, Instance: "srv1"}},
		{"HAProxy JSON", "", "json", `{"time":"2026-03-04T05:06:07Z","ci":"192.0.2.7","hm":"GET","hpo":"/v1/a","hq":"?x=1","st":200,"B":12,"Ta":7,"host":"api.example.test"}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, Time: at, Host: "api.example.test", Duration: 7 * time.Millisecond}},
		{"Caddy JSON", "", "json", `{"level":"info","ts":1772600767.0,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.7","remote_port":"4","proto":"HTTP/2.0","method":"GET","host":"api.example.test","uri":"/v1/a?x=1","headers":{"User-Agent":["curl/8"]},"tls":{"resumed":false,"version":772,"proto":"h2"}},"bytes_read":3,"user_id":"","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, ResponseBytes: 10900, RequestBytes: 3, Time: at, Proto: "HTTP/2.0", Host: "api.example.test", TLS: true, Duration: 929675}},
		{"Traefik CLF", "", "traefik-clf", `192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET /v1/a HTTP/1.1" 200 5 "-" "-" 7 "api@file" "http://10.0.0.1:80" 12ms`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, ResponseBytes: 5, Time: at, Proto: "HTTP/1.1", Instance: "http://10.0.0.1:80", Duration: 12 * time.Millisecond}},
		{"Traefik JSON", "", "json", `{"ClientAddr":"192.0.2.7:55","ClientHost":"192.0.2.7","DownstreamContentSize":5,"DownstreamStatus":200,"Duration":12000000,"OriginStatus":200,"RequestHost":"api.example.test","RequestMethod":"GET","RequestPath":"/v1/a?x=1","RequestProtocol":"HTTP/1.1","RequestScheme":"https","StartUTC":"2026-03-04T05:06:07Z","time":"2026-03-04T05:06:08Z"}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, Origin: 200, ResponseBytes: 5, Time: at, Proto: "HTTP/1.1", Host: "api.example.test", TLS: true, Duration: 12 * time.Millisecond}},
		{"varnishncsa", "", "combined", `192.0.2.7 - - [04/Mar/2026:05:06:07 +0000] "GET http://api.example.test/v1/a HTTP/1.1" 200 5 "-" "x"`, sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, ResponseBytes: 5, Time: at, Proto: "HTTP/1.1", Host: "api.example.test"}},
		{"Envoy text", "", "envoy-default", `[2026-03-04T05:06:07.000Z] "GET /v1/a HTTP/2" 200 - via_upstream - "-" 3 154 25 24 "192.0.2.7" "curl/8" "id" "api.example.test" "10.0.0.1:8080"`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, RequestBytes: 3, ResponseBytes: 154, Time: at, Proto: "HTTP/2", Host: "api.example.test", Instance: "10.0.0.1:8080", Duration: 25 * time.Millisecond, Upstream: 24 * time.Millisecond}},
		{"Envoy JSON", "", "json", `{"start_time":"2026-03-04T05:06:07.000Z","method":"GET","path":"/v1/a?x=1","protocol":"HTTP/2","response_code":200,"bytes_sent":154,"duration":25,"authority":"api.example.test","upstream_host":"10.0.0.1:8080","downstream_remote_address":"192.0.2.7:1"}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, ResponseBytes: 154, Time: at, Proto: "HTTP/2", Host: "api.example.test", Instance: "10.0.0.1:8080", Duration: 25 * time.Millisecond}},
		{"AWS ALB", "", "aws-alb", `https 2026-03-04T05:06:07.000000Z app/lb/50dc6c495c0c9188 192.0.2.7:46532 10.0.0.66:9000 0.086 0.048 0.037 200 200 0 57 "GET https://api.example.test:443/v1/a?x=1 HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:x "Root=1-5" "d" "a" 1 2026-03-04T05:06:07.000000Z "forward" "-" "-" "10.0.0.66:9000" "200" "-" "-" TID_1`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, Origin: 200, Time: at, Proto: "HTTP/1.1", Host: "api.example.test:443", TLS: true, Instance: "10.0.0.66:9000", Duration: 86 * time.Millisecond, Upstream: 48 * time.Millisecond}},
		{"API Gateway JSON", "", "json", `{"requestId":"a","ip":"192.0.2.7","requestTime":"04/Mar/2026:05:06:07 +0000","httpMethod":"GET","path":"/v1/a","routeKey":"GET /v1/a","status":"200","protocol":"HTTP/1.1","responseLength":"3","domainName":"api.example.test"}`,
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Status: 200, ResponseBytes: 3, Time: at, Proto: "HTTP/1.1", Host: "api.example.test"}},
		{"CloudFront", "", "w3c", "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query x-host-header cs-protocol cs-bytes time-taken\n2026-03-04\t05:06:07\tFRA\t392\t192.0.2.7\tGET\td1.cloudfront.net\t/v1/a\t200\t-\tcurl\tx=1\tapi.example.test\thttps\t23\t0.001",
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, ResponseBytes: 392, Time: at, Host: "api.example.test", TLS: true, Duration: time.Millisecond}},
		{"IIS", "", "w3c", "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs-host sc-status sc-win32-status time-taken\n2026-03-04 05:06:07 10.0.0.1 GET /v1/a x=1 443 - 192.0.2.7 curl api.example.test 200 0 15",
			sallyport.Exchange{Method: "GET", Path: "/v1/a", Query: "x=1", Status: 200, Time: at, Host: "api.example.test", Duration: 15 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := (*accesslog.Format)(nil), error(nil)
			if c.format != "" {
				f, err = accesslog.Compile(c.format, nil)
			} else {
				f = accesslog.Find([]byte(c.line+"\n"), nil)
			}
			if err != nil || f == nil || c.found != "" && f.Name() != c.found {
				t.Fatalf("format %+v, %v", f, err)
			}
			p := accesslog.NewParser(f)
			var x *sallyport.Exchange
			for l := range strings.Lines(c.line) {
				if x, err = p.Parse([]byte(l)); err != nil {
					t.Fatalf("%q: %v", l, err)
				}
			}
			if x == nil {
				t.Fatal("no exchange")
			}
			if x.Client != netip.MustParseAddr("192.0.2.7") {
				t.Errorf("client %s", x.Client)
			}
			w := c.want
			if !x.Time.Equal(w.Time) {
				t.Errorf("time %s, want %s", x.Time, w.Time)
			}
			got := sallyport.Exchange{Method: x.Method, Host: x.Host, Path: x.Path, Query: x.Query, Status: x.Status, Origin: x.Origin, Proto: x.Proto, TLS: x.TLS, Duration: x.Duration, Upstream: x.Upstream, Instance: x.Instance, RequestBytes: x.RequestBytes, ResponseBytes: x.ResponseBytes}
			w.Time = time.Time{}
			if w.ResponseBytes == 0 { // not what that row is about
				got.ResponseBytes = 0
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", w) {
				t.Errorf("got  %+v\nwant %+v", got, w)
			}
		})
	}
}

// Lines that no format may take, and their look-alikes that it must.
func TestBadLines(t *testing.T) {
	f, err := accesslog.Compile("combined", nil)
	if err != nil {
		t.Fatal(err)
	}
	for l, good := range map[string]bool{
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1.1" 200 1 "-" "x"`:                  true,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1.1" 200 1 "-" "a \" b"`:             true,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET /a b HTTP/1.1" 400 1 "-" "x"`:               true,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "OPTIONS * HTTP/1.1" 200 1 "-" "x"`:              true,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1.1" 200 1 "-" "x`:                   false, // cut
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1.1" 900 1 "-" "x"`:                  false,
		`1.2.3.4 - - [31/Feb/2026:05:06:07 +0000] "GET / HTTP/1.1" 200 1 "-" "x"`:                  false,
		`1.2.3.4 - - [04/Mar/2026:25:06:07 +0000] "GET / HTTP/1.1" 200 1 "-" "x"`:                  false,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "\x16\x03\x01\x02" 400 1 "-" "x"`:                false,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "-" 408 0 "-" "-"`:                               false,
		`{"time":"2026-03-04T05:06:07Z"}`:                                                          false,
		"\x00\x00\x00\x00":                                                                         false,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET / HTTP/1.1" 99999999999999999999 1 "-" "x"`: false,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "GET evil HTTP/1.1" 200 1 "-" "x"`:               false,
		`1.2.3.4 - - [04/Mar/2026:05:06:07 +0000] "G<script> / HTTP/1.1" 200 1 "-" "x"`:            false,
	} {
		x, err := accesslog.NewParser(f).Parse([]byte(l))
		if (err == nil && x != nil) != good {
			t.Errorf("%s: %v, want good=%t", l, err, good)
		}
	}
}

// follow runs a source and gives what it emitted when stop is called.
func follow(t *testing.T, f *accesslog.File) (count func() int, stop func()) {
	t.Helper()
	n, mu := 0, make(chan struct{}, 1)
	mu <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- f.Run(ctx, func(*sallyport.Exchange) error { <-mu; n++; mu <- struct{}{}; return nil })
	}()
	return func() int { <-mu; defer func() { mu <- struct{}{} }(); return n }, func() { cancel(); <-done }
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after 10 s", what)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for _, s := range sourcetest.Traffic(n) {
		b.WriteString(line(s))
	}
	return b.String()
}

func TestRotation(t *testing.T) {
	t.Run("rename", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		appendTo(t, path, many(5))
		count, stop := follow(t, &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond})
		defer stop()
		until(t, "first", func() bool { return count() == 5 })
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		appendTo(t, path+".1", many(2)) // its writer has not noticed yet
		appendTo(t, path, many(3))
		until(t, "both", func() bool { return count() == 10 })
	})
	t.Run("copytruncate", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		appendTo(t, path, many(5))
		count, stop := follow(t, &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond})
		defer stop()
		until(t, "first", func() bool { return count() == 5 })
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond)
		appendTo(t, path, many(3))
		until(t, "second", func() bool { return count() == 8 })
	})
	t.Run("renamed while nobody read", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		appendTo(t, path, many(5))
		f := &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond}
		count, stop := follow(t, f)
		until(t, "first", func() bool { return count() == 5 })
		stop()
		appendTo(t, path, many(2))
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		appendTo(t, path, "x"+many(3)[1:])
		again := &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond}
		again.Resume(f.Position())
		count, stop = follow(t, again)
		defer stop()
		until(t, "rest of the old and the new", func() bool { return count() == 5 })
	})
	t.Run("a line in two parts", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		text := many(2)
		appendTo(t, path, text[:len(text)-40])
		f := &accesslog.File{Path: path, Follow: true, Poll: 5 * time.Millisecond}
		count, stop := follow(t, f)
		defer stop()
		until(t, "first", func() bool { return count() == 1 })
		appendTo(t, path, text[len(text)-40:])
		until(t, "second", func() bool { return count() == 2 })
		if h := f.Health(); h.Bad != 0 {
			t.Errorf("health %+v", h)
		}
	})
}

// What is in a file, to its end: cut, compressed, huge, empty, hostile, of no zone.
func TestWholeFiles(t *testing.T) {
	good := many(3)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(good))
	z.Close()
	future := strings.ReplaceAll(good, time.Now().Format("02/Jan/2006"), time.Now().Add(48*time.Hour).Format("02/Jan/2006"))
	for _, c := range []struct {
		name, text   string
		emitted, bad uint64
		first, note  string
		fails        bool
	}{
		{"good", good, 3, 0, "", "", false},
		{"empty", "", 0, 0, "", "", false},
		{"cut in the last line", good[:len(good)-30], 2, 1, ":3: the last line was cut off", "", false},
		{"no end of the last line", strings.TrimSuffix(good, "\n"), 3, 0, "", "", false},
		{"compressed", zipped.String(), 3, 0, "", "", false},
		{"compressed and cut", zipped.String()[:zipped.Len()-9], 0, 1, "compressed file ends", "", false},
		{"a huge line between", good + strings.Repeat("a", 3<<20) + "\n" + good, 6, 1, ":4: the line is longer than 64 KiB", "", false},
		{"another format between", good + `{"a":1}` + "\n" + good, 6, 1, ":4: ", "", false},
		{"zeroes", strings.Repeat("\x00", 1<<20), 0, 0, "", "", true},
		{"prose", "Lorem ipsum\ndolor sit amet\n", 0, 0, "", "", true},
		{"of the day after tomorrow", future, 3, 0, "", "ahead of the clock", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &accesslog.File{Path: path}
			err := f.Run(t.Context(), func(*sallyport.Exchange) error { return nil })
			h := f.Health()
			if (err != nil) != c.fails || !c.fails && (h.Bad != c.bad || c.bad == 0 && h.Emitted != c.emitted || c.bad > 0 && c.emitted > 0 && h.Emitted != c.emitted) || !strings.Contains(h.FirstBad, c.first) || !strings.Contains(h.Notice, c.note) {
				t.Errorf("%v; health %+v", err, h)
			}
		})
	}
}

// The log of a real site: nearly all of it can be read, and what cannot is named.
func TestRealLog(t *testing.T) {
	f := &accesslog.File{Path: "testdata/site.log.gz", Host: "www.example.test"}
	hosts := 0
	if err := f.Run(t.Context(), func(x *sallyport.Exchange) error {
		if x.Host == "www.example.test" {
			hosts++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h := f.Health()
	if h.Format != "combined" || h.Read != 1000 || h.Emitted+h.Bad != h.Read || h.Bad > 3 || hosts != int(h.Emitted) {
		t.Errorf("health %+v", h)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{many(1), `{"ts":1,"request":{"method":"GET","uri":"/","headers":{"A":["\u00"]}},"status":200}`, "#Fields: date time cs-method cs-uri-stem sc-status\n", `[x] "`, `{"a":[[[[[[[[[`} {
		for i := range 9 {
			f.Add(i, s)
		}
	}
	var formats []*accesslog.Format
	for _, n := range accesslog.Names() {
		x, err := accesslog.Compile(n, nil)
		if err != nil {
			f.Fatal(err)
		}
		formats = append(formats, x)
	}
	f.Fuzz(func(t *testing.T, which int, text string) {
		p := accesslog.NewParser(formats[uint(which)%uint(len(formats))])
		for l := range strings.Lines(text) {
			x, err := p.Parse([]byte(l))
			if x != nil && (err != nil || x.Method == "" || x.Path == "" || x.Time.IsZero()) {
				t.Errorf("%q: %+v, %v", l, x, err)
			}
		}
	})
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"$a$b", "%{a}i %", "%REQ(", "%[", "%{", `\`, "$status $request"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if x, err := accesslog.Compile(s, nil); err == nil {
			_, _ = accesslog.NewParser(x).Parse([]byte(s))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	f, err := accesslog.Compile("combined", nil)
	if err != nil {
		b.Fatal(err)
	}
	l := []byte(`66.249.73.135 - - [17/May/2015:10:05:40 +0000] "GET /blog/tags/ipv6 HTTP/1.1" 200 12251 "-" "Mozilla/5.0 (iPhone; CPU iPhone OS 6_0 like Mac OS X) AppleWebKit/536.26 (KHTML, like Gecko) Version/6.0 Mobile/10A5376e Safari/8536.25 (compatible; Googlebot/2.1)"`)
	p := accesslog.NewParser(f)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Parse(l); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
