package observe_test

import (
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

func BenchmarkRedact(b *testing.B) {
	pool := make([]*sallyport.Exchange, 256)
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
	var data []byte
	for b.Loop() {
		var err error
		data, err = sallyport.Event{Exchanges: batch}.AppendBinary(data[:0])
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
	b.ReportMetric(float64(size)/128, "B/exchange")
}

// BenchmarkRecord is the whole way: record, redact, encode, publish to the
// embedded stream on disk, acknowledgement. cpu-ns/op is what all threads of
// the process used for it.
func BenchmarkRecord(b *testing.B) {
	r := newRecorder(b, observe.RecorderOptions{Stream: openStore(b).Stream()})
	made := make([]*sallyport.Exchange, 4096)
	b.ReportAllocs()
	b.StopTimer()
	var cpu time.Duration
	for done := 0; done < b.N; {
		n := min(len(made), b.N-done)
		for k := range made[:n] {
			made[k] = exchange()
		}
		before := cpuTime()
		b.StartTimer()
		for _, x := range made[:n] {
			r.Record(x)
		}
		for c := r.Counters(); c.Queued > 0 || c.InFlight > 0; c = r.Counters() {
			time.Sleep(100 * time.Microsecond)
		}
		b.StopTimer()
		cpu += cpuTime() - before
		done += n
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	if c := r.Counters(); int(c.Acked) != b.N {
		b.Fatalf("%+v", c)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkJournal is the consumer's side: decode, keep one plain allow in a
// hundred, ring, rates.
func BenchmarkJournal(b *testing.B) {
	s := openStore(b)
	for done := 0; done < b.N; done += 128 {
		batch := make([]*sallyport.Exchange, 128)
		for i := range batch {
			batch[i] = exchange()
		}
		publish(b, s, batch...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	j, _ := openJournal(b, s, observe.JournalOptions{})
	for int(j.Rates(0).Total) < b.N {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
