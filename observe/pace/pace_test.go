package pace_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe/pace"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

func openStore(t *testing.T, dir, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(dir, "data"), Key: make([]byte, 32), DatabaseURL: database, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func exchange(at time.Time, who string, origin int) sallyport.Exchange {
	x := sallyport.Exchange{ID: "01", Time: at, API: "shop", Method: "GET", Template: "/items/{id}", Status: 200, Origin: origin, Redacted: true,
		Client: netip.MustParseAddr("192.0.2.1")}
	if who != "" {
		x.Principal = sallyport.Principal{Kind: "key", Subject: who}
	}
	return x
}

// A hundred callers ask three times a minute, one asks sixty times: the
// suggestion follows the hundred, says how far the one is beyond it, and counts
// no request that was turned away.
func TestSuggestionsFollowTheCallers(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { follows(t, "") })
	t.Run("postgres", func(t *testing.T) { follows(t, postgres.Database(t)) })
}

func follows(t *testing.T, database string) {
	dir := t.TempDir()
	s := openStore(t, dir, database)
	defer func() { s.Close() }()
	start := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	now := start.Add(time.Hour)
	o := pace.Options{Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)}
	b, err := pace.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	run := func(b *pace.Book) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	stop := run(b)
	for m := range 60 {
		at := start.Add(time.Duration(m) * time.Minute)
		var e sallyport.Event
		for who := range 100 {
			for range 3 {
				e.Exchanges = append(e.Exchanges, exchange(at, fmt.Sprint("u", who), 200))
			}
			e.Exchanges = append(e.Exchanges, exchange(at, fmt.Sprint("u", who), 0)) // refused
		}
		if m < 3 {
			for range 60 {
				e.Exchanges = append(e.Exchanges, exchange(at, "", 200))
			}
		}
		data, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stream().Publish(t.Context(), sallyport.SubjectExchange, fmt.Sprint(m), data); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list := b.Suggestions("", 10)
		if len(list) == 1 && list[0].Samples > 5800 { // the last two minutes are open
			break
		}
		if time.Now().After(end) {
			t.Fatalf("learned %+v", list)
		}
	}
	stop() // closes what is open, and writes
	want := func(b *pace.Book) {
		t.Helper()
		list := b.Suggestions("shop", 10)
		if len(list) != 1 {
			t.Fatalf("%d operations", len(list))
		}
		x := list[0]
		if x.Operation != "GET /items/{id}" || x.Samples != 6003 || x.Requests != 100*3*60+3*60 || x.P50 != 3 || x.P99 != 3 || x.P999 != 3 || x.Max != 60 || x.Suggested != 6 || !x.Since.Equal(start) {
			t.Errorf("%+v", x)
		}
		if share := 3.0 / 6003; x.Beyond < share*0.99 || x.Beyond > share*1.01 {
			t.Errorf("%g of the samples are beyond, want %g", x.Beyond, share)
		}
		if got := fmt.Sprint(x.Buckets); got != "[{4 6000} {64 3}]" {
			t.Errorf("buckets %s", got)
		}
		if other := b.Suggestions("other", 10); len(other) != 0 {
			t.Errorf("another API: %+v", other)
		}
	}
	want(b)
	s.Close()
	s = openStore(t, dir, database)
	b, err = pace.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	want(b)
	// Two weeks later nothing is left of it.
	now = now.Add(15 * 24 * time.Hour)
	stop = run(b)
	stop()
	if list := b.Suggestions("", 10); len(list) != 0 {
		t.Errorf("after two weeks of silence: %+v", list)
	}
}

func TestLittleIsNotEnough(t *testing.T) {
	s := openStore(t, t.TempDir(), "")
	defer s.Close()
	start := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	b, err := pace.Open(t.Context(), s, pace.Options{Now: func() time.Time { return start.Add(time.Hour) }, MaxOperations: 2, MaxCallers: 5})
	if err != nil {
		t.Fatal(err)
	}
	var list []sallyport.Exchange
	for m := range 10 {
		for who := range 9 {
			x := exchange(start.Add(time.Duration(m)*time.Minute), fmt.Sprint(who), 200)
			x.Template = fmt.Sprintf("/%d", who%3)
			list = append(list, x)
		}
	}
	late := exchange(start, "late", 200)
	late.Template = "/0"
	b.Learn(append(list, late))
	got := b.Suggestions("", 1)
	if len(got) != 1 || got[0].Suggested != 0 || got[0].Samples == 0 {
		t.Errorf("%+v", got)
	}
	if n := b.Beyond(); n != 3*10+10+1 { // a third operation; six callers where five are kept; one too late
		t.Errorf("%d are beyond the bounds", n)
	}
}

func BenchmarkLearn(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Dir: b.TempDir(), Key: make([]byte, 32), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	book, err := pace.Open(b.Context(), s, pace.Options{})
	if err != nil {
		b.Fatal(err)
	}
	list := make([]sallyport.Exchange, 128)
	for i := range list {
		list[i] = exchange(time.Now(), fmt.Sprint("u", i%40), 200)
	}
	b.ReportAllocs()
	for b.Loop() {
		book.Learn(list)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
}
