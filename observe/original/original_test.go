package original_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev"
	"sallyport.dev/observe/original"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
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

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// listening sees what is handed to the stream.
type listening struct {
	original.Publisher
	seen [][]byte
}

func (l *listening) Publish(ctx context.Context, subject, id string, data []byte) (uint64, error) {
	l.seen = append(l.seen, slices.Clone(data))
	return l.Publisher.Publish(ctx, subject, id, data)
}

const secret = "Traceback (most recent call last): the-secret-of-the-service"

func TestSealedOriginals(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			o := store.Options{Dir: t.TempDir(), Key: newKey(), Logger: slog.New(slog.DiscardHandler)}
			if dialect == "postgres" {
				o.DatabaseURL = postgres.Database(t)
			}
			s, err := store.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var log bytes.Buffer
			ears := &listening{Publisher: s.Stream()}
			sealer, err := original.NewSealer(ears, o.Key, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			d, err := original.Open(t.Context(), s, o.Key, original.Options{MaxAge: time.Hour, MaxBytes: 100 << 10, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- d.Run(ctx) }()
			defer func() { cancel(); <-ended }()

			now := time.Now()
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			z.Write([]byte(secret))
			z.Close()
			sealer.Seal(original.Original{ID: "A1", API: "shop", Time: now, Status: 500, Header: original.Fields(http.Header{"X-Why": {"b", "a"}, "Content-Type": {"text/plain"}}), Body: []byte(secret)})
			sealer.Seal(original.Original{ID: "A2", API: "shop", Time: now.Add(-2 * time.Hour), Status: 400, Header: original.Fields(http.Header{"Content-Encoding": {"gzip"}}), Body: zipped.Bytes()})
			sealer.Seal(original.Original{ID: "A3", API: "shop", Time: now, Status: 500, Body: bytes.Repeat([]byte("x"), 80<<10)})
			eventually(t, "all are kept", func() bool { ok, err := d.Has(t.Context(), "A3"); return ok && err == nil })

			a, err := d.Find(t.Context(), "A1")
			if err != nil || a.Status != 500 || a.API != "shop" || string(a.Body) != secret || a.Cut || fmt.Sprint(a.Header) != "[[Content-Type text/plain] [X-Why a] [X-Why b]]" || a.Time.UnixMicro() != now.UnixMicro() {
				t.Errorf("opened %+v, %v", a, err)
			}
			if a, err := d.Find(t.Context(), "A2"); err != nil || string(a.Text()) != secret {
				t.Errorf("opened %+v, %v", a, err)
			}
			if a, err := d.Find(t.Context(), "A3"); err != nil || !a.Cut || len(a.Body) != 64<<10 {
				t.Errorf("opened %v", err)
			}
			if _, err := d.Find(t.Context(), "B1"); !errors.Is(err, sallyport.NotFound) {
				t.Errorf("one that is not kept: %v", err)
			}
			// Nobody without the key reads one, nor does one open as another's.
			stranger, err := original.Open(t.Context(), s, newKey(), original.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if a, err := stranger.Find(t.Context(), "A1"); err == nil {
				t.Errorf("a stranger opened %+v", a)
			}
			if _, err := s.DB().ExecContext(t.Context(), "UPDATE original SET sealed = (SELECT sealed FROM original WHERE id = 'A1') WHERE id = 'A3'"); err != nil {
				t.Fatal(err)
			}
			if a, err := d.Find(t.Context(), "A3"); err == nil {
				t.Errorf("A1 opened as %+v", a)
			}
			// Retention: by age, then by bytes, the oldest first.
			if err := d.Trim(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if ok, _ := d.Has(t.Context(), "A2"); ok {
				t.Error("what is too old is kept")
			}
			for i := range 3 {
				sealer.Seal(original.Original{ID: fmt.Sprintf("C%d", i), API: "shop", Time: now.Add(time.Duration(i+1) * time.Second), Status: 500, Body: bytes.Repeat([]byte("x"), 40<<10)})
			}
			eventually(t, "more are kept", func() bool { ok, _ := d.Has(t.Context(), "C2"); return ok })
			if err := d.Trim(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			old, _ := d.Has(t.Context(), "A1")
			young, _ := d.Has(t.Context(), "C2")
			if old || !young {
				t.Errorf("beyond the bytes: the oldest kept %v, the youngest %v", old, young)
			}
			end, stop := context.WithTimeout(context.Background(), 10*time.Second)
			defer stop()
			if err := sealer.Close(end); err != nil {
				t.Error(err)
			}
			sealer.Seal(original.Original{ID: "D", Status: 500, Body: []byte(secret)})
			if sealer.Dropped() != 1 {
				t.Errorf("dropped %d", sealer.Dropped())
			}
			// The plain text is nowhere but with who opened it.
			for _, b := range append(ears.seen, log.Bytes()) {
				if bytes.Contains(b, []byte("the-secret")) {
					t.Error("the stream or the log holds the plain text")
				}
			}
			if len(ears.seen) != 6 || !strings.Contains(log.String(), "not kept") {
				t.Errorf("%d published, log %s", len(ears.seen), log.String())
			}
			err = filepath.WalkDir(o.Dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if bytes.Contains(b, []byte("the-secret")) {
					t.Errorf("%s holds the plain text", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
