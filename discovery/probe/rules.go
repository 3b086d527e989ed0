package probe

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sallyport.dev"
)

// A Rule names one thing that can be wrong, and how it is told.
type Rule struct {
	ID       string             `json:"id"`
	Title    string             `json:"title"`
	Severity sallyport.Severity `json:"severity"`
	Why      string             `json:"why"`
	Fix      string             `json:"fix"`
	Refs     []string           `json:"refs"`

	asks  []ask // beside what was asked anyway; each changes nothing
	kinds bool  // it needs the protocols to be known
	check func(s *site) []seen
}

type seen struct{ place, what string }

// Rules lists every rule, in the order of its table.
func Rules() []Rule { return slices.Clone(rules()) }

func chosen(ids []string) ([]Rule, error) {
	if len(ids) == 0 {
		return rules(), nil
	}
	var out []Rule
	for _, id := range ids {
		i := slices.IndexFunc(rules(), func(r Rule) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("no rule is called %q", id)
		}
		out = append(out, rules()[i])
	}
	return out, nil
}

// judge asks what rules want to know and notes what they find.
func (s *site) judge(ctx context.Context) {
	if len(s.p.Rules) > 0 && s.p.NoGuess && slices.ContainsFunc(s.rules, func(r Rule) bool { return r.kinds }) {
		s.describe(ctx)
		s.guess(ctx)
		s.protocols(ctx)
		s.rest()
	}
	if s.service.Protocol != "h2c" && !s.dead {
		for _, r := range s.rules {
			for _, q := range r.asks {
				key := q.method + " " + q.path + " " + fmt.Sprint(q.header) + q.body
				if s.tried[key] || q.method == "" && len(q.header) == 0 && s.tried[q.path] {
					continue
				}
				s.tried[key] = true
				q.path = s.fill(q.path)
				for k, v := range q.header {
					q.header = cloneWith(q.header, k, s.fill(v))
				}
				a, err := s.fetch(ctx, q)
				if err == nil {
					s.keep(a)
				}
			}
			if r.kinds {
				s.askKinds(ctx, r.ID)
			}
		}
	}
	for _, r := range s.rules {
		places := map[string]bool{}
		for _, x := range r.check(s) {
			if places[x.place] || len(places) >= 20 {
				continue
			}
			places[x.place] = true
			path, _, _ := strings.Cut(x.place, " ")
			if !strings.HasPrefix(path, "/") {
				path = ""
			}
			s.out.Findings = append(s.out.Findings, sallyport.Finding{Rule: r.ID, Title: r.Title, Severity: r.Severity, Asset: s.asset(path), Place: clip(x.place, 300), Evidence: []string{clip(printable(x.what), 300)}, Fix: r.Fix, Refs: r.Refs, Source: Source, Time: s.p.Now()})
		}
	}
}

func cloneWith(m map[string]string, k, v string) map[string]string {
	out := map[string]string{}
	for a, b := range m {
		out[a] = b
	}
	out[k] = v
	return out
}

// fill puts the site's own host where a question wants it.
func (s *site) fill(v string) string {
	return strings.ReplaceAll(v, "{host}", s.hostHeader(s.host, s.port, s.scheme))
}

const stranger = "sallyport-stranger.invalid"

// askKinds asks of the APIs found what some rules want to know.
func (s *site) askKinds(ctx context.Context, rule string) {
	mark := func(q ask, what string) {
		if a, err := s.fetch(ctx, q); err == nil {
			a.req = http.Header{"X-Probe": {what}}
			s.keep(a)
		}
	}
	for _, a := range s.apis {
		switch {
		case rule == "graphql.batching" && a.Kind == GraphQL:
			mark(post(a.Path, "application/json", `[{"query":"{__typename}"},{"query":"{__typename}"}]`), rule)
		case rule == "graphql.get" && a.Kind == GraphQL:
			mark(ask{path: a.Path + "?query=" + url.QueryEscape("{__typename}")}, rule)
		case rule == "graphql.suggestions" && a.Kind == GraphQL:
			mark(post(a.Path, "application/json", `{"query":"{__typenam}"}`), rule)
		case rule == "graphql.aliases" && a.Kind == GraphQL:
			mark(post(a.Path, "application/json", `{"query":"{`+aliases(200)+`}"}`), rule)
		case rule == "websocket.origin" && a.Kind == WebSocket:
			if x := s.upgrade(ctx, a.Path, "", "https://"+stranger, nil); x != nil {
				x.req = http.Header{"X-Probe": {rule}}
				s.keep(x)
			}
		case rule == "auth.missing" && a.Kind == OpenAPI:
			n := 0
			for _, o := range a.Operations {
				if o.Secured && o.Method == "GET" && !strings.ContainsAny(o.Template, "{}") && n < 20 {
					n++
					mark(ask{path: o.Template}, rule)
				}
			}
		case rule == "jsonrpc.discover" && a.Kind == JSONRPC:
			mark(post(a.Path, "application/json", `{"jsonrpc":"2.0","id":"sp3","method":"rpc.discover"}`), rule)
		}
	}
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d:__typename", i)
	}
	return b.String()
}

// probed gives the answers to what askKinds asked for a rule.
func (s *site) probed(rule string) (out []*answer) {
	for _, a := range s.answers {
		if a.req.Get("X-Probe") == rule {
			out = append(out, a)
		}
	}
	return out
}

// each looks at every answer that was kept.
func each(f func(s *site, a *answer) string) func(*site) []seen {
	return func(s *site) (out []seen) {
		for _, a := range s.answers {
			if what := f(s, a); what != "" {
				path, _, _ := strings.Cut(a.path, "?")
				out = append(out, seen{path, what})
			}
		}
		return out
	}
}

// once is each, of which the first is enough: what is set for a whole site.
func once(f func(s *site, a *answer) string) func(*site) []seen {
	return func(s *site) []seen {
		if out := each(f)(s); len(out) > 0 {
			return out[:1]
		}
		return nil
	}
}

// content looks at 200 answers at the paths for what only the thing itself contains.
func content(pattern string, paths ...string) (asks []ask, check func(*site) []seen) {
	re := regexp.MustCompile(pattern)
	for _, p := range paths {
		asks = append(asks, ask{path: p})
	}
	return asks, func(s *site) (out []seen) {
		for _, a := range s.answers {
			path, _, _ := strings.Cut(a.path, "?")
			if a.status == 200 && (slices.Contains(paths, a.path) || slices.Contains(paths, path)) && re.Match(a.body) {
				out = append(out, seen{path, "GET " + a.path + " answers 200 with " + clip(string(re.Find(a.body)), 60)})
			}
		}
		return out
	}
}

func at(id, title string, severity sallyport.Severity, why, fix string, refs []string, pattern string, paths ...string) Rule {
	asks, check := content(pattern, paths...)
	return Rule{ID: id, Title: title, Severity: severity, Why: why, Fix: fix, Refs: refs, asks: asks, check: check}
}

// any looks for a pattern in whatever was answered.
func anywhere(pattern string) func(*site) []seen {
	re := regexp.MustCompile(pattern)
	return each(func(s *site, a *answer) string {
		if m := re.FindIndex(a.body); m != nil {
			return "the answer (" + itoa(a.status) + ") matches what such a text begins with: " + clip(string(a.body[m[0]:min(m[1], m[0]+60)]), 60)
		}
		return ""
	})
}

func problem(name string) func(*site) []seen {
	return func(s *site) []seen {
		if s.service.TLS != nil && s.service.TLS.problems[name] != "" {
			return []seen{{"certificate", s.service.TLS.problems[name]}}
		}
		return nil
	}
}

func version(name string) func(*site) []seen {
	return func(s *site) []seen {
		if s.service.TLS != nil && slices.Contains(s.service.TLS.Versions, name) {
			return []seen{{name, name + " is accepted"}}
		}
		return nil
	}
}

func suite(f func(string) bool) func(*site) []seen {
	return func(s *site) (out []seen) {
		if s.service.TLS == nil {
			return nil
		}
		for _, x := range s.service.TLS.Suites {
			if f(x) {
				out = append(out, seen{x, x + " is accepted"})
			}
		}
		return out
	}
}

func kind(k Kind, f func(s *site, a *API) string) func(*site) []seen {
	return func(s *site) (out []seen) {
		for i := range s.apis {
			if a := &s.apis[i]; a.Kind == k {
				if what := f(s, a); what != "" {
					out = append(out, seen{a.Path, what})
				}
			}
		}
		return out
	}
}

func evidence(word string) func(*site, *API) string {
	return func(_ *site, a *API) string {
		for _, e := range a.Evidence {
			if strings.Contains(e, word) {
				return e
			}
		}
		return ""
	}
}

func cookies(f func(s *site, c *http.Cookie) bool) func(*site) []seen {
	return func(s *site) (out []seen) {
		for _, a := range s.answers {
			for _, c := range (&http.Response{Header: a.header}).Cookies() {
				if f(s, c) {
					out = append(out, seen{"cookie " + clip(c.Name, 60), "set by " + a.method + " " + a.path})
				}
			}
		}
		return out
	}
}

var sessionName = regexp.MustCompile(`(?i)sess|sid$|auth|token|jwt|login`)

func origin(asked string, f func(s *site, a *answer, allowed string) string) Rule {
	return Rule{asks: []ask{{path: "/", header: map[string]string{"Origin": asked}}, {path: "/api", header: map[string]string{"Origin": asked}}}, check: each(func(s *site, a *answer) string {
		if a.req.Get("Origin") != s.fill(asked) {
			return ""
		}
		return f(s, a, a.header.Get("Access-Control-Allow-Origin"))
	})}
}

func (r Rule) as(id, title string, severity sallyport.Severity, why, fix string, refs ...string) Rule {
	r.ID, r.Title, r.Severity, r.Why, r.Fix, r.Refs = id, title, severity, why, fix, refs
	return r
}

func header(a *answer, name string) string { return a.header.Get(name) }

var (
	config = []string{"OWASP API8:2023"}
	access = []string{"OWASP API5:2023", "CWE-306"}
	leak   = []string{"OWASP API8:2023", "CWE-200"}
	weak   = []string{"OWASP API8:2023", "CWE-326"}
	debug  = []string{"OWASP API8:2023", "CWE-489"}
	file   = []string{"OWASP API8:2023", "CWE-538"}
)

const (
	off   = "Switch it off where users are, or let only operators reach it."
	docs  = "Let only those who build against it reach it, or decide that it is public and say so in the inventory."
	renew = "Renew the certificate, and have it renewed without anybody's doing (ACME)."
	newer = "Accept TLS 1.2 with forward secrecy and TLS 1.3 alone."
	quiet = "Answer with a problem document that says nothing about the inside; keep the original in the log."
)

// oldVersions are products whose line gets no more repairs, by the Server or
// X-Powered-By header. As of November 2026.
var oldVersions = regexp.MustCompile(`(?i)\b(?:nginx/(?:0\.|1\.(?:[0-9]|1[0-9]|2[0-6])\b)|Apache/(?:1\.|2\.[0-2]\b|2\.4\.(?:[0-9]|[1-5][0-9]|6[0-3])\b)|PHP/(?:[3-7]\.|8\.[01]\b)|Microsoft-IIS/[1-8]\.|OpenSSL/(?:0\.|1\.)|Python/(?:2\.|3\.[0-8]\b)|Werkzeug/(?:0\.|1\.)|Jetty\((?:[6-9]|10)\.|Apache-Coyote/1\.[01]|squid/[1-5]\.|lighttpd/1\.(?:[0-3]\.|4\.[0-5][0-9]\b))`)

// rules are compiled when the first scan wants them.
var rules = sync.OnceValue(table)

func table() []Rule {
	return []Rule{
		// TLS.
		{ID: "tls.ssl3", Title: "SSL 3.0 is accepted", Severity: sallyport.High, Why: "Its padding can be read by who sits between (POODLE).", Fix: newer, Refs: weak, check: version("SSL 3.0")},
		{ID: "tls.1_0", Title: "TLS 1.0 is accepted", Severity: sallyport.Medium, Why: "RFC 8996 forbids it; its MACs and modes are broken in parts.", Fix: newer, Refs: weak, check: version("TLS 1.0")},
		{ID: "tls.1_1", Title: "TLS 1.1 is accepted", Severity: sallyport.Medium, Why: "RFC 8996 forbids it.", Fix: newer, Refs: weak, check: version("TLS 1.1")},
		{ID: "tls.no_1_3", Title: "TLS 1.3 is not offered", Severity: sallyport.Info, Why: "Older versions show more of the handshake and allow weaker choices.", Fix: "Offer TLS 1.3.", Refs: weak, check: func(s *site) []seen {
			if s.service.TLS != nil && !slices.Contains(s.service.TLS.Versions, "TLS 1.3") {
				return []seen{{"TLS 1.3", "the newest version accepted is " + s.service.TLS.Versions[len(s.service.TLS.Versions)-1]}}
			}
			return nil
		}},
		{ID: "tls.suite.rc4", Title: "RC4 is accepted", Severity: sallyport.High, Why: "Its output is biased (RFC 7465).", Fix: newer, Refs: weak, check: suite(func(n string) bool { return strings.Contains(n, "_RC4_") })},
		{ID: "tls.suite.3des", Title: "3DES is accepted", Severity: sallyport.Medium, Why: "Its blocks of 64 bits repeat on long connections (SWEET32).", Fix: newer, Refs: weak, check: suite(func(n string) bool { return strings.Contains(n, "_3DES_") })},
		{ID: "tls.suite.no_forward_secrecy", Title: "Suites without forward secrecy are accepted", Severity: sallyport.Medium, Why: "Who gets the key later reads what was recorded before.", Fix: newer, Refs: weak, check: suite(func(n string) bool {
			return strings.HasPrefix(n, "TLS_RSA_") && !strings.Contains(n, "_RC4_") && !strings.Contains(n, "_3DES_")
		})},
		{ID: "tls.suite.cbc", Title: "Suites with CBC and SHA-1 are accepted", Severity: sallyport.Low, Why: "Their order of MAC and encryption has been attacked again and again.", Fix: newer, Refs: weak, check: suite(func(n string) bool { return strings.HasPrefix(n, "TLS_ECDHE_") && strings.Contains(n, "_CBC_") })},
		{ID: "tls.certificate.expired", Title: "The certificate has expired", Severity: sallyport.High, Why: "Clients that check refuse it; those that were told not to check trust anybody.", Fix: renew, Refs: []string{"CWE-298"}, check: problem("expired")},
		{ID: "tls.certificate.early", Title: "The certificate is not valid yet", Severity: sallyport.Medium, Why: "Clients that check refuse it.", Fix: renew, Refs: []string{"CWE-298"}, check: problem("early")},
		{ID: "tls.certificate.soon", Title: "The certificate expires within 14 days", Severity: sallyport.Medium, Why: "What renews it has not done so.", Fix: renew, Refs: []string{"CWE-298"}, check: problem("soon")},
		{ID: "tls.certificate.long", Title: "The certificate is valid for more than 398 days", Severity: sallyport.Low, Why: "A lost key stays good for that long; browsers refuse it.", Fix: renew, Refs: []string{"CWE-324"}, check: problem("long")},
		{ID: "tls.certificate.name", Title: "The certificate names other hosts", Severity: sallyport.High, Why: "Clients that check refuse it.", Fix: "Put the name among the certificate's subject alternative names.", Refs: []string{"CWE-297"}, check: problem("name")},
		{ID: "tls.certificate.no_names", Title: "The certificate has no subject alternative name", Severity: sallyport.Medium, Why: "Clients of today look nowhere else.", Fix: "Issue one with names.", Refs: []string{"CWE-297"}, check: problem("noname")},
		{ID: "tls.certificate.self_signed", Title: "The certificate is issued by itself", Severity: sallyport.Medium, Why: "Nobody vouches for it, so clients are told not to check.", Fix: "Use an authority, your own inside.", Refs: []string{"CWE-295"}, check: problem("self")},
		{ID: "tls.certificate.untrusted", Title: "The certificate's issuer is not trusted, or its chain is not complete", Severity: sallyport.Medium, Why: "Clients that check refuse it.", Fix: "Send the whole chain; use an authority that clients know.", Refs: []string{"CWE-295"}, check: problem("untrusted")},
		{ID: "tls.certificate.weak_key", Title: "The certificate's key is too short", Severity: sallyport.High, Why: "It can be computed.", Fix: "Use ECDSA P-256 or RSA 2048 and up.", Refs: weak, check: problem("key")},
		{ID: "tls.certificate.sha1", Title: "The certificate is signed with SHA-1 or MD5", Severity: sallyport.High, Why: "Others can be made with the same signature.", Fix: renew, Refs: []string{"CWE-328"}, check: problem("signature")},
		{ID: "tls.certificate.authority", Title: "The server's certificate may sign others", Severity: sallyport.Medium, Why: "Who takes the server can vouch for any name.", Fix: "Serve with a certificate that is no authority.", Refs: []string{"CWE-295"}, check: problem("ca")},

		// Transport and headers.
		{ID: "http.plain", Title: "An API is served without TLS", Severity: sallyport.Medium, Why: "Who sits between reads and changes everything, credentials included.", Fix: "Serve it with TLS, and let plain HTTP only redirect.", Refs: []string{"OWASP API8:2023", "CWE-319"}, check: func(s *site) []seen {
			if s.scheme != "http" {
				return nil
			}
			for _, a := range s.answers {
				if a.status < 300 || a.status == 401 {
					return []seen{{"http", a.method + " " + a.path + " answers " + itoa(a.status) + " without TLS"}}
				}
			}
			return nil
		}},
		{ID: "http.no_hsts", Title: "Strict-Transport-Security is missing", Severity: sallyport.Low, Why: "A first visit without TLS can be kept there (RFC 6797).", Fix: "Send Strict-Transport-Security with max-age of a year.", Refs: []string{"CWE-319"}, check: once(func(s *site, a *answer) string {
			if s.scheme == "https" && a.path == "/" && a.method == "GET" && a.status < 400 && header(a, "Strict-Transport-Security") == "" {
				return "GET / answers without it"
			}
			return ""
		})},
		{ID: "http.downgrade", Title: "HTTPS redirects to HTTP", Severity: sallyport.High, Why: "The next request goes without TLS.", Fix: "Redirect to https:// alone.", Refs: []string{"CWE-319"}, check: each(func(s *site, a *answer) string {
			if s.scheme == "https" && a.status >= 300 && a.status < 400 && strings.HasPrefix(strings.ToLower(header(a, "Location")), "http://") {
				return "Location begins with http://"
			}
			return ""
		})},
		{ID: "http.trace", Title: "TRACE is answered", Severity: sallyport.Low, Why: "It gives back headers that scripts must not see.", Fix: "Refuse the method.", Refs: []string{"CWE-693"}, asks: []ask{{method: "TRACE", path: "/", header: map[string]string{"X-Sallyport": "echo-7c1d"}}}, check: once(func(s *site, a *answer) string {
			if a.method == "TRACE" && a.status == 200 && bytes.Contains(a.body, []byte("echo-7c1d")) {
				return "TRACE / gives the request back"
			}
			return ""
		})},
		{ID: "http.open_redirect", Title: "A parameter decides where a redirect goes", Severity: sallyport.Medium, Why: "A link to this host ends at another one.", Fix: "Redirect to paths of your own, or to a list.", Refs: []string{"CWE-601"},
			asks: func() (out []ask) {
				for _, p := range []string{"url", "next", "redirect", "return_to", "redirect_uri"} {
					for _, path := range []string{"/redirect", "/login", "/logout", "/"} {
						out = append(out, ask{path: path + "?" + p + "=https%3A%2F%2F" + stranger + "%2F"})
					}
				}
				return out
			}(), check: each(func(s *site, a *answer) string {
				u, err := url.Parse(header(a, "Location"))
				if err == nil && a.status >= 300 && a.status < 400 && u.Host == stranger && strings.Contains(a.path, stranger) {
					return "Location is taken from a parameter"
				}
				return ""
			})},
		{ID: "http.host_reflection", Title: "X-Forwarded-Host of anybody is believed", Severity: sallyport.Medium, Why: "Links and redirects lead to the host of an attacker, from caches to everybody.", Fix: "Believe it from your own proxies alone.", Refs: []string{"CWE-644"},
			asks: []ask{{path: "/", header: map[string]string{"X-Forwarded-Host": stranger}}}, check: once(func(s *site, a *answer) string {
				if a.req.Get("X-Forwarded-Host") == stranger && (strings.Contains(header(a, "Location"), stranger) || bytes.Contains(a.body, []byte("://"+stranger))) {
					return "the answer has links to the host of that header"
				}
				return ""
			})},
		{ID: "header.nosniff", Title: "X-Content-Type-Options is missing", Severity: sallyport.Low, Why: "Browsers guess that data is a script.", Fix: "Send X-Content-Type-Options: nosniff.", Refs: []string{"CWE-693"}, check: once(func(s *site, a *answer) string {
			if a.method == "GET" && a.status == 200 && len(a.body) > 0 && !strings.EqualFold(header(a, "X-Content-Type-Options"), "nosniff") {
				return "GET " + a.path + " answers without it"
			}
			return ""
		})},
		{ID: "header.frame", Title: "Pages may be framed by anybody", Severity: sallyport.Low, Why: "Clicks on another page end up here.", Fix: "Send Content-Security-Policy: frame-ancestors 'none'.", Refs: []string{"CWE-1021"}, check: once(func(s *site, a *answer) string {
			if a.status == 200 && a.html() && header(a, "X-Frame-Options") == "" && !strings.Contains(header(a, "Content-Security-Policy"), "frame-ancestors") {
				return "GET " + a.path + " is a page without X-Frame-Options and frame-ancestors"
			}
			return ""
		})},
		{ID: "header.csp", Title: "Pages have no Content-Security-Policy", Severity: sallyport.Low, Why: "An injected script runs.", Fix: "Send one that names your own sources.", Refs: []string{"CWE-1021"}, check: once(func(s *site, a *answer) string {
			if a.status == 200 && a.html() && header(a, "Content-Security-Policy") == "" {
				return "GET " + a.path + " is a page without it"
			}
			return ""
		})},
		{ID: "header.cache", Title: "Answers with a session may be kept by shared caches", Severity: sallyport.Medium, Why: "The next one gets the first one's session.", Fix: "Send Cache-Control: no-store.", Refs: []string{"CWE-525"}, check: each(func(s *site, a *answer) string {
			if header(a, "Set-Cookie") != "" && (strings.Contains(header(a, "Cache-Control"), "public") || strings.Contains(header(a, "Cache-Control"), "s-maxage")) {
				return "Set-Cookie beside Cache-Control: " + header(a, "Cache-Control")
			}
			return ""
		})},
		{ID: "version.server", Title: "The Server header tells the version", Severity: sallyport.Info, Why: "It says which known holes to try.", Fix: "Send the name alone, or nothing.", Refs: leak, check: once(func(s *site, a *answer) string {
			if m := versionPattern.FindString(header(a, "Server")); m != "" {
				return "Server: " + header(a, "Server")
			}
			return ""
		})},
		{ID: "version.powered_by", Title: "X-Powered-By tells the technology", Severity: sallyport.Info, Why: "It says which known holes to try.", Fix: "Don't send it.", Refs: leak, check: once(func(s *site, a *answer) string {
			for _, h := range []string{"X-Powered-By", "X-AspNet-Version", "X-AspNetMvc-Version", "X-Generator"} {
				if v := header(a, h); v != "" {
					return h + ": " + v
				}
			}
			return ""
		})},
		{ID: "version.old", Title: "A version that gets no more repairs", Severity: sallyport.High, Why: "Holes found since are open. (Lines known to be out of support in November 2026; a distribution may repair its own.)", Fix: "Update.", Refs: []string{"OWASP API8:2023", "CWE-1104"}, check: once(func(s *site, a *answer) string {
			for _, h := range []string{"Server", "X-Powered-By"} {
				if m := oldVersions.FindString(header(a, h)); m != "" {
					return h + " says " + m
				}
			}
			return ""
		})},

		// CORS (Fetch Standard).
		origin("https://"+stranger, func(s *site, a *answer, allowed string) string {
			if allowed == "https://"+stranger && header(a, "Access-Control-Allow-Credentials") == "true" {
				return "any origin is given back, with credentials"
			}
			return ""
		}).as("cors.any_origin", "Any origin may read answers with credentials", sallyport.High, "Every page that a user visits acts as the user.", "Name the origins.", "OWASP API8:2023", "CWE-942"),
		origin("https://"+stranger, func(s *site, a *answer, allowed string) string {
			if allowed == "*" && header(a, "Access-Control-Allow-Credentials") == "true" {
				return "Access-Control-Allow-Origin: * beside Access-Control-Allow-Credentials: true"
			}
			return ""
		}).as("cors.star_credentials", "CORS allows every origin and asks for credentials", sallyport.Low, "Browsers refuse the pair; whoever repairs it will give origins back.", "Name the origins.", "CWE-942"),
		origin("null", func(s *site, a *answer, allowed string) string {
			if allowed == "null" && header(a, "Access-Control-Allow-Credentials") == "true" {
				return "the origin null may read with credentials"
			}
			return ""
		}).as("cors.null", "The origin null is allowed", sallyport.High, "Any page can make a frame with that origin.", "Name the origins.", "CWE-942"),
		origin("https://{host}."+stranger, func(s *site, a *answer, allowed string) string {
			if allowed == s.fill("https://{host}."+stranger) {
				for _, b := range s.answers { // who allows anything is found by another rule
					if b.req.Get("Origin") == "https://"+stranger && b.path == a.path && b.header.Get("Access-Control-Allow-Origin") == "https://"+stranger {
						return ""
					}
				}
				return "an origin that only begins with this host is allowed"
			}
			return ""
		}).as("cors.prefix", "Origins are compared by their beginning", sallyport.High, "Anybody can register a name that begins so.", "Compare origins whole.", "CWE-942"),

		// Cookies (RFC 6265).
		{ID: "cookie.secure", Title: "A cookie is set by HTTPS without Secure", Severity: sallyport.Medium, Why: "It is sent without TLS as well.", Fix: "Set Secure.", Refs: []string{"CWE-614"}, check: cookies(func(s *site, c *http.Cookie) bool { return s.scheme == "https" && !c.Secure })},
		{ID: "cookie.httponly", Title: "A session's cookie can be read by scripts", Severity: sallyport.Medium, Why: "An injected script takes the session.", Fix: "Set HttpOnly.", Refs: []string{"CWE-1004"}, check: cookies(func(s *site, c *http.Cookie) bool { return sessionName.MatchString(c.Name) && !c.HttpOnly })},
		{ID: "cookie.samesite", Title: "A session's cookie has no SameSite", Severity: sallyport.Low, Why: "Other sites' requests carry it.", Fix: "Set SameSite=Lax or Strict.", Refs: []string{"CWE-1275"}, check: cookies(func(s *site, c *http.Cookie) bool {
			return sessionName.MatchString(c.Name) && (c.SameSite == 0 || c.SameSite == http.SameSiteDefaultMode || c.SameSite == http.SameSiteNoneMode && !c.Secure)
		})},

		// Descriptions.
		{ID: "docs.openapi", Title: "An OpenAPI document can be read by anybody", Severity: sallyport.Low, Why: "It lists every operation.", Fix: docs, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(OpenAPI, func(_ *site, a *API) string { return a.Evidence[0] })},
		{ID: "docs.asyncapi", Title: "An AsyncAPI document can be read by anybody", Severity: sallyport.Low, Why: "It lists every channel.", Fix: docs, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(AsyncAPI, func(_ *site, a *API) string { return a.Evidence[0] })},
		{ID: "docs.wsdl", Title: "A WSDL document can be read by anybody", Severity: sallyport.Low, Why: "It lists every operation.", Fix: docs, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(SOAP, evidence("WSDL"))},
		{ID: "docs.odata", Title: "OData metadata can be read by anybody", Severity: sallyport.Low, Why: "It lists every entity and field.", Fix: docs, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(OData, evidence("$metadata"))},
		at("docs.ui", "A page for trying the API out is open", sallyport.Low, "It invites to try every operation.", docs, []string{"OWASP API9:2023"}, `(?i)swagger-ui|redoc(?:\.standalone|-init| spec-url)|<rapi-doc|scalar/api-reference`, "/docs", "/redoc", "/swagger", "/swagger-ui/", "/swagger-ui.html", "/swagger/index.html", "/api/docs", "/"),
		at("docs.graphiql", "A page for trying GraphQL out is open", sallyport.Low, "It invites to try every operation.", off, []string{"OWASP API9:2023"}, `(?i)graphiql(?:\.min)?\.(?:js|css)|GraphQL Playground|<title>GraphiQL|altair graphql`, "/graphiql", "/graphql", "/playground", "/altair"),
		{ID: "docs.no_security", Title: "The description demands credentials for nothing", Severity: sallyport.Medium, Why: "Either the API is open, or the description does not say who may call it.", Fix: "Declare the schemes and where they are demanded.", Refs: []string{"OWASP API2:2023", "CWE-306"}, kinds: true, check: kind(OpenAPI, func(_ *site, a *API) string {
			for _, o := range a.Operations {
				if o.Secured {
					return ""
				}
			}
			if len(a.Operations) == 0 {
				return ""
			}
			return itoa(len(a.Operations)) + " operations, none with security"
		})},

		// Debugging, administration, files.
		at("debug.pprof", "Go's profiler is open", sallyport.High, "It shows memory and stops the program for seconds.", off, debug, `/debug/pprof/(?:</title>)?|full goroutine stack dump`, "/debug/pprof/"),
		at("debug.expvar", "Go's variables are open", sallyport.Medium, "They show the command line and memory.", off, debug, `"cmdline":\s*\[`, "/debug/vars"),
		at("debug.actuator", "Spring's actuator is open", sallyport.Medium, "It lists ways into the program.", off, debug, `"_links"\s*:\s*\{[^}]*actuator`, "/actuator", "/manage"),
		at("debug.actuator_env", "Spring's environment is open", sallyport.Critical, "It shows settings, secrets among them.", off, debug, `"propertySources"\s*:`, "/actuator/env", "/env"),
		at("debug.phpinfo", "phpinfo() is open", sallyport.Medium, "It shows every setting and path.", off, debug, `<title>(?:PHP [0-9.]+ - )?phpinfo\(\)`, "/phpinfo.php", "/info.php"),
		at("debug.server_status", "Apache's server-status is open", sallyport.Medium, "It shows who asks for what right now.", off, debug, `(?i)<title>Apache Status</title>|Apache Server Status for`, "/server-status"),
		at("debug.server_info", "Apache's server-info is open", sallyport.Medium, "It shows the configuration.", off, debug, `(?i)<title>Server Information</title>`, "/server-info"),
		at("debug.nginx_status", "nginx's status is open", sallyport.Low, "It shows how many ask.", off, debug, `^Active connections: \d+`, "/nginx_status", "/status", "/basic_status"),
		at("debug.haproxy_stats", "HAProxy's statistics are open", sallyport.Medium, "They show every server behind it.", off, debug, `Statistics Report for HAProxy|# pxname,svname`, "/haproxy?stats", "/stats", "/", "/;csv", "/stats;csv", "/haproxy"),
		{ID: "debug.django", Title: "Django answers with its debug page", Severity: sallyport.High, Why: "It shows routes and settings.", Fix: off, Refs: debug, asks: []ask{{path: "/sallyport-no-such-page"}}, check: anywhere(`You're seeing this error because you have <code>DEBUG = True</code>`)},
		{ID: "debug.werkzeug", Title: "Werkzeug's debugger is open", Severity: sallyport.Critical, Why: "It runs code.", Fix: off, Refs: debug, asks: []ask{{path: "/console"}}, check: anywhere(`(?:EVALEX\s*=\s*true|__debugger__=yes)`)},
		{ID: "debug.rails", Title: "Rails answers with its development page", Severity: sallyport.High, Why: "It shows routes, code and environment.", Fix: off, Refs: debug, asks: []ask{{path: "/rails/info/routes"}}, check: anywhere(`<title>Action Controller: Exception caught</title>|<title>(?:Rails )?Routes</title>[\s\S]*Helper`)},
		{ID: "debug.laravel", Title: "Laravel answers with its debug page", Severity: sallyport.High, Why: "It shows code and settings.", Fix: off, Refs: debug, asks: []ask{{path: "/_ignition/health-check"}}, check: anywhere(`"can_execute_commands"\s*:|Whoops! There was an error|facade/ignition`)},
		at("debug.trace_axd", "ASP.NET's trace is open", sallyport.High, "It shows requests with their cookies.", off, debug, `(?i)<h1>Application Trace</h1>|Requests to this Application`, "/trace.axd"),
		at("debug.jolokia", "Jolokia is open", sallyport.High, "It reads and changes the Java program.", off, debug, `"agent"\s*:\s*"[^"]*"[\s\S]*"protocol"\s*:`, "/jolokia/version", "/jolokia"),
		{ID: "admin.open", Title: "An administration route answers without credentials", Severity: sallyport.High, Why: "It is meant for a few and answers to all.", Fix: "Demand credentials and the role; let only operators reach it.", Refs: access, asks: []ask{{path: "/admin"}, {path: "/internal/admin"}}, check: each(func(s *site, a *answer) string {
			if a.method == "GET" && a.status == 200 && adminPattern.MatchString(a.path) && a.json() && !isDocument(a) {
				return "GET " + a.path + " answers 200 " + a.mediaType()
			}
			return ""
		})},
		{ID: "admin.login", Title: "An administration page can be reached", Severity: sallyport.Low, Why: "Its password is all that stands between.", Fix: "Let only operators' networks reach it.", Refs: access, asks: []ask{{path: "/admin/login"}, {path: "/admin"}, {path: "/manager/html"}}, check: each(func(s *site, a *answer) string {
			if a.method == "GET" && adminPattern.MatchString(a.path) && (a.status == 401 && header(a, "WWW-Authenticate") != "" || a.status == 200 && a.html() && bytes.Contains(bytes.ToLower(a.body), []byte(`type="password"`))) {
				return "GET " + a.path + " asks for a password"
			}
			return ""
		})},
		{ID: "default.page", Title: "The page that a server is delivered with", Severity: sallyport.Low, Why: "Nobody has set this server up, or nobody knows it.", Fix: "Remove it, or the server.", Refs: config, check: anywhere(`<title>Welcome to nginx!</title>|<title>Apache2 (?:Debian|Ubuntu) Default Page|<title>IIS Windows|<title>Apache Tomcat/|<title>Welcome to CentOS|Congratulations! Your web server is working|<h1>It works!</h1>`)},
		at("default.credentials", "A page that comes with known passwords", sallyport.Medium, "The passwords it is delivered with are tried first.", "Change them and let only operators reach it.", []string{"CWE-1392", "T1078.001"}, `(?i)tomcat-users\.xml|<title>RabbitMQ Management|<title>phpMyAdmin|<title>Adminer|<title>Grafana</title>|<title>MinIO Console|<title>Jenkins|<title>pgAdmin`, "/manager/html", "/", "/phpmyadmin/", "/adminer.php", "/login"),
		at("metrics.open", "Metrics are open", sallyport.Medium, "They show routes, load and names inside.", off, leak, `(?m)^# (?:HELP|TYPE) \w+`, "/metrics", "/actuator/prometheus", "/federate"),
		{ID: "listing.directory", Title: "A directory can be listed", Severity: sallyport.Medium, Why: "Files nobody linked to are found.", Fix: "Switch listing off.", Refs: []string{"CWE-548"}, asks: []ask{{path: "/files/"}, {path: "/backup/"}, {path: "/uploads/"}, {path: "/static/"}}, check: each(func(s *site, a *answer) string {
			if a.status == 200 && listingPattern.Match(a.body) {
				return "GET " + a.path + " lists files"
			}
			return ""
		})},
		at("file.git", "A git repository is served", sallyport.High, "The source and its history can be read.", "Don't deploy .git.", file, `^ref: refs/|^[0-9a-f]{40}\s*$|\[core\]\s+repositoryformatversion`, "/.git/HEAD", "/.git/config"),
		at("file.env", "An .env file is served", sallyport.Critical, "It holds passwords and keys.", "Don't deploy it; change what stood in it.", file, `(?m)^(?:APP|DB|DATABASE|SECRET|AWS|MAIL|REDIS|API|JWT)_?\w*\s*=`, "/.env", "/.env.local", "/.env.production"),
		at("file.backup", "A backup is served", sallyport.High, "It holds what the original protects.", "Remove it.", file, `^PK\x03\x04|^\x1f\x8b\x08|-- (?:MySQL|MariaDB|PostgreSQL database) dump|^SQLite format 3`, "/backup.zip", "/backup.sql", "/backup.tar.gz", "/dump.sql", "/db.sqlite", "/site.tar.gz"),
		at("file.ds_store", "A .DS_Store file is served", sallyport.Low, "It lists files.", "Don't deploy it.", file, `^\x00\x00\x00\x01Bud1`, "/.DS_Store"),
		at("file.svn", "A Subversion folder is served", sallyport.High, "The source can be read.", "Don't deploy it.", file, `^(?:8|9|10|12)\s+dir|^SQLite format 3`, "/.svn/entries", "/.svn/wc.db"),
		at("file.settings", "A settings file is served", sallyport.High, "It holds passwords and addresses.", "Don't serve it.", file, `(?i)<connectionStrings|"ConnectionStrings"\s*:|define\(\s*'DB_PASSWORD'|(?m:^\s*password\s*:\s*\S)`, "/web.config", "/appsettings.json", "/wp-config.php.bak", "/config.yml", "/application.yml"),

		// Errors and what answers let out.
		{ID: "error.stack_trace", Title: "Answers hold stack traces", Severity: sallyport.Medium, Why: "They show code, versions and paths.", Fix: quiet, Refs: []string{"CWE-209"}, asks: []ask{{path: "/%22'%3C%3E"}, {path: "/api/%22'"}}, check: anywhere(`Traceback \(most recent call last\)|\bat [\w.$]+\([\w]+\.java:\d+\)|goroutine \d+ \[running\]|\bat .{1,80} \(.{0,80}node_modules|System\.\w+Exception: |\.cs:line \d+|#0 .{1,120}\.php\(\d+\)`)},
		{ID: "error.sql", Title: "Answers hold errors of a database", Severity: sallyport.High, Why: "Input reaches the database; its messages help to go on.", Fix: quiet, Refs: []string{"CWE-209", "CWE-89"}, asks: []ask{{path: "/?id='"}, {path: "/api?id='"}, {path: "/search?q='"}}, check: anywhere(`(?i)you have an error in your sql syntax|pg::syntaxerror|unterminated quoted string at or near|ORA-\d{5}:|sqlite3?\.OperationalError|unclosed quotation mark after the character string|SQLSTATE\[`)},
		{ID: "error.path", Title: "Answers hold paths of the file system", Severity: sallyport.Low, Why: "They show how the server is laid out.", Fix: quiet, Refs: []string{"CWE-209"}, asks: []ask{{path: "/api/v1/%00"}}, check: each(func(s *site, a *answer) string {
			if a.status >= 400 {
				if m := pathPattern.Find(a.body); m != nil {
					return "an error answer names " + clip(string(m), 80)
				}
			}
			return ""
		})},
		{ID: "leak.metadata", Title: "Answers hold data of the cloud's metadata service", Severity: sallyport.Critical, Why: "A request of the server's own was answered to a stranger; credentials lie beside.", Fix: "Find what passes it on; demand IMDSv2.", Refs: []string{"OWASP API7:2023", "CWE-918"}, asks: []ask{{path: "/latest/meta-data/"}, {path: "/computeMetadata/v1/"}}, check: anywhere(`(?m)^ami-id$[\s\S]*^(?:hostname|instance-id)|"accountId"\s*:\s*"\d{12}"[\s\S]*"instanceId"|"AccessKeyId"\s*:\s*"ASIA|computeMetadata/v1/instance`)},
		{ID: "leak.private_address", Title: "Answers name private addresses", Severity: sallyport.Low, Why: "They show how the inside is laid out.", Fix: "Take them out on the way.", Refs: leak, check: once(func(s *site, a *answer) string {
			if s.job.addr.IsPrivate() {
				return "" // it is asked from inside
			}
			for _, v := range []string{header(a, "Location"), header(a, "X-Backend"), header(a, "X-Upstream"), header(a, "X-Served-By"), header(a, "X-Backend-Server"), header(a, "Via")} {
				if m := privatePattern.FindString(v); m != "" {
					return "a header names " + m
				}
			}
			return ""
		})},
		{ID: "leak.key", Title: "Answers hold a private key or a cloud key", Severity: sallyport.Critical, Why: "Who reads it is who it is for.", Fix: "Change the key, then find how it got there.", Refs: []string{"CWE-522"}, check: func(s *site) (out []seen) {
			for _, x := range anywhere(`-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b`)(s) {
				out = append(out, seen{x.place, "the answer has the form of a key (not kept)"})
			}
			return out
		}},

		// Who may call.
		{ID: "auth.missing", Title: "An operation answers without the credentials that its description demands", Severity: sallyport.High, Why: "Everybody can call it.", Fix: "Demand them.", Refs: []string{"OWASP API2:2023", "CWE-306"}, kinds: true, check: func(s *site) (out []seen) {
			for _, a := range s.probed("auth.missing") {
				if a.status == 200 && a.json() {
					out = append(out, seen{a.path, "GET " + a.path + " answers 200 without credentials"})
				}
			}
			return out
		}},
		{ID: "auth.basic_plain", Title: "Passwords are asked for without TLS", Severity: sallyport.High, Why: "They are sent in the clear with every request.", Fix: "Serve it with TLS.", Refs: []string{"OWASP API2:2023", "CWE-319"}, asks: []ask{{path: "/admin"}}, check: once(func(s *site, a *answer) string {
			if s.scheme == "http" && a.status == 401 && strings.HasPrefix(strings.ToLower(header(a, "WWW-Authenticate")), "basic") {
				return "GET " + a.path + " asks for Basic"
			}
			return ""
		})},
		{ID: "graphql.introspection", Title: "GraphQL answers introspection", Severity: sallyport.Low, Why: "It lists every type and field.", Fix: off, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(GraphQL, evidence("introspection"))},
		{ID: "graphql.batching", Title: "GraphQL takes lists of operations", Severity: sallyport.Medium, Why: "Limits by request count one where there are a thousand.", Fix: "Refuse lists, or count their operations.", Refs: []string{"OWASP API4:2023", "CWE-770"}, kinds: true, check: probedAll("graphql.batching", func(a *answer) bool { return a.status == 200 && bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("[")) })},
		{ID: "graphql.get", Title: "GraphQL takes operations by GET", Severity: sallyport.Low, Why: "Links and images make requests of a user.", Fix: "Take POST with application/json alone.", Refs: []string{"CWE-352"}, kinds: true, check: probedAll("graphql.get", func(a *answer) bool { return a.status == 200 && object(a.body)["data"] != nil })},
		{ID: "graphql.suggestions", Title: "GraphQL corrects misspelt fields", Severity: sallyport.Info, Why: "Field names are told even without introspection.", Fix: "Switch suggestions off.", Refs: leak, kinds: true, check: probedAll("graphql.suggestions", func(a *answer) bool { return bytes.Contains(a.body, []byte("Did you mean")) })},
		{ID: "graphql.aliases", Title: "GraphQL takes 200 aliases in one operation", Severity: sallyport.Medium, Why: "One request does the work of hundreds.", Fix: "Bound aliases, depth and cost.", Refs: []string{"OWASP API4:2023", "CWE-770"}, kinds: true, check: probedAll("graphql.aliases", func(a *answer) bool { return a.status == 200 && bytes.Contains(a.body, []byte(`"a199"`)) })},
		{ID: "grpc.reflection", Title: "gRPC answers reflection", Severity: sallyport.Low, Why: "It lists every service and method.", Fix: off, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(GRPC, evidence("reflection"))},
		{ID: "grpc.plain", Title: "gRPC is served without TLS", Severity: sallyport.Medium, Why: "Who sits between reads and changes everything.", Fix: "Serve it with TLS.", Refs: []string{"CWE-319"}, kinds: true, check: kind(GRPC, func(s *site, a *API) string {
			if s.scheme == "http" {
				return "HTTP/2 without TLS"
			}
			return ""
		})},
		{ID: "mcp.open", Title: "An MCP server lists its tools to anybody", Severity: sallyport.High, Why: "Whoever reaches it acts with its rights.", Fix: "Demand OAuth 2 as the protocol describes.", Refs: access, kinds: true, check: kind(MCP, func(_ *site, a *API) string {
			if len(a.Operations) > 0 {
				return "tools/list names " + itoa(len(a.Operations)) + " tools without credentials"
			}
			return ""
		})},
		{ID: "websocket.origin", Title: "A WebSocket takes pages of any origin", Severity: sallyport.Medium, Why: "Any page that a user visits talks as the user.", Fix: "Check Origin.", Refs: []string{"CWE-1385"}, kinds: true, check: probedAll("websocket.origin", func(a *answer) bool { return a.status == 101 })},
		{ID: "mqtt.open", Title: "MQTT takes anybody", Severity: sallyport.High, Why: "Anybody reads and publishes.", Fix: "Demand credentials.", Refs: access, kinds: true, check: kind(MQTT, func(_ *site, a *API) string {
			if a.Auth == "none" {
				return a.Evidence[0]
			}
			return ""
		})},
		{ID: "webdav.open", Title: "WebDAV answers without credentials", Severity: sallyport.Medium, Why: "Files can be listed, and often written.", Fix: "Demand credentials.", Refs: access, kinds: true, check: kind(WebDAV, evidence("multistatus"))},
		{ID: "xmlrpc.methods", Title: "XML-RPC lists its methods", Severity: sallyport.Low, Why: "system.multicall and pingback are often among them.", Fix: off, Refs: []string{"OWASP API9:2023"}, kinds: true, check: kind(XMLRPC, func(_ *site, a *API) string {
			if len(a.Operations) > 0 {
				return "system.listMethods names " + itoa(len(a.Operations)) + " methods"
			}
			return ""
		})},
		{ID: "jsonrpc.discover", Title: "JSON-RPC describes itself to anybody", Severity: sallyport.Low, Why: "It lists every method.", Fix: docs, Refs: []string{"OWASP API9:2023"}, kinds: true, check: probedAll("jsonrpc.discover", func(a *answer) bool {
			r, _ := object(a.body)["result"].(map[string]any)
			return r["openrpc"] != nil
		})},
		{ID: "sse.open", Title: "A stream of events is open", Severity: sallyport.Low, Why: "Anybody reads along.", Fix: "Demand credentials, or decide that it is public.", Refs: access, kinds: true, check: kind(SSE, func(_ *site, a *API) string { return a.Evidence[0] })},
		at("open.registry", "A container registry lists its images to anybody", sallyport.High, "Images hold code and often secrets.", "Demand credentials.", access, `^\s*\{"repositories":\s*\[`, "/v2/_catalog"),
		at("open.etcd", "etcd answers without a client certificate", sallyport.High, "It often holds every secret of a cluster.", "Demand client certificates.", access, `"etcdserver"\s*:\s*"[0-9.]+"\s*,\s*"etcdcluster"`, "/version"),
		at("open.elasticsearch", "Elasticsearch answers without credentials", sallyport.High, "Anybody reads and deletes.", "Demand credentials.", access, `"cluster_name"\s*:[\s\S]*"lucene_version"`, "/"),
		at("open.caddy_admin", "Caddy's administration is open", sallyport.High, "Anybody changes the server.", "Listen on loopback, or switch it off.", access, `^\s*\{"(?:admin|apps|logging)"\s*:`, "/config/"),
		at("open.prometheus", "Prometheus is open", sallyport.Medium, "It shows every target and its figures.", "Demand credentials.", access, `"status"\s*:\s*"success"[\s\S]*"(?:goVersion|activeTargets)"`, "/api/v1/status/buildinfo", "/api/v1/targets"),
		at("open.kubernetes", "A Kubernetes API answers to anybody", sallyport.High, "Its lists show the cluster.", "Switch anonymous access off.", access, `"kind"\s*:\s*"(?:APIVersions|NamespaceList|PodList)"`, "/api", "/api/v1/namespaces", "/pods"),
		at("open.consul", "Consul's catalogue is open", sallyport.Medium, "It shows every service.", "Demand tokens.", access, `^\s*\{"consul"\s*:\s*\[`, "/v1/catalog/services"),
		at("open.couchdb", "CouchDB answers without credentials", sallyport.Medium, "Databases can be listed.", "Demand credentials.", access, `^\s*\{"couchdb"\s*:\s*"Welcome"`, "/"),
	}
}

var (
	versionPattern = regexp.MustCompile(`/\d+(?:\.\d+)*|\d+\.\d+`)
	adminPattern   = regexp.MustCompile(`(?i)(?:^|/)(?:admin|_admin|superuser|backoffice|sysadmin|manager|manage|management|ops|supervisor|maintenance|root)(?:/|$)`)
	listingPattern = regexp.MustCompile(`(?i)<title>(?:Index of|Directory listing for|Listing of) ?/|<h1>Index of /`)
	pathPattern    = regexp.MustCompile(`(?:/(?:home|var/www|usr/src|usr/local|opt|srv|app/src)/[\w.\-]+/[\w./\-]+|[A-Z]:\\(?:inetpub|Users|Windows|app)\\[\w.\\\-]+)`)
	privatePattern = regexp.MustCompile(`\b(?:10\.\d{1,3}\.\d{1,3}\.\d{1,3}|192\.168\.\d{1,3}\.\d{1,3}|172\.(?:1[6-9]|2\d|3[01])\.\d{1,3}\.\d{1,3})\b`)
)

func probedAll(rule string, f func(*answer) bool) func(*site) []seen {
	return func(s *site) (out []seen) {
		for _, a := range s.probed(rule) {
			if f(a) {
				path, _, _ := strings.Cut(a.path, "?")
				out = append(out, seen{path, "answered " + itoa(a.status)})
			}
		}
		return out
	}
}
