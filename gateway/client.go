package gateway

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
)

// clientOf is the address that a request counts for. Only a trusted peer is
// believed about others: X-Forwarded-For is then read from the right, over
// trusted proxies, to the first address that is not one (what stands left of it
// anybody may have written). A part that is no address ends the walk.
func clientOf(peer netip.Addr, forwarded []string, trusted func(netip.Addr) bool) netip.Addr {
	if !trusted(peer) {
		return peer
	}
	client := peer
	for i := len(forwarded) - 1; i >= 0; i-- {
		rest := forwarded[i]
		for rest != "" {
			part := rest
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				part, rest = rest[at+1:], rest[:at]
			} else {
				rest = ""
			}
			addr, ok := forwardedAddr(strings.TrimSpace(part))
			if !ok {
				return client
			}
			client = addr
			if !trusted(addr) {
				return client
			}
		}
	}
	return client
}

// forwardedAddr reads one element of X-Forwarded-For: an address, with or
// without a port, in brackets or not.
func forwardedAddr(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// peerOf reads the address of RemoteAddr.
func peerOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// hopByHop are the headers that end at this hop (RFC 9110 section 7.6.1),
// besides those that Connection names; Forwarded and X-Forwarded-* are set
// anew, Expect is met here, and Date to Via of an upstream's is its own affair.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
	"Upgrade": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Http2-Settings": true,
}

// ownedRequest are request headers that the gateway answers for itself.
var ownedRequest = map[string]bool{
	"Expect": true, "Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Forwarded-Host": true,
	"X-Forwarded-Port": true, "X-Forwarded-Server": true, "X-Forwarded-Scheme": true, "X-Forwarded-Ssl": true,
	"X-Forwarded-Prefix": true, "X-Forwarded-Proto-Version": true, "X-Request-Id": true, "Content-Length": true, "Host": true,
	"X-Forwarded-Path": true, "Alt-Used": true,
	"Endpoint-Load-Metrics": true, "Endpoint-Load-Metrics-Bin": true, // a load report is an upstream's to make
	"Proxy": true, // CGI makes HTTP_PROXY of it (CVE-2016-5385)
}

// tells are answer headers that describe the upstream's make.
var tells = map[string]bool{
	"Server": true, "X-Powered-By": true, "X-Aspnet-Version": true, "X-Aspnetmvc-Version": true, "X-Runtime": true, "Via": true,
	"Endpoint-Load-Metrics": true, "Endpoint-Load-Metrics-Bin": true,
	"X-Generator": true, "X-Backend-Server": true, "Alt-Svc": true, "X-Request-Id": true,
}

// essential headers may not be taken away by naming them in Connection: what
// the guard has read has to arrive (RFC 9110 section 7.6.1 forbids naming them).
var essential = map[string]bool{
	"Authorization": true, "Cookie": true, "Host": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true,
	"X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true, "Forwarded": true, "X-Request-Id": true,
	"Cache-Control": true, "X-Api-Key": true, "Origin": true,
}

// What becomes of a request header on its way upstream.
type verdict uint8

const (
	pass   verdict = iota
	hidden         // the strict client leaves it out or replaces it by itself
	remove
)

// byTheClient are the request headers that http1.Transport takes care of.
var byTheClient = map[string]bool{
	"connection": true, "keep-alive": true, "transfer-encoding": true, "upgrade": true, "host": true, "content-length": true,
	"expect": true, "x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "x-request-id": true,
}

// stripper knows which request headers do not pass.
type stripper struct {
	exact    map[string]bool // folded names
	prefixes []string        // folded
	seen     *nameCache
}

func newStripper(names []string) *stripper {
	s := &stripper{exact: map[string]bool{}, seen: newNameCache(1024)}
	for name := range hopByHop {
		s.exact[fold(name)] = true
	}
	for name := range ownedRequest {
		s.exact[fold(name)] = true
	}
	for _, name := range append([]string{"X-Sallyport-*"}, names...) { // ours to say
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			s.prefixes = append(s.prefixes, fold(prefix))
		} else {
			s.exact[fold(name)] = true
		}
	}
	return s
}

// fold makes names equal that an upstream may hold for equal: case, and the
// underscore that CGI and WSGI servers make of each hyphen.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// verdict says what becomes of the request header name.
func (s *stripper) verdict(name string) verdict {
	if v, ok := s.seen.get(name); ok {
		return v
	}
	folded := fold(name)
	v := pass
	switch {
	case byTheClient[strings.ToLower(name)]:
		v = hidden
	case s.exact[folded]:
		v = remove
	}
	for _, p := range s.prefixes {
		if strings.HasPrefix(folded, p) {
			v = remove
		}
	}
	s.seen.put(name, v)
	return v
}

// connectionOptions calls f with each header that Connection names, in
// canonical form, and stops when f returns false.
func connectionOptions(values []string, f func(name string) bool) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = textproto.TrimString(part); part != "" && !f(http.CanonicalHeaderKey(part)) {
				return false
			}
		}
	}
	return true
}
