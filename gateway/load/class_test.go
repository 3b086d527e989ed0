package load_test

import (
	"testing"

	"sallyport.dev/gateway/load"
)

// A class belongs to whom it names, and to nobody else's user of the same name.
func TestClassesNameCallers(t *testing.T) {
	for _, c := range []struct {
		name, issuer, subject, shown string
		belongs                      bool
	}{
		{"https://a.test#alice", "https://a.test", "alice", "oidc:https://a.test#alice", true},
		{"https://a.test#alice", "https://b.test", "alice", "oidc:https://b.test#alice", false},
		{"https://a.test#alice", "https://a.test", "alicex", "oidc:https://a.test#alicex", false},
		{"https://a.test#alice", "https://a.test#", "alice", "oidc:https://a.test##alice", false},
		{"oidc:https://a.test#alice", "https://a.test", "alice", "oidc:https://a.test#alice", true},
		{"oidc:https://a.test#alice", "https://b.test", "alice", "oidc:https://b.test#alice", false},
		{"alice", "https://a.test", "alice", "oidc:https://a.test#alice", true},
		{"key:gold", "", "gold", "key:gold", true},
		{"#alice", "", "alice", "key:alice", false},
	} {
		g := load.New(nil)
		g.Set(load.Settings{Limit: 1, Queue: -1, Classes: []load.Class{{Name: "gold", Floor: 1, Principals: []string{c.name}}}})
		ticket, _ := g.Enter(t.Context(), &load.Ask{Caller: load.Caller{Name: c.shown}, Issuer: c.issuer, Subject: c.subject})
		if got := g.State().Classes[0].Admitted == 1; got != c.belongs {
			t.Errorf("%s of %s by %q: %v", c.subject, c.issuer, c.name, got)
		}
		ticket.Done(load.Sample{})
	}
}
