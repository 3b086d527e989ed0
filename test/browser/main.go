// Command browser serves the console over an invented estate: in a data
// directory that it removes at the end, with live traffic, for looking at the
// pages and for the browser test. In comes an address; out goes one line with
// the console's URL, its setup path and the URL of an API to scan. It never
// opens a gateway.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/console"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/probe"
	"sallyport.dev/incident"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
	"sallyport.dev/store"
	"sallyport.dev/test/browser/scene"
)

var past, many *int

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to serve")
	past = flag.Int("past", 3000, "invented requests of the five minutes before")
	many = flag.Int("many", 400, "invented APIs beside those that have traffic")
	perSecond := flag.Float64("rate", 40, "invented requests per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *perSecond); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, perSecond float64) error {
	dir, err := os.MkdirTemp("", "sallyport-console-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	key := make([]byte, store.KeySize)
	rand.Read(key)
	st, err := store.Open(ctx, store.Options{Dir: dir, Key: key, Logger: log})
	if err != nil {
		return err
	}
	defer st.Close()
	journal, err := observe.OpenJournal(ctx, st, observe.JournalOptions{Logger: log})
	if err != nil {
		return err
	}
	catalogue, err := inventory.Open(ctx, st, inventory.Options{Logger: log})
	if err != nil {
		return err
	}
	for _, a := range scene.APIs() {
		var ops []sallyport.Operation
		for _, c := range a.Contracts {
			ops = append(ops, c.Operation)
		}
		if err := catalogue.Declare(ctx, a.API, ops); err != nil {
			return err
		}
		if err := catalogue.Describe(ctx, a.Name, a.Contracts); err != nil {
			return err
		}
	}
	now := time.Now()
	if err := catalogue.Claim(ctx, scene.Claims(now)); err != nil {
		return err
	}
	if err := catalogue.Find(ctx, scene.Findings(now)); err != nil {
		return err
	}
	if *many > 0 {
		if err := catalogue.Claim(ctx, scene.Many(*many, now)); err != nil {
			return err
		}
		list, err := catalogue.Proposals(ctx, "proposed")
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.Path == "" {
				if err := catalogue.Decide(ctx, "portal", inventory.Decision{Name: p.Name, Action: "accept"}); err != nil {
					return err
				}
			}
		}
	}
	finder, err := discovery.Open(ctx, st, discovery.Options{Logger: log})
	if err != nil {
		return err
	}
	lessons, err := scene.NewLessons(ctx, finder)
	if err != nil {
		return err
	}
	recorder, err := observe.NewRecorder(observe.RecorderOptions{Stream: st.Stream(), Logger: log})
	if err != nil {
		return err
	}
	sealer, err := original.NewSealer(st.Stream(), key, log)
	if err != nil {
		return err
	}
	drawer, err := original.Open(ctx, st, key, original.Options{Logger: log})
	if err != nil {
		return err
	}
	record := func(x *sallyport.Exchange) {
		if o, ok := scene.Original(x); ok {
			sealer.Seal(o)
		}
		recorder.Record(x)
	}
	estate := scene.New(7, time.Now())
	estate.Take = func(ctx context.Context, r *probe.Report) error {
		return errors.Join(catalogue.Claim(ctx, r.Claims), catalogue.Find(ctx, r.Findings))
	}
	harbour := httptest.NewServer(scene.Harbour())
	defer harbour.Close()
	book, err := incident.Open(ctx, incident.Options{Store: st, Logger: log})
	if err != nil {
		return err
	}
	book.Configure(incident.Settings{Owner: func(string) sallyport.Owner {
		return sallyport.Owner{Team: "Payments", Contact: "payments@example.test", Deputy: "J. Okafor"}
	}})
	for _, n := range scene.Failures(time.Now()) {
		if _, err := book.Open(ctx, n); err != nil {
			return err
		}
	}
	door, err := scene.OpenGate(ctx, st, book)
	if err != nil {
		return err
	}
	defer door.Close()
	c, err := console.New(ctx, console.Options{
		Store: st, Key: key, Journal: journal, Originals: drawer, Inventory: catalogue, Recorder: recorder, Engine: estate, Paces: estate, Sideloads: estate, Incidents: book, Gate: door, Learning: lessons, Logger: log,
		Build:     console.Build{Version: "0.0.0", Revision: "invented estate", Go: runtime.Version(), Started: time.Now()},
		Retention: []console.Retention{{What: "Decisions", Kept: "30 days, at most 1,000,000"}},
	})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	for _, run := range []func(context.Context) error{journal.Run, drawer.Run, catalogue.Run, finder.Run, book.Run, door.Run, c.Run} {
		running.Go(func() { run(ctx) })
	}
	for i := range *past {
		record(estate.Exchange(now.Add(-time.Duration(*past-i) * 290 * time.Second / time.Duration(*past))))
		if i%2000 == 1999 {
			time.Sleep(100 * time.Millisecond) // not more at once than the recorder's queue holds
		}
	}
	if err := door.Ready(ctx); err != nil {
		return err
	}
	setup, err := c.Setup(ctx)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	cert, err := certificate()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: c.Handler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	running.Go(func() {
		for tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond)); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				record(estate.Exchange(time.Now()))
			}
		}
	})
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		server.Shutdown(end)
		recorder.Close(end)
		sealer.Close(end)
	}()
	fmt.Printf("https://%s %s %s\n", l.Addr(), setup, harbour.URL)
	if err := server.ServeTLS(l, "", ""); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// certificate makes a certificate for loopback that nobody trusts.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
