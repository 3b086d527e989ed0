package nginx_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/nginx"
)

func put(t *testing.T, file, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) ([]sallyport.Claim, error) {
	t.Helper()
	var out []sallyport.Claim
	err := (&nginx.Catalogue{ID: "edge", File: file}).Watch(t.Context(), func(l []sallyport.Claim) error { out = append(out, l...); return nil })
	return out, err
}

func lines(dir string, claims []sallyport.Claim) (out []string) {
	for _, c := range claims {
		out = append(out, c.Asset.Host+c.Asset.Path+" "+c.Field+"="+c.Value+" "+strings.TrimPrefix(c.Evidence, dir+"/"))
	}
	return out
}

const main = `# error_log off; { ;
events {}
http {
    map $host $pool {
        default  old;
        "b.example.test" new;
    }
    upstream old { server 10.0.0.1:81 weight=2; server 10.0.0.9 down; }
    upstream new { server [fd00::1]:82; server unix:/run/x.sock; }
    include sites/*.conf;
}
`

const site = `server {
    listen 443 ssl;
    server_name A.example.test b.example.test _ ~^x\d+$;
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location /v1/ { proxy_pass http://$pool; auth_basic "closed; {"; }
    location = /exact { proxy_pass https://10.0.0.3/x?y#z; }
    location ~ ^/files/(.*)$ { set $b 10.0.0.4; proxy_pass http://$b:90; }
    location /static { root /srv; }
    location @named { proxy_pass http://10.0.0.5; }
    location /dynamic { proxy_pass http://$arg_target; }
}
`

var want = []string{
	"a.example.test/exact instances=10.0.0.3:443 sites/a.conf:7",
	"a.example.test/files auth.declared=",
	"a.example.test/files instances=10.0.0.4:90 sites/a.conf:8",
	"a.example.test/v1 auth.declared=basic sites/a.conf:6",
	"a.example.test/v1 gateways=nginx sites/a.conf:6",
	"a.example.test/v1 hosts=a.example.test sites/a.conf:6",
	"a.example.test/v1 instances=10.0.0.1:81 sites/a.conf:6",
	"a.example.test/v1 instances=[fd00::1]:82 sites/a.conf:6",
	"a.example.test/v1 tls.versions=TLSv1.3 sites/a.conf:6",
	"b.example.test/v1 hosts=b.example.test sites/a.conf:6",
}

func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "nginx.conf"), main)
	put(t, filepath.Join(dir, "sites/a.conf"), site)
	claims, err := read(t, filepath.Join(dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, lines(dir, claims))
}

func check(t *testing.T, got []string) {
	t.Helper()
	for _, w := range want {
		if strings.HasSuffix(w, "=") {
			if slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
				t.Errorf("claimed without a ground: %s", w)
			}
		} else if !slices.Contains(got, w) {
			t.Errorf("missed %s", w)
		}
	}
	for _, g := range got {
		for _, no := range []string{"10.0.0.9", "10.0.0.5", "_", "x\\d", "/static", "/dynamic instances", "arg_target"} {
			if strings.Contains(g, no) && no != "_" {
				t.Errorf("claimed %s", g)
			}
		}
	}
	if t.Failed() {
		t.Log(strings.Join(got, "\n"))
	}
}

// The dump that nginx itself makes says the same.
func TestDumpOfNginx(t *testing.T) {
	dir := t.TempDir()
	key := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=a.example.test", "-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"))
	if out, err := key.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v %s", err, out)
	}
	put(t, filepath.Join(dir, "nginx.conf"), "pid "+dir+"/pid;\nerror_log stderr;\n"+main)
	put(t, filepath.Join(dir, "sites/a.conf"), site)
	cmd := exec.Command("nginx", "-T", "-q", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nginx -T: %v (test/setup.sh installs nginx)", err)
	}
	put(t, filepath.Join(dir, "dump"), string(out))
	claims, err := read(t, filepath.Join(dir, "dump"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, lines(dir, claims))
}

func TestBadConfigurations(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"loop.conf":   {"include loop.conf;", "includes itself"},
		"absent.conf": {"include nothing.conf;", "there is no"},
		"open.conf":   {"http { server {", "ends in the middle"},
		"close.conf":  {"http { } }", "} without {"},
		"deep.conf":   {strings.Repeat("a {", 100), "deep"},
		"large.conf":  {strings.Repeat("# x\n", 3<<20), "larger than"},
	} {
		put(t, filepath.Join(dir, name), c.text)
		if _, err := read(t, filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(main)
	f.Add(site)
	f.Add("a_by_lua_block { } }")
	f.Add("http { map a $b { c $b; } server { location / { proxy_pass http://$b; } } }")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "x.conf")
		put(t, file, strings.ReplaceAll(text, "include", "x"))
		_, _ = read(t, file)
	})
}
