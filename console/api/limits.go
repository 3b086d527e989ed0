package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport.dev/observe/pace"
)

// A Limit is one limit in force, and who is nearest to it.
type Limit struct {
	Door      string
	API       string
	Operation string // "" = the whole API
	Name      string
	What      string // "100/min", "500ms/s of cpu"
	Measure   string
	Per       string
	Mode      string // of the stage limit, where the limit holds
	Count     int64  // in the integers that are counted
	Window    time.Duration
	Capacity  int64
	Together  bool  // counted with other nodes now
	Refused   int64 // in the last hour, on this node; where the mode is observe: would have been
	Nearest   []LimitUser
}

// A LimitUser is how one key stands with a limit, on this node.
type LimitUser struct {
	Subject   string // a principal, an API key, an OAuth client, an address; "" = everybody
	Used      float64
	Remaining int64
	Held      int64
	Reset     time.Duration
}

// Paces say how often callers ask; *pace.Book is one.
type Paces interface {
	Suggestions(api string, limit int) []pace.Suggestion
}

// LimitView is one limit in force.
type LimitView struct {
	Door      string          `json:"door" maxLength:"64" doc:"Where it holds"`
	API       string          `json:"api" maxLength:"200"`
	Operation string          `json:"operation" maxLength:"2000" doc:"Empty: the whole API, or each operation"`
	Name      string          `json:"name" maxLength:"200"`
	What      string          `json:"what" maxLength:"200" doc:"What is allowed, such as 100/min or 500ms/s of cpu"`
	Measure   string          `json:"measure" enum:"requests,concurrent,bytes,cpu,rows,money,units" doc:"What is counted"`
	Per       string          `json:"per" enum:"client,principal,key,oauth_client,operation,api" doc:"What it is counted by"`
	Mode      string          `json:"mode" enum:"observe,enforce,off"`
	Count     int64           `json:"count" minimum:"0" doc:"Allowed in a window: requests, bytes, nanoseconds of CPU time, rows, millionths of money and units"`
	Window    float64         `json:"window" minimum:"0" doc:"Seconds; 0 where it is counted at once or by the calendar"`
	Capacity  int64           `json:"capacity" minimum:"0" doc:"How much at once, as count"`
	Counted   string          `json:"counted" enum:"together,alone" doc:"Together with other nodes, or by this node alone"`
	Refused   int64           `json:"refused" minimum:"0" doc:"Requests that it turned away in the last hour on this node, or would have where it only observes"`
	Nearest   []LimitUserView `json:"nearest" maxItems:"5" doc:"Who is nearest to it on this node"`
}

// LimitUserView is how one caller stands with a limit.
type LimitUserView struct {
	Subject   string  `json:"subject" maxLength:"2000" doc:"Principal, API key, OAuth client or address; empty where it is counted for all together"`
	Used      float64 `json:"used" minimum:"0" doc:"Share of what may happen at once that is used or held; 1 is the bound"`
	Remaining int64   `json:"remaining" minimum:"0"`
	Held      int64   `json:"held" minimum:"0" doc:"In flight, or held for requests in flight"`
	Reset     float64 `json:"reset" minimum:"0" doc:"Seconds until its budget is whole again"`
}

// SuggestionView is the distribution of requests of one operation's callers.
type SuggestionView struct {
	API       string       `json:"api" maxLength:"200"`
	Operation string       `json:"operation" maxLength:"2000"`
	Since     *time.Time   `json:"since,omitempty" doc:"Begin of what was learned"`
	Samples   uint64       `json:"samples" minimum:"0" doc:"Callers times minutes in which they asked"`
	Requests  uint64       `json:"requests" minimum:"0"`
	P50       uint64       `json:"p50" minimum:"0" doc:"Requests of one caller in one minute"`
	P90       uint64       `json:"p90" minimum:"0"`
	P99       uint64       `json:"p99" minimum:"0"`
	P999      uint64       `json:"p999" minimum:"0"`
	Max       uint64       `json:"max" minimum:"0"`
	Buckets   []BucketView `json:"buckets" maxItems:"64"`
	Suggested int          `json:"suggested" minimum:"0" doc:"Requests a minute per caller: the 99.9th percentile times the headroom, rounded up; 0 as long as too little is known"`
	Beyond    float64      `json:"beyond" minimum:"0" maximum:"1" doc:"Share of samples that it would have limited"`
	Current   []string     `json:"current" maxItems:"100" doc:"Limits of requests that hold for the operation now"`
}

// BucketView is one bar of a distribution.
type BucketView struct {
	UpTo    uint64 `json:"up_to" minimum:"1" doc:"Requests of one caller in one minute"`
	Samples uint64 `json:"samples" minimum:"0"`
}

// limitDesk keeps the limits for all who look at once: to gather them is to
// look at every key.
type limitDesk struct {
	mu   sync.Mutex
	at   time.Time
	list []Limit
}

func (a *API) limits() []Limit {
	a.limitDesk.mu.Lock()
	defer a.limitDesk.mu.Unlock()
	if d := &a.limitDesk; time.Since(d.at) > 2*time.Second {
		d.list, d.at = a.Engine.Limits(), time.Now()
	}
	return a.limitDesk.list
}

func (a *API) limitOperations() {
	type filter struct {
		API   string `query:"api" maxLength:"200" doc:"Of this API only"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200" doc:"At most so many"`
	}
	type limitsBody struct {
		Limits []LimitView `json:"limits" maxItems:"1000" doc:"Those that turned most away first"`
		Total  int         `json:"total" minimum:"0" doc:"How many there are"`
	}
	add(a, spec{id: "listLimits", method: http.MethodGet, path: "/limits", summary: "Limits in force, who is nearest to them, and what they turned away", tag: "limits", access: viewer},
		func(_ context.Context, in *filter) (*body[limitsBody], error) {
			out := limitsBody{Limits: []LimitView{}}
			for _, l := range a.limits() {
				if in.API == "" || l.API == in.API {
					out.Limits = append(out.Limits, limitView(l))
				}
			}
			out.Total = len(out.Limits)
			slices.SortStableFunc(out.Limits, func(x, y LimitView) int { return cmp.Compare(y.Refused, x.Refused) })
			out.Limits = out.Limits[:min(in.Limit, len(out.Limits))]
			return &body[limitsBody]{out}, nil
		})

	type suggestionsBody struct {
		Suggestions []SuggestionView `json:"suggestions" maxItems:"1000" doc:"Most requested operations first"`
		Headroom    int              `json:"headroom" minimum:"1" doc:"What the 99.9th percentile is multiplied by"`
		Enough      int              `json:"enough" minimum:"1" doc:"Samples from which on a limit is suggested"`
	}
	add(a, spec{id: "listLimitSuggestions", method: http.MethodGet, path: "/limits/suggestions", summary: "How often callers ask, per operation, and the limit that suggests", tag: "limits", access: viewer},
		func(_ context.Context, in *filter) (*body[suggestionsBody], error) {
			out := suggestionsBody{Suggestions: []SuggestionView{}, Headroom: pace.Headroom, Enough: pace.Enough}
			limits := a.limits()
			for _, s := range a.Paces.Suggestions(in.API, in.Limit) {
				v := SuggestionView{API: s.API, Operation: s.Operation, Since: when(s.Since), Samples: s.Samples, Requests: s.Requests, P50: s.P50, P90: s.P90, P99: s.P99,
					P999: s.P999, Max: s.Max, Suggested: s.Suggested, Beyond: s.Beyond, Buckets: []BucketView{}, Current: []string{}}
				for _, b := range s.Buckets {
					v.Buckets = append(v.Buckets, BucketView{b.UpTo, b.Samples})
				}
				for _, l := range limits {
					if l.API == s.API && (l.Operation == "" || l.Operation == s.Operation) && l.Measure == "requests" && len(v.Current) < 100 {
						v.Current = append(v.Current, l.What+" per "+l.Per)
					}
				}
				out.Suggestions = append(out.Suggestions, v)
			}
			return &body[suggestionsBody]{out}, nil
		})
}

func limitView(l Limit) LimitView {
	v := LimitView{Door: l.Door, API: l.API, Operation: l.Operation, Name: l.Name, What: l.What, Measure: l.Measure, Per: l.Per, Mode: l.Mode, Count: l.Count,
		Window: l.Window.Seconds(), Capacity: l.Capacity, Counted: "alone", Refused: l.Refused, Nearest: []LimitUserView{}}
	if l.Together {
		v.Counted = "together"
	}
	for _, u := range l.Nearest {
		v.Nearest = append(v.Nearest, LimitUserView{u.Subject, u.Used, u.Remaining, u.Held, u.Reset.Seconds()})
	}
	return v
}
