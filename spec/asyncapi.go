package spec

import (
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

// A Channel is what an AsyncAPI document (2.x or 3.0) declares of one address:
// the messages that the service receives there, and those that it sends. It is
// immutable and safe for concurrent use.
type Channel struct {
	Receives, Sends []*Message
	o               *Options
}

// A Message is one kind of message of a channel.
type Message struct {
	Name   string
	json   bool
	schema *schema.Schema // nil: anything
}

// Channel is the channel that the operation opens, nil for operations that open none.
func (o *Operation) Channel() *Channel {
	if o == nil {
		return nil
	}
	return o.channel
}

// CheckMessage reads a message into c and checks it against those that the
// channel declares for its direction. It gives the name of the one that it is,
// "" when it is none of them. With a nil channel it is only read.
func (ch *Channel) CheckMessage(c *Check, received bool, data []byte) string {
	c.HasDoc = false
	var list []*Message
	lim := jsondoc.Limits{}
	if ch != nil {
		if list = ch.Sends; received {
			list = ch.Receives
		}
		lim = ch.o.Limits
	}
	c.direction = schema.Neither
	json := looksLikeJSON(data)
	for _, m := range list {
		json = json || m.json
	}
	if json {
		c.body(nil, lim, JSON, "application/json", data)
		if !c.HasDoc {
			return ""
		}
	}
	if ch == nil {
		return ""
	}
	if len(list) == 0 {
		c.problem(sallyport.InBody, "", "message.direction", "the channel declares no messages that go this way")
		return ""
	}
	var closest *Message
	least := 1 << 30
	for _, m := range list {
		if m.schema == nil || !m.json && !c.HasDoc {
			return m.Name
		}
		if !c.HasDoc {
			continue
		}
		c.eval.Problems, c.eval.Undocumented = c.eval.Problems[:0], c.eval.Undocumented[:0]
		c.eval.Max, c.eval.Names, c.eval.Lenient, c.eval.Direction = maxKept, false, false, schema.Neither
		if m.schema.Evaluate(&c.Doc, 0, &c.eval) {
			c.evaluate(m.schema) // once more, for what it does not name
			return m.Name
		}
		if n := len(c.eval.Problems); n < least {
			closest, least = m, n
		}
	}
	switch {
	case closest == nil:
		c.problem(sallyport.InBody, "", "message.kind", "it is none of the channel's messages")
	case len(list) > 1:
		c.problem(sallyport.InBody, "", "message.kind", "it is none of the channel's messages; it comes closest to "+closest.Name)
		fallthrough
	default:
		c.evaluate(closest.schema)
	}
	return ""
}

func looksLikeJSON(data []byte) bool {
	for _, b := range data {
		switch b {
		case ' ', '\t', '\r', '\n':
		default:
			return b == '{' || b == '['
		}
	}
	return false
}

// maxMessages bounds the messages of one channel and direction.
const maxMessages = 128

// asyncAPI compiles the channels of an AsyncAPI document: each is opened by GET
// at its address.
func (b *docBuilder) asyncAPI() {
	root := b.d.root
	v := root.Get("asyncapi")
	major := 0
	for prefix, n := range map[string]int{"2.": 2, "3.0.": 3} {
		if strings.HasPrefix(v.String(), prefix) {
			major = n
		}
	}
	if major == 0 {
		b.mistake(b.d.at(v), fmt.Sprintf("AsyncAPI version %.20q is not known", v.String()), "2.x and 3.0.x are")
		return
	}
	channels := root.Get("channels")
	if !channels.Is(source.Object) || len(channels.Members) == 0 {
		b.mistake(b.d.at(root), "document has no channels", "")
		return
	}
	standard := root.Get("defaultContentType").String()
	for _, m := range channels.Members {
		at := Position{File: b.d.name, Line: m.Line, Column: m.Column}
		item, d := b.object(m.Value, b.d, "channel")
		if item == nil {
			continue
		}
		address := m.Key
		if major == 3 {
			address = item.Get("address").String()
			if address == "" {
				continue // it comes to be while the service runs: no path leads there
			}
		}
		if !strings.HasPrefix(address, "/") {
			address = "/" + address
		}
		ch := &Channel{o: b.set.o}
		if major == 2 {
			ch.Receives = b.messages2(item.Get("publish"), d, standard)
			ch.Sends = b.messages2(item.Get("subscribe"), d, standard)
		} else {
			b.messages3(ch, m.Key, item, d, standard)
		}
		id := ""
		if major == 2 {
			if id = item.Get("publish").Get("operationId").String(); id == "" {
				id = item.Get("subscribe").Get("operationId").String()
			}
		}
		op := &source.Value{Kind: source.Object, Line: m.Line, Column: m.Column}
		add := func(to *source.Value, key string, v *source.Value) {
			to.Members = append(to.Members, source.Member{Key: key, Line: m.Line, Column: m.Column, Value: v})
		}
		word := func(s string) *source.Value {
			return &source.Value{Kind: source.String, Text: s, Line: m.Line, Column: m.Column}
		}
		if id != "" && b.byID[id] == nil {
			add(op, "operationId", word(id))
		}
		if s := item.Get("description"); s.Is(source.String) {
			add(op, "summary", s)
		}
		list := &source.Value{Kind: source.Array, Line: m.Line, Column: m.Column}
		parameter := func(name, in string, s *source.Value) {
			p := &source.Value{Kind: source.Object, Line: m.Line, Column: m.Column}
			add(p, "name", word(name))
			add(p, "in", word(in))
			add(p, "schema", s)
			list.Items = append(list.Items, p)
		}
		for _, name := range templateNames(address) {
			s := &source.Value{Kind: source.Object, Line: m.Line, Column: m.Column}
			if x := item.Get("parameters").Get(name); x != nil {
				if p, _ := b.object(x, d, "parameter"); p != nil {
					switch {
					case p.Get("schema") != nil:
						s = p.Get("schema")
					case p.Get("enum") != nil:
						add(s, "type", word("string"))
						add(s, "enum", p.Get("enum"))
					}
				}
			}
			if len(s.Members) == 0 {
				add(s, "type", word("string"))
			}
			parameter(name, "path", s)
		}
		ws := item.Get("bindings").Get("ws")
		for in, s := range map[string]*source.Value{"query": ws.Get("query"), "header": ws.Get("headers")} {
			for _, q := range s.Get("properties").Entries() {
				parameter(q.Key, in, q.Value)
			}
		}
		if len(list.Items) > 0 {
			add(op, "parameters", list)
		}
		b.channel = ch
		b.operation(http.MethodGet, address, at, op, d, b.bases(nil), nil)
		b.channel = nil
	}
}

// messages2 gives the messages of an operation of AsyncAPI 2.
func (b *docBuilder) messages2(op *source.Value, d *document, standard string) (out []*Message) {
	if !op.Is(source.Object) {
		return nil
	}
	v := op.Get("message")
	if v == nil {
		return nil
	}
	x, xd := b.object(v, d, "message")
	if x == nil {
		return nil
	}
	list := []*source.Value{x}
	if one := x.Get("oneOf"); one.Is(source.Array) {
		list = one.Items
	}
	for i, m := range list {
		out = b.message(out, m, xd, fmt.Sprintf("message %d", i+1), standard)
	}
	return out
}

// messages3 gives the messages of a channel of AsyncAPI 3: those that the
// operations on it list, or all where one lists none.
func (b *docBuilder) messages3(ch *Channel, key string, item *source.Value, d *document, standard string) {
	var all []*Message
	for _, m := range item.Get("messages").Entries() {
		all = b.message(all, m.Value, d, m.Key, standard)
	}
	for _, m := range b.d.root.Get("operations").Entries() {
		op, od := b.object(m.Value, b.d, "operation")
		if op == nil {
			continue
		}
		if to, _ := b.object(op.Get("channel"), od, "channel"); to != item {
			continue
		}
		list := all
		if some := op.Get("messages"); some.Is(source.Array) {
			list = nil
			for _, x := range some.Items {
				name := x.Get("$ref").String()
				name = name[strings.LastIndexByte(name, '/')+1:]
				list = b.message(list, x, od, name, standard)
			}
		}
		switch action := op.Get("action").String(); action {
		case "receive":
			ch.Receives = append(ch.Receives, list...)
		case "send":
			ch.Sends = append(ch.Sends, list...)
		default:
			b.mistake(od.at(op), fmt.Sprintf("action %.20q is not known", action), "send and receive are")
		}
	}
}

// message compiles one message and adds it to out.
func (b *docBuilder) message(out []*Message, v *source.Value, d *document, name, standard string) []*Message {
	x, xd := b.object(v, d, "message")
	if x == nil {
		return out
	}
	if len(out) == maxMessages {
		b.mistake(d.at(v), fmt.Sprintf("more than %d messages go one way on a channel", maxMessages), "")
		return out
	}
	if n := x.Get("name").String(); n != "" {
		name = n
	}
	m := &Message{Name: name}
	contentType := x.Get("contentType").String()
	if contentType == "" {
		contentType = standard
	}
	m.json = contentType == "" || kindOf(contentType) == JSON
	payload, format := x.Get("payload"), x.Get("schemaFormat").String()
	if payload.Get("schemaFormat") != nil && payload.Get("schema") != nil { // the form of version 3
		payload, format = payload.Get("schema"), payload.Get("schemaFormat").String()
	}
	switch {
	case payload == nil:
	case format != "" && !strings.HasPrefix(format, "application/vnd.aai.asyncapi") && !strings.HasPrefix(format, "application/schema+"):
		b.note(xd.at(x), fmt.Sprintf("schema of message %s is written as %.60s: it is not checked", name, format), "JSON Schema is read here")
	default:
		m.schema = b.schema(payload, xd)
	}
	return append(out, m)
}
