package dns_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"sallyport.dev"
	zones "sallyport.dev/adapter/dns"
)

const zone = `$ORIGIN example.test.
$TTL 300
@ IN SOA ns hostmaster 1 2 3 4 5
@ IN NS ns
ns IN A 10.0.0.1
API IN CNAME edge.provider.example.
_grpc._tcp.pay IN SRV 1 1 8443 pay-1
txt IN TXT "api IN A 1.1.1.1"
six IN AAAA fd00::1
`

func read(t *testing.T, at string) (map[string]bool, error) {
	t.Helper()
	got := map[string]bool{}
	err := (&zones.Catalogue{At: at}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			got[c.Asset.Host+" "+c.Field+"="+c.Value] = true
		}
		return nil
	})
	return got, err
}

func check(t *testing.T, got map[string]bool) {
	t.Helper()
	for _, w := range []string{"api.example.test upstreams=edge.provider.example", "pay.example.test instances=pay-1.example.test:8443", "ns.example.test instances=10.0.0.1", "six.example.test instances=fd00::1", "api.example.test hosts=api.example.test"} {
		if !got[w] {
			t.Errorf("missed %s in %v", w, got)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d claims: %v", len(got), got)
	}
}

func TestZoneFileAndTransfer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "example.zone")
	if err := os.WriteFile(file, []byte(zone), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := read(t, file)
	if err != nil {
		t.Fatal(err)
	}
	check(t, got)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		if m.Question[0].Qtype != dns.TypeAXFR || m.Question[0].Name != "example.test." {
			dns.HandleFailed(w, m)
			return
		}
		var all []dns.RR
		for z, p := dns.NewZoneParser(strings.NewReader(zone), "", ""), (dns.RR)(nil); ; {
			rr, ok := z.Next()
			if !ok {
				break
			}
			if p == nil {
				p = rr
			}
			all = append(all, rr)
		}
		all = append(all, all[0])
		out := make(chan *dns.Envelope, 1)
		out <- &dns.Envelope{RR: all}
		close(out)
		if err := new(dns.Transfer).Out(w, m, out); err != nil {
			t.Error(err)
		}
	})}
	go server.ActivateAndServe()
	defer server.Shutdown()
	if got, err = read(t, "axfr://"+ln.Addr().String()+"/example.test"); err != nil {
		t.Fatal(err)
	}
	check(t, got)
	if _, err := read(t, "axfr://"+ln.Addr().String()+"/other.test"); err == nil {
		t.Error("a refused transfer is no error")
	}
}

func TestBadZones(t *testing.T) {
	for _, text := range []string{"$INCLUDE /etc/passwd\n", "a IN A not-an-address\n", "$GENERATE 1-1000000000 a$ A 1.1.1.1\n"} {
		file := filepath.Join(t.TempDir(), "z")
		if err := os.WriteFile(file, []byte("$ORIGIN x.test.\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t, file); err == nil {
			t.Errorf("%q: %d claims", text, len(got))
		}
	}
}
