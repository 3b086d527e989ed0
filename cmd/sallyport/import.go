package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/har"
	"sallyport.dev/adapter/pcap"
	"sallyport.dev/discovery"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
)

type importCmd struct {
	Paths   []string `arg:"" optional:"" name:"file" help:"Files, or directories with them."`
	Config  string   `short:"c" default:"sallyport.yaml" help:"Configuration file: whose inventory, and which APIs there are."`
	Format  string   `placeholder:"FORMAT" help:"Format of access logs, a name or a format string. Default found by looking."`
	Zone    string   `placeholder:"ZONE" help:"Time zone of lines whose times have none. Default UTC."`
	Host    string   `placeholder:"HOST" help:"Host of lines that name none."`
	TLS     bool     `help:"The door spoke TLS, where lines do not say."`
	Port    []int    `placeholder:"PORT" help:"Ports of the servers in packet captures. Default all that speak HTTP."`
	Dry     bool     `help:"Read and count; keep nothing."`
	Strict  bool     `help:"Exit 1 too when a line could not be read."`
	Quiet   bool     `short:"q" help:"No progress."`
	Formats bool     `help:"List the formats that have names."`
}

// Help says what kong does not know.
func (importCmd) Help() string {
	return `The format of each file is found by looking. The inventory is that of the
configuration; while sallyport runs with it, give the file under sources:.
A file that was imported before goes on behind its last line.

Exit codes: 0 every file was read · 1 a file could not be read, or with
--strict a line · 2 wrong command line or configuration.`
}

// Run imports files into the inventory.
func (k importCmd) Run(ctx context.Context, s streams) error {
	if k.Formats {
		for _, n := range accesslog.Names() {
			fmt.Fprintln(s.out, n)
		}
		return nil
	}
	if len(k.Paths) == 0 {
		return fmt.Errorf("%w: which files? sallyport import FILE|DIR...", errConfig)
	}
	conf := &sourceConfig{File: "-", Format: k.Format, Zone: k.Zone, Host: k.Host, TLS: k.TLS, Once: true}
	if _, err := conf.zone(); err != nil {
		return fmt.Errorf("%w: --zone: %q is no time zone, such as Europe/Berlin", errConfig, k.Zone)
	}
	if k.Format != "" {
		if _, err := accesslog.Compile(k.Format, nil); err != nil {
			return fmt.Errorf("%w: --format: %v", errConfig, err)
		}
	}
	files, err := filesUnder(k.Paths)
	if err != nil {
		return err
	}
	cfg, err := readConfig(k.Config)
	if err != nil {
		return err
	}
	c, err := compile(ctx, cfg, lasting{keys: &providers{}})
	if err != nil {
		return err
	}
	p, err := newPlacer(cfg, c)
	if err != nil {
		return err
	}
	in := &importing{importCmd: k, streams: s, conf: conf, placer: p}
	if k.Dry {
		in.run = func(ctx context.Context, source observe.Source) error {
			return source.Run(ctx, func(*sallyport.Exchange) error { return nil })
		}
		return in.all(ctx, files)
	}
	syscall.Umask(0o077)
	e := &engine{cfg: cfg, out: s.out, started: time.Now(), log: newLog("warn", s.errs)}
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("%w (while sallyport runs, give the file under sources:)", err)
	}
	defer e.store.Close()
	return in.into(ctx, e, c, files)
}

// filesUnder lists the files of directories, in order.
func filesUnder(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() || path == p && !d.IsDir() {
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no file")
	}
	return out, nil
}

// importing is one run of the command.
type importing struct {
	importCmd
	streams
	conf   *sourceConfig
	placer *placer
	run    func(context.Context, observe.Source) error
}

// into starts what makes an inventory of exchanges, and ends it when all of them
// are counted.
func (in *importing) into(ctx context.Context, e *engine, c *compiled, files []string) (err error) {
	if e.inventory, err = inventory.Open(ctx, e.store, inventory.Options{MaxAge: e.cfg.Retention.Inventory, Logger: e.log}); err != nil {
		return err
	}
	if e.discovery, err = discovery.Open(ctx, e.store, discovery.Options{Logger: e.log}); err != nil {
		return err
	}
	if err := e.declare(ctx, c); err != nil {
		return err
	}
	behind, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{e.inventory.Run, e.discovery.Run} {
		wg.Go(func() { _ = run(behind) }) // it ends when behind does
	}
	defer func() {
		end()
		wg.Wait()
	}()
	intake := &observe.Intake{Stream: e.store.Stream(), Dir: filepath.Join(e.cfg.Data, "sources"), Logger: slog.New(e.log.Handler())}
	in.run = intake.Run
	err = in.all(ctx, files)
	if cerr := e.counted(behind, !in.Quiet); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return err
}

// counted waits until discovery and inventory have taken everything, sightings
// that are still to come included.
func (e *engine) counted(ctx context.Context, say bool) error {
	calm := 0
	for wait, last := 0, uint64(0); calm < 3; wait++ {
		s, err := e.store.Stream().Stats(ctx)
		if err != nil {
			return err
		}
		behind := uint64(0)
		for _, name := range []string{"inventory", "discovery"} {
			behind = max(behind, s.Consumers[name].Lag)
			if why := s.Consumers[name].Error; why != "" {
				return fmt.Errorf("%s: %s", name, why)
			}
		}
		if behind == 0 && s.Last == last {
			calm++
		} else {
			calm = 0
		}
		if last = s.Last; wait > 0 && wait%20 == 0 && behind > 0 && say {
			fmt.Fprintf(e.out, "counting: %d batches to go\n", behind)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// all reads the files one after another and prints what became of them.
func (in *importing) all(ctx context.Context, files []string) error {
	var read, emitted, bad uint64
	failed, began := 0, time.Now()
	for _, path := range files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		source, err := in.open(path)
		if err == nil {
			err = in.run(ctx, source)
		}
		if err != nil {
			failed++
			fmt.Fprintf(in.out, "%s: %v\n", path, err)
			if source == nil {
				continue
			}
		}
		h := source.Health()
		read, emitted, bad = read+h.Read, emitted+h.Emitted, bad+h.Bad
		if h.Format == "" {
			h.Format = "empty"
		}
		fmt.Fprintf(in.out, "%s: %s, %d read, %d exchanges, %d bad\n", path, h.Format, h.Read, h.Emitted, h.Bad)
		if h.FirstBad != "" {
			fmt.Fprintf(in.out, "  first bad: %s\n", h.FirstBad)
		}
		if h.Lost > 0 {
			fmt.Fprintf(in.out, "  missing: %d\n", h.Lost)
		}
		if h.Notice != "" {
			fmt.Fprintf(in.out, "  note: %s\n", h.Notice)
		}
	}
	fmt.Fprintf(in.out, "%d files, %d read, %d exchanges, %d bad\n", len(files), read, emitted, bad)
	if !in.Quiet {
		fmt.Fprintf(in.errs, "took %s\n", time.Since(began).Round(time.Millisecond))
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d files could not be read", failed, len(files))
	case in.Strict && bad > 0:
		return fmt.Errorf("%d could not be read", bad)
	}
	return nil
}

// open finds out by looking what a file is.
func (in *importing) open(path string) (observe.Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	head, err := beginning(abs)
	if err != nil {
		return nil, err
	}
	if in.Format == "" && har.Looks(head) {
		return &har.File{Path: abs, Entry: in.placer.enter}, nil
	}
	if in.Format == "" && pcap.Looks(head) {
		return &pcap.File{Path: abs, Ports: in.Port, Entry: in.placer.enter}, nil
	}
	zone, _ := in.conf.zone()
	f := &accesslog.File{Path: abs, Format: in.conf.format(), Zone: zone, Host: in.Host, TLS: in.TLS, Entry: in.placer.enter}
	if !in.Quiet {
		f.Progress = func(n int64) {
			if n%(64<<20) < 1<<20 && n > 64<<20 {
				fmt.Fprintf(in.errs, "%s: %d of %d MiB\n", path, n>>20, info.Size()>>20)
			}
		}
	}
	return f, nil
}

// beginning is the first few bytes of a file, decompressed.
func beginning(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 4096)
	head, _ := r.Peek(512)
	if len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b {
		if z, err := gzip.NewReader(r); err == nil {
			b := make([]byte, 512)
			n, _ := z.Read(b)
			return b[:n], nil
		}
	}
	return head, nil
}
