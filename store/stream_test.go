package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/uptrace/bun"

	"sallyport.dev/store"
)

// consume runs a consumer until the test, or stop, ends it.
func consume(t testing.TB, s *store.Store, durable string, h store.Handler, subjects ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Stream().Consume(ctx, durable, subjects, h); !errors.Is(err, context.Canceled) {
			t.Errorf("consume %s: %v", durable, err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestMessagesComeInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		const n = 2000
		var mu sync.Mutex
		var got []string
		consume(t, s, "reader", func(_ context.Context, ms []store.Message) error {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range ms {
				got = append(got, string(m.Data))
			}
			return nil
		}, "sallyport.a", "sallyport.b.>")
		acks := make([]*store.Ack, 0, n)
		for i := range n {
			subject := []string{"sallyport.a", "sallyport.b.c", "sallyport.other"}[i%3]
			ack, err := s.Stream().PublishAsync(subject, "", []byte(strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		last := uint64(0)
		for _, a := range acks {
			seq, err := a.Result(t.Context())
			if err != nil || seq <= last {
				t.Fatalf("sequence %d after %d: %v", seq, last, err)
			}
			last = seq
		}
		want := n - n/3
		eventually(t, "all messages", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= want })
		next := 0
		for _, data := range got {
			if next%3 == 2 {
				next++
			}
			if data != strconv.Itoa(next) {
				t.Fatalf("got message %s, want %d", data, next)
			}
			next++
		}
		eventually(t, "no lag", func() bool {
			st, err := s.Stream().Stats(t.Context())
			return err == nil && st.Messages == n && st.Consumers["reader"].Lag == 0
		})
	})
}

func TestSameIDIsOneMessage(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		first, err := s.Stream().Publish(t.Context(), "sallyport.a", "one", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Stream().Publish(t.Context(), "sallyport.a", "one", []byte("x"))
		if err != nil || again != first {
			t.Errorf("same id: sequence %d then %d, %v", first, again, err)
		}
		other, err := s.Stream().Publish(t.Context(), "sallyport.a", "two", []byte("x"))
		if err != nil || other == first {
			t.Errorf("other id: sequence %d then %d, %v", first, other, err)
		}
		if _, err := s.Stream().Publish(t.Context(), "elsewhere.a", "", nil); err == nil {
			t.Error("a subject outside the stream is taken")
		}
	})
}

func TestFailedHandlerGetsTheSameAgain(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		var mu sync.Mutex
		var done []string
		calls := 0
		consume(t, s, "fails", func(_ context.Context, ms []store.Message) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls <= 3 {
				return errors.New("not now")
			}
			for _, m := range ms {
				done = append(done, string(m.Data))
			}
			return nil
		}, "sallyport.>")
		for i := range 50 {
			if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte(strconv.Itoa(i))); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all handled", func() bool { mu.Lock(); defer mu.Unlock(); return len(done) >= 50 })
		for i, data := range done {
			if data != strconv.Itoa(i) {
				t.Fatalf("at %d: %v", i, done)
			}
		}
		st, err := s.Stream().Stats(t.Context())
		if err != nil || st.Consumers["fails"].Retries != 3 {
			t.Errorf("statistics %+v, %v; want 3 retries", st, err)
		}
	})
}

// With a pace a consumer sees messages before it handles them, handles them in
// few calls, each once, and what it holds at the end as well.
func TestPace(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var seen, handled []string
		calls := 0
		done := make(chan error, 1)
		go func() {
			done <- s.Stream().Run(ctx, store.Consumer{Durable: "paced", Subjects: []string{"sallyport.>"}, Pace: time.Hour,
				Seen: func(_ context.Context, ms []store.Message) {
					mu.Lock()
					defer mu.Unlock()
					for _, m := range ms {
						seen = append(seen, string(m.Data))
					}
				},
				Handle: func(_ context.Context, ms []store.Message) error {
					mu.Lock()
					defer mu.Unlock()
					calls++
					for _, m := range ms {
						handled = append(handled, string(m.Data))
					}
					return nil
				}})
		}()
		publish := func(from, to int) {
			for i := from; i < to; i++ {
				if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte(strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		has := func(list *[]string, n int) func() bool {
			return func() bool { mu.Lock(); defer mu.Unlock(); return len(*list) >= n }
		}
		publish(0, 1)
		eventually(t, "the first is handled at once", has(&handled, 1))
		publish(1, 40)
		eventually(t, "all seen", has(&seen, 40))
		mu.Lock()
		if len(handled) != 1 || calls != 1 {
			t.Errorf("%d handled in %d calls within the pace, want the first alone", len(handled), calls)
		}
		mu.Unlock()
		publish(40, 300) // more than may be held
		eventually(t, "as many as may be held are handled", has(&handled, 257))
		eventually(t, "all seen", has(&seen, 300))
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
		for i := range 300 {
			if want := strconv.Itoa(i); len(seen) != 300 || seen[i] != want || len(handled) != 300 || handled[i] != want {
				t.Fatalf("saw %v\nhandled %v", seen, handled)
			}
		}
		if calls != 3 {
			t.Errorf("%d calls, want 3: the first, 256, and the rest at the end", calls)
		}
	})
}

// tally counts messages exactly once: a row per message and the place move in
// one transaction.
func tally(s *store.Store) store.Handler {
	cursor := store.Cursor{Table: "thing_cursor", Name: "tally"}
	return func(ctx context.Context, ms []store.Message) error {
		return s.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			fresh, err := cursor.Take(ctx, tx, ms)
			if err != nil || len(fresh) == 0 {
				return err
			}
			rows := make([]thing, len(fresh))
			for i, m := range fresh {
				rows[i] = thing{At: int64(m.Seq), Name: string(m.Data)}
			}
			_, err = tx.NewInsert().Model(&rows).Exec(ctx)
			return err
		})
	}
}

func TestExactlyOnceOverRestarts(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := migrated(t, o)
		total := 0
		for round := range 4 {
			h := tally(s)
			var n atomic.Int64
			stop := consume(t, s, "tally", func(ctx context.Context, ms []store.Message) error {
				if err := h(ctx, ms); err != nil {
					return err
				}
				if n.Add(1)%3 == 0 { // committed, and not acknowledged
					return errors.New("died before the acknowledgement")
				}
				return nil
			}, "sallyport.>")
			for range 150 {
				if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte(strconv.Itoa(total))); err != nil {
					t.Fatal(err)
				}
				total++
			}
			stop() // somewhere in the middle
			if round == 1 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = migrated(t, o)
			}
		}
		consume(t, s, "tally", tally(s), "sallyport.>")
		eventually(t, "all counted", func() bool { return count(t, s) >= total })
		var names []string
		if err := s.Reader().NewSelect().Model((*thing)(nil)).Column("name").Order("at").Scan(t.Context(), &names); err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if name != strconv.Itoa(i) {
				t.Fatalf("row %d is message %s", i, name)
			}
		}
	})
}

// A stream that lost its tail, or that was made anew, gives out the same
// sequence numbers again; the cursor must not take the new messages for old.
func TestCursorSurvivesALostStream(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: newKey()}
	s := migrated(t, o)
	for lap := range 2 {
		stop := consume(t, s, "tally", tally(s), "sallyport.>")
		for i := range 20 {
			if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte(fmt.Sprint(lap, i))); err != nil {
				t.Fatal(err)
			}
		}
		want := 20 * (lap + 1)
		eventually(t, "all counted", func() bool { return count(t, s) >= want })
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(o.Dir, "stream")); err != nil {
			t.Fatal(err)
		}
		s = migrated(t, o)
	}
	if got := count(t, s); got != 40 {
		t.Errorf("%d rows, want 40", got)
	}
}

func TestStreamKeepsWithinItsBounds(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		o.MaxBytes = 1 << 20
		s := open(t, o)
		data := make([]byte, 64<<10)
		_, _ = rand.Read(data) // no smaller when compressed
		for range 40 {
			if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", data); err != nil {
				t.Fatal(err)
			}
		}
		st, err := s.Stream().Stats(t.Context())
		if err != nil || st.Bytes > 1<<20 || st.First == 1 || st.Last != 40 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

func TestBoundsOfTheStreamMayChange(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		for _, size := range []int64{4 << 30, 1 << 20, 64 << 20} {
			o.MaxBytes, o.MaxAge = size, time.Duration(size)*time.Millisecond
			s := open(t, o)
			if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("x")); err != nil {
				t.Fatal(err)
			}
			st, err := s.Stream().Stats(t.Context())
			if err != nil || st.MaxBytes != size || st.MaxAge != o.MaxAge || st.Messages == 0 {
				t.Errorf("%d: %+v, %v", size, st, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := open(t, o); got == nil {
			t.Error("does not open")
		}
	})
}

// capture keeps log records, to see that something was said.
type capture struct {
	slog.Handler
	mu   sync.Mutex
	text strings.Builder
}

func (c *capture) Enabled(context.Context, slog.Level) bool { return true }

func (c *capture) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintln(&c.text, r.Level, r.Message)
	return nil
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func TestFullDiskIsSaidAndPasses(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	log := &capture{Handler: slog.DiscardHandler}
	s := migrated(t, store.Options{
		Dir: t.TempDir(), Key: newKey(), Reserve: 1 << 20, Logger: slog.New(log),
		Free: func(string) (int64, error) { return free.Load(), nil },
	})
	consume(t, s, "tally", tally(s), "sallyport.>")
	if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("before")); err != nil {
		t.Fatal(err)
	}
	free.Store(1 << 19)
	eventually(t, "full", func() bool {
		_, err := s.Stream().PublishAsync("sallyport.a", "", []byte("during"))
		var full *store.FullError
		return errors.As(err, &full) && errors.Is(err, store.ErrFull) && full.Free == 1<<19
	})
	if st, err := s.Stream().Stats(t.Context()); err != nil || !st.Full {
		t.Errorf("statistics %+v, %v", st, err)
	}
	free.Store(1 << 30)
	eventually(t, "space", func() bool {
		_, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("after"))
		return err == nil
	})
	eventually(t, "counted", func() bool {
		var n int
		err := s.Reader().NewSelect().Model((*thing)(nil)).ColumnExpr("count(*)").Where("name = ?", "after").Scan(t.Context(), &n)
		return err == nil && n == 1
	})
	for _, want := range []string{"ERROR disk is full: recording stops, guarding goes on", "INFO disk has space again: recording resumes"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%q is not said once in\n%s", want, log)
		}
	}
}

// TestReallyFullDisk fills a small file system to the last byte, so that
// JetStream and SQLite meet ENOSPC themselves.
func TestReallyFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system wants root")
	}
	for _, reserve := range []int64{-1, 4 << 20} {
		t.Run(fmt.Sprintf("reserve %d", reserve), func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
				t.Fatalf("mount: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Errorf("unmount: %v", err)
				}
			})
			log := &capture{Handler: slog.DiscardHandler}
			s := migrated(t, store.Options{Dir: dir, Key: newKey(), MaxBytes: 1 << 30, Reserve: reserve, Logger: slog.New(log)})
			consume(t, s, "tally", tally(s), "sallyport.>")
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 36<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			acked := map[string]bool{}
			noise := make([]byte, 50<<10)
			_, _ = rand.Read(noise) // no smaller when compressed
			publish := func(name string) error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := s.Stream().Publish(ctx, "sallyport.a", "", fmt.Appendf(nil, "%s %x", name, noise))
				if err == nil {
					acked[name] = true
				}
				return err
			}
			var err error
			i := 0
			for ; i < 1000 && err == nil; i++ {
				err = publish("m" + strconv.Itoa(i))
			}
			eventually(t, "a typed error", func() bool {
				var full *store.FullError
				err := publish("x" + strconv.Itoa(i))
				i++
				return errors.As(err, &full)
			})
			_, err = s.DB().NewInsert().Model(&thing{Name: strings.Repeat("y", 30<<20)}).Exec(t.Context())
			var full *store.FullError
			if !errors.As(s.Explain(err), &full) {
				t.Errorf("the database on a full disk: %v", err)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			eventually(t, "recording resumes", func() bool { i++; return publish("z"+strconv.Itoa(i)) == nil })
			eventually(t, "everything acknowledged is counted once", func() bool {
				var names []string
				if err := s.Reader().NewSelect().Model((*thing)(nil)).ColumnExpr("substr(name, 1, instr(name, ' ') - 1)").Scan(t.Context(), &names); err != nil {
					return false
				}
				seen := map[string]int{}
				for _, n := range names {
					seen[n]++
				}
				for name := range acked {
					if seen[name] != 1 {
						return false
					}
				}
				return true
			})
			if !strings.Contains(log.String(), "ERROR disk is full") || !strings.Contains(log.String(), "recording resumes") {
				t.Errorf("not said loudly:\n%s", log)
			}
		})
	}
}

// child publishes and counts until it is killed. It prints the number of each
// message once the stream has acknowledged it.
func child() {
	key := []byte(os.Getenv("STORE_TEST_CHILD"))
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Dir: os.Args[len(os.Args)-2], Key: key})
	if err == nil {
		err = s.Migrate(ctx, "thing", os.DirFS(filepath.Join("testdata", "migrations")))
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	from, _ := strconv.Atoi(os.Args[len(os.Args)-1])
	fmt.Println("open")
	go s.Stream().Consume(ctx, "tally", []string{"sallyport.>"}, tally(s))
	type pending struct {
		n   int
		ack *store.Ack
	}
	acks := make(chan pending, 64)
	go func() {
		for n := from; ; n++ {
			ack, err := s.Stream().PublishAsync("sallyport.a", "m"+strconv.Itoa(n), fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", 700)))
			if err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			acks <- pending{n, ack}
		}
	}()
	for p := range acks {
		if _, err := p.ack.Result(ctx); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("acked", p.n)
	}
}

func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("k", store.KeySize)
	acked := map[int]bool{}
	from := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^$", dir, strconv.Itoa(from))
		cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+key)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := newLines(out)
		fresh := 0
		// Sometimes in the middle of opening, mostly under load.
		for limit := []int{400, 0, 3000, 1, 1500, 700}[round]; fresh < limit; {
			line, ok := lines.next()
			if !ok {
				t.Fatalf("round %d: the child ended by itself after %d", round, fresh)
			}
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "error":
				t.Fatalf("round %d: %s", round, rest)
			case "open":
				t.Logf("round %d: open after %v", round, time.Since(started).Round(time.Millisecond))
			case "acked":
				n, _ := strconv.Atoi(rest)
				acked[n] = true
				fresh++
			}
		}
		if round == 1 {
			time.Sleep(15 * time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for line, ok := lines.next(); ok; line, ok = lines.next() {
			if rest, found := strings.CutPrefix(line, "acked "); found {
				n, _ := strconv.Atoi(rest)
				acked[n] = true
			}
		}
		_ = cmd.Wait()
		for n := range acked {
			from = max(from, n+1)
		}
		from += 10_000 // what was on its way is not sent again
	}
	s := open(t, store.Options{Dir: dir, Key: []byte(key)})
	if err := s.Migrate(t.Context(), "thing", migrations(t)); err != nil {
		t.Fatal(err)
	}
	consume(t, s, "tally", tally(s), "sallyport.>")
	end, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("end"))
	if err != nil {
		t.Fatal(err)
	}
	cursor := store.Cursor{Table: "thing_cursor", Name: "tally"}
	eventually(t, "the last message", func() bool {
		last, err := cursor.Last(t.Context(), s.Reader())
		return err == nil && last >= end
	})
	var names []string
	if err := s.Reader().NewSelect().Model((*thing)(nil)).Column("name").Scan(t.Context(), &names); err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for _, name := range names {
		number, _, ok := strings.Cut(name, " ")
		if n, err := strconv.Atoi(number); ok && err == nil {
			seen[n]++
		}
	}
	lost, twice := 0, 0
	for n := range acked {
		if seen[n] == 0 {
			lost++
		}
	}
	for _, times := range seen {
		if times > 1 {
			twice++
		}
	}
	if lost != 0 || twice != 0 {
		t.Errorf("of %d acknowledged messages %d are lost; %d are counted twice", len(acked), lost, twice)
	}
	var verdict string
	if err := s.Reader().NewRaw("PRAGMA integrity_check").Scan(t.Context(), &verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity of the database: %q, %v", verdict, err)
	}
	t.Logf("%d acknowledged, %d counted", len(acked), len(seen))
}

// A NATS server outside goes away and comes back: publishing fails with the
// error that says so, and everything goes on by itself afterwards.
func TestServerOutsideComesBack(t *testing.T) {
	dir, port := t.TempDir(), -1
	start := func() *server.Server {
		srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("NATS server does not become ready")
		}
		port = srv.Addr().(*net.TCPAddr).Port
		return srv
	}
	stop := func(srv *server.Server) { srv.Shutdown(); srv.WaitForShutdown() }
	srv := start()
	defer func() { stop(srv) }()
	s := migrated(t, store.Options{Dir: t.TempDir(), Key: newKey(), StreamURL: srv.ClientURL(), Logger: slog.New(slog.DiscardHandler)})
	consume(t, s, "tally", tally(s), "sallyport.>")
	acked := 0
	publish := func() error {
		_, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte(strconv.Itoa(acked)))
		if err == nil {
			acked++
		}
		return err
	}
	for range 50 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	stop(srv)
	eventually(t, "unavailable", func() bool { return errors.Is(publish(), store.ErrUnavailable) })
	srv = start()
	eventually(t, "back", func() bool { return publish() == nil })
	for range 50 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all counted", func() bool { return count(t, s) >= acked })
	if got := count(t, s); got != acked {
		t.Errorf("%d rows, %d acknowledged", got, acked)
	}
}

func TestEveryMessageCanBeSynced(t *testing.T) {
	s := open(t, store.Options{Dir: t.TempDir(), Key: newKey(), SyncInterval: -1, SyncCommit: true})
	if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var level int
	if err := s.DB().NewRaw("PRAGMA synchronous").Scan(t.Context(), &level); err != nil || level != 2 {
		t.Errorf("synchronous = %d, %v; want 2 (FULL)", level, err)
	}
}

// What is published comes back as it was, in less space where it repeats itself.
func TestMessagesAreCompressed(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		noise := make([]byte, 4096)
		_, _ = rand.Read(noise)
		like := bytes.Repeat([]byte(`{"id":"7f3a","status":200,"path":"/v1/items/"}`), 4000)
		for _, data := range [][]byte{{}, []byte("short"), noise, like} {
			before, err := s.Stream().Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", data); err != nil {
				t.Fatal(err)
			}
			after, err := s.Stream().Stats(t.Context())
			if grown := after.Bytes - before.Bytes; err != nil || grown > uint64(len(noise)+512) {
				t.Errorf("%d bytes take %d, %v", len(data), grown, err)
			}
		}
		var mu sync.Mutex
		var got [][]byte
		consume(t, s, "reads", func(_ context.Context, ms []store.Message) error {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range ms {
				got = append(got, m.Data)
			}
			return nil
		}, "sallyport.>")
		eventually(t, "all read", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 4 })
		for i, want := range [][]byte{{}, []byte("short"), noise, like} {
			if !bytes.Equal(got[i], want) {
				t.Errorf("message %d: %d bytes, want %d, or other ones", i, len(got[i]), len(want))
			}
		}
	})
}
