package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The commands of the guide print what it says.
func TestSourcesGuideRunsAsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/sources")); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "sallyport")); err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/guides/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for block := range strings.SplitSeq(string(guide), "```console\n") {
		block, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for step := range strings.SplitSeq(block[2:], "\n$ ") {
			command, want, _ := strings.Cut(step, "\n")
			c := exec.Command("bash", "-c", command)
			c.Dir, c.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), asCommand+"=1")
			out, _ := c.Output()
			if got := strings.ReplaceAll(strings.TrimSpace(string(out)), dir+"/", ""); got != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s\nwant %s", command, got, want)
			}
			ran++
		}
	}
	if ran < 7 {
		t.Errorf("%d commands of the guide ran", ran)
	}
}

// A log that grows while the product runs: what a specification declares is
// counted there, what none does is a shadow, a host of no API is a candidate,
// and a restart counts nothing twice.
func TestLogsReachTheInventory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(t, "sources: [{file: \"*.access\"}]")
	log := filepath.Join(s.dir, "edge.access")
	add := func(list ...string) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, l := range list {
			host, rest, _ := strings.Cut(l, " ")
			fmt.Fprintf(f, "%s:443 192.0.2.7 - - [%s] \"%s HTTP/1.1\" 200 5 \"-\" \"x\"\n", host, time.Now().Format("02/Jan/2006:15:04:05 -0700"), rest)
		}
	}
	add("pets.example.test GET /pets/7", "pets.example.test GET /pets/7", "pets.example.test GET /hidden/export?access_token=s3cr3t-Zq8xV2mK9pLw4TnR", "old.example.test GET /v0/users", "not a line")
	p := s.start(t)
	m := p.wait(`/setup#(\S+)`)
	d := p.signIn(m[1], "correct horse battery staple")
	type api struct {
		Name   string `json:"name"`
		Counts struct {
			Requests int64 `json:"requests"`
		} `json:"counts"`
		Configured bool `json:"configured"`
	}
	counts := func(pets, old int64) {
		t.Helper()
		eventually(t, 20*time.Second, func() string {
			var list struct {
				APIs []api `json:"apis"`
			}
			d.do(http.MethodGet, "/apis", nil, http.StatusOK, &list)
			found := map[string]api{}
			for _, a := range list.APIs {
				found[a.Name] = a
			}
			if a, b := found["pets"], found["old.example.test"]; a.Counts.Requests == pets && b.Counts.Requests == old && a.Configured && !b.Configured {
				return ""
			}
			return fmt.Sprintf("the inventory has %+v", list.APIs)
		})
	}
	counts(3, 1)
	var ops struct {
		Operations []struct {
			Template string `json:"template"`
			Declared bool   `json:"declared"`
			Shadow   bool   `json:"shadow"`
		} `json:"operations"`
	}
	eventually(t, 10*time.Second, func() string {
		d.do(http.MethodGet, "/operations?api=pets", nil, http.StatusOK, &ops)
		for _, o := range ops.Operations {
			if o.Template == "/hidden/export" && o.Shadow {
				return ""
			}
		}
		return fmt.Sprintf("operations %+v", ops)
	})
	var sources struct {
		Sources []struct {
			Name, Format, State, FirstBad string
			Read, Emitted, Bad            uint64
		} `json:"sources"`
	}
	d.do(http.MethodGet, "/sources", nil, http.StatusOK, &sources)
	if len(sources.Sources) != 1 || sources.Sources[0].Format != "apache-vhost" || sources.Sources[0].Emitted != 4 {
		t.Errorf("sources %+v", sources)
	}
	if n := p.metric("sallyport_source_exchanges_total{source=\"log:" + log + "\"}"); n != 4 {
		t.Errorf("the metric is %v", n)
	}
	p.cmd.Process.Kill()
	<-p.done
	add("pets.example.test GET /pets/7")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	add("old.example.test GET /v0/users")
	p = s.start(t)
	d = p.signIn("", "correct horse battery staple")
	counts(4, 2)
	p.stop()
	b, _ := os.ReadFile(log)
	if strings.Contains(p.output(), "s3cr3t") || len(b) == 0 {
		t.Error("the output holds a secret")
	}
}

// Mistakes are named with their place.
func TestSourcesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"sources: [{zone: Nowhere/City, file: a}]": "sources[0].zone",
		"sources: [{}]": "sources[0]",
		"sources: [{file: a, format: \"$status\"}]":         "no request line",
		"sources: [{file: \"[\"}]":                          "sources[0].file",
		"sources: [{syslog: \"http://a:1\"}]":               "sources[0].syslog",
		"sources: [{syslog: \"tls://a:1\"}]":                "cert and key go with tls://",
		"sources: [{push: \"0.0.0.0:1\"}]":                  "give token",
		"sources: [{push: \"127.0.0.1:1\", token: x}]":      "sources[0].token",
		"sources: [{push: \"127.0.0.1:1\", file: a}]":       "make two of it",
		"sources: [{file: a, format: nonsense}]":            "want one of json",
		"sources: [{capture: {interface: lo, ports: [0]}}]": "0 is no port",
		"sources: [{otlp: \"127.0.0.1:1\"}]":                "want http://, grpc://",
		"sources: [{otlp: \"grpc://0.0.0.0:1\"}]":           "give token",
		"sources: [{otlp: \"grpcs://127.0.0.1:1\"}]":        "cert and key go with https://",
	} {
		_, err := parseConfig("x.yaml", []byte("listen: {gateway: \"127.0.0.1:1\"}\ntls: \"off\"\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What is pushed, and what is sent by syslog or OTLP, stands in the inventory beside
// what the gateway saw.
func TestSendersReachTheInventory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pushed, logs, traces := freeAddr(t), freeAddr(t), freeAddr(t)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") }))
	defer plain.Close()
	_, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	s.configure(t, fmt.Sprintf("sources: [{push: %q}, {syslog: %q}, {otlp: %q}, {capture: {interface: lo, ports: [%s]}}]", pushed, "tcp://"+logs, "http://"+traces, port))
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#(\S+)`)[1], "correct horse battery staple")
	eventually(t, 10*time.Second, func() string {
		res, err := http.Post("http://"+pushed+"/v1/exchanges", "application/x-ndjson", strings.NewReader(`{"method":"GET","url":"https://pets.example.test/pets/7","status":200}`+"\n"))
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			return res.Status
		}
		return ""
	})
	eventually(t, 10*time.Second, func() string {
		c, err := net.Dial("tcp", logs)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		fmt.Fprintf(c, "<134>1 - - - - - - forgotten.example.test:443 192.0.2.7 - - [%s] \"GET /v0/users HTTP/1.1\" 200 5 \"-\" \"x\"\n", time.Now().Format("02/Jan/2006:15:04:05 -0700"))
		return ""
	})
	eventually(t, 10*time.Second, func() string {
		res, err := http.Post("http://"+traces+"/v1/traces", "application/json", strings.NewReader(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"billing"}}]},"scopeSpans":[{"spans":[`+
			`{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","kind":2,"attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.path","value":{"stringValue":"/invoices/7"}},{"key":"http.response.status_code","value":{"intValue":"200"}}]}]}]}]}`))
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return res.Status
		}
		return ""
	})
	r, _ := http.NewRequest(http.MethodGet, plain.URL+"/wires/7", nil)
	r.Host = "wire.example.test"
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	eventually(t, 15*time.Second, func() string {
		var list struct {
			APIs []struct {
				Name   string `json:"name"`
				Counts struct {
					Requests int64 `json:"requests"`
				} `json:"counts"`
			} `json:"apis"`
		}
		d.do(http.MethodGet, "/apis", nil, http.StatusOK, &list)
		n := int64(0)
		for _, a := range list.APIs {
			if a.Name == "pets" || a.Name == "forgotten.example.test" || a.Name == "billing" || a.Name == "wire.example.test" {
				n += a.Counts.Requests
			}
		}
		if n == 4 {
			return ""
		}
		return fmt.Sprintf("the inventory has %+v", list.APIs)
	})
	p.stop()
}
