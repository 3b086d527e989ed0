package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

var severities = []sallyport.Severity{sallyport.Info, sallyport.Low, sallyport.Medium, sallyport.High, sallyport.Critical}

// A Finding is what somebody found wrong, and how long it has been so.
type Finding struct {
	sallyport.Finding
	ID        int64
	FirstSeen time.Time
	LastSeen  time.Time
	Ended     time.Time // zero: it is still so
	Times     int64     // how often it was found
}

// Bounds on what is kept of findings.
const (
	maxFindings = 5000 // open, of one API
	maxEvidence = 20
)

// Find takes in what somebody found wrong. Two findings of one rule, source,
// asset and place are one: found again it is refreshed, and one that is gone
// ends. Assets are resolved as by Claim. Findings are taken singly: those that
// make no sense are left out and named in the error.
func (v *Inventory) Find(ctx context.Context, findings []sallyport.Finding) error {
	var bad problems
	for at := 0; at < len(findings); at += claimBatch {
		chunk := findings[at:min(at+claimBatch, len(findings))]
		if err := v.change(ctx, "findings", func(w *writer) error {
			for i := range chunk {
				if err := w.find(&chunk[i]); err != nil {
					if !mine(err) {
						return err
					}
					bad.add("finding", at+i, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return bad.err()
}

func mark(f *sallyport.Finding, on subject) string {
	where := []string{on.api, on.op}
	if f.Asset.API == "" { // stays the same when an API is merged into another
		where = []string{f.Asset.Host, f.Asset.Path, f.Asset.Address, f.Asset.Method, f.Asset.Template}
	}
	b, _ := json.Marshal(append([]string{f.Rule, f.Source, f.Place}, where...))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func (w *writer) find(f *sallyport.Finding) error {
	severity := slices.Index(severities, f.Severity)
	switch {
	case f.Rule == "" || len(f.Rule) > 200 || f.Source == "":
		return sallyport.Errorf(sallyport.Invalid, "a finding names its rule and its source")
	case severity < 0 && !f.Gone:
		return sallyport.Errorf(sallyport.Invalid, "no severity %q", clean(string(f.Severity)))
	}
	h, err := w.home(&f.Asset)
	if err != nil {
		return err
	}
	k, err := w.operation(h.api, &f.Asset)
	if err != nil {
		return err
	}
	on := k.subject()
	id := mark(f, subject{h.origin, on.op})
	at := w.now
	if !f.Time.IsZero() && f.Time.UnixMicro() > 0 {
		at = min(f.Time.UnixMicro(), w.now)
	}
	var row, last, ended int64
	err = w.tx.Tx.QueryRowContext(w.ctx, w.v.query("SELECT id, at, ended_at FROM inventory_finding WHERE mark = ?"), id).Scan(&row, &last, &ended)
	if err != nil && err != sql.ErrNoRows {
		return fmt.Errorf("read finding: %w", err)
	}
	known := err == nil
	title := clean(cmp.Or(f.Title, f.Rule))
	if f.Gone {
		if !known || ended > 0 || at < last {
			return nil
		}
		w.change(k, "finding ended", f.Rule+": "+title)
		return w.exec("UPDATE inventory_finding SET ended_at = ? WHERE id = ?", max(at, 1), row)
	}
	evidence := []string{}
	for _, e := range f.Evidence[:min(len(f.Evidence), maxEvidence)] {
		evidence = append(evidence, clean(e))
	}
	refs := []string{}
	for _, r := range f.Refs[:min(len(f.Refs), maxEvidence)] {
		refs = append(refs, cut(clean(r), 100))
	}
	es, _ := json.Marshal(evidence)
	rs, _ := json.Marshal(refs)
	if known {
		if at < last {
			return nil
		}
		if ended > 0 {
			w.change(k, "finding", f.Rule+" again: "+title)
		}
		return w.exec("UPDATE inventory_finding SET title = ?, severity = ?, evidence = ?, fix = ?, refs = ?, at = ?, ended_at = 0, times = times + 1 WHERE id = ?",
			title, severity, string(es), clean(f.Fix), string(rs), at, row)
	}
	open, err := w.open(h.api)
	if err != nil {
		return err
	}
	if *open >= maxFindings {
		return sallyport.Errorf(sallyport.Limited, "API %q has %d open findings: no more are kept", h.api, *open)
	}
	*open++
	w.change(k, "finding", f.Rule+": "+title)
	return w.exec("INSERT INTO inventory_finding (mark, rule, source, api, op, origin, place, title, severity, evidence, fix, refs, first_at, at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		id, clean(f.Rule), clean(f.Source), on.api, on.op, h.origin, clean(f.Place), title, severity, string(es), clean(f.Fix), string(rs), at, at)
}

// open counts an API's open findings, once in a transaction.
func (w *writer) open(api string) (*int, error) {
	if w.findings == nil {
		w.findings = map[string]*int{}
	}
	if n := w.findings[api]; n != nil {
		return n, nil
	}
	n := new(int)
	w.findings[api] = n
	err := w.tx.Tx.QueryRowContext(w.ctx, w.v.query("SELECT COUNT(*) FROM inventory_finding WHERE api = ? AND ended_at = 0"), api).Scan(n)
	return n, err
}

// FindingFilter chooses findings. Empty fields choose all.
type FindingFilter struct {
	API      string
	Key      string // of an operation; "*" = the API's own only
	Rule     string
	Source   string
	Severity []sallyport.Severity
	Ended    bool // those that ended too
	Text     string
	After    int64 // ID of the last one of the page before
	Limit    int   // default 100, at most 1000
}

// Findings lists what f chooses, newest first.
func (v *Inventory) Findings(ctx context.Context, f FindingFilter) ([]Finding, error) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(q string, a ...any) { where, args = append(where, q), append(args, a...) }
	if f.API != "" {
		add("api = ?", f.API)
	}
	switch f.Key {
	case "":
	case "*":
		add("op = ''")
	default:
		add("op = ?", f.Key)
	}
	if f.Rule != "" {
		add("rule = ?", f.Rule)
	}
	if f.Source != "" {
		add("source = ?", f.Source)
	}
	if len(f.Severity) > 0 {
		var in []string
		for _, s := range f.Severity {
			i := slices.Index(severities, s)
			if i < 0 {
				return nil, sallyport.Errorf(sallyport.Invalid, "no severity %q", clean(string(s)))
			}
			in = append(in, fmt.Sprint(i))
		}
		add("severity IN (" + strings.Join(in, ",") + ")")
	}
	if !f.Ended {
		add("ended_at = 0")
	}
	if f.Text != "" {
		add("LOWER(title) LIKE ? ESCAPE '\\'", like(f.Text))
	}
	if f.After > 0 {
		add("id < ?", f.After)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	var out []Finding
	err := v.read(ctx, "findings", "SELECT id, rule, source, api, op, place, title, severity, evidence, fix, refs, first_at, at, ended_at, times FROM inventory_finding WHERE "+
		strings.Join(where, " AND ")+fmt.Sprintf(" ORDER BY id DESC LIMIT %d", min(f.Limit, 1000)), args, func(rows *sql.Rows) error {
		var x Finding
		var on subject
		var severity int
		var evidence, refs string
		var first, last, ended int64
		if err := rows.Scan(&x.ID, &x.Rule, &x.Finding.Source, &on.api, &on.op, &x.Place, &x.Title, &severity, &evidence, &x.Fix, &refs, &first, &last, &ended, &x.Times); err != nil {
			return err
		}
		k := on.key()
		x.Asset = sallyport.Asset{API: k.api, Method: k.method, Template: k.template}
		x.Severity = severities[min(max(severity, 0), len(severities)-1)]
		x.FirstSeen, x.LastSeen, x.Ended = timeOf(first), timeOf(last), timeOf(ended)
		x.Time, x.Gone = x.LastSeen, ended > 0
		out = append(out, x)
		if err := json.Unmarshal([]byte(evidence), &out[len(out)-1].Evidence); err != nil {
			return err
		}
		return json.Unmarshal([]byte(refs), &out[len(out)-1].Refs)
	})
	return out, err
}

// like is text as a pattern for LIKE, in lower case.
func like(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
}
