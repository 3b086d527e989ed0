package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/rule"
	"sallyport.dev/policy"
	"sallyport.dev/spec/jsondoc"
)

// refusedByRule answers a request that a rule does not let through. It does not
// say which: that stands in the decision.
var refusedByRule = &Refusal{Kind: KindForbidden, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthorise}

// predicate is a rule with the mode that holds for it.
type predicate struct {
	*rule.Rule
	mode   sallyport.Mode
	reason string
}

// rules compiles those of an operation: first those that need only the head.
func (o *operation) rules(rs []policy.Rule) {
	for _, r := range rs {
		mode := r.Mode
		if mode == "" {
			mode = o.modes[authorise]
		}
		if mode == sallyport.Off {
			o.unseen = append(slices.Clip(o.unseen), "rule "+r.Name+": switched off")
			continue
		}
		compiled, err := rule.Compile(r.Name, r.Require)
		if err != nil {
			continue // CheckRules has said so
		}
		p := predicate{compiled, mode, "rule." + r.Name}
		if compiled.Reads().Body {
			o.ofBody = append(o.ofBody, p)
		} else {
			o.ofHead = append(o.ofHead, p)
		}
	}
}

// CheckRules gives every mistake in the predicates of a policy. known are the
// operations that there are; nil skips what depends on them.
func CheckRules(a policy.API, known []sallyport.Operation) policy.Mistakes {
	var m policy.Mistakes
	check := func(path string, rs []policy.Rule, has func(param string) bool) {
		for i, r := range rs {
			if strings.TrimSpace(r.Require) == "" {
				continue
			}
			at := fmt.Sprintf("%s[%d].require", path, i)
			compiled, err := rule.Compile(r.Name, r.Require)
			if err != nil {
				m = append(m, policy.Mistake{Path: at, Text: err.Error()})
				continue
			}
			reads := compiled.Reads()
			if reads.Claims && len(a.Auth.OIDC) == 0 {
				m = append(m, policy.Mistake{Path: at, Text: "claims are those of tokens, and auth.oidc names no issuer"})
			}
			for _, param := range reads.Path {
				if known != nil && !has(param) {
					m = append(m, policy.Mistake{Path: at, Text: fmt.Sprintf("path.%s: no such parameter in the path", param)})
				}
			}
		}
	}
	declares := func(o sallyport.Operation, param string) bool {
		return strings.Contains(o.Template, "{"+param+"}")
	}
	check("rules", a.Rules, func(param string) bool {
		return slices.ContainsFunc(known, func(o sallyport.Operation) bool { return declares(o, param) })
	})
	for i, d := range a.Operations {
		check(fmt.Sprintf("operations[%d].rules", i), d.Rules, func(param string) bool {
			return slices.ContainsFunc(known, func(o sallyport.Operation) bool {
				return (d.Operation == o.Key() || d.Operation == o.Name) && declares(o, param)
			})
		})
	}
	return m
}

// judge asks the rules whether the request is authorised.
func (s *Session) judge(list []predicate, now time.Time) {
	if len(list) == 0 {
		return
	}
	v := s.seenByRules(now)
	for i := range list {
		p := &list[i]
		if err := p.Holds(v); err != nil {
			s.add(authorise, p.mode, refusedByRule, p.reason, sallyport.Place{}, "", err.Error())
		}
	}
	v.Reset()
}

// seenByRules is the request as rules see it.
func (s *Session) seenByRules(now time.Time) *rule.View {
	if s.view == nil {
		s.view = new(rule.View)
	}
	v, op := s.view, s.Operation()
	v.Method, v.Target, v.Host, v.TLS = s.r.Method, s.r.Path, canonicalHost(s.r.Host), s.r.TLS
	v.API, v.OperationMethod, v.Template, v.OperationID, v.Declared = s.api.api.Name, op.Method, op.Template, op.Name, op.Declared
	v.Address, v.Now, v.Query, v.Header = s.r.Client, now, s.r.RawQuery, s.r.Header
	if s.entry == nil && s.match.N > 0 {
		v.Path = s.pathParams
	}
	if id := s.id; id != nil {
		p := &id.Principal
		v.Kind, v.Issuer, v.Subject, v.Client, v.Actor, v.Scopes = p.Kind, p.Issuer, p.Subject, p.Client, p.Actor, id.Scopes
		v.Claims = func() map[string]any { return id.Claims(claimsOf) }
	}
	v.Body = s.bodyForRules
	return v
}

func (s *Session) pathParams(yield func(name, raw string) bool) {
	for i := range s.match.N {
		if p := &s.match.Params[i]; !yield(p.Name, p.Raw) {
			return
		}
	}
}

// claimsOf reads the verified text of a token's claims.
func claimsOf(text []byte) map[string]any {
	var d jsondoc.Doc
	if d.Parse(text, jsondoc.Limits{}) == nil {
		if v, ok := rule.Decode(&d); ok {
			m, _ := v.(map[string]any)
			return m
		}
	}
	return nil
}

// bodyForRules is the request's JSON body: nil when there is none, and not ok
// when there is one that cannot be read as JSON without doubt.
func (s *Session) bodyForRules() (any, bool) {
	switch {
	case s.bodiless:
		return nil, true
	case s.body == nil || !jsonType(s.contentType) || len(s.r.Header["Content-Type"]) != 1 || !likeASCII(s.contentType):
		return nil, false
	}
	var d jsondoc.Doc
	if d.Parse(s.body, jsondoc.Limits{}) != nil {
		return nil, false
	}
	return rule.Decode(&d)
}

// bodyRules has the rules that look at the body asked: at once when there is no
// body or none that can be read, else once the door has brought it.
func (s *Session) bodyRules(step Step, now time.Time) Step {
	list := s.op.ofBody
	if len(list) == 0 || step.Verb != Proceed {
		return step
	}
	s.bodiless = s.r.ContentLength == 0
	encoding := first(s.r.Header, "Content-Encoding")
	coded := encoding != "" && !strings.EqualFold(encoding, "identity")
	if s.bodiless || coded || s.r.ContentLength > s.api.bounds.Body || hasPrefixFold(s.contentType, "application/grpc") {
		s.judge(list, now)
		if s.refusal != nil {
			return s.refuse()
		}
		return step
	}
	if s.entry != nil && step.Body == BodyWhole {
		return step // enterBody asks them
	}
	s.awaited, s.then = true, s.plan
	return s.proceed(BodyWhole, s.api.bounds.Body)
}

// bodyCame asks the rules that waited for the body. It reports whether that is
// all that the body was read for.
func (s *Session) bodyCame(b []byte, now time.Time) (over bool) {
	s.awaited = false
	s.plan = s.then
	if s.body = b; int64(len(b)) > s.api.bounds.Body {
		s.body = nil
	}
	s.judge(s.op.ofBody, now)
	s.body = nil
	return s.refusal != nil || s.plan != BodySample && s.plan != BodyWhole
}
