package docker_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/docker"
)

func TestContainersOverTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.Path != "/containers/json" {
			w.WriteHeader(404)
			return
		}
		w.Write([]byte(`[{"Id":"8dfafdbc3a40aaaa","Names":["/shop"],"Image":"shop:1.4","Labels":{"test.example.team":"shop-team","org.opencontainers.image.source":"https://git.example.test/shop"},
			"Ports":[{"IP":"10.0.0.9","PrivatePort":8080,"PublicPort":80,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}]`))
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	defer s.Close()
	got := map[string]bool{}
	if err := (&docker.Catalogue{At: "unix:" + socket}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			got[c.Asset.Address+" "+c.Field+"="+c.Value+" "+c.Evidence] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"10.0.0.9:80 owner.team=shop-team container/shop", "172.17.0.2:8080 addresses=172.17.0.2:8080 container/shop", "172.17.0.2:8080 repository=https://git.example.test/shop container/shop", "10.0.0.9:80 technology=shop:1.4 container/shop"} {
		if !got[w] {
			t.Errorf("missed %s in %v", w, got)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d claims: %v", len(got), got)
	}
	if err := (&docker.Catalogue{At: "unix:" + socket + ".absent"}).Watch(t.Context(), nil); err == nil {
		t.Error("no error without an engine")
	}
}
