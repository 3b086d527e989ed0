package policy

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
)

// A Mistake is one thing wrong in a policy.
type Mistake struct {
	Path string // "operations[2].checks.inspect"
	Text string
}

func (m Mistake) Error() string {
	if m.Path == "" {
		return m.Text
	}
	return m.Path + ": " + m.Text
}

// Mistakes is everything wrong in a policy, in the order of its fields.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, x := range m {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

func (m *Mistakes) add(path, format string, args ...any) {
	*m = append(*m, Mistake{path, fmt.Sprintf(format, args...)})
}

// Check gives every mistake in the policy. known holds the operations that the
// API's specification declares; nil skips the check that named operations exist.
func (a API) Check(known []sallyport.Operation) Mistakes {
	var m Mistakes
	m.mode("mode", a.Mode)
	m.checks("checks", a.Checks)
	m.auth(a.Auth)
	m.limits("limits", a.Limits, &a, false)
	oneOf(&m, "limit_headers", a.LimitHeaders, HeadersRefused, HeadersAlways, HeadersOff)
	m.bounds(a.Bounds)
	m.grpc(a.GRPC)
	oneOf(&m, "shadow", a.Shadow, Record, Refuse)
	oneOf(&m, "undocumented", a.Undocumented, Record, Refuse)
	m.answers(a.Answers)
	m.webSocket(a.WebSocket)
	m.errors("errors", a.Errors)
	m.cache("cache", a.Cache, false)
	for i, o := range a.Operations {
		path := fmt.Sprintf("operations[%d]", i)
		m.operation(path+".operation", o.Operation, known)
		if slices.ContainsFunc(a.Operations[:i], func(x OperationDemand) bool { return x.Operation == o.Operation && o.Operation != "" }) {
			m.add(path+".operation", "%q stands twice; put its demands in one entry", o.Operation)
		}
		m.mode(path+".mode", o.Mode)
		m.checks(path+".checks", o.Checks)
		m.limits(path+".limits", o.Limits, &a, true)
		if o.Price < 0 || o.Price > 1e9 {
			m.add(path+".price", "%g; want 0 to 1e9", o.Price)
		}
		m.errors(path+".errors", o.Errors)
		m.cache(path+".cache", o.Cache, true)
		oneOf(&m, path+".anonymous", o.Anonymous, Never, Always)
		m.scopes(path+".scopes", o.Scopes)
		if len(o.Scopes) > 0 && !a.Auth.Enabled() {
			m.add(path+".scopes", "scopes are demanded, but auth names no issuer and no key that could carry them")
		}
		m.words(path+".acr", o.ACR)
		if len(o.Sensitive) > 0 && a.Answers.Sensitive == "" {
			m.add(path+".sensitive", "kinds of sensitive data are declared, but answers.sensitive does not say what happens to others")
		}
		if o.MaxAge < 0 || o.MaxAge%time.Second != 0 {
			m.add(path+".max_age", "%s; want whole seconds", o.MaxAge)
		}
		if (len(o.ACR) > 0 || o.MaxAge > 0) && len(a.Auth.OIDC) == 0 {
			m.add(path, "acr or max_age is demanded, but auth.oidc names no issuer whose tokens could show it")
		}
	}
	m.exceptions(a.Exceptions, known)
	m.formats(a)
	m.soap(a.SOAP)
	m.load(a, known)
	m.rules(a)
	m.credentials(a)
	m.sideload(a, known)
	return m
}

func oneOf[T ~string](m *Mistakes, path string, v T, allowed ...T) {
	if v == "" || slices.Contains(allowed, v) {
		return
	}
	words := make([]string, len(allowed))
	for i, w := range allowed {
		words[i] = string(w)
	}
	m.add(path, "%q is not one of %s", string(v), strings.Join(words, ", "))
}

func (m *Mistakes) mode(path string, v sallyport.Mode) {
	oneOf(m, path, v, sallyport.Observe, sallyport.Enforce, sallyport.Off)
}

func (m *Mistakes) checks(path string, c map[sallyport.Stage]sallyport.Mode) {
	stages := make([]sallyport.Stage, 0, len(c))
	for s := range c {
		stages = append(stages, s)
	}
	slices.Sort(stages)
	for _, s := range stages {
		if !slices.Contains(Stages(), s) {
			oneOf(m, path, s, Stages()...)
			continue
		}
		if c[s] == "" {
			m.add(path+"."+string(s), "no mode given; want observe, enforce or off")
		}
		m.mode(path+"."+string(s), c[s])
	}
}

func (m *Mistakes) operation(path, name string, known []sallyport.Operation) {
	if name == "" {
		m.add(path, "missing; want \"GET /items/{id}\" or an operationId")
		return
	}
	if known == nil || slices.ContainsFunc(known, func(o sallyport.Operation) bool { return names(name, o) }) {
		return
	}
	text := fmt.Sprintf("no operation %q in the specification", name)
	if near := nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	m.add(path, "%s", text)
}

// nearest is the known operation whose key or name differs least from s, when
// at most a third of it differs.
func nearest(s string, known []sallyport.Operation) string {
	best, least := "", len(s)/3+1
	for _, o := range known {
		for _, c := range []string{o.Key(), o.Name} {
			if d := distance(s, c); c != "" && d < least {
				best, least = c, d
			}
		}
	}
	return best
}

// distance is Levenshtein's, by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, up+1, row[j]+1)
			diag = up
		}
	}
	return row[len(b)]
}

func (m *Mistakes) bounds(b Bounds) {
	for _, f := range []struct {
		name string
		v    int64
		most int64
	}{{"body", b.Body, 64 << 20}, {"answer", b.Answer, 64 << 20}, {"sample", b.Sample, 1 << 20}} {
		if f.v < 0 || f.v > f.most {
			m.add("bounds."+f.name, "%d bytes; want at most %d", f.v, f.most)
		}
	}
	oneOf(m, "bounds.oversize", b.Oversize, RefuseIt, PassIt)
	oneOf(m, "bounds.encoded", b.Encoded, RefuseIt, DecodeIt, PassIt)
}

func (m *Mistakes) errors(path string, e Errors) {
	m.mode(path+".mode", e.Mode)
	status := func(path string, s int) {
		if s < 400 || s > 599 {
			m.add(path, "%d is not the status of an error; want 400 to 599", s)
		}
	}
	for i, s := range e.Pass {
		status(fmt.Sprintf("%s.pass[%d]", path, i), s)
	}
	for i, s := range e.Status {
		p := fmt.Sprintf("%s.status[%d]", path, i)
		status(p+".from", s.From)
		status(p+".to", s.To)
		if slices.ContainsFunc(e.Status[:i], func(x StatusAs) bool { return x.From == s.From }) {
			m.add(p+".from", "%d stands twice", s.From)
		}
	}
	if most := int64(1 << 20); e.Bound < 0 || e.Bound > most {
		m.add(path+".bound", "%d bytes; want at most %d", e.Bound, most)
	}
	if e.TimeClass != 0 && (e.TimeClass < 10*time.Millisecond || e.TimeClass > 5*time.Second) {
		m.add(path+".time_class", "%s; want 10ms to 5s", e.TimeClass)
	}
}

func (m *Mistakes) scopes(path string, scopes []string) {
	for i, s := range scopes {
		// RFC 6749, section 3.3: printable ASCII but for space, quote and backslash.
		bad := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
		if s == "" || strings.ContainsFunc(s, bad) {
			m.add(fmt.Sprintf("%s[%d]", path, i), "%q is not a scope (RFC 6749, section 3.3)", s)
		}
	}
}

func (m *Mistakes) introspection(p string, o OIDC, before []OIDC) {
	i := o.Introspection
	if !i.Enabled() {
		if i != (Introspection{}) {
			m.add(p+".client_id", "missing; the issuer does not answer strangers")
		}
		return
	}
	if i.Secret == "" {
		m.add(p+".secret", "missing; want env:NAME or file:PATH")
	}
	if i.Timeout < 0 || i.Timeout > 3*time.Second {
		m.add(p+".timeout", "%s; want at most 3s: a request waits for it", i.Timeout)
	}
	if i.Cache < 0 || i.Cache > 5*time.Minute {
		m.add(p+".cache", "%s; want at most 5m: for so long a revoked token may pass", i.Cache)
	}
	if i.URL != "" {
		if err := CheckIssuer(i.URL); err != nil {
			m.add(p+".url", "%v", err)
		} else if strings.HasPrefix(o.Issuer, "https:") && !strings.HasPrefix(i.URL, "https:") {
			m.add(p+".url", "want https, as the issuer's")
		}
	}
	// An opaque token does not say whose it is, and must be shown to nobody else.
	if slices.ContainsFunc(before, func(x OIDC) bool { return x.Introspection.Enabled() }) {
		m.add(p, "one issuer of an API can be asked about opaque tokens; another one is already")
	}
}

// words checks values that stand in a quoted, space separated list of a header.
func (m *Mistakes) words(path string, words []string) {
	for i, w := range words {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			m.add(fmt.Sprintf("%s[%d]", path, i), "%q: want printable ASCII without space, quote and backslash", w)
		}
	}
}

func (m *Mistakes) auth(a Auth) {
	seen := map[string]bool{}
	for i, o := range a.OIDC {
		p := fmt.Sprintf("auth.oidc[%d]", i)
		if err := CheckIssuer(o.Issuer); err != nil {
			m.add(p+".issuer", "%v", err)
		}
		if seen[o.Issuer] {
			m.add(p+".issuer", "%q stands twice", o.Issuer)
		}
		seen[o.Issuer] = true
		if o.Audience == "" {
			m.add(p+".audience", "missing; without it a token made for another API would be accepted")
		}
		for j, alg := range o.Algorithms {
			if !slices.Contains(Algorithms(), alg) {
				m.add(fmt.Sprintf("%s.algorithms[%d]", p, j), "%q is not one of %s", alg, strings.Join(Algorithms(), ", "))
			}
		}
	}
	for i, o := range a.OIDC {
		p := fmt.Sprintf("auth.oidc[%d]", i)
		oneOf(m, p+".profile", o.Profile, RFC9068)
		if o.Profile == RFC9068 && len(o.Types) > 0 {
			m.add(p+".types", "profile rfc9068 says what typ must be; leave types out")
		}
		m.introspection(p+".introspection", o, a.OIDC[:i])
		if slices.Contains(o.Clients, "") {
			m.add(p+".clients", "an empty client")
		}
	}
	ids, hashes := map[string]bool{}, map[string]bool{}
	for i, k := range a.Keys {
		p := fmt.Sprintf("auth.keys[%d]", i)
		if k.ID == "" {
			m.add(p+".id", "missing")
		} else if ids[k.ID] {
			m.add(p+".id", "%q stands twice", k.ID)
		}
		ids[k.ID] = true
		keyed, _, err := k.Digest()
		switch {
		case err != nil:
			m.add(p+".hash", "%v", err)
		case keyed && a.Pepper == "":
			m.add(p+".hash", "hmac-sha256 needs auth.key_pepper")
		case hashes[strings.ToLower(k.Hash)]:
			m.add(p+".hash", "the same key stands twice")
		}
		hashes[strings.ToLower(k.Hash)] = true
		m.scopes(p+".scopes", k.Scopes)
	}
	oneOf(m, "auth.key_in.in", a.KeyIn.In, sallyport.InHeader, sallyport.InQuery, sallyport.InCookie)
	if strings.ContainsFunc(a.KeyIn.Name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }) {
		m.add("auth.key_in.name", "%q is not a name of a header, parameter or cookie", a.KeyIn.Name)
	}
	if strings.EqualFold(a.KeyIn.Name, "Authorization") {
		m.add("auth.key_in.name", "Authorization carries bearer tokens; choose another header")
	}
	m.binding(a)
	m.signatures(a.Signatures)
	oneOf(m, "auth.anonymous", a.Anonymous, Never, Always)
	if a.Skew < 0 || a.Skew > 10*time.Minute {
		m.add("auth.skew", "%s; want at most 10m", a.Skew)
	}
}

// Stated reports whether anything is said about proofs.
func (d DPoP) Stated() bool {
	return len(d.Algorithms) > 0 || d.Window > 0 || d.Nonce || len(d.Origins) > 0
}

// WithDefaults fills what is not given.
func (d DPoP) WithDefaults() DPoP {
	if len(d.Algorithms) == 0 {
		d.Algorithms = []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}
	}
	d.Window = cmp.Or(d.Window, time.Minute)
	return d
}

func (m *Mistakes) binding(a Auth) {
	oneOf(m, "auth.binding", a.Binding, ByDPoP, ByCertificate, ByAny)
	if len(a.OIDC) == 0 {
		if a.Binding != "" {
			m.add("auth.binding", "auth.oidc names no issuer whose tokens could be bound")
		}
	}
	for i, alg := range a.DPoP.Algorithms {
		if !slices.Contains(Algorithms(), alg) {
			m.add(fmt.Sprintf("auth.dpop.algorithms[%d]", i), "%q is not one of %s", alg, strings.Join(Algorithms(), ", "))
		}
	}
	if a.DPoP.Window < 0 || a.DPoP.Window > 5*time.Minute || a.DPoP.Window%time.Second != 0 {
		m.add("auth.dpop.window", "%s; want whole seconds, at most 5m", a.DPoP.Window)
	}
	for i, o := range a.DPoP.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			m.add(fmt.Sprintf("auth.dpop.origins[%d]", i), "%q: want https://host or https://host:port", o)
		}
	}
	ids := map[string]bool{}
	for i, c := range a.Certificates {
		p := fmt.Sprintf("auth.certificates[%d]", i)
		if c.ID == "" {
			m.add(p+".id", "missing")
		} else if ids[c.ID] {
			m.add(p+".id", "%q stands twice", c.ID)
		}
		ids[c.ID] = true
		named := 0
		for _, name := range []string{c.URI, c.DNS, c.Subject} {
			if name != "" {
				named++
			}
		}
		if named != 1 {
			m.add(p, "want exactly one of uri, dns and subject")
		}
		prefix, wide := strings.CutSuffix(c.URI, "/*")
		if u, err := url.Parse(prefix); c.URI != "" && (err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(prefix, "*")) {
			m.add(p+".uri", "%q: want a URI such as spiffe://example.org/payments, or one that ends in /*", c.URI)
		} else if wide && u.Scheme == "spiffe" && u.User != nil {
			m.add(p+".uri", "%q: a SPIFFE ID has no user", c.URI)
		}
		if strings.Contains(c.DNS, "*") {
			m.add(p+".dns", "%q: want one name", c.DNS)
		}
		m.scopes(p+".scopes", c.Scopes)
	}
}

// CheckIssuer says what is wrong with an issuer's URL: it must be https, or
// http on loopback, and have no query, fragment or credentials (OpenID Connect
// Discovery 1.0, section 3).
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return fmt.Errorf("missing; want the issuer's URL, exactly as its tokens say it")
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%q is not a URL of a host", issuer)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(issuer, "#"):
		return fmt.Errorf("the URL of an issuer has no credentials, query or fragment")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q: want https (http is for loopback only)", issuer)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Digest gives the key's hash and whether it is keyed (HMAC).
func (k Key) Digest() (keyed bool, sum [32]byte, err error) {
	kind, text, _ := strings.Cut(k.Hash, ":")
	if kind != "sha256" && kind != "hmac-sha256" {
		return false, sum, fmt.Errorf("want sha256:<hex> or hmac-sha256:<hex>, never the key itself")
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(sum) {
		return false, sum, fmt.Errorf("want 64 hexadecimal digits after %q", kind+":")
	}
	copy(sum[:], b)
	return kind == "hmac-sha256", sum, nil
}

func (m *Mistakes) exceptions(es []Exception, known []sallyport.Operation) {
	ids := map[string]bool{}
	for i, e := range es {
		p := fmt.Sprintf("exceptions[%d]", i)
		if e.ID == "" {
			m.add(p+".id", "missing")
		} else if ids[e.ID] {
			m.add(p+".id", "%q stands twice", e.ID)
		}
		ids[e.ID] = true
		if family, _ := strings.CutSuffix(e.Rule, ".*"); family == "" || strings.ContainsAny(family, "* ") {
			m.add(p+".rule", "%q: want a rule's name, or a family such as sqli.*", e.Rule)
		}
		if e.Operation != "" && e.Operation != "*" {
			m.operation(p+".operation", e.Operation, known)
		}
		if in, _, _ := strings.Cut(e.Place, " "); e.Place != "" && e.Place != "*" {
			oneOf(m, p+".place", sallyport.In(in), sallyport.InPath, sallyport.InQuery, sallyport.InHeader, sallyport.InCookie,
				sallyport.InBody, sallyport.InMethod, sallyport.InTarget)
		}
		if strings.TrimSpace(e.Owner) == "" {
			m.add(p+".owner", "missing; someone answers for each exception")
		}
		if strings.TrimSpace(e.Reason) == "" {
			m.add(p+".reason", "missing; say why it is granted")
		}
		if e.Expires.IsZero() {
			m.add(p+".expires", "missing; an exception without an end is a change of policy")
		}
	}
}
