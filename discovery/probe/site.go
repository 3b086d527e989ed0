package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// labels are tried below the domains of the scope.
var labels = []string{"api", "www", "admin", "dev", "staging", "test", "internal", "beta", "app", "gateway", "graphql", "auth", "portal", "v1", "docs", "mobile", "partner", "m", "ws", "grpc"}

// sites tells the virtual hosts of a port apart and looks at each.
func (v *visit) sites(ctx context.Context, s *Service) {
	plain := v.newSite(s, "")
	defer plain.close()
	names := slices.Clone(v.names)
	for _, t := range v.scope.targets {
		if t.domain && slices.ContainsFunc(v.names, func(n string) bool { return n == t.name || strings.HasSuffix(n, "."+t.name) }) {
			for _, l := range labels {
				if n := l + "." + t.name; v.scope.named(n) && !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	explored := []string{}
	if len(names) == 0 {
		plain.explore(ctx)
		explored = append(explored, "")
	} else {
		// What the port gives to a name that nobody has.
		other := v.newSite(s, random()+".invalid")
		defer other.close()
		unknown := other.face(ctx)
		def := true
		for _, n := range names {
			x := v.newSite(s, n)
			if face := x.face(ctx); sameFace(face, unknown) {
				if def { // the port's own site, by the first of its names
					def = false
					x.explore(ctx)
					explored = append(explored, n)
				}
			} else if len(face) > 0 {
				x.explore(ctx)
				explored = append(explored, n)
			}
			x.close()
			if v.optedOut {
				return
			}
		}
		if def {
			plain.explore(ctx)
			explored = append(explored, "")
		}
	}
	for _, n := range explored {
		if n == "" {
			n = v.job.addr.String()
		}
		s.Sites = append(s.Sites, n)
	}
}

// face is how a virtual host answers to a few paths.
func (s *site) face(ctx context.Context) []*shape {
	var out []*shape
	for _, p := range []string{"/", "/openapi.json", "/api", "/api/v1", "/graphql", "/v1", "/health"} {
		a, err := s.fetch(ctx, ask{path: p, wait: s.p.Timeout})
		if err != nil {
			if s.dead {
				return nil
			}
			out = append(out, &shape{})
			continue
		}
		out = append(out, shapeOf(a))
	}
	s.failed = 0
	return out
}

func sameFace(a, b []*shape) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].status != b[i].status || a[i].media != b[i].media || alike(a[i], b[i]) < 0.8 {
			return false
		}
	}
	return true
}

// explore looks at one virtual host: what it permits, what it says of itself,
// what is linked, what can be guessed, which protocols it speaks, and what is
// wrong with it.
func (s *site) explore(ctx context.Context) {
	defer s.finish(ctx)
	if s.service.Protocol == "h2c" {
		s.grpc(ctx)
		return
	}
	if a, err := s.fetch(ctx, ask{path: "/robots.txt", always: true}); err == nil {
		if a.status == 200 && !a.html() && !s.p.IgnoreRobots {
			s.robots = parseRobots(a.body)
		}
	} else if s.dead || s.optedOut {
		return
	}
	if a, err := s.fetch(ctx, ask{path: "/.well-known/sallyport", always: true}); err == nil && a.status == 200 && !a.html() && declines(a.body) {
		s.optedOut = true
		s.note("%s opts out of scans by /.well-known/sallyport", s.base())
		return
	}
	if s.root = s.get(ctx, "/"); s.root != nil {
		s.service.Server = clip(printable(s.root.header.Get("Server")), 120)
		s.follow(s.root)
	}
	for _, t := range s.job.url {
		if t.path != "" && t.path != "/" && (t.port == 0 || t.port == s.port) && (t.name == "" || t.name == s.host) {
			s.try(ctx, t.path, "target")
		}
	}
	if len(s.p.Rules) > 0 && s.p.NoGuess {
		return // one rule is looked at, by what it asks for itself
	}
	s.describe(ctx)
	s.guess(ctx)
	s.settle(ctx)
	if s.root != nil {
		b := s.calibrate(ctx, ask{method: http.MethodGet, path: "/"})
		s.rootIsAny = b.failed || b.fickle() || b.absent(shapeOf(s.root))
	}
	s.protocols(ctx)
	s.rest()
}

// finish has the rules look at everything that was seen.
func (s *site) finish(ctx context.Context) {
	if s.optedOut {
		s.apis = nil
		return
	}
	s.judge(ctx)
	s.claim()
	s.out.APIs = append(s.out.APIs, s.apis...)
}

func declines(b []byte) bool {
	for line := range bytes.Lines(b) {
		k, v, ok := strings.Cut(strings.ToLower(string(line)), ":")
		if ok && strings.TrimSpace(k) == "scan" && strings.TrimSpace(v) == "no" {
			return true
		}
	}
	return false
}

// found adds an API once.
func (s *site) found(a API) *API {
	for i := range s.apis {
		if x := &s.apis[i]; x.Kind == a.Kind && x.Path == a.Path {
			return x
		}
	}
	a.Host, a.Address = s.host, s.job.addr.String()+":"+itoa(s.port)
	if s.job.addr.Is6() {
		a.Address = "[" + s.job.addr.String() + "]:" + itoa(s.port)
	}
	a.URL = s.base() + a.Path
	if a.Confidence == 0 {
		a.Confidence = 0.95
	}
	s.apis = append(s.apis, a)
	return &s.apis[len(s.apis)-1]
}

func (s *site) has(k Kind, path string) bool {
	return slices.ContainsFunc(s.apis, func(a API) bool { return a.Kind == k && (path == "" || a.Path == path) })
}

// try asks for a path and keeps it when there is something.
func (s *site) try(ctx context.Context, path, from string) *answer {
	if path == "/" || s.tried[path] || len(s.tried) > 200_000 {
		return nil
	}
	s.tried[path] = true
	q := ask{method: http.MethodGet, path: path, always: from == "target"}
	a, err := s.fetch(ctx, q)
	if err != nil || !s.exists(ctx, q, a) {
		return nil
	}
	if len(s.hits) < 2000 {
		s.keep(a)
		if len(a.body) > maxKept {
			a.body, a.cut = a.body[:maxKept:maxKept], true
		}
		s.hits = append(s.hits, a)
	}
	return a
}

var linkPattern = regexp.MustCompile(`(?i)(?:href|src|action|url|path|endpoint)["']?\s*[=:]\s*["']([^"'<>\s]{1,300})["']|["'](/(?:api|rest|v[0-9]|graphql|internal|rpc|ws|hooks?|events?|odata|soap|services?)[a-zA-Z0-9_\-./]{0,200})["']`)

// follow takes up paths of this site that an answer mentions, 200 at most.
func (s *site) follow(a *answer) {
	for _, m := range linkPattern.FindAllSubmatch(a.body, 400) {
		l := string(m[1])
		if l == "" {
			l = string(m[2])
		}
		u, err := url.Parse(l)
		if err != nil || len(s.links) >= 200 {
			continue
		}
		if u.Host != "" && !strings.EqualFold(u.Host, s.hostHeader(s.host, s.port, s.scheme)) {
			continue // elsewhere, which is not asked
		}
		if u.Scheme != "" && u.Host == "" {
			continue
		}
		p := u.EscapedPath()
		if p == "" {
			continue
		}
		if p[0] != '/' {
			p = directory(a.path+"x") + p
		}
		if strings.ContainsAny(p, "{}<>") || strings.Contains(p, "..") || slices.Contains([]string{".css", ".png", ".svg", ".ico", ".jpg", ".gif", ".woff2", ".woff", ".map"}, extension(p)) {
			continue
		}
		if !slices.Contains(s.links, p) {
			s.links = append(s.links, p)
		}
	}
}

var rootPattern = regexp.MustCompile(`^/(?:(?:api|rest|v[0-9]+|internal|public)(?:/|$)){1,3}`)

// apiRoot is the part of a path that an API begins at: /api/v1 of /api/v1/users.
func apiRoot(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if m := rootPattern.FindString(path); m != "" {
		return strings.TrimSuffix(m, "/")
	}
	return "/"
}

// rest makes one API of the routes that answer JSON and belong to no other
// protocol. The routes below it that answer otherwise are its operations too.
func (s *site) rest() {
	other := func(h *answer) bool {
		path, _, _ := strings.Cut(h.path, "?")
		for _, a := range s.apis {
			switch a.Kind {
			case OpenAPI, AsyncAPI, GraphQL, JSONRPC, MCP, XMLRPC, SSE, WebSocket, MQTT, Webhook, SOAP:
				if path == a.Path || path == a.Path+"/" {
					return true
				}
			case OData:
				if path == a.Path || strings.HasPrefix(path, strings.TrimSuffix(a.Path, "/")+"/") {
					return true
				}
			}
		}
		return false
	}
	root, evidence := "", []string{}
	var ops []Operation
	described := map[string]bool{}
	for _, o := range s.spec {
		described[o.Method+" "+o.Template] = true
	}
	hits := slices.Clone(s.hits)
	if s.root != nil && s.root.json() && s.root.status == 200 && !s.rootIsAny {
		hits = append(hits, s.root)
	}
	for _, h := range hits {
		if other(h) || isDocument(h) || strings.HasPrefix(h.path, "/debug/") { // variables of the program, which a rule looks at
			continue
		}
		if h.json() && len(evidence) < 8 {
			evidence = append(evidence, "GET "+h.path+" answers "+itoa(h.status)+" "+h.mediaType())
			if r := apiRoot(h.path); root == "" || r == root {
				root = r
			} else {
				root = common(root, r)
			}
		}
		from := "guess"
		if slices.Contains(s.links, h.path) {
			from = "link"
		}
		if described["GET "+h.path] {
			from = "description"
		}
		if len(ops) < 5000 && (h.json() || h.status == 401 || h.status == 403 || h.status == 405 || h.status == 400) {
			ops = append(ops, Operation{Method: "GET", Template: h.path, Status: h.status, From: from})
		}
	}
	if len(evidence) == 0 {
		return
	}
	for _, o := range s.spec {
		if !slices.ContainsFunc(ops, func(x Operation) bool { return x.Method == o.Method && x.Template == o.Template }) {
			ops = append(ops, o)
		}
	}
	a := s.found(API{Kind: REST, Path: root, Evidence: evidence, Operations: ops, Auth: s.authOf(hits)})
	if d := slices.IndexFunc(s.apis, func(x API) bool { return x.Kind == OpenAPI }); d >= 0 {
		a.Title, a.Version = s.apis[d].Title, s.apis[d].Version
	}
}

func common(a, b string) string {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	if p := strings.Join(x[:n], "/"); p != "" {
		return p
	}
	return "/"
}

// authOf says what these answers ask for: a scheme, none, or both.
func (s *site) authOf(hits []*answer) string {
	open, asked := false, ""
	for _, h := range hits {
		switch {
		case h.status == 401:
			scheme, _, _ := strings.Cut(h.header.Get("WWW-Authenticate"), " ")
			if asked = strings.ToLower(clip(printable(scheme), 20)); asked == "" {
				asked = "unnamed"
			}
		case h.status == 200 && h.json():
			open = true
		}
	}
	switch {
	case asked != "" && open:
		return asked + ", in part"
	case asked != "":
		return asked
	case open:
		return "none"
	}
	return ""
}

// isDocument says whether an answer is a description rather than data.
func isDocument(a *answer) bool {
	if !a.json() {
		return false
	}
	var d struct {
		OpenAPI  any `json:"openapi"`
		Swagger  any `json:"swagger"`
		AsyncAPI any `json:"asyncapi"`
	}
	if json.Unmarshal(a.body, &d) == nil {
		return d.OpenAPI != nil || d.Swagger != nil || d.AsyncAPI != nil
	}
	head := a.body[:min(len(a.body), 4096)]
	return a.cut && (bytes.Contains(head, []byte(`"openapi"`)) || bytes.Contains(head, []byte(`"swagger"`)) || bytes.Contains(head, []byte(`"asyncapi"`)))
}
