package api

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/audit"
)

// Sideloads are the rules by which related resources are put into answers. The
// engine satisfies it; nil: there are none, and none can be made here.
type Sideloads interface {
	// Sideloads lists the rules in force and what clients' ways of asking suggest.
	Sideloads() ([]SideloadRule, []SideloadOffer)
	// AcceptSideload puts a rule in force and gives its id; it is refused with
	// Invalid when it does not fit the specification, and with Conflict when
	// there is one of that name.
	AcceptSideload(ctx context.Context, r SideloadRule) (id string, err error)
	// DropSideload takes an accepted rule away again.
	DropSideload(ctx context.Context, id string) (SideloadRule, error)
}

// SideloadRule is one rule.
type SideloadRule struct {
	ID        string     `json:"id" maxLength:"64" doc:"Of an accepted rule; empty for rules of the configuration and of specifications"`
	API       string     `json:"api" maxLength:"200"`
	Name      string     `json:"name" maxLength:"64" doc:"What clients ask for, and the property that holds the resource"`
	Operation string     `json:"operation" maxLength:"4096" doc:"Whose answers name the ids"`
	From      string     `json:"from" maxLength:"4096" doc:"Where the ids stand: a JSON pointer, * for every element"`
	Target    string     `json:"target" maxLength:"4096" doc:"What gives the resource"`
	Source    string     `json:"source" enum:"configuration,specification,accepted"`
	Param     string     `json:"param" maxLength:"200" doc:"Query parameter in which clients name it"`
	By        string     `json:"by" maxLength:"64" doc:"Who accepted it"`
	At        *time.Time `json:"at,omitempty" doc:"When"`
}

// SideloadOffer is a way of asking that a rule would spare.
type SideloadOffer struct {
	API       string    `json:"api" maxLength:"200"`
	Name      string    `json:"name" maxLength:"64" doc:"A name for the resource"`
	Operation string    `json:"operation" maxLength:"4096"`
	From      string    `json:"from" maxLength:"4096"`
	Target    string    `json:"target" maxLength:"4096"`
	Lists     int       `json:"lists" minimum:"0" doc:"Answers after which it was seen"`
	Calls     int       `json:"calls" minimum:"0" doc:"Requests that followed them"`
	Last      time.Time `json:"last"`
}

func (a *API) reliefOperations() {
	type sideloads struct {
		Rules  []SideloadRule  `json:"rules" maxItems:"10000"`
		Offers []SideloadOffer `json:"offers" maxItems:"1000" doc:"Ways of asking that a rule would spare, the most frequent first"`
	}
	add(a, spec{id: "listSideloads", method: http.MethodGet, path: "/sideloads", summary: "Rules by which related resources are put into answers, and what clients' ways of asking suggest", tag: "relief", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[sideloads], error) {
			out := sideloads{Rules: []SideloadRule{}, Offers: []SideloadOffer{}}
			if a.Sideloads != nil {
				r, o := a.Sideloads.Sideloads()
				out.Rules, out.Offers = full(r), full(o)
			}
			return &body[sideloads]{out}, nil
		})

	type newRule struct {
		API       string `json:"api" minLength:"1" maxLength:"64"`
		Name      string `json:"name" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_.-]+$"`
		Operation string `json:"operation" minLength:"1" maxLength:"4096"`
		From      string `json:"from" minLength:"1" maxLength:"1024" pattern:"^/"`
		Target    string `json:"target" minLength:"1" maxLength:"4096"`
	}
	type made struct {
		ID string `json:"id" maxLength:"64"`
	}
	add(a, spec{id: "acceptSideload", method: http.MethodPost, path: "/sideloads", summary: "Put a rule in force", tag: "relief", access: admin, status: 201},
		func(ctx context.Context, in *body[newRule]) (*body[made], error) {
			if a.Sideloads == nil {
				return nil, sallyport.Errorf(sallyport.Unavailable, "this process has no door")
			}
			r := SideloadRule{API: in.Body.API, Name: in.Body.Name, Operation: in.Body.Operation, From: in.Body.From, Target: in.Body.Target, By: caller(ctx).Name}
			id, err := a.Sideloads.AcceptSideload(ctx, r)
			if err != nil {
				return nil, err
			}
			return &body[made]{made{id}}, a.record(ctx, "sideload.accept", id, audit.Done, r.API+": "+r.Operation+" with "+r.Name)
		})
	add(a, spec{id: "dropSideload", method: http.MethodDelete, path: "/sideloads/{id}", summary: "Take an accepted rule away again", tag: "relief", access: admin, status: 204},
		func(ctx context.Context, in *struct {
			ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[0-9a-f]+$"`
		}) (*empty, error) {
			if a.Sideloads == nil {
				return nil, sallyport.Errorf(sallyport.NotFound, "no such rule")
			}
			r, err := a.Sideloads.DropSideload(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return nil, a.record(ctx, "sideload.drop", in.ID, audit.Done, r.API+": "+r.Operation+" with "+r.Name)
		})
}
