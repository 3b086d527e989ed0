package gateway_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/gateway"
)

// Debian's sslscan finds nothing that is out of date at our listener.
func TestSslscan(t *testing.T) {
	d := open(t, gateway.Options{TLS: gateway.TLS{Names: []string{"shop.example.test"}}})
	b, err := exec.Command("sslscan", "--no-colour", "--sni-name=shop.example.test", d.addr).CombinedOutput()
	if err != nil {
		t.Fatalf("sslscan: %v\n%s", err, b)
	}
	out := string(b)
	for _, want := range []string{
		`SSLv2 +disabled`, `SSLv3 +disabled`, `TLSv1\.0 +disabled`, `TLSv1\.1 +disabled`, `TLSv1\.2 +enabled`, `TLSv1\.3 +enabled`,
		`supports TLS Fallback SCSV`, `Session renegotiation not supported`, `TLSv1\.2 not vulnerable to heartbleed`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("sslscan does not say %s:\n%s", want, out)
		}
	}
	ciphers := 0
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "Preferred") && !strings.HasPrefix(line, "Accepted") {
			continue
		}
		ciphers++
		if f := strings.Fields(line); !strings.HasPrefix(f[4], "TLS_") && (!strings.HasPrefix(f[4], "ECDHE-") || !strings.Contains(f[4], "GCM") && !strings.Contains(f[4], "CHACHA20")) {
			t.Errorf("offered: %s", line)
		}
	}
	if ciphers < 5 {
		t.Errorf("%d cipher suites seen:\n%s", ciphers, out)
	}
}
