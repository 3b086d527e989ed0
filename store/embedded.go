package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	streamDir   = "stream"
	maxPayload  = 8 << 20
	watchEvery  = 500 * time.Millisecond
	measureSize = 1 << 20 // bytes published between two looks at the disk
)

// embedded runs a NATS server in the process, without a socket. A write error
// leaves JetStream's file store unusable until it is opened again, so embedded
// stops taking messages before the disk is full, and when a write failed all
// the same it starts the server again as soon as there is space.
type embedded struct {
	o    server.Options
	opts Options
	log  *slog.Logger
	dir  string

	server   *server.Server // only start, watch and stop touch it
	full     atomic.Pointer[FullError]
	suspect  atomic.Bool // a write or an answer failed: start again
	written  atomic.Int64
	restarts atomic.Uint64
	kick     chan struct{}
	quit     chan struct{}
	wg       sync.WaitGroup
}

func newEmbedded(o Options) (*embedded, error) {
	key, err := subkey(o.Key, "stream", 32)
	if err != nil {
		return nil, err
	}
	e := &embedded{opts: o, log: o.Logger, dir: o.Dir, kick: make(chan struct{}, 1), quit: make(chan struct{})}
	e.o = server.Options{
		ServerName:             "sallyport",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true, // SetLoggerV2 gives it ours
		MaxPayload:             maxPayload,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               filepath.Join(o.Dir, streamDir),
		JetStreamKey:           hex.EncodeToString(key),
		JetStreamCipher:        server.AES, // counter mode in hardware; ChaCha is not
		JetStreamMaxMemory:     16 << 20,
		JetStreamMaxStore:      1 << 50, // the stream bounds itself; a bound here would refuse one made larger before
		SyncInterval:           o.SyncInterval,
	}
	if o.SyncInterval < 0 {
		e.o.SyncInterval = time.Minute
		e.o.SyncAlways = true
	}
	return e, nil
}

// start runs the server and makes the stream.
func (e *embedded) start(ctx context.Context) (_ *link, err error) {
	defer func() {
		if err != nil {
			if IsFull(err) {
				err = &FullError{Dir: e.dir, Free: freeOr(e.dir, -1), Cause: err}
			}
			err = fmt.Errorf("start event stream: %w", err)
		}
	}()
	e.suspect.Store(false)
	o := e.o
	srv, err := server.NewServer(&o)
	if err != nil {
		return nil, err
	}
	logger := &serverLog{e: e}
	srv.SetLoggerV2(logger, false, false, false)
	srv.Start()
	halt := func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	if !srv.ReadyForConnections(10 * time.Second) {
		halt()
		return nil, errors.New("the embedded server does not become ready")
	}
	if !srv.JetStreamEnabled() {
		halt()
		return nil, fmt.Errorf("its files in %s could not be opened: %s", e.o.StoreDir, logger.last())
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv), nats.Name("sallyport"), nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		halt()
		return nil, err
	}
	l, err := newLink(nc)
	if err == nil {
		_, err = l.js.CreateOrUpdateStream(ctx, streamConfig(e.opts))
	}
	if err != nil {
		nc.Close()
		halt()
		return nil, err
	}
	e.server = srv
	return l, nil
}

// room says whether size more bytes may be written.
func (e *embedded) room(size int) error {
	if full := e.full.Load(); full != nil {
		return full
	}
	if e.written.Add(int64(size)) >= measureSize {
		e.written.Store(0)
		return e.measure()
	}
	return nil
}

// measure looks at the disk. It says once that it is full, once that it is not.
func (e *embedded) measure() error {
	if e.opts.Reserve < 0 {
		return nil
	}
	free, err := e.opts.Free(e.dir)
	if err != nil {
		return nil // not being able to look is no reason to stop
	}
	have := e.full.Load()
	switch {
	case free < e.opts.Reserve:
		full := &FullError{Dir: e.dir, Free: free, Cause: fmt.Errorf("%d bytes are kept free", e.opts.Reserve)}
		if e.full.CompareAndSwap(nil, full) {
			e.log.Error("disk is full: recording stops, guarding goes on", "dir", e.dir, "free", free, "reserve", e.opts.Reserve)
		}
		return full
	case have != nil && !e.suspect.Load() && free >= e.opts.Reserve+e.opts.Reserve/8:
		// With a failed write behind it the watcher says when it is over.
		if e.full.CompareAndSwap(have, nil) {
			e.log.Info("disk has space again: recording resumes", "dir", e.dir, "free", free)
		}
	case have != nil:
		return have
	}
	return nil
}

// failed notes that the server did not do what it was asked on l and says
// whether that is for want of space.
func (e *embedded) failed(l *link, err error) error {
	if l.ctx.Err() != nil {
		return err // noted already
	}
	if IsFull(err) {
		full := &FullError{Dir: e.dir, Free: freeOr(e.dir, -1), Cause: err}
		if e.full.CompareAndSwap(nil, full) {
			e.log.Error("disk is full: recording stops, guarding goes on", "dir", e.dir, "free", full.Free)
		}
		err = full
	}
	e.suspect.Store(true)
	select {
	case e.kick <- struct{}{}:
	default:
	}
	return err
}

// watch measures the disk and starts the server again when it failed.
func (e *embedded) watch(s *Stream) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	pause, next := watchEvery, time.Time{}
	for {
		select {
		case <-e.quit:
			return
		case <-tick.C:
		case <-e.kick:
		}
		lacking := e.measure()
		if !e.suspect.Load() || time.Now().Before(next) {
			continue
		}
		e.halt(s)
		if lacking != nil && e.short() {
			continue // nothing can be opened now; the tick looks again
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		l, err := e.start(ctx)
		cancel()
		if err != nil {
			e.suspect.Store(true)
			next, pause = time.Now().Add(pause), min(2*pause, 10*time.Second)
			e.log.Error("event stream does not start, it is tried again", "error", err, "pause", pause)
			continue
		}
		pause = watchEvery
		e.restarts.Add(1)
		s.mu.Lock()
		s.link = l
		s.mu.Unlock()
		if e.full.Swap(nil) != nil {
			e.log.Info("disk has space again: recording resumes", "dir", e.dir)
		} else {
			e.log.Warn("event stream was started again")
		}
	}
}

// short reports whether the disk is, now, too full to try.
func (e *embedded) short() bool {
	free, err := e.opts.Free(e.dir)
	return err == nil && free < max(e.opts.Reserve, 1<<20)
}

// halt takes the link away from s and stops the server.
func (e *embedded) halt(s *Stream) {
	s.mu.Lock()
	l := s.link
	s.link = nil
	s.mu.Unlock()
	if l != nil {
		_ = l.nc.FlushTimeout(time.Second)
		l.close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.server = nil
	}
}

func (e *embedded) stop(s *Stream) {
	close(e.quit)
	e.wg.Wait()
	e.halt(s)
}

// serverLog hands on what the server has to say from warnings upwards, and
// takes a failed write as the sign that it must be started again.
type serverLog struct {
	e    *embedded
	said atomic.Pointer[string]
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) last() string {
	if s := l.said.Load(); s != nil {
		return *s
	}
	return "no reason given"
}

func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.said.Store(&text)
	l.e.log.Error("event stream: " + text)
	if strings.Contains(text, "write error") || strings.Contains(text, "failed to store") || strings.Contains(text, "out of ") {
		if strings.Contains(text, "no space left") && l.e.full.CompareAndSwap(nil, &FullError{Dir: l.e.dir, Free: freeOr(l.e.dir, -1), Cause: errors.New(text)}) {
			l.e.log.Error("disk is full: recording stops, guarding goes on", "dir", l.e.dir)
		}
		l.e.suspect.Store(true)
		select {
		case l.e.kick <- struct{}{}:
		default:
		}
	}
}

func (l *serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

func (l *serverLog) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.said.Store(&text)
	l.e.log.Warn("event stream: " + text)
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}
