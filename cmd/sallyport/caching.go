package main

import (
	"slices"

	"sallyport.dev"
	"sallyport.dev/console/api"
)

var _ api.Cache = (*engine)(nil)

// CacheState says how the gateway's cache is.
func (e *engine) CacheState() (api.CacheState, bool) {
	if e.gateway == nil {
		return api.CacheState{}, false
	}
	s := e.gateway.CacheStats()
	var uses []api.CacheUse
	for _, u := range e.gateway.CacheUses() {
		uses = append(uses, api.CacheUse(u))
	}
	return api.CacheState{APIs: uses, Hits: s.Hits, Stale: s.Stale, Misses: s.Misses, Revalidated: s.Revalidated, Coalesced: s.Collapsed, Entries: s.Entries, Bytes: s.Bytes}, true
}

// Invalidate has the gateway forget stored answers of an API.
func (e *engine) Invalidate(name, path, tag string) (int, bool, error) {
	if e.gateway == nil {
		return 0, false, nil
	}
	e.mu.Lock()
	current := e.current
	e.mu.Unlock()
	if current == nil || !slices.ContainsFunc(current.config.APIs, func(a apiConfig) bool { return a.Name == name }) {
		return 0, true, sallyport.Errorf(sallyport.NotFound, "no API of that name is configured")
	}
	return e.gateway.Invalidate(name, path, tag), true, nil
}
