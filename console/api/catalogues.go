package api

import (
	"context"
	"net/http"
	"time"
)

// CatalogueKeeper is an Engine that can tell how its catalogues do.
type CatalogueKeeper interface{ Catalogues() []Catalogue }

// A Catalogue is a controller, a registry or a tree of files that says things
// about APIs.
type Catalogue struct {
	Name    string     `json:"name" maxLength:"200"`
	Kind    string     `json:"kind" maxLength:"32"`
	At      string     `json:"at" maxLength:"2048" doc:"Where it is: a path, an address"`
	API     string     `json:"api" maxLength:"64" doc:"The API that all of it is about; empty = it says itself"`
	State   string     `json:"state" enum:"waiting,watching,done,failed"`
	Claims  int        `json:"claims" minimum:"0" doc:"That stand"`
	Changes int64      `json:"changes" minimum:"0" doc:"Claims made and withdrawn since the start"`
	Refused int64      `json:"refused" minimum:"0" doc:"Claims that the inventory did not take"`
	Last    *time.Time `json:"last,omitempty" doc:"When it last said something new"`
	Since   time.Time  `json:"since" doc:"Of the state"`
	Error   string     `json:"error" maxLength:"2000" doc:"Why it failed, or why claims were refused"`
	Fields  []string   `json:"fields" maxItems:"200" doc:"What it speaks of"`
}

func (a *API) catalogueOperations() {
	type catalogueList struct {
		At         time.Time   `json:"at"`
		Catalogues []Catalogue `json:"catalogues" maxItems:"1000"`
	}
	add(a, spec{id: "listCatalogues", method: http.MethodGet, path: "/catalogues", summary: "Clusters, proxies, registries and trees of source code that say things about APIs, and how reading them goes", tag: "inventory", access: viewer},
		func(context.Context, *struct{}) (*body[catalogueList], error) {
			out := catalogueList{At: a.Now().UTC(), Catalogues: []Catalogue{}}
			if k, ok := a.Engine.(CatalogueKeeper); ok {
				for _, c := range k.Catalogues() {
					c.Fields = full(c.Fields)
					out.Catalogues = append(out.Catalogues, c)
				}
			}
			return &body[catalogueList]{out}, nil
		})
}
