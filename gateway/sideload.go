package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"sallyport.dev"
	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	"sallyport.dev/spec/jsondoc"
)

// A Sideload puts related resources into answers, so that a client need not
// ask for each. Every resource is asked for as the caller, through the whole
// guard: what the caller may not see is null in the answer.
type Sideload struct {
	Param string // query parameter that names what is wanted, behind commas
	Most  int    // resources in one answer
	Rules []Side
}

// A Side is one rule. Operation is the key of the one
// whose answers are added to, Target and Batch.Operation are templates of GETs.
type Side struct {
	Name, Operation, From, Target string
	Origin                        string // where the rule comes from, for people
	Batch                         Batch
	Always                        bool
}

// A Batch is an operation that gives several resources at once.
type Batch struct {
	Operation string // template of a GET; "" = there is none
	Param     string // its query parameter that takes the ids, behind commas
	Items     string // JSON pointer of the resources in its answer; "" = the answer itself
	Key       string // their member that is the id
	Size      int    // ids in one request
}

const (
	sideParallel = 8         // requests at once for one answer
	sideBytes    = 4 << 20   // of all resources together
	sideAnswer   = 1 << 20   // of the answer that they are put into
	sideItem     = 512 << 10 // of one answer with resources
)

// sideKey marks a request that is made for an answer.
type sideKey struct{}

// aside is what such a request carries.
type aside struct {
	as guard.Caller
	op string // key of the operation that it is for, and no other
}

// sides finds what is to be put into the answer and takes the parameter that
// names it out of the target. A name that no rule has is refused.
func (p *passage) sides() (guard.Kind, string) {
	if a, _ := p.r.Context().Value(sideKey{}).(*aside); a != nil {
		p.req.As, p.meant = a.as, a.op
		return guard.Kind{}, ""
	}
	lane := p.force.lanes[p.force.program.Serves(p.r.Host, p.req.Path)]
	if lane == nil || p.r.Method != http.MethodGet && p.r.Method != http.MethodHead {
		return guard.Kind{}, ""
	}
	p.side = lane.side
	if p.side == nil || !strings.Contains(p.req.RawQuery, p.side.Param) && !strings.Contains(p.req.RawQuery, "%") {
		return guard.Kind{}, ""
	}
	var rest []string
	for pair := range strings.SplitSeq(p.req.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(name); err != nil || n != p.side.Param {
			rest = append(rest, pair)
			continue
		}
		v, err := url.QueryUnescape(value)
		if err != nil || len(p.wanted) > 0 {
			return guard.KindInvalid, "sideload.parameter"
		}
		for word := range strings.SplitSeq(v, ",") {
			if word != "" && !slices.Contains(p.wanted, word) {
				p.wanted = append(p.wanted, word)
			}
		}
		if len(p.wanted) == 0 || len(p.wanted) > 16 {
			return guard.KindInvalid, "sideload.parameter"
		}
	}
	if p.wanted == nil {
		return guard.Kind{}, ""
	}
	p.req.Sent = p.req.RawQuery
	p.req.RawQuery = strings.Join(rest, "&")
	p.target = p.req.Path
	if p.req.RawQuery != "" {
		p.target += "?" + p.req.RawQuery
	}
	return guard.Kind{}, ""
}

// chosen are the rules that the answer is treated by, once the guard has said
// which operation it is. A name that none of its rules has is refused.
func (p *passage) chosen() bool {
	key := p.ses.Operation().Key()
	if p.meant != "" && key != p.meant {
		p.refuse(guard.KindNotFound, nil, &sallyport.Reason{Stage: sallyport.StageIdentify, Rule: "sideload.target", Place: sallyport.Place{In: sallyport.InPath},
			Detail: "the id in an answer leads to another operation than the rule's", Mode: sallyport.Enforce})
		return false
	}
	if p.side == nil {
		return true
	}
	if rest, ok := strings.CutPrefix(key, http.MethodHead+" "); ok {
		key = http.MethodGet + " " + rest
	}
	for i := range p.side.Rules {
		r := &p.side.Rules[i]
		if r.Operation == key && (r.Always || slices.Contains(p.wanted, r.Name)) {
			p.adds = append(p.adds, r)
		}
	}
	for _, name := range p.wanted {
		if !slices.ContainsFunc(p.adds, func(r *Side) bool { return r.Name == name }) {
			p.refuse(guard.KindInvalid, nil, &sallyport.Reason{Stage: sallyport.StageValidate, Rule: "sideload.unknown", Place: sallyport.Place{In: sallyport.InQuery, Name: p.side.Param},
				Detail: "no rule of this operation has that name", Mode: sallyport.Enforce})
			return false
		}
	}
	if len(p.adds) > 0 {
		delete(p.r.Header, "Accept-Encoding") // the answer is to be read
		delete(p.r.Header, "Range")
	}
	return true
}

// A spot is an object of the answer that resources are put into.
type spot struct {
	end    int // offset of its closing brace
	empty  bool
	ids    []string
	list   bool // the ids are a list, and so are the resources
	rule   int
	member string
}

// takesSides reports whether anything can be put into an answer with this head.
// Others are not waited for: a stream of events may never end.
func (p *passage) takesSides() bool {
	a := &p.up
	return len(p.adds) > 0 && a.status == http.StatusOK && jsonType(first(a.header["Content-Type"])) && len(a.header["Content-Encoding"]) == 0
}

// addSides puts the resources into the answer that p.up.whole holds, and
// reports whether there were any to put in.
func (p *passage) addSides() bool {
	a := &p.up
	if !p.takesSides() || len(a.whole) > sideAnswer {
		return false
	}
	var doc jsondoc.Doc
	if doc.Parse(a.whole, jsondoc.Limits{Bytes: sideAnswer, Nodes: 1 << 16}) != nil {
		return false
	}
	var spots []spot
	ids := make([][]string, len(p.adds)) // distinct ones, of each rule
	left, over, full := p.side.Most, false, false
	for i, r := range p.adds {
		seen := map[string]bool{}
		p.find(&doc, 0, strings.Split(r.From[1:], "/"), -1, func(object int, values []string, list bool) {
			if has(&doc, object, r.Name) {
				return
			}
			for _, v := range values {
				if !seen[v] {
					if left == 0 {
						over = true
						return
					}
					left--
					seen[v] = true
					ids[i] = append(ids[i], v)
				}
			}
			n := doc.Nodes[object]
			spots = append(spots, spot{end: int(n.End) - 1, empty: n.Count == 0, ids: values, list: list, rule: i, member: r.Name})
		})
	}
	defer func() {
		if full {
			p.out.Reason = &sallyport.Reason{Stage: sallyport.StageForward, Rule: "sideload.buffered", Detail: "there was no room for all that was to be put into the answer", Mode: sallyport.Observe}
		} else if over {
			p.out.Reason = &sallyport.Reason{Stage: sallyport.StageForward, Rule: "sideload.most", Detail: "the answer names more resources than may be put into one", Mode: sallyport.Observe}
		}
	}()
	if len(spots) == 0 {
		return false
	}
	p.caller = p.ses.Behalf()
	got, calls := p.gather(ids)
	room, need := sideBytes, 0 // for all that is put in: one id may stand there often
	for _, s := range spots {
		need += len(s.member) + 8
		for _, id := range s.ids {
			need += max(len(got[s.rule][id]), 4) + 1
		}
	}
	need = min(need, sideBytes+32*len(spots)) + len(a.whole)
	if !p.g.buffered.add(int64(need)) {
		room, full = 0, true
	} else {
		p.reserved += int64(need)
	}
	full = full || atomic.LoadInt64(&p.sideFull) > 0
	slices.SortStableFunc(spots, func(x, y spot) int { return x.end - y.end })
	out := make([]byte, 0, min(need, 2*len(a.whole)))
	at := 0
	for i, s := range spots {
		out = append(out, a.whole[at:s.end]...)
		at = s.end
		if !s.empty || i > 0 && spots[i-1].end == s.end {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, s.member), ':')
		if s.list {
			out = append(out, '[')
		}
		for k, id := range s.ids {
			if k > 0 {
				out = append(out, ',')
			}
			if v := got[s.rule][id]; v != nil && len(v) <= room {
				room -= len(v)
				out = append(out, v...)
			} else {
				over = over || v != nil
				out = append(out, "null"...)
			}
		}
		if s.list {
			out = append(out, ']')
		}
	}
	a.whole = append(out, a.whole[at:]...)
	otherBody(a.header)
	a.header["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
	a.length = int64(len(a.whole))
	p.out.Relief = append(p.out.Relief, fmt.Sprintf("sideload: %d resources by %d requests", count(got), calls))
	return true
}

// otherBody takes out of an answer's head what speaks of the answer without.
func otherBody(h http.Header) {
	for _, name := range [...]string{"Etag", "Last-Modified", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Accept-Ranges", "Age", "Expires", "Signature", "Signature-Input"} {
		delete(h, name)
	}
	h["Cache-Control"] = []string{"private, no-store"}
}

// answerLaden answers with what the upstream has sent and what is put into it.
// That is asked for once the upstream's place and connection are free again: the
// requests for it need some themselves.
func (p *passage) answerLaden() {
	a := &p.up
	p.addSides()
	if out, ok := p.w.(http1.Answerer); ok && len(a.trailer()) == 0 {
		a.header["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
		p.answerAtOnce(out, served)
		return
	}
	p.answerStream(guard.Step{}, false, true, served)
}

func count(got []map[string][]byte) (n int) {
	for _, m := range got {
		n += len(m)
	}
	return n
}

func jsonType(v string) bool {
	v, _, _ = strings.Cut(v, ";")
	v = strings.ToLower(strings.TrimSpace(v))
	return v == "application/json" || strings.HasSuffix(v, "+json")
}

// has reports whether an object has a member of that name.
func has(d *jsondoc.Doc, object int, name string) bool {
	return memberOf(d, object, name) >= 0
}

func memberOf(d *jsondoc.Doc, object int, name string) int {
	for k, end := object+1, int(d.Nodes[object].Next); k < end; k = int(d.Nodes[k].Next) {
		if string(d.Key(k, nil)) == name {
			return k
		}
	}
	return -1
}

// find calls f for each object that holds an id, or a list of them, at the path.
func (p *passage) find(d *jsondoc.Doc, node int, path []string, object int, f func(object int, ids []string, list bool)) {
	n := &d.Nodes[node]
	if n.Kind == jsondoc.Object {
		object = node
	}
	if len(path) == 0 {
		if id, ok := idOf(d, node); ok && object >= 0 {
			f(object, []string{id}, false)
		}
		return
	}
	switch {
	case path[0] == "*" && n.Kind == jsondoc.Array && len(path) == 1 && object >= 0:
		var ids []string
		for k, end := node+1, int(n.Next); k < end; k = int(d.Nodes[k].Next) {
			if id, ok := idOf(d, k); ok {
				ids = append(ids, id)
			}
		}
		f(object, ids, true)
	case path[0] == "*" && n.Kind == jsondoc.Array:
		for k, end := node+1, int(n.Next); k < end; k = int(d.Nodes[k].Next) {
			p.find(d, k, path[1:], object, f)
		}
	case n.Kind == jsondoc.Object:
		if k := memberOf(d, node, strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])); k >= 0 {
			p.find(d, k, path[1:], object, f)
		}
	}
}

// idOf is a string or an integer that can stand in a path.
func idOf(d *jsondoc.Doc, node int) (string, bool) {
	n := &d.Nodes[node]
	switch {
	case n.Kind == jsondoc.String:
		s := string(d.Text(node, nil))
		return s, s != "" && s != "." && s != ".." && len(s) <= 256
	case n.Kind == jsondoc.Number && n.Integer:
		return string(d.Raw(node)), n.End-n.Start <= 24
	}
	return "", false
}

// gather asks for the resources, a few at once, and says how many requests that took.
func (p *passage) gather(ids [][]string) (got []map[string][]byte, calls int) {
	got = make([]map[string][]byte, len(ids))
	var mu sync.Mutex
	left := sideBytes
	keep := func(rule int, id string, v []byte) {
		mu.Lock()
		defer mu.Unlock()
		if left -= len(v); left >= 0 {
			got[rule][id] = v
		}
	}
	gate := make(chan struct{}, sideParallel)
	var wait sync.WaitGroup
	ask := func(op, target string, take func(body []byte)) {
		calls++
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			if body := p.askAside(op, target); body != nil {
				take(body)
			}
		})
	}
	for i, r := range p.adds {
		got[i] = map[string][]byte{}
		if r.Batch.Operation == "" || len(ids[i]) < 2 {
			for _, id := range ids[i] {
				ask(r.Target, fill(r.Target, id), func(body []byte) { keep(i, id, body) })
			}
			continue
		}
		for part := range slices.Chunk(ids[i], r.Batch.Size) {
			words := make([]string, 0, len(part))
			for _, id := range part {
				if !strings.Contains(id, ",") { // it would be two
					words = append(words, url.QueryEscape(id))
				}
			}
			ask(r.Batch.Operation, r.Batch.Operation+"?"+url.QueryEscape(r.Batch.Param)+"="+strings.Join(words, ","), func(body []byte) {
				var doc jsondoc.Doc
				if doc.Parse(body, jsondoc.Limits{Bytes: sideItem, Nodes: 1 << 16}) != nil {
					return
				}
				node := 0
				if r.Batch.Items != "" {
					for step := range strings.SplitSeq(r.Batch.Items[1:], "/") {
						if doc.Nodes[node].Kind != jsondoc.Object {
							return
						}
						if node = memberOf(&doc, node, step); node < 0 {
							return
						}
					}
				}
				if doc.Nodes[node].Kind != jsondoc.Array {
					return
				}
				for k, end := node+1, int(doc.Nodes[node].Next); k < end; k = int(doc.Nodes[k].Next) {
					if doc.Nodes[k].Kind != jsondoc.Object {
						continue
					}
					if at := memberOf(&doc, k, r.Batch.Key); at >= 0 {
						if id, ok := idOf(&doc, at); ok && slices.Contains(part, id) { // nothing that was not named
							keep(i, id, bytes.Clone(doc.Raw(k)))
						}
					}
				}
			})
		}
	}
	wait.Wait()
	return got, calls
}

// fill puts an id into a template's one parameter.
func fill(template, id string) string {
	before, rest, _ := strings.Cut(template, "{")
	_, after, _ := strings.Cut(rest, "}")
	return before + url.PathEscape(id) + after
}

// conditional are request headers that speak of the answer asked for, of the
// connection or of a body, and not of who asks.
var conditional = []string{"Upgrade", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Expect", "Content-Type", "Content-Length", "Dpop"}

// askAside makes one request as the caller, through the whole gateway, and
// gives its answer's JSON, nil when there is none or when it is one of another
// operation than op.
func (p *passage) askAside(op, target string) []byte {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	h := p.r.Header.Clone()
	for _, name := range conditional {
		delete(h, name)
	}
	h["Accept"] = []string{"application/json"}
	ctx := context.WithValue(p.r.Context(), sideKey{}, &aside{as: p.caller, op: http.MethodGet + " " + op})
	r := (&http.Request{Method: http.MethodGet, URL: u, RequestURI: target, Host: p.r.Host, Header: h, Proto: p.r.Proto, ProtoMajor: p.r.ProtoMajor,
		ProtoMinor: p.r.ProtoMinor, RemoteAddr: p.r.RemoteAddr, TLS: p.r.TLS, Body: http.NoBody}).WithContext(ctx)
	w := &asideWriter{h: http.Header{}, force: p.force, buffered: &p.g.buffered}
	defer func() { atomic.AddInt64(&p.sideHeld, w.held) }() // the answer is put together of it
	func() {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			} else if v != nil {
				w.status = 0
			}
		}()
		p.g.ServeHTTP(w, r)
	}()
	if w.full {
		atomic.AddInt64(&p.sideFull, 1)
	}
	if w.status != http.StatusOK || w.over || !jsonType(first(w.h["Content-Type"])) || len(w.h["Content-Encoding"]) > 0 {
		return nil
	}
	var doc jsondoc.Doc
	if doc.Parse(w.body, jsondoc.Limits{Bytes: sideItem, Nodes: 1 << 16}) != nil {
		return nil
	}
	return bytes.TrimSpace(w.body)
}

// An asideWriter takes the answer to a request of our own.
type asideWriter struct {
	force    *generation
	h        http.Header
	status   int
	body     []byte
	over     bool
	full     bool // for want of room
	held     int64
	buffered *gauge
}

func (w *asideWriter) Header() http.Header { return w.h }

func (w *asideWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
}

func (w *asideWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.over = w.over || len(w.body)+len(b) > sideItem; w.over {
		return len(b), nil
	}
	if !w.buffered.add(int64(len(b))) {
		w.over, w.full = true, true
		return len(b), nil
	}
	w.held += int64(len(b))
	w.body = append(w.body, b...)
	return len(b), nil
}

// Flush does nothing: the answer is taken whole. Without it one that comes in
// pieces could not be passed on.
func (w *asideWriter) Flush() {}
