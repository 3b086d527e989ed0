// Command soak keeps sallyport under even load and watches its memory and
// descriptors. In come a binary and a number of minutes; out goes a row a
// minute and, at the end, idle memory and the slope over the second half. Exit
// code 1 means that memory is over its bound or grows.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/test/lab/door"
)

const idleMiB = 150 // promised

func main() {
	binary := flag.String("sallyport", "bin/sallyport", "the binary to watch")
	minutes := flag.Int("minutes", 60, "how long")
	rate := flag.Int("rate", 2000, "requests a second")
	dir := flag.String("dir", ".cache/soak", "folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *binary, *dir, *minutes, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, dir string, minutes, rate int) error {
	d, err := door.New(ctx, binary, dir, "test/bench/shop.openapi.yaml")
	if err != nil {
		return err
	}
	if _, err := d.Start(ctx); err != nil {
		return err
	}
	defer d.Stop()
	time.Sleep(10 * time.Second)
	idle, descriptors := d.Process()
	fmt.Printf("idle: %.0f MiB resident, %d descriptors\n", idle, descriptors)
	var asked, failed atomic.Int64
	ctx, cancel := context.WithTimeout(ctx, time.Duration(minutes)*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	const clients = 16
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	for range clients {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * clients / time.Duration(rate))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				res, err := client.Do(d.Request(ctx))
				if err != nil {
					if ctx.Err() == nil {
						failed.Add(1)
					}
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				asked.Add(1)
				if res.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	var samples []float64
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			mib, n := d.Process()
			samples = append(samples, mib)
			if len(samples)%6 == 0 {
				fmt.Printf("minute %3d: %.0f MiB resident, %d descriptors, %d requests, %d failed\n", len(samples)/6, mib, n, asked.Load(), failed.Load())
			}
		}
	}
	wg.Wait()
	late := samples[len(samples)/2:]
	perHour := slope(late) * 360
	fmt.Printf("second half: %.0f MiB at its start, %.0f at its end, slope %+.1f MiB an hour; %d of %d requests failed\n", late[0], late[len(late)-1], perHour, failed.Load(), asked.Load())
	switch {
	case idle > idleMiB:
		return fmt.Errorf("idle memory is %.0f MiB, promised are %d", idle, idleMiB)
	case minutes >= 20 && perHour > 20:
		return fmt.Errorf("memory grows by %.0f MiB an hour", perHour)
	case failed.Load() > 0:
		return fmt.Errorf("%d requests failed", failed.Load())
	}
	return nil
}

// slope is the least-squares slope of y over its index.
func slope(y []float64) float64 {
	n := float64(len(y))
	var sx, sy, sxx, sxy float64
	for i, v := range y {
		x := float64(i)
		sx, sy, sxx, sxy = sx+x, sy+v, sxx+x*x, sxy+x*v
	}
	if d := n*sxx - sx*sx; d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
