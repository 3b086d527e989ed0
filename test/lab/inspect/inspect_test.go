package main

import (
	"math"
	"strings"
	"testing"

	"sallyport.dev/guard/inspect"
)

// TestTargets runs a part of the lab: the classes whole where they are small,
// thinned where they are large, and every genuine value.
func TestTargets(t *testing.T) {
	bad, err := attacks()
	if err != nil {
		t.Fatal(err)
	}
	good, err := genuine()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(bad); n < 10_000 {
		t.Fatalf("%d payloads; want the two collections", n)
	}
	alike := 0
	for _, s := range good {
		if s.from == "look-alikes" {
			alike++
		}
	}
	if alike < 300 {
		t.Fatalf("%d look-alikes; want 300", alike)
	}
	e, err := inspect.New(inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	caught, _ := run(thin(bad, 400), engine(e))
	refused, _ := run(good, engine(e))
	var b strings.Builder
	if !table(&b, caught, refused, nil, nil, nil, nil) {
		t.Error("a target is missed")
	}
	t.Log("\n" + b.String())
}

func TestWilson(t *testing.T) {
	for _, c := range []struct {
		count
		lo, hi float64
	}{{count{0, 10}, 0, 0.2775}, {count{10, 10}, 0.7225, 1}, {count{50, 100}, 0.4038, 0.5962}} {
		lo, hi := c.wilson()
		if math.Abs(lo-c.lo) > 1e-3 || math.Abs(hi-c.hi) > 1e-3 {
			t.Errorf("%d of %d: got %.4f–%.4f, want %.4f–%.4f", c.hits, c.of, lo, hi, c.lo, c.hi)
		}
	}
}
