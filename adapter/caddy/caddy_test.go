package caddy_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/caddy"
)

func read(t *testing.T, at string) ([]string, error) {
	t.Helper()
	var out []string
	err := (&caddy.Catalogue{ID: "c", At: at}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			out = append(out, c.Asset.Host+c.Asset.Path+" "+c.Field+"="+c.Value)
		}
		return nil
	})
	return out, err
}

func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A Caddyfile says the same read as a file, and as Caddy itself understood it.
func TestFileAndRunningCaddy(t *testing.T) {
	dir, admin, port := t.TempDir(), free(t), free(t)
	_, port, _ = net.SplitHostPort(port)
	file := filepath.Join(dir, "Caddyfile")
	text := "{\n\tadmin " + admin + "\n\tauto_https off\n}\n" +
		"http://Shop.example.test:" + port + ", http://shop2.example.test:" + port + " {\n\t# reverse_proxy 10.9.9.9:1\n\thandle /v1/* {\n\t\treverse_proxy 10.0.0.1:80 10.0.0.2:80\n\t}\n\t@old path /old/*\n\treverse_proxy @old http://10.0.0.3:81\n\trespond /static 200\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"shop.example.test/v1 instances=10.0.0.1:80", "shop2.example.test/v1 instances=10.0.0.2:80", "shop.example.test/old instances=10.0.0.3:81", "shop.example.test/v1 gateways=caddy"}
	check := func(got []string) {
		t.Helper()
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("missed %s in\n%s", w, strings.Join(got, "\n"))
			}
		}
		for _, g := range got {
			if strings.Contains(g, "10.9.9.9") || strings.Contains(g, "static") {
				t.Errorf("claimed %s", g)
			}
		}
	}
	got, err := read(t, file)
	if err != nil {
		t.Fatal(err)
	}
	check(got)
	cmd := exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (test/setup.sh installs caddy)", err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if got, err = read(t, "http://"+admin); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	check(got)
}

func FuzzFile(f *testing.F) {
	f.Add("a.test {\n\thandle /x {\n\t\treverse_proxy 1.1.1.1:1\n\t}\n}\n")
	f.Add(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"subroute","routes":[]}]}]}}}}}`)
	f.Add(strings.Repeat("a {\n", 100))
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = read(t, file)
	})
}
