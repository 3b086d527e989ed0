// Command kill ends sallyport under load with SIGKILL, again and again, and
// then counts: every record that the event stream acknowledged must be there,
// once, and once in the inventory's counts; what was lost must be within the
// bound that the process states. In comes a binary; out go the figures, and
// exit code 1 when one of them is not as promised.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
	"sallyport.dev/test/lab/door"
)

func main() {
	binary := flag.String("sallyport", "bin/sallyport", "the binary to kill")
	rounds := flag.Int("rounds", 20, "how often")
	dir := flag.String("dir", ".cache/kill", "folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *binary, *dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		os.Exit(1)
	}
}

// A tally is what the clients saw over all rounds.
type tally struct {
	mu       sync.Mutex
	answered map[string]bool // request ids that were answered
}

func run(ctx context.Context, binary, dir string, rounds int) error {
	d, err := door.New(ctx, binary, dir, "test/bench/shop.openapi.yaml")
	if err != nil {
		return err
	}
	seen := &tally{answered: map[string]bool{}}
	var slowest time.Duration
	var acked, bound float64
	for round := range rounds {
		took, err := d.Start(ctx)
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
		before := acked
		load(ctx, d, seen, func() {
			if v, err := d.Metric(ctx, "sallyport_exchanges_acknowledged_total"); err == nil {
				acked = before + v
			}
			if v, err := d.Metric(ctx, "sallyport_exchanges_at_risk_bound"); err == nil {
				bound = v
			}
		})
		fmt.Printf("round %2d: back after %4d ms, %6.0f records acknowledged so far\n", round+1, took.Milliseconds(), acked)
	}
	took, err := d.Start(ctx)
	if err != nil {
		return err
	}
	slowest = max(slowest, took)
	if err := d.Stop(); err != nil {
		return err
	}
	return judge(ctx, d, seen, rounds, slowest, acked, bound)
}

// load asks from eight clients for a while, polls the metrics, and kills in the
// middle of it.
func load(ctx context.Context, d *door.Door, seen *tally, poll func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				res, err := http.DefaultClient.Do(d.Request(ctx))
				if err != nil {
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				seen.mu.Lock()
				seen.answered[res.Header.Get("X-Request-Id")] = true
				seen.mu.Unlock()
			}
		})
	}
	for range 40 {
		time.Sleep(25 * time.Millisecond)
		poll()
	}
	d.Kill()
	cancel()
	wg.Wait()
}

func judge(ctx context.Context, d *door.Door, seen *tally, rounds int, slowest time.Duration, acked, bound float64) error {
	key, err := store.LoadKey("file:"+d.KeyFile(), d.Data())
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Dir: d.Data(), Key: key})
	if err != nil {
		return fmt.Errorf("open what the killed processes left: %w", err)
	}
	defer s.Close()
	inStream, err := ids(ctx, s)
	if err != nil {
		return err
	}
	v, err := inventory.Open(ctx, s, inventory.Options{})
	if err != nil {
		return err
	}
	detail, err := v.Operation(ctx, "shop", "GET /v1/items/{id}")
	if err != nil {
		return err
	}
	counted := int(detail.Requests)
	missing := 0
	for id := range seen.answered {
		if inStream[id] == 0 {
			missing++
		}
	}
	twice := 0
	for _, n := range inStream {
		if n > 1 {
			twice++
		}
	}
	fmt.Printf("\n%-58s %10d\n", "requests answered to clients", len(seen.answered))
	fmt.Printf("%-58s %10.0f\n", "records acknowledged before the kills (last seen)", acked)
	fmt.Printf("%-58s %10d\n", "records in the stream", len(inStream))
	fmt.Printf("%-58s %10d\n", "records twice in the stream", twice)
	fmt.Printf("%-58s %10d\n", "counted by the inventory", counted)
	fmt.Printf("%-58s %10d\n", "answered, but lost with a process", missing)
	fmt.Printf("%-58s %10.0f\n", fmt.Sprintf("stated bound of that loss, %d kills", rounds), bound*float64(rounds))
	fmt.Printf("%-58s %7d ms\n", "slowest return", slowest.Milliseconds())
	var bad []error
	if float64(len(inStream)) < acked {
		bad = append(bad, errors.New("an acknowledged record is not in the stream"))
	}
	if counted != len(inStream) {
		bad = append(bad, errors.New("the inventory's count is not the number of records in the stream"))
	}
	if float64(missing) > bound*float64(rounds) {
		bad = append(bad, errors.New("more was lost than the stated bound"))
	}
	if slowest > 2*time.Second {
		bad = append(bad, errors.New("a start took longer than 2 s"))
	}
	return errors.Join(bad...)
}

// ids reads the whole stream and counts each record's id.
func ids(ctx context.Context, s *store.Store) (map[string]int, error) {
	stats, err := s.Stream().Stats(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	ctx, done := context.WithCancel(ctx)
	defer done()
	err = s.Stream().Consume(ctx, fmt.Sprintf("lab-%d", time.Now().UnixNano()), []string{sallyport.SubjectExchange}, func(_ context.Context, messages []store.Message) error {
		for _, m := range messages {
			var e sallyport.Event
			if err := e.UnmarshalBinary(m.Data); err != nil {
				return err
			}
			for _, x := range e.Exchanges {
				if x.API == "shop" {
					out[x.ID]++
				}
			}
			if m.Seq >= stats.Last {
				done()
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return out, nil
}
