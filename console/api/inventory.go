package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
)

// CountsView are what was counted of requests.
type CountsView struct {
	Requests  int64   `json:"requests" minimum:"0"`
	Refused   int64   `json:"refused" minimum:"0" doc:"By the guard"`
	Status2xx int64   `json:"status_2xx" minimum:"0"`
	Status3xx int64   `json:"status_3xx" minimum:"0"`
	Status4xx int64   `json:"status_4xx" minimum:"0"`
	Status5xx int64   `json:"status_5xx" minimum:"0"`
	None      int64   `json:"no_answer" minimum:"0"`
	ErrorRate float64 `json:"error_rate" minimum:"0" maximum:"1" doc:"Share of 5xx and lost answers"`
	P50       float64 `json:"p50_ms" minimum:"0" doc:"Milliseconds"`
	P95       float64 `json:"p95_ms" minimum:"0" doc:"Milliseconds"`
	P99       float64 `json:"p99_ms" minimum:"0" doc:"Milliseconds"`
	In        int64   `json:"request_bytes" minimum:"0"`
	Out       int64   `json:"response_bytes" minimum:"0"`
}

func counts(c inventory.Counts, l inventory.Latency) CountsView {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return CountsView{c.Requests, c.Refused, c.Status2xx, c.Status3xx, c.Status4xx, c.Status5xx, c.None, c.ErrorRate(), ms(l.P50), ms(l.P95), ms(l.P99), c.RequestBytes, c.ResponseBytes}
}

// HintView is something the owner should look at.
type HintView struct {
	Kind  string `json:"kind" maxLength:"64"`
	Count int    `json:"count" minimum:"0"`
	Text  string `json:"text" maxLength:"500"`
}

// APIView is one row of the list of APIs.
type APIView struct {
	Name       string     `json:"name" maxLength:"200" doc:"Empty: traffic that no API matched"`
	Hosts      []string   `json:"hosts" maxItems:"1000"`
	Path       string     `json:"path" maxLength:"1000"`
	Team       string     `json:"team" maxLength:"200"`
	Contact    string     `json:"contact" maxLength:"200"`
	Deputy     string     `json:"deputy" maxLength:"200"`
	Department string     `json:"department" maxLength:"200"`
	Exposure   string     `json:"exposure" maxLength:"32" doc:"external, partner, internal; empty when nobody has said"`
	Configured bool       `json:"configured"`
	Counts     CountsView `json:"counts"`
	Rate       float64    `json:"rate" minimum:"0" doc:"Requests per second over the last minute"`
	FirstSeen  *time.Time `json:"first_seen,omitempty"`
	LastSeen   *time.Time `json:"last_seen,omitempty"`
	Operations int        `json:"operations" minimum:"0"`
	Declared   int        `json:"declared" minimum:"0"`
	Seen       int        `json:"seen" minimum:"0" doc:"Declared and seen"`
	Shadow     int        `json:"shadow" minimum:"0" doc:"Seen and in no specification"`
	Probed     int        `json:"probed" minimum:"0"`
	Principals uint64     `json:"principals" minimum:"0" doc:"Distinct, estimated within 2 %"`
	Classes    []string   `json:"classes" maxItems:"200"`
	Hints      []HintView `json:"hints" maxItems:"100"`
}

// apiViews lists APIs by name, and traffic that none matched at the end.
func apiViews(list []inventory.API) []APIView {
	views := []APIView{}
	for _, x := range list {
		views = append(views, apiView(x))
	}
	slices.SortStableFunc(views, func(x, y APIView) int {
		if x.Name == "" || y.Name == "" {
			return cmp.Compare(y.Name, x.Name)
		}
		return cmp.Compare(x.Name, y.Name)
	})
	return views
}

func apiView(x inventory.API) APIView {
	v := APIView{
		Name: x.Name, Hosts: full(x.Hosts), Path: x.Path, Team: x.Owner.Team, Contact: x.Owner.Contact, Deputy: x.Owner.Deputy, Department: x.Department,
		Exposure: string(x.Exposure), Configured: x.Configured, Counts: counts(x.Counts, x.Latency), Rate: x.Rate, FirstSeen: when(x.FirstSeen), LastSeen: when(x.LastSeen),
		Operations: x.Operations, Declared: x.Declared, Seen: x.Seen, Shadow: x.Shadow, Probed: x.Probed, Principals: x.Principals, Classes: full(x.Classes), Hints: []HintView{},
	}
	for _, h := range x.Hints {
		v.Hints = append(v.Hints, HintView{h.Kind, h.Count, h.Text})
	}
	return v
}

// OperationView is one row of the list of operations.
type OperationView struct {
	API          string     `json:"api" maxLength:"200"`
	Method       string     `json:"method" maxLength:"64"`
	Template     string     `json:"template" maxLength:"4096"`
	Key          string     `json:"key" maxLength:"4200"`
	Name         string     `json:"name" maxLength:"500" doc:"operationId"`
	Declared     bool       `json:"declared"`
	Shadow       bool       `json:"shadow" doc:"Seen and in no specification"`
	Tier         string     `json:"tier" enum:"unseen,probed,seen once,corroborated,matched"`
	Undeclared   *time.Time `json:"undeclared_since,omitempty" doc:"Left the specification then"`
	Counts       CountsView `json:"counts"`
	FirstSeen    *time.Time `json:"first_seen,omitempty"`
	LastSeen     *time.Time `json:"last_seen,omitempty"`
	Principals   uint64     `json:"principals" minimum:"0"`
	Classes      []string   `json:"classes" maxItems:"200"`
	Undocumented int        `json:"undocumented" minimum:"0" doc:"Parameters, body places and statuses that no specification declares"`
}

func operationView(r inventory.Row) OperationView {
	return OperationView{r.API, r.Method, r.Template, r.Key(), r.Name, r.Declared, r.Shadow(), r.Tier.String(), when(r.UndeclaredSince), counts(r.Counts, r.Latency),
		when(r.FirstSeen), when(r.LastSeen), r.Principals, full(r.Classes), r.Undocumented}
}

// PlaceView is a parameter or a body place, declared against observed.
type PlaceView struct {
	In           string     `json:"in" maxLength:"32"`
	Name         string     `json:"name" maxLength:"4096"`
	Response     bool       `json:"response"`
	Declared     bool       `json:"declared"`
	Required     bool       `json:"required"`
	Type         string     `json:"type" maxLength:"200" doc:"Declared"`
	Format       string     `json:"format" maxLength:"200" doc:"Declared"`
	Seen         []TypeSeen `json:"seen" maxItems:"20"`
	SeenFormat   string     `json:"seen_format" maxLength:"200"`
	Undocumented bool       `json:"undocumented"`
	Count        int64      `json:"count" minimum:"0"`
	FirstSeen    *time.Time `json:"first_seen,omitempty"`
	LastSeen     *time.Time `json:"last_seen,omitempty"`
}

// TypeSeen is how often a place held a type.
type TypeSeen struct {
	Type  string `json:"type" maxLength:"32"`
	Count int64  `json:"count" minimum:"0"`
}

// StatusView is one status of the answers.
type StatusView struct {
	Code         int        `json:"code" minimum:"0" maximum:"999" doc:"0: the connection ended without an answer"`
	Declared     bool       `json:"declared"`
	Undocumented bool       `json:"undocumented"`
	Count        int64      `json:"count" minimum:"0"`
	FirstSeen    *time.Time `json:"first_seen,omitempty"`
	LastSeen     *time.Time `json:"last_seen,omitempty"`
}

// UserView is one principal who uses an operation.
type UserView struct {
	Principal string     `json:"principal" maxLength:"1000"`
	Count     int64      `json:"count" minimum:"0"`
	FirstSeen *time.Time `json:"first_seen,omitempty"`
	LastSeen  *time.Time `json:"last_seen,omitempty"`
}

// ClassView is a kind of sensitive data at a place.
type ClassView struct {
	Class     string     `json:"class" maxLength:"64"`
	In        string     `json:"in" maxLength:"32"`
	Name      string     `json:"name" maxLength:"4096"`
	Response  bool       `json:"response"`
	Count     int64      `json:"count" minimum:"0"`
	FirstSeen *time.Time `json:"first_seen,omitempty"`
	LastSeen  *time.Time `json:"last_seen,omitempty"`
}

// HourView are the counts of one hour.
type HourView struct {
	Time     time.Time `json:"time"`
	Requests int64     `json:"requests" minimum:"0"`
	Refused  int64     `json:"refused" minimum:"0"`
	Errors   int64     `json:"errors" minimum:"0"`
}

// ChangeView is one event in the life of an API or operation.
type ChangeView struct {
	ID     int64     `json:"id" minimum:"0"`
	Time   time.Time `json:"time"`
	API    string    `json:"api" maxLength:"200"`
	Key    string    `json:"key" maxLength:"4200" doc:"Empty: the API itself"`
	Kind   string    `json:"kind" maxLength:"64"`
	Detail string    `json:"detail" maxLength:"1000"`
}

func changes(list []inventory.Change) []ChangeView {
	out := []ChangeView{}
	for _, c := range list {
		out = append(out, ChangeView{c.ID, c.Time.UTC(), c.API, c.Key, c.Kind, c.Detail})
	}
	return out
}

// OperationDetail is everything about one operation.
type OperationDetail struct {
	Operation  OperationView `json:"operation"`
	Summary    string        `json:"summary" maxLength:"2000"`
	Deprecated bool          `json:"deprecated"`
	Security   []string      `json:"security" maxItems:"100"`
	DeclaredAt *time.Time    `json:"declared_at,omitempty"`
	Reasons    []string      `json:"reasons" maxItems:"200" doc:"Why path segments were folded"`
	Places     []PlaceView   `json:"places" maxItems:"5000"`
	Statuses   []StatusView  `json:"statuses" maxItems:"600"`
	Users      []UserView    `json:"users" maxItems:"1000"`
	Found      []ClassView   `json:"found" maxItems:"5000"`
	TLS        int64         `json:"tls" minimum:"0"`
	Plain      int64         `json:"plain" minimum:"0"`
	Anonymous  int64         `json:"anonymous" minimum:"0"`
	Kinds      []string      `json:"kinds" maxItems:"20"`
	Hours      []HourView    `json:"hours" maxItems:"1000"`
	Changes    []ChangeView  `json:"changes" maxItems:"1000"`
}

// InventoryNotice says that rows changed.
type InventoryNotice struct {
	Revision uint64       `json:"revision" minimum:"0"`
	APIs     []string     `json:"apis" maxItems:"10000" doc:"Whose rows changed"`
	Changes  []ChangeView `json:"changes" maxItems:"100"`
	Lost     int          `json:"lost" minimum:"0" doc:"Notices missed before this one"`
}

func (a *API) inventoryOperations() {
	type apis struct {
		APIs []APIView `json:"apis" maxItems:"10000"`
	}
	add(a, spec{id: "listAPIs", method: http.MethodGet, path: "/apis", summary: "Every API, configured or seen", tag: "inventory", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[apis], error) {
			list, err := a.Inventory.APIs(ctx)
			return &body[apis]{apis{apiViews(list)}}, err
		})

	type operations struct {
		Operations []OperationView `json:"operations" maxItems:"1000"`
		Next       string          `json:"next" maxLength:"8192" doc:"after of the page that follows; empty when there is none"`
	}
	add(a, spec{id: "listOperations", method: http.MethodGet, path: "/operations", summary: "Operations by filter, order and page", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API      string   `query:"api" maxLength:"200" doc:"Name of the API; absent for all"`
			Nameless bool     `query:"unmatched" doc:"Only traffic that no API matched"`
			Text     string   `query:"q" maxLength:"200" doc:"Part of method, path or name, without case"`
			Method   string   `query:"method" maxLength:"32" pattern:"^[A-Z-]*$"`
			Tier     []string `query:"tier" maxItems:"5" enum:"unseen,probed,seen once,corroborated,matched"`
			Declared string   `query:"declared" enum:"yes,no"`
			Shadow   bool     `query:"shadow" doc:"Only seen ones that no specification declares"`
			Class    string   `query:"class" maxLength:"64" pattern:"^[a-z0-9-]*$"`
			Hint     string   `query:"hint" enum:"shadow,undocumented,undeclared since,unused"`
			Probed   bool     `query:"probed" doc:"Also operations that were only probed"`
			Sort     string   `query:"sort" enum:"template,last_seen,first_seen,requests,errors,latency" default:"template"`
			Reverse  bool     `query:"reverse"`
			After    string   `query:"after" maxLength:"8192"`
			Limit    int      `query:"limit" minimum:"1" maximum:"1000" default:"50"`
		}) (*body[operations], error) {
			f := inventory.Filter{API: in.API, NoAPI: in.Nameless, Text: in.Text, Method: in.Method, Shadow: in.Shadow, Class: in.Class, Hint: in.Hint, Probed: in.Probed,
				Sort: inventory.Sort(in.Sort), Reverse: in.Reverse, After: in.After, Limit: in.Limit}
			for _, name := range in.Tier {
				for t := inventory.Unseen; t <= inventory.Matched; t++ {
					if t.String() == name {
						f.Tiers = append(f.Tiers, t)
						f.Probed = f.Probed || t == inventory.Probed
					}
				}
			}
			if in.Declared != "" {
				declared := in.Declared == "yes"
				f.Declared = &declared
			}
			page, err := a.Inventory.Operations(ctx, f)
			out := operations{Operations: []OperationView{}, Next: page.Next}
			for _, r := range page.Rows {
				out.Operations = append(out.Operations, operationView(r))
			}
			return &body[operations]{out}, err
		})

	add(a, spec{id: "getOperation", method: http.MethodGet, path: "/operation", summary: "Everything about one operation", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API      string `query:"api" maxLength:"200" doc:"Name of the API; absent for traffic that no API matched"`
			Method   string `query:"method" required:"true" minLength:"1" maxLength:"32" pattern:"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"`
			Template string `query:"template" required:"true" minLength:"1" maxLength:"4096"`
		}) (*body[OperationDetail], error) {
			d, err := a.Inventory.Operation(ctx, in.API, sallyport.Operation{Method: in.Method, Template: in.Template}.Key())
			if err != nil {
				return nil, err
			}
			return &body[OperationDetail]{detail(d)}, nil
		})

	type changeList struct {
		Changes []HistoryView `json:"changes" maxItems:"500"`
		Next    int64         `json:"next" minimum:"0" doc:"before of the page that follows; 0 when there is none"`
	}
	add(a, spec{id: "listChanges", method: http.MethodGet, path: "/changes", summary: "What changed in the inventory, newest first", tag: "inventory", access: viewer},
		func(ctx context.Context, in *struct {
			API    string    `query:"api" maxLength:"200" default:"*" doc:"Name of the API, or * for all"`
			Field  string    `query:"field" maxLength:"64" doc:"Only the history of this field"`
			From   time.Time `query:"from"`
			To     time.Time `query:"to"`
			Before int64     `query:"before" minimum:"0" maximum:"9007199254740991"`
			Limit  int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[changeList], error) {
			var list []inventory.Change
			var err error
			if d, ok := a.Inventory.(Desk); ok {
				list, err = d.ChangesBetween(ctx, in.API, "*", in.Field, in.From, in.To, in.Before, in.Limit)
			} else {
				list, err = a.Inventory.Changes(ctx, in.API, in.Before, in.Limit)
			}
			out := changeList{Changes: history(list)}
			if len(list) == in.Limit {
				out.Next = list[len(list)-1].ID
			}
			return &body[changeList]{out}, err
		})

	live[struct{}, InventoryNotice](a, spec{id: "watchInventory", method: http.MethodGet, path: "/inventory/live", summary: "A notice whenever rows changed", tag: "inventory", access: viewer}, "inventory",
		func(ctx context.Context, _ *struct{}, l *stream) error {
			notices := a.Inventory.Watch(ctx)
			if err := l.open(); err != nil {
				return err
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-a.closing:
					return nil
				case <-l.ticker.C:
					if err := l.tick(ctx); err != nil {
						return err
					}
				case n, ok := <-notices:
					if !ok {
						return nil
					}
					if err := l.send("inventory", InventoryNotice{n.Revision, full(n.APIs), changes(n.Changes), n.Lost}); err != nil {
						return err
					}
				}
			}
		})
}

func detail(d *inventory.Detail) OperationDetail {
	o := OperationDetail{
		Operation: operationView(d.Row), Summary: d.Summary, Deprecated: d.Deprecated, Security: full(d.Security), DeclaredAt: when(d.DeclaredAt), Reasons: full(d.Reasons),
		Places: []PlaceView{}, Statuses: []StatusView{}, Users: []UserView{}, Found: []ClassView{}, TLS: d.TLS, Plain: d.Plain, Anonymous: d.Anonymous, Kinds: full(d.Kinds),
		Hours: []HourView{}, Changes: changes(d.Changes),
	}
	for _, p := range d.Places {
		v := PlaceView{In: string(p.In), Name: p.Name, Response: p.Response, Declared: p.Declared, Required: p.Required, Type: p.Type, Format: p.Format, Seen: []TypeSeen{},
			SeenFormat: p.SeenFormat, Undocumented: p.Undocumented, Count: p.Count, FirstSeen: when(p.FirstSeen), LastSeen: when(p.LastSeen)}
		for t, n := range p.Seen {
			v.Seen = append(v.Seen, TypeSeen{t, n})
		}
		sortSeen(v.Seen)
		o.Places = append(o.Places, v)
	}
	for _, s := range d.Statuses {
		o.Statuses = append(o.Statuses, StatusView{s.Code, s.Declared, s.Undocumented, s.Count, when(s.FirstSeen), when(s.LastSeen)})
	}
	for _, c := range d.Consumers {
		o.Users = append(o.Users, UserView{c.Principal, c.Count, when(c.FirstSeen), when(c.LastSeen)})
	}
	for _, c := range d.Found {
		o.Found = append(o.Found, ClassView{c.Class, string(c.Place.In), c.Place.Name, c.Response, c.Count, when(c.FirstSeen), when(c.LastSeen)})
	}
	for _, h := range d.Hours {
		o.Hours = append(o.Hours, HourView{h.Time.UTC(), h.Requests, h.Refused, h.Errors})
	}
	return o
}
