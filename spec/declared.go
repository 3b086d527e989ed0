package spec

import (
	"net/url"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/source"
)

// Declared is what the document says of an operation, for those who make
// requests out of it. It is there when Options.Keep is set.
type Declared struct {
	Description  string
	Params       []DeclaredParam
	BodyRequired bool
	Bodies       []DeclaredMedia
	Answers      []DeclaredAnswer
	Schemes      map[string]Node // the security schemes of the document
}

// A DeclaredParam is one parameter of a request, or one header of an answer.
type DeclaredParam struct {
	In       sallyport.In
	Name     string
	Required bool
	Style    string // as written; "" = the default of its place
	Explode  bool
	Schema   Node // nothing where content describes it
	Examples []Node
}

// DeclaredMedia is one media type of a body.
type DeclaredMedia struct {
	Type     string
	Schema   Node
	Examples []Node
}

// A DeclaredAnswer is one answer of an operation.
type DeclaredAnswer struct {
	Status  string // "200", "4XX", "default"
	Headers []DeclaredParam
	Media   []DeclaredMedia
}

// A Node is a value of a description. Get and the like follow references; a
// Node of nothing has none of anything. It is immutable.
type Node struct {
	Value *source.Value
	d     *document
	docs  map[string]*document
}

// maxRefs bounds a chain of references.
const maxRefs = 32

// Resolve follows references until something else stands there.
func (n Node) Resolve() Node {
	for range maxRefs {
		ref := n.Value.Get("$ref")
		if !ref.Is(source.String) {
			return n
		}
		base, err1 := url.Parse(n.d.uri)
		r, err2 := url.Parse(ref.Text)
		if err1 != nil || err2 != nil {
			return Node{}
		}
		d := n.d
		if r.Scheme != "" || r.Host != "" || r.Path != "" {
			full := base.ResolveReference(r)
			full.Fragment, full.RawFragment = "", ""
			if d = n.docs[full.String()]; d == nil {
				return Node{}
			}
		}
		n = Node{Value: d.root.Pointer(r.Fragment), d: d, docs: n.docs}
		if n.Value == nil {
			return Node{}
		}
	}
	return Node{}
}

// Get is the member's value, references followed.
func (n Node) Get(key string) Node { return n.of(n.Value.Get(key)).Resolve() }

// Items are the elements of a list, references followed.
func (n Node) Items() (out []Node) {
	for _, v := range n.Value.List() {
		out = append(out, n.of(v).Resolve())
	}
	return out
}

// Members calls f for the members of an object in their order, references followed.
func (n Node) Members(f func(key string, v Node)) {
	for _, m := range n.Value.Entries() {
		f(m.Key, n.of(m.Value).Resolve())
	}
}

func (n Node) of(v *source.Value) Node {
	if v == nil {
		return Node{}
	}
	return Node{Value: v, d: n.d, docs: n.docs}
}

// Declared is what the document says of the operation, nil unless the Set was
// loaded with Options.Keep, and of operations of other languages than OpenAPI.
func (o *Operation) Declared() *Declared { return o.declared }

// declare keeps what the document says of op.
func (b *docBuilder) declare(op *Operation, v *source.Value, d *document, params []*param) {
	if !b.o.Keep {
		return
	}
	out := &Declared{Description: v.Get("description").String(), Schemes: map[string]Node{}}
	node := func(v *source.Value, d *document) Node { return Node{Value: v, d: d, docs: b.documents}.Resolve() }
	for name, s := range b.schemes {
		out.Schemes[name] = node(s, b.d)
	}
	for _, p := range params {
		if p.in == sallyport.InBody || p.whole || p.source == nil {
			continue
		}
		out.Params = append(out.Params, b.declaredParam(p.source, p.document, p.in, p.name, p.required))
	}
	switch {
	case b.version == v20:
		b.declare20(out, op, v, params)
	case v.Get("requestBody") != nil:
		rb := node(v.Get("requestBody"), d)
		out.BodyRequired = rb.Get("required").Value.True()
		out.Bodies = declaredMedia(rb.Get("content"))
	}
	produces := b.produces
	if p := v.Get("produces"); p != nil {
		produces = b.words(p)
	}
	node(v.Get("responses"), d).Members(func(key string, r Node) {
		if strings.HasPrefix(key, "x-") {
			return
		}
		a := DeclaredAnswer{Status: key}
		r.Get("headers").Members(func(name string, h Node) {
			if h.Value != nil {
				a.Headers = append(a.Headers, b.declaredParam(h.Value, h.d, sallyport.InHeader, name, h.Get("required").Value.True()))
			}
		})
		if b.version == v20 {
			if s := r.Get("schema"); s.Value != nil {
				if len(produces) == 0 {
					produces = []string{"application/json"}
				}
				for _, t := range produces {
					a.Media = append(a.Media, DeclaredMedia{Type: strings.ToLower(t), Schema: s})
				}
			}
		} else {
			a.Media = declaredMedia(r.Get("content"))
		}
		out.Answers = append(out.Answers, a)
	})
	op.declared = out
}

func (b *docBuilder) declaredParam(v *source.Value, d *document, in sallyport.In, name string, required bool) DeclaredParam {
	n := Node{Value: v, d: d, docs: b.documents}
	p := DeclaredParam{In: in, Name: name, Required: required, Style: v.Get("style").String(), Schema: n.Get("schema")}
	p.Explode = p.Style == "" && (in == sallyport.InQuery || in == sallyport.InCookie) || p.Style == "form" || p.Style == "deepObject"
	if e := v.Get("explode"); e != nil {
		p.Explode = e.True()
	}
	if b.version == v20 {
		p.Schema = n.of(inline20(v))
		p.Explode = v.Get("collectionFormat").String() == "multi"
	}
	p.Examples = examples(n)
	return p
}

func (b *docBuilder) declare20(out *Declared, op *Operation, v *source.Value, params []*param) {
	if op.body == nil {
		return
	}
	out.BodyRequired = op.body.required
	var whole Node
	form := &source.Value{Kind: source.Object}
	needed := &source.Value{Kind: source.Array}
	for _, p := range params {
		switch {
		case p.in != sallyport.InBody || p.source == nil:
		case p.form:
			form.Members = append(form.Members, source.Member{Key: p.name, Value: inline20(p.source)})
			if p.required {
				needed.Items = append(needed.Items, &source.Value{Kind: source.String, Text: p.name})
			}
		default:
			whole = Node{Value: p.source, d: p.document, docs: b.documents}.Get("schema")
		}
	}
	if whole.Value == nil {
		object := &source.Value{Kind: source.Object, Members: []source.Member{{Key: "type", Value: &source.Value{Kind: source.String, Text: "object"}},
			{Key: "properties", Value: form}, {Key: "required", Value: needed}}}
		whole = Node{Value: object, d: b.d, docs: b.documents}
	}
	for _, m := range op.body.media {
		out.Bodies = append(out.Bodies, DeclaredMedia{Type: m.name, Schema: whole})
	}
}

func declaredMedia(content Node) (out []DeclaredMedia) {
	content.Members(func(name string, m Node) {
		name, _, _ = strings.Cut(name, ";")
		out = append(out, DeclaredMedia{Type: strings.ToLower(strings.TrimSpace(name)), Schema: m.Get("schema"), Examples: examples(m)})
	})
	return out
}

// examples are those of a parameter or a media type.
func examples(n Node) (out []Node) {
	if e := n.Value.Get("example"); e != nil {
		out = append(out, n.of(e))
	}
	n.Get("examples").Members(func(_ string, e Node) {
		if v := e.Value.Get("value"); v != nil {
			out = append(out, e.of(v))
		}
	})
	return out
}
