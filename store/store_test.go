package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

//go:embed testdata/migrations
var testdata embed.FS

func migrations(t testing.TB) fs.FS {
	sub, err := fs.Sub(testdata, "testdata/migrations")
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestMain(m *testing.M) {
	if os.Getenv("STORE_TEST_CHILD") != "" {
		child()
		return
	}
	code := m.Run()
	postgres.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func newKey() []byte {
	key := make([]byte, store.KeySize)
	rand.Read(key)
	return key
}

// natsServer runs a NATS server with a socket, as one outside would be.
func natsServer(t testing.TB) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS server does not become ready")
	}
	return srv.ClientURL()
}

// kinds are the ways in which a store can be kept; every test of the suite
// runs on each.
var kinds = []struct {
	name string
	set  func(t testing.TB, o *store.Options)
}{
	{"one machine", func(testing.TB, *store.Options) {}},
	{"beyond", func(t testing.TB, o *store.Options) {
		o.DatabaseURL = postgres.Database(t)
		o.StreamURL = natsServer(t)
	}},
}

func onEach(t *testing.T, test func(t *testing.T, o store.Options)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			o := store.Options{Dir: t.TempDir(), Key: newKey(), Logger: slog.New(slog.DiscardHandler)}
			kind.set(t, &o)
			test(t, o)
		})
	}
}

func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func migrated(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s := open(t, o)
	if err := s.Migrate(t.Context(), "thing", migrations(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

type thing struct {
	bun.BaseModel `bun:"table:thing"`

	ID   int64 `bun:",pk,autoincrement"`
	At   int64
	Size int64
	Name string
}

func count(t testing.TB, s *store.Store) int {
	t.Helper()
	n, err := s.Reader().NewSelect().Model((*thing)(nil)).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestTablesOutliveTheProgram(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := migrated(t, o)
		want := thing{At: 7, Size: 9, Name: "ö 'quoted' \x01"}
		if _, err := s.DB().NewInsert().Model(&want).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = migrated(t, o) // migrating again changes nothing
		var got thing
		if err := s.Reader().NewSelect().Model(&got).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("wrote %+v, read %+v", want, got)
		}
	})
}

func TestReaderRefusesToWrite(t *testing.T) {
	s := migrated(t, store.Options{Dir: t.TempDir(), Key: newKey()})
	if _, err := s.Reader().NewInsert().Model(&thing{Name: "x"}).Exec(t.Context()); err == nil {
		t.Error("a write through Reader succeeded")
	}
}

func TestWritersNeverMeetBusy(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := migrated(t, o)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 25 {
					err := s.DB().RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
						_, err := tx.NewInsert().Model(&thing{At: int64(w), Size: int64(i), Name: "n"}).Exec(ctx)
						return err
					})
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
					if _, err := s.Reader().NewSelect().Model((*thing)(nil)).Count(t.Context()); err != nil {
						t.Errorf("reader %d: %v", w, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if got := count(t, s); got != 200 {
			t.Errorf("%d rows, want 200", got)
		}
	})
}

func TestMigrate(t *testing.T) {
	file := func(sql string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)} }
	both := func(files map[string]string) fstest.MapFS {
		m := fstest.MapFS{}
		for name, sql := range files {
			m["sqlite/"+name] = file(sql)
			m["postgres/"+name] = file(sql)
		}
		return m
	}
	one := map[string]string{"00001_a.sql": "CREATE TABLE a (x BIGINT);"}
	two := map[string]string{"00001_a.sql": one["00001_a.sql"], "00002_b.sql": "CREATE TABLE b (x BIGINT);"}
	broken := map[string]string{"00001_a.sql": one["00001_a.sql"], "00002_b.sql": "CREATE TABLE b (x BIGINT);\nINSERT INTO nowhere VALUES (1);"}

	onEach(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		ctx := t.Context()
		if err := s.Migrate(ctx, "Bad Room", both(one)); err == nil {
			t.Error("a bad room's name is taken")
		}
		if err := s.Migrate(ctx, "alpha", both(one)); err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(ctx, "alpha", both(broken)); err == nil {
			t.Fatal("a broken migration succeeded")
		}
		if _, err := s.DB().ExecContext(ctx, "SELECT x FROM b"); err == nil {
			t.Error("the broken migration left a table behind")
		}
		if err := s.Migrate(ctx, "alpha", both(two)); err != nil {
			t.Fatal(err)
		}
		var newer *store.NewerError
		if err := s.Migrate(ctx, "alpha", both(one)); !errors.As(err, &newer) || newer.Have != 2 || newer.Max != 1 {
			t.Errorf("older program: got %v, want *NewerError 2 > 1", err)
		}
		if err := s.Migrate(ctx, "beta", both(map[string]string{"00001_c.sql": "CREATE TABLE c (x BIGINT);"})); err != nil {
			t.Errorf("another room: %v", err)
		}
		var wg sync.WaitGroup
		for range 4 { // programs that start together
			wg.Go(func() {
				if err := s.Migrate(ctx, "gamma", both(map[string]string{"00001_d.sql": "CREATE TABLE d (x BIGINT);"})); err != nil && s.Dialect() == store.Postgres {
					t.Errorf("at once: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestTrim(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	fill := func(t *testing.T, s *store.Store, n int) {
		rows := make([]thing, n)
		for i := range rows {
			rows[i] = thing{At: now.Add(-time.Duration(i) * time.Second).UnixMicro(), Size: 10, Name: "n"}
		}
		if _, err := s.DB().NewInsert().Model(&rows).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	base := store.Retention{Table: "thing", Key: "id", Time: "at"}
	cases := []struct {
		name      string
		retention func(store.Retention) store.Retention
		want      int // rows left of 5000
	}{
		{"nothing", func(r store.Retention) store.Retention { return r }, 5000},
		{"age", func(r store.Retention) store.Retention { r.MaxAge = 100 * time.Second; return r }, 101},
		{"rows", func(r store.Retention) store.Retention { r.MaxRows = 700; return r }, 700},
		{"bytes", func(r store.Retention) store.Retention { r.Bytes, r.MaxBytes = "size", 12_340; return r }, 1234},
	}
	onEach(t, func(t *testing.T, o store.Options) {
		s := migrated(t, o)
		for _, c := range cases {
			if _, err := s.DB().NewDelete().Model((*thing)(nil)).Where("1=1").Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			fill(t, s, 5000)
			gone, err := s.Trim(t.Context(), c.retention(base), now)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			left := count(t, s)
			if left != c.want && !(c.name == "bytes" && left == c.want-1) || int(gone) != 5000-left {
				t.Errorf("%s: %d rows left, %d gone; want %d left", c.name, left, gone, c.want)
			}
			var newest int64
			if err := s.Reader().NewSelect().Model((*thing)(nil)).ColumnExpr("max(at)").Scan(t.Context(), &newest); err != nil || newest != now.UnixMicro() {
				t.Errorf("%s: the newest row is gone", c.name)
			}
		}
	})
}

func TestSecondProcessIsRefused(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: newKey()}
	open(t, o)
	_, err := store.Open(t.Context(), o)
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got %v, want *LockedError with pid %d", err, os.Getpid())
	}
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("message names no process or way out: %v", err)
	}
}

// tree is the content of every file below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWrongKeyChangesNothing(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: newKey()}
	s := migrated(t, o)
	if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := tree(t, o.Dir)
	right := o.Key
	o.Key = newKey()
	_, err := store.Open(t.Context(), o)
	var wrong *store.WrongKeyError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "give the key it was made with") {
		t.Fatalf("got %v, want *WrongKeyError with the way out", err)
	}
	after := tree(t, o.Dir)
	for path := range after {
		if before[path] != after[path] && filepath.Base(path) != "lock" {
			t.Errorf("%s was changed", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files before, %d after", len(before), len(after))
	}
	o.Key = right
	open(t, o)
}

func TestMissingKeyCheckIsExplained(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: newKey()}
	if err := open(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir, "key.check")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "restore that file") {
		t.Errorf("got %v", err)
	}
}

func TestFilesAreEncrypted(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Key: newKey()}
	s := migrated(t, o)
	const plain = "a sentence nobody else may read"
	for range 200 {
		if _, err := s.DB().NewInsert().Model(&thing{Name: plain}).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Stream().Publish(t.Context(), "sallyport.a", "id", []byte(plain)); err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		for path, content := range tree(t, o.Dir) {
			for _, text := range []string{plain, "CREATE TABLE", "SQLite format"} {
				if strings.Contains(content, text) {
					t.Errorf("%s: %s holds %q in plain", when, path, text)
				}
			}
			if bytes.Contains([]byte(content), o.Key) {
				t.Errorf("%s: %s holds the key", when, path)
			}
		}
	}
	look("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("closed")
}

func TestOpenMistakes(t *testing.T) {
	cases := []struct {
		name string
		o    store.Options
		want string
	}{
		{"no key", store.Options{Dir: t.TempDir()}, "master key has 0 bytes"},
		{"no directory", store.Options{Key: newKey()}, "no data directory"},
		{"strange database", store.Options{Dir: t.TempDir(), Key: newKey(), DatabaseURL: "mysql://u:secret@h/d"}, "postgres://"},
		{"bad database URL", store.Options{Dir: t.TempDir(), Key: newKey(), DatabaseURL: "postgres://u:secret@h:port/d"}, "not one of PostgreSQL"},
		{"database away", store.Options{Dir: t.TempDir(), Key: newKey(), DatabaseURL: "postgres://u:secret@127.0.0.1:1/d?sslmode=disable"}, "127.0.0.1:1"},
		{"stream away", store.Options{Dir: t.TempDir(), Key: newKey(), StreamURL: "nats://u:secret@127.0.0.1:1"}, "no servers available"},
		{"bad stream URL", store.Options{Dir: t.TempDir(), Key: newKey(), StreamURL: "nats://u:secret@:x:y"}, "event stream"},
	}
	for _, c := range cases {
		s, err := store.Open(t.Context(), c.o)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want it to name %q and no password", c.name, err, c.want)
		}
	}
}

func TestLoadKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sub", "key")
	first, err := store.LoadKey("file:"+path, dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("new key file: %v %v", info, err)
	}
	again, err := store.LoadKey("file:"+path, dir)
	if err != nil || !slices.Equal(first, again) || len(first) != store.KeySize {
		t.Errorf("second load: %v, equal %v", err, slices.Equal(first, again))
	}
	t.Setenv("STORE_TEST_KEY", fmt.Sprintf("%x", first))
	if env, err := store.LoadKey("env:STORE_TEST_KEY", dir); err != nil || !slices.Equal(first, env) {
		t.Errorf("from the environment: %v", err)
	}
	t.Setenv("STORE_TEST_BAD", "not a key: swordfish")

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, fmt.Appendf(nil, "%x", first), 0o644); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "key.check"), []byte("1 x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, ref, dir, want string }{
		{"inside", "file:" + filepath.Join(dir, "key"), dir, "inside the data directory"},
		{"inside by a link", "file:" + filepath.Join(link, "deep", "key"), dir, "inside the data directory"},
		{"others may read it", "file:" + open, dir, "chmod 600"},
		{"lost", "file:" + filepath.Join(t.TempDir(), "key"), used, "restore the file"},
		{"unset", "env:STORE_TEST_UNSET", dir, "not set"},
		{"no key", "env:STORE_TEST_BAD", dir, "not a key"},
		{"no scheme", "swordfish", dir, "file:PATH"},
		{"unknown scheme", "vault:x", dir, "file:PATH"},
	} {
		_, err := store.LoadKey(c.ref, c.dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
		t.Error("a key was made inside the data directory")
	}
}
