package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev"
	"sallyport.dev/console/audit"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
)

func sortSeen(s []TypeSeen) {
	slices.SortFunc(s, func(x, y TypeSeen) int { return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Type, y.Type)) })
}

// ReasonView is one finding of one stage.
type ReasonView struct {
	Stage     string `json:"stage" maxLength:"32"`
	Rule      string `json:"rule" maxLength:"200"`
	In        string `json:"in" maxLength:"32" doc:"Part of the message"`
	Name      string `json:"name" maxLength:"4096" doc:"Parameter, or JSON pointer of a body value"`
	Class     string `json:"class" maxLength:"200" doc:"Class of the attack or of the value, never the value"`
	Detail    string `json:"detail" maxLength:"4000"`
	Mode      string `json:"mode" maxLength:"32" doc:"observe: it was recorded and not acted on"`
	Exception string `json:"exception" maxLength:"200" doc:"Id of the exception that spared it"`
}

// PlaceName is a place by name.
type PlaceName struct {
	In   string `json:"in" maxLength:"32"`
	Name string `json:"name" maxLength:"4096"`
}

// Decision is one request with what was decided about it.
type Decision struct {
	ID        string       `json:"id" maxLength:"64"`
	Time      time.Time    `json:"time"`
	Door      string       `json:"door" maxLength:"64"`
	API       string       `json:"api" maxLength:"200"`
	Template  string       `json:"template" maxLength:"4096"`
	Declared  bool         `json:"declared"`
	Method    string       `json:"method" maxLength:"64"`
	Host      string       `json:"host" maxLength:"500"`
	Path      string       `json:"path" maxLength:"65536" doc:"As received, with what is or looks secret replaced"`
	Query     string       `json:"query" maxLength:"65536"`
	Proto     string       `json:"proto" maxLength:"32"`
	TLS       bool         `json:"tls"`
	Client    string       `json:"client" maxLength:"64"`
	Principal string       `json:"principal" maxLength:"1000"`
	App       string       `json:"app" maxLength:"500" doc:"Client id of the token"`
	Status    int          `json:"status" minimum:"0" maximum:"999" doc:"What the client got; 0: nothing"`
	Origin    int          `json:"origin" minimum:"0" maximum:"999" doc:"What the upstream answered; 0: it was not asked"`
	Instance  string       `json:"instance" maxLength:"500"`
	Retries   int          `json:"retries" minimum:"0"`
	Duration  float64      `json:"duration_ms" minimum:"0"`
	Upstream  float64      `json:"upstream_ms" minimum:"0"`
	In        int64        `json:"request_bytes" minimum:"0"`
	Out       int64        `json:"response_bytes" minimum:"0"`
	Action    string       `json:"action" enum:"allow,refuse,throttle"`
	Stage     string       `json:"stage" maxLength:"32" doc:"Stage that refused; empty when allowed"`
	Reasons   []ReasonView `json:"reasons" maxItems:"1000"`
}

// HeaderLine is one header field, its value replaced unless it is harmless.
type HeaderLine struct {
	Name  string `json:"name" maxLength:"500"`
	Value string `json:"value" maxLength:"65536"`
}

// ShapeLine is one place of a body and the type seen there.
type ShapeLine struct {
	Pointer string `json:"pointer" maxLength:"4096"`
	Type    string `json:"type" maxLength:"32"`
	Format  string `json:"format" maxLength:"64"`
}

// CallerView is who a request was made for, as its credential proved it.
type CallerView struct {
	Kind    string `json:"kind" maxLength:"32" doc:"oidc, key, certificate or signature; empty: nobody was proven"`
	Issuer  string `json:"issuer" maxLength:"1000"`
	Subject string `json:"subject" maxLength:"1000"`
	Client  string `json:"client" maxLength:"500" doc:"client_id or azp of the token, or the id of the key"`
	Actor   string `json:"actor" maxLength:"1000" doc:"Who acts for the subject (act, RFC 8693)"`
	Binding string `json:"binding" maxLength:"32" doc:"What the token is bound to: dpop, certificate; empty: nothing"`
}

// CostView is what one request took of the upstream.
type CostView struct {
	CPU       float64 `json:"cpu" doc:"Milliseconds of CPU time"`
	Estimated bool    `json:"estimated" doc:"CPU time is an estimate, from how long the request took"`
	Bytes     int64   `json:"bytes"`
	Rows      int64   `json:"rows"`
	Money     float64 `json:"money"`
	Units     float64 `json:"units" doc:"In the upstream's own unit"`
}

// DecisionDetail is one decision in full.
type DecisionDetail struct {
	Decision     Decision     `json:"decision"`
	Caller       CallerView   `json:"caller" doc:"Who the request was made for, as proven"`
	Cost         *CostView    `json:"cost,omitempty" doc:"What it took of the upstream, as far as anybody knows"`
	Original     bool         `json:"original" doc:"The upstream's error was replaced, and its original can be opened"`
	NotInspected []string     `json:"not_inspected" maxItems:"100" doc:"What was not looked at, and why"`
	Relief       []string     `json:"relief" maxItems:"100" doc:"What spared the upstream work, such as cache.hit, coalesced or sideload"`
	Program      string       `json:"program" maxLength:"200"`
	Undocumented []PlaceName  `json:"undocumented" maxItems:"5000"`
	NewStatus    bool         `json:"new_status" doc:"The answer's status is not declared"`
	Classes      []ClassView  `json:"classes" maxItems:"1000"`
	Request      []HeaderLine `json:"request_headers" maxItems:"1000"`
	Response     []HeaderLine `json:"response_headers" maxItems:"1000"`
	RequestBody  []ShapeLine  `json:"request_shape" maxItems:"10000"`
	ResponseBody []ShapeLine  `json:"response_shape" maxItems:"10000"`
}

// OriginalView is an opened original.
type OriginalView struct {
	ID      string       `json:"id" maxLength:"64"`
	API     string       `json:"api" maxLength:"200"`
	Time    time.Time    `json:"time"`
	Status  int          `json:"status" minimum:"0" maximum:"999" doc:"What the upstream answered"`
	Headers []HeaderLine `json:"headers" maxItems:"1000" doc:"As the upstream sent them, values included"`
	Body    string       `json:"body" maxLength:"400000" doc:"gzip is unpacked"`
	Base64  bool         `json:"base64" doc:"The body is no text, and body its base64"`
	Cut     bool         `json:"cut" doc:"Only the beginning of the body was kept"`
}

func originalView(o *original.Original) OriginalView {
	v := OriginalView{ID: o.ID, API: o.API, Time: o.Time, Status: o.Status, Cut: o.Cut, Headers: []HeaderLine{}}
	for _, f := range o.Header {
		if len(f) == 2 {
			v.Headers = append(v.Headers, HeaderLine{strings.ToValidUTF8(f[0], "?"), strings.ToValidUTF8(f[1], "?")})
		}
	}
	text := o.Text()
	if o.Cut { // perhaps within a character
		for i := 0; i < 3 && len(text) > 0 && !utf8.Valid(text); i++ {
			text = text[:len(text)-1]
		}
	}
	if v.Body = string(text); !utf8.Valid(text) {
		v.Body, v.Base64 = base64.StdEncoding.EncodeToString(text), true
	}
	return v
}

func decision(x *sallyport.Exchange) Decision {
	d := Decision{
		ID: x.ID, Time: x.Time.UTC(), Door: x.Door, API: x.API, Template: x.Template, Declared: x.Declared, Method: x.Operation().Method, Host: x.Host, Path: x.Path, Query: x.Query,
		Proto: x.Proto, TLS: x.TLS, Principal: x.Principal.String(), App: x.Principal.Client, Status: x.Status, Origin: x.Origin, Instance: x.Instance, Retries: x.Retries,
		Duration: float64(x.Duration.Microseconds()) / 1000, Upstream: float64(x.Upstream.Microseconds()) / 1000, In: x.RequestBytes, Out: x.ResponseBytes,
		Action: string(x.Decision.Action), Stage: string(x.Decision.Stage), Reasons: []ReasonView{},
	}
	if d.Action == "" {
		d.Action = string(sallyport.ActionAllow)
	}
	if x.Client.IsValid() {
		d.Client = x.Client.String()
	}
	for _, r := range x.Decision.Reasons {
		d.Reasons = append(d.Reasons, ReasonView{string(r.Stage), r.Rule, string(r.Place.In), r.Place.Name, r.Class, r.Detail, string(r.Mode), r.Exception})
	}
	return d
}

func decisionDetail(x *sallyport.Exchange) DecisionDetail {
	who := x.Principal
	d := DecisionDetail{Decision: decision(x), Caller: CallerView{who.Kind, who.Issuer, who.Subject, who.Client, who.Actor, who.Binding}, NotInspected: full(x.Decision.NotInspected), Relief: full(x.Decision.Relief), Program: x.Decision.Program, Undocumented: []PlaceName{}, NewStatus: x.NewStatus,
		Classes: []ClassView{}, Request: headers(x.RequestHeader), Response: headers(x.ResponseHeader), RequestBody: []ShapeLine{}, ResponseBody: []ShapeLine{}}
	if c := x.Cost; c != (sallyport.Cost{}) {
		d.Cost = &CostView{float64(c.CPU.Microseconds()) / 1000, c.Estimated, c.Bytes, c.Rows, float64(c.Money) / 1e6, c.Units}
	}
	for _, p := range x.Undocumented {
		d.Undocumented = append(d.Undocumented, PlaceName{string(p.In), p.Name})
	}
	for _, c := range x.Classes {
		d.Classes = append(d.Classes, ClassView{Class: c.Class, In: string(c.Place.In), Name: c.Place.Name, Response: c.Response, Count: 1})
	}
	if x.Shape != nil {
		d.RequestBody, d.ResponseBody = shape(x.Shape.Request), shape(x.Shape.Response)
	}
	return d
}

func headers(list []sallyport.Field) []HeaderLine {
	out := []HeaderLine{}
	for _, f := range list {
		out = append(out, HeaderLine{f.Name, f.Value})
	}
	return out
}

func shape(list []sallyport.Typed) []ShapeLine {
	out := []ShapeLine{}
	for _, t := range list {
		out = append(out, ShapeLine{t.Pointer, t.Type, t.Format})
	}
	return out
}

// DecisionBatch are decisions as they happen, oldest first.
type DecisionBatch struct {
	Decisions []Decision `json:"decisions" maxItems:"200"`
	Lost      int        `json:"lost" minimum:"0" doc:"How many more there were than this view can show"`
}

// DecisionFilter chooses decisions, in a list as in a live view.
type DecisionFilter struct {
	API       string `query:"api" maxLength:"200"`
	Operation string `query:"operation" maxLength:"4200" doc:"GET /v1/items/{id}"`
	Action    string `query:"action" enum:"allow,refuse,throttle"`
	Stage     string `query:"stage" enum:"request,identify,limit,authenticate,authorise,validate,inspect,decide,relieve,rewrite,forward"`
	Rule      string `query:"rule" maxLength:"200" pattern:"^[A-Za-z0-9_.:*-]*$" doc:"Name of a rule; a trailing . or * takes all below"`
	Principal string `query:"principal" maxLength:"1000"`
	Client    string `query:"client" maxLength:"64" pattern:"^[0-9A-Fa-f.:/]*$" doc:"Address or prefix"`
	Status    int    `query:"status" minimum:"0" maximum:"999" doc:"404, or 4 for all of 4xx"`
	Findings  string `query:"findings" enum:"yes,no" doc:"yes: only decisions with something to look at; no: only plain allows"`
}

func (f *DecisionFilter) filter() (observe.Filter, error) {
	out := observe.Filter{API: f.API, Operation: f.Operation, Action: sallyport.Action(f.Action), Stage: sallyport.Stage(f.Stage), Rule: f.Rule,
		Principal: f.Principal, Client: f.Client, Status: f.Status}
	if f.Findings != "" {
		plain := f.Findings == "no"
		out.Plain = &plain
	}
	if f.Client != "" {
		var err error
		if strings.Contains(f.Client, "/") {
			_, err = netip.ParsePrefix(f.Client)
		} else {
			_, err = netip.ParseAddr(f.Client)
		}
		if err != nil {
			return out, sallyport.Errorf(sallyport.Invalid, "client must be an address such as 192.0.2.7 or a prefix such as 192.0.2.0/24")
		}
	}
	return out, nil
}

func (a *API) decisionOperations() {
	type page struct {
		Decisions []Decision `json:"decisions" maxItems:"500"`
		Next      string     `json:"next" maxLength:"64" doc:"before of the page that follows; empty when there is none"`
	}
	add(a, spec{id: "listDecisions", method: http.MethodGet, path: "/decisions", summary: "Decisions by filter, newest first", tag: "decisions", access: viewer},
		func(ctx context.Context, in *struct {
			DecisionFilter
			Since  time.Time `query:"since"`
			Until  time.Time `query:"until"`
			Before string    `query:"before" maxLength:"64" pattern:"^[0-9A-Za-z_-]*$"`
			Limit  int       `query:"limit" minimum:"1" maximum:"500" default:"100"`
		}) (*body[page], error) {
			f, err := in.filter()
			if err != nil {
				return nil, err
			}
			f.Since, f.Until, f.Before, f.Limit = in.Since, in.Until, in.Before, in.Limit
			p, err := a.Journal.List(ctx, f)
			out := page{Decisions: []Decision{}, Next: p.Next}
			for i := range p.Exchanges {
				out.Decisions = append(out.Decisions, decision(&p.Exchanges[i]))
			}
			return &body[page]{out}, err
		})

	live[DecisionFilter, DecisionBatch](a, spec{id: "watchDecisions", method: http.MethodGet, path: "/decisions/live", summary: "Decisions as they happen", tag: "decisions", access: viewer}, "decisions",
		func(ctx context.Context, in *DecisionFilter, l *stream) error {
			f, err := in.filter()
			if err != nil {
				return err
			}
			return a.tail(ctx, f, l)
		})

	add(a, spec{id: "getDecision", method: http.MethodGet, path: "/decisions/{id}", summary: "One decision in full, by the request id of an answer", tag: "decisions", access: viewer},
		func(ctx context.Context, in *struct {
			ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[0-9A-Za-z_-]+$"`
		}) (*body[DecisionDetail], error) {
			x, err := a.Journal.Find(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			d := decisionDetail(x)
			if a.Originals != nil {
				if d.Original, err = a.Originals.Has(ctx, in.ID); err != nil {
					return nil, err
				}
			}
			return &body[DecisionDetail]{d}, nil
		})

	add(a, spec{id: "openOriginal", method: http.MethodPost, path: "/decisions/{id}/original", summary: "Open the sealed original of an error that was replaced; each opening is an entry of the audit log", tag: "decisions", access: admin},
		func(ctx context.Context, in *struct {
			ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[0-9A-Za-z_-]+$"`
		}) (*body[OriginalView], error) {
			if a.Originals == nil {
				return nil, sallyport.Errorf(sallyport.NotFound, "no originals are kept here")
			}
			o, err := a.Originals.Find(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			// Nothing is shown that is not on record as shown.
			if err := a.record(ctx, "original.open", in.ID, audit.Done, "of API "+o.API); err != nil {
				return nil, err
			}
			return &body[OriginalView]{originalView(o)}, nil
		})
}

// tail sends a batch every quarter second, of at most fifty: more nobody reads,
// and the rest is counted.
func (a *API) tail(ctx context.Context, f observe.Filter, l *stream) error {
	const most = 50
	every := time.NewTicker(250 * time.Millisecond)
	defer every.Stop()
	batch := DecisionBatch{Decisions: []Decision{}}
	source := a.Journal.Tail(ctx, f)
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
		case x, ok := <-source:
			if !ok {
				return nil
			}
			batch.Lost += x.Lost
			if len(batch.Decisions) == most {
				batch.Lost++
			} else if x.Exchange != nil {
				batch.Decisions = append(batch.Decisions, decision(x.Exchange))
			}
		case <-every.C:
			if len(batch.Decisions) == 0 && batch.Lost == 0 {
				continue
			}
			if err := l.send("decisions", batch); err != nil {
				return err
			}
			batch.Decisions, batch.Lost = batch.Decisions[:0], 0
		}
	}
}
