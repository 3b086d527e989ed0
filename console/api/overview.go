package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// Series are counts per step, one number for each time.
type Series struct {
	Times    []int64  `json:"times" maxItems:"2000" doc:"Seconds since 1970, start of each step"`
	Allow    []uint64 `json:"allow" maxItems:"2000" doc:"Allowed without a finding"`
	Flagged  []uint64 `json:"flagged" maxItems:"2000" doc:"Allowed, with a finding of a check that only observes"`
	Throttle []uint64 `json:"throttle" maxItems:"2000" doc:"Refused for now (429)"`
	Refuse   []uint64 `json:"refuse" maxItems:"2000" doc:"Refused"`
	Errors   []uint64 `json:"errors" maxItems:"2000" doc:"Answered with a status of 500 or more"`
}

// Totals are the sums of a Series.
type Totals struct {
	Requests uint64 `json:"requests" minimum:"0"`
	Allow    uint64 `json:"allow" minimum:"0"`
	Flagged  uint64 `json:"flagged" minimum:"0"`
	Throttle uint64 `json:"throttle" minimum:"0"`
	Refuse   uint64 `json:"refuse" minimum:"0"`
	Errors   uint64 `json:"errors" minimum:"0"`
}

// ReasonCount says how often a rule spoke.
type ReasonCount struct {
	API    string `json:"api" maxLength:"200"`
	Stage  string `json:"stage" maxLength:"32"`
	Rule   string `json:"rule" maxLength:"200"`
	Action string `json:"action" maxLength:"32" doc:"What was done with the requests it spoke about"`
	Count  uint64 `json:"count" minimum:"0"`
}

// InstanceView is one address that serves an API.
type InstanceView struct {
	API       string     `json:"api" maxLength:"200"`
	URL       string     `json:"url" maxLength:"500"`
	Address   string     `json:"address" maxLength:"64"`
	Admission string     `json:"admission" enum:"held,testing,admitted,quarantined,retired"`
	Reason    string     `json:"reason" maxLength:"500" doc:"Why it is in that state"`
	Healthy   bool       `json:"healthy"`
	Since     *time.Time `json:"since,omitempty"`
}

// ProgramView is what a guard has in force.
type ProgramView struct {
	Name   string           `json:"name" maxLength:"200"`
	Door   string           `json:"door" maxLength:"64"`
	Since  *time.Time       `json:"since,omitempty"`
	APIs   []ProgramAPIView `json:"apis" maxItems:"10000"`
	Failed string           `json:"failed" maxLength:"4000" doc:"Why the newest change was refused and this program stayed; empty when it was not"`
	At     *time.Time       `json:"failed_at,omitempty"`
}

// ProgramAPIView is one API as compiled.
type ProgramAPIView struct {
	Name       string `json:"name" maxLength:"200"`
	Mode       string `json:"mode" maxLength:"32"`
	Operations int    `json:"operations" minimum:"0"`
	Exceptions int    `json:"exceptions" minimum:"0"`
}

// ProviderView is one identity provider.
type ProviderView struct {
	Issuer    string     `json:"issuer" maxLength:"500"`
	Keys      int        `json:"keys" minimum:"0"`
	Refreshed *time.Time `json:"refreshed,omitempty"`
	Failing   string     `json:"failing" maxLength:"1000"`
}

// Recording is what became of the records of requests.
type Recording struct {
	Recorded  uint64            `json:"recorded" minimum:"0"`
	Dropped   map[string]uint64 `json:"dropped" doc:"By reason"`
	Published uint64            `json:"published" minimum:"0"`
	Acked     uint64            `json:"acked" minimum:"0"`
	Lost      uint64            `json:"lost" minimum:"0"`
	Queued    int               `json:"queued" minimum:"0"`
	InFlight  int               `json:"in_flight" minimum:"0"`
	Bound     int               `json:"bound" minimum:"0" doc:"Most records that the death of the process can cost"`
	Failing   string            `json:"failing" maxLength:"1000" doc:"Why publishing fails at present; empty when it does not"`

	Embedded  bool           `json:"embedded" doc:"The stream is inside the process"`
	Messages  uint64         `json:"messages" minimum:"0"`
	Bytes     uint64         `json:"bytes" minimum:"0"`
	Full      bool           `json:"full" doc:"The disk is full: guarding goes on, recording does not"`
	Consumers []ConsumerView `json:"consumers" maxItems:"100"`

	Behind float64 `json:"behind_seconds" minimum:"0" doc:"Age of the newest record when the inventory counted it"`
}

// ConsumerView is one reader of the stream.
type ConsumerView struct {
	Name    string `json:"name" maxLength:"64"`
	Lag     uint64 `json:"lag" minimum:"0" doc:"Messages it has not handled yet"`
	Retries uint64 `json:"retries" minimum:"0"`
}

// Overview is everything on the first page.
type Overview struct {
	At         time.Time      `json:"at"`
	Span       int            `json:"span_seconds" minimum:"0"`
	Step       int            `json:"step_seconds" minimum:"0"`
	Series     Series         `json:"series"`
	Totals     Totals         `json:"totals" doc:"Over the span"`
	Seen       uint64         `json:"seen" minimum:"0" doc:"Requests since the process started"`
	Reasons    []ReasonCount  `json:"reasons" maxItems:"20"`
	APIs       []APIView      `json:"apis" maxItems:"1000"`
	Operations int            `json:"operations" minimum:"0"`
	Shadow     int            `json:"shadow" minimum:"0"`
	Instances  []InstanceView `json:"instances" maxItems:"10000"`
	Programs   []ProgramView  `json:"programs" maxItems:"100"`
	Providers  []ProviderView `json:"providers" maxItems:"1000"`
	Recording  Recording      `json:"recording"`
	Notices    []NoticeView   `json:"notices" maxItems:"100" doc:"What somebody should look after, the severe ones first"`
}

// desk keeps what is costly to gather for all who look at once.
type desk struct {
	mu        sync.Mutex
	at        time.Time
	apis      []APIView
	stats     inventory.Stats
	recording Recording
}

// spans are how far one can look back, and how often a live view of that is
// worth sending.
var spans = map[string]struct{ back, every time.Duration }{
	"5m": {5 * time.Minute, time.Second}, "1h": {time.Hour, 5 * time.Second}, "1d": {24 * time.Hour, 15 * time.Second},
}

func (a *API) overviewOperations() {
	type span struct {
		Span string `query:"span" enum:"5m,1h,1d" default:"5m" doc:"How far to look back"`
	}
	add(a, spec{id: "getOverview", method: http.MethodGet, path: "/overview", summary: "Rates, reasons, APIs, instances and the state of the process", tag: "overview", access: viewer},
		func(ctx context.Context, in *span) (*body[Overview], error) {
			o, err := a.overview(ctx, spans[in.Span].back)
			return &body[Overview]{o}, err
		})
	live[span, Overview](a, spec{id: "watchOverview", method: http.MethodGet, path: "/overview/live", summary: "The overview, again and again", tag: "overview", access: viewer}, "overview",
		func(ctx context.Context, in *span, l *stream) error {
			every := time.NewTicker(spans[in.Span].every)
			defer every.Stop()
			if err := l.open(); err != nil {
				return err
			}
			for {
				o, err := a.overview(ctx, spans[in.Span].back)
				if err != nil {
					return err
				}
				if err := l.send("overview", o); err != nil {
					return err
				}
			wait:
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
					case <-every.C:
						break wait
					}
				}
			}
		})

	type about struct {
		Version   string      `json:"version" maxLength:"100"`
		Revision  string      `json:"revision" maxLength:"100"`
		Go        string      `json:"go" maxLength:"100"`
		Started   *time.Time  `json:"started,omitempty"`
		Now       time.Time   `json:"now"`
		Retention []Retention `json:"retention" maxItems:"100"`
	}
	add(a, spec{id: "getAbout", method: http.MethodGet, path: "/about", summary: "Which program this is, and how long it keeps what", tag: "overview", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[about], error) {
			return &body[about]{about{a.Build.Version, a.Build.Revision, a.Build.Go, when(a.Build.Started), a.Now().UTC(), full(a.Retention)}}, nil
		})
}

func (a *API) overview(ctx context.Context, span time.Duration) (Overview, error) {
	o := Overview{At: a.Now().UTC(), Span: int(span.Seconds()), Instances: []InstanceView{}, Programs: []ProgramView{}, Providers: []ProviderView{}, Reasons: []ReasonCount{}}
	a.rates(&o, span)
	if err := a.catalogue(ctx, &o); err != nil {
		return o, err
	}
	for _, i := range a.Engine.Instances() {
		view := InstanceView{API: i.API, URL: i.URL, Admission: string(i.Admission), Reason: i.Reason, Healthy: i.Healthy, Since: when(i.Since)}
		if i.Address.IsValid() {
			view.Address = i.Address.String()
		}
		o.Instances = append(o.Instances, view)
	}
	slices.SortFunc(o.Instances, func(x, y InstanceView) int { return cmp.Or(cmp.Compare(x.API, y.API), cmp.Compare(x.URL, y.URL)) })
	for _, p := range a.Engine.Programs() {
		view := ProgramView{Name: p.Name, Door: p.Door, Since: when(p.Since), Failed: p.Failed, At: when(p.At), APIs: []ProgramAPIView{}}
		for _, x := range p.APIs {
			view.APIs = append(view.APIs, ProgramAPIView{x.Name, string(x.Mode), x.Operations, x.Exceptions})
		}
		o.Programs = append(o.Programs, view)
	}
	for _, p := range a.Engine.Providers() {
		o.Providers = append(o.Providers, ProviderView{p.Issuer, p.Keys, when(p.Refreshed), p.Failing})
	}
	o.Notices = noticeViews(a.Engine.Notices())
	c := a.Recorder.Counters()
	r := &o.Recording
	r.Recorded, r.Published, r.Acked, r.Lost, r.Queued, r.InFlight, r.Bound, r.Failing = c.Recorded, c.Published, c.Acked, c.Lost, c.Queued, c.InFlight, c.Bound, c.Failing
	r.Dropped = c.Dropped
	if r.Dropped == nil {
		r.Dropped = map[string]uint64{}
	}
	return o, nil
}

// rates folds the journal's points into one column per kind.
func (a *API) rates(o *Overview, span time.Duration) {
	rates := a.Journal.Rates(span)
	step := max(rates.Step, time.Second)
	o.Step, o.Seen = int(step.Seconds()), rates.Total
	n := int(span / step)
	end := o.At.Truncate(step)
	start := end.Add(-time.Duration(n-1) * step)
	s := &o.Series
	s.Times = make([]int64, n)
	for i := range s.Times {
		s.Times[i] = start.Add(time.Duration(i) * step).Unix()
	}
	for _, column := range []*[]uint64{&s.Allow, &s.Flagged, &s.Throttle, &s.Refuse, &s.Errors} {
		*column = make([]uint64, n)
	}
	t := &o.Totals
	for _, p := range rates.Points {
		i := int(p.Time.Sub(start) / step)
		if p.Time.Before(start) || i >= n {
			continue
		}
		t.Requests += p.Count
		t.Errors += p.Errors
		s.Errors[i] += p.Errors
		switch p.Action {
		case sallyport.ActionRefuse:
			s.Refuse[i] += p.Count
			t.Refuse += p.Count
		case sallyport.ActionThrottle:
			s.Throttle[i] += p.Count
			t.Throttle += p.Count
		default:
			flagged := min(p.Flagged, p.Count)
			s.Flagged[i] += flagged
			t.Flagged += flagged
			s.Allow[i] += p.Count - flagged
			t.Allow += p.Count - flagged
		}
	}
	for _, r := range rates.Reasons {
		if len(o.Reasons) == 12 {
			break
		}
		o.Reasons = append(o.Reasons, ReasonCount{r.API, string(r.Stage), r.Rule, string(r.Action), r.Count})
	}
}

// catalogue adds the APIs, at most two seconds old, gathered once for everyone.
func (a *API) catalogue(ctx context.Context, o *Overview) error {
	a.desk.mu.Lock()
	defer a.desk.mu.Unlock()
	if d := &a.desk; time.Since(d.at) > 2*time.Second {
		apis, err := a.Inventory.APIs(ctx)
		if err != nil {
			return err
		}
		stats, err := a.Inventory.Stats(ctx)
		if err != nil {
			return err
		}
		rec := Recording{Consumers: []ConsumerView{}, Behind: max(0, stats.Behind.Seconds())}
		// A stream that cannot be asked is shown by what the recorder says of it.
		if st, err := a.Stream.Stats(ctx); err == nil {
			rec.Embedded, rec.Messages, rec.Bytes, rec.Full = st.Embedded, st.Messages, st.Bytes, st.Full
			for name, c := range st.Consumers {
				rec.Consumers = append(rec.Consumers, ConsumerView{name, c.Lag, c.Retries})
			}
			slices.SortFunc(rec.Consumers, func(x, y ConsumerView) int { return cmp.Compare(x.Name, y.Name) })
		}
		d.at, d.apis, d.stats, d.recording = time.Now(), apiViews(apis), stats, rec
	}
	o.APIs, o.Operations, o.Shadow, o.Recording = a.desk.apis, a.desk.stats.Operations, a.desk.stats.Shadow, a.desk.recording
	return nil
}
