package api

import (
	"context"
	"net/http"
	"time"
)

// PoolKeeper is an Engine that can tell how its pools stand.
type PoolKeeper interface{ Pools() []Pool }

// A Pool is the instances of one API and what keeps them from doing too much.
type Pool struct {
	API       string         `json:"api" maxLength:"64"`
	Instances []PoolInstance `json:"instances" maxItems:"10000"`
	Load      *PoolLoad      `json:"load,omitempty" doc:"Absent where nothing keeps the upstream from doing too much"`
}

// PoolInstance is an instance as its pool sees it.
type PoolInstance struct {
	URL       string  `json:"url" maxLength:"2048"`
	Admission string  `json:"admission" maxLength:"32"`
	Reason    string  `json:"reason" maxLength:"1000"`
	Healthy   bool    `json:"healthy"`
	Standby   bool    `json:"standby" doc:"Asked only when the others are full or too few of them are well"`
	InFlight  int64   `json:"in_flight" minimum:"0"`
	Most      int     `json:"most" minimum:"0" doc:"Requests in flight at once at most"`
	Answered  int64   `json:"answered" minimum:"0"`
	Failed    int64   `json:"failed" minimum:"0"`
	Left      float64 `json:"left_out_seconds" minimum:"0" doc:"For which it is still left out after failures"`
	Warming   bool    `json:"warming" doc:"It gets less than its share for now"`
}

// PoolLoad is what is in flight, waits and was turned away.
type PoolLoad struct {
	Limit    float64 `json:"limit" minimum:"0" doc:"Requests in flight at once; 0 = no limit"`
	Adaptive bool    `json:"adaptive" doc:"The limit is found from how long answers take"`
	InFlight int     `json:"in_flight" minimum:"0"`
	Queued   int     `json:"queued" minimum:"0"`
	Slow     float64 `json:"slow" minimum:"0" doc:"How many times slower answers are than at their best; 0 = not known"`
	Callers  int     `json:"callers" minimum:"0" doc:"Callers that had something in flight of late"`
	Fair     float64 `json:"fair" minimum:"0" doc:"Places that each of them could have; 0 = no limit"`
	Cap      float64 `json:"cap" minimum:"0" doc:"Places that one of them may have for now; 0 = as many as there are"`

	CPU      float64 `json:"cpu" minimum:"0" doc:"How busy the upstream's processors are; 1 = all of them"`
	Memory   float64 `json:"memory" minimum:"0"`
	Pressure float64 `json:"pressure" minimum:"0" doc:"Part of the time in which something waits for a processor there"`
	Over     float64 `json:"over" minimum:"0" doc:"Load over its threshold; more than 1 = hot, 0 = not known"`
	What     string  `json:"what" maxLength:"32" doc:"Which threshold: cpu, memory or pressure"`
	Cut      float64 `json:"cut" minimum:"0" maximum:"1" doc:"Part of the expected cost that is turned away"`

	Sources []PoolSource     `json:"sources" maxItems:"100"`
	Classes []PoolClass      `json:"classes" maxItems:"100"`
	Refused map[string]int64 `json:"refused" doc:"Requests turned away, by rule"`
	Top     []PoolCaller     `json:"top" maxItems:"5" doc:"Callers with most in flight of late"`
}

// PoolSource is a place where it is read how busy the upstream is.
type PoolSource struct {
	Name   string     `json:"name" maxLength:"2100"`
	CPU    float64    `json:"cpu" minimum:"0"`
	Memory float64    `json:"memory" minimum:"0"`
	Read   *time.Time `json:"read,omitempty" doc:"When it was last read"`
	Failed string     `json:"failed" maxLength:"1000" doc:"Why it could not be read; empty when it could"`
}

// PoolClass is traffic that keeps a part of the places; the rest has no name.
type PoolClass struct {
	Name     string  `json:"name" maxLength:"200"`
	Floor    float64 `json:"floor" minimum:"0" maximum:"1"`
	InFlight int     `json:"in_flight" minimum:"0"`
	Queued   int     `json:"queued" minimum:"0"`
	Admitted int64   `json:"admitted" minimum:"0"`
	Waited   int64   `json:"waited" minimum:"0"`
	Shed     int64   `json:"shed" minimum:"0"`
}

// PoolCaller is what one caller has.
type PoolCaller struct {
	Caller string  `json:"caller" maxLength:"1000" doc:"A principal, or a client's address"`
	Places float64 `json:"places" minimum:"0"`
	CPU    float64 `json:"cpu" minimum:"0" doc:"Processors at work for it"`
}

func (a *API) poolOperations() {
	type pools struct {
		At    time.Time `json:"at"`
		Pools []Pool    `json:"pools" maxItems:"1000"`
	}
	add(a, spec{id: "listPools", method: http.MethodGet, path: "/pools", summary: "Instances, places, queues and what was turned away, by API", tag: "overview", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[pools], error) {
			out := pools{At: a.Now().UTC(), Pools: []Pool{}}
			if k, ok := a.Engine.(PoolKeeper); ok {
				for _, p := range k.Pools() {
					p.Instances = full(p.Instances)
					if p.Load != nil {
						p.Load.Sources, p.Load.Classes, p.Load.Top = full(p.Load.Sources), full(p.Load.Classes), full(p.Load.Top)
					}
					out.Pools = append(out.Pools, p)
				}
			}
			return &body[pools]{out}, nil
		})
}
