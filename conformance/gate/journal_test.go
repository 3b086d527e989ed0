package gate_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/test/integration/postgres"
)

// What triggered a test, who asked and what followed is on record; so is when
// each instance is tested next, and what it is compared with.
func TestJournal(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			url := ""
			if dialect == "postgres" {
				url = postgres.Database(t)
			}
			s := openStore(t, t.TempDir(), url)
			defer s.Close()
			p, r, c := newPools("http://a", "http://b", "http://c"), &tester{bad: map[string]bool{"http://b": true}, broken: map[string]bool{"http://c": true}}, &clock{now: time.Unix(1_800_000_000, 0)}
			g, stop := start(t, s, p, r, c, nil, gate.API{Name: "shop", Every: time.Hour, Contract: "1"})
			p.is(t, "http://a", sallyport.Admitted, "passed")
			p.is(t, "http://b", sallyport.Quarantined, "failed")
			p.is(t, "http://c", sallyport.Quarantined, "connection refused")
			of := func(url string, want ...string) {
				t.Helper()
				var got []string
				for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
					list, err := g.Triggers(t.Context(), gate.Filter{API: "shop", URL: url, Limit: 50})
					if err != nil {
						t.Fatal(err)
					}
					got = got[:0]
					for _, x := range list {
						got = append(got, fmt.Sprintf("%s|%s|%s", x.What, x.Who, x.Outcome))
						if (x.Outcome == gate.Passed || x.Outcome == gate.Failed) != (x.Verdict != "") {
							t.Errorf("%+v", x)
						}
					}
					if strings.Join(got, ",") == strings.Join(want, ",") {
						return
					}
				}
				t.Errorf("%s: %v, want %v", url, got, want)
			}
			of("http://a", "new||passed")
			of("http://b", "new||failed")
			of("http://c", "new||no verdict")

			c.add(time.Second)
			if err := g.Retest("shop", "http://a", "anna: the disk was changed"); err != nil {
				t.Fatal(err)
			}
			of("http://a", "by hand|anna|passed", "new||passed")
			c.add(time.Second)
			if err := g.HoldByHand(t.Context(), "shop", "http://a", "anna: odd"); err != nil {
				t.Fatal(err)
			}
			of("http://a", "held by hand|anna|done", "by hand|anna|passed", "new||passed")
			if list, err := g.Triggers(t.Context(), gate.Filter{Who: "anna", Limit: 1}); err != nil || len(list) != 1 || list[0].Detail != "odd" {
				t.Errorf("%+v, %v", list, err)
			}

			for _, run := range g.Schedule() {
				wait := run.At.Sub(c.Now())
				switch {
				case run.URL == "http://a" && (run.Why != "held by hand" || !run.At.IsZero()),
					run.URL != "http://a" && (run.Why != "failed before" || wait < 15*time.Second || wait > 30*time.Second):
					t.Errorf("%+v, in %s", run, wait)
				}
			}
			c.add(time.Second)
			if err := g.ReleaseByHand(t.Context(), "shop", "http://a", "anna: even"); err != nil {
				t.Fatal(err)
			}
			p.is(t, "http://a", sallyport.Admitted, "passed")
			if list := g.Schedule(); len(list) != 3 || list[2].URL != "http://a" || list[2].Why != "timer" || list[2].At.Sub(c.Now()) < 50*time.Minute || list[2].At.Sub(c.Now()) > 70*time.Minute {
				t.Errorf("%+v", list)
			}

			latest, err := g.Latest(t.Context(), "shop")
			if err != nil || len(latest) != 2 || latest[0].URL != "http://a" || !latest[0].Passed || latest[1].Passed {
				t.Errorf("%+v, %v", latest, err)
			}
			if last, err := g.LastPassed(t.Context(), latest[1]); err != nil || last != nil && last.URL != "http://a" {
				t.Errorf("%+v, %v", last, err)
			}
			if none, err := g.Latest(t.Context(), "nobody"); err != nil || len(none) != 0 {
				t.Errorf("%+v, %v", none, err)
			}
			stop()
		})
	}
}

// Reports are kept small, and the oldest go when they take too much; verdicts
// and triggers go when they are old.
func TestReportsAreBounded(t *testing.T) {
	s := openStore(t, t.TempDir(), "")
	defer s.Close()
	p, c := newPools("http://a"), &clock{now: time.Unix(1_800_000_000, 0)}
	whole := []byte(`{"text":"` + strings.Repeat("a long report ", 5000) + `"}`)
	open := func(bytes int64) (*gate.Gate, func()) {
		g, err := gate.Open(t.Context(), gate.Options{Doors: p, Store: s, Now: c.Now, ReportBytes: bytes, Test: func(context.Context, gate.Subject) (gate.Outcome, error) {
			return gate.Outcome{Passed: true, Summary: "ok", Report: whole}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		g.Configure([]gate.API{{Name: "shop"}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		return g, func() { cancel(); <-done }
	}
	verdicts := func(g *gate.Gate, want int) (list []gate.Verdict) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			var err error
			if list, err = g.Verdicts(t.Context(), "shop", "", 0, 50); err != nil {
				t.Fatal(err)
			}
			if len(list) == want {
				return list
			}
		}
		t.Fatalf("%d verdicts, want %d", len(list), want)
		return nil
	}
	g, stop := open(1 << 20)
	verdicts(g, 1)
	for n := range 3 {
		p.is(t, "http://a", sallyport.Admitted, "")
		c.add(time.Minute)
		if err := g.Retest("shop", "http://a", "anna: again"); err != nil {
			t.Fatal(err)
		}
		verdicts(g, n+2)
	}
	list := verdicts(g, 4)
	if v, err := g.Verdict(t.Context(), list[0].ID); err != nil || !bytes.Equal(v.Report, whole) {
		t.Errorf("a report does not come back whole: %d bytes, %v", len(v.Report), err)
	}
	stop()
	g, stop = open(1) // none fits
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		v, err := g.Verdict(t.Context(), list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Report) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("reports beyond the bound stay")
		}
	}
	stop()
	c.add(500 * 24 * time.Hour)
	g, stop = open(1)
	defer stop()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := g.Verdict(t.Context(), list[3].ID); sallyport.KindOf(err) == sallyport.NotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("old verdicts stay")
		}
	}
	if list, err := g.Triggers(t.Context(), gate.Filter{Limit: 50}); err != nil || len(list) > 2 {
		t.Errorf("%d triggers, %v", len(list), err)
	}
}
