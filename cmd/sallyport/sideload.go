package main

import (
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// sideload is what may be put into an API's answers, nil when nothing may be:
// the rules of its policy, and the links of its specification where that says so.
func sideload(s policy.Sideload, more []acceptedRule, set *spec.Set) *gateway.Sideload {
	if !s.Enabled() && len(more) == 0 || set == nil {
		return nil
	}
	s = s.WithDefaults()
	out := &gateway.Sideload{Param: s.Param, Most: s.Most}
	find := func(name string, suffix bool) *spec.Operation {
		for _, o := range set.Operations() {
			method, path, _ := strings.Cut(name, " ")
			if o.ID == name || o.Method == method && (o.Template == path || suffix && strings.HasSuffix(o.Template, path)) {
				return o
			}
		}
		return nil
	}
	type rule struct {
		policy.SideloadRule
		origin string
	}
	var rules []rule
	for _, r := range s.Rules {
		rules = append(rules, rule{r, "configuration"})
	}
	has := func(name string, o *spec.Operation) bool {
		return slices.ContainsFunc(rules, func(r rule) bool { return r.Name == name && find(r.Operation, false) == o })
	}
	if s.Links {
		for _, o := range set.Operations() {
			for _, l := range o.Links() {
				to := find(l.Operation, true)
				if o.Method != http.MethodGet || to == nil || to.Method != http.MethodGet || strings.Count(to.Template, "{") != 1 || !strings.Contains(to.Template, "{"+l.Param+"}") || has(l.Name, o) {
					continue
				}
				rules = append(rules, rule{policy.SideloadRule{Name: l.Name, Operation: o.Method + " " + o.Template, From: l.Pointer, Target: to.Method + " " + to.Template}, "specification"})
			}
		}
	}
	for _, r := range more { // one that fits no more waits until it does
		if o := find(r.Operation, false); o != nil && !has(r.Name, o) {
			rules = append(rules, rule{policy.SideloadRule{Name: r.Name, Operation: r.Operation, From: r.From, Target: r.Target}, r.ID})
		}
	}
	for _, r := range rules {
		from, to := find(r.Operation, false), find(r.Target, false)
		if from == nil || to == nil { // said with the mistakes of the policy
			continue
		}
		side := gateway.Side{Name: r.Name, Operation: from.Method + " " + from.Template, From: r.From, Target: to.Template, Always: r.Always, Origin: r.origin}
		if r.Batch.Enabled() {
			if many := find(r.Batch.Operation, false); many != nil {
				b := r.Batch.WithDefaults()
				side.Batch = gateway.Batch{Operation: many.Template, Param: b.Param, Items: b.Items, Key: b.Key, Size: b.Size}
			}
		}
		out.Rules = append(out.Rules, side)
	}
	if len(out.Rules) == 0 {
		return nil
	}
	return out
}
