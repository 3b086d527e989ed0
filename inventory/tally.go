package inventory

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// key is an operation's identity.
type key struct{ api, method, template string }

func (k key) String() string { return k.method + " " + k.template }

// span counts something and says when it was first and last seen.
type span struct {
	count       int64
	first, last int64
}

func (s *span) add(n, at int64) {
	s.count += n
	if s.first == 0 || at < s.first {
		s.first = at
	}
	s.last = max(s.last, at)
}

func (s *span) join(o span) {
	s.count += o.count
	if s.first == 0 || o.first != 0 && o.first < s.first {
		s.first = o.first
	}
	s.last = max(s.last, o.last)
}

// sums are the plain counts of an operation or an API.
type sums struct {
	span
	refused      int64
	status       [6]int64 // [0] = no answer
	reqB, respB  int64
	tls          int64
	anonymous    int64
	microseconds []int64 // durations, for the sketch
}

func (s *sums) see(x *record) {
	s.add(1, x.at)
	if x.refused {
		s.refused++
	}
	if c := x.status / 100; c >= 1 && c <= 5 {
		s.status[c]++
	} else if !x.unseen {
		s.status[0]++
	}
	s.reqB += x.reqB
	s.respB += x.respB
	if x.tls {
		s.tls++
	}
	if x.principal.Anonymous() {
		s.anonymous++
	}
	s.microseconds = append(s.microseconds, x.micros)
}

func (s *sums) join(o *sums) {
	s.span.join(o.span)
	s.refused += o.refused
	for i := range s.status {
		s.status[i] += o.status[i]
	}
	s.reqB += o.reqB
	s.respB += o.respB
	s.tls += o.tls
	s.anonymous += o.anonymous
	s.microseconds = append(s.microseconds, o.microseconds...)
}

// record is what an exchange and a sighting have in common.
type record struct {
	at, micros  int64
	status      int
	refused     bool
	answered    bool
	tls         bool
	reqB, respB int64
	principal   sallyport.Principal
	newStatus   bool
	unseen      bool // whether there was an answer is not known
}

// answered reports whether the upstream's answer shows that the operation exists.
func answered(status, origin int, refused bool) bool {
	s := origin
	if s == 0 && !refused {
		s = status
	}
	switch {
	case s == 0, s == 401, s == 403, s == 404, s == 405, s == 410, s == 501, s >= 500:
		return false
	}
	return true
}

type placeKey struct {
	response bool
	in       sallyport.In
	name     string
}

// The JSON types, in the order of the columns.
var jsonTypes = [...]string{"object", "array", "string", "integer", "number", "boolean", "null"}

type placeTally struct {
	span
	types        [len(jsonTypes)]int64
	format       string
	undocumented bool
}

type shapeTally struct {
	span
	shape *sallyport.Shape
}

type statusTally struct {
	span
	undocumented bool
}

type consumerTally struct {
	span
	answered bool
}

type hourTally struct{ requests, refused, errors int64 }

// opTally is what one batch adds to one operation.
type opTally struct {
	sums
	declared  bool
	answered  int64
	days      map[int64]struct{}
	statuses  map[int]*statusTally
	consumers map[sallyport.Principal]*consumerTally
	places    map[placeKey]*placeTally
	shapes    map[uint64]*shapeTally
	classes   map[sallyport.DataClass]*span
	hours     map[int64]*hourTally
	reasons   []string
}

// apiTally is what one batch adds to one API.
type apiTally struct {
	sums
	public     int64 // requests from addresses of the Internet
	principals map[sallyport.Principal]struct{}
	seconds    map[int64]int64
}

// A merge moves what stands under old to new.
type merge struct {
	old, new key
	reasons  []string
}

// tally adds up one batch.
type tally struct {
	ops     map[key]*opTally
	apis    map[string]*apiTally
	merges  []merge
	counted uint64
	newest  int64
}

func newTally() *tally {
	return &tally{ops: map[key]*opTally{}, apis: map[string]*apiTally{}}
}

// Bounds on what one record may bring.
const (
	maxText   = 512 // bytes of a name or a template
	maxShape  = 512 // places of one body
	maxParams = 64
)

func (t *tally) op(k key) *opTally {
	o := t.ops[k]
	if o == nil {
		o = &opTally{}
		t.ops[k] = o
	}
	return o
}

// exchange counts x for its API and, when a specification declares it, for its
// operation; the other operations are counted by their sightings.
func (t *tally) exchange(x *exchange) {
	refused := x.Decision.Refused()
	r := record{at: micros(x.Time), micros: max(0, x.Duration.Microseconds()), status: x.Status, refused: refused, answered: answered(x.Status, x.Origin, refused),
		tls: x.TLS, reqB: x.RequestBytes, respB: x.ResponseBytes, principal: x.Principal, newStatus: x.NewStatus, unseen: x.Unseen}
	name := clean(x.API)
	a := t.apis[name]
	if a == nil {
		a = &apiTally{principals: map[sallyport.Principal]struct{}{}, seconds: map[int64]int64{}}
		t.apis[name] = a
	}
	a.see(&r)
	a.seconds[r.at/1e6]++
	if public(x.Client) {
		a.public++
	}
	if len(a.principals) < 1<<14 {
		a.principals[x.Principal] = struct{}{}
	}
	t.counted++
	t.newest = max(t.newest, r.at)
	if !x.Declared || x.Template == "" {
		return
	}
	o := t.op(key{name, clean(x.Operation().Method), clean(x.Template)})
	for _, also := range x.Also {
		if method, template, ok := strings.Cut(also, " "); ok {
			other := t.op(key{name, clean(method), clean(template)})
			other.declared = true
			other.see(&r)
		}
	}
	o.declared = true
	o.see(&r)
	o.details(&r, x.Classes, x.Shape)
	for query := x.Query; query != "" && len(o.places) < maxParams*4; {
		var p string
		p, query, _ = strings.Cut(query, "&")
		if p, _, _ = strings.Cut(p, "="); p != "" {
			o.place(placeKey{false, sallyport.InQuery, clean(p)}).add(1, r.at)
		}
	}
	for _, p := range x.Undocumented {
		k := placeKey{x.Shape != nil && p.In == sallyport.InBody && has(x.Shape.Response, p.Name) && !has(x.Shape.Request, p.Name), p.In, clean(p.Name)}
		q := o.place(k)
		q.undocumented = true
		if p.In != sallyport.InQuery && p.In != sallyport.InBody {
			q.add(1, r.at)
		} else if q.first == 0 {
			q.first, q.last = r.at, r.at
		}
		if p.In == sallyport.InBody && (x.Shape == nil || !has(x.Shape.Request, p.Name) && !has(x.Shape.Response, p.Name)) {
			q.add(1, r.at)
		}
	}
}

// shared is the address space of carriers (RFC 6598), which net/netip counts as
// global.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether a is an address of the Internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate() && !(a.Is4() && shared.Contains(a))
}

func has(list []sallyport.Typed, pointer string) bool {
	for i := range list {
		if list[i].Pointer == pointer {
			return true
		}
	}
	return false
}

// sighting counts s; one without a path only moves rows.
func (t *tally) sighting(s *sallyport.Sighting) {
	k := key{clean(s.API), clean(s.Method), clean(s.Template)}
	for _, old := range s.Replaces {
		was := key{k.api, k.method, clean(old)}
		if was == k {
			continue
		}
		t.merges = append(t.merges, merge{was, k, s.Reasons})
		if o := t.ops[was]; o != nil {
			delete(t.ops, was)
			t.op(k).join(o)
		}
	}
	if s.Path == "" {
		return
	}
	o := t.op(k)
	r := record{at: micros(s.Time), micros: max(0, s.Duration.Microseconds()), status: s.Status, refused: s.Refused, answered: answered(s.Status, s.Origin, s.Refused),
		tls: s.TLS, reqB: s.RequestBytes, respB: s.ResponseBytes, principal: s.Principal, unseen: s.Unseen}
	o.see(&r)
	o.reasons = s.Reasons
	o.details(&r, s.Classes, s.Shape)
	for _, p := range s.Parameters {
		if len(o.places) < maxParams*4 {
			o.place(placeKey{false, p.In, clean(p.Name)}).add(1, r.at)
		}
	}
	t.newest = max(t.newest, r.at)
}

func (o *opTally) place(k placeKey) *placeTally {
	p := o.places[k]
	if p == nil {
		if o.places == nil {
			o.places = map[placeKey]*placeTally{}
		}
		p = &placeTally{}
		o.places[k] = p
	}
	return p
}

var shapeSeed = maphash.MakeSeed()

func (o *opTally) details(r *record, classes []sallyport.DataClass, shape *sallyport.Shape) {
	if r.answered {
		o.answered++
		if o.days == nil {
			o.days = map[int64]struct{}{}
		}
		o.days[r.at/(24*3600*1e6)] = struct{}{}
	}
	if !r.unseen {
		s := o.statuses[r.status]
		if s == nil {
			if o.statuses == nil {
				o.statuses = map[int]*statusTally{}
			}
			s = &statusTally{}
			o.statuses[r.status] = s
		}
		s.add(1, r.at)
		s.undocumented = s.undocumented || r.newStatus
	}
	c := o.consumers[r.principal]
	if c == nil {
		if o.consumers == nil {
			o.consumers = map[sallyport.Principal]*consumerTally{}
		}
		c = &consumerTally{}
		if len(o.consumers) < 1<<14 {
			o.consumers[r.principal] = c
		}
	}
	c.add(1, r.at)
	c.answered = c.answered || r.answered
	hour := r.at / (3600 * 1e6)
	h := o.hours[hour]
	if h == nil {
		if o.hours == nil {
			o.hours = map[int64]*hourTally{}
		}
		h = &hourTally{}
		o.hours[hour] = h
	}
	h.requests++
	if r.refused {
		h.refused++
	}
	if r.status == 0 && !r.unseen || r.status >= 500 {
		h.errors++
	}
	for _, c := range classes {
		if o.classes == nil {
			o.classes = map[sallyport.DataClass]*span{}
		}
		c.Class, c.Place.Name = clean(c.Class), clean(c.Place.Name)
		p := o.classes[c]
		if p == nil {
			if len(o.classes) >= maxShape {
				continue
			}
			p = &span{}
			o.classes[c] = p
		}
		p.add(1, r.at)
	}
	if shape != nil {
		fp := fingerprint(shape)
		s := o.shapes[fp]
		if s == nil {
			if o.shapes == nil {
				o.shapes = map[uint64]*shapeTally{}
			}
			s = &shapeTally{shape: shape}
			o.shapes[fp] = s
		}
		s.add(1, r.at)
	}
}

// fingerprint tells shapes apart, so that equal ones are taken apart once.
func fingerprint(s *sallyport.Shape) uint64 {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	var n [8]byte
	for _, list := range [2][]sallyport.Typed{s.Request, s.Response} {
		binary.LittleEndian.PutUint64(n[:], uint64(len(list)))
		h.Write(n[:])
		for i := range list {
			h.WriteString(list[i].Pointer)
			h.WriteByte(0)
			h.WriteString(list[i].Type)
			h.WriteByte(0)
			h.WriteString(list[i].Format)
			h.WriteByte(0)
		}
	}
	return h.Sum64()
}

// unfold turns the shapes into places.
func (o *opTally) unfold() {
	for _, s := range o.shapes {
		for i, list := range [2][]sallyport.Typed{s.shape.Request, s.shape.Response} {
			for _, p := range list[:min(len(list), maxShape)] {
				q := o.place(placeKey{i == 1, sallyport.InBody, clean(p.Pointer)})
				q.span.join(s.span)
				if k := slices.Index(jsonTypes[:], p.Type); k >= 0 {
					q.types[k] += s.count
				}
				switch {
				case q.format == "":
					q.format = clean(p.Format)
				case q.format != p.Format:
					q.format = "-" // several
				}
			}
		}
	}
	o.shapes = nil
}

// join adds another tally of the same batch.
func (o *opTally) join(p *opTally) {
	o.sums.join(&p.sums)
	o.declared = o.declared || p.declared
	o.answered += p.answered
	for d := range p.days {
		if o.days == nil {
			o.days = map[int64]struct{}{}
		}
		o.days[d] = struct{}{}
	}
	o.statuses = joined(o.statuses, p.statuses, func(a, b *statusTally) {
		a.span.join(b.span)
		a.undocumented = a.undocumented || b.undocumented
	})
	o.consumers = joined(o.consumers, p.consumers, func(a, b *consumerTally) {
		a.span.join(b.span)
		a.answered = a.answered || b.answered
	})
	o.places = joined(o.places, p.places, func(a, b *placeTally) {
		a.span.join(b.span)
		for i := range a.types {
			a.types[i] += b.types[i]
		}
		a.undocumented = a.undocumented || b.undocumented
	})
	o.shapes = joined(o.shapes, p.shapes, func(a, b *shapeTally) { a.span.join(b.span) })
	o.classes = joined(o.classes, p.classes, func(a, b *span) { a.join(*b) })
	o.hours = joined(o.hours, p.hours, func(a, b *hourTally) {
		a.requests += b.requests
		a.refused += b.refused
		a.errors += b.errors
	})
	if o.reasons == nil {
		o.reasons = p.reasons
	}
}

func joined[K comparable, V any](a, b map[K]*V, add func(a, b *V)) map[K]*V {
	if a == nil {
		return b
	}
	for k, v := range b {
		if have := a[k]; have != nil {
			add(have, v)
		} else {
			a[k] = v
		}
	}
	return a
}

// clean makes s fit for both databases and for a screen: valid, without NUL,
// and of bounded length.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return '_'
				}
				return r
			}, strings.ToValidUTF8(s, "_"))
		}
	}
	return s
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// micros is t in microseconds; on the stream a time is a fraction of a second
// that may be a hair less.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Round(time.Microsecond).UnixMicro()
}
