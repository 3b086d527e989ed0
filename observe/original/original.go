// Package original keeps the errors that a door answered something else for.
// In come originals, head and body, as the upstream sent them; out they go
// again one at a time, to whoever opens one by its request id and has the key.
//
// A Sealer encrypts each original in memory, bound to its request and API,
// before it is handed to anything else: the stream, the table, and a copy of
// either hold ciphertext only. Sealing never makes a request wait: what does
// not fit the bounded queue is dropped and counted. A Drawer takes sealed
// originals from the stream into its table, with a retention by age and bytes.
//
// The package never logs a part of an original, and never decides who may open
// one.
package original

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// An Original is what an upstream answered.
type Original struct {
	ID     string     `cbor:"-"` // of the request
	API    string     `cbor:"-"`
	Time   time.Time  `cbor:"-"`
	Status int        `cbor:"1,keyasint"`
	Header [][]string `cbor:"2,keyasint,omitempty"` // name and value, sorted
	Body   []byte     `cbor:"3,keyasint,omitempty"`
	Cut    bool       `cbor:"4,keyasint,omitempty"` // the body is longer
}

// Bounds of what is kept of one original.
const (
	maxBody  = 64 << 10
	maxLines = 200
	maxHead  = 32 << 10
)

// Fields is h as an Original holds it.
func Fields(h http.Header) [][]string {
	var out [][]string
	size := 0
	for name, values := range h {
		for _, v := range values {
			if size += len(name) + len(v); len(out) == maxLines || size > maxHead {
				continue
			}
			out = append(out, []string{name, v})
		}
	}
	slices.SortFunc(out, func(a, b []string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return out
}

// Text is the body without gzip, where that is its coding and its beginning can
// be read, at most 256 KiB of it.
func (o *Original) Text() []byte {
	for _, f := range o.Header {
		if f[0] != "Content-Encoding" || f[1] != "gzip" {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(o.Body))
		if err != nil {
			break
		}
		if out, _ := io.ReadAll(io.LimitReader(z, 256<<10)); len(out) > 0 {
			return out
		}
	}
	return o.Body
}

// A box encrypts and decrypts with a key derived from the master key.
type box struct{ aead cipher.AEAD }

func newBox(master []byte) (*box, error) {
	if len(master) < 16 {
		return nil, errors.New("the master key is too short")
	}
	key, err := hkdf.Key(sha256.New, master, nil, "sallyport observe original 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &box{aead}, err
}

// bound is what a sealed original belongs to; it opens as nothing else.
func bound(id, api string, at int64) []byte { return fmt.Appendf(nil, "%s\x00%s\x00%d", id, api, at) }

func (b *box) seal(o *Original) (sealed, error) {
	plain, err := cbor.Marshal(o)
	if err != nil {
		return sealed{}, err
	}
	s := sealed{ID: o.ID, API: o.API, At: o.Time.UnixMicro()}
	s.Sealed = b.aead.Seal(nil, nil, plain, bound(s.ID, s.API, s.At))
	return s, nil
}

func (b *box) open(s *sealed) (*Original, error) {
	plain, err := b.aead.Open(nil, nil, s.Sealed, bound(s.ID, s.API, s.At))
	if err != nil {
		return nil, errors.New("it was sealed with another key, or changed since")
	}
	o := &Original{ID: s.ID, API: s.API, Time: time.UnixMicro(s.At).UTC()}
	return o, cbor.Unmarshal(plain, o)
}

// sealed is an original as it passes the stream and stands in the table.
type sealed struct {
	bun.BaseModel `bun:"table:original" cbor:"-"`

	ID     string `bun:"id,pk" cbor:"1,keyasint"`
	At     int64  `bun:"at" cbor:"2,keyasint"`
	API    string `bun:"api" cbor:"3,keyasint"`
	Size   int    `bun:"size" cbor:"-"`
	Sealed []byte `bun:"sealed" cbor:"4,keyasint"`
}

// Publisher is what a Sealer needs of a stream; *store.Stream is one.
type Publisher interface {
	Publish(ctx context.Context, subject, id string, data []byte) (uint64, error)
}

// A Sealer seals originals and publishes them. It is safe for concurrent use.
type Sealer struct {
	box     *box
	stream  Publisher
	log     *slog.Logger
	queue   chan sealed
	quit    chan struct{}
	done    chan struct{}
	close   sync.Once
	dropped atomic.Uint64
	warned  atomic.Int64 // second of the last warning
}

// queued is how many sealed originals wait for the stream at most: 16 MiB of
// the longest ones.
const queued = 256

// NewSealer starts a Sealer with a key derived from master.
func NewSealer(stream Publisher, master []byte, log *slog.Logger) (*Sealer, error) {
	b, err := newBox(master)
	if err != nil {
		return nil, fmt.Errorf("start sealing originals: %w", err)
	}
	s := &Sealer{box: b, stream: stream, log: log, queue: make(chan sealed, queued), quit: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s, nil
}

// Seal encrypts o and hands it on. It does not block and keeps nothing of o;
// what is longer than 64 KiB is cut.
func (s *Sealer) Seal(o Original) {
	if len(o.Body) > maxBody {
		o.Body, o.Cut = o.Body[:maxBody], true
	}
	x, err := s.box.seal(&o)
	if err == nil {
		select {
		case <-s.quit:
			err = errors.New("closed")
		default:
			select {
			case s.queue <- x:
				return
			default:
				err = errors.New("the queue is full")
			}
		}
	}
	s.drop(err)
}

func (s *Sealer) drop(err error) {
	s.dropped.Add(1)
	if now := time.Now().Unix(); s.warned.Swap(now) != now {
		s.log.Warn("an original is not kept", "error", err, "dropped", s.dropped.Load())
	}
}

// Dropped is how many originals were not kept.
func (s *Sealer) Dropped() uint64 { return s.dropped.Load() }

func (s *Sealer) run() {
	defer close(s.done)
	for {
		select {
		case x := <-s.queue:
			s.publish(x)
		case <-s.quit:
			for {
				select {
				case x := <-s.queue:
					s.publish(x)
				default:
					return
				}
			}
		}
	}
}

func (s *Sealer) publish(x sealed) {
	data, err := cbor.Marshal(&x)
	if err == nil {
		_, err = s.stream.Publish(context.Background(), sallyport.SubjectOriginal, "original "+x.ID, data)
	}
	if err != nil {
		s.drop(err)
	}
}

// Close publishes what waits, until ctx ends.
func (s *Sealer) Close(ctx context.Context) error {
	s.close.Do(func() { close(s.quit) })
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("keep the last originals: %w", ctx.Err())
	}
}

// Options set a Drawer. Zero values mean the defaults.
type Options struct {
	Durable  string        // name of its consumer; default "original"
	MaxAge   time.Duration // default 30 days
	MaxBytes int64         // default 256 MiB
	Logger   *slog.Logger
}

// A Drawer keeps sealed originals. It is safe for concurrent use.
type Drawer struct {
	o     Options
	store *store.Store
	box   *box
}

// Open migrates the drawer's table in s. master is the key that Sealers have.
func Open(ctx context.Context, s *store.Store, master []byte, o Options) (*Drawer, error) {
	o.Durable = cmp.Or(o.Durable, "original")
	o.MaxAge = cmp.Or(o.MaxAge, 30*24*time.Hour)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	b, err := newBox(master)
	if err != nil {
		return nil, fmt.Errorf("open originals: %w", err)
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open originals: %w", err)
	}
	if err := s.Migrate(ctx, "original", sub); err != nil {
		return nil, fmt.Errorf("open originals: %w", err)
	}
	return &Drawer{o: o, store: s, box: b}, nil
}

// Run takes sealed originals from the stream and trims the table until ctx ends.
func (d *Drawer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.trim(ctx) })
	return d.store.Stream().Consume(ctx, d.o.Durable, []string{sallyport.SubjectOriginal}, d.take)
}

func (d *Drawer) trim(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := d.Trim(ctx, time.Now()); err != nil && ctx.Err() == nil {
			d.o.Logger.Error("old originals are not removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Trim removes what the retention no longer keeps.
func (d *Drawer) Trim(ctx context.Context, now time.Time) error {
	_, err := d.store.Trim(ctx, store.Retention{Table: "original", Key: "id", Time: "at", MaxAge: d.o.MaxAge, Bytes: "size", MaxBytes: d.o.MaxBytes}, now)
	return err
}

func (d *Drawer) take(ctx context.Context, messages []store.Message) error {
	rows := make([]sealed, 0, len(messages))
	for _, m := range messages {
		var x sealed
		if err := cbor.Unmarshal(m.Data, &x); err != nil || x.ID == "" {
			d.o.Logger.Error("a sealed original cannot be read and is passed over", "seq", m.Seq)
			continue
		}
		x.Size = len(x.Sealed) + len(x.ID) + len(x.API)
		rows = append(rows, x)
	}
	for part := range slices.Chunk(rows, 100) {
		if _, err := d.store.DB().NewInsert().Model(&part).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
			return fmt.Errorf("keep originals: %w", err)
		}
	}
	return nil
}

// Has reports whether an original is kept for the request.
func (d *Drawer) Has(ctx context.Context, id string) (bool, error) {
	ok, err := d.store.Reader().NewSelect().Model((*sealed)(nil)).Where("id = ?", id).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for an original: %w", err)
	}
	return ok, nil
}

// Find opens the original of a request. One that is not kept is
// sallyport.NotFound; one that does not open with this key is an error.
func (d *Drawer) Find(ctx context.Context, id string) (*Original, error) {
	var rows []sealed
	if err := d.store.Reader().NewSelect().Model(&rows).Where("id = ?", id).Scan(ctx); err != nil {
		return nil, fmt.Errorf("find an original: %w", err)
	}
	if len(rows) == 0 {
		return nil, sallyport.Errorf(sallyport.NotFound, "no original is kept for this request: nothing was replaced, or it is older than is kept")
	}
	o, err := d.box.open(&rows[0])
	if err != nil {
		return nil, fmt.Errorf("open the original of %s: %w", id, err)
	}
	return o, nil
}
