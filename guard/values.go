package guard

import (
	"bytes"
	"strings"
	"unicode/utf8"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/spec"
	"sallyport.dev/spec/jsondoc"
)

// hit records an attack that the engine found.
func (s *Session) hit(f inspect.Finding, place sallyport.Place, detail string) {
	if f.Decoded != "" {
		detail = join(detail, "reached through "+f.Decoded)
	}
	s.fault(inspecting, refusedAttack, f.Rule, place, f.Class, detail)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// inspectParams asks the engine about each value that nothing has proven
// harmless, and about each name that its sender made up.
func (s *Session) inspectParams(params []spec.Param) {
	for i := range params {
		p := &params[i]
		if s.credential.In == p.In && s.credential.Name == p.Name {
			continue // it is the very key that was demanded, or refused already
		}
		if p.Bad {
			s.fault(inspecting, refusedUnreadable, "encoding.percent", sallyport.Place{In: p.In, Name: p.Name}, "", "broken percent-encoding")
		}
		if !p.Declared && p.In != sallyport.InHeader { // a header's name is a token by its grammar
			if f := s.p.engine.CheckString(p.Name, p.In, &s.inspected); f.Hit() {
				s.hit(f, sallyport.Place{In: p.In, Name: "*"}, "in a name")
			}
		}
		if p.Proven {
			continue
		}
		known := p.In == sallyport.InHeader && memorable(p.Name)
		if known && s.p.clean.has(p.Value) {
			continue
		}
		if f := s.p.engine.CheckString(p.Value, p.In, &s.inspected); f.Hit() && !(f.Class == "ssrf" && s.whence(p)) {
			s.hit(f, sallyport.Place{In: p.In, Name: p.Name}, "")
		} else if known && !s.inspected.Spent() {
			s.p.clean.keep(p.Value)
		}
	}
}

// whence reports whether p says, in the way browsers do, from which page the
// request comes: an Origin, which is a scheme and a host and nothing to fetch,
// or a Referer on the very host that is asked. Their hosts may be private or
// loopback addresses, as those of an organisation's own pages are.
func (s *Session) whence(p *spec.Param) bool {
	if p.In != sallyport.InHeader || p.Name != "Origin" && p.Name != "Referer" {
		return false
	}
	rest, ok := strings.CutPrefix(p.Value, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(p.Value, "http://"); !ok {
			return false
		}
	}
	if p.Name == "Origin" {
		return !strings.ContainsAny(rest, "/@?#\\")
	}
	host, _, _ := strings.Cut(rest, "/")
	return host != "" && strings.EqualFold(host, s.r.Host)
}

var refusedUnreadable = &Refusal{Kind: KindInvalid, Action: sallyport.ActionRefuse, Stage: sallyport.StageInspect}

// inspectDoc asks the engine about each string and key of the JSON body.
func (s *Session) inspectDoc() {
	d := &s.check.Doc
	for i := range d.Nodes {
		n := &d.Nodes[i]
		if n.KeyStart >= 0 {
			s.text = scratch(s.text, int(n.KeyEnd-n.KeyStart))
			if f := s.p.engine.Check(d.Key(i, s.text), sallyport.InBody, &s.inspected); f.Hit() {
				s.hit(f, sallyport.Place{In: sallyport.InBody, Name: d.Pointer(int(n.Parent))}, "in a member's name")
			}
		}
		if n.Kind != jsondoc.String || n.Proven {
			continue
		}
		s.text = scratch(s.text, int(n.End-n.Start))
		if f := s.p.engine.Check(d.Text(i, s.text), sallyport.InBody, &s.inspected); f.Hit() {
			s.hit(f, sallyport.Place{In: sallyport.InBody, Name: d.Pointer(i)}, "")
		}
	}
}

func scratch(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, 0, max(n, 512))
	}
	return b[:0]
}

// inspectUnread looks at a body that nothing has taken apart. What looks like
// JSON is read as JSON, whatever its media type says; of what is no text, the
// beginning is looked at.
func (s *Session) inspectUnread(b []byte) {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		(*spec.Operation)(nil).CheckBody(&s.check, "application/json", b)
		s.seen = len(s.check.Problems)
		if s.check.HasDoc {
			s.inspectDoc()
			return
		}
	}
	if int64(len(b)) > s.api.bounds.Sample && !utf8.Valid(b) {
		s.miss("body: binary, only its beginning was looked at")
		b = b[:s.api.bounds.Sample]
	}
	s.inspectText(b)
}

func (s *Session) inspectText(b []byte) {
	if len(b) == 0 {
		return
	}
	if f := s.p.engine.Check(b, sallyport.InBody, &s.inspected); f.Hit() {
		s.hit(f, sallyport.Place{In: sallyport.InBody}, "")
	}
}

// inspectTarget looks at the path as a whole: what an upstream may walk out of.
func (s *Session) inspectTarget() {
	path := s.r.Path
	if plainPath(path) {
		return
	}
	if rule, detail := strangePath(path); rule != "" {
		class := ""
		r := refusedUnreadable
		if rule == "target.traversal" {
			class, r = "traversal", refusedAttack
		}
		s.fault(inspecting, r, rule, sallyport.Place{In: sallyport.InTarget}, class, detail)
		return
	}
	if f := s.p.engine.CheckString(path, sallyport.InTarget, &s.inspected); f.Hit() {
		s.hit(f, sallyport.Place{In: sallyport.InTarget}, "")
	}
}

const (
	wordByte = 1 << iota // letters, digits, _ and -
	pathByte             // those, and / and ~
)

var byteClass = func() (t [256]uint8) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") {
		t[c] = wordByte | pathByte
	}
	t['/'], t['~'] = pathByte, pathByte
	return t
}()

// plainPath reports whether a path holds nothing that could be read in two ways.
func plainPath(s string) bool {
	for i := range len(s) {
		c := s[i]
		if byteClass[c]&pathByte == 0 && (c != '.' || i == 0 || byteClass[s[i-1]]&wordByte == 0) {
			return false
		}
		if c == '/' && i > 0 && s[i-1] == '/' {
			return false
		}
	}
	return true
}

// strangePath finds, under any decoding that an upstream may do, segments that
// climb (.. with or without parameters, \ for /), control characters and broken
// escapes.
func strangePath(path string) (rule, detail string) {
	text := []byte(path)
	for round := 0; ; round++ {
		if climbs(text) {
			return "target.traversal", "a segment of the path climbs"
		}
		for _, c := range text {
			if c < 0x20 || c == 0x7f {
				return "target.control", "a control character in the path"
			}
		}
		next, escapes, broken := percentOnce(text)
		if broken && round == 0 {
			return "target.encoding", "broken percent-encoding in the path"
		}
		if escapes == 0 || round == 3 {
			return "", ""
		}
		text = next
	}
}

// climbs reports whether a segment of the path is "..", also when it carries
// parameters after a semicolon, or an overlong form of the dots or slashes.
func climbs(text []byte) bool {
	start := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] != '/' && text[i] != '\\' {
			if text[i] == 0xC0 && i+1 < len(text) && (text[i+1] == 0xAE || text[i+1] == 0xAF) {
				return true
			}
			continue
		}
		segment := text[start:i]
		for j, c := range segment {
			if c == ';' {
				segment = segment[:j]
				break
			}
		}
		if string(segment) == ".." {
			return true
		}
		start = i + 1
	}
	return false
}

func percentOnce(text []byte) (out []byte, escapes int, broken bool) {
	out = make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out = append(out, text[i])
			continue
		}
		if i+2 >= len(text) || unhex(text[i+1]) < 0 || unhex(text[i+2]) < 0 {
			broken = true
			out = append(out, '%')
			continue
		}
		out = append(out, byte(unhex(text[i+1])<<4|unhex(text[i+2])))
		escapes++
		i += 2
	}
	return out, escapes, broken
}
