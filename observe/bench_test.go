package observe_test

import (
	"context"
	"testing"

	"sallyport.dev"
	"sallyport.dev/observe"
)

func BenchmarkRedact(b *testing.B) {
	pool := make([]*sallyport.Exchange, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(pool) == 0 {
			b.StopTimer()
			for k := range pool {
				pool[k] = exchange()
			}
			b.StartTimer()
		}
		observe.Redact(pool[i%len(pool)])
	}
}

func BenchmarkWant(b *testing.B) {
	r := newRecorder(b, observe.RecorderOptions{Stream: openStore(b).Stream()})
	x := exchange()
	b.ReportAllocs()
	for b.Loop() {
		r.Want(x)
	}
}

func BenchmarkEncode(b *testing.B) {
	batch := make([]sallyport.Exchange, 128)
	for i := range batch {
		x := exchange()
		observe.Redact(x)
		batch[i] = *x
	}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		data, err := sallyport.Event{Exchanges: batch}.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
	b.ReportMetric(float64(size)/128, "B/exchange")
}

// BenchmarkRecord is the whole way: record, redact, encode, publish to the
// embedded stream on disk, acknowledgement.
func BenchmarkRecord(b *testing.B) {
	r := newRecorder(b, observe.RecorderOptions{Stream: openStore(b).Stream()})
	made := make([]*sallyport.Exchange, 8192)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if i%len(made) == 0 {
			b.StopTimer()
			for k := range made {
				made[k] = exchange()
			}
			for r.Counters().Queued > 0 {
			}
			b.StartTimer()
		}
		r.Record(made[i%len(made)])
	}
	_ = r.Close(context.Background())
	b.StopTimer()
	c := r.Counters()
	if int(c.Acked) != b.N {
		b.Fatalf("%+v", c)
	}
}
