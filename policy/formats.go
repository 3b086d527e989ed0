package policy

import (
	"slices"
	"strings"
)

// VerbRPC stands in the place of the HTTP method in operations of JSON-RPC.
const VerbRPC = "rpc"

// VerbSOAP stands in the place of the HTTP method in operations of SOAP.
const VerbSOAP = "soap"

func (m *Mistakes) formats(a API) {
	g := a.GraphQL
	m.path("graphql.path", g.Path)
	oneOf(m, "graphql.introspection", g.Introspection, Record, Refuse)
	oneOf(m, "graphql.upgrade", g.Upgrade, RefuseIt, CheckIt, PassIt)
	oneOf(m, "graphql.persisted", g.Persisted, PersistedOff, PersistedAutomatic, PersistedOnly)
	for _, b := range []struct {
		name string
		v    int64
	}{{"batch", int64(g.Batch)}, {"bytes", int64(g.Bytes)}, {"tokens", int64(g.Tokens)}, {"depth", int64(g.Depth)}, {"breadth", int64(g.Breadth)},
		{"fields", int64(g.Fields)}, {"aliases", int64(g.Aliases)}, {"roots", int64(g.Roots)}, {"directives", int64(g.Directives)}, {"cost", g.Cost}, {"list", int64(g.List)}} {
		if b.v < 0 {
			m.add("graphql."+b.name, "%d is negative", b.v)
		}
	}
	for _, b := range []struct {
		name    string
		v, most int
	}{{"depth", g.Depth, 200}, {"tokens", g.Tokens, 100_000}, {"fields", g.Fields, 20_000}, {"breadth", g.Breadth, 1000}, {"batch", g.Batch, 100}} {
		if b.v > b.most {
			m.add("graphql."+b.name, "%d is more than %d, beyond which the work for one document is not bounded well", b.v, b.most)
		}
	}
	if g.Persisted == PersistedOnly && len(g.Documents) == 0 {
		m.add("graphql.persisted", "only the documents of graphql.documents are allowed, and there are none")
	}
	if len(g.Documents) > 0 && g.Persisted != PersistedOnly {
		m.add("graphql.documents", "they count where persisted is \"only\"")
	}
	m.path("jsonrpc.path", a.JSONRPC.Path)
	if a.JSONRPC.Path == "" && (len(a.JSONRPC.Methods) > 0 || a.JSONRPC.Batch != 0) {
		m.add("jsonrpc.path", "missing; where is it served?")
	}
	if b := a.JSONRPC.Batch; b < 0 || b > 1000 {
		m.add("jsonrpc.batch", "%d is not within 0 and 1000", b)
	}
	for i, name := range a.JSONRPC.Methods {
		if name == "" || strings.ContainsAny(name, " \t\r\n") || slices.Contains(a.JSONRPC.Methods[:i], name) {
			m.add("jsonrpc.methods", "%q is empty, holds a space or stands twice", name)
		}
	}
	for _, t := range a.Files.Types {
		if kind, sub, ok := strings.Cut(t, "/"); !ok || kind == "" || sub == "" || strings.ContainsAny(t, " ;,") {
			m.add("files.types", "%q is no media type such as image/png or image/*", t)
		}
	}
	if a.Files.Size < 0 || a.Files.Count < 0 {
		m.add("files", "a bound is negative")
	}
	oneOf(m, "files.stream", a.Files.Stream, On, Off)
	oneOf(m, "files.double_extensions", a.Files.Extensions, RefuseIt, PassIt)
}

func (m *Mistakes) path(at, path string) {
	if path != "" && (!strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#%{} ")) {
		m.add(at, "%q: want a path such as /graphql, without parameters and escapes", path)
	}
}
