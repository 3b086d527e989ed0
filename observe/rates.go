package observe

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"sallyport.dev"
)

// Rates are counts for the overview.
type Rates struct {
	Step    time.Duration // width of a Point
	Points  []Point       // oldest first, the last ones still filling
	Reasons []ReasonCount // most frequent first, over the same span, at most 50
	Total   uint64        // exchanges seen since the journal opened
}

// Point is one step of one API and action; steps in which nothing came have none.
type Point struct {
	Time    time.Time
	API     string
	Action  sallyport.Action
	Count   uint64
	Flagged uint64 // allowed, but with reasons: a check in observe mode, or an exception
	Errors  uint64 // answers with status 5xx
}

// ReasonCount says how often a rule spoke.
type ReasonCount struct {
	API    string
	Stage  sallyport.Stage
	Rule   string
	Action sallyport.Action
	Count  uint64
}

// Bounds of what is counted: steps, and different keys in one step.
const (
	seconds   = 300
	minutes   = 1440
	maxSeries = 256
	maxRules  = 512
)

type series struct {
	api    string
	action sallyport.Action
}

type spoke struct {
	api, rule string
	stage     sallyport.Stage
	action    sallyport.Action
}

type count struct{ all, flagged, errors uint64 }

type step struct {
	at      int64 // number of the step since 1970
	counts  map[series]*count
	reasons map[spoke]uint64
}

// rates counts per second for five minutes and per minute for a day.
type rates struct {
	mu     sync.Mutex
	now    func() time.Time
	second [seconds]step
	minute [minutes]step
	total  uint64
}

func (r *rates) add(fresh []seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().Unix()
	var second, minute tallied
	for i := range fresh {
		s := &fresh[i]
		if s.source {
			continue
		}
		r.total++
		at := min(s.at.Unix(), now) // the clock of another node may run ahead
		if at > now-seconds {
			second.bump(&r.second[at%seconds], at, s)
		}
		if at /= 60; at > now/60-minutes && at >= 0 {
			minute.bump(&r.minute[at%minutes], at, s)
		}
	}
}

// tallied is where the last exchange was counted: the next is mostly alike.
type tallied struct {
	step *step
	at   int64
	key  series
	c    *count
}

func (t *tallied) bump(s *step, at int64, x *seen) {
	key := series{x.api, x.action}
	if t.step != s || t.at != at || t.key != key {
		c := s.count(at, key)
		if c == nil {
			return
		}
		*t = tallied{s, at, key, c}
	}
	t.c.all++
	if !x.plain && x.action == sallyport.ActionAllow {
		t.c.flagged++
	}
	if x.status >= 500 {
		t.c.errors++
	}
	if x.plain || x.whole == nil {
		return
	}
	for i, reason := range x.whole.Decision.Reasons {
		if i == 16 {
			break
		}
		k := spoke{x.api, reason.Rule, reason.Stage, x.action}
		if _, known := s.reasons[k]; known || len(s.reasons) < maxRules {
			s.reasons[k]++
		}
	}
}

// count is where to count key in the step number at; nil when that is over.
func (s *step) count(at int64, key series) *count {
	if s.at != at || s.counts == nil {
		if s.at > at {
			return nil
		}
		*s = step{at: at, counts: map[series]*count{}, reasons: map[spoke]uint64{}}
	}
	c := s.counts[key]
	if c == nil {
		if len(s.counts) >= maxSeries {
			key.api = "…"
			c = s.counts[key]
		}
		if c == nil {
			c = &count{}
			s.counts[key] = c
		}
	}
	return c
}

// Rates gives counts per second for a span up to five minutes, per minute up to
// a day; the span ends now.
func (j *Journal) Rates(span time.Duration) Rates {
	r := &j.rates
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Rates{Step: time.Second, Total: r.total, Points: []Point{}, Reasons: []ReasonCount{}}
	steps, now := r.second[:], r.now().Unix()
	if span > seconds*time.Second {
		out.Step, steps, now = time.Minute, r.minute[:], now/60
	}
	from := now - int64(min(span/out.Step, time.Duration(len(steps)))) + 1
	reasons := map[spoke]uint64{}
	for i := range steps {
		s := &steps[i]
		if s.at < from || s.at > now {
			continue
		}
		for key, c := range s.counts {
			out.Points = append(out.Points, Point{Time: time.Unix(s.at*int64(out.Step/time.Second), 0).UTC(), API: key.api, Action: key.action,
				Count: c.all, Flagged: c.flagged, Errors: c.errors})
		}
		for k, n := range s.reasons {
			reasons[k] += n
		}
	}
	slices.SortFunc(out.Points, func(a, b Point) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.API, b.API), cmp.Compare(a.Action, b.Action))
	})
	for k, n := range reasons {
		out.Reasons = append(out.Reasons, ReasonCount{API: k.api, Stage: k.stage, Rule: k.rule, Action: k.action, Count: n})
	}
	slices.SortFunc(out.Reasons, func(a, b ReasonCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.API, b.API), cmp.Compare(a.Action, b.Action))
	})
	out.Reasons = out.Reasons[:min(len(out.Reasons), 50)]
	return out
}
