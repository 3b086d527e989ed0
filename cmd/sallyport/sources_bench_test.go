package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/discovery"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
)

// BenchmarkImport is the whole way of a line: read, placed, redacted, published,
// folded or matched, counted and committed.
func BenchmarkImport(b *testing.B) {
	for _, path := range []string{"/pets/%d", "/things/%d/parts"} { // declared, and not
		b.Run(path[1:5], func(b *testing.B) {
			dir := b.TempDir()
			spec, err := os.ReadFile(petsSpec)
			if err != nil {
				b.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, "pets.yaml"), spec, 0o600)
			os.WriteFile(filepath.Join(dir, "sallyport.yaml"), []byte("tls: \"off\"\nlisten: {gateway: \"127.0.0.1:1\"}\nkeys: file:keys/k\napis: [{name: pets, spec: pets.yaml, match: {host: pets.example.test}, upstreams: [{url: \"http://127.0.0.1:1\"}]}]\n"), 0o600)
			const lines = 300_000
			log, err := os.Create(filepath.Join(dir, "access.log"))
			if err != nil {
				b.Fatal(err)
			}
			for i := range lines {
				fmt.Fprintf(log, "10.0.%d.%d - - [%s] \"GET "+path+" HTTP/1.1\" 200 612 \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:26.0) Gecko/20100101 Firefox/26.0\"\n", i%3, i%200, time.Now().Add(-time.Hour).Add(time.Duration(i)*time.Millisecond).Format("02/Jan/2006:15:04:05 -0700"), i%1000)
			}
			log.Close()
			for b.Loop() {
				cfg, err := readConfig(filepath.Join(dir, "sallyport.yaml"))
				if err != nil {
					b.Fatal(err)
				}
				cfg.Data = b.TempDir()
				c, err := compile(b.Context(), cfg, lasting{keys: &providers{}})
				if err != nil {
					b.Fatal(err)
				}
				e := &engine{cfg: cfg, out: io.Discard, log: slog.New(slog.DiscardHandler)}
				if err := e.open(b.Context()); err != nil {
					b.Fatal(err)
				}
				e.inventory, _ = inventory.Open(b.Context(), e.store, inventory.Options{Logger: e.log})
				e.discovery, _ = discovery.Open(b.Context(), e.store, discovery.Options{Logger: e.log})
				if err := e.declare(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				p, err := newPlacer(cfg, c)
				if err != nil {
					b.Fatal(err)
				}
				ctx, end := context.WithCancel(context.Background())
				done := make(chan error, 2)
				began := time.Now()
				go func() { done <- e.inventory.Run(ctx) }()
				go func() { done <- e.discovery.Run(ctx) }()
				in := &observe.Intake{Stream: e.store.Stream(), Dir: filepath.Join(cfg.Data, "sources")}
				if err := in.Run(ctx, &accesslog.File{Path: log.Name(), Host: "pets.example.test", Entry: p.enter}); err != nil {
					b.Fatal(err)
				}
				read := time.Since(began)
				for counted := uint64(0); counted < lines; time.Sleep(5 * time.Millisecond) {
					s, err := e.inventory.Stats(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					counted = s.Counted
				}
				b.ReportMetric(lines/time.Since(began).Seconds(), "exchanges/s")
				b.ReportMetric(lines/read.Seconds(), "published/s")
				end()
				<-done
				<-done
				e.store.Close()
			}
		})
	}
}
