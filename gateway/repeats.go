package gateway

import (
	"cmp"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
	"sallyport.dev/spec/jsondoc"
)

// A Repeat is a way of asking that sideloading would spare: clients get a list
// and then ask one by one for what its elements name ("N+1").
type Repeat struct {
	API       string
	Operation string // key of the one whose answers name the ids: "GET /orders"
	From      string // JSON pointer of the ids, * for every element
	Target    string // key of the one that is asked for each
	Name      string // a name for the resource
	Lists     int    // answers after which this was seen
	Calls     int    // requests that followed them, all together
	Last      time.Time
}

// Bounds of what is remembered while looking for repeats. All of it is hashes.
const (
	watchMost    = 256              // callers followed at once
	watchValues  = 2048             // ids of one answer
	watchTime    = 10 * time.Second // that requests may follow an answer
	repeatLeast  = 5                // requests after one answer that make it a repeat
	repeatLists  = 3                // answers after which it is worth a rule
	repeatMost   = 512              // ways remembered
	repeatForget = 24 * time.Hour
)

// repeats looks for Repeats. It follows a caller for a moment after an answer
// whose body is in hand anyway, and remembers nothing of it but hashes.
type repeats struct {
	seed  maphash.Seed
	count atomic.Int32 // of watches: nobody is followed most of the time

	mu      sync.Mutex
	watches map[uint64]*watched // by caller
	found   map[way]*Repeat
}

type way struct{ api, operation, from, target string }

// A watched caller has got an answer that names ids.
type watched struct {
	api, operation string
	until          time.Time
	values         map[uint64][]uint8 // hash of an id → pointers that it stands at
	pointers       []string
	distinct       []int                          // ids at each pointer
	hits           map[string]map[uint64]struct{} // by target: ids asked for
}

func newRepeats() *repeats {
	return &repeats{seed: maphash.MakeSeed(), watches: map[uint64]*watched{}, found: map[way]*Repeat{}}
}

func (r *repeats) caller(x *sallyport.Exchange) uint64 {
	who := x.Client.String()
	if !x.Principal.Anonymous() {
		who = x.Principal.String()
	}
	return maphash.String(r.seed, x.API+"\x00"+who)
}

// note takes one exchange that was answered well. path is as it came; body, if
// there is one, is the whole answer.
func (r *repeats) note(x *sallyport.Exchange, path string, body []byte, now time.Time) {
	if x.Method != http.MethodGet || x.Status != http.StatusOK || !x.Declared || x.Template == "" {
		return
	}
	param, one := onlyParam(x.Template, path)
	if r.count.Load() > 0 && one {
		r.follow(x, param, now)
	}
	if len(body) > 0 && len(body) <= sideAnswer {
		r.watch(x, body, now)
	}
}

// onlyParam is the value of a template's one parameter, where that is a whole segment.
func onlyParam(template, path string) (string, bool) {
	i := strings.IndexByte(template, '{')
	if i < 1 || strings.Count(template, "{") != 1 || template[i-1] != '/' {
		return "", false
	}
	end := strings.IndexByte(template[i:], '}')
	if rest := template[i+end+1:]; end < 0 || rest != "" && rest[0] != '/' {
		return "", false
	}
	if len(path) <= i || path[:i] != template[:i] {
		return "", false
	}
	v, _, _ := strings.Cut(path[i:], "/")
	v, err := url.PathUnescape(v)
	return v, err == nil && v != ""
}

// follow counts a request of a caller who got an answer a moment ago.
func (r *repeats) follow(x *sallyport.Exchange, id string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[r.caller(x)]
	if w == nil {
		return
	}
	if now.After(w.until) {
		r.close(r.caller(x), w, now)
		return
	}
	h := maphash.String(r.seed, id)
	if w.values[h] == nil {
		return
	}
	target := x.Method + " " + x.Template
	if w.hits[target] == nil {
		if len(w.hits) >= 16 {
			return
		}
		w.hits[target] = map[uint64]struct{}{}
	}
	w.hits[target][h] = struct{}{}
}

// watch begins to follow the caller of an answer that names at least a few ids.
func (r *repeats) watch(x *sallyport.Exchange, body []byte, now time.Time) {
	var doc jsondoc.Doc
	if doc.Parse(body, jsondoc.Limits{Bytes: sideAnswer, Nodes: 1 << 14, Depth: 16, Duplicates: true}) != nil || doc.Nodes[0].Kind != jsondoc.Array && doc.Nodes[0].Kind != jsondoc.Object {
		return
	}
	w := &watched{api: x.API, operation: x.Method + " " + x.Template, until: now.Add(watchTime), values: map[uint64][]uint8{}, hits: map[string]map[uint64]struct{}{}}
	index := map[string]uint8{}
	var walk func(node int, at string)
	walk = func(node int, at string) {
		n := &doc.Nodes[node]
		switch n.Kind {
		case jsondoc.Array:
			for k, end := node+1, int(n.Next); k < end; k = int(doc.Nodes[k].Next) {
				walk(k, at+"/*")
			}
		case jsondoc.Object:
			for k, end := node+1, int(n.Next); k < end; k = int(doc.Nodes[k].Next) {
				if key := string(doc.Key(k, nil)); len(key) <= 64 {
					walk(k, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
				}
			}
		default:
			id, ok := idOf(&doc, node)
			if !ok || len(id) > 64 || !strings.Contains(at, "*") || len(w.values) >= watchValues {
				return
			}
			p, known := index[at]
			if !known {
				if len(index) >= 64 {
					return
				}
				p = uint8(len(index))
				index[at] = p
				w.pointers, w.distinct = append(w.pointers, at), append(w.distinct, 0)
			}
			h := maphash.String(r.seed, id)
			if !slices.Contains(w.values[h], p) {
				w.values[h] = append(w.values[h], p)
				w.distinct[p]++
			}
		}
	}
	walk(0, "")
	if len(w.distinct) == 0 || slices.Max(w.distinct) < repeatLeast {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	who := r.caller(x)
	if old := r.watches[who]; old != nil {
		r.close(who, old, now)
	}
	if len(r.watches) >= watchMost {
		for k, old := range r.watches {
			if now.After(old.until) {
				r.close(k, old, now)
			}
		}
		if len(r.watches) >= watchMost {
			return
		}
	}
	r.watches[who] = w
	r.count.Store(int32(len(r.watches)))
}

// close draws the conclusion from what followed an answer. The caller holds r.mu.
func (r *repeats) close(who uint64, w *watched, now time.Time) {
	delete(r.watches, who)
	r.count.Store(int32(len(r.watches)))
	for target, hits := range w.hits {
		if len(hits) < repeatLeast {
			continue
		}
		at := make([]int, len(w.pointers)) // of the ids asked for, how many stand at each pointer
		for h := range hits {
			for _, p := range w.values[h] {
				at[p]++
			}
		}
		best := -1
		for p, n := range at {
			if n < repeatLeast || n*10 < len(hits)*9 { // most of what was asked for must stand there
				continue
			}
			// Of two places that explain it, the one that holds less besides.
			if best < 0 || cmp.Or(cmp.Compare(n, at[best]), cmp.Compare(w.distinct[best], w.distinct[p])) > 0 {
				best = p
			}
		}
		if best < 0 {
			continue
		}
		k := way{w.api, w.operation, w.pointers[best], target}
		f := r.found[k]
		if f == nil {
			if len(r.found) >= repeatMost {
				for k, f := range r.found {
					if now.Sub(f.Last) > repeatForget {
						delete(r.found, k)
					}
				}
				if len(r.found) >= repeatMost {
					continue
				}
			}
			f = &Repeat{API: k.api, Operation: k.operation, From: k.from, Target: k.target, Name: resourceName(k.from, k.target)}
			r.found[k] = f
		}
		f.Lists++
		f.Calls += len(hits)
		f.Last = now
	}
}

// resourceName makes a name out of where the id stands, or of what it leads to:
// customer of /items/*/customer_id, product of /items/*/id and /products/{id}.
func resourceName(from, target string) string {
	last := from[strings.LastIndexByte(from, '/')+1:]
	if last == "*" {
		last = strings.TrimSuffix(from, "/*")
		last = last[strings.LastIndexByte(last, '/')+1:]
	}
	for _, end := range []string{"_ids", "_id", "-id", "Ids", "Id", "ID"} {
		if base, ok := strings.CutSuffix(last, end); ok && base != "" {
			return base
		}
	}
	if strings.EqualFold(last, "id") || strings.EqualFold(last, "key") || last == "*" {
		path := strings.TrimRight(target[:max(0, strings.IndexByte(target, '{'))], "/")
		last = path[strings.LastIndexByte(path, '/')+1:]
		last = strings.TrimSuffix(last, "s")
		return last + "_detail"
	}
	return last + "_detail"
}

// list gives what is worth a rule, the most frequent first.
func (r *repeats) list(now time.Time) []Repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	for who, w := range r.watches {
		if now.After(w.until) {
			r.close(who, w, now)
		}
	}
	var out []Repeat
	for _, f := range r.found {
		if f.Lists >= repeatLists && now.Sub(f.Last) < repeatForget {
			out = append(out, *f)
		}
	}
	slices.SortFunc(out, func(x, y Repeat) int {
		return cmp.Or(cmp.Compare(y.Calls, x.Calls), cmp.Compare(x.API+x.Operation+x.Target+x.From, y.API+y.Operation+y.Target+y.From))
	})
	return out
}

// Repeats lists the ways of asking that sideloading would spare, as far as they
// were seen since the start, within a day: clients that get a list and then
// ask for each of its elements.
func (g *Gateway) Repeats() []Repeat { return g.repeats.list(g.o.Now()) }

// String describes the repeat for people.
func (r Repeat) String() string {
	return r.Operation + ", then " + r.Target + " for " + strconv.Itoa(r.Calls/max(1, r.Lists)) + " of " + r.From
}
