package gateway_test

import (
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sallyport.dev/gateway"
)

// Each of the 145 cases of h2spec (RFC 7540 and 7541) goes through our listener.
func TestH2spec(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, report := filepath.Join(dir, "h2spec"), filepath.Join(dir, "report.xml")
	build := exec.Command("go", "build", "-o", bin, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = "../test/tools/h2spec"
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, b)
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello, h2spec")
	})
	d := open(t, gateway.Options{APIs: to(up.URL)})
	_, port := split(t, d.addr)
	out, err := exec.Command(bin, "--tls", "--insecure", "--host", "127.0.0.1", "--port", port, "--timeout", "3", "--junit-report", report).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	cases, passed := 0, 0
	for _, s := range all.Suites {
		for _, c := range s.Cases {
			if cases++; c.Failure != nil || c.Error != nil || c.Skipped != nil {
				t.Errorf("%s: %s", c.Package, c.Name)
				continue
			}
			passed++
		}
	}
	if cases < 145 {
		t.Errorf("%d cases ran, want 145", cases)
	}
	t.Logf("%d of %d", passed, cases)
	if t.Failed() {
		t.Logf("%s", out)
	}
}

func split(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
