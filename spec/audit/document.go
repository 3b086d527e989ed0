package audit

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sallyport.dev/spec/source"
)

// document looks at what stands at the top.
func (a *auditor) document() {
	info := a.root.Get("info")
	if info.Get("description").String() == "" {
		a.hit("contract.no-description", or(info, a.root), nil, "")
	}
	if info.Get("contact") == nil {
		a.hit("contract.no-contact", or(info, a.root), nil, "")
	}
	if v := info.Get("version"); v == nil || v.Is(source.Null) || v.Is(source.String) && v.Text == "" {
		a.hit("contract.no-version", or(info, a.root), nil, "")
	}
	if info.Get("license") == nil {
		a.hit("contract.no-licence", or(info, a.root), nil, "")
	}
	for _, v := range []*source.Value{info.Get("title"), info.Get("description")} {
		a.placeholder(v, nil)
	}
	for _, v := range []*source.Value{info.Get("termsOfService"), info.Get("contact").Get("url"), info.Get("license").Get("url"), a.root.Get("externalDocs").Get("url")} {
		if strings.HasPrefix(v.String(), "http://") {
			a.hit("transport.plain-link", v, nil, v.Text)
		}
	}
	if a.root.Get("swagger") != nil {
		a.hit("version.outdated", a.root.Get("swagger"), nil, "")
	}
	tags := map[string]bool{}
	for _, t := range a.root.Get("tags").List() {
		n := t.Get("name")
		if tags[n.String()] && n != nil {
			a.hit("contract.tag-duplicate", n, nil, n.Text)
		}
		tags[n.String()] = true
	}
}

func or(v, w *source.Value) *source.Value {
	if v != nil {
		return v
	}
	return w
}

var placeholder = regexp.MustCompile(`(?i)^\s*(todo|tbd|fixme|string|description|lorem ipsum.*|n/?a|change ?me|xxx+|\.\.\.|title|\?+|example description|insert .* here)\s*[.:!]?\s*$`)

func (a *auditor) placeholder(v *source.Value, op *operation) {
	if v.Is(source.String) && placeholder.MatchString(v.Text) {
		a.hit("contract.placeholder", v, op, v.Text)
	}
}

// --- servers

func (a *auditor) servers(list *source.Value, op *operation) {
	if a.version == 20 {
		host := a.root.Get("host")
		for _, s := range a.root.Get("schemes").List() {
			switch s.String() {
			case "http":
				a.hit("transport.plain-scheme", s, nil, "")
			case "ws":
				a.hit("transport.plain-websocket", s, nil, "")
			}
		}
		if host == nil {
			a.hit("transport.no-server", nil, nil, "host")
		} else {
			a.host(host, strings.Split(host.String(), ":")[0])
		}
		return
	}
	if list == nil {
		if op == nil {
			a.hit("transport.no-server", nil, nil, "")
		}
		return
	}
	hosts := map[string]string{}
	urls := map[string]bool{}
	for _, s := range list.List() {
		v := s.Get("url")
		raw := v.String()
		if raw == "" {
			continue
		}
		if urls[raw] {
			a.hit("transport.duplicate-server", v, op, raw)
		}
		urls[raw] = true
		if len(raw) > 1 && strings.HasSuffix(raw, "/") {
			a.hit("transport.slash-server", v, op, raw)
		}
		if strings.ContainsAny(raw, "?#") {
			a.hit("transport.server-query", v, op, raw)
		}
		vars := s.Get("variables")
		for _, name := range params(raw) {
			x := vars.Get(name)
			if x == nil {
				a.hit("transport.variable-undeclared", v, op, name)
				continue
			}
			d := x.Get("default")
			if e := x.Get("enum").List(); len(e) > 0 {
				if d != nil && !slices.ContainsFunc(e, func(y *source.Value) bool { return y.Text == d.Text }) {
					a.hit("transport.variable-default", d, op, name)
				}
			} else if inHost(raw, "{"+name+"}") {
				a.hit("transport.open-host", x, op, name)
			}
			raw = strings.ReplaceAll(raw, "{"+name+"}", d.String())
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			continue
		}
		if u.User != nil {
			a.hit("transport.server-credentials", v, op, "")
		}
		host := strings.ToLower(u.Hostname())
		local := a.host(v, host)
		switch u.Scheme {
		case "http":
			if !local {
				a.hit("transport.plain-server", v, op, raw)
			}
		case "ws":
			if !local {
				a.hit("transport.plain-websocket", v, op, raw)
			}
		}
		if was, ok := hosts[host]; ok && was != u.Scheme && (was == "http" || u.Scheme == "http") {
			a.hit("transport.mixed", v, op, host)
		}
		hosts[host] = u.Scheme
	}
}

func inHost(raw, part string) bool {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		rest = raw
	}
	host, _, _ := strings.Cut(rest, "/")
	return strings.Contains(host, part)
}

// host looks at a host name; true for the local machine.
func (a *auditor) host(v *source.Value, host string) bool {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || err == nil && (ip.IsLoopback() || ip.IsUnspecified()) || strings.HasSuffix(host, ".localhost"):
		a.hit("transport.local-server", v, nil, host)
		return true
	case err == nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast()):
		a.hit("transport.private-server", v, nil, host)
	case err == nil:
		a.hit("transport.address-server", v, nil, host)
	case strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".corp") || strings.HasSuffix(host, ".lan") || strings.HasSuffix(host, ".cluster.local"):
		a.hit("transport.private-server", v, nil, host)
	case anyWord(host, "staging", "stage", "dev", "test", "qa", "uat", "sandbox", "preprod", "int"):
		a.hit("transport.test-server", v, nil, host)
	}
	return false
}

// --- security schemes

var httpSchemes = []string{"basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "vapid"}

func (a *auditor) schemes() {
	a.schemesBy, a.required, a.scopes = map[string]*source.Value{}, map[string]bool{}, map[string]map[string]bool{}
	list := a.root.Get("components").Get("securitySchemes")
	if a.version == 20 {
		list = a.root.Get("securityDefinitions")
	}
	for _, m := range list.Entries() {
		s := a.resolve(m.Value)
		if s == nil {
			continue
		}
		a.schemesBy[m.Key] = s
		a.scheme(m.Key, s)
	}
}

func (a *auditor) scheme(name string, s *source.Value) {
	kind := s.Get("type")
	switch kind.String() {
	case "basic":
		a.hit("auth.basic", s, nil, name)
	case "http":
		scheme := s.Get("scheme")
		switch w := strings.ToLower(scheme.String()); {
		case w == "":
			a.hit("auth.scheme-incomplete", s, nil, name+": scheme")
		case w == "basic":
			a.hit("auth.basic", scheme, nil, name)
		case w == "digest":
			a.hit("auth.digest", scheme, nil, name)
		case w == "bearer":
			if s.Get("bearerFormat") == nil {
				a.hit("auth.bearer-format", s, nil, name)
			}
		case !slices.Contains(httpSchemes, w):
			a.hit("auth.scheme-unregistered", scheme, nil, scheme.Text)
		}
	case "apiKey":
		in := s.Get("in").String()
		key := s.Get("name").String()
		switch {
		case in == "" || key == "":
			a.hit("auth.scheme-incomplete", s, nil, name+": in and name")
		case in == "query":
			a.hit("auth.key-in-query", s, nil, key)
		case in == "cookie":
			a.hit("auth.key-in-cookie", s, nil, key)
		case strings.EqualFold(key, "authorization"):
			a.hit("auth.key-as-authorization", s, nil, name)
		}
	case "oauth2":
		a.oauth(name, s)
	case "openIdConnect":
		u := s.Get("openIdConnectUrl")
		switch raw := u.String(); {
		case raw == "":
			a.hit("auth.scheme-incomplete", s, nil, name+": openIdConnectUrl")
		case strings.HasPrefix(raw, "http://"):
			a.hit("auth.oidc-plain", u, nil, raw)
		}
		if raw := u.String(); raw != "" && !strings.Contains(raw, "/.well-known/") {
			a.hit("auth.oidc-path", u, nil, raw)
		}
	case "mutualTLS":
	case "":
		a.hit("auth.scheme-incomplete", s, nil, name+": type")
	default:
		a.hit("auth.scheme-type", kind, nil, kind.Text)
	}
}

func (a *auditor) oauth(name string, s *source.Value) {
	type flow struct {
		kind string
		v    *source.Value
	}
	var flows []flow
	if a.version == 20 {
		if f := s.Get("flow"); f != nil {
			flows = append(flows, flow{map[string]string{"accessCode": "authorizationCode", "application": "clientCredentials"}[f.String()], s})
			if flows[0].kind == "" {
				flows[0].kind = f.String()
			}
		}
	} else {
		for _, m := range s.Get("flows").Entries() {
			if !strings.HasPrefix(m.Key, "x-") {
				flows = append(flows, flow{m.Key, m.Value})
			}
		}
	}
	if len(flows) == 0 {
		a.hit("auth.oauth-no-flow", s, nil, name)
	}
	for _, f := range flows {
		auth, token := f.v.Get("authorizationUrl"), f.v.Get("tokenUrl")
		needAuth, needToken := false, false
		switch f.kind {
		case "implicit":
			a.hit("auth.oauth-implicit", f.v, nil, name)
			needAuth = true
		case "password":
			a.hit("auth.oauth-password", f.v, nil, name)
			needToken = true
		case "authorizationCode":
			needAuth, needToken = true, true
		case "clientCredentials", "deviceAuthorization":
			needToken = true
		}
		if needAuth && auth.String() == "" || needToken && token.String() == "" {
			a.hit("auth.oauth-url-missing", f.v, nil, name+" "+f.kind)
		}
		for _, u := range []*source.Value{auth, token, f.v.Get("refreshUrl")} {
			if strings.HasPrefix(u.String(), "http://") {
				a.hit("auth.oauth-plain", u, nil, u.Text)
			}
		}
		if len(f.v.Get("scopes").Entries()) == 0 {
			a.hit("auth.oauth-no-scopes", f.v, nil, name+" "+f.kind)
		}
	}
}

// scopesOf are the scopes that a scheme declares; ok is false where it declares
// none, or cannot.
func (a *auditor) scopesOf(s *source.Value) (map[string]*source.Value, bool) {
	if s.Get("type").String() != "oauth2" {
		return nil, false
	}
	out := map[string]*source.Value{}
	lists := []*source.Value{s.Get("scopes")}
	for _, m := range s.Get("flows").Entries() {
		lists = append(lists, m.Value.Get("scopes"))
	}
	for _, l := range lists {
		for _, m := range l.Entries() {
			out[m.Key] = m.Value
		}
	}
	return out, len(out) > 0
}

// after looks at what only the whole tells.
func (a *auditor) after() {
	if a.async {
		return
	}
	if a.r.Operations > 0 {
		if !a.secured {
			a.hit("auth.none", nil, nil, "")
		}
		if !a.rateSeen {
			a.hit("limits.no-rate-headers", a.root.Get("paths"), nil, "")
		}
	}
	for name, s := range a.schemesBy {
		if !a.required[name] {
			a.hit("auth.scheme-unused", s, nil, name)
			continue
		}
		if declared, ok := a.scopesOf(s); ok {
			for scope, v := range declared {
				if !a.scopes[name][scope] {
					a.hit("auth.scope-unused", v, nil, scope)
				}
			}
		}
	}
	groups := []string{"schemas", "responses", "parameters", "examples", "requestBodies", "headers", "links", "callbacks", "pathItems", "mediaTypes"}
	top, prefix := a.root.Get("components"), "components/"
	if a.version == 20 {
		groups, top, prefix = []string{"definitions", "responses", "parameters"}, a.root, ""
	}
	for _, g := range groups {
		for _, m := range top.Get(g).Entries() {
			if !componentName.MatchString(m.Key) && a.version != 20 {
				a.at("contract.component-name", m.Line, m.Column, nil, m.Key)
			}
			key := strings.ReplaceAll(strings.ReplaceAll(m.Key, "~", "~0"), "/", "~1")
			if !a.used[prefix+g+"/"+key] && !a.used[prefix+g+"/"+m.Key] && !strings.HasPrefix(m.Key, "x-") {
				a.at("contract.component-unused", m.Line, m.Column, nil, m.Key)
			}
		}
	}
	for _, l := range a.links {
		if id := l.v.Get("operationId"); id.Is(source.String) && a.opIDs[id.Text] == nil {
			a.hit("contract.link-broken", id, l.op, id.Text)
		}
	}
	a.examples()
}

var componentName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
