package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/conformance/attest"
	"sallyport.dev/spec"
)

// serverCert writes tls.crt and tls.key for this machine and gives a client that trusts them.
func serverCert(t *testing.T, dir string) *http.Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sallyport.sallyport.svc"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, filepath.Join(dir, "tls.crt"), string(crt))
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(crt)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// A pipeline's tests of an image become a signed verdict, and the cluster that
// asks about the image hears it.
func TestVerdictsOnImages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	client := serverCert(t, s.dir)
	instance, hook := freeAddr(t), freeAddr(t)
	running := notesAt(t, instance, "a1", false)
	token := "sp_" + rand.Text()
	sum := sha256.Sum256([]byte(token))
	write(t, filepath.Join(s.dir, "ci.token"), token)
	write(t, filepath.Join(s.dir, "other.token"), "sp_"+rand.Text())
	write(t, filepath.Join(s.dir, "notes.yaml"), gatedSpec)
	file := filepath.Join(s.dir, "sallyport.yaml")
	configuration := fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
verdicts:
  good: 240h
  reporters:
    - {name: ci, apis: [notes], hash: "sha256:%s"}
    - {name: pipelines, apis: [notes], issuer: "%s", audience: pets, subject: alice}
kubernetes:
  webhook: {listen: "%s", tls: {cert: tls.crt, key: tls.key}, exempt_namespaces: [kube-system]}
apis:
  - name: notes
    spec: notes.yaml
    match: {host: pets.example.test}
    upstreams: [{url: "http://%s"}]
    owner: {team: Notes, contact: notes@example.test}
    mode: enforce
  - name: other
    spec: notes.yaml
    match: {host: other.example.test}
    upstreams: [{url: "http://%s"}]
    owner: {team: Notes, contact: notes@example.test}
    mode: enforce
`, s.gateway, s.console, hex.EncodeToString(sum[:]), s.issuer.URL, hook, instance, instance)
	write(t, file, configuration)
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)
	p.wait(`webhook  https://` + hook)

	image := func(n int) string { return fmt.Sprintf("sha256:%064x", n) }
	ask := func(digest string) (bool, string) {
		t.Helper()
		body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","resource":{"group":"","version":"v1","resource":"pods"},"operation":"CREATE","namespace":"retail",
			"object":{"metadata":{"labels":{"sallyport.dev/api":"notes"}},"spec":{"containers":[{"name":"notes","image":"registry.example.test/notes@%s"}]}}}}`, digest)
		res, err := client.Post("https://"+hook+"/admit", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var a struct {
			Response struct {
				Allowed bool
				Status  struct{ Message string }
			}
		}
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a.Response.Allowed, a.Response.Status.Message
	}
	check := func(digest, tokenFile string, more ...string) (int, string) {
		var out bytes.Buffer
		code := command(t.Context(), append([]string{"check", "notes", "--config", file, "--target", "http://" + instance, "--image", digest, "--report", "http://" + s.console,
			"--report-token", "file:" + filepath.Join(s.dir, tokenFile)}, more...), &out, &out)
		return code, out.String()
	}
	if ok, why := ask(image(1)); ok || !strings.Contains(why, "there is no verdict on it; run `sallyport check notes --profile full --image "+image(1)) {
		t.Errorf("untested: %v %q", ok, why)
	}
	if code, out := check(image(1), "ci.token"); code != 0 || !strings.Contains(out, "passed as notes, good until") {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if ok, why := ask(image(1)); !ok {
		t.Errorf("tested: %q", why)
	}
	if ok, _ := ask(image(2)); ok {
		t.Error("another image may run")
	}
	running.srv.Close()
	running = notesAt(t, instance, "a2", true)
	if code, out := check("registry.example.test/notes@"+image(3), "ci.token"); code != 1 || !strings.Contains(out, "failed as notes") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if ok, why := ask(image(3)); ok || !strings.Contains(why, "failed full, verdict i") {
		t.Errorf("failed: %v %q", ok, why)
	}
	running.srv.Close()
	running = notesAt(t, instance, "a3", false)
	for _, x := range []struct {
		what, digest, token string
		more                []string
		code                int
		say                 string
	}{
		{"no token of ours", image(4), "other.token", nil, 1, "401"},
		{"an API that the token is not for", image(4), "ci.token", []string{"--as", "other"}, 1, "403"},
		{"a tag", "registry.example.test/notes:1.2", "ci.token", nil, 2, "a tag can be another image tomorrow"},
		{"in plain text over the network", image(4), "ci.token", []string{"--report", "http://192.0.2.1"}, 2, "https://"},
		{"too shallow for the cluster", image(5), "ci.token", []string{"--profile", "safe"}, 0, "passed as notes"},
	} {
		code, out := check(x.digest, x.token, x.more...)
		if code != x.code || !strings.Contains(out, x.say) || strings.Contains(out, token) {
			t.Errorf("%s: exit %d, want %d with %q\n%s", x.what, code, x.code, x.say, out)
		}
	}
	if ok, why := ask(image(5)); ok || !strings.Contains(why, "lesser profile") {
		t.Errorf("shallow: %v %q", ok, why)
	}

	// A pipeline may show a token of its own provider.
	for subject, want := range map[string]int{"alice": 0, "mallory": 1} {
		id, err := s.issuer.Token("app", "ES256", func(_, claims map[string]any) { claims["sub"] = subject })
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.dir, "id.token"), id)
		if code, out := check(image(6), "id.token"); code != want {
			t.Errorf("as %s: exit %d\n%s", subject, code, out)
		}
	}
	if ok, why := ask(image(6)); !ok {
		t.Errorf("reported with an OpenID Connect token: %q", why)
	}

	// What was signed can be verified by anybody with the key.
	var list struct {
		Verdicts []struct {
			ID, Image, Spec, Policy, Profile, Reporter string
			Passed                                     bool
		}
		Key string
	}
	d.do("GET", "/verdicts?api=notes", nil, 200, &list)
	first := len(list.Verdicts) - 1
	if first != 3 || list.Verdicts[first].Image != image(1) || !list.Verdicts[first].Passed || list.Verdicts[first].Reporter != "ci" || list.Verdicts[0].Reporter != "pipelines" {
		t.Fatalf("%+v", list)
	}
	var detail struct {
		Envelope json.RawMessage
		Report   struct{ Passed bool }
	}
	d.do("GET", "/verdicts/"+list.Verdicts[first].ID, nil, 200, &detail)
	block, _ := pem.Decode([]byte(list.Key))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	st, err := attest.Verify(public.(ed25519.PublicKey), detail.Envelope)
	if err != nil || !st.Predicate.Passed || st.Predicate.Policy == "" || !detail.Report.Passed {
		t.Errorf("%+v %v", st, err)
	}
	var out bytes.Buffer
	if code := command(t.Context(), []string{"key", "verdicts", "-c", file}, &out, &out); code != 0 || out.String() != list.Key {
		t.Errorf("exit %d %s, want %s", code, out.String(), list.Key)
	}

	// A report of three million bytes is taken whole.
	large, err := json.Marshal(conformance.Report{API: "notes", Profile: conformance.Full, Passed: true, Requests: 1, Started: time.Now(), Coverage: conformance.Coverage{Checks: map[string]int{"contract.body": 1}},
		NotRun: []string{strings.Repeat("' OR 1=1 -- <script>", 100_000)}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Load(t.Context(), []spec.Source{{Path: filepath.Join(s.dir, "notes.yaml")}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := specDigest(set)
	if err != nil {
		t.Fatal(err)
	}
	packed, _ := json.Marshal(map[string]any{"api": "notes", "image": image(7), "spec": digest, "report": attest.Pack(large)})
	req, _ := http.NewRequest("POST", "http://"+s.console+"/api/v1/verdicts", bytes.NewReader(packed))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 201 {
		t.Errorf("a large report: %v %v", res, err)
	}

	bomb, _ := json.Marshal(map[string]any{"api": "notes", "image": image(8), "spec": digest, "report": attest.Pack(bytes.Repeat([]byte(" "), 64<<20))})

	// Hostile bytes at the console and at the webhook.
	for _, body := range []string{"", "null", "{", `{"api":"notes","image":"` + image(1) + `","spec":"` + image(1) + `","report":"e30="}`, string(bomb), `{"api":"notes"}`, `"` + strings.Repeat("A", 8<<20)} {
		req, _ := http.NewRequest("POST", "http://"+s.console+"/api/v1/verdicts", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		if res, err := http.DefaultClient.Do(req); err == nil { // or cut off while it sends
			if io.Copy(io.Discard, res.Body); res.StatusCode < 400 || res.StatusCode > 499 {
				t.Errorf("%.60s: %d", body, res.StatusCode)
			}
			res.Body.Close()
		}
	}

	// A verdict holds for one specification: with another in force the image is refused.
	write(t, filepath.Join(s.dir, "notes.yaml"), strings.Replace(gatedSpec, "maximum: 1000", "maximum: 1001", 1))
	p.wait(`change taken over \(notes.yaml`)
	if ok, why := ask(image(1)); ok || !strings.Contains(why, "another specification") {
		t.Errorf("with another specification: %v %q", ok, why)
	}
	if n := p.metric(`sallyport_admission_reviews_total{what="refused"}`); n < 4 {
		t.Errorf("%v refusals counted", n)
	}
	p.stop()
}

// The commands of the guide print what the guide says.
func TestKubernetesGuideRunsAsWritten(t *testing.T) {
	t.Parallel()
	dir, gateway, console, hook, service := t.TempDir(), freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	notesAt(t, service, "a1", false)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	places := strings.NewReplacer("127.0.0.1:18460", gateway, "127.0.0.1:19460", console, "127.0.0.1:8444", hook, "127.0.0.1:9007", service, "bin/sallyport", asCommand+"=1 "+self)
	for _, name := range []string{"sallyport.yaml", "notes.openapi.yaml"} {
		b, err := os.ReadFile("../../examples/kubernetes/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), places.Replace(string(b)))
	}
	serverCert(t, dir)
	for from, to := range map[string]string{"tls.crt": "webhook.crt", "tls.key": "webhook.key"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	p := (&site{dir: dir, gateway: gateway}).start(t)
	p.wait(`webhook  https://` + hook)
	runGuide(t, "kubernetes.md", dir, 6, places, "export SALLYPORT_TOKEN", "image=", "review()")
	p.stop()
}
