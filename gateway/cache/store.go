package cache

import (
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Store holds entries within a number of bytes. It may be used from any
// goroutine. Which entries go is decided by S3-FIFO (Yang et al., "FIFO queues
// are all you need for cache eviction", SOSP 2023): what is asked for once does
// not push out what is asked for often.
type Store struct {
	seed    maphash.Seed
	shards  []shard
	flights flights

	entries, bytes, evicted atomic.Int64
}

type shard struct {
	s   *Store
	max int64

	mu      sync.RWMutex
	targets map[string]map[string][]*Entry // by target, by scope
	small   queue                          // seen once
	main    queue                          // asked for again
	ghosts  map[uint64]struct{}            // keys that left small not long ago
	left    []uint64                       // the same, oldest first, as a ring
	next    int
	changes [256]uint64 // how often targets of a bucket were invalidated
}

// queue is a list with the oldest at its end.
type queue struct {
	front, back *Entry
	bytes       int64
	n           int
}

func (l *queue) push(e *Entry) {
	e.queue, e.prev, e.next = l, nil, l.front
	if l.front != nil {
		l.front.prev = e
	} else {
		l.back = e
	}
	l.front = e
	l.bytes += e.size
	l.n++
}

func (l *queue) remove(e *Entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	e.queue, e.prev, e.next = nil, nil, nil
	l.bytes -= e.size
	l.n--
}

const maxGhosts = 4096 // of one shard

// New makes a store for at most so many bytes, keys and heads included.
func New(bytes int64) *Store {
	n := int(min(max(bytes/(4<<20), 1), 16))
	s := &Store{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	s.flights.init()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.s, sh.max = s, bytes/int64(n)
		sh.targets, sh.ghosts = map[string]map[string][]*Entry{}, map[uint64]struct{}{}
	}
	return s
}

// Stats is what a store holds.
type Stats struct{ Entries, Bytes, Evicted int64 }

// Stats counts; it may be called at any time.
func (s *Store) Stats() Stats { return Stats{s.entries.Load(), s.bytes.Load(), s.evicted.Load()} }

// target is the key of all that may be stored under one URI of an API. The host
// is compared without case, so that a change is a change under each spelling;
// what a spelling was answered with is kept apart by the scope.
func target(api, host, target string) string {
	return api + "\x00" + strings.ToLower(host) + "\x00" + target
}

func (s *Store) shard(key string) (*shard, uint64) {
	h := maphash.String(s.seed, key)
	return &s.shards[h%uint64(len(s.shards))], h
}

func scopeOf(q *Request, r *Rules, caller string) string {
	scope := caller + "\x00" + q.Host + "\x00" + q.Origin
	if len(r.Headers) > 0 {
		scope += "\x00" + varied(r.Headers, q.Header)
	}
	return scope
}

// Lookup gives the entry that answers q, fresh or not: of those for everyone
// and those for its caller the youngest. nil: there is none.
func (s *Store) Lookup(q *Request, r *Rules) *Entry {
	key := target(q.API, q.Host, q.Target)
	sh, _ := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	scopes := sh.targets[key]
	if scopes == nil {
		return nil
	}
	best := pick(scopes[scopeOf(q, r, "")], q.Header)
	if r.Private && q.Caller != "" {
		if own := pick(scopes[scopeOf(q, r, q.Caller)], q.Header); best == nil || own != nil && own.at.After(best.at) {
			best = own
		}
	}
	if best != nil && best.uses.Load() < 3 {
		best.uses.Add(1)
	}
	return best
}

// pick is the youngest of the entries that match: they are kept in the order in
// which they came, and one that came later answers for all that it matches (RFC
// 9111 section 4.1).
func pick(list []*Entry, h http.Header) *Entry {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].matches(h) {
			return list[i]
		}
	}
	return nil
}

// A Write is an answer on its way into a store. It belongs to one goroutine.
type Write struct {
	s       *Store
	q       Request
	r       *Rules
	scope   string
	key     string
	changes uint64
	status  int
	header  http.Header
	body    []byte
	want    int64 // length stated, -1: none
	asked   time.Time
	came    time.Time
	why     Reason
}

// Changes is to be noted before the upstream is asked: an answer is not kept if
// its target was invalidated in between.
func (s *Store) Changes(q *Request) uint64 {
	sh, h := s.shard(target(q.API, q.Host, q.Target))
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.changes[h>>32%256]
}

// Begin starts to keep an answer whose head has come, or says why not. header
// is the upstream's and is copied. length is what the body will have, -1 when
// that is not known. q's header must not change before Commit.
func (s *Store) Begin(q *Request, r *Rules, status int, header http.Header, length int64, changes uint64, asked, now time.Time) (*Write, Reason) {
	scope, why := Storable(q, r, status, header, now)
	if why != OK {
		return nil, why
	}
	if length > r.Entry {
		return nil, BySize
	}
	w := &Write{s: s, q: *q, r: r, key: target(q.API, q.Host, q.Target), changes: changes, status: status, asked: asked, came: now, want: length}
	w.scope = scopeOf(q, r, scope)
	w.header = kept(header, r)
	if length > 0 {
		w.body = make([]byte, 0, length)
	}
	return w, OK
}

// hop are the headers of one hop, which are not stored (RFC 9111 section 3.1),
// and what an upstream says of the work that an answer was.
var hop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Endpoint-Load-Metrics", "Endpoint-Load-Metrics-Bin"}

// kept copies the fields of an answer that may be stored.
func kept(h http.Header, r *Rules) http.Header {
	out := make(http.Header, len(h)+1)
	lines := 0
	for _, v := range h {
		lines += len(v)
	}
	all := make([]string, 0, lines)
	for name, values := range h {
		at := len(all)
		for _, v := range values {
			all = append(all, strings.Clone(v)) // they are parts of one buffer, often larger
		}
		out[name] = all[at:len(all):len(all)]
	}
	for _, line := range h["Connection"] {
		for _, name := range fieldNames(line) {
			delete(out, name)
		}
	}
	for _, name := range hop {
		delete(out, name)
	}
	c, _ := controlOf(h, r.Targeted)
	for _, name := range c.hides {
		delete(out, name)
	}
	return out
}

// Write adds to the body. It keeps nothing more of one that grows too long, and
// says so.
func (w *Write) Write(b []byte) Reason {
	if w.why != OK {
		return w.why
	}
	if int64(len(w.body)+len(b)) > w.r.Entry {
		w.body, w.why = nil, BySize
		return w.why
	}
	w.body = append(w.body, b...)
	return OK
}

// Commit stores the answer, which has come whole, and gives its entry. Of
// several that one request could be given, the new one takes the place of those
// before it.
func (w *Write) Commit() (*Entry, Reason) {
	switch {
	case w.why != OK:
		return nil, w.why
	case w.want >= 0 && int64(len(w.body)) != w.want:
		return nil, ByTrunc
	}
	e := newEntry(w.status, w.header, w.body, &w.q, w.r, w.asked, w.came)
	return w.s.put(e, w.key, w.scope, w.changes)
}

func (s *Store) put(e *Entry, key, scope string, changes uint64) (*Entry, Reason) {
	sh, h := s.shard(key)
	e.key, e.scope = key, scope
	e.size = e.cost()
	if e.size > sh.max/2 {
		return nil, BySize
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.changes[h>>32%256] != changes {
		return nil, ByChange
	}
	scopes := sh.targets[key]
	if scopes == nil {
		scopes = map[string][]*Entry{}
		sh.targets[key] = scopes
	}
	list := scopes[scope]
	var old *Entry
	for i, x := range list {
		if slices.Equal(x.vary, e.vary) && x.varied == e.varied {
			old = list[i]
			break
		}
	}
	if old == nil && len(list) >= maxVariants {
		old = list[0]
	}
	uses := int32(0)
	if old != nil {
		uses = old.uses.Load()
		sh.remove(old)
		if scopes = sh.targets[key]; scopes == nil {
			scopes = map[string][]*Entry{}
			sh.targets[key] = scopes
		}
	}
	e.uses.Store(uses)
	scopes[scope] = append(scopes[scope], e)
	ghost := h ^ maphash.String(s.seed, scope)
	if _, again := sh.ghosts[ghost]; again || uses > 0 {
		sh.main.push(e)
	} else {
		sh.small.push(e)
	}
	s.entries.Add(1)
	s.bytes.Add(e.size)
	for sh.small.bytes+sh.main.bytes > sh.max && sh.small.n+sh.main.n > 1 {
		sh.evict()
	}
	return e, OK
}

// evict lets one entry go, or moves one on.
func (sh *shard) evict() {
	if e := sh.small.back; e != nil && (sh.small.bytes > sh.max/10 || sh.main.back == nil) {
		if e.uses.Load() > 0 {
			sh.small.remove(e)
			e.uses.Store(0)
			sh.main.push(e)
			return
		}
		sh.remember(maphash.String(sh.s.seed, e.key) ^ maphash.String(sh.s.seed, e.scope))
		sh.remove(e)
		sh.s.evicted.Add(1)
		return
	}
	e := sh.main.back
	if n := e.uses.Load(); n > 0 {
		sh.main.remove(e)
		e.uses.Store(n - 1)
		sh.main.push(e)
		return
	}
	sh.remove(e)
	sh.s.evicted.Add(1)
}

func (sh *shard) remember(ghost uint64) {
	if _, there := sh.ghosts[ghost]; there {
		return
	}
	if len(sh.left) < maxGhosts {
		sh.left = append(sh.left, ghost)
	} else {
		delete(sh.ghosts, sh.left[sh.next])
		sh.left[sh.next] = ghost
		sh.next = (sh.next + 1) % maxGhosts
	}
	sh.ghosts[ghost] = struct{}{}
}

// remove takes an entry out of everything.
func (sh *shard) remove(e *Entry) {
	if e.queue == nil {
		return
	}
	e.queue.remove(e)
	sh.s.entries.Add(-1)
	sh.s.bytes.Add(-e.size)
	scopes := sh.targets[e.key]
	list := scopes[e.scope]
	if i := slices.Index(list, e); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) > 0 {
		scopes[e.scope] = list
		return
	}
	delete(scopes, e.scope)
	if len(scopes) == 0 {
		delete(sh.targets, e.key)
	}
}

// notUpdated are fields that a 304 does not change (RFC 9111 section 3.2), for
// they belong to the body that is stored.
var notUpdated = map[string]bool{"Content-Length": true, "Content-Encoding": true, "Content-Md5": true, "Content-Range": true, "Etag": true, "Digest": true, "Content-Digest": true, "Repr-Digest": true}

// Freshen puts e, which a 304 says still holds, in its own place with what the
// 304's head says anew (RFC 9111 section 4.3.4). When the target was invalidated
// or e has gone meanwhile, the entry it gives is not stored.
func (s *Store) Freshen(e *Entry, q *Request, r *Rules, header http.Header, changes uint64, asked, now time.Time) *Entry {
	h := make(http.Header, len(e.Header))
	for name, values := range e.Header {
		h[name] = values
	}
	delete(h, "Age") // what it said was about the answer before
	for name, values := range kept(header, r) {
		if !notUpdated[name] {
			h[name] = values
		}
	}
	if len(header["Date"]) == 0 {
		delete(h, "Date")
	}
	next := newEntry(e.Status, h, e.Body, q, r, asked, now)
	if len(e.etag) > 0 && len(header["Etag"]) > 0 && header["Etag"][0] != e.etag || next.control.noStore {
		return next // it speaks of another answer, or this one is to be forgotten
	}
	if len(header["Set-Cookie"]) > 0 && !r.SetCookie {
		return next
	}
	if vary, ok := varyOf(h); !ok || q.unlike(vary) {
		return next
	}
	s.put(next, e.key, e.scope, changes)
	return next
}

// Drop takes e out of the store.
func (s *Store) Drop(e *Entry) {
	sh, _ := s.shard(e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(e)
}

// Invalidate forgets what is stored under a URI, for everyone, and whatever is
// on its way there (RFC 9111 section 4.4). It gives how many entries it was.
func (s *Store) Invalidate(api, host, path string) int {
	key := target(api, host, path)
	sh, h := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.changes[h>>32%256]++
	n := 0
	for _, list := range sh.targets[key] {
		for _, e := range slices.Clone(list) {
			sh.remove(e)
			n++
		}
	}
	return n
}

// A Purge names what is to be forgotten: what matches all that is set.
type Purge struct {
	API    string // required
	Prefix string // of the path; whole segments
	Tag    string
}

// Purge forgets what p names, and whatever is on its way into the store. It
// looks at every entry.
func (s *Store) Purge(p Purge) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for b := range sh.changes {
			sh.changes[b]++
		}
		for key, scopes := range sh.targets {
			api, rest, _ := strings.Cut(key, "\x00")
			_, path, _ := strings.Cut(rest, "\x00")
			path, _, _ = strings.Cut(path, "?")
			if api != p.API || !underPrefix(path, p.Prefix) {
				continue
			}
			for _, list := range scopes {
				for _, e := range slices.Clone(list) {
					if p.Tag == "" || slices.Contains(e.tags, p.Tag) {
						sh.remove(e)
						n++
					}
				}
			}
		}
		sh.mu.Unlock()
	}
	return n
}

func underPrefix(path, prefix string) bool {
	prefix = strings.TrimRight(prefix, "/")
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
