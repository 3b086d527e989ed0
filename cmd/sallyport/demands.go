package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	console "sallyport.dev/console/api"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

var _ console.Demander = (*engine)(nil)

// inForce calls f with each API in force and its door.
func (e *engine) inForce(f func(door string, a *guard.API)) {
	e.mu.Lock()
	current := e.current
	e.mu.Unlock()
	if current == nil {
		return
	}
	for i := range current.apis {
		f("gateway", &current.apis[i])
	}
	if current.out != nil {
		for i := range current.out.apis {
			f("egress", &current.out.apis[i])
		}
	}
}

// Admissions tells what each API accepts of its callers.
func (e *engine) Admissions() (out []console.Admission) {
	e.inForce(func(door string, a *guard.API) {
		d := a.Policy.For(sallyport.Operation{})
		v := console.Admission{API: a.Name, Door: door, Mode: string(d.Modes[sallyport.StageAuthenticate]), Authorise: string(d.Modes[sallyport.StageAuthorise]),
			Anonymous: cmp.Or(string(a.Policy.Auth.Anonymous), "contract"), Binding: string(a.Policy.Auth.Binding), Accepted: accepts(a.Policy.Auth)}
		for _, r := range a.Policy.Rules {
			v.Rules = append(v.Rules, ruleDemand(r, "", d))
		}
		for _, o := range a.Policy.Operations {
			for _, r := range o.Rules {
				own := d
				if m := cmp.Or(o.Checks[sallyport.StageAuthorise], o.Mode); m != "" {
					own.Modes = map[sallyport.Stage]sallyport.Mode{sallyport.StageAuthorise: m}
				}
				v.Rules = append(v.Rules, ruleDemand(r, o.Operation, own))
			}
		}
		for _, x := range a.Policy.Exceptions {
			if x.Expires.After(time.Now()) {
				v.Exceptions++
			}
		}
		out = append(out, v)
	})
	return out
}

func ruleDemand(r policy.Rule, operation string, d policy.Demand) console.RuleDemand {
	return console.RuleDemand{Name: r.Name, Operation: operation, Require: strings.TrimSpace(r.Require), Mode: string(cmp.Or(r.Mode, d.Modes[sallyport.StageAuthorise]))}
}

// accepts lists the credentials of a, in words.
func accepts(a policy.Auth) (out []console.Accepted) {
	for _, o := range a.OIDC {
		words := []string{"audience " + o.Audience, cmp.Or(strings.Join(o.Algorithms, ", "), "any asymmetric algorithm")}
		if o.Profile != "" {
			words = append(words, "to the letter of RFC 9068")
		}
		if len(o.Clients) > 0 {
			words = append(words, "of "+strings.Join(o.Clients, ", "))
		}
		if o.Introspection.Enabled() {
			words = append(words, fmt.Sprintf("opaque tokens asked about, an answer holds %s", shortly(o.Introspection.WithDefaults().Cache)))
		}
		out = append(out, console.Accepted{Kind: "issuer", Name: o.Issuer, Detail: strings.Join(words, " · ")})
	}
	if len(a.Keys) > 0 {
		in, name := cmp.Or(string(a.KeyIn.In), "header"), cmp.Or(a.KeyIn.Name, "X-API-Key")
		out = append(out, console.Accepted{Kind: "keys", Name: fmt.Sprintf("%d in %s %s", len(a.Keys), in, name), Detail: strings.Join(slices.Sorted(holders(a.Keys)), ", ")})
	}
	for _, c := range a.Certificates {
		words := []string{}
		for _, x := range [][2]string{{"URI", c.URI}, {"DNS", c.DNS}, {"subject", c.Subject}} {
			if x[1] != "" {
				words = append(words, x[0]+" "+x[1])
			}
		}
		out = append(out, console.Accepted{Kind: "certificate", Name: c.ID, Detail: strings.Join(words, " · "), Scopes: c.Scopes})
	}
	for _, s := range a.Signatures {
		words := []string{string(cmp.Or(s.Style, policy.RFC9421)), fmt.Sprintf("keys: %d", len(s.Keys)), fmt.Sprintf("at most %s old", shortly(cmp.Or(s.Window, 5*time.Minute)))}
		if s.Once {
			words = append(words, "each once")
		}
		out = append(out, console.Accepted{Kind: "signature", Name: s.ID, Detail: strings.Join(words, " · "), Scopes: s.Scopes})
	}
	return out
}

// shortly writes 5m, not 5m0s.
func shortly(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// holders gives whom keys stand for, each once.
func holders(keys []policy.Key) func(yield func(string) bool) {
	seen := map[string]bool{}
	return func(yield func(string) bool) {
		for _, k := range keys {
			if s := subjectOf(k); !seen[s] {
				seen[s] = true
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Demand tells what holds for one operation.
func (e *engine) Demand(name, method, template string) (v console.Demand, found bool) {
	e.inForce(func(_ string, a *guard.API) {
		if a.Name != name || found {
			return
		}
		found = true
		op := sallyport.Operation{API: name, Method: method, Template: template}
		var declared *spec.Operation
		if a.Spec != nil {
			for _, o := range a.Spec.Operations() {
				if o.Method == method && o.Template == template {
					declared, op.Name, op.Declared = o, o.ID, true
				}
			}
		}
		d := a.Policy.For(op)
		v = console.Demand{Declared: declared != nil, Modes: map[string]string{"errors": string(d.Errors.Mode)}, Anonymous: cmp.Or(string(d.Anonymous), "contract"), Scopes: d.Scopes,
			ACR: d.ACR, MaxAge: d.MaxAge.Seconds(), Login: d.Login, Price: float64(d.Price) / 1e6, Sensitive: slices.Clone(d.Sensitive)}
		for s, m := range d.Modes {
			v.Modes[string(s)] = string(m)
		}
		own := len(a.Policy.Rules)
		for i, r := range d.Rules {
			where := ""
			if i >= own {
				where = op.Key()
			}
			v.Rules = append(v.Rules, ruleDemand(r, where, d))
		}
		if declared != nil {
			v.Security = alternatives(declared)
			v.Sensitive = append(v.Sensitive, declared.Sensitive()...)
		}
		slices.Sort(v.Sensitive)
		v.Sensitive = slices.Compact(v.Sensitive)
		if c := d.Cache; c.Mode == policy.On && (method == "GET" || method == "HEAD") {
			v.Cache = &console.CacheDemand{Per: string(c.Per), Lifetime: c.Lifetime.Seconds(), Longest: c.Longest.Seconds(), Revalidate: c.Stale.Revalidate.Seconds(), Error: c.Stale.Error.Seconds(), Coalesce: c.Coalesce == policy.On}
		}
		v.Format, v.About, v.Bodies = format(a, declared, method, template)
		if e.gateway == nil {
			return
		}
		rules, _ := e.Sideloads()
		for _, r := range rules {
			if r.API == name && (r.Operation == op.Key() || r.Target == op.Key() || op.Name != "" && r.Operation == op.Name) {
				v.Sideload = append(v.Sideload, r)
			}
		}
	})
	return v, found
}

// alternatives are the credentials that a specification asks for, each with its scopes.
func alternatives(o *spec.Operation) (out []string) {
	for _, a := range o.Security {
		var words []string
		for _, scheme := range slices.Sorted(maps.Keys(a)) {
			word := scheme
			if len(a[scheme]) > 0 {
				word += " (" + strings.Join(a[scheme], ", ") + ")"
			}
			words = append(words, word)
		}
		out = append(out, cmp.Or(strings.Join(words, " and "), "nothing"))
	}
	return out
}

// format is what an operation speaks besides plain HTTP, and what is asked of it.
func format(a *guard.API, o *spec.Operation, method, template string) (name string, about, bodies []string) {
	p := &a.Policy
	if o != nil {
		for _, b := range []struct {
			media string
			kind  spec.BodyKind
			word  string
		}{{"application/json", spec.JSON, "JSON"}, {"application/xml", spec.XML, "XML"}, {"text/xml", spec.XML, "XML"}, {"application/x-www-form-urlencoded", spec.Form, "form"}, {"multipart/form-data", spec.Multipart, "multipart"}} {
			if o.Body(b.media) == b.kind && !slices.Contains(bodies, b.word) {
				bodies = append(bodies, b.word)
			}
		}
	}
	or := func(n int, standard int) int { return cmp.Or(n, standard) }
	switch {
	case o.GRPC() != nil:
		m := o.GRPC()
		return "gRPC", []string{"method " + m.Name + " of " + m.Service}, bodies
	case o.Channel() != nil:
		w := p.WebSocket.WithDefaults()
		about = []string{fmt.Sprintf("one message at most %d bytes", w.Size), "ends after " + shortly(w.Idle) + " without a message"}
		if w.Rate.Count > 0 {
			about = append(about, "messages "+w.Rate.String())
		}
		return "WebSocket", about, bodies
	case a.Spec != nil && a.Spec.GraphQL() != nil && (strings.HasSuffix(template, cmp.Or(p.GraphQL.Path, "/graphql")) || strings.EqualFold(method, "query") || strings.EqualFold(method, "mutation")):
		g := p.GraphQL
		return "GraphQL", []string{fmt.Sprintf("depth at most %d", or(g.Depth, 15)), fmt.Sprintf("cost at most %d", cmp.Or(g.Cost, 10000)), fmt.Sprintf("aliases at most %d", or(g.Aliases, 30)),
			fmt.Sprintf("operations in a request at most %d", or(g.Batch, 1)), "queries named by hash: " + cmp.Or(string(g.Persisted), "off")}, bodies
	case strings.EqualFold(method, "soap") && a.Spec != nil && a.Spec.SOAP() != nil:
		return "SOAP", nil, []string{"XML"}
	case p.JSONRPC.Path != "" && (strings.EqualFold(method, "rpc") || template == p.JSONRPC.Path):
		return "JSON-RPC", []string{fmt.Sprintf("calls in a request at most %d", or(p.JSONRPC.Batch, 1))}, bodies
	}
	return "", nil, bodies
}

// SharedCounters tells how counting together with other nodes goes.
func (e *engine) SharedCounters() console.SharedCounters {
	if e.shared == nil {
		return console.SharedCounters{State: "alone"}
	}
	s := e.shared.Stats()
	v := console.SharedCounters{State: "together", Keys: s.Leases, Late: s.Late, Failures: s.Failures, Outages: s.Outages}
	if s.Alone {
		v.State = "lost"
	}
	return v
}
