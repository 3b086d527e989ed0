package observe

import (
	"bytes"
	"hash/maphash"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"google.golang.org/protobuf/encoding/protowire"

	"sallyport.dev"
	"sallyport.dev/classify"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/proto/frame"
)

// Bounds of a lesson.
const (
	maxCookies = 16
	maxAbsent  = 256
	maxWords   = 64
	maxCalls   = 16
	maxFields  = 128 // of one call
)

// lesson notes what the head of a sampled exchange shows of how it is made.
func (r *Redactor) lesson(x *sallyport.Exchange) *sallyport.Lesson {
	l := &sallyport.Lesson{}
	for i := range x.RequestHeader {
		f := &x.RequestHeader[i]
		switch {
		case strings.EqualFold(f.Name, "Authorization"):
			scheme, rest, _ := strings.Cut(strings.TrimSpace(f.Value), " ")
			if rest != "" && len(scheme) <= 20 && letters(scheme) {
				l.Scheme = strings.ToLower(scheme)
			}
		case strings.EqualFold(f.Name, "Cookie"):
			for pair := range strings.SplitSeq(f.Value, ";") {
				key, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
				if key = name(key); key != "" && len(key) <= 64 && len(l.Cookies) < maxCookies {
					l.Cookies = append(l.Cookies, key)
				}
			}
		}
	}
	for pair := range strings.SplitSeq(x.Query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if len(l.Words) >= maxWords || !wordy(bytesIn(value)) || r.value(key, value) != "" || name(key) != key || !r.words.admit(x, key, "?"+key, bytesIn(value), false) {
			continue
		}
		l.Words = append(l.Words, sallyport.Word{Place: sallyport.Place{In: sallyport.InQuery, Name: key}, Value: strings.Clone(value)})
	}
	return l
}

func letters(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c|0x20 < 'a' || c|0x20 > 'z' {
			if c != '-' {
				return false
			}
		}
	}
	return s != ""
}

// absent lists the members that some object of the body lacked while another of
// the same place had them. times stands beside shape.
func absent(shape []sallyport.Typed, times []int32) (out []string) {
	var objects, members map[string]int32
	for i, t := range shape {
		if t.Type == "object" && times[i] > 1 {
			if objects == nil {
				objects, members = map[string]int32{}, map[string]int32{}
			}
			objects[t.Pointer] = times[i]
		}
	}
	if objects == nil {
		return nil
	}
	for i, t := range shape {
		members[t.Pointer] += times[i]
	}
	for _, t := range shape {
		at := strings.LastIndexByte(t.Pointer, '/')
		if at < 0 || t.Pointer[at:] == "/*" || len(out) >= maxAbsent {
			continue
		}
		if n := objects[t.Pointer[:at]]; members[t.Pointer] > 0 && members[t.Pointer] < n {
			out = append(out, t.Pointer)
			members[t.Pointer] = 0
		}
	}
	return out
}

// commons decides which values are of nobody: at a place that knows few values,
// one that at least three principals have in common. It keeps hashes only.
type commons struct {
	mu     sync.Mutex
	seed   maphash.Seed
	places map[uint64]*wordPlace
}

type wordPlace struct {
	n      uint32
	closed bool // more values than an enumeration has
	values map[uint64]*wordValue
}

type wordValue struct {
	n   uint32
	who [3]uint64
}

// Bounds of commons, and when a value is let out.
const (
	wordPlaces   = 8192
	wordValues   = 16
	wordCalls    = 20 // values seen at the place
	wordRepeated = 3  // times the value was seen
)

// personal are parts of names whose values speak of somebody, whatever their form.
var personal = []string{"name", "user", "login", "owner", "author", "person", "first", "last", "nick", "city", "town", "street", "address", "title", "email", "mail", "phone", "birth", "gender", "sex",
	"religion", "race", "ethnic", "health", "diagnos", "passw", "secret", "token", "key", "label", "tag", "comment", "note", "text", "message", "description", "slug", "handle", "company", "customer", "patient", "account"}

// wordy reports whether a value has the form of a member of an enumeration.
func wordy(s []byte) bool {
	if len(s) < 2 || len(s) > 32 || s[0]|0x20 < 'a' || s[0]|0x20 > 'z' {
		return false
	}
	digits := 0
	for _, c := range s {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_', c == '-', c == '.':
		case c >= '0' && c <= '9':
			digits++
		default:
			return false
		}
	}
	return digits <= 4
}

// admit counts value at a place and reports whether it may be shown.
func (w *commons) admit(x *sallyport.Exchange, key, pointer string, value []byte, response bool) bool {
	lower := strings.ToLower(key)
	for _, p := range personal {
		if strings.Contains(lower, p) {
			return false
		}
	}
	var h maphash.Hash
	h.SetSeed(w.seed)
	h.WriteString(x.API)
	h.WriteByte(0)
	h.WriteString(x.Method)
	if x.Template != "" {
		h.WriteString(x.Template)
	} else {
		likeTemplate(&h, x.Path)
	}
	h.WriteByte(0)
	h.WriteString(pointer)
	if response {
		h.WriteByte(1)
	}
	place := h.Sum64()
	v := maphash.Bytes(w.seed, value)
	who := maphash.String(w.seed, x.Principal.Issuer+"\x00"+x.Principal.Subject)
	if x.Principal.Subject == "" {
		a := x.Client.As16()
		who = maphash.Bytes(w.seed, a[:])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[place]
	if p == nil {
		if len(w.places) >= wordPlaces {
			return false
		}
		p = &wordPlace{values: map[uint64]*wordValue{}}
		w.places[place] = p
	}
	if p.closed {
		return false
	}
	p.n++
	o := p.values[v]
	if o == nil {
		if len(p.values) >= wordValues {
			p.closed, p.values = true, nil
			return false
		}
		o = &wordValue{}
		p.values[v] = o
	}
	o.n++
	for i := range o.who {
		if o.who[i] == who {
			break
		}
		if o.who[i] == 0 {
			o.who[i] = who
			break
		}
	}
	return p.n >= wordCalls && o.n >= wordRepeated && o.who[len(o.who)-1] != 0
}

// word adds a value to the lesson when it is of nobody.
func (r *Redactor) word(l *sallyport.Lesson, x *sallyport.Exchange, key, pointer string, value []byte, response bool) {
	if l == nil || len(l.Words) >= maxWords || key == "" || pointer == "" || !wordy(value) || !r.words.admit(x, key, pointer, value, response) {
		return
	}
	o := sallyport.Word{Place: sallyport.Place{In: sallyport.InBody, Name: pointer}, Response: response, Value: string(value)}
	for _, have := range l.Words {
		if have == o {
			return
		}
	}
	l.Words = append(l.Words, o)
}

// calls notes what a JSON body asks for by name: a GraphQL document, JSON-RPC.
func (rd *reader) calls(l *sallyport.Lesson) {
	d := &rd.doc
	if l == nil || len(d.Nodes) == 0 {
		return
	}
	one := func(at int) {
		end := int(d.Nodes[at].Next)
		query, method, params, rpc := -1, -1, -1, false
		for i := at + 1; i < end; i = int(d.Nodes[i].Next) {
			switch string(d.Key(i, rd.scratch[:0])) {
			case "query":
				query = i
			case "method":
				method = i
			case "params":
				params = i
			case "jsonrpc":
				rpc = true
			}
		}
		switch {
		case rpc && method >= 0 && d.Nodes[method].Kind == jsondoc.String:
			c := sallyport.Call{Kind: "json-rpc", Name: name(string(d.Text(method, rd.scratch[:0])))}
			if params >= 0 {
				for i := params + 1; i < int(d.Nodes[params].Next) && len(c.Arguments) < maxFields; i = int(d.Nodes[i].Next) {
					pointer := "/*"
					if d.Nodes[i].KeyStart >= 0 {
						pointer = "/" + builtin.member(d.Key(i, rd.scratch[:0]))
					}
					kind := d.Nodes[i].Kind.String()
					if d.Nodes[i].Kind == jsondoc.Number && d.Nodes[i].Integer {
						kind = "integer"
					}
					c.Arguments = append(c.Arguments, sallyport.Typed{Pointer: pointer, Type: kind})
				}
			}
			add(l, c)
		case query >= 0 && d.Nodes[query].Kind == jsondoc.String && int(d.Nodes[query].End-d.Nodes[query].Start) <= 64<<10:
			graph(l, string(d.Text(query, nil)))
		}
	}
	switch d.Nodes[0].Kind {
	case jsondoc.Object:
		one(0)
	case jsondoc.Array:
		for i := 1; i < int(d.Nodes[0].Next) && len(l.Calls) < maxCalls; i = int(d.Nodes[i].Next) {
			if d.Nodes[i].Kind == jsondoc.Object {
				one(i)
			}
		}
	}
}

func add(l *sallyport.Lesson, c sallyport.Call) {
	if c.Name != "" && len(c.Name) <= 128 && len(l.Calls) < maxCalls {
		l.Calls = append(l.Calls, c)
	}
}

// graph notes the fields that a GraphQL document asks for, with the types of
// their arguments as used. Texts of the document other than names are passed over.
func graph(l *sallyport.Lesson, text string) {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, 4000)
	if err != nil {
		return
	}
	for _, op := range doc.Operations {
		variables := map[string]string{}
		for _, v := range op.VariableDefinitions {
			variables[v.Variable] = v.Type.String()
		}
		var roots func(set ast.SelectionSet, depth int)
		roots = func(set ast.SelectionSet, depth int) {
			for _, s := range set {
				switch s := s.(type) {
				case *ast.Field:
					c := sallyport.Call{Kind: string(op.Operation), Name: name(s.Name)}
					for _, a := range s.Arguments {
						if len(c.Arguments) < maxFields {
							c.Arguments = append(c.Arguments, sallyport.Typed{Pointer: "/" + name(a.Name), Type: graphType(a.Value, variables)})
						}
					}
					c.Fields = selected(doc, s.SelectionSet, "", c.Fields, 0)
					add(l, c)
				case *ast.InlineFragment:
					if depth < 8 {
						roots(s.SelectionSet, depth+1)
					}
				case *ast.FragmentSpread:
					if f := doc.Fragments.ForName(s.Name); f != nil && depth < 8 {
						roots(f.SelectionSet, depth+1)
					}
				}
			}
		}
		roots(op.SelectionSet, 0)
	}
}

func selected(doc *ast.QueryDocument, set ast.SelectionSet, path string, out []string, depth int) []string {
	if depth > 8 {
		return out
	}
	for _, s := range set {
		if len(out) >= maxFields {
			break
		}
		switch s := s.(type) {
		case *ast.Field:
			out = append(out, path+"/"+name(s.Name))
			out = selected(doc, s.SelectionSet, path+"/"+name(s.Name), out, depth+1)
		case *ast.InlineFragment:
			out = selected(doc, s.SelectionSet, path, out, depth+1)
		case *ast.FragmentSpread:
			if f := doc.Fragments.ForName(s.Name); f != nil {
				out = selected(doc, f.SelectionSet, path, out, depth+1)
			}
		}
	}
	return out
}

// graphType names the type of an argument's value, never the value.
func graphType(v *ast.Value, variables map[string]string) string {
	if v == nil {
		return ""
	}
	switch v.Kind {
	case ast.Variable:
		return variables[v.Raw]
	case ast.IntValue:
		return "Int"
	case ast.FloatValue:
		return "Float"
	case ast.StringValue, ast.BlockValue:
		return "String"
	case ast.BooleanValue:
		return "Boolean"
	case ast.EnumValue:
		return "enum"
	case ast.ListValue:
		return "list"
	case ast.ObjectValue:
		return "object"
	}
	return ""
}

// messages gives the wire shape of the gRPC messages in a sample: field numbers
// as pointers, wire types as types.
func messages(b []byte) []sallyport.Typed {
	var shape []sallyport.Typed
	for range 16 {
		flags, message, rest, err := frame.Next(b)
		if err != nil || flags != 0 {
			break
		}
		shape, _ = wireShape(shape, "", message, 0)
		if len(rest) == 0 {
			break
		}
		b = rest
	}
	return shape
}

func wireShape(shape []sallyport.Typed, at string, b []byte, depth int) ([]sallyport.Typed, bool) {
	before := shape
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 || num > 1<<16 {
			return before, false
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, kind, b)
		if n < 0 {
			return before, false
		}
		pointer := at + "/" + decimal(uint64(num))
		text := [...]string{"varint", "fixed64", "bytes", "group", "group", "fixed32"}[kind]
		inner := shape
		if kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			nested := false
			if depth < 6 && len(v) > 1 {
				inner, nested = wireShape(shape, pointer, v, depth+1)
			}
			switch {
			case utf8.Valid(v) && printableText(v):
				text, inner = "string", shape
			case nested:
				text = "message"
			}
		}
		shape = inner
		if !hasTyped(shape, pointer, text) && len(shape) < maxShape {
			shape = append(shape, sallyport.Typed{Pointer: pointer, Type: text})
		}
		b = b[n:]
	}
	return shape, true
}

func printableText(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) < 0
}

func hasTyped(shape []sallyport.Typed, pointer, kind string) bool {
	for i := range shape {
		if shape[i].Pointer == pointer && shape[i].Type == kind {
			return true
		}
	}
	return false
}

func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// soapAction is the SOAP action that the head names.
func soapAction(x *sallyport.Exchange) string {
	if x.Call != "" {
		return x.Call
	}
	for _, f := range x.RequestHeader {
		if strings.EqualFold(f.Name, "SOAPAction") {
			action := strings.Trim(strings.TrimSpace(f.Value), `"`)
			if i := strings.LastIndexAny(action, "/#:"); i >= 0 {
				action = action[i+1:]
			}
			if len(action) <= 64 && classify.Append(nil, []byte(action), 1) == nil {
				return action
			}
		}
	}
	return ""
}
