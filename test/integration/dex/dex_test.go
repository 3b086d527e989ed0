//go:build full

package dex_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// output keeps what a process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a program until t ends and waits until it answers at ready.
func start(t *testing.T, dir, ready, program string, args ...string) *output {
	t.Helper()
	said := &output{}
	c := exec.Command(program, args...)
	c.Dir, c.Stdout, c.Stderr = dir, said, said
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatalf("%v (make test-full builds it)", err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
	for range 300 {
		if res, err := http.Get(ready); err == nil {
			res.Body.Close()
			return said
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not answer: %s", program, said)
	return nil
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDex: discovery, tokens by password, a rotation of the signing keys while
// requests flow, and a forged token, through the running program.
func TestDex(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, op, door, console := t.TempDir(), freeAddr(t), freeAddr(t), freeAddr(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("the password of this test"), 10)
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + op + "/dex"
	write(t, filepath.Join(dir, "dex.yaml"), fmt.Sprintf(`issuer: %s
storage: {type: memory}
web: {http: %s}
expiry: {idTokens: 5m, signingKeys: 5s}
oauth2: {passwordConnector: local, grantTypes: [password]}
staticClients: [{id: shop, name: Shop, secret: made-for-this-test, redirectURIs: ["http://127.0.0.1/"]}]
enablePasswordDB: true
staticPasswords: [{email: alice@example.test, hash: %q, username: alice, userID: "0001"}]
`, issuer, op, hash))
	start(t, dir, issuer+"/.well-known/openid-configuration", filepath.Join(root, ".cache/bin/dex"), "serve", "dex.yaml")
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Sallyport-Principal"))
	}))
	defer up.Close()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "sallyport"), "./cmd/sallyport")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, filepath.Join(dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: %q, console: %q}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: shop
    match: {host: shop.example.test}
    upstreams: [{url: %q}]
    mode: enforce
    auth: {oidc: {issuer: %q, audience: shop}, anonymous: never}
    rules: [{name: verified, require: claims.email == "alice@example.test" && claims.email_verified == true}]
    credentials: {principal: header}
`, door, console, up.URL, issuer))
	said := start(t, dir, "http://"+console+"/healthz", filepath.Join(dir, "sallyport"), "run")

	token := func() string {
		form := url.Values{"grant_type": {"password"}, "username": {"alice@example.test"}, "password": {"the password of this test"}, "scope": {"openid email"}}
		req, err := http.NewRequest("POST", issuer+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("shop", "made-for-this-test")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct {
			Token string `json:"access_token"`
		}
		b, _ := io.ReadAll(res.Body)
		if json.Unmarshal(b, &answer) != nil || answer.Token == "" {
			t.Fatalf("Dex gave no token: %d %s", res.StatusCode, b)
		}
		return answer.Token
	}
	ask := func(token string) (int, string) {
		req, err := http.NewRequest("GET", "http://"+door+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.example.test"
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	kid := func(token string) string {
		head, _, _ := strings.Cut(token, ".")
		b, err := base64.RawURLEncoding.DecodeString(head)
		if err != nil {
			t.Fatal(err)
		}
		var h struct{ Kid string }
		if err := json.Unmarshal(b, &h); err != nil {
			t.Fatal(err)
		}
		return h.Kid
	}
	first := token()
	if status, who := ask(first); status != 200 || !strings.HasPrefix(who, "oidc:"+issuer+"#") {
		t.Fatalf("a genuine token: %d %q: %s", status, who, said)
	}
	if status, _ := ask(""); status != 401 {
		t.Errorf("none: %d", status)
	}
	if status, _ := ask(first[:len(first)-6] + "AAAAAA"); status != 401 {
		t.Errorf("a forged one: %d", status)
	}
	// Dex looks every half minute whether its keys are to be rotated.
	rotated, asked := "", 0
	for end := time.Now().Add(90 * time.Second); rotated == "" && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if status, _ := ask(first); status != 200 {
			t.Fatalf("the older token while keys rotate: %d", status)
		}
		if asked++; asked%4 != 0 {
			continue
		}
		if next := token(); kid(next) != kid(first) {
			rotated = next
		}
	}
	if rotated == "" {
		t.Fatal("Dex did not rotate its keys within 90 s")
	}
	for name, token := range map[string]string{"of the new key": rotated, "of the older key": first} {
		if status, _ := ask(token); status != 200 {
			t.Errorf("after the rotation, one %s: %d", name, status)
		}
	}
	t.Logf("%d requests with the older token while keys rotated, none refused", asked)
}
