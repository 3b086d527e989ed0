package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/inventory"
	"sallyport.dev/spec"
)

// breakingConfig says what becomes of changes that break who uses an API.
type breakingConfig struct {
	Window     time.Duration     `yaml:"window" doc:"Who has used an operation within it counts as a consumer of it. Default 720h."`
	Off        bool              `yaml:"off" doc:"New specifications are not compared with the old."`
	Exceptions []breakingAllowed `yaml:"exceptions" doc:"Changes that may break consumers, for a time."`
}

// breakingWindow is the default of breakingConfig.Window.
const breakingWindow = 720 * time.Hour

type breakingAllowed struct {
	Operation string `yaml:"operation" need:"1" doc:"Operation of the old specification, such as GET /items/{id}."`
	Change    string `yaml:"change" doc:"Kind of change: operation.removed, request.required, request.narrowed, request.removed, request.media-type, security.raised, answer.status, answer.media-type, answer.removed or answer.widened. Default all."`
	Approver  string `yaml:"approver" need:"1" doc:"Who has approved it."`
	Expires   string `yaml:"expires" need:"1" doc:"Day on which it ends, as 2030-12-31."`
	Reason    string `yaml:"reason" doc:"Why."`
}

func (b *breakingConfig) check(path string, bad func(string, string, ...any)) {
	if b.Window < 0 {
		bad(path+".window", "%s is before now", b.Window)
	}
	for i, x := range b.Exceptions {
		at := fmt.Sprintf("%s.exceptions[%d]", path, i)
		if !strings.Contains(x.Operation, " /") {
			bad(at+".operation", "%q is no operation such as GET /items/{id}", x.Operation)
		}
		if x.Change != "" && !slices.Contains(conformance.Rules, x.Change) {
			bad(at+".change", "%q is not one of %s", x.Change, strings.Join(conformance.Rules, ", "))
		}
		if x.Approver == "" {
			bad(at, "approver is missing: who has approved it?")
		}
		if _, err := time.Parse(time.DateOnly, x.Expires); err != nil {
			bad(at+".expires", "%q is no day such as 2030-12-31", x.Expires)
		}
	}
}

// allow notes on each break the exception that lets it pass today.
func (b *breakingConfig) allow(list []conformance.Break, now time.Time) {
	for i := range list {
		x := &list[i]
		for _, e := range b.Exceptions {
			if end, err := time.Parse(time.DateOnly, e.Expires); err == nil && now.Before(end.AddDate(0, 0, 1)) && e.Operation == x.Operation && (e.Change == "" || e.Change == x.Rule) {
				x.Exception = &conformance.Exception{Approver: e.Approver, Expires: e.Expires, Reason: e.Reason}
				break
			}
		}
	}
}

// usage is the inventory as conformance asks it.
type usage struct{ v *inventory.Inventory }

// Usage implements conformance.Uses.
func (u usage) Usage(ctx context.Context, api, operation string, since time.Time) (out conformance.Usage, err error) {
	d, err := u.v.Operation(ctx, api, operation)
	if sallyport.KindOf(err) == sallyport.NotFound {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	for _, c := range d.Consumers {
		if c.LastSeen.After(since) {
			out.Consumers = append(out.Consumers, c.Principal)
		}
	}
	out.Anonymous = d.Anonymous > 0 && d.LastSeen.After(since)
	out.Used = func(in sallyport.In, name string) bool {
		for _, p := range d.Places {
			if !p.Response && p.In == in && strings.EqualFold(p.Name, name) {
				return p.LastSeen.After(since)
			}
		}
		return true // nobody has looked
	}
	return out, nil
}

// changes compares what an instance is tested against with what consumers rely
// on, and puts into the report what would break them. What passes becomes what
// they rely on.
func (e *engine) changes(ctx context.Context, a *apiConfig, set *spec.Set, r *conformance.Report) error {
	g := e.nudged.Load()
	b := &a.Gate.Breaking
	if g == nil || b.Off {
		return nil
	}
	now := conformance.SurfaceOf(set)
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	kept, err := g.Baseline(ctx, a.Name)
	if err != nil {
		return err
	}
	if kept != nil && !bytes.Equal(kept, text) {
		var old conformance.Surface
		if err := json.Unmarshal(kept, &old); err != nil {
			return fmt.Errorf("read the contract that consumers rely on: %w", err)
		}
		var uses conformance.Uses
		if e.inventory != nil {
			uses = usage{e.inventory}
		}
		list, err := conformance.Affected(ctx, a.Name, conformance.Compare(old, now), uses, time.Now().Add(-cmp.Or(b.Window, breakingWindow)))
		if err != nil {
			return err
		}
		b.allow(list, time.Now())
		r.Add(list)
	}
	if r.Passed && !bytes.Equal(kept, text) {
		return g.Rely(ctx, a.Name, text)
	}
	return nil
}

// against compares the description with an older one, for check. Who uses what
// is not known there: every break counts.
func (k conformCmd) against(ctx context.Context, set *spec.Set) ([]conformance.Break, error) {
	if k.Against == "" {
		return nil, nil
	}
	old, err := spec.Load(ctx, []spec.Source{{Path: k.Against}}, spec.Options{Keep: true})
	if err != nil {
		return nil, &refused{err.Error()}
	}
	list := conformance.Compare(conformance.SurfaceOf(old), conformance.SurfaceOf(set))
	if c, err := readConfig(k.Config); err == nil && c != nil {
		for i := range c.APIs {
			if a := &c.APIs[i]; a.Name == k.Of && a.Gate != nil {
				a.Gate.Breaking.allow(list, time.Now())
			}
		}
	}
	return list, nil
}

var errNoTarget = errors.New("say which instance: --target http://host:port")
