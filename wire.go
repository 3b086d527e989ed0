package sallyport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Events travel as CBOR (RFC 8949): maps with the integer keys of the cbor tags
// in exchange.go and decision.go, times as microseconds since 1970, durations
// as nanoseconds, addresses as byte strings, and what is empty left out. The
// code is written by hand because every exchange is written once and read by
// each consumer: through reflection that costs more than deciding about the
// request did.

// Keys chooses fields of an Exchange for UnmarshalKeys: bit n stands for the
// field whose cbor key is n.
type Keys uint64

// AllKeys chooses every field.
const AllKeys Keys = math.MaxUint64

// KeysOf makes Keys of cbor keys.
func KeysOf(keys ...int) Keys {
	var k Keys
	for _, n := range keys {
		k |= 1 << n
	}
	return k
}

// MarshalBinary encodes e. An exchange that has not been redacted is an error:
// nothing else may put one on the stream.
func (e Event) MarshalBinary() ([]byte, error) { return e.AppendBinary(nil) }

// AppendBinary is MarshalBinary that appends to b.
func (e Event) AppendBinary(b []byte) ([]byte, error) {
	w := writer{b: b}
	at := w.open()
	if len(e.Exchanges) > 0 {
		w.key(1)
		w.head(cborArray, uint64(len(e.Exchanges)))
		for i := range e.Exchanges {
			if !e.Exchanges[i].Redacted {
				return nil, fmt.Errorf("encode event: exchange %s is not redacted", e.Exchanges[i].ID)
			}
			w.exchange(&e.Exchanges[i])
		}
	}
	if len(e.Sightings) > 0 {
		w.key(2)
		w.head(cborArray, uint64(len(e.Sightings)))
		for i := range e.Sightings {
			w.sighting(&e.Sightings[i])
		}
	}
	w.uint(3, e.Source)
	w.close(at)
	return w.b, nil
}

// UnmarshalBinary decodes what MarshalBinary wrote. Unknown fields are passed
// over, so an older node reads a newer one's events. The strings of one exchange
// share one copy of its bytes; b may be reused.
func (e *Event) UnmarshalBinary(b []byte) error { return e.UnmarshalKeys(b, AllKeys) }

// UnmarshalKeys is UnmarshalBinary for a reader that needs only some fields of
// each exchange; the others stay zero.
func (e *Event) UnmarshalKeys(b []byte, keys Keys) error {
	e.Exchanges = nil
	return e.UnmarshalTwo(b, keys, keys)
}

// UnmarshalTwo is UnmarshalKeys for a reader that needs fewer fields of the
// exchanges that a specification declares: what is only in others may stay zero
// for those. Strings that come again in the event, as most do, are made once,
// and the slice of exchanges that e holds is used again.
func (e *Event) UnmarshalTwo(b []byte, others, declared Keys) error {
	*e = Event{Exchanges: e.Exchanges[:0]}
	r := reader{b: b, others: others, declared: declared}
	if others != AllKeys {
		r.known = new([64]string)
	}
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			n := r.length(cborArray, 3)
			e.Exchanges = slices.Grow(e.Exchanges[:0], n)[:n]
			clear(e.Exchanges)
			for i := range e.Exchanges {
				r.exchange(&e.Exchanges[i])
			}
		case 2:
			e.Sightings = make([]Sighting, r.length(cborArray, 2))
			for i := range e.Sightings {
				r.sighting(&e.Sightings[i])
			}
		case 3:
			e.Source = r.uint()
		default:
			r.skip(0)
		}
	})
	if r.err == nil && r.left() > 0 {
		r.fail("%d bytes too many", r.left())
	}
	if r.err != nil {
		*e = Event{}
		return fmt.Errorf("decode event: %w", r.err)
	}
	return nil
}

// The major types of CBOR.
const (
	cborUint  = 0 << 5
	cborNint  = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborTag   = 6 << 5
	cborOther = 7 << 5
)

type writer struct {
	b     []byte
	pairs int // of the map that is open
}

// open begins a map whose number of pairs is known when it ends; it has at most
// 255 pairs.
func (w *writer) open() (at [2]int) {
	at = [2]int{len(w.b), w.pairs}
	w.b = append(w.b, cborMap|24, 0)
	w.pairs = 0
	return at
}

func (w *writer) close(at [2]int) {
	w.b[at[0]+1] = byte(w.pairs)
	w.pairs = at[1]
}

func (w *writer) head(major byte, n uint64) {
	switch {
	case n < 24:
		w.b = append(w.b, major|byte(n))
	case n < 1<<8:
		w.b = append(w.b, major|24, byte(n))
	case n < 1<<16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, major|25), uint16(n))
	case n < 1<<32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, major|26), uint32(n))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, major|27), n)
	}
}

func (w *writer) key(k uint64) { w.head(cborUint, k); w.pairs++ }

func (w *writer) text(s string) { w.head(cborText, uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) number(v int64) {
	if v < 0 {
		w.head(cborNint, uint64(-(v + 1)))
		return
	}
	w.head(cborUint, uint64(v))
}

func (w *writer) string(k uint64, s string) {
	if s != "" {
		w.key(k)
		w.text(s)
	}
}

func (w *writer) int(k uint64, v int64) {
	if v != 0 {
		w.key(k)
		w.number(v)
	}
}

func (w *writer) uint(k, v uint64) {
	if v != 0 {
		w.key(k)
		w.head(cborUint, v)
	}
}

func (w *writer) bool(k uint64, v bool) {
	if v {
		w.key(k)
		w.b = append(w.b, cborOther|21)
	}
}

func (w *writer) time(k uint64, t time.Time) {
	if !t.IsZero() {
		w.key(k)
		w.number(t.UnixMicro())
	}
}

func (w *writer) list(k uint64, n int) bool {
	if n > 0 {
		w.key(k)
		w.head(cborArray, uint64(n))
	}
	return n > 0
}

func (w *writer) strings(k uint64, list []string) {
	if w.list(k, len(list)) {
		for _, s := range list {
			w.text(s)
		}
	}
}

func (w *writer) place(p Place) {
	w.head(cborArray, 2)
	w.text(string(p.In))
	w.text(p.Name)
}

func (w *writer) fields(k uint64, list []Field) {
	if w.list(k, len(list)) {
		for i := range list {
			w.head(cborArray, 2)
			w.text(list[i].Name)
			w.text(list[i].Value)
		}
	}
}

func (w *writer) principal(k uint64, p Principal) {
	if p == (Principal{}) {
		return
	}
	w.key(k)
	at := w.open()
	w.string(1, p.Kind)
	w.string(2, p.Issuer)
	w.string(3, p.Subject)
	w.string(4, p.Client)
	w.string(5, p.Actor)
	w.close(at)
}

func (w *writer) classes(k uint64, list []DataClass) {
	if w.list(k, len(list)) {
		for _, c := range list {
			w.head(cborArray, 3)
			w.text(c.Class)
			w.place(c.Place)
			w.truth(c.Response)
		}
	}
}

func (w *writer) truth(v bool) {
	if v {
		w.b = append(w.b, cborOther|21)
	} else {
		w.b = append(w.b, cborOther|20)
	}
}

func (w *writer) shape(k uint64, s *Shape) {
	if s == nil {
		return
	}
	w.key(k)
	w.head(cborArray, 2)
	w.typed(s.Request)
	w.typed(s.Response)
}

func (w *writer) places(k uint64, list []Place) {
	if w.list(k, len(list)) {
		for _, p := range list {
			w.place(p)
		}
	}
}

func (w *writer) exchange(x *Exchange) {
	at := w.open()
	w.string(1, x.ID)
	w.time(2, x.Time)
	w.int(3, int64(x.Duration))
	w.int(4, int64(x.Upstream))
	w.string(5, x.Door)
	w.string(6, x.API)
	w.string(7, x.Template)
	w.bool(8, x.Declared)
	w.string(9, x.Method)
	w.string(10, x.Host)
	w.string(11, x.Path)
	w.string(12, x.Query)
	w.string(13, x.Proto)
	w.bool(14, x.TLS)
	if x.Client.IsValid() {
		w.key(15)
		raw := x.Client.AsSlice()
		w.head(cborBytes, uint64(len(raw)))
		w.b = append(w.b, raw...)
	}
	w.principal(16, x.Principal)
	w.int(17, int64(x.Status))
	w.int(18, int64(x.Origin))
	w.string(19, x.Instance)
	w.int(20, int64(x.Retries))
	w.fields(21, x.RequestHeader)
	w.fields(22, x.ResponseHeader)
	w.int(23, x.RequestBytes)
	w.int(24, x.ResponseBytes)
	w.decision(25, &x.Decision)
	w.places(26, x.Undocumented)
	w.bool(27, x.NewStatus)
	w.bool(28, x.Redacted)
	w.classes(29, x.Classes)
	w.shape(30, x.Shape)
	w.string(41, x.Verb)
	w.strings(42, x.Also)
	w.string(43, x.Call)
	w.cost(44, &x.Cost)
	w.lesson(45, x.Lesson)
	w.bool(46, x.Unseen)
	w.close(at)
}

func (w *writer) texts(list []string) {
	w.head(cborArray, uint64(len(list)))
	for _, s := range list {
		w.text(s)
	}
}

func (w *writer) typed(list []Typed) {
	w.head(cborArray, uint64(len(list)))
	for _, t := range list {
		w.head(cborArray, 3)
		w.text(t.Pointer)
		w.text(t.Type)
		w.text(t.Format)
	}
}

func (w *writer) lesson(k uint64, l *Lesson) {
	if l == nil {
		return
	}
	w.key(k)
	w.head(cborArray, 6)
	w.text(l.Scheme)
	w.texts(l.Cookies)
	w.texts(l.RequestAbsent)
	w.texts(l.ResponseAbsent)
	w.head(cborArray, uint64(len(l.Words)))
	for _, o := range l.Words {
		w.head(cborArray, 3)
		w.place(o.Place)
		w.truth(o.Response)
		w.text(o.Value)
	}
	w.head(cborArray, uint64(len(l.Calls)))
	for _, c := range l.Calls {
		w.head(cborArray, 4)
		w.text(c.Kind)
		w.text(c.Name)
		w.typed(c.Arguments)
		w.texts(c.Fields)
	}
}

func (w *writer) cost(k uint64, c *Cost) {
	if *c == (Cost{}) {
		return
	}
	w.key(k)
	at := w.open()
	w.int(1, int64(c.CPU))
	w.bool(2, c.Estimated)
	w.int(3, c.Bytes)
	w.int(4, c.Rows)
	w.int(5, c.Money)
	if c.Units != 0 {
		w.key(6)
		w.b = binary.BigEndian.AppendUint64(append(w.b, cborOther|27), math.Float64bits(c.Units))
	}
	w.close(at)
}

func (w *writer) decision(k uint64, d *Decision) {
	w.key(k)
	at := w.open()
	w.string(1, string(d.Action))
	w.string(2, string(d.Stage))
	w.int(3, int64(d.Status))
	if w.list(4, len(d.Reasons)) {
		for i := range d.Reasons {
			r := &d.Reasons[i]
			at := w.open()
			w.string(1, string(r.Stage))
			w.string(2, r.Rule)
			if r.Place.In != "" || r.Place.Name != "" {
				w.key(3)
				w.place(r.Place)
			}
			w.string(4, r.Class)
			w.string(5, r.Detail)
			w.string(6, string(r.Mode))
			w.string(7, r.Exception)
			w.close(at)
		}
	}
	w.strings(5, d.NotInspected)
	w.string(6, d.Program)
	w.strings(7, d.Relief)
	w.close(at)
}

func (w *writer) sighting(s *Sighting) {
	at := w.open()
	w.string(1, s.ID)
	w.time(2, s.Time)
	w.string(3, s.API)
	w.string(4, s.Method)
	w.string(5, s.Template)
	w.string(6, s.Path)
	w.int(7, int64(s.Status))
	w.strings(8, s.Reasons)
	w.strings(9, s.Replaces)
	w.int(10, int64(s.Origin))
	w.principal(11, s.Principal)
	w.bool(12, s.Refused)
	w.int(13, int64(s.Duration))
	w.int(14, s.RequestBytes)
	w.int(15, s.ResponseBytes)
	w.bool(16, s.TLS)
	w.classes(17, s.Classes)
	w.shape(18, s.Shape)
	w.places(19, s.Parameters)
	w.bool(20, s.Unseen)
	w.close(at)
}

// A reader walks over encoded bytes. After the first error it gives zero values
// and moves no further.
type reader struct {
	b    []byte
	at   int
	text string // a copy of b from base on, of which strings are parts: see own
	base int
	err  error

	others, declared Keys        // fields to read
	known            *[64]string // strings made before, by hash; nil where own is used
}

// known strings are short; longer ones seldom come again.
const maxKnown = 64

// recall makes b a string, or finds the one made before.
func (r *reader) recall(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	h := uint32(len(b))*0x9e3779b1 ^ uint32(b[0])<<8 ^ uint32(b[len(b)/2])<<16 ^ uint32(b[len(b)-1])
	slot := &r.known[h*0x85ebca6b>>26]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

var errShort = errors.New("the bytes end too soon")

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.stop(fmt.Errorf(format, args...))
	}
}

// stop makes err the outcome, if it is the first, and moves to the end.
func (r *reader) stop(err error) {
	if r.err == nil {
		r.err = err
	}
	r.at = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.at }

// own makes the strings of the next value parts of one copy of its bytes.
func (r *reader) own() {
	from := r.at
	r.skip(0)
	if r.err == nil {
		r.text, r.base, r.at = string(r.b[from:r.at]), from, from
	}
}

func (r *reader) head() (major byte, n uint64) {
	if r.at >= len(r.b) {
		r.stop(errShort)
		return 0, 0
	}
	first := r.b[r.at]
	major, low := first&0xe0, first&0x1f
	if low < 24 {
		r.at++
		return major, uint64(low)
	}
	if low > 27 {
		r.fail("byte %#x begins nothing that is written here", first)
		return 0, 0
	}
	size := 1 << (low - 24)
	if r.left() < 1+size {
		r.stop(errShort)
		return 0, 0
	}
	switch p := r.b[r.at+1:]; size {
	case 1:
		n = uint64(p[0])
	case 2:
		n = uint64(binary.BigEndian.Uint16(p))
	case 4:
		n = uint64(binary.BigEndian.Uint32(p))
	default:
		n = binary.BigEndian.Uint64(p)
	}
	r.at += 1 + size
	return major, n
}

// length reads the head of an array or map whose elements take at least so
// many bytes each, so that a lying length takes no memory.
func (r *reader) length(major byte, least int) int {
	m, n := r.head()
	if r.err == nil && m != major {
		r.fail("a list is wanted")
	}
	if r.err == nil && n > uint64(r.left()/least) {
		r.fail("a list of %d in %d bytes", n, r.left())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) mapping(f func(key uint64)) {
	n := r.length(cborMap, 2)
	for range n {
		if r.err != nil {
			return
		}
		m, key := r.head()
		if m != cborUint {
			r.fail("a key that is no number")
			return
		}
		f(key)
	}
}

// tuple reads the head of an array of at least n elements and gives how many
// more there are.
func (r *reader) tuple(n int) (more int) {
	have := r.length(cborArray, 1)
	if r.err == nil && have < n {
		r.fail("%d elements where %d are wanted", have, n)
	}
	return have - n
}

func (r *reader) rest(more int) {
	for ; more > 0 && r.err == nil; more-- {
		r.skip(0)
	}
}

func (r *reader) string() string {
	m, n := r.head()
	switch {
	case r.err != nil:
		return ""
	case m != cborText && m != cborBytes:
		r.fail("text is wanted")
		return ""
	case n > uint64(r.left()):
		r.stop(errShort)
		return ""
	}
	from := r.at
	r.at += int(n)
	if r.text != "" {
		return r.text[from-r.base : r.at-r.base]
	}
	if r.known != nil && n <= maxKnown {
		return r.recall(r.b[from:r.at])
	}
	return string(r.b[from:r.at])
}

func (r *reader) uint() uint64 {
	m, n := r.head()
	if r.err == nil && m != cborUint {
		r.fail("a number is wanted")
		return 0
	}
	return n
}

func (r *reader) int() int64 {
	m, n := r.head()
	if r.err == nil && (m != cborUint && m != cborNint || n > math.MaxInt64) {
		r.fail("a number of 63 bits is wanted")
	}
	if r.err != nil {
		return 0
	}
	if m == cborNint {
		return -int64(n) - 1
	}
	return int64(n)
}

func (r *reader) bool() bool {
	m, n := r.head()
	if r.err == nil && (m != cborOther || n != 20 && n != 21) {
		r.fail("true or false is wanted")
	}
	return r.err == nil && n == 21
}

// float reads a finite number of double precision.
func (r *reader) float() float64 {
	double := r.left() > 0 && r.b[r.at] == cborOther|27
	_, n := r.head()
	v := math.Float64frombits(n)
	if r.err == nil && (!double || math.IsNaN(v) || math.IsInf(v, 0)) {
		r.fail("a number of double precision is wanted")
	}
	return v
}

func (r *reader) time() time.Time { return time.UnixMicro(r.int()).UTC() }

func (r *reader) addr() netip.Addr {
	s := r.string()
	if r.err != nil {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice([]byte(s))
	if !ok {
		r.fail("an address of %d bytes", len(s))
	}
	return a
}

const maxSkipDepth = 16

func (r *reader) skip(depth int) {
	if depth > maxSkipDepth {
		r.fail("nested more than %d deep", maxSkipDepth)
		return
	}
	m, n := r.head()
	if r.err != nil {
		return
	}
	switch m {
	case cborBytes, cborText:
		if n > uint64(r.left()) {
			r.stop(errShort)
			return
		}
		r.at += int(n)
	case cborArray, cborMap:
		if n > uint64(r.left()) {
			r.fail("a list of %d in %d bytes", n, r.left())
			return
		}
		if m == cborMap {
			n *= 2
		}
		for range n {
			if r.err != nil {
				return
			}
			r.skip(depth + 1)
		}
	case cborTag:
		r.skip(depth + 1)
	}
}

func (r *reader) strings() []string {
	out := make([]string, r.length(cborArray, 1))
	for i := range out {
		out[i] = r.string()
	}
	return out
}

func (r *reader) place() (p Place) {
	more := r.tuple(2)
	p.In, p.Name = In(r.string()), r.string()
	r.rest(more)
	return p
}

func (r *reader) places() []Place {
	out := make([]Place, r.length(cborArray, 3))
	for i := range out {
		out[i] = r.place()
	}
	return out
}

func (r *reader) fields() []Field {
	out := make([]Field, r.length(cborArray, 3))
	for i := range out {
		more := r.tuple(2)
		out[i].Name, out[i].Value = r.string(), r.string()
		r.rest(more)
	}
	return out
}

func (r *reader) principal() (p Principal) {
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			p.Kind = r.string()
		case 2:
			p.Issuer = r.string()
		case 3:
			p.Subject = r.string()
		case 4:
			p.Client = r.string()
		case 5:
			p.Actor = r.string()
		default:
			r.skip(0)
		}
	})
	return p
}

func (r *reader) classes() []DataClass {
	out := make([]DataClass, r.length(cborArray, 6))
	for i := range out {
		more := r.tuple(3)
		out[i].Class, out[i].Place, out[i].Response = r.string(), r.place(), r.bool()
		r.rest(more)
	}
	return out
}

func (r *reader) typed() []Typed {
	out := make([]Typed, r.length(cborArray, 4))
	for i := range out {
		more := r.tuple(3)
		out[i].Pointer, out[i].Type, out[i].Format = r.string(), r.string(), r.string()
		r.rest(more)
	}
	return out
}

func (r *reader) shape() *Shape {
	more := r.tuple(2)
	s := &Shape{Request: r.typed(), Response: r.typed()}
	r.rest(more)
	return s
}

// exchange reads one exchange. Where all of it is read its strings share one
// copy of its bytes.
func (r *reader) exchange(x *Exchange) {
	if r.known == nil {
		r.own()
	}
	keys := r.others
	for n := r.length(cborMap, 2); n > 0 && r.err == nil; n-- {
		m, key := r.head()
		switch {
		case m != cborUint:
			r.fail("a key that is no number")
		case key < 64 && keys&(1<<key) == 0:
			r.skip(0)
		default:
			if r.exchangeField(x, key); key == 8 && x.Declared {
				keys = r.declared
			}
		}
	}
	r.text = ""
}

func (r *reader) exchangeField(x *Exchange, key uint64) {
	switch key {
	case 1:
		x.ID = r.string()
	case 2:
		x.Time = r.time()
	case 3:
		x.Duration = time.Duration(r.int())
	case 4:
		x.Upstream = time.Duration(r.int())
	case 5:
		x.Door = r.string()
	case 6:
		x.API = r.string()
	case 7:
		x.Template = r.string()
	case 8:
		x.Declared = r.bool()
	case 9:
		x.Method = r.string()
	case 10:
		x.Host = r.string()
	case 11:
		x.Path = r.string()
	case 12:
		x.Query = r.string()
	case 13:
		x.Proto = r.string()
	case 14:
		x.TLS = r.bool()
	case 15:
		x.Client = r.addr()
	case 16:
		x.Principal = r.principal()
	case 17:
		x.Status = int(r.int())
	case 18:
		x.Origin = int(r.int())
	case 19:
		x.Instance = r.string()
	case 20:
		x.Retries = int(r.int())
	case 21:
		x.RequestHeader = r.fields()
	case 22:
		x.ResponseHeader = r.fields()
	case 23:
		x.RequestBytes = r.int()
	case 24:
		x.ResponseBytes = r.int()
	case 25:
		r.decision(&x.Decision)
	case 26:
		x.Undocumented = r.places()
	case 27:
		x.NewStatus = r.bool()
	case 28:
		x.Redacted = r.bool()
	case 29:
		x.Classes = r.classes()
	case 30:
		x.Shape = r.shape()
	case 41:
		x.Verb = r.string()
	case 42:
		x.Also = r.strings()
	case 43:
		x.Call = r.string()
	case 44:
		r.cost(&x.Cost)
	case 45:
		x.Lesson = r.lesson()
	case 46:
		x.Unseen = r.bool()
	default:
		r.skip(0)
	}
}

func (r *reader) lesson() *Lesson {
	more := r.tuple(6)
	l := &Lesson{Scheme: r.string(), Cookies: r.strings(), RequestAbsent: r.strings(), ResponseAbsent: r.strings()}
	l.Words = make([]Word, r.length(cborArray, 6))
	for i := range l.Words {
		more := r.tuple(3)
		l.Words[i].Place, l.Words[i].Response, l.Words[i].Value = r.place(), r.bool(), r.string()
		r.rest(more)
	}
	l.Calls = make([]Call, r.length(cborArray, 5))
	for i := range l.Calls {
		more := r.tuple(4)
		l.Calls[i].Kind, l.Calls[i].Name, l.Calls[i].Arguments, l.Calls[i].Fields = r.string(), r.string(), r.typed(), r.strings()
		r.rest(more)
	}
	r.rest(more)
	return l
}

func (r *reader) cost(c *Cost) {
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			c.CPU = time.Duration(r.int())
		case 2:
			c.Estimated = r.bool()
		case 3:
			c.Bytes = r.int()
		case 4:
			c.Rows = r.int()
		case 5:
			c.Money = r.int()
		case 6:
			c.Units = r.float()
		default:
			r.skip(0)
		}
	})
}

func (r *reader) decision(d *Decision) {
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			d.Action = Action(r.string())
		case 2:
			d.Stage = Stage(r.string())
		case 3:
			d.Status = int(r.int())
		case 4:
			d.Reasons = make([]Reason, r.length(cborArray, 2))
			for i := range d.Reasons {
				r.reason(&d.Reasons[i])
			}
		case 5:
			d.NotInspected = r.strings()
		case 6:
			d.Program = r.string()
		case 7:
			d.Relief = r.strings()
		default:
			r.skip(0)
		}
	})
}

func (r *reader) reason(x *Reason) {
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			x.Stage = Stage(r.string())
		case 2:
			x.Rule = r.string()
		case 3:
			x.Place = r.place()
		case 4:
			x.Class = r.string()
		case 5:
			x.Detail = r.string()
		case 6:
			x.Mode = Mode(r.string())
		case 7:
			x.Exception = r.string()
		default:
			r.skip(0)
		}
	})
}

func (r *reader) sighting(s *Sighting) {
	r.mapping(func(key uint64) {
		switch key {
		case 1:
			s.ID = r.string()
		case 2:
			s.Time = r.time()
		case 3:
			s.API = r.string()
		case 4:
			s.Method = r.string()
		case 5:
			s.Template = r.string()
		case 6:
			s.Path = r.string()
		case 7:
			s.Status = int(r.int())
		case 8:
			s.Reasons = r.strings()
		case 9:
			s.Replaces = r.strings()
		case 10:
			s.Origin = int(r.int())
		case 11:
			s.Principal = r.principal()
		case 12:
			s.Refused = r.bool()
		case 13:
			s.Duration = time.Duration(r.int())
		case 14:
			s.RequestBytes = r.int()
		case 15:
			s.ResponseBytes = r.int()
		case 16:
			s.TLS = r.bool()
		case 17:
			s.Classes = r.classes()
		case 18:
			s.Shape = r.shape()
		case 19:
			s.Parameters = r.places()
		case 20:
			s.Unseen = r.bool()
		default:
			r.skip(0)
		}
	})
}
