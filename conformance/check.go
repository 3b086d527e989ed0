package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Check is one kind of test.
type Check struct {
	ID    string // stable, such as "contract.status-undeclared"
	Title string
	Why   string
	OWASP string // of the OWASP API Security Top 10, 2023; "" = none
	CWE   string
	Level Level
}

// Profile is the least profile that runs a check: Safe, or Full for what
// changes what others rely on, uses a limit up or ends the instance.
func (c Check) Profile() Profile {
	switch c.ID {
	case "state.transition", "security.revoked", "security.suspended", "security.rate-limit", "security.retry-after", "security.timing", "security.guessing", "operations.graceful-stop":
		return Full
	}
	return Safe
}

// Checks lists the kinds of test in the order of their families.
func Checks() []Check { return slices.Clone(catalogue) }

func checkOf(id string) Check {
	for _, c := range catalogue {
		if c.ID == id {
			return c
		}
	}
	panic("conformance: check " + id + " is not in the catalogue")
}

// judged notes that a check looked at an operation.
func (r *run) judged(id string, o *operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks[id]++
	if o != nil {
		o.checks[id]++
	}
}

// A judge says what is wrong with an answer, "" when nothing is.
type judge func(*answer) string

// try sends a call and has its answer judged. What is wrong is repeated, made
// small and reported. It never returns nil.
func (r *run) try(ctx context.Context, id string, c call, place string, j judge) *answer {
	if r.skips(id) {
		return &answer{err: errBudget}
	}
	a := r.send(ctx, c)
	r.weigh(ctx, id, c, a, place, j)
	return a
}

// weigh is try with the answer at hand.
func (r *run) weigh(ctx context.Context, id string, c call, a *answer, place string, j judge) bool {
	if r.skips(id) || a.err != nil && (errors.Is(a.err, errBudget) || ctx.Err() != nil) {
		return true
	}
	r.judged(id, c.op)
	why := j(a)
	if why == "" {
		return true
	}
	if r.known(id, c.op, place) {
		return false
	}
	bad, total := 1, 1
	for range 2 {
		b := r.send(ctx, c)
		if errors.Is(b.err, errBudget) {
			break
		}
		total++
		if w := j(b); w != "" {
			bad++
		}
	}
	f := Finding{Place: place, Detail: why, Status: a.status, Seen: fmt.Sprintf("%d of %d", bad, total)}
	safe := c.method == "GET" || c.method == "HEAD" || c.method == "OPTIONS"
	if bad == 1 && total > 1 && safe {
		f.Check, f.Operation, f.Seed = id, operationName(c), r.Seed
		f.Curl, f.Level = r.curl(c), Note
		r.mu.Lock()
		r.report.Flaky = append(r.report.Flaky, f)
		r.mu.Unlock()
		return false
	}
	if bad == total {
		c = r.small(ctx, c, j)
	}
	r.find(id, c, f)
	return false
}

func operationName(c call) string {
	if c.op != nil {
		return c.op.key
	}
	return c.method + " " + c.path
}

// small takes out of a call what it goes wrong without. What it broke and what
// it held to stays so, by the specification's own validators.
func (r *run) small(ctx context.Context, c call, j judge) call {
	if c.op == nil {
		return c
	}
	rules := func(c *call) string {
		var out []string
		for _, p := range c.op.broken(r.Spec, c) {
			out = append(out, string(p.Place.In)+p.Place.Name+p.Rule)
		}
		return strings.Join(out, ";")
	}
	want, tries := rules(&c), 0
	keep := func(d call) {
		if tries++; tries > 12 || rules(&d) != want {
			return
		}
		if a := r.send(ctx, d); a.err == nil && j(a) != "" {
			c = d
		}
	}
	for i := len(c.query) - 1; i >= 0; i-- {
		keep(c.with(func(d *call) { d.query = slices.Delete(d.query, i, i+1) }))
	}
	for i := len(c.header) - 1; i >= 0; i-- {
		keep(c.with(func(d *call) { d.header = slices.Delete(d.header, i, i+1) }))
	}
	var o map[string]any
	if strings.Contains(c.media, "json") && len(c.body) < 64<<10 && json.Unmarshal(c.body, &o) == nil {
		names := make([]string, 0, len(o))
		for k := range o {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			var now map[string]any
			if json.Unmarshal(c.body, &now) != nil {
				break
			}
			delete(now, k)
			keep(c.with(func(d *call) { d.body = encode(d.media, now) }))
		}
	}
	return c
}

func (r *run) known(id string, o *operation, place string) bool {
	key := ""
	if o != nil {
		key = o.key
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id+"\x00"+key+"\x00"+place]
}

// find reports, once for a check, operation and place.
func (r *run) find(id string, c call, f Finding) {
	k := checkOf(id)
	key := ""
	if c.op != nil {
		key = c.op.key
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := id + "\x00" + key + "\x00" + f.Place
	if r.seen[name] {
		return
	}
	r.seen[name] = true
	f.Check, f.Operation, f.Seed, f.Curl, f.Level = id, operationName(c), r.Seed, r.curl(c), k.Level
	if c.as != nil {
		f.Identity = c.as.Name
	}
	if len(r.report.Findings) < 1000 {
		r.report.Findings = append(r.report.Findings, f)
	}
}

// all runs every part of the plan and makes the report.
func (r *run) all(parent context.Context) (*Report, error) {
	ctx, cancel := context.WithTimeout(parent, r.Budget.Time)
	defer cancel()
	if r.own != nil {
		defer r.own.CloseIdleConnections()
	}
	if a := r.send(ctx, call{method: "GET", path: "/"}); a.err != nil {
		if parent.Err() != nil {
			return nil, parent.Err()
		}
		r.find("contract.answers", call{method: "GET", path: "/"}, Finding{Detail: "the target does not answer: " + plainError(a.err)})
	} else {
		r.parallel(ctx, func(o *operation) { r.contract(ctx, o) })
		if r.wants("reject.") {
			r.parallel(ctx, func(o *operation) { r.rejection(ctx, o) })
		}
		for _, f := range r.later {
			f()
		}
		if r.wants("state.") {
			r.states(ctx)
			r.singles(ctx)
			r.references(ctx)
			r.transitions(ctx)
		}
		if r.wants("security.") {
			r.security(ctx)
		}
		if r.wants("operations.", "security.") {
			r.operations(ctx)
		}
		for _, f := range r.last {
			f()
		}
	}
	switch {
	case parent.Err() != nil:
		r.notRun("the run was interrupted")
	case ctx.Err() != nil:
		r.notRun("the time of %v is used up: give more (--time)", r.Budget.Time)
	case r.spent >= r.Budget.Requests:
		r.notRun("the %d requests of the budget are used up: give more (--requests)", r.Budget.Requests)
	case r.down >= 8:
		r.find("contract.answers", call{method: "GET", path: "/"}, Finding{Detail: "the target stopped to answer"})
	}
	r.clean(context.WithoutCancel(parent))
	if r.Profile != Safe && ctx.Err() == nil && r.down < 8 {
		r.stopping(ctx)
	}
	return r.finish(), parent.Err()
}

// wants reports whether a check of a family is to be run: a stage whose own
// checks are all left out is left out.
func (r *run) wants(families ...string) bool {
	return slices.ContainsFunc(catalogue, func(c Check) bool {
		return !r.skips(c.ID) && slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(c.ID, f) })
	})
}

func plainError(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

func (r *run) parallel(ctx context.Context, f func(*operation)) {
	var wg sync.WaitGroup
	work := make(chan *operation)
	for range r.Budget.Workers {
		wg.Go(func() {
			for o := range work {
				if ctx.Err() == nil {
					f(o)
				}
			}
		})
	}
	for _, o := range r.ops {
		if !o.skip {
			work <- o
		}
	}
	close(work)
	wg.Wait()
}

// clean deletes what was made, the last thing first by depth of its path.
func (r *run) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	paths := make([]string, 0, len(r.made))
	for p := range r.made {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int {
		if n := strings.Count(b, "/") - strings.Count(a, "/"); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	r.Budget.Requests, r.down = r.spent+4*len(paths)+4, 0
	for _, p := range paths {
		c := r.made[p]
		a := r.preconditioned(ctx, c, r.send(ctx, c))
		if a.status == 403 || a.status == 401 || a.status == 404 {
			for i := range r.Identities {
				if d := c.with(func(d *call) { d.as = &r.Identities[i] }); d.as != c.as && !a.ok() {
					a = r.preconditioned(ctx, d, r.send(ctx, d))
				}
			}
		}
		if !a.ok() && a.status != 404 && a.status != 410 {
			r.report.Left = append(r.report.Left, fmt.Sprintf("%s (DELETE answered %d)", p, a.status))
		}
	}
}

func (r *run) finish() *Report {
	out := r.report
	out.Requests, out.Duration = r.spent, time.Since(out.Started)
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		if c := strings.Compare(a.Check, b.Check); c != 0 {
			return c
		}
		return strings.Compare(a.Operation+a.Place, b.Operation+b.Place)
	})
	out.Passed = true
	for _, f := range out.Findings {
		out.Passed = out.Passed && f.Level == Note
	}
	out.Coverage.Checks = r.checks
	for _, o := range r.ops {
		c := OperationCoverage{Operation: o.key, Reached: o.reached, Checks: o.checks}
		for _, a := range o.d.Answers {
			c.Declared = append(c.Declared, a.Status)
		}
		for _, p := range o.d.Params {
			name := string(p.In) + " " + p.Name
			c.Params = append(c.Params, name)
			if o.sent[name] {
				c.Sent = append(c.Sent, name)
			}
		}
		good := false
		for s := range o.reached {
			good = good || s < 400
		}
		if !good && !o.skip {
			c.Why = o.why
			if c.Why == "" {
				c.Why = "no request of it succeeded"
			}
			r.notRunLocked(o.key + ": " + c.Why)
		}
		out.Coverage.Operations = append(out.Coverage.Operations, c)
	}
	return out
}

func (r *run) notRunLocked(text string) { r.report.NotRun = append(r.report.NotRun, text) }
