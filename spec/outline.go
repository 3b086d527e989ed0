package spec

import (
	"slices"
	"strconv"
	"strings"

	"sallyport.dev"
)

// A DeclaredPlace is a parameter, or a value in a body, that an operation
// declares.
type DeclaredPlace struct {
	Place    sallyport.Place
	Response bool
	Type     string // "string", "integer", …; several joined by |; "" = any
	Format   string
	Required bool
}

// An Outline is what an operation declares, for people and for comparison with
// what is observed.
type Outline struct {
	Places   []DeclaredPlace
	Statuses []string // "200", "4XX", "default"
	Schemes  []string // security schemes named; none = open
}

// maxPlaces bounds the places of one body in an Outline.
const maxPlaces = 400

// Outline gives what the operation declares.
func (o *Operation) Outline() Outline {
	var out Outline
	if o.grpc != nil {
		o.messagePlaces(&out)
		return out
	}
	add := func(p *param, in sallyport.In, response bool) {
		d := DeclaredPlace{Place: sallyport.Place{In: in, Name: p.name}, Response: response, Required: p.required}
		if p.schema != nil {
			if top := p.schema.Outline(1); len(top) == 1 {
				d.Type, d.Format = top[0].Type, top[0].Format
			}
		}
		out.Places = append(out.Places, d)
	}
	for _, list := range [][]*param{o.path, o.query, o.header, o.cookie} {
		for _, p := range list {
			add(p, p.in, false)
		}
	}
	body := func(media []*media, response bool) {
		seen := map[string]bool{}
		for _, m := range media {
			if m.schema == nil {
				continue
			}
			for _, x := range m.schema.Outline(maxPlaces) {
				if x.Pointer == "" || seen[x.Pointer] {
					continue
				}
				seen[x.Pointer] = true
				out.Places = append(out.Places, DeclaredPlace{Place: sallyport.Place{In: sallyport.InBody, Name: x.Pointer}, Response: response,
					Type: x.Type, Format: x.Format, Required: x.Required})
			}
		}
	}
	if o.body != nil {
		body(o.body.media, false)
	}
	statuses := make([]int, 0, len(o.responses))
	for s := range o.responses {
		statuses = append(statuses, s)
	}
	slices.Sort(statuses)
	var answers []*media
	for _, s := range statuses {
		switch {
		case s == anyStatus:
			out.Statuses = append(out.Statuses, "default")
		case s < 10:
			out.Statuses = append(out.Statuses, strconv.Itoa(s)+"XX")
		default:
			out.Statuses = append(out.Statuses, strconv.Itoa(s))
		}
		if s == 2 || s/100 == 2 || s == anyStatus {
			answers = append(answers, o.responses[s].media...)
		}
	}
	body(answers, true)
	for _, alternative := range o.Security {
		for scheme := range alternative {
			out.Schemes = append(out.Schemes, scheme)
		}
	}
	slices.SortFunc(out.Schemes, strings.Compare)
	out.Schemes = slices.Compact(out.Schemes)
	return out
}
