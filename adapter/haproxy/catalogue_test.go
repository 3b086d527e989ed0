package haproxy_test

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
	"sallyport.dev/adapter/haproxy"
)

const config = `global
    stats socket @DIR@/admin.sock level user
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend edge   # use_backend commented if nothing
    bind 127.0.0.1:@PORT@
    acl shop hdr(host) -i Shop.example.test shop2.example.test:8080
    acl v1 path_beg /v1
    acl old path_beg /old
    use_backend api if shop v1
    use_backend other if { hdr(host) -i other.example.test } !old
    default_backend rest
backend api
    server s1 127.0.0.1:9101 check
    server s2 127.0.0.1:9102 disabled
backend other
    server o1 127.0.0.1:9103
backend rest
    server r1 127.0.0.1:9104
`

func read(t *testing.T, at string) ([]sallyport.Claim, error) {
	t.Helper()
	var out []sallyport.Claim
	err := (&haproxy.Catalogue{ID: "lb", At: at}).Watch(t.Context(), func(l []sallyport.Claim) error { out = append(out, l...); return nil })
	return out, err
}

func lines(claims []sallyport.Claim) (out []string) {
	for _, c := range claims {
		out = append(out, c.Asset.Host+c.Asset.Path+c.Asset.Address+" "+c.Field+"="+c.Value)
	}
	return out
}

func TestFileAndRunningProcess(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("@DIR@", dir, "@PORT@", port).Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	claims, err := read(t, file)
	if err != nil {
		t.Fatal(err)
	}
	got := lines(claims)
	for _, w := range []string{"shop.example.test/v1 hosts=shop.example.test", "shop.example.test/v1 instances=127.0.0.1:9101", "shop2.example.test/v1 gateways=haproxy", "other.example.test instances=127.0.0.1:9103", "127.0.0.1:9104 instances=127.0.0.1:9104"} {
		if !slices.Contains(got, w) {
			t.Errorf("missed %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	for _, g := range got {
		if strings.Contains(g, "9102") || strings.Contains(g, "/old") {
			t.Errorf("claimed %s", g)
		}
	}

	cmd := exec.Command("haproxy", "-db", "-q", "-f", file)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (test/setup.sh installs haproxy)", err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	socket := "unix:" + filepath.Join(dir, "admin.sock")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if claims, err = read(t, socket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	got = lines(claims)
	for _, w := range []string{"127.0.0.1:9101 workload=api/s1", "127.0.0.1:9103 instances=127.0.0.1:9103", "127.0.0.1:9102 addresses=127.0.0.1:9102", "127.0.0.1:9104 gateways=haproxy"} {
		if !slices.Contains(got, w) {
			t.Errorf("missed %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	if slices.Contains(got, "127.0.0.1:9102 instances=127.0.0.1:9102") {
		t.Error("a server in maintenance is claimed to serve")
	}
}

// A socket that answers nonsense, or nothing, is an error and no withdrawal.
func TestBadSocket(t *testing.T) {
	for _, answer := range []string{"", "Unknown command\n", "# a,b\n1,\"2\n", strings.Repeat("x", 17<<20)} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 100))
				conn.Write([]byte(answer))
				conn.Close()
			}
		}()
		if claims, err := read(t, "tcp://"+ln.Addr().String()); err == nil {
			t.Errorf("%.20q: %v", answer, claims)
		}
		ln.Close()
	}
}

func FuzzFile(f *testing.F) {
	f.Add(config)
	f.Add("listen x\n server a 1.1.1.1:1\nfrontend f\nuse_backend b if { path /")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "h.cfg")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, file); err != nil {
			t.Fatal(err)
		}
	})
}
