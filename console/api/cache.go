package api

import (
	"context"
	"net/http"
	"strconv"

	"sallyport.dev"
	"sallyport.dev/console/audit"
)

// A Cache is an Engine's ability to answer without asking upstreams again.
type Cache interface {
	// CacheState is what the gateway's cache has done and holds; false: there is
	// no gateway in this process.
	CacheState() (CacheState, bool)
	// Invalidate forgets stored answers of an API: those under a path prefix, with
	// a tag, or both; "" stands for any. It says how many, and false when there is
	// no gateway in this process. An API that is not configured is not found.
	Invalidate(api, path, tag string) (forgotten int, here bool, err error)
}

// CacheState is what a cache has done since the process began, and holds now.
type CacheState struct {
	Hits        int64 `json:"hits" minimum:"0" doc:"Requests answered from the cache"`
	Stale       int64 `json:"stale" minimum:"0" doc:"Requests answered by a stale answer while it was asked for anew"`
	Misses      int64 `json:"misses" minimum:"0" doc:"Requests that were looked up and forwarded"`
	Revalidated int64 `json:"revalidated" minimum:"0" doc:"Requests for which the upstream was asked whether a stored answer still holds"`
	Coalesced   int64 `json:"coalesced" minimum:"0" doc:"Requests that were given the answer to another one"`
	Entries     int64 `json:"entries" minimum:"0" doc:"Answers stored"`
	Bytes       int64 `json:"bytes" minimum:"0" doc:"What they take"`

	APIs []CacheUse `json:"apis" maxItems:"10000" doc:"By API, those that had requests looked up"`
}

// CacheUse is what a cache did for one API.
type CacheUse struct {
	API    string `json:"api" maxLength:"200"`
	Looked int64  `json:"looked" minimum:"0" doc:"Requests that were looked up"`
	Spared int64  `json:"spared" minimum:"0" doc:"Of them answered without the upstream"`
}

func (a *API) cacheOperations() {
	add(a, spec{id: "getCache", method: http.MethodGet, path: "/cache", summary: "What the cache has done and holds", tag: "overview", access: viewer},
		func(_ context.Context, _ *struct{}) (*body[CacheState], error) {
			c, ok := a.Engine.(Cache)
			if !ok {
				return nil, errNoCache
			}
			state, here := c.CacheState()
			if !here {
				return nil, errNoCache
			}
			state.APIs = full(state.APIs)
			return &body[CacheState]{state}, nil
		})

	type what struct {
		API  string `json:"api" minLength:"1" maxLength:"100" pattern:"^[A-Za-z0-9_.-]+$" doc:"Whose answers"`
		Path string `json:"path,omitempty" maxLength:"2000" pattern:"^/[^?#]*$" doc:"Those under this path only, by whole segments, as the upstream sees it"`
		Tag  string `json:"tag,omitempty" maxLength:"200" pattern:"^[!-~]+$" doc:"Those with this tag only"`
	}
	type forgotten struct {
		Forgotten int `json:"forgotten" minimum:"0" doc:"How many answers it were"`
	}
	add(a, spec{id: "invalidateCache", method: http.MethodPost, path: "/cache/invalidations", summary: "Forget stored answers", tag: "overview", access: admin},
		func(ctx context.Context, in *body[what]) (*body[forgotten], error) {
			c, ok := a.Engine.(Cache)
			if !ok {
				return nil, errNoCache
			}
			w := in.Body
			detail := "everything"
			if w.Path != "" || w.Tag != "" {
				detail = ""
				if w.Path != "" {
					detail = "under " + strconv.Quote(w.Path)
				}
				if w.Tag != "" {
					detail += " with tag " + strconv.Quote(w.Tag)
				}
			}
			n, here, err := c.Invalidate(w.API, w.Path, w.Tag)
			if err != nil {
				return nil, err
			}
			if !here {
				return nil, errNoCache
			}
			if err := a.record(ctx, "cache.invalidate", w.API, audit.Done, detail+": "+strconv.Itoa(n)); err != nil {
				return nil, err
			}
			return &body[forgotten]{forgotten{n}}, nil
		})
}

var errNoCache = sallyport.Errorf(sallyport.Unavailable, "there is no gateway in this process")
