package spec

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/xsd"
)

// A body is what an operation declares about its request body.
type body struct {
	required bool
	media    []*media
}

// media is one media type with its schema.
type media struct {
	name     string // lower case; may be type/* or */*
	kind     BodyKind
	schema   *schema.Schema
	repeat   []string // form fields that may stand more than once although explode is not the rule
	joined   []string // form fields whose arrays are joined by commas
	explicit bool     // OpenAPI 2.0: arrays are joined unless listed in repeat

	encoded map[string][]string // media types of files, by field
	xml     *xmlShape           // how XML stands for the schema
	xsd     *xsd.Schema         // the XML schema of its documents (x-xsd)
	root    xsd.Root
	props   map[string]schema.Shape
	names   map[string]string // of props, to themselves
	items   map[string]schema.Shape
	texts   map[string]bool // fields that are text and no files
	others  schema.Shape
}

func (m *media) shape() {
	if m.schema == nil || m.kind != Form && m.kind != Multipart {
		return
	}
	m.props, m.others, m.items = m.schema.Properties(), m.schema.Others(), map[string]schema.Shape{}
	m.names = map[string]string{}
	for k := range m.props {
		m.names[k] = k
		m.items[k] = m.schema.PropertyItems(k)
	}
}

// A response is what an operation declares for one status or class of them.
type response struct {
	headers []*param
	media   []*media
}

// anyStatus is the key of the default response.
const anyStatus = -1

func (o *Operation) response(status int) *response {
	if r := o.responses[status]; r != nil {
		return r
	}
	if r := o.responses[status/100]; r != nil {
		return r
	}
	return o.responses[anyStatus]
}

// pick finds the entry for a content type: exact, then type/*, then */*.
func pick(list []*media, contentType string) *media {
	name := contentType
	if i := strings.IndexByte(name, ';'); i >= 0 {
		name = name[:i]
	}
	name = strings.Trim(name, " \t")
	if name == "" {
		return nil
	}
	for _, m := range list {
		if strings.EqualFold(m.name, name) {
			return m
		}
	}
	slash := strings.IndexByte(name, '/')
	for _, m := range list {
		if n := len(m.name) - 1; slash > 0 && n == slash+1 && m.name[n] == '*' && strings.EqualFold(m.name[:n], name[:slash+1]) {
			return m
		}
	}
	for _, m := range list {
		if m.name == "*/*" {
			return m
		}
	}
	return nil
}

// Body tells how a request body of this content type is to be fed. A nil
// operation goes by the media type alone.
func (o *Operation) Body(contentType string) BodyKind {
	if o == nil {
		if contentType == "" {
			return Text
		}
		return kindOf(contentType)
	}
	if o.body == nil {
		return None
	}
	m := pick(o.body.media, contentType)
	if m == nil {
		return Undeclared
	}
	if strings.HasSuffix(m.name, "*") {
		return kindOf(contentType)
	}
	return m.kind
}

// CheckBody reads a request body into c and checks it. With a nil operation,
// or for a media type that the operation does not declare, the body is read by
// its media type and no schema is asked.
func (o *Operation) CheckBody(c *Check, contentType string, body []byte) {
	c.direction = schema.Request
	var m *media
	switch {
	case o == nil:
	case o.body == nil:
		if len(body) == 0 {
			return
		}
		c.undocumented(sallyport.InBody, "")
	case len(body) == 0 && contentType == "" || len(body) == 0 && !o.body.required:
		if o.body.required {
			c.problem(sallyport.InBody, "", "body.missing", "required body is missing")
		}
		return
	default:
		if m = pick(o.body.media, contentType); m == nil {
			c.problem(sallyport.InBody, "", "body.media-type", "media type is not declared")
		}
	}
	kind := kindOf(contentType)
	if m != nil && !strings.HasSuffix(m.name, "*") {
		kind = m.kind
	}
	if contentType == "" {
		kind = Text
		if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
			kind = JSON
		}
	}
	c.body(m, o.limits(), kind, contentType, body)
}

func (o *Operation) limits() jsondoc.Limits {
	if o == nil || o.o == nil {
		return jsondoc.Limits{}
	}
	return o.o.Limits
}

func (c *Check) body(m *media, lim jsondoc.Limits, kind BodyKind, contentType string, body []byte) {
	if kind == JSON || kind == Form || kind == Text || kind == XML {
		if !readable(contentType) {
			c.problem(sallyport.InBody, "", "body.charset", "character set is not UTF-8")
			c.NotChecked = append(c.NotChecked, "body: character set")
			return
		}
	}
	switch kind {
	case JSON:
		c.jsonBody(m, lim, body)
	case Form:
		if !utf8.Valid(body) {
			c.problem(sallyport.InBody, "", "body.utf8", "body is not UTF-8")
		}
		first := len(c.Params)
		var names map[string]string
		if m != nil {
			names = m.names
		}
		c.fields(text(body), sallyport.InBody, names)
		if m != nil && m.schema != nil {
			c.formObject(m.schema, m.props, m.others, m.items, m, first, sallyport.InBody)
		}
	case XML:
		c.xmlBody(m, body)
	case Multipart:
		c.multipart(m, contentType, body)
	default:
		if m == nil || m.schema == nil {
			return
		}
		if kind == Text && !structured(contentType) && utf8.Valid(body) {
			c.one(text(body), jsondoc.String, false)
			c.holds(m.schema, sallyport.InBody, "", maxKept)
			return
		}
		if kind == Text {
			c.NotChecked = append(c.NotChecked, "body: schema of "+m.name)
		}
	}
}

// structured reports media types whose schema speaks of what the text means.
func structured(contentType string) bool {
	return !strings.HasPrefix(contentType, "text/") || strings.Contains(contentType, "xml") || strings.Contains(contentType, "yaml") || strings.Contains(contentType, "csv")
}

// readable reports whether the charset parameter, if any, is UTF-8 or a part of it.
func readable(contentType string) bool {
	i := strings.IndexByte(contentType, ';')
	if i < 0 {
		return true
	}
	for rest := contentType[i+1:]; rest != ""; {
		part := rest
		if j := strings.IndexByte(rest, ';'); j >= 0 {
			part, rest = rest[:j], rest[j+1:]
		} else {
			rest = ""
		}
		part = strings.Trim(part, " \t")
		if len(part) < 8 || !strings.EqualFold(part[:7], "charset") {
			continue
		}
		v := strings.Trim(strings.TrimLeft(part[7:], " =\t"), `"' `)
		return strings.EqualFold(v, "utf-8") || strings.EqualFold(v, "utf8") || strings.EqualFold(v, "us-ascii")
	}
	return true
}

func (c *Check) syntax(in sallyport.In, name string, err error) {
	var s *jsondoc.SyntaxError
	if errors.As(err, &s) {
		c.problem(in, name, s.Rule, s.Message+" at byte "+strconv.Itoa(s.Offset))
	}
}

func (c *Check) jsonBody(m *media, lim jsondoc.Limits, body []byte) {
	lim.Duplicates = true
	if err := c.Doc.Parse(body, lim); err != nil {
		c.syntax(sallyport.InBody, "", err)
		c.NotChecked = append(c.NotChecked, "body: not readable as JSON")
		return
	}
	c.HasDoc = true
	if c.Doc.Duplicates {
		c.problem(sallyport.InBody, c.Doc.Pointer(c.Doc.Duplicate), jsondoc.RuleDuplicate, "object holds a key twice")
	}
	if m == nil || m.schema == nil {
		return
	}
	c.evaluate(m.schema)
}

// evaluate checks the document that was read against its schema.
func (c *Check) evaluate(s *schema.Schema) {
	c.eval.Problems, c.eval.Undocumented = c.eval.Problems[:0], c.eval.Undocumented[:0]
	c.eval.Max, c.eval.Names, c.eval.Direction = maxKept, true, c.direction
	c.eval.Lenient = c.lenient
	if !s.Evaluate(&c.Doc, 0, &c.eval) {
		for _, x := range c.eval.Problems {
			c.problem(sallyport.InBody, x.Pointer, x.Rule, x.Detail)
		}
	}
	if c.lenient {
		c.strays()
		return
	}
	for _, i := range c.eval.Undocumented {
		if len(c.Undocumented) >= maxUndocumented {
			break
		}
		c.undocumented(sallyport.InBody, c.starred(i))
	}
}

// Starred is the pointer of a node of Doc with indexes of arrays as *.
func (c *Check) Starred(i int) string { return strings.Clone(c.starred(i)) }

// starred is the pointer of a node with array indexes as *.
func (c *Check) starred(i int) string {
	var path [64]int32
	k := 0
	for n := int32(i); n >= 0 && c.Doc.Nodes[n].Parent >= 0 && k < len(path); n = c.Doc.Nodes[n].Parent {
		path[k] = n
		k++
	}
	out := c.scratch[:0]
	for k--; k >= 0; k-- {
		out = append(out, '/')
		if c.Doc.Nodes[path[k]].KeyStart < 0 {
			out = append(out, '*')
			continue
		}
		out = jsondoc.AppendToken(out, c.Doc.Key(int(path[k]), nil))
	}
	c.scratch = out
	return text(out)
}

// fields reads urlencoded pairs into c.Params. The text may be the memory of a
// body, so a name is one of those known or copied.
func (c *Check) fields(raw string, in sallyport.In, names map[string]string) {
	for rest := raw; rest != ""; {
		pair := rest
		if i := strings.IndexByte(rest, '&'); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		if pair == "" {
			continue
		}
		rawName, rawValue := pair, ""
		if i := strings.IndexByte(pair, '='); i >= 0 {
			rawName, rawValue = pair[:i], pair[i+1:]
		}
		name, ok1 := c.decode(rawName, true)
		if known, ok := names[name]; ok {
			name = known
		} else {
			name = strings.Clone(name)
		}
		value, ok2 := c.decode(rawValue, true)
		if c.add(Param{In: in, Name: name, Raw: rawValue, Value: value, Bad: !ok1 || !ok2}) < 0 {
			return
		}
		if !ok1 || !ok2 {
			c.problem(in, strings.Clone(name), "parameter.encoding", "percent-encoding is broken")
		}
	}
}

// formObject checks the fields from index first on as the members of an object.
func (c *Check) formObject(s *schema.Schema, props map[string]schema.Shape, others schema.Shape, items map[string]schema.Shape, m *media, first int, in sallyport.In) {
	if c.byName == nil {
		c.byName = map[string]occurrence{}
	}
	clear(c.byName)
	c.begin(jsondoc.Object)
	for i := first; i < len(c.Params); i++ {
		o := c.byName[c.Params[i].Name]
		c.link(&o, int32(i), "")
		c.byName[c.Params[i].Name] = o
	}
	for i := first; i < len(c.Params); i++ {
		name := c.Params[i].Name
		o := c.byName[name]
		if o.first != int32(i) {
			continue
		}
		sh, declared := props[name]
		if !declared {
			sh = others
			if len(props) > 0 {
				c.undocumented(in, name)
			}
		}
		for k := o.first; k >= 0; k = c.links[k].next {
			c.Params[k].Declared = declared
			if !utf8.ValidString(c.Params[k].Value) && !c.links[k].file() {
				c.problem(in, strings.Clone(name), "parameter.utf8", "value is not UTF-8")
				return
			}
		}
		scalar := sh.String || sh.Number || sh.Boolean
		joined := m != nil && (m.explicit && m.kind == Form && !slices.Contains(m.repeat, name) || slices.Contains(m.joined, name))
		switch {
		case sh.Object && !scalar && !sh.Array:
			c.NotChecked = append(c.NotChecked, "field "+strings.Clone(name)+": object")
			continue
		case sh.Array && (!scalar || o.count > 1):
			parent := c.child(0, name, "", jsondoc.Array, false, -1)
			item, ok := items[name]
			if !ok {
				item = others
			}
			for k := o.first; k >= 0; k = c.links[k].next {
				v := c.Params[k].Value
				for more := true; more; {
					piece := v
					more = false
					if joined {
						piece, v, more = next(v, ",", false)
					}
					kind, integer := word(piece, item)
					c.child(parent, "", piece, kind, integer, k)
				}
			}
		default:
			if o.count > 1 {
				c.problem(in, strings.Clone(name), "parameter.duplicate", "field stands more than once")
			}
			v := c.Params[o.first].Value
			if c.links[o.first].file() {
				v = "" // a file's content is no string of the schema
			}
			kind, integer := word(v, sh)
			c.child(0, name, v, kind, integer, o.first)
		}
	}
	c.finish(s, in, "")
}

// isFile is the property of links that are files of a multipart body.
const isFile = "\x00file"

func (l link) file() bool { return l.property == isFile }

// maxParts bounds the parts of a multipart body.
const maxParts = 256

// multipart reads the parts of multipart/form-data (RFC 7578): fields with
// their values, files with their names and sizes.
func (c *Check) multipart(m *media, contentType string, body []byte) {
	_, attributes, err := mime.ParseMediaType(contentType)
	boundary := attributes["boundary"]
	if err != nil || boundary == "" || len(boundary) > 70 || extended(contentType) {
		c.problem(sallyport.InBody, "", "multipart.boundary", "boundary is missing or malformed")
		c.NotChecked = append(c.NotChecked, "body: multipart")
		return
	}
	first := len(c.Params)
	rest, ok := bytes.CutPrefix(body, []byte("--"+boundary))
	if !ok {
		c.problem(sallyport.InBody, "", "multipart.syntax", "body does not begin with its boundary")
		c.NotChecked = append(c.NotChecked, "body: multipart")
		return
	}
	delimiter := []byte("\r\n--" + boundary)
	behind := ""
	for n := 0; ; n++ {
		if after, last := bytes.CutPrefix(rest, []byte("--")); last {
			if len(after) > 0 && !bytes.HasPrefix(after, []byte("\r\n")) || len(bytes.Trim(after, " \t\r\n")) > 0 {
				c.problem(sallyport.InBody, "", "multipart.syntax", "there is something behind the last part")
				behind = string(after)
			}
			break
		}
		end := -1
		if rest, ok = bytes.CutPrefix(rest, []byte("\r\n")); ok {
			end = bytes.Index(rest, delimiter)
		}
		if end < 0 || n == maxParts {
			c.problem(sallyport.InBody, "", "multipart.syntax", "a part is malformed or has no end")
			c.NotChecked = append(c.NotChecked, "body: multipart")
			return
		}
		if !c.part(rest[:end]) {
			c.problem(sallyport.InBody, "", "multipart.syntax", "header of a part is malformed")
			c.NotChecked = append(c.NotChecked, "body: multipart")
			return
		}
		rest = rest[end+len(delimiter):]
	}
	c.files(m)
	if m != nil && m.schema != nil {
		c.formObject(m.schema, m.props, m.others, m.items, m, first, sallyport.InBody)
	}
	if behind != "" { // no part, and yet there may be a reader for it
		c.add(Param{In: sallyport.InBody, Name: "behind the last part", Raw: behind, Value: behind, Declared: true})
	}
}

func (c *Check) part(part []byte) bool {
	head, content, ok := bytes.Cut(part, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	h, ok := readPartHead(head)
	if !ok {
		return false
	}
	name, file, declared := h.name, h.file, h.declared
	if file != "" {
		// The name is for inspection; of the content, the beginning tells its type.
		if i := c.add(Param{In: sallyport.InBody, Name: name, Raw: file, Value: file}); i >= 0 {
			c.links[i].property = isFile
		}
		c.file(name, file, declared, content)
		return true
	}
	v := string(content)
	if name == "_charset_" && !strings.EqualFold(v, "utf-8") {
		return false // some servers read all fields by it (RFC 7578, section 4.6)
	}
	c.add(Param{In: sallyport.InBody, Name: name, Raw: v, Value: v})
	return true
}

// readPartHead reads the head of a part, strictly.
func readPartHead(head []byte) (h partHead, ok bool) {
	if len(head) > maxPartHead || bytes.Count(head, []byte("\r\n")) >= maxPartLines || controls(head) {
		return h, false
	}
	name, file, declared, found, typed, coded, text := "", "", "", false, false, false, true
	for line := range strings.SplitSeq(string(head), "\r\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok || !token(key) {
			return h, false
		}
		switch {
		case strings.EqualFold(key, "Content-Disposition"):
			kind, attributes, err := mime.ParseMediaType(value)
			if err != nil || found || kind != "form-data" || extended(value) {
				return h, false
			}
			found = true
			name = attributes["name"]
			file = attributes["filename"]
		case strings.EqualFold(key, "Content-Transfer-Encoding"):
			if coded {
				return h, false
			}
			coded = true
			switch strings.ToLower(strings.TrimSpace(value)) {
			case "7bit", "8bit", "binary":
			default: // some servers decode it, most do not (RFC 7578 section 4.7)
				return h, false
			}
		case strings.EqualFold(key, "Content-Type"):
			if typed {
				return h, false // of two, each reader takes another one
			}
			typed, declared = true, value
			text = readable(value)
		}
	}
	if !found || name == "" || !text && file == "" {
		return h, false
	}
	return partHead{name, file, declared}, true
}

// token reports whether s is a field name (RFC 9110, section 5.6.2).
func token(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// controls reports whether the head of a part holds control characters, or line
// ends that are not CRLF.
func controls(head []byte) bool {
	for i, b := range head {
		switch {
		case b == '\t' || b >= 0x20 && b != 0x7f:
		case b == '\r' && i+1 < len(head) && head[i+1] == '\n':
		case b == '\n' && i > 0 && head[i-1] == '\r':
		default:
			return true
		}
	}
	return false
}

// extended reports whether a header value has parameters such as name*, which
// RFC 7578 forbids and not every server reads. A filename* beside a filename
// stands: .NET sends both, and to everyone it is a file.
func extended(value string) bool {
	starred, plain := false, false
	key, quoted, atKey := 0, false, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case quoted:
		case c == ';':
			key, atKey = i+1, true
		case c == '=' && atKey:
			atKey = false
			switch k := strings.TrimSpace(value[key:i]); {
			case strings.EqualFold(k, "filename*"):
				starred = true
			case strings.EqualFold(k, "filename"):
				plain = !strings.HasPrefix(value[i:], `=""`) && len(value) > i+1
			case strings.Contains(k, "*"):
				return true
			}
		}
	}
	return starred && !plain
}

// CheckResponse checks status and headers of an answer.
func (o *Operation) CheckResponse(c *Check, status int, h http.Header) {
	c.direction = schema.Response
	if o == nil {
		return
	}
	r := o.response(status)
	if r == nil {
		c.NewStatus = o.responses != nil
		return
	}
	for _, p := range r.headers {
		values := h[p.key]
		if len(values) == 0 {
			if p.required {
				c.problem(p.in, p.name, "parameter.missing", "required header is missing")
			}
			continue
		}
		before := len(c.Params)
		c.header(p, values, false)
		c.Params, c.links = c.Params[:before], c.links[:before]
	}
}

// CheckResponseBody checks the body of an answer.
func (o *Operation) CheckResponseBody(c *Check, status int, contentType string, body []byte) {
	c.direction = schema.Response
	kind := kindOf(contentType)
	if o == nil {
		if kind == JSON {
			c.body(nil, jsondoc.Limits{}, kind, contentType, body)
		}
		return
	}
	r := o.response(status)
	if r == nil || len(body) == 0 {
		return
	}
	m := pick(r.media, contentType)
	if m == nil {
		if len(r.media) > 0 {
			c.problem(sallyport.InBody, "", "body.media-type", "media type is not declared")
		}
		if kind == JSON {
			c.body(nil, o.limits(), kind, contentType, body)
		}
		return
	}
	if !strings.HasSuffix(m.name, "*") {
		kind = m.kind
	}
	if kind == Form || kind == Multipart {
		return
	}
	c.body(m, o.limits(), kind, contentType, body)
}
