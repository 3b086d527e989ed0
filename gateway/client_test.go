package gateway_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// Who a request counts for, and what the upstream hears of it.
func TestClientAddress(t *testing.T) {
	v2 := func(src string) string {
		b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
		a := netip.MustParseAddr(src).As4()
		b = append(append(b, a[:]...), 127, 0, 0, 1)
		return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 4711), 443))
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name, proxy, header string
		trusted             []netip.Prefix
		client, forwarded   string
		proto, host         string
		identity            string
	}{
		{"direct", "", "", nil, "127.0.0.1", "127.0.0.1", "http", "a", ""},
		{"a stranger's claims", "", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n",
			nil, "127.0.0.1", "127.0.0.1", "http", "a", ""},
		{"by a trusted proxy", "", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n", trusted, "203.0.113.9", "203.0.113.9, 127.0.0.1", "https", "b", ""},
		{"by two of them", "", "X-Forwarded-For: 203.0.113.9, 10.1.1.1\r\n", trusted, "203.0.113.9", "203.0.113.9, 10.1.1.1, 127.0.0.1", "http", "a", ""},
		{"with a claim before the client's own", "", "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1\r\n", trusted, "203.0.113.9", "198.51.100.1, 203.0.113.9, 10.1.1.1, 127.0.0.1", "http", "a", ""},
		{"with rubbish", "", "X-Forwarded-For: 203.0.113.9, unknown\r\n", trusted, "127.0.0.1", "203.0.113.9, unknown, 127.0.0.1", "http", "a", ""},
		{"with ports and IPv6", "", "X-Forwarded-For: [2001:db8::1]:4711\r\n", trusted, "2001:db8::1", "[2001:db8::1]:4711, 127.0.0.1", "http", "a", ""},
		{"nothing but proxies", "", "X-Forwarded-For: 10.0.0.1\r\n", trusted, "10.0.0.1", "10.0.0.1, 127.0.0.1", "http", "a", ""},
		{"PROXY 1", "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", "", trusted, "203.0.113.7", "203.0.113.7", "http", "a", ""},
		{"PROXY 1 with claims", "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", "X-Forwarded-For: 198.51.100.1\r\n", trusted, "203.0.113.7", "203.0.113.7", "http", "a", ""},
		{"PROXY 1 in IPv6", "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "", trusted, "2001:db8::7", "2001:db8::7", "http", "a", ""},
		{"PROXY 1 unknown", "PROXY UNKNOWN\r\n", "", trusted, "127.0.0.1", "127.0.0.1", "http", "a", ""},
		{"PROXY 2", v2("203.0.113.8"), "", trusted, "203.0.113.8", "203.0.113.8", "http", "a", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan http.Header, 1)
			up := upstream(t, func(w http.ResponseWriter, r *http.Request) { asked <- r.Header.Clone(); io.WriteString(w, "ok") })
			d := open(t, gateway.Options{APIs: to(up.URL), TrustedProxies: tt.trusted})
			if tt.proxy == "" && tt.trusted != nil {
				tt.proxy = "PROXY UNKNOWN\r\n" // the listener wants one from each trusted peer
			}
			res, body := d.raw(t, tt.proxy+"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+tt.header+"\r\n")
			if res.StatusCode != 200 {
				t.Fatalf("got %d %s", res.StatusCode, body)
			}
			h := take(t, asked, body)
			if x := d.rec.last(t, 1); x.Client != netip.MustParseAddr(tt.client) {
				t.Errorf("client %s, want %s", x.Client, tt.client)
			}
			if got := strings.Join(h["X-Forwarded-For"], "; "); got != tt.forwarded || h.Get("X-Forwarded-Proto") != tt.proto || h.Get("X-Forwarded-Host") != tt.host ||
				h["X-Real-Ip"] != nil || h["Forwarded"] != nil {
				t.Errorf("the upstream heard %v", h)
			}
		})
	}
	t.Run("PROXY from a stranger", func(t *testing.T) {
		d := open(t, gateway.Options{})
		res, body := d.raw(t, "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res.StatusCode != 400 && res.StatusCode != 505 {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	})
}

func TestSeveralAPIs(t *testing.T) {
	named := func(name string) string {
		return upstream(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) }).URL
	}
	api := func(name, path string, hosts ...string) guard.API {
		return guard.API{API: sallyport.API{Name: name, Path: path, Hosts: hosts}, Policy: policy.API{Mode: sallyport.Enforce}}
	}
	d := open(t, gateway.Options{
		Program: program(t, api("pay", "/pay", "a.test"), api("rest", "/", "a.test"), api("other", "", "b.test")),
		APIs: []gateway.API{
			{Name: "pay", Upstreams: []gateway.Upstream{{URL: named("pay")}}}, {Name: "rest", Upstreams: []gateway.Upstream{{URL: named("rest")}}},
			{Name: "other", Upstreams: []gateway.Upstream{{URL: named("other")}}},
		},
	})
	for _, tt := range []struct{ host, path, want string }{
		{"a.test", "/pay/1", "pay"}, {"A.TEST", "/pay", "pay"}, {"a.test:8443", "/payments", "rest"}, {"b.test", "/pay/1", "other"}, {"c.test", "/pay/1", ""},
	} {
		res, body := d.raw(t, "GET "+tt.path+" HTTP/1.1\r\nHost: "+tt.host+"\r\nConnection: close\r\n\r\n")
		if tt.want == "" && res.StatusCode != 404 || tt.want != "" && body != tt.want {
			t.Errorf("%s%s: %d %s, want %s", tt.host, tt.path, res.StatusCode, body, tt.want)
		}
	}
}
