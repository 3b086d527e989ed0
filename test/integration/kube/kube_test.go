//go:build full

package kube_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/kubernetes"
)

func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func start(t *testing.T, dir, name, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (test/setup.sh kube makes it)", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s: %s", name, b[max(0, len(b)-2000):])
		}
	})
}

// A cluster is an API server over etcd, without anything that would run a Pod.
type cluster struct {
	t                     *testing.T
	dir, server           string
	admin, reader, keeper string // tokens: of everything, of the catalogue, and of the service account sallyport/sallyport
	root                  *http.Client
}

func newCluster(t *testing.T) *cluster {
	dir := t.TempDir()
	binary, err := filepath.Abs("../../../.cache/bin/kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	secret := func() string { b := make([]byte, 16); rand.Read(b); return hex.EncodeToString(b) }
	admin, reader, keeper := secret(), secret(), secret()
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(admin+",admin,1,system:masters\n"+reader+",catalogue,2\n"+keeper+",system:serviceaccount:sallyport:sallyport,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("openssl", "genrsa", "-out", filepath.Join(dir, "sa.key"), "2048").CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v %s", err, out)
	}
	client, peer, port := free(t), free(t), free(t)
	start(t, dir, "etcd", "etcd", "--name", "k", "--data-dir", "etcd", "--listen-client-urls", "http://127.0.0.1:"+client, "--advertise-client-urls", "http://127.0.0.1:"+client,
		"--listen-peer-urls", "http://127.0.0.1:"+peer, "--initial-advertise-peer-urls", "http://127.0.0.1:"+peer, "--initial-cluster", "k=http://127.0.0.1:"+peer)
	start(t, dir, "apiserver", binary, "--etcd-servers", "http://127.0.0.1:"+client, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port, "--cert-dir", "certs",
		"--service-cluster-ip-range", "10.0.0.0/24", "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", "sa.key", "--service-account-signing-key-file", "sa.key",
		"--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none", "--disable-admission-plugins", "ServiceAccount")
	server := "https://127.0.0.1:" + port
	root := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is made as it starts
	c := &cluster{t, dir, server, admin, reader, keeper, root}
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		if code, _ := c.call("GET", "/readyz", ""); code == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the API server does not become ready")
		}
	}
	return c
}

// call asks as the administrator; bodies are JSON, or YAML where they begin so.
func (c *cluster) call(method, path, body string) (int, string) {
	req, _ := http.NewRequestWithContext(c.t.Context(), method, c.server+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+c.admin)
	req.Header.Set("Content-Type", "application/json")
	switch {
	case method == "PATCH":
		req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	case body != "" && body[0] != '{':
		req.Header.Set("Content-Type", "application/yaml")
	}
	res, err := c.root.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (c *cluster) must(method, path, body string) string {
	c.t.Helper()
	code, text := c.call(method, path, body)
	if code/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	return text
}

// kubeconfig writes one for a token.
func (c *cluster) kubeconfig(token string) string {
	c.t.Helper()
	config := filepath.Join(c.dir, "kubeconfig-"+token[:6])
	pem, err := os.ReadFile(filepath.Join(c.dir, "certs", "apiserver.crt"))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "ca.pem"), pem, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, "current-context: c\ncontexts: [{name: c, context: {cluster: f, user: u}}]\nclusters: [{name: f, cluster: {server: %q, certificate-authority: ca.pem}}]\nusers: [{name: u, user: {token: %s}}]\n", c.server, token), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return config
}

func TestRealAPIServer(t *testing.T) {
	c := newCluster(t)
	must, reader := c.must, c.reader
	must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"sallyport-catalogue"},"rules":[
		{"apiGroups":[""],"resources":["services"],"verbs":["list","watch"]},{"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"],"verbs":["list","watch"]},
		{"apiGroups":["networking.k8s.io"],"resources":["ingresses"],"verbs":["list","watch"]}]}`)
	must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"metadata":{"name":"c"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"sallyport-catalogue"},"subjects":[{"kind":"User","name":"catalogue"}]}`)
	must("POST", "/api/v1/namespaces", `{"metadata":{"name":"retail"}}`)
	must("POST", "/api/v1/namespaces/retail/services", `{"metadata":{"name":"shop","labels":{"team":"shop-team"},"annotations":{"example.test/department":"Retail"}},"spec":{"ports":[{"port":80}]}}`)
	must("POST", "/apis/networking.k8s.io/v1/namespaces/retail/ingresses", `{"metadata":{"name":"shop"},"spec":{"rules":[{"host":"shop.example.test","http":{"paths":[{"path":"/v1","pathType":"Prefix","backend":{"service":{"name":"shop","port":{"number":80}}}}]}}]}}`)

	access, err := kubernetes.Kubeconfig(c.kubeconfig(reader))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	stands := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- (&kubernetes.Catalogue{ID: "real", Access: access}).Watch(ctx, func(l []sallyport.Claim) error {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range l {
				k := c.Asset.Host + c.Asset.Path + " " + c.Field + "=" + c.Value
				if stands[k] = true; c.Withdrawn {
					delete(stands, k)
				}
			}
			return nil
		})
	}()
	wait := func(want bool, fact string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			mu.Lock()
			is, all := stands[fact], fmt.Sprint(stands)
			mu.Unlock()
			if is == want {
				return
			}
			select {
			case err := <-done:
				t.Fatal(err)
			default:
			}
			if time.Now().After(end) {
				t.Fatalf("%q stands: %v, in %s", fact, is, all)
			}
		}
	}
	wait(true, "shop.retail.svc owner.team=shop-team")
	wait(true, "shop.example.test/v1 department=Retail")
	must("POST", "/apis/discovery.k8s.io/v1/namespaces/retail/endpointslices", `{"metadata":{"name":"shop-1","labels":{"kubernetes.io/service-name":"shop"}},"addressType":"IPv4","endpoints":[{"addresses":["10.1.0.5"],"conditions":{"ready":true}}],"ports":[{"name":"","port":8080,"protocol":"TCP"}]}`)
	wait(true, "shop.example.test/v1 instances=10.1.0.5:8080")
	must("DELETE", "/apis/discovery.k8s.io/v1/namespaces/retail/endpointslices/shop-1", "")
	wait(false, "shop.example.test/v1 instances=10.1.0.5:8080")
	must("DELETE", "/apis/networking.k8s.io/v1/namespaces/retail/ingresses/shop", "")
	wait(false, "shop.example.test/v1 department=Retail")
	wait(true, "shop.retail.svc department=Retail")
	cancel()
	<-done
	// The role is enough, and more is refused.
	req, _ := http.NewRequestWithContext(t.Context(), "POST", c.server+"/api/v1/namespaces/retail/services", bytes.NewReader([]byte(`{}`)))
	req.Header.Set("Authorization", "Bearer "+reader)
	if res, err := c.root.Do(req); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("the catalogue's token may write: %v %v", res, err)
	}
}
