// Package defect holds the operators that make a mutant out of a correct
// fixture server: one check left out, one fault in a table, or one wrapper that
// changes what a single operation is asked or what it answers. In comes the name
// of the mutant that is switched on; out comes what the server is to leave out
// and how its handler is wrapped. Without a name nothing is left out and nothing
// is wrapped. It never makes more than one defect at a time.
package defect

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"
)

// Options of a fixture server. The zero value is the correct server with a key
// and identifiers that nobody can guess.
type Options struct {
	Mutant string                                     // ID of the mutant that is switched on; "" = none
	Key    []byte                                     // signs bearer tokens; nil = made at random
	Now    func() time.Time                           // nil = time.Now
	ID     func() string                              // a new UUID; nil = random
	Sleep  func(context.Context, time.Duration)       // nil = a timer
	Derive func(password, salt string) []byte         // the slow hash of passwords; nil = PBKDF2
	Dial   func(context.Context, string) (int, error) // fetches a URL for the relay and gives the status; nil = HTTP to public addresses
}

// A Mutant is a server with one defect.
type Mutant struct {
	ID          string // "shop-017"
	Server      string // "shop"
	Operator    string // how it was made: "leave out a check", "change the status", …
	Kind        string // "contract/pagination", "security/object level", …
	Description string // what the server does wrong
	OWASP, CWE  string // "API1:2023", "CWE-639"; "" where neither names it
	Held        bool   // kept apart: never used for tuning

	check string                                    // left out inside the server
	wrap  func(http.Handler, *Options) http.Handler // put around the server
	stop  bool                                      // cuts what is in flight when told to stop
}

// Number gives mutants the IDs server-001, server-002, … and decides by the
// hash of the ID which are held. A list only ever grows at its end, so that an
// ID keeps its meaning.
func Number(server string, list []Mutant) []Mutant {
	for i := range list {
		m := &list[i]
		m.Server, m.ID = server, fmt.Sprintf("%s-%03d", server, i+1)
		m.Held = Held(m.ID)
	}
	return list
}

// Held reports whether the mutant belongs to the third that is kept apart: the
// first byte of the SHA-256 of its ID is divisible by three.
func Held(id string) bool { return sha256.Sum256([]byte(id))[0]%3 == 0 }

// Select finds the mutant that is switched on in a server's list. It panics for
// an ID that is not in the list: a fixture that silently is the correct server
// would make every measurement wrong.
func Select(list []Mutant, id string) *Mutant {
	if id == "" {
		return nil
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	panic("defect: no mutant " + id)
}

// Check is the name of what the server leaves out, "" for nothing.
func (m *Mutant) Check() string {
	if m == nil {
		return ""
	}
	return m.check
}

// Wrap puts the defect around the handler, or gives it back as it is.
func (m *Mutant) Wrap(h http.Handler, o *Options) http.Handler {
	if m == nil || m.wrap == nil {
		return h
	}
	return m.wrap(h, o)
}

// CutsOff reports whether the defect is in how the process stops.
func (m *Mutant) CutsOff() bool { return m != nil && m.stop }

// As says what kind of defect it is; owasp and cwe may be empty.
func (m Mutant) As(kind, owasp, cwe, description string) Mutant {
	m.Kind, m.OWASP, m.CWE, m.Description = kind, owasp, cwe, description
	return m
}

// Without leaves out one named check of the server's own.
func Without(check string) Mutant {
	return Mutant{Operator: "leave out a check", check: check}
}

// Unconstrained leaves out one constraint of a schema: "product.name.maxLength".
func Unconstrained(constraint string) Mutant {
	return Mutant{Operator: "leave out a constraint", check: constraint}
}

// Faulty makes one verb of a table of resources misbehave: "orders.insert",
// "orders.update", "orders.delete", "orders.list" or "orders.atomic".
func Faulty(verb string) Mutant {
	return Mutant{Operator: "break a verb of the store", check: verb}
}

// Abrupt stops the process without waiting for what is in flight.
func Abrupt() Mutant { return Mutant{Operator: "stop at once", stop: true} }
