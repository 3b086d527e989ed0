package spec

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/query"
	"sallyport.dev/spec/source"
)

// A writing is what a parameter says of the query language of its values.
type writing struct {
	name              string
	fields, functions []string
	at                Position
}

// language reads x-sallyport-format, or the format of a parameter's schema where
// it is the name of a query language, with x-fields and x-functions beside it.
func (b *docBuilder) language(p *param, v *source.Value, d *document) {
	s := v
	if x := v.Get("schema"); x.Is(source.Object) {
		s = x
		for hops := 0; s.Get("$ref") != nil && hops < 32; hops++ {
			next, nd := b.follow(d, s.Get("$ref"))
			if next == nil {
				return
			}
			s, d = next, nd
		}
	}
	name := v.Get("x-sallyport-format")
	if name == nil {
		if name = s.Get("x-sallyport-format"); name == nil {
			if name = s.Get("format"); !query.Known(name.String()) {
				return
			}
		}
	}
	at := d.at(name)
	if !query.Known(name.String()) {
		b.mistake(at, fmt.Sprintf("there is no query language %q", name.String()), "one of "+strings.Join(query.Names(), ", "))
		return
	}
	if p.in != sallyport.InQuery {
		b.mistake(at, "a query language stands at a parameter that is not in the query", "")
		return
	}
	w := &writing{name: name.String(), at: at}
	for _, from := range []*source.Value{v, s} {
		if w.fields == nil {
			w.fields = b.words(from.Get("x-fields"))
		}
		if w.functions == nil {
			w.functions = b.words(from.Get("x-functions"))
		}
	}
	p.written = w
}

// languages completes the query languages of an operation's parameters: where no
// fields are listed they are the properties of its answers.
func (b *docBuilder) languages(op *Operation) {
	for i, p := range op.query {
		if p.written == nil {
			continue
		}
		w := p.written
		own := *p // a parameter may be shared by operations with other answers
		fields := w.fields
		if fields == nil && w.name != "sql-expression" {
			seen := map[string]bool{}
			for _, x := range op.Outline().Places {
				if !x.Response || x.Place.In != sallyport.InBody {
					continue
				}
				for step := range strings.SplitSeq(x.Place.Name, "/") {
					if step != "" && step != "*" && !seen[step] {
						seen[step] = true
						fields = append(fields, step)
					}
				}
			}
		}
		l, err := query.New(w.name, fields, w.functions)
		if err != nil {
			b.mistake(w.at, err.Error(), "x-fields: [name, price]")
			continue
		}
		own.language = l
		op.query[i] = &own
	}
}

// languages parses the values of a parameter in its query language. A value of
// the language is proven; the string literals in it are values of their own.
func (c *Check) languages(p *param, o occurrence) {
	for i := o.first; i >= 0; i = c.links[i].next {
		x := &c.Params[i]
		x.Proven = false // a pattern may admit more than the grammar
		if x.Bad {
			continue
		}
		literals, err := p.language.Parse(x.Value, c.literals[:0])
		c.literals = literals
		var e *query.Error
		if errors.As(err, &e) {
			c.problem(p.in, p.name, "query."+p.language.Name(), e.Error())
			continue
		}
		x.Proven = true
		raw := x.Raw
		for _, v := range literals {
			c.add(Param{In: p.in, Name: p.name, Raw: raw, Value: v, Declared: true})
		}
	}
}
