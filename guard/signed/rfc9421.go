package signed

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/policy"
)

// input is one member of Signature-Input.
type input struct {
	label      string
	components []component
	params     string // as written, from the first parenthesis on: the value of @signature-params
	created    int64
	expires    int64
	has        [2]bool // created, expires
	keyid, alg string
	nonce, tag string
}

// component is one covered component: its name and the parameters that are known here.
type component struct {
	id   string // as written, quotes and parameters included
	name string
	bs   bool
	of   string // of @query-param: its name, decoded
}

// rfc9421 checks the message signatures of a request (RFC 9421, section 3.2): the
// first whose keyid is known decides.
func (v *Verifier) rfc9421(m *Message, now time.Time) (p Proof, rule string) {
	inputs, ok := readInputs(m.Header["Signature-Input"])
	if !ok {
		return p, RuleMalformed
	}
	signatures, ok := readBytes(m.Header["Signature"])
	if !ok {
		return p, RuleMalformed
	}
	for i := range inputs {
		in := &inputs[i]
		for k := range v.signers {
			s := &v.signers[k]
			if s.Style != policy.RFC9421 || s.KeyID != in.keyid {
				continue
			}
			signature, there := signatures[in.label]
			if !there {
				return p, RuleMalformed
			}
			p, rule = s.check(m, in, signature, now)
			p.Signer = k
			return p, rule
		}
	}
	return p, RuleKey
}

// check holds one signature against what is demanded, cheapest first.
func (s *signer) check(m *Message, in *input, signature []byte, now time.Time) (p Proof, rule string) {
	switch {
	case in.alg != "" && in.alg != s.Algorithm:
		return p, RuleAlgorithm
	case !in.has[0] || !within(in.created, s.Window, now):
		return p, RuleTime
	case in.has[1] && now.Unix() >= in.expires:
		return p, RuleTime
	case s.Tag != "" && in.tag != s.Tag:
		return p, RuleTag
	case s.Once && in.nonce == "":
		return p, RuleNonce
	case !s.covered(m, in):
		return p, RuleCovers
	}
	base, ok := in.base(m)
	if !ok {
		return p, RuleCovers
	}
	if !slices.ContainsFunc(s.keys, func(k key) bool { return k.verify(s.Algorithm, base, signature) }) {
		return p, RuleWrong
	}
	if in.covers("content-digest") && !digested(m) {
		return p, RuleDigest
	}
	p.Until = time.Unix(in.created, 0).Add(s.Window)
	if s.Once {
		p.Unique = in.nonce
	}
	return p, ""
}

// covered reports whether the signature covers what it must: what is demanded,
// and the digest of a body when there is one.
func (s *signer) covered(m *Message, in *input) bool {
	if len(m.Body) > 0 && !in.covers("content-digest") {
		return false
	}
	for _, want := range s.Components {
		switch {
		case in.covers(want):
		case want == "content-digest" && len(m.Body) == 0:
		case want == "@query" && m.RawQuery == "":
		case want == "@target-uri":
			if !in.covers("@authority") || !in.covers("@path") || m.RawQuery != "" && !in.covers("@query") {
				return false
			}
		case (want == "@authority" || want == "@path" || want == "@query" || want == "@scheme") && in.covers("@target-uri"):
		default:
			return false
		}
	}
	return true
}

func (in *input) covers(name string) bool {
	return slices.ContainsFunc(in.components, func(c component) bool { return c.name == name && c.of == "" })
}

// base makes the signature base (RFC 9421, section 2.5).
func (in *input) base(m *Message) ([]byte, bool) {
	var b bytes.Buffer
	for i := range in.components {
		c := &in.components[i]
		value, ok := m.value(c)
		if !ok || strings.ContainsAny(value, "\r\n") {
			return nil, false
		}
		b.WriteString(c.id)
		b.WriteString(": ")
		b.WriteString(value)
		b.WriteByte('\n')
	}
	b.WriteString(`"@signature-params": `)
	b.WriteString(in.params)
	return b.Bytes(), true
}

// value is that of a component of a request (RFC 9421, sections 2.1 and 2.2).
func (m *Message) value(c *component) (string, bool) {
	path, query := m.Path, "?"+m.RawQuery
	if path == "" {
		path = "/"
	}
	switch c.name {
	case "@method":
		return m.Method, true
	case "@authority":
		return m.authority(), true
	case "@scheme":
		return m.Scheme, true
	case "@path":
		return path, true
	case "@query":
		return query, true
	case "@request-target":
		if m.RawQuery == "" {
			return path, true
		}
		return path + query, true
	case "@target-uri":
		uri := m.Scheme + "://" + m.authority() + path
		if m.RawQuery != "" {
			uri += query
		}
		return uri, true
	case "@query-param":
		return m.queryParam(c.of)
	}
	if c.name == "" || c.name[0] == '@' {
		return "", false
	}
	if c.name == "host" {
		return m.Host, !c.bs
	}
	values := m.Header[canonical(c.name)]
	if len(values) == 0 && c.name == "content-length" && m.Length >= 0 {
		values = []string{strconv.FormatInt(m.Length, 10)} // the server has taken it off
	}
	if len(values) == 0 {
		return "", false
	}
	parts := make([]string, len(values))
	for i, v := range values {
		if parts[i] = strings.Trim(v, " \t"); c.bs {
			parts[i] = ":" + base64.StdEncoding.EncodeToString([]byte(parts[i])) + ":"
		}
	}
	return strings.Join(parts, ", "), true
}

// queryParam is the one parameter of that name, encoded anew (RFC 9421, section 2.2.8).
func (m *Message) queryParam(name string) (value string, ok bool) {
	n := 0
	for rest := m.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(pair, "=")
		k, err := url.QueryUnescape(k)
		if err != nil || k != name {
			continue
		}
		if v, err = url.QueryUnescape(v); err != nil {
			return "", false
		}
		value = v
		n++
	}
	return formEncode(value), n == 1
}

// formEncode is the form-urlencoded percent-encode set, with %20 for a space.
func formEncode(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("*-._", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// digested reports whether Content-Digest (RFC 9530) is that of the body: each
// digest of a kind that is known must be, and there must be one.
func digested(m *Message) bool {
	digests, ok := readBytes(m.Header["Content-Digest"])
	if !ok {
		return false
	}
	known := false
	for name, given := range digests {
		var want []byte
		switch name {
		case "sha-256":
			h := sha256.Sum256(m.Body)
			want = h[:]
		case "sha-512":
			h := sha512.Sum512(m.Body)
			want = h[:]
		default:
			continue
		}
		if subtle.ConstantTimeCompare(want, given) != 1 {
			return false
		}
		known = true
	}
	return known
}

// parser reads structured fields (RFC 9651), as far as they occur here.
type parser struct {
	s string
	i int
}

func joined(lines []string) (string, bool) {
	s := strings.Join(lines, ", ")
	return s, s != "" && len(s) <= maxHeader
}

func (p *parser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *parser) take(c byte) bool {
	if p.peek() == c && p.i < len(p.s) {
		p.i++
		return true
	}
	return false
}

func (p *parser) spaces() {
	for p.peek() == ' ' || p.peek() == '\t' {
		p.i++
	}
}

// key is the name of a member or parameter.
func (p *parser) key() (string, bool) {
	from := p.i
	for c := p.peek(); c >= 'a' && c <= 'z' || c == '*' || p.i > from && (c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'); c = p.peek() {
		p.i++
	}
	return p.s[from:p.i], p.i > from
}

func (p *parser) text() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	var b []byte
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == '"':
			return string(b), true
		case c == '\\':
			if c = p.peek(); c != '"' && c != '\\' {
				return "", false
			}
			p.i++
		case c < 0x20 || c > 0x7e:
			return "", false
		}
		b = append(b, c)
	}
	return "", false
}

func (p *parser) integer() (int64, bool) {
	from := p.i
	if p.peek() == '-' {
		p.i++
	}
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.i++
	}
	if p.i-from > 15 {
		return 0, false
	}
	n, err := strconv.ParseInt(p.s[from:p.i], 10, 64)
	return n, err == nil
}

func (p *parser) bytes() ([]byte, bool) {
	if !p.take(':') {
		return nil, false
	}
	end := strings.IndexByte(p.s[p.i:], ':')
	if end < 0 {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(p.s[p.i : p.i+end])
	p.i += end + 1
	return b, err == nil
}

// next goes on to the next member of a dictionary; more says whether there is one.
func (p *parser) next() (more, ok bool) {
	p.spaces()
	if p.i == len(p.s) {
		return false, true
	}
	if !p.take(',') {
		return false, false
	}
	p.spaces()
	return true, p.i < len(p.s)
}

// readBytes reads a dictionary of byte sequences without parameters.
func readBytes(lines []string) (map[string][]byte, bool) {
	s, ok := joined(lines)
	if !ok {
		return nil, false
	}
	p, out := &parser{s: s}, map[string][]byte{}
	for {
		name, ok := p.key()
		if !ok || !p.take('=') {
			return nil, false
		}
		b, ok := p.bytes()
		if _, twice := out[name]; !ok || twice || len(out) > maxLabels {
			return nil, false
		}
		out[name] = b
		more, ok := p.next()
		if !ok || !more {
			return out, ok
		}
	}
}

// readInputs reads Signature-Input (RFC 9421, section 4.1).
func readInputs(lines []string) ([]input, bool) {
	s, ok := joined(lines)
	if !ok {
		return nil, false
	}
	p := &parser{s: s}
	var out []input
	for {
		var in input
		if in.label, ok = p.key(); !ok || !p.take('=') || len(out) == maxLabels || slices.ContainsFunc(out, func(x input) bool { return x.label == in.label }) {
			return nil, false
		}
		from := p.i
		if !p.components(&in) || !p.params(&in) {
			return nil, false
		}
		in.params = s[from:p.i]
		out = append(out, in)
		more, ok := p.next()
		if !ok || !more {
			return out, ok
		}
	}
}

// components reads the inner list of covered components. Two that are the same,
// and parameters that are not known here, are refused.
func (p *parser) components(in *input) bool {
	if !p.take('(') {
		return false
	}
	for !p.take(')') {
		if len(in.components) > 0 && !p.take(' ') {
			return false
		}
		var c component
		var ok bool
		from := p.i
		if c.name, ok = p.text(); !ok || c.name == "@signature-params" || c.name != strings.ToLower(c.name) {
			return false
		}
		named := false
		for p.take(';') {
			param, ok := p.key()
			switch {
			case !ok:
				return false
			case param == "bs" && !c.bs && c.name != "" && c.name[0] != '@':
				c.bs = true
			case param == "name" && c.name == "@query-param" && !named && p.take('='):
				if c.of, ok = p.text(); !ok || c.of == "" {
					return false
				}
				var err error
				if c.of, err = url.QueryUnescape(c.of); err != nil {
					return false
				}
				named = true
			default:
				return false
			}
		}
		c.id = p.s[from:p.i]
		if c.name == "@query-param" && !named || len(in.components) == maxComponents ||
			slices.ContainsFunc(in.components, func(x component) bool { return x.name == c.name && x.of == c.of }) {
			return false
		}
		in.components = append(in.components, c)
	}
	return true
}

// params reads the parameters of a signature (RFC 9421, section 2.3).
func (p *parser) params(in *input) bool {
	seen := map[string]bool{}
	for p.take(';') {
		name, ok := p.key()
		if !ok || seen[name] || !p.take('=') {
			return false
		}
		seen[name] = true
		switch name {
		case "created":
			in.created, ok = p.integer()
			in.has[0] = true
		case "expires":
			in.expires, ok = p.integer()
			in.has[1] = true
		case "keyid":
			in.keyid, ok = p.text()
		case "alg":
			in.alg, ok = p.text()
		case "nonce":
			in.nonce, ok = p.text()
		case "tag":
			in.tag, ok = p.text()
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}
