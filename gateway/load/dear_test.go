package load_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/gateway/load"
)

// Whose requests take long is held to few places only beside others for whom the
// same would not take long, and only where the others may need the rest.
func TestWhoIsDear(t *testing.T) {
	const service = 50 * time.Millisecond
	many := func(n int, s *source) (all []*source) {
		for i := range n {
			all = append(all, &source{name: fmt.Sprint(s.name, i), op: s.op, rate: s.rate, time: s.time, varies: s.varies})
		}
		return all
	}
	for name, c := range map[string]struct {
		slots   int
		sources []*source
		limited bool // callers named dear are
	}{
		"an operation that is slow for all":      {40, append(many(10, &source{name: "c", op: "GET /a", rate: 6, time: service}), many(5, &source{name: "dear", op: "GET /slow", rate: 1, time: 50 * service})...), false},
		"nobody else is there":                   {40, many(1, &source{name: "dear", op: "GET /a", rate: 8, time: 50 * service}), false},
		"times that vary by themselves":          {60, many(10, &source{name: "dear", op: "GET /a", rate: 6, time: service, varies: true}), false},
		"everybody is slow, for want of room":    {4, many(20, &source{name: "dear", op: "GET /a", rate: 8, time: service}), false},
		"one at a time":                          {40, append(many(10, &source{name: "c", op: "GET /a", rate: 6, time: service}), many(1, &source{name: "dear", op: "GET /a", rate: .04, time: 50 * service})...), false},
		"fifty times as long as the others":      {16, append(many(20, &source{name: "c", op: "GET /a", rate: 6, time: service}), many(1, &source{name: "dear", op: "GET /a", rate: 6, time: 50 * service})...), true},
		"three of them, each within a fair part": {16, append(many(20, &source{name: "c", op: "GET /a", rate: 6, time: service}), many(3, &source{name: "dear", op: "GET /a", rate: 2, time: 50 * service})...), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := load.New(nil)
				g.Set(load.Settings{Adaptive: true, Queue: 512})
				if name != "nobody else is there" { // what is usual is known
					run(g, newSlots(c.slots), 10*time.Second, false, many(10, &source{name: "early", op: "GET /a", rate: 6, time: service})...)
					time.Sleep(20 * time.Second)
				}
				run(g, newSlots(c.slots), 40*time.Second, false, c.sources...)
				for _, s := range c.sources {
					dear := s.name[0] == 'd'
					if n := s.refused["load.dear"]; n > 0 != (dear && c.limited) {
						t.Errorf("%s: %d served, refused %v", s.name, len(s.served), s.refused)
					}
					if len(s.served) == 0 {
						t.Errorf("%s was shut out: %v", s.name, s.refused)
					}
				}
			})
		})
	}
}
