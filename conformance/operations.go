package conformance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operations looks at how the instance holds up: latency, sameness, requests at a time.
func (r *run) operations(ctx context.Context) {
	limited, reads := 0, 0
	for _, o := range r.ops {
		c, ok := r.base1(o)
		if !ok || o.Method != http.MethodGet || ctx.Err() != nil {
			continue
		}
		var took []time.Duration
		var first *answer
		statuses := map[int]bool{}
		for range 5 {
			a := r.once(ctx, c)
			if a.err != nil {
				continue
			}
			took, statuses[a.status] = append(took, a.took), true
			if first == nil {
				first = a
			}
		}
		if len(took) == 0 {
			continue
		}
		r.judged("operations.latency", o)
		slices.Sort(took)
		if mid := took[len(took)/2]; mid > r.Latency {
			r.find("operations.latency", c, Finding{Detail: fmt.Sprintf("half of the answers take longer than %v, the budget is %v", mid.Round(time.Millisecond), r.Latency)})
		}
		bare := c.with(func(d *call) { d.query = nil })
		if !o.admits(&bare) {
			bare = c
		}
		r.order(ctx, bare)
		r.judged("operations.stable", o)
		delete(statuses, http.StatusTooManyRequests)
		if len(statuses) > 1 {
			r.find("operations.stable", c, Finding{Detail: "the same request is answered with different statuses"})
		}
		n := 16
		if r.Profile == Safe {
			n = 6
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		broken := 0
		for range n {
			wg.Go(func() {
				a := r.once(ctx, c)
				mu.Lock()
				defer mu.Unlock()
				reads++
				if a.status == http.StatusTooManyRequests {
					limited++
				} else if a.status >= 500 {
					broken = a.status
				}
			})
		}
		wg.Wait()
		r.judged("operations.concurrency", o)
		if broken > 0 {
			r.find("operations.concurrency", c, Finding{Status: broken, Detail: fmt.Sprintf("%d requests at a time: answers %d", n, broken)})
		}
	}
	r.suspensions(ctx)
	r.limits(ctx)
}

// limits tries whether an operation that declares 429 ever answers it.
func (r *run) limits(ctx context.Context) {
	most := 800
	if r.Profile == Safe {
		return
	}
	for _, o := range r.ops {
		if !o.declares("429") || o.skip || ctx.Err() != nil || r.counts["429 "+o.key] > 0 {
			continue
		}
		c, ok := r.base1(o)
		if !ok {
			if c, ok = r.valid(ctx, o, &r.Identities[0], true, 0); !ok {
				continue
			}
		}
		if o.Method != http.MethodGet && o.list != nil {
			continue
		}
		if o.reached[http.StatusTooManyRequests] > 0 {
			r.judged("security.rate-limit", o)
			continue
		}
		r.judged("security.rate-limit", o)
		limited, sent, took := r.burst(ctx, c, most)
		switch {
		case limited != nil:
			r.weigh(ctx, "security.retry-after", c, limited, "", func(b *answer) string {
				if b.status == 429 && b.header.Get("Retry-After") == "" {
					return "the answer 429 does not say when to come back (Retry-After)"
				}
				return ""
			})
		case sent < most || took > 4*time.Second: // slower than what many limits let through
			r.notRun("%s: whether 429 ever comes: only %d requests in %v could be sent", o.key, sent, took.Round(time.Millisecond))
		default:
			r.find("security.rate-limit", c, Finding{Detail: fmt.Sprintf("%d requests in a burst, none answered 429, which is declared", most)})
		}
	}
}

// burst sends the same call from eight sides until it is answered 429.
func (r *run) burst(ctx context.Context, c call, most int) (limited *answer, sent int, took time.Duration) {
	var wg sync.WaitGroup
	var n, failed atomic.Int64
	var hit atomic.Pointer[answer]
	begin := time.Now()
	for range 8 {
		wg.Go(func() {
			for n.Add(1) <= int64(most) && hit.Load() == nil {
				switch a := r.once(ctx, c); {
				case a.err != nil:
					failed.Add(1)
					return
				case a.status == http.StatusTooManyRequests:
					hit.Store(a)
				}
			}
		})
	}
	wg.Wait()
	return hit.Load(), int(min(n.Load(), int64(most))) - int(failed.Load()), time.Since(begin)
}
