package traefik_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/traefik"
)

func read(t *testing.T, at, token string) ([]string, error) {
	t.Helper()
	var out []string
	err := (&traefik.Catalogue{ID: "t", At: at, Token: token}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			out = append(out, c.Asset.Host+c.Asset.Path+" "+c.Field+"="+c.Value+" "+c.Evidence)
		}
		return nil
	})
	return out, err
}

func holds(t *testing.T, got []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w+" ") }) {
			t.Errorf("missed %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	for _, g := range got {
		if strings.Contains(g, "not.example") || strings.Contains(g, "off.example") {
			t.Errorf("claimed %s", g)
		}
	}
}

func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dynamic.yaml")
	text := "http:\n  routers:\n    a:\n      rule: \"(Host(`A.example.test`) || Host(`b.example.test`)) && PathPrefix(`/v1`) && !Host(`not.example.test`)\"\n      service: s\n    c:\n      rule: HostRegexp(`.+`)\n      service: s\n    d:\n      rule: Host(`d.example.test`, \"e.example.test\")\n      service: s@file\n  services:\n    s: {loadBalancer: {servers: [{url: \"http://10.0.0.1:80/\"}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := read(t, file, "")
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got, "b.example.test/v1 instances=10.0.0.1:80", "d.example.test hosts=d.example.test", "e.example.test gateways=traefik")
	if err := os.WriteFile(file, []byte("http: {routers: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, file, ""); err == nil {
		t.Error("no error for broken YAML")
	}
}

// The answers have the shapes that Traefik's API documents.
func TestAPI(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != "GET" || r.Header.Get("Authorization") != "Bearer t":
			w.WriteHeader(401)
		case r.URL.Path == "/api/http/routers":
			w.Write([]byte("[{\"name\":\"shop@docker\",\"rule\":\"Host(`shop.example.test`) && Path(`/x`)\",\"service\":\"shop\",\"status\":\"enabled\",\"provider\":\"docker\"},{\"name\":\"o@file\",\"rule\":\"Host(`off.example.test`)\",\"service\":\"o\",\"status\":\"disabled\"}]"))
		case r.URL.Path == "/api/http/services":
			w.Write([]byte(`[{"name":"shop@docker","loadBalancer":{"servers":[{"url":"http://172.17.0.2:8080"}]}}]`))
		}
	}))
	defer s.Close()
	got, err := read(t, s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got, "shop.example.test/x instances=172.17.0.2:8080", "shop.example.test/x hosts=shop.example.test")
	if _, err := read(t, s.URL, ""); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
}
