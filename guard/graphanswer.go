package guard

import (
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/silent"
	"sallyport.dev/spec/jsondoc"
)

// hearsGraph reports whether the errors in an answer of GraphQL, which come with
// status 200, are to be looked at.
func (s *Session) hearsGraph(status int, h http.Header) bool {
	return s.entry != nil && s.entry.graph != nil && status == http.StatusOK && s.r.Method != http.MethodHead && s.on(rewriting) && jsonType(s.answerType) &&
		(s.op.answer == nil || !s.op.answer.acts())
}

// graphAnswer says what is wanted of such an answer's body.
func (s *Session) graphAnswer(h http.Header) Step {
	s.graphing, s.answerCoding = true, strings.Join(h["Content-Encoding"], ",")
	if s.op.modes[rewriting] == sallyport.Enforce {
		return s.proceed(BodyWhole, s.api.bounds.Answer)
	}
	return s.proceed(BodySample, s.api.bounds.Answer)
}

// hushGraph looks at the entries of errors: a message that gives something away
// is made unreadable, extensions that do are taken out. Everything else, and all
// of data, stays byte for byte.
func (s *Session) hushGraph(b []byte, now time.Time) Step {
	s.graphing = false
	done := s.proceed(BodyNone, 0)
	text, err := silent.Readable(b, s.answerCoding, s.answerType, s.api.bounds.Answer)
	if err != nil {
		s.miss("answer: it could not be looked at whole")
		return done
	}
	d := &s.check.Doc
	if d.Parse(text, jsondoc.Limits{Duplicates: true}) != nil {
		s.miss("answer: not readable as JSON")
		return done
	}
	var cuts []jsondoc.Cut
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
	each := func(answer int) {
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
	}
	if d.Nodes[0].Kind == jsondoc.Array { // of a batch
		for i := 1; i < len(d.Nodes); i = int(d.Nodes[i].Next) {
			each(i)
		}
	} else {
		each(0)
	}
	if len(cuts) == 0 {
		return done
	}
	done.Replace, done.Head = d.Apply(make([]byte, 0, len(text)), cuts), changedHead
	if s.answerCoding != "" {
		done.Head = append([]HeadEdit{{Name: "Content-Encoding"}}, changedHead...)
	}
	return done
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
