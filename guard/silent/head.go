package silent

import (
	"net/http"
	"net/url"
	"strings"
	"unsafe"
)

// plainHeaders never say more than the protocol needs.
func plainHeader(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Date", "Cache-Control", "Etag", "Last-Modified", "Vary", "Connection", "Content-Encoding", "Expires",
		"Accept-Ranges", "Age", "Transfer-Encoding", "Keep-Alive", "Allow", "Retry-After", "X-Request-Id", "Strict-Transport-Security", "X-Frame-Options",
		"X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods",
		"Access-Control-Allow-Headers", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Access-Control-Max-Age", "Content-Range",
		"Content-Language", "Set-Cookie", "Trailer", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Alt-Svc", "Server", "Via", "X-Powered-By":
		return true // the last four a gateway takes away in any case
	}
	return false
}

// telltale reports whether a header of this name describes the service's make.
func telltale(name string) bool {
	switch name {
	case "X-Aspnet-Version", "X-Aspnetmvc-Version", "X-Generator", "X-Runtime", "X-Backend-Server", "X-Backend", "X-Served-By", "X-Drupal-Cache", "X-Drupal-Dynamic-Cache", "X-Varnish",
		"X-Debug-Token", "X-Debug-Token-Link", "X-Debug-Exception", "X-Debug-Exception-File", "X-Php-Version", "X-Php-Response-Code", "X-Application-Context", "X-Sourcefiles",
		"X-Server", "X-Server-Name", "X-Server-Id", "X-Node", "X-Host", "X-Hostname", "X-Pod", "X-Pod-Name", "X-Instance-Id", "X-Container-Id", "X-Upstream", "X-Upstream-Addr",
		"X-Envoy-Upstream-Service-Time", "X-Envoy-Decorator-Operation", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "X-Owa-Version", "X-Jenkins", "X-Jenkins-Session", "X-Hudson",
		"X-Powered-Cms", "X-Turbo-Charged-By", "X-Mod-Pagespeed", "X-Page-Speed", "X-Litespeed-Cache", "X-Magento-Cache-Debug", "X-Nextjs-Cache", "X-Rack-Cache", "X-Django-Version",
		"X-Sharepointhealthscore", "Microsoftsharepointteamservices", "Sourcemap", "X-Sourcemap", "X-Exception", "X-Error-Trace", "X-Stack-Trace", "X-Sql", "X-Query":
		return true
	}
	return false
}

// Head calls leak for each header line that gives something away, and says
// whether to drop it; Location is to be cut to its path instead, see Relative.
// It is called for every answer, and looks at nothing but the head.
func Head(h http.Header, k *Known, leak func(name string, l Leak)) {
	for name, values := range h {
		if plainHeader(name) {
			continue
		}
		if telltale(name) {
			leak(name, Leak{Rule: RuleHeader, Class: "telltale"})
			continue
		}
		for _, v := range values {
			if l, bad := Value(v, k); bad {
				leak(name, l)
				break
			}
		}
	}
}

// Value looks at one header's value.
func Value(v string, k *Known) (Leak, bool) {
	if len(v) < 6 {
		return Leak{}, false
	}
	var room [1]Leak
	if found := scan(unsafe.Slice(unsafe.StringData(v), len(v)), k, room[:0]); len(found) > 0 {
		return found[0], true
	}
	return Leak{}, false
}

// Relative is a Location without the scheme and host in it, "" when there is
// nothing else in it that could be kept.
func Relative(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return ""
	}
	u.Scheme, u.Host, u.User = "", "", nil
	if u.Path == "" {
		u.Path = "/"
	}
	out := u.String()
	if strings.HasPrefix(out, "//") {
		return ""
	}
	return out
}

// Kept reports whether a header of an error stays when its body is replaced:
// what the protocol needs, and what browsers need to read the answer at all.
func Kept(name string) bool {
	switch name {
	case "Retry-After", "Www-Authenticate", "Proxy-Authenticate", "Allow", "Set-Cookie", "Vary", "Strict-Transport-Security", "Ratelimit", "Ratelimit-Policy",
		"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Clear-Site-Data", "Deprecation", "Sunset":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-")
}
