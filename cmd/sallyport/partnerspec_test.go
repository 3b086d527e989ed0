package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A partner's document given by URL: asked for again on a timer, taken over when
// it adds something, held back when it breaks what is in force or is no document,
// and gone by what was good last while the partner is down, over a restart too.
func TestDocumentsOfPartners(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	srv, ca := partner(t, "api.partner.test")
	write(t, filepath.Join(s.dir, "partner-ca.pem"), string(ca))
	const head = "openapi: 3.1.0\ninfo: {title: Partner, version: \"%d\"}\npaths:\n"
	const charges = "  /v1/charges: {post: {responses: {\"201\": {description: made}}}}\n"
	const more = "  /v1/more: {get: {responses: {\"200\": {description: ok}}}}\n"
	type answer struct {
		status int
		text   string
	}
	var now atomic.Pointer[answer]
	var unchanged, asked atomic.Int64
	calls := srv.Config.Handler
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openapi.yaml" {
			calls.ServeHTTP(w, r)
			return
		}
		asked.Add(1)
		a := now.Load()
		tag := fmt.Sprintf(`"%x"`, len(a.text))
		if a.status == 200 && r.Header.Get("If-None-Match") == tag {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
		if a.status == 302 {
			w.Header().Set("Location", "https://169.254.169.254/openapi.yaml")
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.text)
	})
	first := fmt.Sprintf(head, 1) + charges
	now.Store(&answer{200, first})
	door := freeAddr(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	s.configure(t, fmt.Sprintf(`egress:
  listen: "%s"
  destinations:
    - name: partner
      host: api.partner.test
      url: https://127.0.0.1:%s
      ca: partner-ca.pem
      addresses: [127.0.0.0/8]
      spec: https://api.partner.test/openapi.yaml
      spec_every: 1s
      mode: enforce
      shadow: refuse
`, door, port))
	p := s.start(t)
	trusted := p.wait(`clients trust (\S+)`)[1]
	ours, err := os.ReadFile(trusted)
	if err != nil {
		t.Fatal(err)
	}
	client := caller(t, door, "", false, ours)
	status := func(path string) int {
		method := "GET"
		if path == "/v1/charges" {
			method = "POST"
		}
		req, _ := http.NewRequest(method, "https://api.partner.test"+path, nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	holds := func(what string, want map[string]int) {
		t.Helper()
		for path, status1 := range want {
			if got := status(path); got != status1 {
				t.Errorf("%s: %s is answered %d, want %d", what, path, got, status1)
			}
		}
	}
	outcome := func(name string) float64 {
		res, err := http.Get("http://" + s.console + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		_, rest, _ := strings.Cut(string(b), `sallyport_partner_spec_fetches_total{api="partner",outcome="`+name+`"} `)
		line, _, _ := strings.Cut(rest, "\n")
		n, _ := strconv.ParseFloat(line, 64) // none yet: 0
		return n
	}
	more1 := func(what, name string) {
		t.Helper()
		before := outcome(name)
		eventually(t, 20*time.Second, func() string {
			if outcome(name) > before {
				return ""
			}
			return what + ": no " + name
		})
	}
	holds("at first", map[string]int{"/v1/charges": 201, "/v1/more": 404})
	more1("the same", "unchanged")
	if unchanged.Load() == 0 {
		t.Error("no request was conditional")
	}
	now.Store(&answer{200, fmt.Sprintf(head, 2) + charges + more})
	p.wait(`change taken over \(the document of partner changed\)`)
	holds("with one more", map[string]int{"/v1/charges": 201, "/v1/more": 200})
	for what, a := range map[string]struct {
		answer
		outcome string
	}{
		"an operation is gone": {answer{200, fmt.Sprintf(head, 3) + more}, "held"},
		"cut in the middle":    {answer{200, (fmt.Sprintf(head, 4) + charges)[:70]}, "held"},
		"no document":          {answer{200, "<html>sorry</html>"}, "held"},
		"an error":             {answer{500, "broken"}, "failed"},
		"too large":            {answer{200, strings.Repeat("# filler\n", (partnerSpecBytes/9)+2)}, "failed"},
		"a redirect elsewhere": {answer{302, ""}, "failed"},
		"empty":                {answer{200, ""}, "failed"},
	} {
		now.Store(&a.answer)
		more1(what, a.outcome)
		holds(what, map[string]int{"/v1/charges": 201, "/v1/more": 200})
	}
	p.wait(`partner's document has changed in a way that breaks`)
	p.wait(`partner's document cannot be fetched`)
	p.stop()

	now.Store(&answer{503, ""}) // down as we start
	p = s.start(t)
	more1("down", "failed")
	holds("after a restart", map[string]int{"/v1/charges": 201, "/v1/more": 200})
	// Whoever wants the change after all says so.
	text, _ := os.ReadFile(filepath.Join(s.dir, "sallyport.yaml"))
	write(t, filepath.Join(s.dir, "sallyport.yaml"), strings.Replace(string(text), "spec_every: 1s", "spec_every: 1s\n      spec_breaking: take", 1))
	p.wait(`change taken over`)
	now.Store(&answer{200, fmt.Sprintf(head, 3) + more})
	p.wait(`change taken over \(the document of partner changed\)`)
	holds("taken", map[string]int{"/v1/charges": 404, "/v1/more": 200})
	p.stop()
}

// Documents are had only from where calls may go.
func TestDocumentsOfPartnersStayOnTheirWay(t *testing.T) {
	srv, _ := partner(t, "api.partner.test")
	for _, at := range []string{srv.URL, "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/openapi.yaml", "https://localhost:1/x"} {
		d := &destination{Name: "partner", Host: "api.partner.test", Spec: stringList{at}}
		if _, err := d.docs(t.TempDir()).fetch(t.Context(), &partnerDoc{URL: at}); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%s: %v", at, err)
		}
	}
}
