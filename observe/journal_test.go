package observe_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func onEach(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openStore(t)) })
	t.Run("postgres", func(t *testing.T) {
		test(t, openStore(t, func(o *store.Options) { o.DatabaseURL = postgres.Database(t) }))
	})
}

func openJournal(t testing.TB, s *store.Store, o observe.JournalOptions) (j *observe.Journal, stop func()) {
	t.Helper()
	j, err := observe.OpenJournal(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := j.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run journal: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return j, stop
}

// refused is an exchange that was turned away.
func refused(stage sallyport.Stage, rule string, status int) func(*sallyport.Exchange) {
	return func(x *sallyport.Exchange) {
		x.Status, x.Origin = status, 0
		x.Decision = sallyport.Decision{Action: sallyport.ActionRefuse, Stage: stage, Status: status, Program: "p1",
			Reasons: []sallyport.Reason{{Stage: stage, Rule: rule, Place: sallyport.Place{In: sallyport.InQuery, Name: "q"}, Mode: sallyport.Enforce}}}
		if status == 429 {
			x.Decision.Action = sallyport.ActionThrottle
		}
	}
}

func publish(t testing.TB, s *store.Store, exchanges ...*sallyport.Exchange) {
	t.Helper()
	var e sallyport.Event
	for _, x := range exchanges {
		observe.Redact(x)
		e.Exchanges = append(e.Exchanges, *x)
	}
	data, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stream().Publish(t.Context(), sallyport.SubjectExchange, "", data); err != nil {
		t.Fatal(err)
	}
}

func TestJournalFinds(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		bad := []*sallyport.Exchange{
			exchange(refused("validate", "schema.type", 400)),
			exchange(refused("inspect", "sqli.tautology", 403), func(x *sallyport.Exchange) { x.Client = netip.MustParseAddr("198.51.100.77") }),
			exchange(refused("limit", "rate.client", 429), func(x *sallyport.Exchange) { x.API = "orders" }),
			exchange(refused("authenticate", "token.expired", 401), func(x *sallyport.Exchange) { x.Principal = sallyport.Principal{} }),
		}
		flagged := exchange(func(x *sallyport.Exchange) {
			x.Decision.Reasons = []sallyport.Reason{{Stage: "inspect", Rule: "sqli.union", Mode: sallyport.Observe}}
		})
		good := exchange()
		all := append(slices.Clone(bad), flagged, good)

		// First with everything in memory, then by the table alone.
		for lap, ring := range []int{100, 1} {
			j, stop := openJournal(t, s, observe.JournalOptions{SampleOne: 1, Ring: ring})
			if lap == 0 {
				publish(t, s, all...)
			} else {
				publish(t, s, exchange(func(x *sallyport.Exchange) { x.API = "other"; x.Path = "/x" }))
			}
			eventually(t, "consumed", func() bool { return j.Rates(time.Minute).Total > 0 })

			yes, no := true, false
			for _, c := range []struct {
				name   string
				filter observe.Filter
				want   []*sallyport.Exchange
			}{
				{"api", observe.Filter{API: "orders"}, []*sallyport.Exchange{bad[2]}},
				{"stage", observe.Filter{Stage: "inspect"}, []*sallyport.Exchange{flagged, bad[1]}},
				{"rule", observe.Filter{Rule: "schema.type"}, []*sallyport.Exchange{bad[0]}},
				{"rules that begin alike", observe.Filter{Rule: "sqli.*"}, []*sallyport.Exchange{flagged, bad[1]}},
				{"a rule that is only a beginning", observe.Filter{Rule: "sqli"}, nil},
				{"a rule that looks like a pattern", observe.Filter{Rule: "sql_.%"}, nil},
				{"action", observe.Filter{Action: sallyport.ActionThrottle}, []*sallyport.Exchange{bad[2]}},
				{"status", observe.Filter{Status: 401}, []*sallyport.Exchange{bad[3]}},
				{"class of status", observe.Filter{Status: 4, API: "payments"}, []*sallyport.Exchange{bad[3], bad[1], bad[0]}},
				{"principal", observe.Filter{Principal: "anonymous"}, []*sallyport.Exchange{bad[3]}},
				{"client", observe.Filter{Client: "198.51.100.77"}, []*sallyport.Exchange{bad[1]}},
				{"clients", observe.Filter{Client: "198.51.96.0/20"}, []*sallyport.Exchange{bad[1]}},
				{"plain", observe.Filter{Plain: &yes, API: "payments"}, []*sallyport.Exchange{good}},
				{"not plain", observe.Filter{Plain: &no, Operation: "GET /payments/{id}/refunds"}, []*sallyport.Exchange{flagged, bad[3], bad[2], bad[1], bad[0]}},
				{"nobody", observe.Filter{Principal: "x'; DROP TABLE decision --\x00"}, nil},
				{"until", observe.Filter{Until: bad[0].Time.Add(-time.Millisecond)}, nil},
			} {
				p, err := j.List(t.Context(), c.filter)
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				var got, want []string
				for _, x := range p.Exchanges {
					got = append(got, x.ID)
				}
				for _, x := range c.want {
					want = append(want, x.ID)
				}
				if !slices.Equal(got, want) || p.Next != "" {
					t.Errorf("lap %d, %s: got %v (next %q), want %v", lap, c.name, got, p.Next, want)
				}
			}
			// Pages of two, joined, are the whole.
			var paged []string
			f := observe.Filter{API: "payments", Limit: 2}
			for {
				p, err := j.List(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range p.Exchanges {
					paged = append(paged, x.ID)
				}
				if f.Before = p.Next; p.Next == "" {
					break
				}
			}
			if want := []string{good.ID, flagged.ID, bad[3].ID, bad[1].ID, bad[0].ID}; !slices.Equal(paged, want) {
				t.Errorf("lap %d: pages give %v, want %v", lap, paged, want)
			}
			x, err := j.Find(t.Context(), bad[1].ID)
			if err != nil || x.Decision.Reasons[0].Rule != "sqli.tautology" || x.Time.Sub(bad[1].Time).Abs() > time.Microsecond {
				t.Errorf("lap %d: find: %+v, %v", lap, x, err)
			}
			if _, err := j.Find(t.Context(), "nothing"); !errors.Is(err, sallyport.NotFound) {
				t.Errorf("lap %d: find nothing: %v", lap, err)
			}
			for _, f := range []observe.Filter{{Client: "x"}, {Status: 77}} {
				if _, err := j.List(t.Context(), f); !errors.Is(err, sallyport.Invalid) {
					t.Errorf("lap %d: %+v: %v", lap, f, err)
				}
			}
			stop()
		}
	})
}

func TestJournalSamplesPlainAllows(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		j, stop := openJournal(t, s, observe.JournalOptions{SampleOne: 10, Ring: 1})
		for range 20 {
			var batch []*sallyport.Exchange
			for range 100 {
				batch = append(batch, exchange())
			}
			publish(t, s, batch...)
		}
		publish(t, s, exchange(refused("inspect", "xss.script", 403)))
		eventually(t, "consumed", func() bool { return j.Rates(time.Minute).Total == 2001 })
		stop() // what memory has seen and the table does not have yet goes there
		kept := 0
		for f := (observe.Filter{Limit: 1000}); ; {
			p, err := j.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			kept += len(p.Exchanges)
			if f.Before = p.Next; p.Next == "" {
				break
			}
		}
		if kept < 120 || kept > 300 { // 200 of 2000, give and take
			t.Errorf("%d kept of 2000 plain allows at one in ten", kept)
		}
	})
}

func TestTail(t *testing.T) {
	s := openStore(t)
	j, _ := openJournal(t, s, observe.JournalOptions{TailBuffer: 8})
	ctx, cancel := context.WithCancel(t.Context())
	quick := j.Tail(ctx, observe.Filter{Action: sallyport.ActionRefuse})
	slow := j.Tail(ctx, observe.Filter{})
	if _, open := <-j.Tail(ctx, observe.Filter{Client: "nonsense"}); open {
		t.Error("a filter that List refuses is followed")
	}
	first := exchange(refused("inspect", "sqli.union", 403))
	publish(t, s, exchange(), first, exchange())
	if live := <-quick; live.Exchange.ID != first.ID || live.Lost != 0 {
		t.Errorf("got %+v, want %s", live, first.ID)
	}
	for range 30 {
		publish(t, s, exchange())
	}
	eventually(t, "consumed", func() bool { return j.Rates(time.Minute).Total == 33 })
	for range 8 {
		if live := <-slow; live.Lost != 0 {
			t.Errorf("lost %d before the buffer was full", live.Lost)
		}
	}
	publish(t, s, exchange())
	if live := <-slow; live.Lost != 25 {
		t.Errorf("a slow subscriber is told it lost %d, want 25", live.Lost)
	}
	cancel()
	if _, open := <-slow; open {
		t.Error("the channel stays open after its context ended")
	}
}

func TestRates(t *testing.T) {
	s := openStore(t)
	j, _ := openJournal(t, s, observe.JournalOptions{})
	var batch []*sallyport.Exchange
	for range 5 {
		batch = append(batch, exchange(), exchange(refused("inspect", "sqli.union", 403)))
	}
	batch = append(batch, exchange(func(x *sallyport.Exchange) { x.Status = 502 }),
		exchange(func(x *sallyport.Exchange) { x.Time = x.Time.Add(-10 * time.Minute) }))
	publish(t, s, batch...)
	eventually(t, "consumed", func() bool { return j.Rates(time.Minute).Total == 12 })
	for _, c := range []struct {
		span           time.Duration
		step           time.Duration
		allowed, wrong uint64
	}{{4 * time.Minute, time.Second, 6, 1}, {time.Hour, time.Minute, 7, 1}} {
		r := j.Rates(c.span)
		var allowed, refused, wrong uint64
		for _, p := range r.Points {
			if p.Action == sallyport.ActionAllow {
				allowed += p.Count
			} else {
				refused += p.Count
			}
			wrong += p.Errors
		}
		if r.Step != c.step || allowed != c.allowed || refused != 5 || wrong != c.wrong {
			t.Errorf("%v: step %v, %d allowed, %d refused, %d errors; want %+v", c.span, r.Step, allowed, refused, wrong, c)
		}
		if len(r.Reasons) != 1 || r.Reasons[0].Rule != "sqli.union" || r.Reasons[0].Count != 5 {
			t.Errorf("%v: reasons %+v", c.span, r.Reasons)
		}
	}
}

func TestJournalPassesOverWhatItCannotRead(t *testing.T) {
	s := openStore(t)
	j, _ := openJournal(t, s, observe.JournalOptions{Logger: slog.New(slog.DiscardHandler)})
	if _, err := s.Stream().Publish(t.Context(), sallyport.SubjectExchange, "", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	publish(t, s, exchange())
	eventually(t, "the good one", func() bool { return j.Rates(time.Minute).Total == 1 })
}

func TestJournalCountsOnceOverRestarts(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		ids := map[string]bool{}
		for range 3 {
			_, stop := openJournal(t, s, observe.JournalOptions{})
			for range 20 {
				x := exchange(refused("inspect", "sqli.union", 403))
				ids[x.ID] = true
				publish(t, s, x)
			}
			stop()
		}
		j, stop := openJournal(t, s, observe.JournalOptions{Ring: 1})
		eventually(t, "all known", func() bool {
			p, err := j.List(t.Context(), observe.Filter{Limit: 1000})
			return err == nil && len(p.Exchanges) == len(ids)
		})
		stop() // the table follows memory at a pace, and at the end
		n, err := s.Reader().NewSelect().Table("decision").Count(t.Context())
		if err != nil || n != 60 {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}
