package api

import (
	"context"
	"net/http"
	"time"
)

// DoorKeeper is an Engine that can tell how the doors fare at which other
// proxies ask.
type DoorKeeper interface{ Doors() []Door }

// A Door is one place where proxies ask for decisions.
type Door struct {
	Name       string     `json:"name" maxLength:"64"`
	Kind       string     `json:"kind" maxLength:"32"`
	Address    string     `json:"address" maxLength:"300"`
	Fail       string     `json:"fail" enum:"open,closed" doc:"What becomes of a request that could not be decided in time"`
	WithinMS   float64    `json:"within_ms" minimum:"0" doc:"Bound of a decision"`
	Unseen     string     `json:"unseen" enum:"pass,refuse" doc:"What becomes of a request whose body is wanted and not shown"`
	Answers    bool       `json:"answers" doc:"The proxy shows answers too"`
	Asked      uint64     `json:"asked" minimum:"0"`
	Refused    uint64     `json:"refused" minimum:"0"`
	NotShown   uint64     `json:"not_shown" minimum:"0" doc:"Requests with a body that was wanted and not shown"`
	Failed     uint64     `json:"failed" minimum:"0" doc:"Not decided in time, or for want of room"`
	Strange    uint64     `json:"strange" minimum:"0" doc:"Messages that could not be read, and peers that may not ask"`
	Lost       uint64     `json:"lost" minimum:"0" doc:"Answers that never came"`
	Waiting    int        `json:"waiting" minimum:"0" doc:"Sessions that wait for their answer"`
	MeanMicros float64    `json:"mean_micros" minimum:"0" doc:"From a question to its decision"`
	Last       *time.Time `json:"last,omitempty" doc:"When somebody last asked"`
}

func (a *API) doorOperations() {
	type doors struct {
		At    time.Time `json:"at"`
		Doors []Door    `json:"doors" maxItems:"1000"`
	}
	add(a, spec{id: "listDoors", method: http.MethodGet, path: "/doors", summary: "Doors at which other proxies ask, and how they fare", tag: "overview", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[doors], error) {
			out := doors{At: a.Now().UTC(), Doors: []Door{}}
			if k, ok := a.Engine.(DoorKeeper); ok {
				out.Doors = full(k.Doors())
			}
			return &body[doors]{out}, nil
		})
}
