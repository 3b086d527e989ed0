package api

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/audit"
	"sallyport.dev/discovery"
)

// Templates is a further ability of a Learning: what people say of the
// templates that paths were folded into.
type Templates interface {
	Templates(api string) []discovery.Template
	Match(api, path string) (discovery.Matched, bool)
	Rules(api string) []discovery.Rule
	AddRule(ctx context.Context, r discovery.Rule) (discovery.Rule, error)
	UndoRule(ctx context.Context, api, id, by string) (discovery.Rule, error)
}

// TemplateView is one template that paths were folded into.
type TemplateView struct {
	Method   string     `json:"method" maxLength:"64"`
	Template string     `json:"template" maxLength:"4096"`
	Reasons  []string   `json:"reasons" maxItems:"64" doc:"One per parameter"`
	Examples []string   `json:"examples" maxItems:"3" doc:"Paths, values masked by their form"`
	Count    int64      `json:"count" minimum:"0"`
	Probed   bool       `json:"probed" doc:"Only ever refused or not found"`
	First    *time.Time `json:"first,omitempty"`
	Last     *time.Time `json:"last,omitempty"`
}

// TemplateRuleView is what a person has said of a place in paths.
type TemplateRuleView struct {
	ID        string     `json:"id" maxLength:"64"`
	Kind      string     `json:"kind" enum:"parameter,merge,literal,split"`
	Templates []string   `json:"templates" maxItems:"200"`
	Reason    string     `json:"reason" maxLength:"500"`
	By        string     `json:"by" maxLength:"600"`
	Time      time.Time  `json:"time"`
	UndoneBy  string     `json:"undone_by" maxLength:"600"`
	Undone    *time.Time `json:"undone,omitempty"`
	Folded    int        `json:"folded" minimum:"0" doc:"Operations that it folded when it was made"`
}

func ruleView(r discovery.Rule) TemplateRuleView {
	return TemplateRuleView{r.ID, r.Kind, full(r.Templates), r.Reason, r.By, r.At, r.UndoneBy, when(r.Undone), len(r.Moved)}
}

func (a *API) templates() (Templates, error) {
	t, ok := a.Learning.(Templates)
	if !ok {
		return nil, errNotLearned
	}
	return t, nil
}

func (a *API) templateOperations() {
	type which struct {
		API string `path:"api" minLength:"1" maxLength:"200"`
	}
	type listed struct {
		Templates []TemplateView     `json:"templates" maxItems:"20000"`
		Rules     []TemplateRuleView `json:"rules" maxItems:"1000" doc:"What people have said, newest first"`
	}
	add(a, spec{id: "listTemplates", method: http.MethodGet, path: "/apis/{api}/templates", summary: "Templates that paths were folded into, with reasons, and what people have said of them", tag: "inventory", access: viewer},
		func(_ context.Context, in *which) (*body[listed], error) {
			t, err := a.templates()
			if err != nil {
				return nil, err
			}
			out := listed{Templates: []TemplateView{}, Rules: []TemplateRuleView{}}
			for _, x := range t.Templates(in.API) {
				out.Templates = append(out.Templates, TemplateView{x.Method, x.Template, full(x.Reasons), full(x.Examples), int64(x.Count), x.Probed, when(x.FirstSeen), when(x.LastSeen)})
			}
			for _, r := range t.Rules(in.API) {
				out.Rules = append(out.Rules, ruleView(r))
			}
			if len(out.Templates)+len(out.Rules) == 0 {
				return nil, errNotLearned
			}
			return &body[listed]{out}, nil
		})

	type argument struct {
		Name  string `json:"name" maxLength:"4096"`
		Value string `json:"value" maxLength:"4096"`
	}
	type matched struct {
		Template   string     `json:"template" maxLength:"4096"`
		Path       string     `json:"path" maxLength:"12300" doc:"Template and parameters, put together again"`
		Parameters []argument `json:"parameters" maxItems:"32"`
		Reasons    []string   `json:"reasons" maxItems:"64"`
		Methods    []string   `json:"methods" maxItems:"100" doc:"Seen there"`
	}
	type atPath struct {
		API  string `path:"api" minLength:"1" maxLength:"200"`
		Path string `query:"path" required:"true" minLength:"1" maxLength:"4096"`
	}
	add(a, spec{id: "matchTemplate", method: http.MethodGet, path: "/apis/{api}/templates/match", summary: "The template under which a path stands, and its parameters", tag: "inventory", access: viewer},
		func(_ context.Context, in *atPath) (*body[matched], error) {
			t, err := a.templates()
			if err != nil {
				return nil, err
			}
			m, ok := t.Match(in.API, in.Path)
			if !ok {
				return nil, sallyport.Errorf(sallyport.NotFound, "no template covers that path")
			}
			out := matched{m.Template, m.Fill(), []argument{}, full(m.Reasons), full(m.Methods)}
			for _, p := range m.Parameters {
				out.Parameters = append(out.Parameters, argument{p.Name, p.Value})
			}
			return &body[matched]{out}, nil
		})

	type ruled struct {
		API  string `path:"api" minLength:"1" maxLength:"200"`
		Body struct {
			Kind      string   `json:"kind" enum:"parameter,merge,literal,split" doc:"parameter: every value at the place is one of a parameter; merge: those listed are; literal: this value is none; split: none is"`
			Templates []string `json:"templates" minItems:"1" maxItems:"200" doc:"The last segment is the place"`
			Reason    string   `json:"reason" minLength:"3" maxLength:"500"`
		}
	}
	add(a, spec{id: "addTemplateRule", method: http.MethodPost, path: "/apis/{api}/templates", summary: "Say what a segment of paths is; it holds for what was seen and for what comes", tag: "inventory", access: admin, status: 201},
		func(ctx context.Context, in *ruled) (*body[TemplateRuleView], error) {
			t, err := a.templates()
			if err != nil {
				return nil, err
			}
			r, err := t.AddRule(ctx, discovery.Rule{API: in.API, Kind: in.Body.Kind, Templates: in.Body.Templates, Reason: in.Body.Reason, By: caller(ctx).Name})
			if err == nil {
				err = a.record(ctx, "templates."+r.Kind, in.API, audit.Done, r.ID+": "+r.Reason)
			}
			return &body[TemplateRuleView]{ruleView(r)}, err
		})

	type taken struct {
		API string `path:"api" minLength:"1" maxLength:"200"`
		ID  string `path:"id" minLength:"8" maxLength:"64"`
	}
	add(a, spec{id: "undoTemplateRule", method: http.MethodPost, path: "/apis/{api}/templates/{id}/undo", summary: "Take back what was said of a segment", tag: "inventory", access: admin},
		func(ctx context.Context, in *taken) (*body[TemplateRuleView], error) {
			t, err := a.templates()
			if err != nil {
				return nil, err
			}
			r, err := t.UndoRule(ctx, in.API, in.ID, caller(ctx).Name)
			if err == nil {
				err = a.record(ctx, "templates.undo", in.API, audit.Done, r.ID)
			}
			return &body[TemplateRuleView]{ruleView(r)}, err
		})
}
