package cache_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/gateway/cache"
)

var rules = cache.Rules{Statuses: []int{200, 404}, Longest: 24 * time.Hour, Entry: 1 << 20, Tags: []string{"Cache-Tag"}, Targeted: []string{"Cdn-Cache-Control"}}

func request(target string, header ...string) *cache.Request {
	q := &cache.Request{API: "shop", Method: "GET", Host: "shop.test", Target: target, Header: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	return q
}

// put stores an answer as the gateway would.
func put(s *cache.Store, q *cache.Request, r *cache.Rules, h http.Header, body string, now time.Time) (*cache.Entry, cache.Reason) {
	w, why := s.Begin(q, r, 200, h, int64(len(body)), s.Changes(q), now, now)
	if why != cache.OK {
		return nil, why
	}
	if why := w.Write([]byte(body)); why != cache.OK {
		return nil, why
	}
	return w.Commit()
}

func head(lines ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(lines); i += 2 {
		h.Add(lines[i], lines[i+1])
	}
	return h
}

func TestLifetime(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	date := now.Format(http.TimeFormat)
	in := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	guess := rules
	guess.Heuristic = true
	for _, c := range []struct {
		name  string
		r     *cache.Rules
		h     http.Header
		fresh time.Duration // right away; -1: not stored
	}{
		{"max-age", &rules, head("Cache-Control", "max-age=60"), 60 * time.Second},
		{"s-maxage before max-age", &rules, head("Cache-Control", "max-age=60, s-maxage=10"), 10 * time.Second},
		{"max-age before Expires", &rules, head("Cache-Control", "max-age=60", "Expires", in(time.Hour)), 60 * time.Second},
		{"Expires", &rules, head("Expires", in(time.Hour)), time.Hour},
		{"Expires twice", &rules, head("Expires", in(time.Hour), "Expires", in(2*time.Hour)), 0},
		{"Expires of 0", &rules, head("Expires", "0"), 0},
		{"twice, the smaller", &rules, head("Cache-Control", "max-age=60", "Cache-Control", "max-age=10"), 10 * time.Second},
		{"no number", &rules, head("Cache-Control", "max-age=a"), 0},
		{"negative", &rules, head("Cache-Control", "max-age=-1"), 0},
		{"too large", &rules, head("Cache-Control", "max-age=99999999999999999999"), 24 * time.Hour},
		{"quoted", &rules, head("Cache-Control", `max-age="60"`), 60 * time.Second},
		{"inside a quoted string", &rules, head("Cache-Control", `a="max-age=60", max-age=10`), 10 * time.Second},
		{"a string that does not end", &rules, head("Cache-Control", `a="x, max-age=60`, "Etag", `"1"`), 0},
		{"Age", &rules, head("Cache-Control", "max-age=60", "Age", "20"), 40 * time.Second},
		{"Age that says nothing", &rules, head("Cache-Control", "max-age=60", "Age", "old"), 60*time.Second - 1<<31*time.Second},
		{"Date of before", &rules, head("Cache-Control", "max-age=60", "Date", in(-15*time.Second)), 45 * time.Second},
		{"Date of later", &rules, head("Cache-Control", "max-age=60", "Date", in(time.Hour)), 60 * time.Second},
		{"guess", &guess, head("Last-Modified", in(-100*time.Minute)), 10 * time.Minute},
		{"guess, at most a day", &guess, head("Last-Modified", in(-1000*24*time.Hour)), 24 * time.Hour},
		{"no guess", &rules, head("Last-Modified", in(-100*time.Minute)), 0},
		{"nothing", &rules, head(), -1},
		{"targeted", &rules, head("Cdn-Cache-Control", "max-age=600", "Cache-Control", "no-store"), 600 * time.Second},
		{"targeted, and it says no-store", &rules, head("Cdn-Cache-Control", "no-store", "Cache-Control", "max-age=60"), -1},
		{"targeted that cannot be read", &rules, head("Cdn-Cache-Control", "max-age=600, ,=(", "Cache-Control", "max-age=60"), 60 * time.Second},
		{"no-store", &rules, head("Cache-Control", "max-age=60, NO-STORE"), -1},
		{"must-understand", &rules, head("Cache-Control", "max-age=60, no-store, must-understand"), 60 * time.Second},
		{"Pragma", &rules, head("Pragma", "no-cache", "Expires", in(time.Hour)), 0},
	} {
		if c.h.Get("Date") == "" {
			c.h.Set("Date", date)
		}
		s := cache.New(1 << 20)
		e, why := put(s, request("/"), c.r, c.h, "x", now)
		if c.fresh == -1 {
			if e != nil {
				t.Errorf("%s: stored, fresh for %s", c.name, e.Fresh(now))
			}
			continue
		}
		if e == nil || e.Fresh(now) != c.fresh {
			if e != nil {
				t.Errorf("%s: fresh for %s, want %s", c.name, e.Fresh(now), c.fresh)
			} else {
				t.Errorf("%s: not stored: %s", c.name, why)
			}
		}
	}
}

// A fresh entry is fresh for as long as it said, whatever a wall clock does.
func TestAgeFollowsNoWallClock(t *testing.T) {
	now := time.Now()
	s := cache.New(1 << 20)
	e, _ := put(s, request("/"), &rules, head("Cache-Control", "max-age=60"), "x", now)
	if a := e.Age(now.Add(30 * time.Second)); a < 30*time.Second || a > 32*time.Second {
		t.Errorf("age %s after 30s", a)
	}
	if back := now.Round(0).Add(-time.Hour); e.Fresh(back) > 0 {
		t.Error("a clock that went back made it fresh")
	}
}

// However much is put in, no more is held than was said; and what is asked for
// stays when much comes that is asked for once.
func TestBoundAndScan(t *testing.T) {
	const most = 1 << 20
	now := time.Now()
	s := cache.New(most)
	h := head("Cache-Control", "max-age=600")
	body := strings.Repeat("x", 4000)
	hot := []string{"/hot/1", "/hot/2", "/hot/3"}
	for _, target := range hot {
		put(s, request(target), &rules, h, body, now)
		s.Lookup(request(target), &rules)
	}
	for i := range 5000 {
		put(s, request(fmt.Sprintf("/scan/%d", i)), &rules, h, body, now)
		if i%50 == 0 {
			for _, target := range hot {
				s.Lookup(request(target), &rules)
			}
		}
		if n := s.Stats().Bytes; n > most {
			t.Fatalf("%d bytes held after %d", n, i)
		}
	}
	for _, target := range hot {
		if s.Lookup(request(target), &rules) == nil {
			t.Errorf("%s, asked for all the time, is gone", target)
		}
	}
	if s.Stats().Evicted == 0 || s.Stats().Entries < 100 {
		t.Errorf("%+v", s.Stats())
	}
	if _, why := put(s, request("/huge"), &rules, h, strings.Repeat("x", most), now); why != cache.BySize {
		t.Errorf("an answer as large as the store: %q", why)
	}
	// One target with ever more variants takes no more than its share.
	for i := range 10000 {
		put(s, request("/vary", "X-V", fmt.Sprint(i)), &rules, head("Cache-Control", "max-age=60", "Vary", "X-V"), "x", now)
	}
	if n := s.Purge(cache.Purge{API: "shop", Prefix: "/vary"}); n == 0 || n > 64 {
		t.Errorf("%d variants of one target", n)
	}
	s.Purge(cache.Purge{API: "shop"})
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("after all is forgotten: %+v", st)
	}
}

func TestPurge(t *testing.T) {
	now := time.Now()
	s := cache.New(1 << 20)
	for target, tags := range map[string]string{"/a": "red, blue", "/a/b?x=1": "red", "/ab": "blue", "/": ""} {
		put(s, request(target), &rules, head("Cache-Control", "max-age=60", "Cache-Tag", tags), "x", now)
	}
	other := request("/a")
	other.API = "other"
	put(s, other, &rules, head("Cache-Control", "max-age=60", "Cache-Tag", "red"), "x", now)
	for _, c := range []struct {
		p cache.Purge
		n int
	}{{cache.Purge{API: "shop", Prefix: "/a", Tag: "blue"}, 1}, {cache.Purge{API: "shop", Prefix: "/a"}, 1}, {cache.Purge{API: "shop", Tag: "red"}, 0},
		{cache.Purge{API: "shop", Tag: "blu"}, 0}, {cache.Purge{API: "shop", Tag: "blue"}, 1}, {cache.Purge{API: "shop"}, 1}, {cache.Purge{API: "other", Tag: "red"}, 1}} {
		if n := s.Purge(c.p); n != c.n {
			t.Errorf("%+v: %d, want %d", c.p, n, c.n)
		}
	}
}

// What was asked for before a change is not stored after it.
func TestChangeOvertakesAnAnswer(t *testing.T) {
	now := time.Now()
	s := cache.New(1 << 20)
	q := request("/a")
	changes := s.Changes(q)
	w, _ := s.Begin(q, &rules, 200, head("Cache-Control", "max-age=60"), 1, changes, now, now)
	s.Invalidate("shop", "SHOP.test", "/a")
	w.Write([]byte("x"))
	if _, why := w.Commit(); why != cache.ByChange {
		t.Errorf("stored all the same: %q", why)
	}
	if e, _ := put(s, q, &rules, head("Cache-Control", "max-age=60"), "x", now); e == nil {
		t.Error("nothing is stored any more")
	}
}

func TestConcurrentUse(t *testing.T) {
	s := cache.New(256 << 10)
	now := time.Now()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 3000 {
				q := request(fmt.Sprintf("/%d", r.IntN(300)))
				switch r.IntN(20) {
				case 0:
					s.Invalidate("shop", "shop.test", q.Target)
				case 1:
					s.Purge(cache.Purge{API: "shop", Prefix: q.Target})
				default:
					if e := s.Lookup(q, &rules); e == nil {
						put(s, q, &rules, head("Cache-Control", "max-age=60", "Etag", `"1"`), strings.Repeat("x", r.IntN(3000)), now)
					} else if r.IntN(4) == 0 {
						s.Freshen(e, q, &rules, head("Etag", `"1"`), s.Changes(q), now, now)
					}
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Bytes > 256<<10 || st.Bytes < 0 {
		t.Errorf("%+v", st)
	}
	s.Purge(cache.Purge{API: "shop"})
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("the count is off: %+v", st)
	}
}

// Whatever an upstream and a client write in a head, an answer is not taken for
// fresh for longer than the rules allow, and its parts are parts of its body.
func FuzzHead(f *testing.F) {
	for _, seed := range [][6]string{
		{"max-age=60", "", "", "", "", ""},
		{`private="a", no-cache="b, c", max-age="1\"0"`, "Tue, 24 Nov 2026 12:00:00 GMT", "7;x=1", "Accept, *", `W/"a"`, "bytes=1-2"},
		{"s-maxage=99999999999999999999,,;=\"", "0", "-1", ",,", `"a", W/"b`, "bytes=-0"},
		{"max-age=1, stale-while-revalidate=2, immutable", "x", "3, 4", "X-A,x-a", "*", "bytes=5-1,"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5])
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, control, expires, age, vary, match, ranges string) {
		s := cache.New(1 << 20)
		r := rules
		r.Heuristic, r.Client = true, true
		q := request("/x", "Cache-Control", control, "If-None-Match", match, "Range", "")
		q.Header.Del("Range")
		h := head("Cache-Control", control, "Cdn-Cache-Control", vary, "Expires", expires, "Age", age, "Vary", vary, "Etag", match, "Last-Modified", expires)
		e, why := put(s, q, &r, h, "0123456789", now)
		if (e == nil) == (why == cache.OK) {
			t.Fatalf("stored %v and %q", e, why)
		}
		if e == nil {
			return
		}
		if e.Fresh(now) > r.Longest || e.Age(now) < 0 {
			t.Errorf("fresh for %s, age %s", e.Fresh(now), e.Age(now))
		}
		cache.Decide(e, q, &r, now)
		q.Header.Set("Range", ranges)
		switch status, body, where := e.Answer("GET", q.Header); {
		case status == 206 && !strings.Contains("0123456789", string(body)), status == 206 && len(body) == 0, status == 206 && where == "",
			status == 304 && len(body) > 0, status == 200 && len(body) != 10:
			t.Errorf("%d %q %q", status, body, where)
		}
		s.Freshen(e, q, &r, h, s.Changes(q), now, now)
		if s.Stats().Bytes > 1<<20 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

func FuzzPass(f *testing.F) {
	for _, target := range []string{"/", "/a/../b", "/a%2fb", "/%", "/%zz", "//", "/.", "/a;b", "*", "", "/a?%2f;", "/caf%C3%A9", "/a.", "/..a"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, _, _ := strings.Cut(target, "?")
		why := cache.Pass(request(target), false)
		low := strings.ToLower(path)
		for _, bad := range []string{"%2f", "%5c", "%2e", "%00", "%0a", "%25", ";", "\\", "//", "/../", "/./"} {
			if strings.Contains(low, bad) && why == cache.OK {
				t.Errorf("%q passes", target)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	s := cache.New(1 << 20)
	now := time.Now()
	q := request("/items?page=1", "Accept", "application/json")
	put(s, q, &rules, head("Cache-Control", "max-age=60", "Vary", "Accept"), "x", now)
	b.ReportAllocs()
	for b.Loop() {
		if cache.Decide(s.Lookup(q, &rules), q, &rules, now) != cache.Hit {
			b.Fatal("no hit")
		}
	}
}
