package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/inventory"
	"sallyport.dev/spec/audit"
)

const sourceAudit = "spec audit"

// audits looks at the documents of the configured APIs whenever they are taken
// over, behind everything else, and tells the inventory what it found and what
// was mended. Documents that stayed the same are not looked at again.
type audits struct {
	mu    sync.Mutex
	apis  []guard.API
	wake  chan struct{}
	known map[string][sha256.Size]byte // by API: its documents
}

func (a *audits) signal() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wake == nil {
		a.wake = make(chan struct{}, 1)
	}
	return a.wake
}

// of says which APIs are in force now.
func (a *audits) of(apis []guard.API) {
	wake := a.signal()
	a.mu.Lock()
	a.apis = apis
	a.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (a *audits) run(e *engine) func(context.Context) error {
	wake := a.signal()
	return func(ctx context.Context) error {
		a.known = map[string][sha256.Size]byte{}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-wake:
			}
			a.mu.Lock()
			apis := a.apis
			a.mu.Unlock()
			for _, api := range apis {
				if api.Spec == nil || ctx.Err() != nil {
					continue
				}
				if err := a.one(ctx, e, &api); err != nil && ctx.Err() == nil {
					e.log.Error("audit the specification", "api", api.Name, "error", err)
				}
			}
		}
	}
}

func (a *audits) one(ctx context.Context, e *engine, api *guard.API) error {
	type document struct {
		name string
		data []byte
	}
	var documents []document
	sum := sha256.New()
	for _, file := range api.Spec.Files() {
		data, err := os.ReadFile(file)
		if err != nil || len(data) > maxDescription {
			continue // the next load says so
		}
		name := file
		if dir, err := filepath.Abs(filepath.Dir(e.cfg.file)); err == nil {
			if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
				name = rel
			}
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
		documents = append(documents, document{name, data})
	}
	digest := [sha256.Size]byte(sum.Sum(nil))
	if a.known[api.Name] == digest {
		return nil
	}
	now := time.Now()
	asset := sallyport.Asset{API: api.Name}
	var found []sallyport.Finding
	score, looked := 100, false
	for _, d := range documents {
		r, err := audit.Audit(d.name, d.data, audit.Options{Classify: classOf})
		if err != nil {
			continue // a part of a description, or one of another kind
		}
		looked, score = true, min(score, r.Score)
		for _, f := range r.AsFindings(asset, sourceAudit) {
			if f.Severity != sallyport.Info {
				f.Time = now
				found = append(found, f)
			}
		}
	}
	type mark struct{ rule, place string }
	still := map[mark]bool{}
	for _, f := range found {
		still[mark{f.Rule, f.Place}] = true
	}
	for after := int64(0); ; {
		open, err := e.inventory.Findings(ctx, inventory.FindingFilter{API: api.Name, Source: sourceAudit, After: after, Limit: 1000})
		if err != nil {
			return err
		}
		for _, f := range open {
			after = f.ID
			if !still[mark{f.Rule, f.Place}] {
				found = append(found, sallyport.Finding{Rule: f.Rule, Place: f.Place, Asset: asset, Source: sourceAudit, Time: now, Gone: true})
			}
		}
		if len(open) < 1000 {
			break
		}
	}
	if err := e.inventory.Find(ctx, found); err != nil {
		return err
	}
	claim := sallyport.Claim{Asset: asset, Field: "spec.score", Value: strconv.Itoa(score), Source: sourceAudit, Confidence: 1, Time: now, Withdrawn: !looked}
	if looked || a.known[api.Name] != [sha256.Size]byte{} {
		if err := e.inventory.Claim(ctx, []sallyport.Claim{claim}); err != nil {
			return err
		}
	}
	a.known[api.Name] = digest
	return nil
}
