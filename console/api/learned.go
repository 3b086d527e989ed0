package api

import (
	"context"
	"net/http"

	"sallyport.dev"
	"sallyport.dev/discovery/learn"
)

// Learning gives what traffic has taught.
type Learning interface {
	Learned(api string) []learn.Named
	// Drift compares with the specification in force; declared is false when there is none.
	Drift(api string) (list []learn.Difference, declared bool)
}

// LearnedView is what was learned of one operation, in short.
type LearnedView struct {
	Method     string   `json:"method" maxLength:"64"`
	Template   string   `json:"template" maxLength:"4096"`
	Declared   bool     `json:"declared"`
	Reasons    []string `json:"reasons" maxItems:"64" doc:"Why path segments were folded"`
	Requests   int64    `json:"requests" minimum:"0" doc:"That taught something"`
	State      string   `json:"state" enum:"first impression,tentative,settled"`
	Parameters []string `json:"parameters" maxItems:"64"`
	Statuses   []int    `json:"statuses" maxItems:"64"`
	Auth       []string `json:"auth" maxItems:"16" doc:"In use: http bearer, header X-Api-Key, none"`
	Media      []string `json:"media" maxItems:"16" doc:"Of request bodies"`
	Calls      []string `json:"calls" maxItems:"300" doc:"What bodies ask for by name: GraphQL fields, JSON-RPC methods"`
}

// DriftView is one difference between traffic and specification.
type DriftView struct {
	Method   string `json:"method" maxLength:"64"`
	Template string `json:"template" maxLength:"4096"`
	Kind     string `json:"kind" maxLength:"64"`
	Beyond   bool   `json:"beyond" doc:"Traffic shows more than is declared; otherwise it uses less"`
	Place    string `json:"place" maxLength:"4096"`
	Declared string `json:"declared" maxLength:"1000"`
	Seen     string `json:"seen" maxLength:"1000"`
	Text     string `json:"text" maxLength:"2000"`
	Count    int64  `json:"count" minimum:"0"`
}

var errNotLearned = sallyport.Errorf(sallyport.NotFound, "nothing was learned of an API of that name")

func (a *API) learned(name string) ([]learn.Named, error) {
	if a.Learning == nil {
		return nil, errNotLearned
	}
	list := a.Learning.Learned(name)
	if len(list) == 0 {
		return nil, errNotLearned
	}
	return list, nil
}

type learnedYAML struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *API) learnedOperations() {
	type which struct {
		API string `path:"api" minLength:"1" maxLength:"200"`
	}
	add(a, spec{id: "getLearnedJSON", method: http.MethodGet, path: "/apis/{api}/learned.openapi.json", summary: "The OpenAPI 3.1 document that traffic has taught", tag: "inventory", access: viewer},
		func(_ context.Context, in *which) (*body[map[string]any], error) {
			list, err := a.learned(in.API)
			if err != nil {
				return nil, err
			}
			return &body[map[string]any]{learn.Describe(in.API, list)}, nil
		})
	add(a, spec{id: "getLearnedYAML", method: http.MethodGet, path: "/apis/{api}/learned.openapi.yaml", summary: "The same as YAML", tag: "inventory", access: viewer},
		func(_ context.Context, in *which) (*learnedYAML, error) {
			list, err := a.learned(in.API)
			if err != nil {
				return nil, err
			}
			b, err := learn.Describe(in.API, list).YAML()
			return &learnedYAML{"application/yaml", b}, err
		})

	type learnedOperations struct {
		Operations []LearnedView `json:"operations" maxItems:"100000"`
	}
	add(a, spec{id: "listLearned", method: http.MethodGet, path: "/apis/{api}/learned", summary: "What was learned of each operation, in short", tag: "inventory", access: viewer},
		func(_ context.Context, in *which) (*body[learnedOperations], error) {
			list, err := a.learned(in.API)
			out := learnedOperations{Operations: []LearnedView{}}
			for _, n := range list {
				s := n.Summary()
				out.Operations = append(out.Operations, LearnedView{n.Method, n.Template, n.Declared, full(n.Reasons), int64(n.Operation.Taught), s.State, full(s.Parameters), full(s.Statuses), full(s.Auth), full(s.Media), full(s.Calls)})
			}
			return &body[learnedOperations]{out}, err
		})

	type learnedDrift struct {
		Specified   bool        `json:"specified" doc:"There is a specification to compare with"`
		Beyond      int         `json:"beyond" minimum:"0"`
		Unused      int         `json:"unused" minimum:"0"`
		Differences []DriftView `json:"differences" maxItems:"5000"`
	}
	add(a, spec{id: "getDrift", method: http.MethodGet, path: "/apis/{api}/drift", summary: "What traffic shows beyond the specification, and what of it traffic never uses", tag: "inventory", access: viewer},
		func(_ context.Context, in *which) (*body[learnedDrift], error) {
			if a.Learning == nil {
				return nil, errNotLearned
			}
			list, specified := a.Learning.Drift(in.API)
			if !specified && len(list) == 0 {
				return nil, errNotLearned
			}
			out := learnedDrift{Specified: specified, Differences: []DriftView{}}
			for i := range list {
				d := &list[i]
				if d.Beyond() {
					out.Beyond++
				} else {
					out.Unused++
				}
				out.Differences = append(out.Differences, DriftView{d.Method, d.Template, d.Kind, d.Beyond(), d.Place, d.Declared, d.Seen, d.Text, int64(d.Count)})
			}
			return &body[learnedDrift]{out}, nil
		})
}
