package policy

import (
	"fmt"
	"slices"
	"strings"

	sallyport "sallyport.dev"
)

// Sideload says which related resources a client may have put into an answer,
// so that it need not ask for each: ?include=customer on a list of orders.
type Sideload struct {
	Param string `yaml:"param" doc:"Query parameter in which clients name what they want put in, behind commas. Default include."`
	// Links makes a rule of each link of the specification that leads from a value of an answer to a GET.
	Links bool           `yaml:"links" doc:"Make a rule of each link of the specification that leads from a value of an answer's body to a GET with one path parameter."`
	Rules []SideloadRule `yaml:"rules" doc:"What may be put into which answers."`
	Most  int            `yaml:"most" doc:"Related resources in one answer at most; more are left out, and the record says so. Default 100."`
}

// Enabled reports whether there is anything to put in.
func (s Sideload) Enabled() bool { return len(s.Rules) > 0 || s.Links }

// WithDefaults fills what is not given.
func (s Sideload) WithDefaults() Sideload {
	if s.Param == "" {
		s.Param = "include"
	}
	if s.Most <= 0 {
		s.Most = 100
	}
	return s
}

// A SideloadRule puts the resources that an answer names by their ids into it.
type SideloadRule struct {
	Name      string `yaml:"name" need:"1" doc:"What clients ask for, and the property that holds the resource, beside its id."`
	Operation string `yaml:"operation" need:"1" doc:"Whose answers name the ids: \"GET /orders\" or an operationId."`
	From      string `yaml:"from" need:"1" doc:"Where the ids stand in the answer: a JSON pointer, * for every element, such as /items/*/customer_id."`
	Target    string `yaml:"target" need:"1" doc:"Which operation gives the resource: a GET with one path parameter, such as GET /customers/{id}."`
	Batch     Batch  `yaml:"batch" doc:"An operation that gives several at once."`
	Always    bool   `yaml:"always" doc:"Put it in unasked."`
}

// A Batch is an operation that gives several resources at once.
type Batch struct {
	Operation string `yaml:"operation" doc:"Such as GET /customers."`
	Param     string `yaml:"param" doc:"Its query parameter that takes the ids, behind commas."`
	Items     string `yaml:"items" doc:"Where the resources stand in its answer: a JSON pointer. Default the answer itself."`
	Key       string `yaml:"key" doc:"Their property that is the id. Default id."`
	Size      int    `yaml:"size" doc:"Ids in one request at most. Default 50."`
}

// Enabled reports whether there is one.
func (b Batch) Enabled() bool { return b.Operation != "" }

// WithDefaults fills what is not given.
func (b Batch) WithDefaults() Batch {
	if b.Key == "" {
		b.Key = "id"
	}
	if b.Size <= 0 {
		b.Size = 50
	}
	return b
}

func (m *Mistakes) sideload(a API, known []sallyport.Operation) {
	s := a.Sideload
	if !s.Enabled() {
		return
	}
	if strings.ContainsAny(s.Param, "&=#?, ") {
		m.add("sideload.param", "%q is not the name of a parameter", s.Param)
	}
	seen := map[string]bool{}
	for i, r := range s.Rules {
		path := fmt.Sprintf("sideload.rules[%d]", i)
		switch {
		case r.Name == "":
			m.add(path, "name is missing: what do clients ask for?")
		case strings.ContainsAny(r.Name, `,/"\`+" ") || len(r.Name) > 64:
			m.add(path+".name", "%q cannot be asked for and stand as a property: want a plain word", r.Name)
		case seen[r.Operation+"\x00"+r.Name]:
			m.add(path+".name", "%q stands twice for %s", r.Name, r.Operation)
		}
		seen[r.Operation+"\x00"+r.Name] = true
		m.operation(path+".operation", r.Operation, known)
		m.operation(path+".target", r.Target, known)
		if r.From == "" || r.From[0] != '/' {
			m.add(path+".from", "%q is not a JSON pointer such as /items/*/customer_id", r.From)
		} else if last := r.From[strings.LastIndexByte(r.From, '/')+1:]; last == r.Name {
			m.add(path+".name", "%q is where the id stands; the resource needs another property", r.Name)
		}
		if i := slices.IndexFunc(known, func(o sallyport.Operation) bool { return names(r.Target, o) }); i >= 0 {
			if o := known[i]; o.Method != "GET" || strings.Count(o.Template, "{") != 1 {
				m.add(path+".target", "%s is not a GET with one path parameter", o.Key())
			}
		}
		if i := slices.IndexFunc(known, func(o sallyport.Operation) bool { return names(r.Operation, o) }); i >= 0 && known[i].Method != "GET" {
			m.add(path+".operation", "%s is not a GET", known[i].Key())
		}
		if r.Batch.Enabled() {
			m.operation(path+".batch.operation", r.Batch.Operation, known)
			if r.Batch.Param == "" {
				m.add(path+".batch", "param is missing: which parameter takes the ids?")
			}
			if r.Batch.Items != "" && r.Batch.Items[0] != '/' {
				m.add(path+".batch.items", "%q is not a JSON pointer", r.Batch.Items)
			}
		}
	}
}
