package observe

import (
	"bytes"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"sallyport.dev"
	"sallyport.dev/classify"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/proto/frame"
)

// Bounds of what is taken out of one body.
const (
	maxClasses = 64  // data classes of one exchange
	maxShape   = 512 // places of one body's shape
	maxSample  = 1 << 20
	maxLeaves  = 4096 // values looked at
	maxPointer = 512  // bytes of a pointer
)

// reader takes data classes and shapes out of bodies. Readers are pooled: the
// document's tape is the costly part.
type reader struct {
	doc     jsondoc.Doc
	matches []classify.Match
	scratch []byte
	path    []byte
	seen    map[string]int // pointer and type → index in shape
	stack   []level
	times   []int32 // beside the shape: how often the place held the type
}

type level struct {
	end  int32 // index behind the subtree
	trim int   // length of path before the node
	arr  bool
}

var readers = sync.Pool{New: func() any { return &reader{seen: map[string]int{}, scratch: make([]byte, 0, 512)} }}

// bodies fills x.Classes and x.Shape from the samples and drops those.
func (r *Redactor) bodies(x *sallyport.Exchange) {
	request, response := x.RequestBody, x.ResponseBody
	x.RequestBody, x.ResponseBody = nil, nil
	if len(request) == 0 && len(response) == 0 {
		return
	}
	rd := readers.Get().(*reader)
	defer func() {
		rd.doc.Reset() // the tape is kept, the body is not
		readers.Put(rd)
	}()
	var shape sallyport.Shape
	x.Lesson = r.lesson(x)
	shape.Request = r.body(rd, x, request, x.RequestHeader, false)
	shape.Response = r.body(rd, x, response, x.ResponseHeader, true)
	if shape.Request != nil || shape.Response != nil {
		x.Shape = &shape
	}
}

func (r *Redactor) body(rd *reader, x *sallyport.Exchange, b []byte, header []sallyport.Field, response bool) []sallyport.Typed {
	if len(b) == 0 || encoded(header) {
		return nil
	}
	b = b[:min(len(b), maxSample)]
	media := mediaType(header)
	switch {
	case strings.HasSuffix(media, "json") || media == "" && (b[0] == '{' || b[0] == '['):
		if rd.doc.Parse(b, jsondoc.Limits{Duplicates: true, Nodes: 1 << 16}) == nil {
			if !response {
				rd.calls(x.Lesson)
			}
			return r.document(rd, x, response)
		}
		rd.free(x, b, response) // a sample may end in the middle
	case media == "application/x-www-form-urlencoded":
		return r.form(rd, x, b, response)
	case strings.HasPrefix(media, "application/grpc"):
		if i := strings.LastIndexByte(x.Path, '/'); !response && i >= 0 {
			add(x.Lesson, sallyport.Call{Kind: "grpc", Name: name(strings.TrimPrefix(x.Path, "/"))})
		}
		if _, _, ok := frame.FormOf(media); ok {
			return messages(b)
		}
	case strings.HasPrefix(media, "image/") || strings.HasPrefix(media, "audio/") || strings.HasPrefix(media, "video/") || strings.HasPrefix(media, "font/"):
	default:
		if !bytes.Contains(b[:min(len(b), 512)], []byte{0}) {
			if !response && strings.HasSuffix(media, "xml") {
				add(x.Lesson, sallyport.Call{Kind: "soap", Name: name(soapAction(x))})
			}
			rd.free(x, b, response)
		}
	}
	return nil
}

// encoded reports whether a body is compressed: it is then no text.
func encoded(header []sallyport.Field) bool {
	for _, f := range header {
		if strings.EqualFold(f.Name, "Content-Encoding") {
			return f.Value != "" && !strings.EqualFold(f.Value, "identity")
		}
	}
	return false
}

func mediaType(header []sallyport.Field) string {
	for _, f := range header {
		if strings.EqualFold(f.Name, "Content-Type") {
			media, _, _ := strings.Cut(f.Value, ";")
			return strings.ToLower(strings.TrimSpace(media))
		}
	}
	return ""
}

func found(x *sallyport.Exchange, class classify.Class, pointer string, response bool) {
	if len(x.Classes) >= maxClasses {
		return
	}
	c := sallyport.DataClass{Class: string(class), Place: sallyport.Place{In: sallyport.InBody, Name: pointer}, Response: response}
	for _, have := range x.Classes {
		if have == c {
			return
		}
	}
	x.Classes = append(x.Classes, c)
}

// free scans text without known structure: classes, no places.
func (rd *reader) free(x *sallyport.Exchange, b []byte, response bool) {
	rd.matches = classify.Append(rd.matches[:0], b, maxClasses)
	for _, m := range rd.matches {
		found(x, m.Class, "", response)
	}
}

func (r *Redactor) form(rd *reader, x *sallyport.Exchange, b []byte, response bool) []sallyport.Typed {
	var shape []sallyport.Typed
	clear(rd.seen)
	for pair := range strings.SplitSeq(string(b), "&") {
		if len(shape) >= maxShape {
			break
		}
		key, value, _ := strings.Cut(pair, "=")
		key, value = unescape(key), unescape(value)
		if key == "" {
			continue
		}
		pointer := "/" + r.member([]byte(key))
		if rd.value(x, key, []byte(value), pointer, response) {
			r.word(x.Lesson, x, key, pointer, []byte(value), response)
		}
		shape = rd.typed(shape, pointer, "string", format(value))
	}
	return shape
}

// value classifies one named value; it reports whether nothing was found.
func (rd *reader) value(x *sallyport.Exchange, key string, value []byte, pointer string, response bool) bool {
	if len(value) == 0 {
		return true
	}
	if class, sure := classify.Field(key, value); class != "" && sure >= classify.Likely {
		found(x, class, pointer, response)
		return false
	}
	if builtin.sensitive(key) && len(value) >= 4 {
		found(x, classify.Secret, pointer, response)
		return false
	}
	if len(value) < 8 {
		return true
	}
	rd.matches = classify.Append(rd.matches[:0], value, 4)
	for _, m := range rd.matches {
		found(x, m.Class, pointer, response)
	}
	return len(rd.matches) == 0
}

// document walks a parsed body: classes of its values, types of its places.
func (r *Redactor) document(rd *reader, x *sallyport.Exchange, response bool) []sallyport.Typed {
	d := &rd.doc
	clear(rd.seen)
	rd.path, rd.stack = rd.path[:0], rd.stack[:0]
	var shape []sallyport.Typed
	leaves := 0
	key := ""
	for i := range d.Nodes {
		n := &d.Nodes[i]
		for len(rd.stack) > 0 && int32(i) >= rd.stack[len(rd.stack)-1].end {
			rd.path = rd.path[:rd.stack[len(rd.stack)-1].trim]
			rd.stack = rd.stack[:len(rd.stack)-1]
		}
		trim := len(rd.path)
		switch {
		case n.KeyStart >= 0:
			k := d.Key(i, rd.scratch[:0])
			key = string(k)
			rd.path = append(append(rd.path, '/'), r.member(k)...)
		case len(rd.stack) > 0:
			rd.path = append(rd.path, "/*"...) // key stays: the list's name speaks for its values
		}
		pointer := string(rd.path)
		if len(rd.path) > maxPointer {
			pointer = ""
		}
		kind, form := n.Kind.String(), ""
		switch n.Kind {
		case jsondoc.Object, jsondoc.Array:
			rd.stack = append(rd.stack, level{end: n.Next, trim: trim})
		case jsondoc.String:
			if leaves++; leaves <= maxLeaves {
				value := d.Text(i, rd.scratch[:0])
				if rd.value(x, key, value, pointer, response) {
					r.word(x.Lesson, x, key, pointer, value, response)
				}
				form = format(string(value[:min(len(value), 256)]))
			}
		case jsondoc.Number:
			if n.Integer {
				kind = "integer"
			}
			if leaves++; leaves <= maxLeaves && n.End-n.Start >= 8 {
				rd.value(x, key, d.Raw(i), pointer, response)
			}
		}
		if len(rd.path) <= maxPointer {
			shape = rd.typed(shape, pointer, kind, form)
		}
		if n.Kind != jsondoc.Object && n.Kind != jsondoc.Array {
			rd.path = rd.path[:trim]
		}
	}
	if gaps := absent(shape, rd.times); response {
		x.Lesson.ResponseAbsent = gaps
	} else {
		x.Lesson.RequestAbsent = gaps
	}
	return shape
}

// typed notes one place. A format stays only while every value has it.
func (rd *reader) typed(shape []sallyport.Typed, pointer, kind, form string) []sallyport.Typed {
	id := pointer + "\x00" + kind
	if at, ok := rd.seen[id]; ok {
		if shape[at].Format != form {
			shape[at].Format = ""
		}
		rd.times[at]++
		return shape
	}
	if len(shape) >= maxShape {
		return shape
	}
	rd.seen[id] = len(shape)
	rd.times = append(rd.times[:len(shape)], 1)
	return append(shape, sallyport.Typed{Pointer: pointer, Type: kind, Format: form})
}

// member is an object's key as a segment of a pointer (RFC 6901): "*" when the
// key is an identifier rather than a name, a mark when it is a secret.
func (r *Redactor) member(key []byte) string {
	s := string(key[:min(len(key), keepValue)])
	if uuid(s) || allDigits(s) {
		return "*"
	}
	if look := survey(s); look != plain {
		if look&dirty != 0 {
			s = scrub(s)
		}
		if class := secretIn("", s, true, true); class != "" {
			return mark(class)
		}
		if len(s) >= 24 && random(s, false) || hexId(s) {
			return "*"
		}
	}
	if strings.ContainsAny(s, "~/") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
	}
	return s
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func hexId(s string) bool {
	if len(s) < 16 || !hasDigit(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// format names the format of a string that every character agrees with, "" when
// it is free text.
func format(s string) string {
	if len(s) < 3 || len(s) > 254 || !utf8.ValidString(s) {
		return ""
	}
	switch c := s[0]; {
	case len(s) == 36 && uuid(s):
		return "uuid"
	case len(s) >= 10 && c >= '0' && c <= '9' && s[4] == '-':
		if len(s) == 10 {
			if _, err := time.Parse(time.DateOnly, s); err == nil {
				return "date"
			}
			return ""
		}
		if s[10] == 'T' || s[10] == 't' || s[10] == ' ' {
			if _, err := time.Parse(time.RFC3339, s); err == nil {
				return "date-time"
			}
		}
		return ""
	}
	if strings.Contains(s, "://") {
		if u, err := url.Parse(s); err == nil && u.Scheme != "" && u.Host != "" {
			return "uri"
		}
		return ""
	}
	if at := strings.IndexByte(s, '@'); at > 0 && strings.IndexByte(s[at:], '.') > 1 && !strings.ContainsAny(s, " <>\"\t\n") {
		return "email"
	}
	if strings.Count(s, ".") == 3 || strings.Count(s, ":") >= 2 {
		if a, err := netip.ParseAddr(s); err == nil {
			if a.Is4() {
				return "ipv4"
			}
			return "ipv6"
		}
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return "integer"
	}
	return ""
}
