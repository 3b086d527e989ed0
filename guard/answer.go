package guard

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	sallyport "sallyport.dev"
	"sallyport.dev/classify"
	"sallyport.dev/guard/silent"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/jsondoc"
)

// The rules of answers that are treated by what the policy says of them.
const (
	ruleUndeclared = "answer.undeclared"
	ruleSensitive  = "answer.sensitive"
	ruleOversize   = "answer.oversize"
	ruleUnreadable = "answer.unreadable"
)

// answerRules is what is demanded of an operation's answers where the policy
// says more than a mode.
type answerRules struct {
	policy.Answers
	declared map[classify.Class]bool
	watched  map[classify.Class]bool // nil: all
}

// kindsBesides are words for kinds of data besides the classes' own names.
var kindsBesides = map[string]classify.Class{"card": classify.PaymentCard, "ssn": classify.USSSN, "name": classify.PersonName, "address": classify.PostalAddress,
	"birthday": classify.DateOfBirth, "location": classify.Coordinates, "mac": classify.MAC, "cvc": classify.CardCode, "cvv": classify.CardCode, "token": classify.APIToken}

func kindNamed(word string) (classify.Class, bool) {
	word = strings.ToLower(word)
	if c, ok := kindsBesides[word]; ok {
		return c, true
	}
	for _, c := range classify.Classes() {
		if string(c.Class) == word {
			return c.Class, true
		}
	}
	return "", false
}

// answerRules compiles what holds for the answers of o, which may be nil.
func (a *api) answerRules(o *spec.Operation, p policy.Answers, declared []string) *answerRules {
	if !p.Acts() || p.Mode == sallyport.Off {
		return nil
	}
	r := &answerRules{Answers: p.WithDefaults(), declared: map[classify.Class]bool{}}
	take := func(list []string, to map[classify.Class]bool) {
		for _, word := range list {
			if c, ok := kindNamed(word); ok {
				to[c] = true
				for _, i := range classify.Classes() { // an API token is also each vendor's
					if i.Class.Broad() == c {
						to[i.Class] = true
					}
				}
			}
		}
	}
	take(declared, r.declared)
	if o != nil {
		take(o.Sensitive(), r.declared)
	}
	if len(p.Kinds) > 0 {
		r.watched = map[classify.Class]bool{}
		take(p.Kinds, r.watched)
	}
	return r
}

// sensitiveWords gives the words of a policy and a specification that name no kind of
// sensitive data.
func sensitiveWords(a *API, known []sallyport.Operation) (m Mistakes) {
	check := func(where string, list []string) {
		for _, word := range list {
			if _, ok := kindNamed(word); !ok {
				m = append(m, fmt.Errorf("api %s: %s: %q is no kind of sensitive data; there are email, payment-card, iban, phone and others, see the guide to answers", a.Name, where, word))
			}
		}
	}
	check("answers.kinds", a.Policy.Answers.Kinds)
	check("answers.declared", a.Policy.Answers.Declared)
	for i, o := range a.Policy.Operations {
		check(fmt.Sprintf("operations[%d].sensitive", i), o.Sensitive)
	}
	if a.Spec != nil {
		for i, o := range a.Spec.Operations() {
			check("x-sensitive of "+known[i].Key(), o.Sensitive())
		}
	}
	return m
}

// acts reports whether an answer may be refused or changed.
func (r *answerRules) acts() bool {
	return r.Mode == sallyport.Enforce && (r.changes() || r.Undeclared == policy.RefuseAll || r.Sensitive == policy.RefuseAll ||
		r.Types == policy.RefuseAll || r.Oversize == policy.RefuseAll)
}

// changes reports whether an answer may be changed.
func (r *answerRules) changes() bool {
	return r.Mode == sallyport.Enforce && (r.Undeclared == policy.StripIt || r.Sensitive == policy.StripIt)
}

// mode is the mode in which a finding treated as t is recorded.
func (r *answerRules) mode(t policy.Treatment) sallyport.Mode {
	if t == policy.ReportOnly {
		return sallyport.Observe
	}
	return r.Mode
}

func refusalOf(t policy.Treatment) *Refusal {
	if t == policy.RefuseAll {
		return refusedAnswer
	}
	return nil
}

// PlainAnswer reports whether the upstream is to be asked for its answer whole
// and without an encoding: it may have to be changed or refused for what it
// says. A door then leaves Range and If-Range out of the request, and asks for
// the encoding identity. It is valid between the last step of the request and
// the answer.
func (s *Session) PlainAnswer() bool {
	return s.op != nil && (s.entry != nil && s.entry.soap != nil && (s.op.modes[rewriting] == sallyport.Enforce || s.api.answers == sallyport.Enforce) || s.op.answer != nil && s.op.answer.acts() || s.entry != nil && s.entry.graph != nil && !s.r.Upgrade && (s.op.modes[rewriting] == sallyport.Enforce || s.api.answers == sallyport.Enforce))
}

// changedHead are edits for the head of an answer whose body is changed, or of
// the answer to a HEAD whose body would perhaps be.
var changedHead = []HeadEdit{{Name: "Content-Length"}, {Name: "Etag"}, {Name: "Content-Digest"}, {Name: "Repr-Digest"}, {Name: "Digest"}, {Name: "Content-Md5"},
	{Name: "Accept-Ranges"}, {Name: "Signature"}, {Name: "Signature-Input"}}

// expectAnswer is checkAnswer where the policy says what findings lead to.
func (s *Session) expectAnswer(status int, h http.Header) Step {
	r := s.op.answer
	if s.op.spec != nil {
		s.op.spec.CheckResponse(&s.check, status, h)
		if s.check.NewStatus {
			s.add(validate, sallyport.Observe, nil, "answer.status", sallyport.Place{}, "", "the specification does not declare the answer's status")
		}
		if s.answered(); s.refusal != nil {
			return s.refuse()
		}
	}
	switch {
	case s.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified:
		step := s.proceed(BodyNone, 0)
		if s.r.Method == http.MethodHead && r.changes() && jsonType(s.answerType) {
			step.Head = slices.Clone(changedHead)
		}
		return step
	case hasPrefixFold(s.answerType, "text/event-stream") || hasPrefixFold(s.answerType, "application/grpc"):
		s.miss("answer: it streams")
		return s.proceed(BodyStream, 0)
	case !jsonType(s.answerType) && !s.op.spec.ValidatesXML(status, s.answerType):
		if s.answerType != "" {
			s.miss("answer: only JSON is checked")
		}
		return s.proceed(BodyStream, 0)
	case status == http.StatusPartialContent:
		return s.unseenAnswer(ruleUnreadable, "a part of an answer cannot be looked at")
	}
	if n, err := strconv.ParseInt(first(h, "Content-Length"), 10, 64); err == nil && n > s.api.bounds.Answer {
		return s.unseenAnswer(ruleOversize, "the answer is longer than the bound")
	}
	s.answerCoding = strings.Join(h["Content-Encoding"], ",")
	if r.acts() {
		return s.proceed(BodyWhole, s.api.bounds.Answer)
	}
	return s.proceed(BodySample, s.api.bounds.Answer)
}

// unseenAnswer treats an answer that cannot be looked at whole.
func (s *Session) unseenAnswer(rule, detail string) Step {
	r := s.op.answer
	s.miss("answer: it could not be looked at whole")
	s.add(validate, r.mode(r.Oversize), refusalOf(r.Oversize), rule, sallyport.Place{In: sallyport.InBody}, "", detail+suffix(r.Oversize, false))
	return s.proceed(BodyStream, 0)
}

func suffix(t policy.Treatment, kept bool) string {
	switch {
	case t == policy.StripIt && kept:
		return ": kept, since the schema does not hold without it"
	case t == policy.StripIt:
		return ": taken out"
	case t == policy.RefuseAll:
		return ": the answer is refused"
	}
	return ""
}

// spared reports whether an exception covers a finding.
func (s *Session) spared(rule string, place sallyport.Place) bool {
	for i := range s.op.exceptions {
		if s.op.exceptions[i].Covers(rule, place, s.began) {
			return true
		}
	}
	return false
}

// leak is sensitive data in an answer.
type leak struct {
	node     int
	class    classify.Class
	place    string
	from, to int32
	whole    bool // it is the whole value
}

// judgeAnswer looks at the whole body of an answer and says what becomes of it.
// What it finds and how it would treat it does not hang on the mode.
func (s *Session) judgeAnswer(b []byte) Step {
	r, c := s.op.answer, &s.check
	if int64(len(b)) > s.api.bounds.Answer {
		return s.unseenAnswer(ruleOversize, "the answer is longer than the bound")
	}
	var head []HeadEdit
	if s.answerCoding != "" && !strings.EqualFold(s.answerCoding, "identity") {
		text, err := silent.Readable(b, s.answerCoding, s.answerType, s.api.bounds.Answer)
		if err != nil {
			return s.unseenAnswer(ruleUnreadable, "the answer's encoding is unknown or broken, or it is longer than the bound")
		}
		b, head = text, []HeadEdit{{Name: "Content-Encoding"}}
	}
	if s.op.spec.ValidatesXML(s.answer, s.answerType) { // XML that is held to its schema, and no more
		s.op.spec.CheckResponseBody(c, s.answer, s.answerType, b)
		s.answered()
		return s.proceed(BodyNone, 0)
	}
	if r.Undeclared == "" {
		c.HasDoc = false
		s.op.spec.CheckResponseBody(c, s.answer, s.answerType, b)
		if !c.HasDoc && s.op.spec != nil && c.NewStatus {
			(*spec.Operation)(nil).CheckResponseBody(c, s.answer, s.answerType, b)
		}
	} else {
		s.op.spec.CheckAnswer(c, s.answer, s.answerType, b)
	}
	broken := len(c.Problems) > s.seen
	if !c.HasDoc {
		s.answered()
		return s.proceed(BodyNone, 0)
	}
	leaks := s.leaksOf(b)
	text, kept := s.stripped(b, leaks, broken)
	s.answered()
	s.tellStrays(kept)
	s.tellLeaks(leaks)
	step := s.proceed(BodyNone, 0)
	if step.Verb == Proceed && text != nil && r.Mode == sallyport.Enforce {
		step.Replace = text
		step.Head = append(head, changedHead...)
	}
	return step
}

// leaksOf finds sensitive data of kinds that the operation does not declare.
func (s *Session) leaksOf(b []byte) []leak {
	r, d := s.op.answer, &s.check.Doc
	if r.Sensitive == "" {
		return nil
	}
	var out []leak
	add := func(i int, class classify.Class, from, to int32, whole bool) {
		if r.declared[class] || r.watched != nil && !r.watched[class] {
			return
		}
		out = append(out, leak{node: i, class: class, from: from, to: to, whole: whole})
	}
	for _, m := range classify.Scan(b, 0) {
		// Nodes stand in the order of the text.
		i := sort.Search(len(d.Nodes), func(i int) bool { return int(d.Nodes[i].Start) > m.Start }) - 1
		for ; i >= 0 && (d.Nodes[i].Kind == jsondoc.Object || d.Nodes[i].Kind == jsondoc.Array); i-- {
		}
		if i < 0 {
			continue
		}
		n := &d.Nodes[i]
		from, to := max(int32(m.Start), n.Start), min(int32(m.End), n.End)
		if from >= to || n.Escaped {
			continue
		}
		add(i, m.Class, from, to, len(strings.TrimSpace(string(b[n.Start:n.End]))) <= int(to-from)+2)
	}
	for i := range d.Nodes { // texts that escapes hide
		n := &d.Nodes[i]
		if !n.Escaped || n.Kind != jsondoc.String {
			continue
		}
		s.text = scratch(s.text, int(n.End-n.Start))
		text := d.Text(i, s.text)
		if n.KeyStart >= 0 {
			if class, _ := classify.Field(string(d.Key(i, nil)), text); class != "" {
				add(i, class, n.Start, n.End, true)
				continue
			}
		}
		for _, m := range classify.Scan(text, 8) {
			add(i, m.Class, n.Start, n.End, true)
		}
	}
	for i := range out {
		out[i].place = s.check.Starred(out[i].node)
	}
	return out
}

// stripped is the text without what the policy wants taken out of it; nil when
// that is nothing. kept: strays stay, for the schema does not hold without them.
func (s *Session) stripped(b []byte, leaks []leak, broken bool) (text []byte, kept bool) {
	r, c := s.op.answer, &s.check
	var strays, gone, masks []jsondoc.Cut
	if r.Undeclared == policy.StripIt {
		for _, x := range c.Strays {
			if !s.spared(ruleUndeclared, sallyport.Place{In: sallyport.InBody, Name: x.Place}) {
				strays = append(strays, jsondoc.Cut{Node: x.Node})
			}
		}
	}
	if r.Sensitive == policy.StripIt {
		for _, l := range leaks {
			if s.spared(ruleSensitive, sallyport.Place{In: sallyport.InBody, Name: l.place}) {
				continue
			}
			mask := jsondoc.Cut{Node: l.node, Mask: true, From: l.from, To: l.to}
			masks = append(masks, mask)
			if l.whole && c.Doc.Nodes[l.node].KeyStart >= 0 {
				gone = append(gone, jsondoc.Cut{Node: l.node})
			} else {
				gone = append(gone, mask)
			}
		}
	}
	if len(strays)+len(masks) == 0 {
		return nil, false
	}
	holds := func(cuts ...[]jsondoc.Cut) bool {
		text = c.Doc.Apply(make([]byte, 0, len(b)), slices.Concat(cuts...))
		return s.op.spec == nil || s.op.spec.AnswerHolds(c, s.answer, s.answerType, text)
	}
	if broken { // there is no way to tell what a member is needed for
		holds(strays, masks)
		return text, false
	}
	if holds(strays, gone) || len(masks) > 0 && holds(strays, masks) {
		return text, false
	}
	if len(strays) == 0 || holds(strays) {
		holds(strays, masks) // masked, it may not be what the schema's format wants
		return text, false
	}
	if !s.op.spec.AnswerHolds(c, s.answer, s.answerType, b) { // closed objects that no removal makes hold
		s.op.spec.CheckResponseBody(c, s.answer, s.answerType, b)
	}
	if len(masks) == 0 {
		return nil, true
	}
	holds(masks)
	return text, true
}

// tellStrays turns the members that no schema names into reasons, one for each
// place.
func (s *Session) tellStrays(kept bool) {
	r := s.op.answer
	if r.Undeclared == "" {
		return
	}
	told := map[string]bool{}
	for _, x := range s.check.Strays {
		if told[x.Place] {
			continue
		}
		told[x.Place] = true
		s.add(validate, r.mode(r.Undeclared), refusalOf(r.Undeclared), ruleUndeclared, sallyport.Place{In: sallyport.InBody, Name: x.Place}, "",
			"no schema names it"+suffix(r.Undeclared, kept))
	}
}

func (s *Session) tellLeaks(leaks []leak) {
	r := s.op.answer
	told := map[string]bool{}
	for _, l := range leaks {
		key := string(l.class) + l.place
		if told[key] {
			continue
		}
		told[key] = true
		s.add(validate, r.mode(r.Sensitive), refusalOf(r.Sensitive), ruleSensitive, sallyport.Place{In: sallyport.InBody, Name: l.place}, string(l.class),
			"the operation does not declare this kind of data"+suffix(r.Sensitive, false))
	}
}
