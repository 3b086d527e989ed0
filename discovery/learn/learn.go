// Package learn makes specifications of traffic. In come redacted exchanges of
// one operation (names, types, shapes, words that many callers share); out
// comes an Operation that grows with each, can be stored, and can be merged
// with what was learned under another template, and of many of them an OpenAPI 3.1 document
// that accepts every exchange that taught it.
//
// A request teaches when the upstream took it (2xx or 3xx): what an API refuses
// says nothing of what it takes. Every answer of the upstream teaches. The
// package keeps names, types, formats and counts, and of values only those that
// observe found to be common to many principals. It does no I/O.
package learn

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"sallyport.dev"
)

// Bounds of what is kept of one operation.
const (
	maxParams   = 64
	maxStatuses = 40
	maxMedia    = 8
	maxNodes    = 4000 // places of all bodies
	maxDepth    = 24
	maxMembers  = 128
	maxEnum     = 16
	maxCalls    = 256
	wholeShape  = 512 // places of a body that observe looks at
)

// Tentative is the number of requests from which on a schema is tentative
// rather than a first impression.
const Tentative = 50

// An Operation is what traffic has taught of one operation. It is not safe for
// concurrent use. Exported fields are for encoding.
type Operation struct {
	Count   uint64             `cbor:"1,keyasint,omitempty"` // exchanges that taught something
	Taught  uint64             `cbor:"2,keyasint,omitempty"` // of them, those whose request did
	First   int64              `cbor:"3,keyasint,omitempty"` // microseconds since 1970
	Last    int64              `cbor:"4,keyasint,omitempty"`
	Plain   uint64             `cbor:"5,keyasint,omitempty"` // paths without slash at the end
	Slashed uint64             `cbor:"6,keyasint,omitempty"` // with one
	Path    []*Value           `cbor:"7,keyasint,omitempty"` // by the order of the parameters
	Params  map[string]*Param  `cbor:"8,keyasint,omitempty"` // by place and name: "query q"
	Body    map[string]*Media  `cbor:"9,keyasint,omitempty"` // of requests, by media type
	Bodies  uint64             `cbor:"10,keyasint,omitempty"`
	Answers map[int]*Answer    `cbor:"11,keyasint,omitempty"` // by status
	Auth    map[string]uint64  `cbor:"12,keyasint,omitempty"` // "http bearer", "header X-Api-Key", "none"
	Calls   map[string]*Called `cbor:"13,keyasint,omitempty"` // by kind and name
	Odd     uint64             `cbor:"14,keyasint,omitempty"` // requests left out: paths that no template writes

	Full bool `cbor:"-"` // set by the owner: no more places are taken in

	serial uint32
	nodes  int
}

// Size is the number of places held, which memory goes by.
func (o *Operation) Size() int { return o.nodes }

// Encode writes o for a store.
func (o *Operation) Encode() ([]byte, error) {
	b, err := cbor.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode what was learned: %w", err)
	}
	return b, nil
}

// A place takes two levels: its own, and that of the list it is in.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{MaxNestedLevels: 4*maxDepth + 16}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Decode reads what Encode wrote.
func Decode(b []byte) (*Operation, error) {
	o := &Operation{}
	if err := decoding.Unmarshal(b, o); err != nil {
		return nil, fmt.Errorf("decode what was learned: %w", err)
	}
	for _, m := range o.Body {
		o.nodes += m.Schema.size()
	}
	for _, a := range o.Answers {
		for _, m := range a.Media {
			o.nodes += m.Schema.size()
		}
	}
	return o, nil
}

func (n *Node) size() int {
	if n == nil {
		return 0
	}
	k := 1 + n.Items.size() + n.Others.size()
	for _, c := range n.Members {
		k += c.size()
	}
	return k
}

// A Param is what was seen of one parameter.
type Param struct {
	Count  uint64 `cbor:"1,keyasint,omitempty"` // requests that had it
	Listed uint64 `cbor:"2,keyasint,omitempty"` // that had it more than once
	Value  Value  `cbor:"3,keyasint,omitempty"`
}

// A Value is what was seen of a scalar in text.
type Value struct {
	Count uint64            `cbor:"1,keyasint,omitempty"`
	Kinds map[string]uint64 `cbor:"2,keyasint,omitempty"` // "integer", "uuid", …, "string"
	Words *Words            `cbor:"3,keyasint,omitempty"`
}

// Words are values seen at a place, each with a count.
type Words struct {
	Closed bool              `cbor:"1,keyasint,omitempty"` // too many for an enumeration
	Counts map[string]uint64 `cbor:"2,keyasint,omitempty"`
}

// A Media is what was seen of bodies of one media type.
type Media struct {
	Count  uint64 `cbor:"1,keyasint,omitempty"`
	Shaped uint64 `cbor:"2,keyasint,omitempty"` // bodies that were looked into
	Schema *Node  `cbor:"3,keyasint,omitempty"`
	Cut    uint64 `cbor:"4,keyasint,omitempty"` // bodies with more places than are looked at
}

// An Answer is what was seen of one status.
type Answer struct {
	Count uint64            `cbor:"1,keyasint,omitempty"`
	Media map[string]*Media `cbor:"2,keyasint,omitempty"`
}

// Called is an operation that bodies named.
type Called struct {
	Count     uint64            `cbor:"1,keyasint,omitempty"`
	Arguments map[string]string `cbor:"2,keyasint,omitempty"` // pointer → types as used, joined by |
	Fields    map[string]uint64 `cbor:"3,keyasint,omitempty"`
}

// A Node is one place in a body.
type Node struct {
	Types   map[string]uint64 `cbor:"1,keyasint,omitempty"` // bodies in which the place held the type
	Formats map[string]uint64 `cbor:"2,keyasint,omitempty"` // of its strings; "" = none
	Seen    uint64            `cbor:"3,keyasint,omitempty"` // bodies with the place
	Lacking uint64            `cbor:"4,keyasint,omitempty"` // bodies in which an object lacked it while another had it
	Members map[string]*Node  `cbor:"5,keyasint,omitempty"`
	Items   *Node             `cbor:"6,keyasint,omitempty"`
	Others  *Node             `cbor:"7,keyasint,omitempty"` // members whose names are identifiers
	Words   *Words            `cbor:"8,keyasint,omitempty"`

	serial uint32 // of the body in which it was last seen
}

// Add learns from x, which belongs to template. It reports whether anything but
// counts is new.
func (o *Operation) Add(x *sallyport.Exchange, template string) (news bool) {
	status := x.Origin
	if status == 0 && !x.Decision.Refused() {
		status = x.Status
	}
	if status < 100 || status > 599 {
		return false
	}
	before := o.size()
	o.Count++
	at := x.Time.UnixMicro()
	if o.First == 0 || at < o.First {
		o.First = at
	}
	o.Last = max(o.Last, at)
	if Teaches(x) {
		o.request(x, template)
	}
	o.answer(x, status)
	return o.size() != before || o.Count == 1
}

// Teaches reports whether the request of x, not only its answer, teaches.
func Teaches(x *sallyport.Exchange) bool {
	status := x.Origin
	if status == 0 && !x.Decision.Refused() {
		status = x.Status
	}
	return status >= 200 && status < 400 && !strings.Contains(x.Path, "//")
}

// size changes whenever something other than a count is learned.
func (o *Operation) size() int {
	n := o.nodes + len(o.Params) + len(o.Body) + 3*len(o.Answers) + len(o.Auth) + len(o.Calls) + len(o.Path)
	for _, a := range o.Answers {
		n += len(a.Media)
	}
	return n
}

func (o *Operation) request(x *sallyport.Exchange, template string) {
	o.Taught++
	if len(x.Path) > 1 && strings.HasSuffix(x.Path, "/") {
		o.Slashed++
	} else {
		o.Plain++
	}
	o.path(x.Path, template)
	o.query(x.Query)
	var found []string
	use := func(s string) {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	media := ""
	for _, f := range x.RequestHeader {
		lower := strings.ToLower(f.Name)
		switch {
		case lower == "content-type":
			media = mediaType(f.Value)
		case lower == "authorization":
			scheme := ""
			if x.Lesson != nil {
				scheme = x.Lesson.Scheme
			}
			if scheme == "" {
				scheme = "bearer"
				if x.Principal.Kind == "basic" {
					scheme = "basic"
				}
			}
			use("http " + scheme)
		case credential(lower):
			use("header " + f.Name)
		case ordinary(lower):
		default:
			o.param("header "+f.Name, 1, f.Value)
		}
	}
	if x.Lesson != nil {
		for _, c := range x.Lesson.Cookies {
			if lower := strings.ToLower(c); strings.Contains(lower, "sess") || strings.Contains(lower, "auth") || strings.Contains(lower, "token") || lower == "sid" {
				use("cookie " + c)
			} else {
				o.param("cookie "+c, 1, "")
			}
		}
		for _, c := range x.Lesson.Calls {
			o.call(&c)
		}
		for _, w := range x.Lesson.Words {
			if p := o.Params["query "+w.Place.Name]; p != nil && w.Place.In == sallyport.InQuery {
				p.Value.Words = p.Value.Words.add(w.Value, 1)
			}
		}
	}
	for p := range strings.SplitSeq(x.Query, "&") {
		name, value, _ := strings.Cut(p, "=")
		if strings.Contains(value, mark) && credential(strings.ToLower(name)) {
			use("query " + name)
		}
	}
	slices.Sort(found)
	key := strings.Join(found, " & ")
	if key == "" {
		key = "none"
		if x.TLS && x.Principal.Kind == "mtls" {
			key = "mutualTLS"
		}
	}
	if o.Auth == nil {
		o.Auth = map[string]uint64{}
	}
	if _, ok := o.Auth[key]; ok || len(o.Auth) < 8 {
		o.Auth[key]++
	}
	var shape []sallyport.Typed
	if x.Shape != nil {
		shape = x.Shape.Request
	}
	if x.RequestBytes > 0 || len(shape) > 0 {
		o.Bodies++
		o.Body = o.media(o.Body, media, shape, x, false)
	}
}

const mark = "\u2039" // observe writes it where it took a value out

func (o *Operation) path(path, template string) {
	segs, names := fields(path), fields(template)
	k := 0
	for i, n := range names {
		if !strings.Contains(n, "{") {
			continue
		}
		if k == len(o.Path) {
			if k >= 16 {
				return
			}
			o.Path = append(o.Path, &Value{})
		}
		value := ""
		if len(segs) == len(names) && n[0] == '{' && strings.IndexByte(n, '}') == len(n)-1 {
			value = segs[i]
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
		}
		o.Path[k].add(value)
		k++
	}
}

func fields(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (o *Operation) query(raw string) {
	if raw == "" {
		return
	}
	type seen struct {
		n     int
		value []string
	}
	counts := map[string]*seen{}
	for p := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(p, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if name == "" || len(name) > 64 || strings.Contains(name, mark) {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		s := counts[name]
		if s == nil {
			if len(counts) >= maxParams {
				continue
			}
			s = &seen{}
			counts[name] = s
		}
		s.n++
		s.value = append(s.value, value)
	}
	for name, s := range counts {
		p := o.param("query "+name, s.n, s.value[0])
		for _, v := range s.value[1:] {
			if p != nil {
				p.Value.add(v)
			}
		}
	}
}

func (o *Operation) param(key string, times int, value string) *Param {
	if strings.Contains(key, mark) || len(key) > 80 {
		return nil
	}
	if o.Params == nil {
		o.Params = map[string]*Param{}
	}
	p := o.Params[key]
	if p == nil {
		if len(o.Params) >= maxParams {
			return nil
		}
		p = &Param{}
		o.Params[strings.Clone(key)] = p
	}
	p.Count++
	if times > 1 {
		p.Listed++
	}
	p.Value.add(value)
	return p
}

// add learns one value. The value itself is not kept.
func (v *Value) add(value string) {
	v.Count++
	if v.Kinds == nil {
		v.Kinds = map[string]uint64{}
	}
	v.Kinds[kindOf(value)]++
}

func (w *Words) add(word string, n uint64) *Words {
	if w == nil {
		w = &Words{Counts: map[string]uint64{}}
	}
	if w.Closed {
		return w
	}
	if _, ok := w.Counts[word]; !ok && len(w.Counts) >= maxEnum {
		w.Closed, w.Counts = true, nil
		return w
	}
	w.Counts[strings.Clone(word)] += n
	return w
}

// kindOf names the narrowest type that a value in text has.
func kindOf(s string) string {
	switch {
	case s == "", len(s) > 64, strings.Contains(s, mark):
		return "string"
	case s == "true", s == "false":
		return "boolean"
	case integer(s):
		return "integer"
	case isUUID(s):
		return "uuid"
	}
	if len(s) == 10 && s[4] == '-' && s[7] == '-' {
		if _, err := time.Parse(time.DateOnly, s); err == nil {
			return "date"
		}
	}
	if len(s) >= 20 && s[4] == '-' && s[10] == 'T' {
		if _, err := time.Parse(time.RFC3339, s); err == nil {
			return "date-time"
		}
	}
	return "string"
}

func integer(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > 15 || len(digits) > 1 && digits[0] == '0' || s == "-0" {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 64)
	return err == nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return false
			}
		}
	}
	return true
}

func mediaType(v string) string {
	media, _, _ := strings.Cut(v, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if kind, sub, ok := strings.Cut(media, "/"); !ok || kind == "" || sub == "" || len(media) > 80 || strings.ContainsAny(media, " ,\"{}"+mark) {
		return ""
	}
	return media
}

// credential reports whether a name, in small letters, is one that API keys travel under.
func credential(name string) bool {
	switch name {
	case "api-key", "apikey", "x-apikey", "api_key", "key", "token", "access_token", "private-token", "job-token", "x-auth", "x-functions-key", "x-goog-api-key":
		return true
	}
	return strings.HasSuffix(name, "-api-key") || strings.HasSuffix(name, "subscription-key") ||
		strings.HasSuffix(name, "-token") && !strings.Contains(name, "csrf") && !strings.Contains(name, "xsrf")
}

var common = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`accept accept-charset accept-encoding accept-language access-control-request-headers access-control-request-method
		cache-control connection content-encoding content-length cookie cookie2 date dnt expect forwarded from host http2-settings keep-alive max-forwards origin pragma priority
		proxy-authorization proxy-connection range referer save-data te trailer transfer-encoding upgrade upgrade-insecure-requests user-agent via warning
		x-request-id x-correlation-id x-real-ip x-requested-with traceparent tracestate baggage b3 x-b3-traceid x-b3-spanid x-b3-sampled x-b3-parentspanid
		x-amzn-trace-id x-cloud-trace-context cf-ray cf-connecting-ip true-client-ip x-csrf-token x-xsrf-token x-original-url x-envoy-attempt-count soapaction`) {
		m[w] = true
	}
	return m
}()

// ordinary reports whether a header field belongs to HTTP, a browser or a proxy
// rather than to an API.
func ordinary(name string) bool {
	return common[name] || strings.HasPrefix(name, "sec-") || strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "if-") || name == ""
}

func (o *Operation) call(c *sallyport.Call) {
	key := c.Kind + " " + c.Name
	if o.Calls == nil {
		o.Calls = map[string]*Called{}
	}
	have := o.Calls[key]
	if have == nil {
		if len(o.Calls) >= maxCalls {
			return
		}
		have = &Called{Arguments: map[string]string{}, Fields: map[string]uint64{}}
		o.Calls[strings.Clone(key)] = have
		o.nodes++
	}
	have.Count++
	for _, a := range c.Arguments {
		types, ok := have.Arguments[a.Pointer]
		if !ok && len(have.Arguments) >= maxParams {
			continue
		}
		have.Arguments[strings.Clone(a.Pointer)] = joined(types, a.Type)
	}
	for _, f := range c.Fields {
		if _, ok := have.Fields[f]; ok || len(have.Fields) < 512 {
			have.Fields[strings.Clone(f)]++
		}
	}
}

// joined adds types to a list written with |.
func joined(list, more string) string {
	for t := range strings.SplitSeq(more, "|") {
		if t == "" || slices.Contains(strings.Split(list, "|"), t) || strings.Count(list, "|") > 8 {
			continue
		}
		if list != "" {
			list += "|"
		}
		list += t
	}
	return list
}

func (o *Operation) answer(x *sallyport.Exchange, status int) {
	if o.Answers == nil {
		o.Answers = map[int]*Answer{}
	}
	a := o.Answers[status]
	if a == nil {
		if len(o.Answers) >= maxStatuses {
			return
		}
		a = &Answer{}
		o.Answers[status] = a
	}
	a.Count++
	media := ""
	for _, f := range x.ResponseHeader {
		if strings.EqualFold(f.Name, "Content-Type") {
			media = mediaType(f.Value)
		}
	}
	var shape []sallyport.Typed
	if x.Shape != nil {
		shape = x.Shape.Response
	}
	if x.ResponseBytes > 0 || len(shape) > 0 {
		a.Media = o.media(a.Media, media, shape, x, true)
	}
}

// unnamed stands for a body that came without a media type. No description that
// names media types accepts it, so that what is known of the others then stands
// beside the description and not in it.
const unnamed = "*/*"

func (o *Operation) media(all map[string]*Media, name string, shape []sallyport.Typed, x *sallyport.Exchange, response bool) map[string]*Media {
	if name == "" {
		name = unnamed
	}
	if all == nil {
		all = map[string]*Media{}
	}
	m := all[name]
	if m == nil {
		if len(all) >= maxMedia {
			return all
		}
		m = &Media{}
		all[strings.Clone(name)] = m
	}
	m.Count++
	if len(shape) == 0 {
		return all
	}
	m.Shaped++
	if len(shape) >= wholeShape {
		m.Cut++
	}
	if m.Schema == nil {
		m.Schema = &Node{}
	}
	o.serial++
	o.shape(m.Schema, shape)
	if x.Lesson == nil {
		return all
	}
	absent := x.Lesson.RequestAbsent
	if response {
		absent = x.Lesson.ResponseAbsent
	}
	for _, p := range absent {
		for _, n := range m.Schema.at(p) {
			n.Lacking++
		}
	}
	for _, w := range x.Lesson.Words {
		if w.Response == response && w.Place.In == sallyport.InBody {
			for _, n := range m.Schema.at(w.Place.Name) {
				n.Words = n.Words.add(w.Value, 1)
			}
		}
	}
	return all
}

// shape takes in the places of one body, each after the place it is in.
func (o *Operation) shape(root *Node, shape []sallyport.Typed) {
	kinds := make(map[string]uint8, len(shape))
	for _, t := range shape {
		switch t.Type {
		case "array":
			kinds[t.Pointer] |= isArray
		case "object":
			kinds[t.Pointer] |= isObject
		}
	}
	for _, t := range shape {
		for _, n := range o.reach(root, t.Pointer, kinds) {
			if n.serial != o.serial {
				n.serial = o.serial
				n.Seen++
			}
			if n.Types == nil {
				n.Types = map[string]uint64{}
			}
			if _, ok := n.Types[t.Type]; !ok {
				o.nodes++
			}
			n.Types[strings.Clone(t.Type)]++
			if t.Type == "string" {
				if n.Formats == nil {
					n.Formats = map[string]uint64{}
				}
				if _, ok := n.Formats[t.Format]; ok || len(n.Formats) < 12 {
					n.Formats[strings.Clone(t.Format)]++
				}
			}
		}
	}
}

const isArray, isObject = 1, 2

// reach gives the nodes that a pointer stands for, and makes those that are
// missing. An asterisk is an element of a list, or a member of a map, or both:
// kinds says what stands at each pointer of the body.
func (o *Operation) reach(root *Node, pointer string, kinds map[string]uint8) []*Node {
	if pointer == "" {
		return []*Node{root}
	}
	at := []*Node{root}
	prefix := 0
	for depth, seg := range strings.Split(pointer[1:], "/") {
		if depth >= maxDepth {
			return nil
		}
		var next []*Node
		kind := kinds[pointer[:prefix]]
		prefix += 1 + len(seg)
		for _, n := range at {
			if seg == "*" || strings.Contains(seg, mark) {
				array, object := kind&isArray != 0, kind&isObject != 0
				if seg == "*" && (array || !object) {
					if n.Items == nil {
						n.Items = o.node()
					}
					if n.Items != nil {
						next = append(next, n.Items)
					}
				}
				if object || seg != "*" {
					if n.Others == nil {
						n.Others = o.node()
					}
					if n.Others != nil {
						next = append(next, n.Others)
					}
				}
				continue
			}
			name := strings.ReplaceAll(strings.ReplaceAll(seg, "~1", "/"), "~0", "~")
			c := n.Members[name]
			if c == nil && len(n.Members) < maxMembers {
				if c = o.node(); c != nil {
					if n.Members == nil {
						n.Members = map[string]*Node{}
					}
					n.Members[strings.Clone(name)] = c
				}
			}
			if c != nil {
				next = append(next, c)
			}
		}
		at = next
	}
	return at
}

func (o *Operation) node() *Node {
	if o.nodes >= maxNodes || o.Full {
		return nil
	}
	o.nodes++
	return &Node{}
}

// at finds the nodes of a pointer.
func (n *Node) at(pointer string) []*Node {
	at := []*Node{n}
	if pointer == "" {
		return at
	}
	for _, seg := range strings.Split(pointer[1:], "/") {
		var next []*Node
		for _, n := range at {
			name := strings.ReplaceAll(strings.ReplaceAll(seg, "~1", "/"), "~0", "~")
			for _, c := range []*Node{n.Members[name], n.Items, n.Others} {
				if c != nil && (c == n.Members[name] || seg == "*") {
					next = append(next, c)
				}
			}
		}
		at = next
	}
	return at
}
