// Package mutants lists the correct fixture servers by which conformance tests
// are judged, and the mutants made of them, one defect each. In comes the name
// of a server and, if any, of a mutant; out comes its handler, its description
// and who may use it. It knows nothing of the tests that it judges, and a third
// of the mutants is marked as held: never to be used for tuning.
package mutants

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev/test/lab/mutants/accounts"
	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/files"
	"sallyport.dev/test/lab/mutants/payments"
	"sallyport.dev/test/lab/mutants/relay"
	"sallyport.dev/test/lab/mutants/rest"
	"sallyport.dev/test/lab/mutants/shop"
)

// Options of a server, and a Mutant.
type (
	Options = defect.Options
	Mutant  = defect.Mutant
)

// A Server is a correct API and what one must know to test it.
type Server struct {
	Name     string
	Document []byte // OpenAPI 3.1, YAML
	Audience string // of its tokens
	New      func(Options) http.Handler
	Mutants  func() []Mutant
}

// Servers lists them all.
func Servers() []Server {
	return []Server{
		{"shop", shop.Document, shop.Audience, shop.New, shop.Mutants},
		{"accounts", accounts.Document, accounts.Audience, accounts.New, accounts.Mutants},
		{"payments", payments.Document, payments.Audience, payments.New, payments.Mutants},
		{"files", files.Document, files.Audience, files.New, files.Mutants},
		{"relay", relay.Document, relay.Audience, relay.New, relay.Mutants},
	}
}

// Mutants lists those of all servers.
func Mutants() []Mutant {
	var all []Mutant
	for _, s := range Servers() {
		all = append(all, s.Mutants()...)
	}
	return all
}

// Find gives the server of a name ("shop") or of a mutant ("shop-017").
func Find(name string) (Server, error) {
	for _, s := range Servers() {
		if s.Name == name || slices.ContainsFunc(s.Mutants(), func(m Mutant) bool { return m.ID == name }) {
			return s, nil
		}
	}
	return Server{}, fmt.Errorf("no server or mutant %q", name)
}

// Identities are alice, bob and the administrator root, with tokens made with
// the key for the server.
func (s Server) Identities(key []byte) []rest.Identity {
	return rest.Identities(key, s.Audience, time.Now())
}

// Serve answers on the listener until ctx ends, then finishes what is in flight,
// for up to ten seconds; the mutants of how a process stops cut it off.
func (s Server) Serve(ctx context.Context, l net.Listener, o Options) error {
	server := &http.Server{Handler: s.New(o), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	list := s.Mutants()
	at := slices.IndexFunc(list, func(m Mutant) bool { return m.ID == o.Mutant })
	if at >= 0 && list[at].CutsOff() {
		return server.Close()
	}
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	return server.Shutdown(patience)
}

// Kinds counts mutants by the word before the slash of their kind.
func Kinds(list []Mutant) map[string]int {
	n := map[string]int{}
	for _, m := range list {
		kind, _, _ := strings.Cut(m.Kind, "/")
		n[kind]++
	}
	return n
}
