package spec

import (
	"strings"

	"sallyport.dev/spec/source"
)

// A Link leads from a value in the body of an operation's answers to another
// operation, one path parameter of which takes the value (OpenAPI 3.0 section
// 4.7.20, Link Object).
type Link struct {
	Name      string
	Operation string // operationId, or "GET /items/{id}" where it is named by a reference into the document; without the base path
	Param     string
	Pointer   string // of the value, where * stands for every element of a list
}

// Links are the links of the operation's successful answers that lead from one
// value of the body to one parameter. It is for setting up, not for requests.
func (o *Operation) Links() []Link { return o.links }

// readLinks keeps the links that one value of the body is enough for.
func (b *docBuilder) readLinks(op *Operation, v *source.Value, d *document) {
	links := v.Get("links")
	if !links.Is(source.Object) {
		return
	}
	for _, m := range links.Members {
		x, _ := b.object(m.Value, d, "link")
		if x == nil {
			continue
		}
		l := Link{Name: m.Key, Operation: x.Get("operationId").String()}
		if ref := x.Get("operationRef").String(); l.Operation == "" && strings.HasPrefix(ref, "#/paths/") {
			path, method, ok := strings.Cut(strings.TrimPrefix(ref, "#/paths/"), "/")
			if !ok {
				continue
			}
			l.Operation = strings.ToUpper(method) + " " + strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}").Replace(path)
		}
		params := x.Get("parameters")
		if l.Operation == "" || !params.Is(source.Object) || len(params.Members) != 1 {
			continue
		}
		p := params.Members[0]
		pointer, ok := strings.CutPrefix(p.Value.String(), "$response.body#")
		if !ok || pointer == "" || pointer[0] != '/' {
			continue
		}
		l.Param, l.Pointer = strings.TrimPrefix(p.Key, "path."), pointer
		op.links = append(op.links, l)
	}
}
