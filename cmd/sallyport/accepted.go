package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/api"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// accepted are rules that were put in force at the console, beside those of the
// configuration: a file of the data directory, written whole or not at all.
type accepted struct {
	path string

	mu   sync.Mutex
	list []acceptedRule
}

type acceptedRule struct {
	ID        string    `json:"id"`
	API       string    `json:"api"`
	Name      string    `json:"name"`
	Operation string    `json:"operation"`
	From      string    `json:"from"`
	Target    string    `json:"target"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
}

const acceptedMost = 1000

// openAccepted reads the rules that were accepted before.
func openAccepted(dir string) (*accepted, error) {
	a := &accepted{path: filepath.Join(dir, "accepted-rules.json")}
	b, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &a.list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the rules accepted at the console: %w (move %s away to start without them)", err, a.path)
	}
	return a, nil
}

// of lists the rules of an API.
func (a *accepted) of(name string) (out []acceptedRule) {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.list {
		if r.API == name {
			out = append(out, r)
		}
	}
	return out
}

// change replaces the list by what f makes of it, on disk first.
func (a *accepted) change(f func([]acceptedRule) ([]acceptedRule, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := f(slices.Clone(a.list))
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(a.path, b); err != nil {
		return fmt.Errorf("keep the accepted rules: %w", err)
	}
	a.list = next
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// Sideloads lists the rules in force and what clients' ways of asking suggest.
func (e *engine) Sideloads() (rules []api.SideloadRule, offers []api.SideloadOffer) {
	e.mu.Lock()
	now := e.current
	e.mu.Unlock()
	for _, p := range now.pools {
		if p.Sideload == nil {
			continue
		}
		by := map[string]acceptedRule{}
		for _, r := range e.lasting.accepted.of(p.Name) {
			by[r.ID] = r
		}
		for _, s := range p.Sideload.Rules {
			v := api.SideloadRule{API: p.Name, Name: s.Name, Operation: s.Operation, From: s.From, Target: "GET " + s.Target, Source: s.Origin, Param: p.Sideload.Param}
			if r, ok := by[s.Origin]; ok {
				v.ID, v.Source, v.By, v.At = r.ID, "accepted", r.By, &r.At
			}
			rules = append(rules, v)
		}
	}
	for _, r := range e.gateway.Repeats() {
		if !slices.ContainsFunc(rules, func(x api.SideloadRule) bool {
			return x.API == r.API && x.Operation == r.Operation && x.From == r.From && x.Target == r.Target
		}) {
			offers = append(offers, api.SideloadOffer{API: r.API, Name: r.Name, Operation: r.Operation, From: r.From, Target: r.Target, Lists: r.Lists, Calls: r.Calls, Last: r.Last.UTC()})
		}
	}
	return rules, offers
}

// AcceptSideload puts a rule in force, now and after each start.
func (e *engine) AcceptSideload(ctx context.Context, r api.SideloadRule) (string, error) {
	e.mu.Lock()
	now := e.current
	e.mu.Unlock()
	i := slices.IndexFunc(now.apis, func(a guard.API) bool { return a.Name == r.API })
	if i < 0 || now.apis[i].Spec == nil {
		return "", sallyport.Errorf(sallyport.Invalid, "there is no API %s with a specification", r.API)
	}
	rule := policy.SideloadRule{Name: r.Name, Operation: r.Operation, From: r.From, Target: r.Target}
	next := policy.API{Sideload: policy.Sideload{Rules: []policy.SideloadRule{rule}}}
	if m := next.Check(operations(r.API, now.apis[i].Spec)); len(m) > 0 {
		return "", sallyport.Errorf(sallyport.Invalid, "%s", m[0].Text)
	}
	b := make([]byte, 8)
	rand.Read(b)
	id := hex.EncodeToString(b)
	err := e.lasting.accepted.change(func(list []acceptedRule) ([]acceptedRule, error) {
		for _, p := range now.pools {
			if p.Name == r.API && p.Sideload != nil && slices.ContainsFunc(p.Sideload.Rules, func(s gateway.Side) bool { return s.Operation == r.Operation && s.Name == r.Name }) {
				return nil, sallyport.Errorf(sallyport.Conflict, "%s has a rule %s already", r.Operation, r.Name)
			}
		}
		if len(list) >= acceptedMost {
			return nil, sallyport.Errorf(sallyport.Conflict, "there are %d accepted rules; move some into the configuration", len(list))
		}
		return append(list, acceptedRule{ID: id, API: r.API, Name: r.Name, Operation: r.Operation, From: r.From, Target: r.Target, By: r.By, At: time.Now().UTC().Truncate(time.Second)}), nil
	})
	if err == nil {
		err = e.again(ctx, "rule "+r.Name+" of "+r.Operation+" was accepted")
	}
	return id, err
}

// DropSideload takes an accepted rule away again.
func (e *engine) DropSideload(ctx context.Context, id string) (gone api.SideloadRule, err error) {
	err = e.lasting.accepted.change(func(list []acceptedRule) ([]acceptedRule, error) {
		i := slices.IndexFunc(list, func(r acceptedRule) bool { return r.ID == id })
		if i < 0 {
			return nil, sallyport.Errorf(sallyport.NotFound, "there is no such rule")
		}
		gone = api.SideloadRule{API: list[i].API, Name: list[i].Name, Operation: list[i].Operation}
		return slices.Delete(list, i, i+1), nil
	})
	if err == nil {
		err = e.again(ctx, "rule "+gone.Name+" of "+gone.Operation+" was taken away")
	}
	return gone, err
}

// again takes the configuration over once more, with what is beside it.
func (e *engine) again(ctx context.Context, why string) error {
	if failed := e.reload(context.WithoutCancel(ctx), why); failed != nil {
		return sallyport.Errorf(sallyport.Conflict, "kept, but not in force yet: the configuration was refused: %s", cmp.Or(strings.SplitN(failed.Error(), "\n", 2)[0], "see the log"))
	}
	return nil
}
