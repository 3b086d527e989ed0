package inventory_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

// traffic is what a gateway under load publishes: 270 operations, 200
// principals, a dozen kept headers, one body in 64 sampled.
func traffic(events, each int) []sallyport.Event {
	shape := &sallyport.Shape{}
	for i := range 25 {
		shape.Response = append(shape.Response, sallyport.Typed{Pointer: fmt.Sprintf("/data/*/property_%d", i), Type: "string"})
	}
	var out []sallyport.Event
	n := 0
	for range events {
		e := sallyport.Event{}
		for range each {
			n++
			e.Exchanges = append(e.Exchanges, exchange(n, func(x *sallyport.Exchange) {
				x.Template = fmt.Sprintf("/v1/resources_%d/{id}/parts", n%270)
				x.Path = fmt.Sprintf("/v1/resources_%d/%d/parts", n%270, n)
				x.Principal = user(n % 200)
				x.Client = x.Client.Unmap()
				for h := range 6 {
					x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: fmt.Sprintf("X-Header-%d", h), Value: "some value of a header"})
					x.ResponseHeader = append(x.ResponseHeader, sallyport.Field{Name: fmt.Sprintf("X-Header-%d", h), Value: "some value of a header"})
				}
				x.Redacted = true
				if n%64 == 0 {
					x.Shape = shape
					x.Classes = []sallyport.DataClass{{Class: "email", Place: sallyport.Place{In: sallyport.InBody, Name: "/data/*/email"}, Response: true}}
				}
			}))
		}
		out = append(out, e)
	}
	return out
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCount counts what already waits in the stream, stream and database
// in the same process.
func BenchmarkCount(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			const events, each = 1600, 128
			for b.Loop() {
				b.StopTimer()
				o := store.Options{Dir: b.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
				rand.Read(o.Key)
				if kind == "postgres" {
					o.DatabaseURL = postgres.Database(b)
				}
				s := openStore(b, o)
				v := openInventory(b, s, inventory.Options{Pace: 400 * time.Millisecond})
				var seq uint64
				for _, e := range traffic(events, each) {
					seq = publish(b, s, sallyport.SubjectExchange, e)
				}
				b.StartTimer()
				before, begin := cpu(), time.Now()
				count(b, v, seq)
				took, used := time.Since(begin), cpu()-before
				b.ReportMetric(float64(events*each)/took.Seconds(), "exchanges/s")
				b.ReportMetric(float64(used.Nanoseconds())/float64(events*each), "cpu-ns/exchange")
				b.StopTimer()
				_ = s.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDecode is the part of it that reading the events takes.
func BenchmarkDecode(b *testing.B) {
	data, err := traffic(1, 128)[0].MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var e sallyport.Event
		if err := e.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
}

// BenchmarkList lists among 100,000 operations.
func BenchmarkList(b *testing.B) {
	o := store.Options{Dir: b.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
	rand.Read(o.Key)
	s := openStore(b, o)
	v := openInventory(b, s, inventory.Options{})
	var ops []sallyport.Operation
	for i := range 100_000 {
		ops = append(ops, sallyport.Operation{API: "shop", Method: "GET", Template: fmt.Sprintf("/r%d/s%d/{id}", i%317, i), Name: fmt.Sprintf("op%d", i), Declared: true})
	}
	if err := v.Declare(b.Context(), shop, ops); err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]inventory.Filter{
		"first page": {API: "shop"}, "by requests": {API: "shop", Sort: inventory.ByRequests}, "text": {Text: "s99999/"}, "last page": {API: "shop", Reverse: true}, "shadow": {Shadow: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Operations(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("apis", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := v.Declare(b.Context(), sallyport.API{Name: "other", Path: fmt.Sprint(b.N, time.Now())}, nil); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if _, err := v.APIs(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkVisible is the time from the publication of the first request to a
// shadow operation until it stands in the list, with discovery in between.
func BenchmarkVisible(b *testing.B) {
	o := store.Options{Dir: b.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
	rand.Read(o.Key)
	s := openStore(b, o)
	v := openInventory(b, s, inventory.Options{Pace: 400 * time.Millisecond})
	d, err := discovery.Open(b.Context(), s, discovery.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 2)
	go func() { done <- v.Run(ctx) }()
	go func() { done <- d.Run(ctx) }()
	notices := v.Watch(ctx)
	n, worst := 0, time.Duration(0)
	for b.Loop() {
		n++
		word := string([]byte{byte(97 + n%26), byte(97 + n/26%26)})
		path := "/new" + word + "/things" + word
		begin := time.Now()
		publish(b, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{exchange(n, func(x *sallyport.Exchange) { x.Declared, x.Template, x.Path = false, "", path })}})
		for {
			if _, err := v.Operation(b.Context(), "shop", "GET "+path); err == nil {
				break
			}
			<-notices
		}
		worst = max(worst, time.Since(begin))
	}
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
	cancel()
	<-done
	<-done
}
