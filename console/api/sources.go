package api

import (
	"context"
	"net/http"
	"time"
)

// SourceKeeper is an Engine that can tell how its sources do.
type SourceKeeper interface{ Sources() []Source }

// A Source is where exchanges come from that other doors have let through.
type Source struct {
	Name     string     `json:"name" maxLength:"4200"`
	Kind     string     `json:"kind" maxLength:"32" doc:"file, syslog, push, har, pcap and so on"`
	State    string     `json:"state" maxLength:"32" doc:"waiting, reading, done or failed"`
	Since    *time.Time `json:"since,omitempty" doc:"Of the state"`
	Format   string     `json:"format" maxLength:"200" doc:"Found by looking, or configured"`
	Read     uint64     `json:"read" doc:"Lines, packets or records that came"`
	Emitted  uint64     `json:"emitted" doc:"Exchanges made of them"`
	Bad      uint64     `json:"bad" doc:"That could not be read"`
	FirstBad string     `json:"first_bad" maxLength:"1000" doc:"Place and reason of the first of them"`
	Lost     uint64     `json:"lost" doc:"Known to be missing"`
	Last     *time.Time `json:"last,omitempty" doc:"When the last exchange happened, by the clock of the source"`
	Lag      float64    `json:"lag_seconds" minimum:"0" doc:"How far reading is behind"`
	Error    string     `json:"error" maxLength:"1000"`
	Notice   string     `json:"notice" maxLength:"1000" doc:"Something odd that stops nothing"`
}

func (a *API) sourceOperations() {
	type sources struct {
		At      time.Time `json:"at"`
		Sources []Source  `json:"sources" maxItems:"1000"`
	}
	add(a, spec{id: "listSources", method: http.MethodGet, path: "/sources", summary: "Where exchanges come from that other doors have let through, with health and lag", tag: "overview", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[sources], error) {
			out := sources{At: a.Now().UTC(), Sources: []Source{}}
			if k, ok := a.Engine.(SourceKeeper); ok {
				out.Sources = append(out.Sources, k.Sources()...)
			}
			return &body[sources]{out}, nil
		})
}
