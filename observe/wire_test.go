package observe

import (
	"slices"
	"testing"
	"time"

	"sallyport.dev"
)

// A glance must see what decoding the whole sees, and take nothing for an event
// that is none.
func FuzzGlances(f *testing.F) {
	var e sallyport.Event
	for i, d := range []sallyport.Decision{
		{Action: sallyport.ActionAllow, Program: "p"}, {},
		{Action: sallyport.ActionRefuse, Stage: sallyport.StageInspect, Status: 403, Reasons: []sallyport.Reason{{Stage: "inspect", Rule: "sqli.union", Place: sallyport.Place{In: "query", Name: "q"}}}},
		{Action: sallyport.ActionAllow, Reasons: []sallyport.Reason{{Stage: "validate", Rule: "schema.type"}}, NotInspected: []string{"body"}},
	} {
		e.Exchanges = append(e.Exchanges, sallyport.Exchange{ID: string(rune('a' + i)), Time: time.Unix(1_790_000_000, int64(i)*123_456_000), API: "payments", Status: 200 + i*100,
			Decision: d, Redacted: true, RequestHeader: []sallyport.Field{{Name: "Accept", Value: "x"}},
			Shape: &sallyport.Shape{Request: []sallyport.Typed{{Pointer: "/a", Type: "string"}}}})
	}
	whole, err := e.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	seen := 0
	if err := glances(whole, func(g *glance, _ int) {
		x := e.Exchanges[seen]
		got, err := g.exchange()
		if err != nil || got.ID != x.ID || got.Status != x.Status {
			f.Errorf("whole of %d: %+v, %v", seen, got, err)
		}
		if g.id != x.ID || g.api != x.API || g.status != x.Status || g.action != actionOf(&x) || g.plain != Plain(&x) || g.at.Sub(x.Time).Abs() > time.Microsecond {
			f.Errorf("glance at %d: %+v", seen, g)
		}
		seen++
	}); err != nil || seen != len(e.Exchanges) {
		f.Fatalf("%d of %d, %v", seen, len(e.Exchanges), err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{0xa1, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(slices.Repeat([]byte{0x81}, 1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = glances(b, func(g *glance, _ int) {
			if len(g.raw) == 0 || len(g.raw) > len(b) {
				t.Errorf("%d bytes of %d", len(g.raw), len(b))
			}
			_, _ = g.exchange()
		})
	})
}
