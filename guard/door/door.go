// Package door steps sessions for proxies that ask before they serve. In comes
// what a proxy tells of a request and, where it can, of the answer; out go the
// decision, headers that say who calls, and the record, which names what this
// proxy did not show. It speaks no protocol, opens no socket, and forwards
// nothing: that is the affair of the adapters and of the proxies behind them.
package door

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
)

// A Resolver fetches a key that the program does not have, as the gateway's does.
// One that has also Introspect(ctx, issuer, token) error is asked about opaque tokens.
type Resolver interface {
	Resolve(ctx context.Context, issuer, keyID string) error
}

type introspector interface {
	Introspect(ctx context.Context, issuer, token string) error
}

// A Recorder takes the records. Both methods are called from many goroutines
// at once and must not block.
type Recorder interface {
	Want(x *sallyport.Exchange) bool
	Record(x *sallyport.Exchange)
}

// A Desk is where one proxy, or several of a kind, ask. Its fields are set
// before the first question and not changed; it is safe for concurrent use.
type Desk struct {
	Name     string                // of the door in the records
	Program  func() *guard.Program // in force now
	Resolver Resolver              // nil: nothing is fetched
	Recorder Recorder              // nil: nothing is recorded
	// Within bounds the time for a decision; zero is 200 ms.
	Within time.Duration
	// FailOpen lets pass what could not be decided in time, or for want of room.
	// The record says so.
	FailOpen bool
	// RefuseUnseen refuses requests with a body that the program wants to look at
	// and the proxy does not show; else they pass, and the record says so.
	RefuseUnseen bool
	// Answers says that the proxy shows answers: a session stays open until its
	// answer has come, for Patience (zero is 60 s) at most.
	Answers  bool
	Patience time.Duration
	// Most are the questions under way at once, those that wait for an answer
	// included; zero is 8192.
	Most int
	// Strip are the request headers of clients that never pass, in the manner of
	// the gateway's; a trailing * stands for any rest.
	Strip []string
	Now   func() time.Time // nil: time.Now

	open    atomic.Int64
	mu      sync.Mutex
	waiting map[string]*Turn
	oldest  time.Time
	strip   sync.Once
	exact   map[string]bool
	prefix  []string

	asked, refused, unseen, failed, strange, lost atomic.Uint64
	took                                          [len(Buckets) + 1]atomic.Uint64
	tookNanos                                     atomic.Int64
	last                                          atomic.Int64
}

// Buckets are the upper bounds of Counts.Took, in seconds.
var Buckets = [...]float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25}

// Counts is how a desk has fared.
type Counts struct {
	Asked, Refused uint64
	Unseen         uint64 // requests with a body that the program wanted and the proxy did not show
	Failed         uint64 // not decided in time, or for want of room
	Strange        uint64 // messages that could not be read, and peers that may not ask
	Lost           uint64 // answers that never came
	Waiting        int    // sessions that wait for their answer
	Took           []uint64
	TookSum        time.Duration
	Last           time.Time
}

// Counts gives the counters now.
func (d *Desk) Counts() Counts {
	c := Counts{Asked: d.asked.Load(), Refused: d.refused.Load(), Unseen: d.unseen.Load(), Failed: d.failed.Load(), Strange: d.strange.Load(), Lost: d.lost.Load(),
		TookSum: time.Duration(d.tookNanos.Load())}
	for i := range d.took {
		c.Took = append(c.Took, d.took[i].Load())
	}
	if n := d.last.Load(); n != 0 {
		c.Last = time.Unix(0, n)
	}
	d.mu.Lock()
	c.Waiting = len(d.waiting)
	d.mu.Unlock()
	return c
}

// Strange counts a message that could not be read, or a peer that may not ask.
func (d *Desk) Strange() { d.strange.Add(1) }

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Sight says how much of a body a proxy shows.
type Sight uint8

// The sights. None is of proxies that never show bodies.
const (
	None  Sight = iota
	Whole       // all of it
	Cut         // its beginning
)

// A Turn is one request between its question and its end. It belongs to one
// goroutine at a time. Finish ends it; whoever holds it until an answer comes
// hands it to Hold instead.
type Turn struct {
	ID string

	d       *Desk
	ses     *guard.Session
	step    guard.Step
	refusal *guard.Refusal
	who     [][2]string
	began   time.Time
	notes   []string
	out     guard.Outcome
	open    bool // it failed, and passes all the same
	entered bool
	head    bool // the answer's head was seen
	answer  guard.Step
	body    []byte
	until   time.Time
	over    bool
}

var busy = &guard.Refusal{Kind: guard.KindUnavailable, Action: sallyport.ActionThrottle, Stage: sallyport.StageRequest, Header: [][2]string{{"Retry-After", "1"}}}

// Ask begins a turn on a request's head. r.ID and r.Door are the desk's to set.
func (d *Desk) Ask(ctx context.Context, r *guard.Request) *Turn {
	now := d.now()
	r.ID, r.Door = newID(now), d.Name
	t := &Turn{ID: r.ID, d: d, began: now}
	d.asked.Add(1)
	d.last.Store(now.UnixNano())
	if d.open.Add(1) > int64(or(d.Most, 8192)) {
		d.open.Add(-1)
		d.failed.Add(1)
		t.fail(r)
		return t
	}
	t.entered = true
	t.ses, t.step = d.Program().Begin(r, now)
	if t.step.Verb == guard.Fetch {
		t.fetch(ctx)
	}
	t.take(t.step)
	return t
}

// fail is the turn that found no room.
func (t *Turn) fail(r *guard.Request) {
	t.over = true
	x := &sallyport.Exchange{ID: t.ID, Time: t.began, Door: t.d.Name, Method: r.Method, Host: r.Host, Path: r.Path, Query: r.RawQuery, Proto: r.Proto, TLS: r.TLS, Client: r.Client}
	reason := sallyport.Reason{Stage: sallyport.StageRequest, Rule: "door.busy", Detail: "too many questions at once", Mode: sallyport.Enforce}
	if t.d.FailOpen {
		reason.Mode, x.Unseen = sallyport.Observe, true
		x.Decision = sallyport.Decision{Action: sallyport.ActionAllow, NotInspected: []string{"everything: " + reason.Detail + ", and the door fails open"}}
	} else {
		t.refusal = busy
		x.Status = busy.Status
		x.Decision = sallyport.Decision{Action: busy.Action, Stage: busy.Stage, Status: busy.Status}
		t.d.refused.Add(1)
	}
	x.Decision.Reasons = []sallyport.Reason{reason}
	if t.d.Recorder != nil {
		t.d.Recorder.Record(x)
	}
}

func (t *Turn) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, or(t.d.Within, 200*time.Millisecond))
	defer cancel()
	for tries := 0; t.step.Verb == guard.Fetch && tries < 4; tries++ {
		if f := t.step.Fetch; t.d.Resolver == nil {
		} else if f.Token == "" {
			_ = t.d.Resolver.Resolve(ctx, f.Issuer, f.KeyID) // the session sees what came of it
		} else if asks, ok := t.d.Resolver.(introspector); ok {
			_ = asks.Introspect(ctx, f.Issuer, f.Token)
		}
		t.step = t.ses.Resume(t.d.now())
	}
	late := ctx.Err() != nil && t.step.Verb == guard.Refuse && t.step.Refusal.Status == http.StatusServiceUnavailable
	if t.step.Verb == guard.Fetch || late {
		t.d.failed.Add(1)
		t.open = t.d.FailOpen
		if t.step.Verb == guard.Fetch {
			t.step = guard.Step{Verb: guard.Refuse, Refusal: busy}
		}
		t.notes = append(t.notes, "credentials: what was needed to check them did not come within the door's bound")
	}
}

// take goes on from a step of the session.
func (t *Turn) take(s guard.Step) {
	t.step = s
	if s.Verb != guard.Proceed && s.Refusal != nil {
		t.refusal = s.Refusal
		if s.Wait > 0 { // not so long that the proxy stops waiting for us
			time.Sleep(min(s.Wait, or(t.d.Within, 200*time.Millisecond)/2))
		}
	}
}

// Refusal is how the request, or its answer, is turned away; nil: it passes.
func (t *Turn) Refusal() *guard.Refusal {
	if t.open {
		return nil
	}
	return t.refusal
}

// Wants says whether the request's body is wanted, and the most bytes of it that
// are of use; one byte more tells that there are more.
func (t *Turn) Wants() (limit int64, wants bool) {
	if t.over || t.refusal != nil {
		return 0, false
	}
	switch t.step.Body {
	case guard.BodyWhole:
		return t.step.BodyLimit + 1, true
	case guard.BodySample:
		return t.step.BodyLimit, true
	case guard.BodyForm, guard.BodyMessages:
		return 0, true
	}
	return 0, false
}

// Body hands the request's body over, as much as the proxy shows of it. The turn
// keeps b until its end.
func (t *Turn) Body(b []byte, sight Sight) {
	_, wants := t.Wants()
	if t.over || t.refusal != nil {
		return
	}
	t.out.RequestBytes = int64(len(b))
	t.body = b
	if !wants {
		return
	}
	streams := t.step.Body == guard.BodyForm || t.step.Body == guard.BodyMessages
	switch {
	case sight == Whole && !streams && int64(len(b)) <= t.step.BodyLimit, t.step.Body == guard.BodySample && int64(len(b)) >= t.step.BodyLimit:
		t.take(t.ses.RequestBody(b[:min(int64(len(b)), t.step.BodyLimit)], t.d.now()))
	case sight == Whole && !streams:
		t.take(t.ses.RequestBody(b[:t.step.BodyLimit+1], t.d.now()))
	default:
		t.unseen(sight == Cut || streams)
	}
}

var refusedUnseen = &guard.Refusal{Kind: guard.KindTooLarge, Action: sallyport.ActionRefuse, Stage: sallyport.StageRequest}

func (t *Turn) unseen(cut bool) {
	t.d.unseen.Add(1)
	if cut {
		t.notes = append(t.notes, "body: the proxy shows its beginning only")
	} else {
		t.notes = append(t.notes, "body: the proxy does not show it")
	}
	t.take(t.ses.BodyUnseen(cut, t.d.now()))
	if t.refusal == nil && t.d.RefuseUnseen {
		t.refusal = refusedUnseen
		t.out.Reason = &sallyport.Reason{Stage: sallyport.StageRequest, Rule: "door.body-unseen", Place: sallyport.Place{In: sallyport.InBody}, Detail: "the proxy does not show the body, and the door refuses what it cannot see", Mode: sallyport.Enforce}
	}
}

// Note says in the record what else was not looked at.
func (t *Turn) Note(what string) {
	if !t.over {
		t.notes = append(t.notes, what)
	}
}

// The headers that tell an upstream who calls. A client's own never pass.
const (
	HeaderSubject = "X-Auth-Subject" // kind, issuer and subject in one
	HeaderKind    = "X-Auth-Kind"
	HeaderIssuer  = "X-Auth-Issuer"
	HeaderClient  = "X-Auth-Client"
	HeaderActor   = "X-Auth-Actor"
	HeaderScope   = "X-Auth-Scope"
	HeaderID      = "X-Request-Id"
)

// IdentityNames are the headers of Identity: what a proxy has to clear before
// it sets those that it got.
var IdentityNames = []string{HeaderSubject, HeaderKind, HeaderIssuer, HeaderClient, HeaderActor, HeaderScope}

// Identity is who has been proven to call, as headers. Those that have nothing
// to say are left out.
func (t *Turn) Identity() [][2]string {
	if t.who != nil || t.ses == nil || t.over {
		return t.who
	}
	who := t.ses.Principal()
	t.who = [][2]string{}
	if who.Anonymous() {
		return t.who
	}
	_, scopes := t.ses.Caller()
	for _, f := range [...][2]string{{HeaderSubject, who.String()}, {HeaderKind, who.Kind}, {HeaderIssuer, who.Issuer}, {HeaderClient, who.Client}, {HeaderActor, who.Actor}, {HeaderScope, strings.Join(scopes, " ")}} {
		if f[1] != "" {
			t.who = append(t.who, [2]string{f[0], headerText(f[1])})
		}
	}
	return t.who
}

// Hold keeps a turn that passes until its answer comes, or ends it where the
// desk sees none. The turn is the desk's from then on.
func (t *Turn) Hold() {
	t.decided()
	if t.over || t.Refusal() != nil || !t.d.Answers {
		t.Finish()
		return
	}
	d := t.d
	now := d.now()
	t.until = now.Add(or(d.Patience, time.Minute))
	d.mu.Lock()
	if d.waiting == nil {
		d.waiting = map[string]*Turn{}
	}
	d.waiting[t.ID] = t
	d.mu.Unlock()
	d.Sweep(now)
}

// Sweep ends turns whose answer did not come in time. Hold calls it now and
// then; whoever stops a desk calls it with a time far ahead.
func (d *Desk) Sweep(now time.Time) {
	d.mu.Lock()
	if now.Sub(d.oldest) < time.Second {
		d.mu.Unlock()
		return
	}
	d.oldest = now
	var over []*Turn
	for id, t := range d.waiting {
		if now.After(t.until) {
			over = append(over, t)
			delete(d.waiting, id)
		}
	}
	d.mu.Unlock()
	for _, t := range over {
		d.lost.Add(1)
		t.Finish()
	}
}

// Held gives a turn back whose answer has come; nil: there is none of that name.
func (d *Desk) Held(id string) *Turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.waiting[id]
	delete(d.waiting, id)
	return t
}

// Answer hands over the head of the upstream's answer. h is not kept. Edits are
// changes to that head, for proxies that can make them. It reports whether the
// answer's body is wanted, up to limit bytes and one more.
func (t *Turn) Answer(status int, h http.Header) (edits []guard.HeadEdit, limit int64, wants bool) {
	if t.over || t.refusal != nil {
		return nil, 0, false
	}
	t.head = true
	t.out.Status, t.out.Origin = status, status
	t.answer = t.ses.Response(status, h, t.d.now())
	t.take(t.answer)
	if t.refusal != nil {
		return nil, 0, false
	}
	wants = t.answer.Body == guard.BodyWhole || t.answer.Body == guard.BodySample
	return t.answer.Head, t.answer.BodyLimit, wants
}

// AnswerBody hands over the answer's body where Answer wanted it. replace, where
// it is not nil, is to be sent in its place.
func (t *Turn) AnswerBody(b []byte, sight Sight) (replace []byte, edits []guard.HeadEdit) {
	if t.over || t.refusal != nil || !t.head {
		return nil, nil
	}
	t.out.ResponseBytes = int64(len(b))
	if t.answer.Body != guard.BodyWhole && t.answer.Body != guard.BodySample {
		return nil, nil
	}
	if sight != Whole && int64(len(b)) <= t.answer.BodyLimit {
		t.notes = append(t.notes, "answer: the proxy does not show all of its body")
		return nil, nil
	}
	t.out.ResponseBody = b
	s := t.ses.ResponseBody(b[:min(int64(len(b)), t.answer.BodyLimit+1)], t.d.now())
	t.answer.Body = guard.BodyNone
	t.take(s)
	return s.Replace, s.Head
}

// AnswerUnseen says that the body that Answer wanted is not shown.
func (t *Turn) AnswerUnseen() {
	if t.head && (t.answer.Body == guard.BodyWhole || t.answer.Body == guard.BodySample) {
		t.Note("answer: the proxy does not show its body")
		t.answer.Body = guard.BodyNone
	}
}

func (t *Turn) decided() {
	if t.until.IsZero() {
		took := t.d.now().Sub(t.began)
		t.d.tookNanos.Add(int64(took))
		i := 0
		for i < len(Buckets) && took.Seconds() > Buckets[i] {
			i++
		}
		t.d.took[i].Add(1)
		t.until = t.began
	}
}

// Finish ends the turn and records it, once.
func (t *Turn) Finish() {
	t.decided()
	if t.over {
		return
	}
	t.Identity()
	t.over = true
	t.d.open.Add(-1)
	if r := t.Refusal(); r != nil {
		t.out.Status = r.Status
		t.d.refused.Add(1)
	} else if !t.head {
		t.notes = append(t.notes, "answer: the proxy does not show it, so its status is not known")
	}
	rec := t.d.Recorder
	x := t.ses.End(t.out, t.d.now())
	x.Unseen = t.out.Status == 0 && !t.head
	t.ses = nil
	if t.open {
		t.notes = append(t.notes, "everything after that: the door fails open")
		x.Decision.Action, x.Decision.Stage, x.Decision.Status = sallyport.ActionAllow, "", 0
		for i := range x.Decision.Reasons {
			x.Decision.Reasons[i].Mode = sallyport.Observe
		}
	}
	if len(t.notes) > 0 {
		x.Decision.NotInspected = append(slices.Clip(x.Decision.NotInspected), t.notes...)
	}
	if rec == nil {
		return
	}
	if rec.Want(x) {
		x.RequestBody, x.ResponseBody = sample(t.body), sample(t.out.ResponseBody)
	} else {
		x.RequestBody, x.ResponseBody = nil, nil
	}
	rec.Record(x)
}

const sampleBytes = 64 << 10

func sample(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b[:min(len(b), sampleBytes)]...)
}

// Strips reports whether a request header of a client's never passes.
func (d *Desk) Strips(name string) bool {
	d.strip.Do(func() {
		d.exact = map[string]bool{}
		for _, n := range append([]string{"X-Sallyport-*", "X-Auth-*"}, d.Strip...) {
			if p, wide := strings.CutSuffix(n, "*"); wide {
				d.prefix = append(d.prefix, fold(p))
			} else {
				d.exact[fold(n)] = true
			}
		}
	})
	name = fold(name)
	if d.exact[name] {
		return true
	}
	for _, p := range d.prefix {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// fold makes names equal that an upstream may hold for equal: case, and the
// underscore that CGI and WSGI servers make of each hyphen.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// Problem is the problem document (RFC 9457) of a refusal.
func Problem(k guard.Kind, id string) []byte {
	b, err := json.Marshal(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Instance string `json:"instance"`
		ID       string `json:"request_id"`
	}{"tag:sallyport.dev,2026:problem:" + k.Name, k.Title, k.Status, "urn:ulid:" + id, id})
	if err != nil {
		panic(err) // strings and a number
	}
	return append(b, '\n')
}

// ProblemHeader are the headers of a refusal's answer besides its length.
func ProblemHeader(r *guard.Refusal, id string) [][2]string {
	return append(slices.Clone(r.Header), [2]string{"Content-Type", "application/problem+json"}, [2]string{"Cache-Control", "no-store"},
		[2]string{"X-Content-Type-Options", "nosniff"}, [2]string{HeaderID, id})
}

// headerText writes s so that it can stand in a header: whatever is not
// printable ASCII, and the percent sign, as %XX.
func headerText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c <= '~' && c != '%' || c == ' ' && i > 0 && i < len(s)-1 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// newID makes a request id in the form of the gateway's: 48 bits of
// milliseconds and 80 of randomness in Crockford's base 32.
func newID(now time.Time) string {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := 5; i >= 0; i-- {
		b[i] = byte(ms)
		ms >>= 8
	}
	rand.Read(b[6:]) // never fails
	var out [26]byte
	acc, bits, at := uint32(0), 2, 0 // 130 bits of text for 128: two of them come first
	for _, c := range b {
		acc, bits = acc<<8|uint32(c), bits+8
		for bits >= 5 {
			bits -= 5
			out[at] = crockford[acc>>bits&31]
			at++
		}
	}
	return string(out[:])
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
