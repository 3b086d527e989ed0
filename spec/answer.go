package spec

import (
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

// A Stray is a member of an answer that no schema for its object names or
// admits.
type Stray struct {
	Node  int    // in the Check's Doc
	Place string // pointer, with indexes as *
}

// CheckAnswer is CheckResponseBody with one difference: members that no schema
// names are in c.Strays, and are no problem where a schema closes its object
// against them. c.HasDoc says whether the answer was read as JSON.
func (o *Operation) CheckAnswer(c *Check, status int, contentType string, body []byte) {
	c.HasDoc, c.Strays = false, c.Strays[:0]
	if o == nil {
		o.CheckResponseBody(c, status, contentType, body)
		return
	}
	c.lenient = true
	o.CheckResponseBody(c, status, contentType, body)
	c.lenient = false
	if o.response(status) == nil && kindOf(contentType) == JSON && len(body) > 0 { // nothing says what it is to be
		c.body(nil, o.limits(), JSON, contentType, body)
	}
}

// strays gathers what the evaluation has found. A member that any schema for
// its object names or admits, in whatever alternative, is none.
func (c *Check) strays() {
	for _, i := range c.eval.Undocumented {
		n := &c.Doc.Nodes[i]
		if n.Known || n.Seat&jsondoc.Admitted != 0 || n.Seat&taken != 0 {
			continue
		}
		n.Seat |= taken
		place, known := c.starred(i), false
		for k := len(c.Strays) - 1; k >= 0 && k >= len(c.Strays)-8; k-- { // items of a list have the same ones
			if known = c.Strays[k].Place == place; known {
				place = c.Strays[k].Place
				break
			}
		}
		if !known {
			place = strings.Clone(place)
			c.undocumented(sallyport.InBody, place)
		}
		c.Strays = append(c.Strays, Stray{Node: i, Place: place})
	}
}

// taken is the bit of a Seat that says that the member is in Strays already.
const taken = jsondoc.Unnamed << 1

// AnswerHolds reports whether body is, to the letter, what the operation
// declares for the status. It leaves what c has found alone.
func (o *Operation) AnswerHolds(c *Check, status int, contentType string, body []byte) bool {
	r := o.response(status)
	if r == nil {
		return true
	}
	m := pick(r.media, contentType)
	if m == nil || m.schema == nil {
		return m != nil || len(r.media) == 0
	}
	lim := o.limits()
	lim.Duplicates = false
	if c.again.Parse(body, lim) != nil {
		return false
	}
	c.eval.Max, c.eval.Names, c.eval.Lenient, c.eval.Direction = 0, false, false, schema.Response
	return m.schema.Evaluate(&c.again, 0, &c.eval)
}

// Sensitive lists the kinds of sensitive data that the operation declares its
// answers to hold: x-sensitive in the schemas of the answers, and formats that
// say as much.
func (o *Operation) Sensitive() []string {
	var out []string
	for _, r := range o.responses {
		for _, m := range r.media {
			if m.schema != nil {
				out = append(out, m.schema.Sensitive()...)
			}
		}
	}
	return out
}

// DeclaresEvents reports whether the operation says what the events of an answer
// with this status hold: by itemSchema (OpenAPI 3.2) or schema of
// text/event-stream, or by a channel that sends messages.
func (o *Operation) DeclaresEvents(status int) bool {
	if o == nil {
		return false
	}
	if o.channel != nil && len(o.channel.Sends) > 0 {
		return true
	}
	r := o.response(status)
	if r == nil {
		return false
	}
	m := pick(r.media, eventStream)
	return m != nil && m.name == eventStream && m.schema != nil
}

const eventStream = "text/event-stream"

// eventSchema is the schema that the data of events is held to. An itemSchema
// speaks of the event as a whole: then it is the contentSchema of its data, and
// nothing where that is not given. A schema that does not speak of data as the
// field of an event speaks of the data itself.
func (b *docBuilder) eventSchema(x *source.Value, d *document) (*source.Value, *document) {
	s := x.Get("itemSchema")
	if s == nil {
		s = x.Get("schema")
	}
	if !s.Is(source.Object) {
		return nil, nil
	}
	item, id := b.object(s, d, "schema")
	if item == nil {
		return nil, nil
	}
	data := item.Get("properties").Get("data")
	if data == nil {
		if t := item.Get("type"); t.String() == "string" {
			return nil, nil
		}
		return s, d
	}
	if !data.Is(source.Object) {
		return nil, nil
	}
	if data, id = b.object(data, id, "schema"); data == nil {
		return nil, nil
	}
	switch content := data.Get("contentSchema"); {
	case content != nil:
		return content, id
	case data.Get("type").String() == "string":
		return nil, nil
	}
	return s, d
}
