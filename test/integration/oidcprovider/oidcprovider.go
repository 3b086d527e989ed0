// Package oidcprovider starts a real OpenID provider for tests: the certified
// oidc-provider of npm, in test/integration/oidc-provider, on a free port of
// loopback. In comes a *testing.T; out goes a running provider that issues
// tokens and rotates its keys when asked to. It runs `npm ci` first where that
// is needed, and ends what it started with the test. It never touches another
// process and keeps nothing.
package oidcprovider

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Provider is one running OpenID provider. Safe for concurrent use.
type Provider struct {
	Issuer string
	secret string
	client http.Client
	stop   func()
}

var installed sync.Once

// Start runs a provider until t ends. It fails t when node or npm are not there.
func Start(t testing.TB) *Provider {
	t.Helper()
	dir := folder()
	var err error
	installed.Do(func() { err = install(dir) })
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "provider.mjs")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node: %v (the provider needs Node.js 20 or later)", err)
	}
	var once sync.Once
	p := &Provider{client: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
	p.stop = func() {
		once.Do(func() {
			_ = in.Close() // it ends with its input
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
			p.client.CloseIdleConnections()
		})
	}
	t.Cleanup(p.stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var ready struct{ Issuer, Secret string }
		if json.Unmarshal(lines.Bytes(), &ready) == nil && ready.Issuer != "" {
			p.Issuer, p.secret = ready.Issuer, ready.Secret
			return p
		}
	}
	p.stop()
	t.Fatalf("the provider did not start: %s", said.String())
	return nil
}

// Stop ends the provider before the test ends.
func (p *Provider) Stop() { p.stop() }

// Token gets an access token by client_credentials. The path of the resource
// chooses the algorithm, /rs, /ps, /es or /ed, or an opaque token, /opaque.
func (p *Provider) Token(t testing.TB, resource, scope string) string {
	t.Helper()
	return p.token(t, "service", resource, scope, nil)
}

// TokenByProof is Token for the provider's own holder of a key: the token is
// bound to that key, and Proof makes the proofs for it.
func (p *Provider) TokenByProof(t testing.TB, resource, scope string) string {
	t.Helper()
	return p.token(t, "service", resource, scope, http.Header{"Dpop": {p.Proof(t, "POST", p.Issuer+"/token", "", "")}})
}

// TokenByCertificate is Token for a client with the certificate, in DER: the
// token is bound to it.
func (p *Provider) TokenByCertificate(t testing.TB, resource, scope string, der []byte) string {
	t.Helper()
	return p.token(t, "bound", resource, scope, http.Header{"X-Client-Cert": {base64.StdEncoding.EncodeToString(der)}})
}

// Proof makes a DPoP proof (RFC 9449) with the provider's own holder's key.
func (p *Provider) Proof(t testing.TB, method, target, token, nonce string) string {
	t.Helper()
	q := url.Values{"method": {method}, "url": {target}}
	if token != "" {
		q.Set("token", token)
	}
	if nonce != "" {
		q.Set("nonce", nonce)
	}
	req, err := http.NewRequest(http.MethodGet, p.Issuer+"/_test/proof?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var proof string
	p.do(t, req, &proof)
	return proof
}

// Client gives the id and secret of the client that Token is for, which may also introspect.
func (p *Provider) Client() (id, secret string) { return "service", p.secret }

// Revoke revokes a token (RFC 7009).
func (p *Provider) Revoke(t testing.TB, token string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.Issuer+"/token/revocation", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("service", p.secret)
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("revoke: %d", resp.StatusCode)
	}
}

func (p *Provider) token(t testing.TB, client, resource, scope string, more http.Header) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {scope}}
	req, err := http.NewRequest(http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range more {
		req.Header[name] = values
	}
	req.SetBasicAuth(client, p.secret)
	var answer struct {
		Token string `json:"access_token"`
	}
	p.do(t, req, &answer)
	if answer.Token == "" {
		t.Fatal("the provider gave no token")
	}
	return answer.Token
}

// Rotate makes new signing keys, keeps the given number of old generations
// published, and returns the kids that are published now.
func (p *Provider) Rotate(t testing.TB, keep int) []string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/_test/rotate?keep=%d", p.Issuer, keep), nil)
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	p.do(t, req, &kids)
	return kids
}

// ClientKeys gives the provider the public keys (a JWK Set) of the client
// "signed", which proves itself by signed assertions (RFC 7523).
func (p *Provider) ClientKeys(t testing.TB, set []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.Issuer+"/_test/client-keys", bytes.NewReader(set))
	if err != nil {
		t.Fatal(err)
	}
	var none any
	p.do(t, req, &none)
}

// Requests counts what the provider was asked, by path.
func (p *Provider) Requests(t testing.TB) map[string]int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.Issuer+"/_test/requests", nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	p.do(t, req, &counts)
	return counts
}

func (p *Provider) do(t testing.TB, req *http.Request, answer any) {
	t.Helper()
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %v: %s", req.Method, req.URL.Path, resp.StatusCode, err, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
}

func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(filepath.Dir(file)), "oidc-provider")
}

// install runs npm ci unless what is installed is what the lock file says. Test
// binaries that start together take turns.
func install(dir string) error {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "sallyport-oidc-provider.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, "node_modules", ".installed")
	if have, err := os.ReadFile(mark); err == nil && bytes.Equal(have, want) {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w: %s", dir, err, out)
	}
	return os.WriteFile(mark, want, 0o600)
}
