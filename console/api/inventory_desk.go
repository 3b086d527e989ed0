package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/audit"
	"sallyport.dev/inventory"
	"sallyport.dev/inventory/risk"
)

// Desk is a further ability of an Inventory: fields with their claims,
// proposals, findings, risk, and what people do with them. *inventory.Inventory
// has it.
type Desk interface {
	Search(ctx context.Context, f inventory.CardFilter) (inventory.CardPage, error)
	Card(ctx context.Context, name string) (*inventory.Card, error)
	Said(ctx context.Context, api, key string) ([]inventory.FieldValue, error)
	Findings(ctx context.Context, f inventory.FindingFilter) ([]inventory.Finding, error)
	OperationRisk(ctx context.Context, api, key string) (risk.Score, error)
	Graph(ctx context.Context, name string, limit int) (inventory.Graph, error)
	ChangesBetween(ctx context.Context, api, key, field string, from, to time.Time, before int64, limit int) ([]inventory.Change, error)
	Edit(ctx context.Context, by string, edits []inventory.Edit, dry bool) (inventory.Edited, error)
	Undo(ctx context.Context, by string, id int64) (inventory.Edited, error)
	Edits(ctx context.Context) ([]inventory.PastEdit, error)
	Views(ctx context.Context) ([]inventory.View, error)
	SaveView(ctx context.Context, by, name, query string) error
	Proposals(ctx context.Context, state string) ([]inventory.Proposal, error)
	Decide(ctx context.Context, by string, d inventory.Decision) error
	Weights(ctx context.Context) (inventory.Weights, error)
	SetWeights(ctx context.Context, by string, x inventory.Weights) error
	Export(ctx context.Context, w io.Writer, format string, f inventory.CardFilter) error
	Claim(ctx context.Context, claims []sallyport.Claim) error
	ClaimDry(ctx context.Context, claims []sallyport.Claim) ([]inventory.Change, error)
	Facets(ctx context.Context, f inventory.Filter) (inventory.Facets, error)
}

// FieldView describes one field.
type FieldView struct {
	Name      string   `json:"name" maxLength:"64"`
	Title     string   `json:"title" maxLength:"100"`
	Group     string   `json:"group" maxLength:"32"`
	Type      string   `json:"type" enum:"string,enum,list,time,number,person,bool"`
	Values    []string `json:"values" maxItems:"100"`
	Sources   []string `json:"sources" maxItems:"8" doc:"Kinds of source that may set it: configuration, person, claim, traffic"`
	Conflicts string   `json:"conflicts" enum:"settled,union,newest,computed" doc:"What follows when sources differ"`
	Operation bool     `json:"operation" doc:"Operations have it too"`
	Doc       string   `json:"doc" maxLength:"300"`
}

// ValueView is what holds of a field.
type ValueView struct {
	Field      string   `json:"field" maxLength:"64"`
	Value      string   `json:"value" maxLength:"70000"`
	List       []string `json:"list" maxItems:"10000"`
	Source     string   `json:"source" maxLength:"1000"`
	Power      string   `json:"power" enum:"computed,claimed,confirmed,declared"`
	Confidence float64  `json:"confidence" minimum:"0" maximum:"1"`
	Conflict   bool     `json:"conflict" doc:"Sources disagree and nobody has decided"`
}

// SaidView is what one source says of a field.
type SaidView struct {
	Source      string     `json:"source" maxLength:"600"`
	Value       string     `json:"value" maxLength:"600"`
	Power       string     `json:"power" enum:"computed,claimed,confirmed,declared"`
	Confidence  float64    `json:"confidence" minimum:"0" maximum:"1"`
	Evidence    string     `json:"evidence" maxLength:"600"`
	First       *time.Time `json:"first,omitempty"`
	Last        *time.Time `json:"last,omitempty"`
	RejectedBy  string     `json:"rejected_by" maxLength:"600"`
	Rejected    *time.Time `json:"rejected,omitempty"`
	RejectedFor string     `json:"rejected_for" maxLength:"600"`
}

// FieldState is a field with everything that was said of it.
type FieldState struct {
	ValueView
	Evidence string     `json:"evidence" maxLength:"600"`
	Since    *time.Time `json:"since,omitempty"`
	Claims   []SaidView `json:"claims" maxItems:"5000"`
}

// RiskPart is what one rule adds.
type RiskPart struct {
	Rule     string   `json:"rule" maxLength:"100" doc:"Empty: the base that every API has"`
	Title    string   `json:"title" maxLength:"300"`
	Why      string   `json:"why" maxLength:"500"`
	Fix      string   `json:"fix" maxLength:"500"`
	Severity string   `json:"severity" maxLength:"16"`
	Refs     []string `json:"refs" maxItems:"20"`
	Adds     string   `json:"adds" enum:"likelihood,impact"`
	Points   int      `json:"points" minimum:"0" maximum:"100"`
	Share    float64  `json:"share" minimum:"0" doc:"Of the total; the shares of likelihood add up to it, and so do those of impact"`
	Without  int      `json:"without" minimum:"0" maximum:"100" doc:"The total, were this mended"`
	Evidence []string `json:"evidence" maxItems:"50" doc:"The facts it followed from"`
}

// RiskView is a score.
type RiskView struct {
	Total      int        `json:"total" minimum:"0" maximum:"100"`
	Likelihood int        `json:"likelihood" minimum:"0" maximum:"100"`
	Impact     int        `json:"impact" minimum:"0" maximum:"100"`
	Parts      []RiskPart `json:"parts" maxItems:"500"`
}

// FindingView is something wrong.
type FindingView struct {
	ID       int64      `json:"id" minimum:"0"`
	Rule     string     `json:"rule" maxLength:"600"`
	Title    string     `json:"title" maxLength:"600"`
	Severity string     `json:"severity" enum:"info,low,medium,high,critical"`
	API      string     `json:"api" maxLength:"600"`
	Key      string     `json:"key" maxLength:"4200"`
	Place    string     `json:"place" maxLength:"600"`
	Evidence []string   `json:"evidence" maxItems:"20"`
	Fix      string     `json:"fix" maxLength:"600"`
	Refs     []string   `json:"refs" maxItems:"20"`
	Source   string     `json:"source" maxLength:"600"`
	First    *time.Time `json:"first,omitempty"`
	Last     *time.Time `json:"last,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Times    int64      `json:"times" minimum:"0"`
}

// CardView is one API in the list of the inventory.
type CardView struct {
	Name      string      `json:"name" maxLength:"600"`
	States    []string    `json:"states" maxItems:"8"`
	Reasons   []string    `json:"reasons" maxItems:"8" doc:"One for each state"`
	Escalates *time.Time  `json:"escalates,omitempty" doc:"When nobody answers for it: until then somebody must"`
	Risk      int         `json:"risk" minimum:"0" maximum:"100"`
	Values    []ValueView `json:"values" maxItems:"200"`
}

// FacetValue counts a value.
type FacetValue struct {
	Value string `json:"value" maxLength:"600"`
	Count int    `json:"count" minimum:"0"`
}

// FacetView counts the values of one field.
type FacetView struct {
	Field  string       `json:"field" maxLength:"64"`
	Values []FacetValue `json:"values" maxItems:"200"`
}

// HistoryView is one change with all its detail.
type HistoryView struct {
	ChangeView
	Field    string `json:"field" maxLength:"64"`
	Old      string `json:"old" maxLength:"5000"`
	New      string `json:"new" maxLength:"5000"`
	Source   string `json:"source" maxLength:"1000"`
	Evidence string `json:"evidence" maxLength:"600"`
}

func history(list []inventory.Change) []HistoryView {
	out := []HistoryView{}
	for i, c := range changes(list) {
		out = append(out, HistoryView{c, list[i].Field, list[i].Old, list[i].New, list[i].Source, list[i].Evidence})
	}
	return out
}

func power(p inventory.Power) string {
	if p == 0 {
		return "computed"
	}
	return p.String()
}

func riskView(s risk.Score) RiskView {
	v := RiskView{s.Total, s.Likelihood, s.Impact, []RiskPart{}}
	for _, p := range s.Parts {
		x := RiskPart{Adds: p.Adds, Points: p.Points, Share: p.Share, Without: p.Without, Evidence: full(p.Evidence), Refs: []string{}, Title: "Every API has this"}
		if p.Rule != nil {
			x.Rule, x.Title, x.Why, x.Fix, x.Severity, x.Refs = p.Rule.ID, p.Rule.Title, p.Rule.Why, p.Rule.Fix, string(p.Rule.Severity), full(p.Rule.Refs)
		}
		v.Parts = append(v.Parts, x)
	}
	return v
}

func cardView(c *inventory.Card) CardView {
	v := CardView{Name: c.Name, States: full(c.Values["state"].List), Reasons: full(c.Reasons), Escalates: when(c.Escalates), Risk: c.Risk.Total, Values: []ValueView{}}
	for _, f := range inventory.Fields() {
		if x, ok := c.Values[f.Name]; ok {
			v.Values = append(v.Values, ValueView{f.Name, x.Text, full(x.List), x.Source, power(x.Power), x.Confidence, x.Conflict})
		}
	}
	return v
}

func fieldStates(list []inventory.FieldValue) []FieldState {
	out := []FieldState{}
	for _, x := range list {
		s := FieldState{ValueView{x.Field.Name, x.Value, full(x.List), x.Source, power(x.Power), x.Confidence, x.Conflict}, x.Evidence, when(x.Since), []SaidView{}}
		for _, c := range x.Claims {
			s.Claims = append(s.Claims, SaidView{c.Source, c.Value, power(c.Power), c.Confidence, c.Evidence, when(c.First), when(c.Last), c.RejectedBy, when(c.Rejected), c.RejectedFor})
		}
		out = append(out, s)
	}
	return out
}

func findingViews(list []inventory.Finding) []FindingView {
	out := []FindingView{}
	for _, f := range list {
		key := ""
		if f.Asset.Template != "" {
			key = f.Asset.Method + " " + f.Asset.Template
		}
		out = append(out, FindingView{f.ID, f.Rule, f.Title, string(f.Severity), f.Asset.API, key, f.Place, full(f.Evidence), f.Fix, full(f.Refs), f.Source, when(f.FirstSeen), when(f.LastSeen), when(f.Ended), f.Times})
	}
	return out
}

// where reads "field:value" filters.
func where(list []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, s := range list {
		field, value, ok := strings.Cut(s, ":")
		if !ok {
			return nil, sallyport.Errorf(sallyport.Invalid, "a filter is field:value")
		}
		out[field] = append(out[field], value)
	}
	return out, nil
}

// EditView is one decision about a field.
type EditView struct {
	API    string `json:"api" maxLength:"600"`
	Key    string `json:"key,omitempty" maxLength:"4200" doc:"Of an operation; absent: the API"`
	Field  string `json:"field" maxLength:"64"`
	Action string `json:"action" enum:"confirm,reject,restore,clear"`
	Value  string `json:"value,omitempty" maxLength:"512" doc:"Of confirm; of the others: only claims with it"`
	Source string `json:"source,omitempty" maxLength:"512" doc:"Of reject and restore: only its claims"`
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

var _ Desk = (*inventory.Inventory)(nil)

const maxDeskBody = 8 << 20

func (a *API) deskOperations() {
	desk := func() (Desk, error) {
		d, ok := a.Inventory.(Desk)
		if !ok {
			return nil, sallyport.Errorf(sallyport.Unavailable, "this process keeps no fields of APIs")
		}
		return d, nil
	}
	type fieldList struct {
		Fields []FieldView `json:"fields" maxItems:"200"`
	}
	add(a, spec{id: "listFields", method: http.MethodGet, path: "/inventory/fields", summary: "What the inventory knows of an API", tag: "inventory", access: viewer},
		func(context.Context, *struct{}) (*body[fieldList], error) {
			out := fieldList{}
			for _, f := range inventory.Fields() {
				v := FieldView{f.Name, f.Title, f.Group, string(f.Type), full(f.Values), []string{}, string(f.Conflicts), f.Operation, f.Doc}
				for _, s := range f.Sources {
					v.Sources = append(v.Sources, string(s))
				}
				out.Fields = append(out.Fields, v)
			}
			return &body[fieldList]{out}, nil
		})

	type cardList struct {
		APIs   []CardView  `json:"apis" maxItems:"1000"`
		Total  int         `json:"total" minimum:"0"`
		Facets []FacetView `json:"facets" maxItems:"50"`
	}
	add(a, spec{id: "searchInventory", method: http.MethodGet, path: "/inventory/apis", summary: "APIs by any field, with counts", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			Text    string   `query:"q" maxLength:"200" doc:"Part of name, host, title, owner, department or tag"`
			Where   []string `query:"where,explode" maxItems:"50" doc:"field:value; several of one field: any of them; nothing behind the colon: has no value"`
			Facets  []string `query:"facet,explode" maxItems:"30" doc:"Fields whose values are counted"`
			Sort    string   `query:"sort" maxLength:"64" default:"name" doc:"name, or a field"`
			Reverse bool     `query:"reverse"`
			Offset  int      `query:"offset" minimum:"0" maximum:"1000000"`
			Limit   int      `query:"limit" minimum:"1" maximum:"1000" default:"50"`
		}) (*body[cardList], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			w, err := where(in.Where)
			if err != nil {
				return nil, err
			}
			page, err := d.Search(ctx, inventory.CardFilter{Text: in.Text, Where: w, Facets: in.Facets, Sort: in.Sort, Reverse: in.Reverse, Offset: in.Offset, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			out := cardList{APIs: []CardView{}, Total: page.Total, Facets: []FacetView{}}
			for i := range page.Cards {
				out.APIs = append(out.APIs, cardView(&page.Cards[i]))
			}
			for _, name := range slices.Sorted(maps.Keys(page.Facets)) {
				v := FacetView{name, []FacetValue{}}
				for value, n := range page.Facets[name] {
					v.Values = append(v.Values, FacetValue{value, n})
				}
				slices.SortFunc(v.Values, func(x, y FacetValue) int {
					if x.Count != y.Count {
						return y.Count - x.Count
					}
					return strings.Compare(x.Value, y.Value)
				})
				v.Values = v.Values[:min(len(v.Values), 200)]
				out.Facets = append(out.Facets, v)
			}
			return &body[cardList]{out}, nil
		})

	type cardDetail struct {
		API      CardView      `json:"api"`
		Fields   []FieldState  `json:"fields" maxItems:"200" doc:"What is said, by whom; computed fields stand in api"`
		Risk     RiskView      `json:"risk"`
		Findings []FindingView `json:"findings" maxItems:"1000"`
		History  []HistoryView `json:"history" maxItems:"1000"`
	}
	add(a, spec{id: "getInventoryAPI", method: http.MethodGet, path: "/inventory/api", summary: "Everything about one API: fields with their claims, risk, findings, history", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			Name string `query:"name" maxLength:"600" doc:"Absent: traffic that no API matched"`
		}) (*body[cardDetail], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			c, err := d.Card(ctx, in.Name)
			if err != nil {
				return nil, err
			}
			said, err := d.Said(ctx, in.Name, "")
			if err != nil {
				return nil, err
			}
			findings := []inventory.Finding{}
			if in.Name != "" {
				if findings, err = d.Findings(ctx, inventory.FindingFilter{API: in.Name, Limit: 1000}); err != nil {
					return nil, err
				}
			}
			past, err := d.ChangesBetween(ctx, in.Name, "", "", time.Time{}, time.Time{}, 0, 200)
			if err != nil {
				return nil, err
			}
			return &body[cardDetail]{cardDetail{cardView(c), fieldStates(said), riskView(c.Risk), findingViews(findings), history(past)}}, nil
		})

	type operationCard struct {
		Fields   []FieldState  `json:"fields" maxItems:"200"`
		Risk     RiskView      `json:"risk"`
		Findings []FindingView `json:"findings" maxItems:"1000"`
	}
	add(a, spec{id: "getInventoryOperation", method: http.MethodGet, path: "/inventory/operation", summary: "What is said of one operation, its risk and its findings", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API string `query:"api" maxLength:"600"`
			Key string `query:"key" required:"true" minLength:"3" maxLength:"4200" doc:"Method and template, as in GET /items/{id}"`
		}) (*body[operationCard], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			score, err := d.OperationRisk(ctx, in.API, in.Key)
			if err != nil {
				return nil, err
			}
			said, err := d.Said(ctx, in.API, in.Key)
			if err != nil {
				return nil, err
			}
			findings, err := d.Findings(ctx, inventory.FindingFilter{API: in.API, Key: in.Key, Limit: 1000})
			if err != nil {
				return nil, err
			}
			return &body[operationCard]{operationCard{fieldStates(said), riskView(score), findingViews(findings)}}, nil
		})

	type facetList struct {
		Total  int64       `json:"total" minimum:"0"`
		Least  bool        `json:"at_least" doc:"More fit than were counted"`
		Facets []FacetView `json:"facets" maxItems:"10"`
	}
	add(a, spec{id: "countOperations", method: http.MethodGet, path: "/inventory/operations/facets", summary: "How many operations a filter chooses, by API, method, tier and declaration", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API    string `query:"api" maxLength:"600"`
			Text   string `query:"q" maxLength:"200"`
			Method string `query:"method" maxLength:"32" pattern:"^[A-Z-]*$"`
			Shadow bool   `query:"shadow"`
			Class  string `query:"class" maxLength:"64" pattern:"^[a-z0-9-]*$"`
			Probed bool   `query:"probed"`
		}) (*body[facetList], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			f, err := d.Facets(ctx, inventory.Filter{API: in.API, Text: in.Text, Method: in.Method, Shadow: in.Shadow, Class: in.Class, Probed: in.Probed})
			if err != nil {
				return nil, err
			}
			out := facetList{Total: f.Total, Least: f.AtLeast, Facets: []FacetView{}}
			for _, x := range []struct {
				name   string
				counts map[string]int64
			}{{"api", f.API}, {"method", f.Method}, {"tier", f.Tier}, {"declared", f.Declared}} {
				v := FacetView{x.name, []FacetValue{}}
				for _, value := range slices.Sorted(maps.Keys(x.counts)) {
					v.Values = append(v.Values, FacetValue{value, int(x.counts[value])})
				}
				slices.SortStableFunc(v.Values, func(x, y FacetValue) int { return y.Count - x.Count })
				v.Values = v.Values[:min(len(v.Values), 200)]
				out.Facets = append(out.Facets, v)
			}
			return &body[facetList]{out}, nil
		})

	type findingList struct {
		Findings []FindingView `json:"findings" maxItems:"1000"`
		Next     int64         `json:"next" minimum:"0" doc:"after of the page that follows; 0 when there is none"`
	}
	add(a, spec{id: "listFindings", method: http.MethodGet, path: "/inventory/findings", summary: "What is wrong, newest first", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API      string   `query:"api" maxLength:"600"`
			Key      string   `query:"key" maxLength:"4200"`
			Rule     string   `query:"rule" maxLength:"200"`
			Source   string   `query:"source" maxLength:"200"`
			Severity []string `query:"severity" maxItems:"5" enum:"info,low,medium,high,critical"`
			Ended    bool     `query:"ended" doc:"Those that ended too"`
			Text     string   `query:"q" maxLength:"200"`
			After    int64    `query:"after" minimum:"0" maximum:"9007199254740991"`
			Limit    int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		}) (*body[findingList], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			f := inventory.FindingFilter{API: in.API, Key: in.Key, Rule: in.Rule, Source: in.Source, Ended: in.Ended, Text: in.Text, After: in.After, Limit: in.Limit}
			for _, s := range in.Severity {
				f.Severity = append(f.Severity, sallyport.Severity(s))
			}
			list, err := d.Findings(ctx, f)
			if err != nil {
				return nil, err
			}
			out := findingList{Findings: findingViews(list)}
			if len(list) == in.Limit {
				out.Next = list[len(list)-1].ID
			}
			return &body[findingList]{out}, nil
		})

	type GraphNode struct {
		ID   string `json:"id" maxLength:"1200"`
		Kind string `json:"kind" enum:"consumer,api,upstream"`
		Name string `json:"name" maxLength:"1000"`
	}
	type GraphEdge struct {
		From     string `json:"from" maxLength:"1200"`
		To       string `json:"to" maxLength:"1200"`
		Requests int64  `json:"requests" minimum:"0" doc:"0: somebody says so, no request was counted"`
		Source   string `json:"source" maxLength:"1000"`
	}
	type InventoryGraph struct {
		Nodes []GraphNode `json:"nodes" maxItems:"100000"`
		Edges []GraphEdge `json:"edges" maxItems:"100000"`
		Cut   bool        `json:"cut" doc:"There are more consumers than are named"`
	}
	add(a, spec{id: "getGraph", method: http.MethodGet, path: "/inventory/graph", summary: "Who calls what: consumers, APIs, upstreams", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API   string `query:"api" maxLength:"600" doc:"Absent: all APIs"`
			Limit int    `query:"limit" minimum:"1" maximum:"2000" default:"200" doc:"Most consumers"`
		}) (*body[InventoryGraph], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			g, err := d.Graph(ctx, in.API, in.Limit)
			if err != nil {
				return nil, err
			}
			out := InventoryGraph{Nodes: []GraphNode{}, Edges: []GraphEdge{}, Cut: g.Cut}
			for _, n := range g.Nodes {
				out.Nodes = append(out.Nodes, GraphNode(n))
			}
			for _, e := range g.Edges {
				out.Edges = append(out.Edges, GraphEdge(e))
			}
			return &body[InventoryGraph]{out}, nil
		})

	type editResult struct {
		ID      int64         `json:"id" minimum:"0" doc:"For undoEdit; 0 after a dry run"`
		Changes []HistoryView `json:"changes" maxItems:"20000"`
	}
	type editsBody struct {
		Edits []EditView `json:"edits" minItems:"1" maxItems:"10000"`
		Dry   bool       `json:"dry_run,omitempty" doc:"Tell the changes and make none"`
	}
	add(a, spec{id: "editInventory", method: http.MethodPost, path: "/inventory/edits", summary: "Confirm, reject or set fields, of one API or of many", tag: "inventory", access: admin, bytes: maxDeskBody},
		func(ctx context.Context, in *body[editsBody]) (*body[editResult], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			var edits []inventory.Edit
			for _, e := range in.Body.Edits {
				edits = append(edits, inventory.Edit(e))
			}
			r, err := d.Edit(ctx, caller(ctx).Name, edits, in.Body.Dry)
			if err != nil {
				return nil, err
			}
			if !in.Body.Dry {
				e := edits[0]
				if err := a.record(ctx, "inventory.edit", e.API+" "+e.Field, audit.Done, fmt.Sprintf("edit %d: %s %s, %d in all", r.ID, e.Action, e.Field, len(edits))); err != nil {
					return nil, err
				}
			}
			return &body[editResult]{editResult{r.ID, history(r.Changes)}}, nil
		})
	type ByID struct {
		ID int64 `path:"id" minimum:"1" maximum:"9007199254740991"`
	}
	add(a, spec{id: "undoEdit", method: http.MethodPost, path: "/inventory/edits/{id}/undo", summary: "Take an edit back", tag: "inventory", access: admin},
		func(ctx context.Context, in *ByID) (*body[editResult], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			r, err := d.Undo(ctx, caller(ctx).Name, in.ID)
			if err == nil {
				err = a.record(ctx, "inventory.undo", strconv.FormatInt(in.ID, 10), audit.Done, "")
			}
			return &body[editResult]{editResult{r.ID, history(r.Changes)}}, err
		})
	type pastEdit struct {
		ID       int64      `json:"id" minimum:"0"`
		Time     time.Time  `json:"time"`
		Person   string     `json:"person" maxLength:"600"`
		What     string     `json:"what" maxLength:"600"`
		Undone   *time.Time `json:"undone,omitempty"`
		UndoneBy string     `json:"undone_by" maxLength:"600"`
	}
	type pastEdits struct {
		Edits []pastEdit `json:"edits" maxItems:"200"`
	}
	add(a, spec{id: "listEdits", method: http.MethodGet, path: "/inventory/edits", summary: "The last edits, newest first", tag: "inventory", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[pastEdits], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			list, err := d.Edits(ctx)
			out := pastEdits{Edits: []pastEdit{}}
			for _, e := range list {
				out.Edits = append(out.Edits, pastEdit{e.ID, e.Time.UTC(), e.Person, e.What, when(e.Undone), e.UndoneBy})
			}
			return &body[pastEdits]{out}, err
		})

	type ProposalView struct {
		Name    string     `json:"name" maxLength:"600"`
		State   string     `json:"state" enum:"proposed,accepted,ignored,merged"`
		Reason  string     `json:"reason" maxLength:"600"`
		Into    string     `json:"into" maxLength:"600"`
		Hosts   []string   `json:"hosts" maxItems:"1000"`
		Path    string     `json:"path" maxLength:"600"`
		Since   *time.Time `json:"since,omitempty"`
		Claims  int        `json:"claims" minimum:"0"`
		Open    int        `json:"open_findings" minimum:"0"`
		Sources []string   `json:"sources" maxItems:"1000"`
	}
	type proposals struct {
		Proposals []ProposalView `json:"proposals" maxItems:"100000"`
	}
	add(a, spec{id: "listProposals", method: http.MethodGet, path: "/inventory/proposals", summary: "APIs that somebody spoke of and nobody has decided about", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			State string `query:"state" enum:"proposed,accepted,ignored,merged,all" default:"proposed"`
		}) (*body[proposals], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			if in.State == "all" {
				in.State = ""
			}
			list, err := d.Proposals(ctx, in.State)
			out := proposals{Proposals: []ProposalView{}}
			for _, p := range list {
				out.Proposals = append(out.Proposals, ProposalView{p.Name, p.State, p.Reason, p.Into, full(p.Hosts), p.Path, when(p.Since), p.Claims, p.Open, full(p.Source)})
			}
			return &body[proposals]{out}, err
		})
	type ProposalDecision struct {
		Name   string `json:"name" minLength:"1" maxLength:"600"`
		Action string `json:"action" enum:"accept,ignore,merge,split,reopen"`
		Into   string `json:"into,omitempty" maxLength:"200" doc:"Of merge: the other API; of split: the new name"`
		Host   string `json:"host,omitempty" maxLength:"300" doc:"Of split"`
		Path   string `json:"path,omitempty" maxLength:"500" doc:"Of split"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Of ignore it is required"`
	}
	add(a, spec{id: "decideProposal", method: http.MethodPost, path: "/inventory/proposals", summary: "Accept, ignore, merge or split a proposal, or reopen it", tag: "inventory", access: admin, status: http.StatusNoContent},
		func(ctx context.Context, in *body[ProposalDecision]) (*empty, error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			if err := d.Decide(ctx, caller(ctx).Name, inventory.Decision(in.Body)); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "inventory.proposal", in.Body.Name, audit.Done, strings.TrimSpace(in.Body.Action+" "+in.Body.Into+" "+in.Body.Reason))
		})

	type SavedView struct {
		Name   string     `json:"name" minLength:"1" maxLength:"200"`
		Query  string     `json:"query" maxLength:"4000" doc:"As in the address of the list; empty: drop the view"`
		Person string     `json:"person,omitempty" maxLength:"600" readOnly:"true"`
		Time   *time.Time `json:"time,omitempty" readOnly:"true"`
	}
	type views struct {
		Views []SavedView `json:"views" maxItems:"500"`
	}
	add(a, spec{id: "listViews", method: http.MethodGet, path: "/inventory/views", summary: "Saved views", tag: "inventory", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[views], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			list, err := d.Views(ctx)
			out := views{Views: []SavedView{}}
			for _, x := range list {
				out.Views = append(out.Views, SavedView{x.Name, x.Query, x.Person, when(x.Time)})
			}
			return &body[views]{out}, err
		})
	add(a, spec{id: "saveView", method: http.MethodPut, path: "/inventory/views", summary: "Save a view, or drop it", tag: "inventory", access: admin, status: http.StatusNoContent},
		func(ctx context.Context, in *body[SavedView]) (*empty, error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			if err := d.SaveView(ctx, caller(ctx).Name, in.Body.Name, in.Body.Query); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "inventory.view", in.Body.Name, audit.Done, "")
		})

	type exported struct {
		Name    string `json:"name" maxLength:"100" doc:"Of the file"`
		Type    string `json:"type" maxLength:"100" doc:"Media type of content"`
		Content string `json:"content"`
	}
	add(a, spec{id: "exportInventory", method: http.MethodGet, path: "/inventory/export", summary: "The inventory as a file", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			Format string   `query:"format" enum:"csv,json,cyclonedx,backstage" default:"csv"`
			Text   string   `query:"q" maxLength:"200"`
			Where  []string `query:"where,explode" maxItems:"50" doc:"field:value"`
		}) (*body[exported], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			w, err := where(in.Where)
			if err != nil {
				return nil, err
			}
			var b bytes.Buffer
			if err := d.Export(ctx, &b, in.Format, inventory.CardFilter{Text: in.Text, Where: w}); err != nil {
				return nil, err
			}
			kind := map[string][2]string{"csv": {"inventory.csv", "text/csv"}, "json": {"inventory.json", "application/json"}, "cyclonedx": {"inventory.cdx.json", "application/vnd.cyclonedx+json"}, "backstage": {"catalog-info.yaml", "application/yaml"}}[in.Format]
			return &body[exported]{exported{kind[0], kind[1], b.String()}}, nil
		})
	type importBody struct {
		Format  string `json:"format" enum:"csv,json,cyclonedx,backstage"`
		Name    string `json:"name,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9 ._-]*$" doc:"Under which what it says is kept, as the source import:NAME"`
		Content string `json:"content" minLength:"1" maxLength:"8000000"`
		Dry     bool   `json:"dry_run,omitempty"`
	}
	type importResult struct {
		Claims  int           `json:"claims" minimum:"0"`
		Changes []HistoryView `json:"changes" maxItems:"500" doc:"Of a dry run, the first ones"`
	}
	add(a, spec{id: "importInventory", method: http.MethodPost, path: "/inventory/import", summary: "Take in a file as claims", tag: "inventory", access: admin, bytes: maxDeskBody},
		func(ctx context.Context, in *body[importBody]) (*body[importResult], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			source := "import"
			if in.Body.Name != "" {
				source += ":" + in.Body.Name
			}
			claims, err := inventory.Parse(in.Body.Format, source, []byte(in.Body.Content))
			if err != nil {
				return nil, err
			}
			out := importResult{Claims: len(claims), Changes: []HistoryView{}}
			if in.Body.Dry {
				list, err := d.ClaimDry(ctx, claims)
				out.Changes = history(list[:min(len(list), 500)])
				return &body[importResult]{out}, err
			}
			err = d.Claim(ctx, claims)
			if noted := a.record(ctx, "inventory.import", source, audit.Done, fmt.Sprintf("%d values, %s", len(claims), in.Body.Format)); err == nil {
				err = noted
			}
			return &body[importResult]{out}, err
		})

	type ruleView struct {
		ID       string   `json:"id" maxLength:"100"`
		Title    string   `json:"title" maxLength:"300"`
		Why      string   `json:"why" maxLength:"500"`
		Fix      string   `json:"fix" maxLength:"500"`
		Severity string   `json:"severity" maxLength:"16"`
		Adds     string   `json:"adds" enum:"likelihood,impact"`
		Points   int      `json:"points" minimum:"0" maximum:"100"`
		Default  int      `json:"default" minimum:"0" maximum:"100"`
		Given    bool     `json:"given" doc:"A fact of life: it adds to the score and is no finding"`
		Refs     []string `json:"refs" maxItems:"20"`
		When     string   `json:"when" maxLength:"2000" doc:"In CEL, over the facts"`
	}
	type ruleList struct {
		Rules  []ruleView `json:"rules" maxItems:"1000"`
		Period string     `json:"period" maxLength:"200" doc:"For which the weights are frozen; empty: they are not"`
		Until  *time.Time `json:"until,omitempty"`
	}
	add(a, spec{id: "listRiskRules", method: http.MethodGet, path: "/inventory/risk", summary: "The rules of risk with their weights", tag: "inventory", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[ruleList], error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			w, err := d.Weights(ctx)
			if err != nil {
				return nil, err
			}
			rules, err := risk.Rules()
			out := ruleList{Rules: []ruleView{}, Period: w.Period, Until: when(w.Until)}
			for _, r := range rules {
				p, ok := w.Points[r.ID]
				if !ok {
					p = r.Points
				}
				out.Rules = append(out.Rules, ruleView{r.ID, r.Title, r.Why, r.Fix, string(r.Severity), r.Adds, p, r.Points, r.Given, full(r.Refs), r.When})
			}
			return &body[ruleList]{out}, err
		})
	type weightsBody struct {
		Points map[string]int `json:"points" doc:"By rule; those left out keep the built-in points"`
		Period string         `json:"period,omitempty" maxLength:"200" doc:"Freeze them for this audit period"`
		Until  *time.Time     `json:"until,omitempty" doc:"The end of the period"`
	}
	add(a, spec{id: "setRiskWeights", method: http.MethodPut, path: "/inventory/risk", summary: "Set the weights of rules, and freeze them for an audit period", tag: "inventory", access: admin, status: http.StatusNoContent, bytes: maxDeskBody},
		func(ctx context.Context, in *body[weightsBody]) (*empty, error) {
			d, err := desk()
			if err != nil {
				return nil, err
			}
			w := inventory.Weights{Points: in.Body.Points, Period: in.Body.Period}
			if in.Body.Until != nil {
				w.Until = *in.Body.Until
			}
			if err := d.SetWeights(ctx, caller(ctx).Name, w); err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "inventory.weights", in.Body.Period, audit.Done, fmt.Sprintf("%d rules", len(in.Body.Points)))
		})
}
