package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const issuer = "https://idp.test"

// keys gives a key once it has been resolved.
type keys struct {
	key   *ecdsa.PrivateKey
	known atomic.Bool
	asked atomic.Int64
	fail  error
	panic bool
}

func (k *keys) Key(iss, kid, alg string) (any, bool) {
	if iss != issuer || kid != "k1" || !k.known.Load() {
		return nil, false
	}
	return &k.key.PublicKey, true
}

func (k *keys) Resolve(_ context.Context, iss, kid string) error {
	k.asked.Add(1)
	if k.panic {
		panic("resolver")
	}
	if k.fail == nil && iss == issuer && kid == "k1" {
		k.known.Store(true)
	}
	return k.fail
}

func (k *keys) token(t *testing.T) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	s := part(map[string]any{"alg": "ES256", "kid": "k1", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": issuer, "sub": "alice", "aud": "shop", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	sum := sha256.Sum256([]byte(s))
	r, v, err := ecdsa.Sign(rand.Reader, k.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return s + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// A key that is not in memory is fetched once while the request waits; when
// that fails, or the fetcher itself does, the request is refused, not hung.
func TestFetchesKeys(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	for _, tt := range []struct {
		name   string
		fail   error
		panic  bool
		status int
	}{{"found", nil, false, 200}, {"not found", errors.New("down"), false, 401}, {"broken", nil, true, 500}} {
		t.Run(tt.name, func(t *testing.T) {
			k := &keys{fail: tt.fail, panic: tt.panic}
			var err error
			if k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			p, err := guard.Compile(guard.Config{Name: "test", Keys: k, APIs: []guard.API{{
				API: sallyport.API{Name: "shop"}, Policy: policy.API{Mode: sallyport.Enforce, Auth: policy.Auth{OIDC: []policy.OIDC{{Issuer: issuer, Audience: "shop"}}}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			d := open(t, gateway.Options{Program: p, APIs: to(up.URL), Resolver: k})
			token := k.token(t)
			for range 2 {
				req, _ := http.NewRequest("GET", d.url("/"), nil)
				req.Header.Set("Authorization", "Bearer "+token)
				res, err := d.client(false).Do(req)
				body := read(t, res, err)
				if res.StatusCode != tt.status {
					t.Fatalf("got %d %s, want %d", res.StatusCode, body, tt.status)
				}
				x := d.rec.find(t, res.Header.Get("X-Request-Id"))
				if tt.status == 200 && x.Principal.Subject != "alice" || x.Status != tt.status {
					t.Errorf("record %+v", x)
				}
				if tt.status != 200 {
					wantProblem(t, res, body, tt.status)
				}
			}
			if n := k.asked.Load(); tt.status == 200 && n != 1 {
				t.Errorf("asked %d times", n)
			}
			// The connection serves on.
			if m := d.Metrics(); m.InFlight != 0 {
				t.Errorf("%d requests in flight afterwards", m.InFlight)
			}
		})
	}
}

const shopSpec = `openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /items:
    get:
      responses:
        "200":
          description: items
          content: {application/json: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
    post:
      requestBody:
        required: true
        content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 20}}}}}
      responses: {"200": {description: ok}}
`

func shop(t testing.TB) guard.API {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "shop.yaml", Data: []byte(shopSpec)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, Answers: policy.Answers{Mode: sallyport.Enforce}}}
}

// An answer that the specification does not allow never reaches the client.
func TestAnswersAreHeldBack(t *testing.T) {
	var answer atomic.Value
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		s := answer.Load().(string)
		io.WriteString(w, s[:len(s)/2])
		w.(http.Flusher).Flush()
		io.WriteString(w, s[len(s)/2:])
	})
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{Program: program(t, shop(t)), APIs: to(up.URL), Front: front})
		for _, h2 := range []bool{false, true} {
			c := d.client(h2)
			for _, tt := range []struct {
				answer string
				status int
			}{{`{"n":1}`, 200}, {`{"n":"secret stack trace"}`, 502}, {`{"n":2}`, 200}} {
				answer.Store(tt.answer)
				res, err := c.Get(d.url("/items"))
				body := read(t, res, err)
				if res.StatusCode != tt.status || tt.status == 200 && body != tt.answer || strings.Contains(body, "secret") {
					t.Fatalf("h2 %v: %s: got %d %s", h2, tt.answer, res.StatusCode, body)
				}
				x := d.rec.find(t, res.Header.Get("X-Request-Id"))
				if x.Template != "/items" || x.Origin != 200 || x.Status != tt.status || x.Decision.Refused() != (tt.status != 200) {
					t.Errorf("record %+v", x)
				}
			}
			answer.Store(`{}`)
			for body, want := range map[string]int{`{"name":"jacket"}`: 200, `{"name":7}`: 400, `{"name":`: 400} {
				res, err := c.Post(d.url("/items"), "application/json", strings.NewReader(body))
				if read(t, res, err); res.StatusCode != want {
					t.Errorf("h2 %v: %s: %d, want %d", h2, body, res.StatusCode, want)
				}
			}
		}
	})
}

// Bodies that are held count against one bound; who comes on top waits.
func TestBuffered(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	d := open(t, gateway.Options{Program: program(t, shop(t)), APIs: to(up.URL), Bounds: gateway.Bounds{Buffered: 100_000}})
	post := func(n int) (*http.Response, string) {
		res, err := d.client(false).Post(d.url("/items"), "application/json", strings.NewReader(`{"name":"`+strings.Repeat(" ", n)+`"}`))
		return res, read(t, res, err)
	}
	// More than the bound, and than a buffer of 128 KiB that another request has left.
	if res, body := post(400_000); res.StatusCode != 503 {
		t.Errorf("too much: %d %s", res.StatusCode, body)
	}
	if res, body := post(5); res.StatusCode != 200 {
		t.Errorf("little: %d %s", res.StatusCode, body)
	}
	if n := d.Metrics().Buffered; n != 0 {
		t.Errorf("%d bytes held afterwards", n)
	}
}

// An answer that passes while there is no room for a sample of it is on record
// as one that nobody looked at; one that fits is not.
func TestSampleWithoutRoom(t *testing.T) {
	const note = "answer: no room for a sample of its body"
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(make([]byte, 200_000))
	})
	for _, tt := range []struct {
		name   string
		bounds gateway.Bounds
		said   bool
	}{{"room", gateway.Bounds{Sample: 150_000}, false}, {"no room", gateway.Bounds{Sample: 150_000, Buffered: 1000}, true}} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, gateway.Options{APIs: to(up.URL), Bounds: tt.bounds})
			for _, h2 := range []bool{false, true} {
				res, err := d.client(h2).Get(d.url("/"))
				if body := read(t, res, err); res.StatusCode != 200 || len(body) != 200_000 {
					t.Fatalf("h2 %v: %d, %d bytes", h2, res.StatusCode, len(body))
				}
				x := d.rec.find(t, res.Header.Get("X-Request-Id"))
				if slices.Contains(x.Decision.NotInspected, note) != tt.said || (len(x.ResponseBody) == 150_000) == tt.said {
					t.Errorf("h2 %v: not inspected %q, sample of %d", h2, x.Decision.NotInspected, len(x.ResponseBody))
				}
			}
		})
	}
}

func TestGuarded(t *testing.T) {
	rec := newRecorder()
	p := program(t, shop(t))
	h := gateway.Guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Request-Id") == "" {
			t.Error("no request id")
		}
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("panic") != "" {
			panic(http.ErrAbortHandler)
		}
		if r.Method == "GET" {
			io.WriteString(w, `{"n":`+r.Header.Get("X-N")+`}`)
			return
		}
		fmt.Fprintf(w, `{"got":%d}`, len(b))
	}), func() *guard.Program { return p }, "console", rec)
	s := httptest.NewServer(h)
	defer s.Close()
	for i, tt := range []struct {
		method, path, n, body string
		status                int
		answer                string
	}{
		{"GET", "/items", "1", "", 200, `{"n":1}`},
		{"GET", "/items", `"x"`, "", 502, ""},
		{"GET", "/nothing", "1", "", 200, `{"n":1}`}, // not declared: policy says nothing about it
		{"POST", "/items", "", `{"name":"a"}`, 200, `{"got":12}`},
		{"POST", "/items", "", `{"name":1}`, 400, ""},
	} {
		req, _ := http.NewRequest(tt.method, s.URL+tt.path, strings.NewReader(tt.body))
		req.Header.Set("X-N", tt.n)
		if tt.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		body := read(t, res, err)
		if res.StatusCode != tt.status || tt.answer != "" && body != tt.answer {
			t.Errorf("%s %s %s%s: got %d %s", tt.method, tt.path, tt.n, tt.body, res.StatusCode, body)
			continue
		}
		x := rec.last(t, i+1)
		if x.Door != "console" || x.Status != tt.status || x.ID != res.Header.Get("X-Request-Id") || x.ResponseBytes != int64(len(body)) || x.RequestBytes != int64(len(tt.body)) {
			t.Errorf("record %+v", x)
		}
		if tt.status >= 400 {
			wantProblem(t, res, body, tt.status)
		}
	}
	if _, err := http.Get(s.URL + "/items?panic=1"); err == nil {
		t.Error("an aborted handler was answered for")
	}
	rec.last(t, 6)
	http.DefaultClient.CloseIdleConnections()
}

func TestListen(t *testing.T) {
	l, err := gateway.Listen(t.Context(), gateway.Address{Address: "127.0.0.1:0", Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		a    gateway.Address
		want string
	}{
		{gateway.Address{Address: l.Addr().String(), Plain: true}, "another program has this TCP port"},
		{gateway.Address{Address: "0.0.0.0:0", Plain: true}, "loopback"}, {gateway.Address{Address: ":0", Plain: true}, "loopback"},
		{gateway.Address{Address: "example.test:0", Plain: true}, "loopback"}, {gateway.Address{Address: "127.0.0.1"}, "host:port"},
		{gateway.Address{Address: "127.0.0.1:0", Plain: true, HTTP3: true}, "HTTP/3 needs TLS"},
	} {
		if _, err := gateway.Listen(t.Context(), tt.a); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.a, err, tt.want)
		}
	}
	for _, o := range []gateway.Options{{}, {Program: program(t), Front: "fast"}, {Program: program(t), APIs: to("ftp://x")}, {Program: program(t), TLS: gateway.TLS{CertFile: "/none"}}} {
		if _, err := gateway.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestMetrics(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	d := open(t, gateway.Options{APIs: to(up.URL)})
	c := d.client(true)
	for range 3 {
		d.get(t, c)
	}
	d.raw(t, "GET / HTTP/1.1\r\nbroken\r\n\r\n")
	d.rec.last(t, 4)
	m := d.Metrics()
	if m.Requests["2xx"] != 3 || m.Requests["4xx"] != 1 || m.Refused[sallyport.StageRequest] != 1 || m.Tries != 3 || m.ResponseBytes != 6 || m.Instances["shop"][sallyport.Admitted] != 1 {
		t.Errorf("metrics %+v", m)
	}
	reg := prometheus.NewPedanticRegistry()
	for _, c := range d.Collectors() {
		reg.MustRegister(c)
	}
	all, err := reg.Gather()
	if err != nil || len(all) < 10 {
		t.Errorf("%d families, %v", len(all), err)
	}
}

// Requests are answered in order and one by one on a connection, however they
// arrive.
func TestPipelining(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	fronts(t, func(t *testing.T, front gateway.Front) {
		d := open(t, gateway.Options{APIs: to(up.URL), Front: front})
		c, err := net.Dial("tcp", d.plain)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var b bytes.Buffer
		for i := range 5 {
			fmt.Fprintf(&b, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		}
		b.WriteString("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		c.Write(b.Bytes())
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, want := range []string{"/0", "/1", "/2", "/3", "/4", "/last"} {
			i := strings.Index(string(all[at:]), "\r\n\r\n"+want)
			if i < 0 {
				t.Fatalf("no answer %s after byte %d of %s", want, at, all)
			}
			at += i
		}
	})
}

// Many clients at once, on one connection each, all get their own answer.
func TestManyClients(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	d := open(t, gateway.Options{APIs: to(up.URL), Bounds: gateway.Bounds{ClientConnections: 1000, ClientRequests: 1000}})
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			c, err := net.Dial("tcp", d.plain)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			want := fmt.Sprintf("body of %04d", i)
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(want), want)
			b, err := io.ReadAll(c)
			if err != nil || !strings.HasSuffix(string(b), want) {
				t.Errorf("client %d: %v %s", i, err, b)
			}
		})
	}
	all.Wait()
}
