// Package attest keeps verdicts on images: in come reports of conformance tests
// that a pipeline ran against an image, out go signed statements (in-toto in
// DSSE, Ed25519) that bind the verdict to the digests of image, specification
// and policy, with profile, time and expiry, and the answer to whether an image
// may run as an API.
//
// What it judges by is the signed statement alone, verified each time: a row
// that was changed in the database opens no door. It never reaches a registry
// and never takes anybody's word for a verdict: that is worked out from the report.
package attest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/store"
)

//go:embed migrations
var migrations embed.FS

// MaxReport is the size of the largest report that is taken.
const MaxReport = 4 << 20

// depth orders the profiles by how deep they look.
var depth = map[string]int{string(conformance.Safe): 1, string(conformance.Full): 2, string(conformance.Deep): 3}

// Options set a Book. Store and Key are required.
type Options struct {
	Store *store.Store
	Key   ed25519.PrivateKey
	Now   func() time.Time
	Good  time.Duration // verdicts are good for so long; default 30 days
	Keep  time.Duration // and kept for so long; default 400 days
	Most  int64         // and so many of them, the oldest go first; default 20,000
}

// A Book keeps verdicts. It is safe for concurrent use.
type Book struct{ o Options }

// A New report.
type New struct {
	API      string
	Image    string // sha256:… or repository@sha256:…
	Spec     string // digest of the specification that was tested against
	Policy   string
	Reporter string
	Report   []byte // of conformance, as JSON
}

// A Verdict on an image.
type Verdict struct {
	Predicate
	Image    string
	Envelope []byte
}

type row struct {
	bun.BaseModel `bun:"table:attest_verdict"`

	ID       string `bun:"id,pk"`
	API      string `bun:"api"`
	Image    string `bun:"image"`
	Tested   int64  `bun:"tested"`
	Signed   int64  `bun:"signed"`
	Reporter string `bun:"reporter"`
	Envelope []byte `bun:"envelope"`
	Report   []byte `bun:"report"`
}

// Key derives the key that verdicts are signed with from the master key.
func Key(master []byte) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, master, nil, "sallyport: verdicts on images, ed25519", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// Open migrates the book's table.
func Open(ctx context.Context, o Options) (*Book, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Good, o.Keep, o.Most = cmp.Or(o.Good, 30*24*time.Hour), cmp.Or(o.Keep, 400*24*time.Hour), cmp.Or(o.Most, 20_000)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.Store.Migrate(ctx, "attest", files); err != nil {
		return nil, err
	}
	return &Book{o}, nil
}

// Public is the key that statements are verified with.
func (b *Book) Public() ed25519.PublicKey { return b.o.Key.Public().(ed25519.PublicKey) }

func digestOf(sums []string) string {
	slices.Sort(sums)
	s := sha256.Sum256([]byte(strings.Join(sums, "\n")))
	return "sha256:" + hex.EncodeToString(s[:])
}

// Add signs and keeps the verdict that a report amounts to. Errors of kind
// invalid say what is wrong with it.
func (b *Book) Add(ctx context.Context, n New) (Verdict, error) {
	invalid := func(format string, args ...any) (Verdict, error) {
		return Verdict{}, sallyport.Errorf(sallyport.Invalid, format, args...)
	}
	image, ok := Image(n.Image)
	if !ok {
		return invalid("image: want a digest, sha256: and 64 hexadecimal digits")
	}
	if !digest.MatchString(n.Spec) {
		return invalid("spec: want the digest of the specification that was tested against")
	}
	if len(n.Report) > MaxReport {
		return invalid("report: larger than 4 MiB")
	}
	var r conformance.Report
	if err := json.Unmarshal(n.Report, &r); err != nil {
		return invalid("report: not one of sallyport check --format json")
	}
	now := b.o.Now().UTC()
	end := r.Started.Add(r.Duration)
	switch {
	case r.API != n.API:
		return invalid("report: it is of %q, not of %s", clip(r.API, 80), n.API)
	case depth[string(r.Profile)] == 0:
		return invalid("report: its profile is unknown")
	case r.Requests <= 0 || len(r.Coverage.Checks) == 0:
		return invalid("report: no instance was tested")
	case r.Duration < 0 || r.Duration > 24*time.Hour || r.Started.Before(now.Add(-48*time.Hour)) || end.After(now.Add(5*time.Minute)):
		return invalid("report: it is of another time: tests are reported within two days")
	}
	passed, found := r.Passed, 0
	for _, f := range r.Findings {
		if f.Level != conformance.Note {
			passed = false
			found++
		}
	}
	sum := sha256.Sum256(n.Report)
	p := Predicate{ID: newID(now), API: n.API, Spec: n.Spec, Policy: n.Policy, Profile: string(r.Profile), Passed: passed, Report: hex.EncodeToString(sum[:]), Reporter: n.Reporter,
		Tested: end.UTC().Truncate(time.Microsecond), Signed: now.Truncate(time.Second), Expires: now.Add(b.o.Good).Truncate(time.Second),
		Summary: fmt.Sprintf("%d kinds of check over %d operations, %d requests, %d findings", len(r.Coverage.Checks), len(r.Coverage.Operations), r.Requests, found)}
	envelope, err := Sign(b.o.Key, Statement{Type: StatementType, Subject: []Subject{{Name: n.API, Digest: map[string]string{"sha256": image[len("sha256:"):]}}}, PredicateType: PredicateType, Predicate: p})
	if err != nil {
		return Verdict{}, fmt.Errorf("sign a verdict: %w", err)
	}
	packed := Pack(n.Report)
	err = b.o.Store.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&row{ID: p.ID, API: p.API, Image: image, Tested: p.Tested.UnixMicro(), Signed: p.Signed.UnixMicro(), Reporter: p.Reporter, Envelope: envelope, Report: packed}).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*row)(nil)).Where("signed < ? OR id IN (SELECT id FROM attest_verdict ORDER BY signed DESC, id DESC LIMIT 1000 OFFSET ?)", now.Add(-b.o.Keep).UnixMicro(), b.o.Most).Exec(ctx)
		return err
	})
	if err != nil {
		return Verdict{}, fmt.Errorf("keep a verdict: %w", err)
	}
	return Verdict{p, image, envelope}, nil
}

// Judge says whether an image may run as an API whose specification in force
// has a digest: whether its newest verdicts against that specification, down to
// the first that looked as deep as profile, all passed, and that one is good
// still. why is for people, and says what to do.
func (b *Book) Judge(ctx context.Context, api, image, spec, profile string) (ok bool, why string, err error) {
	var rows []row
	if err := b.o.Store.Reader().NewSelect().Model(&rows).ExcludeColumn("report").Where("api = ? AND image = ?", api, image).Order("tested DESC", "id DESC").Limit(200).Scan(ctx); err != nil {
		return false, "", fmt.Errorf("read verdicts: %w", err)
	}
	again := fmt.Sprintf("run `sallyport check %s --profile %s --image %s --report …` in the pipeline", api, profile, image)
	shallow, other := "", ""
	for _, r := range rows {
		s, err := Verify(b.Public(), r.Envelope)
		p := s.Predicate
		switch {
		case err != nil || p.API != api || "sha256:"+s.Subject[0].Digest["sha256"] != image:
			return false, fmt.Sprintf("verdict %s is not as it was signed; %s", r.ID, again), nil
		case p.Spec != spec:
			other = p.ID
		case !p.Passed:
			return false, fmt.Sprintf("failed %s, verdict %s of %s: %s; repair it and test the new image", p.Profile, p.ID, p.Tested.Format(time.DateOnly), p.Summary), nil
		case depth[p.Profile] < depth[profile]:
			shallow = p.ID
		case !b.o.Now().Before(p.Expires):
			return false, fmt.Sprintf("verdict %s has expired on %s; %s", p.ID, p.Expires.Format(time.DateOnly), again), nil
		default:
			return true, fmt.Sprintf("passed %s, verdict %s", p.Profile, p.ID), nil
		}
	}
	switch {
	case shallow != "":
		return false, fmt.Sprintf("verdict %s is of a lesser profile than %s; %s", shallow, profile, again), nil
	case other != "":
		return false, fmt.Sprintf("verdict %s is against another specification than the one in force; %s", other, again), nil
	}
	return false, "there is no verdict on it; " + again, nil
}

// List gives verdicts, newest first, of an API and of an image where they are named.
func (b *Book) List(ctx context.Context, api, image string, limit int64) ([]Verdict, error) {
	var rows []row
	q := b.o.Store.Reader().NewSelect().Model(&rows).ExcludeColumn("report").Order("signed DESC", "id DESC").Limit(max(1, min(limit, 500)))
	if api != "" {
		q = q.Where("api = ?", api)
	}
	if image != "" {
		q = q.Where("image = ?", image)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read verdicts: %w", err)
	}
	out := make([]Verdict, 0, len(rows))
	for _, r := range rows {
		if v, err := b.verdict(r); err == nil {
			out = append(out, v)
		}
	}
	return out, nil
}

// Find gives one verdict and its report; an error of kind not found when there is none.
func (b *Book) Find(ctx context.Context, id string) (Verdict, []byte, error) {
	var r row
	err := b.o.Store.Reader().NewSelect().Model(&r).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Verdict{}, nil, sallyport.Errorf(sallyport.NotFound, "there is no verdict %s", clip(id, 40))
	}
	if err != nil {
		return Verdict{}, nil, fmt.Errorf("read a verdict: %w", err)
	}
	v, err := b.verdict(r)
	if err != nil {
		return v, nil, err
	}
	report, err := Unpack(r.Report)
	return v, report, err
}

// Pack makes a report small (gzip).
func Pack(report []byte) []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(report)
	z.Close()
	return packed.Bytes()
}

// Unpack reads what Pack has made; more than MaxReport is an error, before it is held.
func Unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, sallyport.Errorf(sallyport.Invalid, "report: not in gzip")
	}
	b, err := io.ReadAll(io.LimitReader(z, MaxReport+1))
	if err != nil {
		return nil, sallyport.Errorf(sallyport.Invalid, "report: its gzip is broken")
	}
	if len(b) > MaxReport {
		return nil, sallyport.Errorf(sallyport.Invalid, "report: larger than 4 MiB")
	}
	return b, nil
}

func (b *Book) verdict(r row) (Verdict, error) {
	s, err := Verify(b.Public(), r.Envelope)
	if err != nil {
		return Verdict{}, fmt.Errorf("verdict %s: %w", r.ID, err)
	}
	return Verdict{s.Predicate, "sha256:" + s.Subject[0].Digest["sha256"], r.Envelope}, nil
}

// newID is a name that sorts by time.
func newID(now time.Time) string {
	x := make([]byte, 5)
	rand.Read(x)
	return fmt.Sprintf("i%011x%x", now.UnixMilli(), x)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
