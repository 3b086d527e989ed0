package gateway

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/gateway/cache"
)

// cacheCounters are what the cache has done.
type cacheCounters struct {
	hits, stale, misses, revalidated, rescued         atomic.Int64 // how requests that were looked up went
	collapsed, waited, stored, refreshed, invalidated atomic.Int64

	passed, unstored map[cache.Reason]*atomic.Int64
}

func (c *cacheCounters) init() {
	c.passed, c.unstored = map[cache.Reason]*atomic.Int64{}, map[cache.Reason]*atomic.Int64{}
	for _, r := range cache.Reasons() {
		c.passed[r], c.unstored[r] = new(atomic.Int64), new(atomic.Int64)
	}
}

var (
	descCache        = prometheus.NewDesc("sallyport_cache_requests_total", "Requests that were looked up in the cache, by what came of it.", []string{"outcome"}, nil)
	descCachePassed  = prometheus.NewDesc("sallyport_cache_bypassed_total", "Requests of cached operations that were not looked up, by reason.", []string{"reason"}, nil)
	descUnstored     = prometheus.NewDesc("sallyport_cache_not_stored_total", "Answers to looked-up requests that were not stored, by reason.", []string{"reason"}, nil)
	descCollapsed    = prometheus.NewDesc("sallyport_coalesced_total", "Requests that waited for the answer to another one: given it, or sent after all.", []string{"outcome"}, nil)
	descRefreshed    = prometheus.NewDesc("sallyport_cache_refreshes_total", "Requests sent because a stale answer was given.", nil, nil)
	descInvalidated  = prometheus.NewDesc("sallyport_cache_invalidated_total", "Entries forgotten because of a change or on demand.", nil, nil)
	descCacheEntries = prometheus.NewDesc("sallyport_cache_entries", "Answers stored.", nil, nil)
	descCacheBytes   = prometheus.NewDesc("sallyport_cache_bytes", "Bytes of the answers stored.", nil, nil)
	descEvicted      = prometheus.NewDesc("sallyport_cache_evicted_total", "Entries that went to make room.", nil, nil)
)

func describeCache(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCache, descCachePassed, descUnstored, descCollapsed, descRefreshed, descInvalidated, descCacheEntries, descCacheBytes, descEvicted} {
		ch <- d
	}
}

func (g *Gateway) collectCache(counter, level func(*prometheus.Desc, int64, ...string)) {
	c, s := &g.count.cache, g.store.Stats()
	counter(descCache, c.hits.Load(), "hit")
	counter(descCache, c.stale.Load(), "stale")
	counter(descCache, c.misses.Load(), "miss")
	counter(descCache, c.revalidated.Load(), "revalidate")
	counter(descCache, c.rescued.Load(), "stale-if-error")
	for r, n := range c.passed {
		counter(descCachePassed, n.Load(), string(r))
	}
	for r, n := range c.unstored {
		counter(descUnstored, n.Load(), string(r))
	}
	counter(descCollapsed, c.collapsed.Load(), "shared")
	counter(descCollapsed, max(c.waited.Load()-c.collapsed.Load(), 0), "alone")
	counter(descRefreshed, c.refreshed.Load())
	counter(descInvalidated, c.invalidated.Load())
	level(descCacheEntries, s.Entries)
	level(descCacheBytes, s.Bytes)
	counter(descEvicted, s.Evicted)
}

// CacheStats is what the cache has done and holds.
type CacheStats struct {
	Hits, Stale, Misses, Revalidated, Collapsed int64
	Entries, Bytes                              int64
}

// CacheUse is what the cache did for one API.
type CacheUse struct {
	API            string
	Looked, Spared int64 // requests looked up, and answered without the upstream
}

// CacheUses lists the APIs that had requests looked up, by name; it may be
// called at any time.
func (g *Gateway) CacheUses() []CacheUse {
	var out []CacheUse
	for name, l := range g.force.Load().lanes {
		p := l.pool
		if n := p.looked.Load(); n > 0 {
			out = append(out, CacheUse{name, n, p.spared.Load()})
		}
	}
	slices.SortFunc(out, func(a, b CacheUse) int { return strings.Compare(a.API, b.API) })
	return out
}

// CacheStats counts; it may be called at any time.
func (g *Gateway) CacheStats() CacheStats {
	c, s := &g.count.cache, g.store.Stats()
	return CacheStats{Hits: c.hits.Load(), Stale: c.stale.Load(), Misses: c.misses.Load(), Revalidated: c.revalidated.Load(), Collapsed: c.collapsed.Load(),
		Entries: s.Entries, Bytes: s.Bytes}
}

// Invalidate forgets stored answers of an API: those under a path prefix, those
// with a tag, or, where both are given, those with both. It gives how many they
// were. What is on its way into the cache is not kept either.
func (g *Gateway) Invalidate(api, prefix, tag string) int {
	n := g.store.Purge(cache.Purge{API: api, Prefix: prefix, Tag: tag})
	g.count.cache.invalidated.Add(int64(n))
	return n
}
