package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

// serveOrigin is the upstream behind every proxy: an ordinary Go service that
// answers a GET with 1 KiB of JSON, and reads and decodes the JSON of a POST.
func serveOrigin(addr string) error {
	body := []byte(`{"id":1234,"text":"` + strings.Repeat("blue jacket ", 82) + `"}`)
	length := strconv.Itoa(len(body))
	return (&http.Server{Addr: addr, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			var v map[string]any
			if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&v); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			io.WriteString(w, `{"ok":true}`)
			return
		}
		w.Header().Set("Content-Length", length)
		w.Write(body)
	})}).ListenAndServe()
}

// serveReverseProxy is the standard library's proxy, tuned: what a Go gateway
// costs before it checks anything. With rules it runs Coraza and the Core Rule
// Set at paranoia level 1 first.
func serveReverseProxy(addr, origin string, rules bool) error {
	u := &url.URL{Scheme: "http", Host: origin}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(p *httputil.ProxyRequest) { p.SetURL(u); p.Out.Host = p.In.Host; p.SetXForwarded() },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 256, IdleConnTimeout: time.Minute, DisableCompression: true},
		BufferPool: newPool(),
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	var h http.Handler = proxy
	if rules {
		waf, err := newCoraza()
		if err != nil {
			return err
		}
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err != nil {
				return
			}
			if inspectCoraza(waf, r.Method, r.URL.RequestURI(), r.Header, r.Host, body) != nil {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			proxy.ServeHTTP(w, r)
		})
	}
	return (&http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}

// pool lends the copy buffers of the proxy.
type pool struct{ free *sync.Pool }

func newPool() pool {
	return pool{&sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
}

func (p pool) Get() []byte  { return *p.free.Get().(*[]byte) }
func (p pool) Put(b []byte) { p.free.Put(&b) }

// newCoraza is Coraza with the Core Rule Set at paranoia level 1 and settings in
// its favour: request bodies on, answers and audit log off.
func newCoraza() (coraza.WAF, error) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(`
Include @coraza.conf-recommended
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecAuditEngine Off
Include @crs-setup.conf.example
Include @owasp_crs/*.conf`))
	if err != nil {
		return nil, fmt.Errorf("load the Core Rule Set: %w", err)
	}
	return waf, nil
}

func inspectCoraza(waf coraza.WAF, method, target string, h http.Header, host string, body []byte) *types.Interruption {
	tx := waf.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection("127.0.0.1", 40000, "127.0.0.1", 80)
	tx.ProcessURI(target, method, "HTTP/1.1")
	tx.AddRequestHeader("Host", host)
	for k, vs := range h {
		for _, v := range vs {
			tx.AddRequestHeader(k, v)
		}
	}
	if it := tx.ProcessRequestHeaders(); it != nil {
		return it
	}
	if len(body) > 0 {
		if it, _, err := tx.WriteRequestBody(body); it != nil || err != nil {
			return it
		}
	}
	it, _ := tx.ProcessRequestBody()
	return it
}
