package guard

import (
	"net/http"
	"strconv"
	"strings"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/silent"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/jsondoc"
)

// hearsGraph reports whether an answer of GraphQL is to be looked at: its data
// and errors against schema and selection, and its errors for what they give
// away, since they come as successes.
func (s *Session) hearsGraph(status int) bool {
	return s.entry != nil && s.entry.graph != nil && status >= 200 && status < 300 && status != http.StatusNoContent && status != http.StatusPartialContent &&
		s.r.Method != http.MethodHead && jsonType(s.answerType) && (s.on(rewriting) || s.api.answers != sallyport.Off)
}

// graphAnswer says what is wanted of such an answer's body.
func (s *Session) graphAnswer(h http.Header) Step {
	s.graphing, s.answerCoding = true, strings.Join(h["Content-Encoding"], ",")
	r := s.op.answer
	if n, err := strconv.ParseInt(first(h, "Content-Length"), 10, 64); r != nil && err == nil && n > s.api.bounds.Answer {
		s.graphing = false
		return s.unseenAnswer(ruleOversize, "the answer is longer than the bound")
	}
	if s.op.modes[rewriting] == sallyport.Enforce || r == nil && s.api.answers == sallyport.Enforce || r != nil && r.acts() {
		return s.proceed(BodyWhole, s.api.bounds.Answer)
	}
	return s.proceed(BodySample, s.api.bounds.Answer)
}

// judgeGraph looks at such an answer's body. Of its errors, a message that gives
// something away is made unreadable, and extensions that do are taken out; of
// the rest goes what the policy for answers wants out. Everything else stays
// byte for byte.
func (s *Session) judgeGraph(b []byte) Step {
	s.graphing = false
	r, c := s.op.answer, &s.check
	unseen := func(rule, detail string) Step {
		if r != nil {
			return s.unseenAnswer(rule, detail)
		}
		s.miss("answer: it could not be looked at whole")
		return s.proceed(BodyNone, 0)
	}
	if int64(len(b)) > s.api.bounds.Answer {
		return unseen(ruleOversize, "the answer is longer than the bound")
	}
	text, err := silent.Readable(b, s.answerCoding, s.answerType, s.api.bounds.Answer)
	if err != nil {
		return unseen(ruleUnreadable, "the answer's encoding is unknown or broken, or it is longer than the bound")
	}
	c.HasDoc, c.Strays = false, c.Strays[:0]
	mode, treatment := s.api.answers, refusedAnswer
	if r != nil {
		mode, treatment = r.mode(r.Types), refusalOf(r.Types)
	}
	if c.Doc.Parse(text, jsondoc.Limits{Duplicates: true}) != nil {
		s.miss("answer: not readable as JSON")
		if mode != sallyport.Off {
			s.add(validate, mode, treatment, "answer."+graphql.RuleShape, sallyport.Place{In: sallyport.InBody}, "", "it is no JSON")
		}
		return s.proceed(BodyNone, 0)
	}
	c.HasDoc = true
	var cuts []jsondoc.Cut
	if s.on(rewriting) {
		cuts = s.graphErrors(text)
	}
	if mode != sallyport.Off {
		s.graphData(mode, treatment)
	}
	var leaks []leak
	if r != nil {
		leaks = s.leaksOf(text)
		for i := range c.Strays {
			x := &c.Strays[i]
			if r.changes() && r.Undeclared == policy.StripIt && !s.spared(ruleUndeclared, sallyport.Place{In: sallyport.InBody, Name: x.Place}) {
				cuts = append(cuts, jsondoc.Cut{Node: x.Node})
			}
		}
		for _, l := range leaks {
			if r.changes() && r.Sensitive == policy.StripIt && !s.spared(ruleSensitive, sallyport.Place{In: sallyport.InBody, Name: l.place}) {
				// Masked and not taken out: what was selected is there.
				cuts = append(cuts, jsondoc.Cut{Node: l.node, Mask: true, From: l.from, To: l.to})
			}
		}
		s.tellStrays(false)
		s.tellLeaks(leaks)
	}
	done := s.proceed(BodyNone, 0)
	if len(cuts) == 0 || done.Verb != Proceed {
		return done
	}
	done.Replace, done.Head = c.Doc.Apply(make([]byte, 0, len(text)), cuts), changedHead
	if s.answerCoding != "" {
		done.Head = append([]HeadEdit{{Name: "Content-Encoding"}}, changedHead...)
	}
	return done
}

// graphAnswers gives the answers in the session's document, one after the other,
// each with the place it has among the requests.
func (s *Session) graphAnswers(each func(node, request int)) {
	d := &s.check.Doc
	if d.Nodes[0].Kind != jsondoc.Array {
		each(0, 0)
		return
	}
	for i, k := 1, 0; i < len(d.Nodes); i, k = int(d.Nodes[i].Next), k+1 { // of a batch
		each(i, k)
	}
}

// graphData compares the answers with schema and selections. What it finds of
// one rule at one place it tells once.
func (s *Session) graphData(mode sallyport.Mode, treatment *Refusal) {
	c, r := &s.check, s.op.answer
	found := 0
	tell := func(node int, rule, detail string) {
		if found++; found > maxReasons {
			return
		}
		place := c.Starred(node)
		for i := range s.reasons {
			if s.reasons[i].Rule == rule && s.reasons[i].Place.Name == place {
				return
			}
		}
		s.add(validate, mode, treatment, rule, sallyport.Place{In: sallyport.InBody, Name: place}, "", detail)
	}
	introspection := s.entry.graph.introspection
	hear := graphql.Seen{
		Broken: func(node int, rule, detail string) {
			if rule != graphql.RuleIntro || !introspection {
				tell(node, "answer."+rule, detail)
			}
		},
		Stray: func(node int) {
			if r == nil || r.Undeclared == "" {
				tell(node, "answer.graphql.undeclared", "it was not asked for")
				return
			}
			c.Strays = append(c.Strays, spec.Stray{Node: node, Place: c.Starred(node)})
		},
	}
	d := &c.Doc
	if batch := d.Nodes[0].Kind == jsondoc.Array; batch != s.batched || batch && int(d.Nodes[0].Count) != len(s.graphed) && s.refusal == nil && len(s.graphed) < 16 {
		if len(s.graphed) > 0 && !s.soleErrors() {
			tell(0, "answer."+graphql.RuleShape, "there are not as many answers as requests")
		}
	}
	s.graphAnswers(func(node, request int) {
		if request >= len(s.graphed) || s.graphed[request] == nil {
			s.miss("answer: what it answers is not known")
			return
		}
		s.graphed[request].Answer(d, node, hear)
	})
}

// soleErrors reports whether the answer is one object with errors and without
// data, by which a server turns a whole batch away.
func (s *Session) soleErrors() bool {
	d := &s.check.Doc
	return named(d, 0, "errors") >= 0 && named(d, 0, "data") < 0
}

// graphErrors looks at what the entries of errors give away.
func (s *Session) graphErrors(text []byte) (cuts []jsondoc.Cut) {
	d := &s.check.Doc
	look := func(node int, cut jsondoc.Cut, what string) {
		n := &d.Nodes[node]
		s.leaks = silent.Look(text[n.Start:n.End], &s.known, s.leaks[:0])
		rule, class := "", ""
		if len(s.leaks) > 0 {
			rule, class = s.leaks[0].Rule, s.leaks[0].Class
		} else if what == "extensions" {
			if k := named(d, node, "exception", "stacktrace", "stackTrace", "debugMessage", "trace"); k >= 0 {
				rule, class = silent.RuleServer, "stack"
			}
		}
		if rule == "" {
			return
		}
		place := sallyport.Place{In: sallyport.InBody, Name: "/errors/*/" + what}
		if s.add(rewriting, s.op.modes[rewriting], nil, rule, place, class, "an error of GraphQL gives something away") {
			cuts = append(cuts, cut)
		}
	}
	s.graphAnswers(func(answer, _ int) {
		list := named(d, answer, "errors")
		if list < 0 || d.Nodes[list].Kind != jsondoc.Array {
			return
		}
		for e := list + 1; e < int(d.Nodes[list].Next); e = int(d.Nodes[e].Next) {
			if m := named(d, e, "message"); m >= 0 && d.Nodes[m].Kind == jsondoc.String {
				look(m, jsondoc.Cut{Node: m, Mask: true, From: d.Nodes[m].Start, To: d.Nodes[m].End}, "message")
			}
			if x := named(d, e, "extensions"); x >= 0 {
				look(x, jsondoc.Cut{Node: x}, "extensions")
			}
		}
	})
	return cuts
}

// named is the member of an object that has one of the names, -1 when none has.
func named(d *jsondoc.Doc, object int, names ...string) int {
	if d.Nodes[object].Kind != jsondoc.Object {
		return -1
	}
	for i := object + 1; i < int(d.Nodes[object].Next); i = int(d.Nodes[i].Next) {
		key := string(d.Key(i, nil))
		for _, n := range names {
			if key == n {
				return i
			}
		}
	}
	return -1
}
