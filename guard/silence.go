package guard

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/silent"
)

// silence is the rewrite stage on an answer's head: what of the head is edited,
// and whether the body of an error is to be held and looked at. step is what
// the checks before it want of the body.
func (s *Session) silence(step Step, status int, h http.Header, now time.Time) Step {
	k := &s.known
	k.Path, k.Query, k.Client = s.r.Path, s.r.RawQuery, s.r.Client
	silent.Head(h, k, func(name string, l silent.Leak) {
		place := sallyport.Place{In: sallyport.InHeader, Name: name}
		if s.add(rewriting, s.op.modes[rewriting], nil, l.Rule, place, l.Class, "a header of the answer gives something away") {
			edit := HeadEdit{Name: name}
			if name == "Location" || name == "Content-Location" {
				edit.Value = silent.Relative(first(h, name))
			} else if name == "Www-Authenticate" || name == "Proxy-Authenticate" {
				edit.Value = s.challenge(first(h, name))
			}
			step.Head = append(step.Head, edit)
		}
	})
	if hasPrefixFold(s.answerType, "application/grpc") && len(h["Grpc-Status"]) > 0 { // a head that ends the stream
		step.Head = append(step.Head, s.Trailer(h)...)
	}
	if status < 400 {
		return step
	}
	return s.silenceError(step, status, h, now)
}

// silenceError decides how the body of an error is treated.
func (s *Session) silenceError(step Step, status int, h http.Header, now time.Time) Step {
	e := &s.op.errors
	if slices.Contains(e.Pass, status) {
		s.miss("error: the policy lets its status pass")
		return step
	}
	if s.check.HasDoc {
		s.known.Body = s.check.Doc.Src
	}
	s.known.Auth = status == http.StatusUnauthorized || s.op.loginLike
	s.encoding, s.kept = strings.Join(h["Content-Encoding"], ","), h
	stream := hasPrefixFold(s.answerType, "text/event-stream") || hasPrefixFold(s.answerType, "application/grpc")
	switch {
	case s.r.Method == http.MethodHead || stream:
		// There is nothing to look at, or no end to wait for.
		if stream && s.r.Method != http.MethodHead && status < 500 && !s.op.login {
			if s.foundError(silent.RuleUnread, "stream", "an error that streams cannot be looked at") {
				return s.rewritten(now)
			}
			return step
		}
		if s.whole() {
			return s.rewritten(now)
		}
		return step
	case s.op.modes[rewriting] == sallyport.Enforce:
		step.BodyLimit = max(e.Bound, boundOf(step))
		step.Body = BodyWhole
	default:
		step.BodyLimit = max(e.Bound, boundOf(step))
		if step.Body != BodyWhole {
			step.Body = BodySample
		}
	}
	s.hushing = true
	return step
}

func boundOf(s Step) int64 {
	if s.Body == BodyWhole || s.Body == BodySample {
		return s.BodyLimit
	}
	return 0
}

// foundError records a finding about the error as a whole.
func (s *Session) foundError(rule, class, detail string) bool {
	return s.add(rewriting, s.op.modes[rewriting], nil, rule, sallyport.Place{In: sallyport.InBody}, class, detail)
}

// whole records what holds for an error whatever it says, and reports whether
// it is replaced for that.
func (s *Session) whole() bool {
	if s.op.login && s.foundError(silent.RuleLogin, "", "a failed sign-in is answered like any other") {
		return true
	}
	return s.answer >= 500 && s.foundError(silent.RuleServer, "", "a server error is not for the caller")
}

// hush looks at the body of an error and says whether it is replaced.
func (s *Session) hush(b []byte, now time.Time) Step {
	if s.entry != nil && s.entry.soap != nil {
		return s.hushFault(b, now)
	}
	replace := s.whole()
	text, err := silent.Readable(b, s.encoding, s.answerType, s.op.errors.Bound)
	if err != nil {
		s.miss("error: it is too long, or written in a way that is not read here")
		if s.foundError(silent.RuleUnread, "", "the error cannot be looked at") || replace {
			return s.rewritten(now)
		}
		return Step{}
	}
	s.leaks = silent.Look(text, &s.known, s.leaks[:0])
	for _, l := range s.leaks {
		if s.foundError(l.Rule, l.Class, "the body of the error gives something away") {
			replace = true
		}
	}
	if replace {
		return s.rewritten(now)
	}
	return Step{}
}

// rewritten is the step that puts a problem document in the answer's place.
func (s *Session) rewritten(now time.Time) Step {
	status := s.answer
	for _, m := range s.op.errors.Status {
		if m.From == status {
			status = m.To
			break
		}
	}
	if status < 400 { // a fault that came as a success (SOAP 1.1 section 6.2 wants 500)
		status = http.StatusInternalServerError
	}
	r := &Refusal{Kind: KindOfError(status), Action: sallyport.ActionAllow, Stage: sallyport.StageRewrite}
	if s.faultCode != "" && s.faultCode != "Server" {
		r.Title = "The service did not accept the call"
	}
	step := Step{Verb: Rewrite, Refusal: r}
	if s.op.login {
		class := s.op.errors.TimeClass
		r.Kind = KindUnauthenticated
		r.Header = slices.Clone(s.api.unauthenticated.Header)
		if rest := now.Sub(s.began) % class; rest >= 0 {
			step.Wait = class - rest
		}
	}
	for name, values := range s.kept {
		if s.op.login && !strings.HasPrefix(name, "Access-Control-") || !silent.Kept(name) {
			continue
		}
		for _, v := range values {
			if name == "Www-Authenticate" || name == "Proxy-Authenticate" {
				v = s.challenge(v)
			}
			r.Header = append(r.Header, [2]string{name, v})
		}
	}
	slices.SortFunc(r.Header, func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	s.kept = nil
	return step
}

// challenge is a challenge of the upstream, without what it says besides its
// scheme when that gives something away.
func (s *Session) challenge(v string) string {
	if _, bad := silent.Value(v, &s.known); !bad {
		return v
	}
	scheme, _, _ := strings.Cut(v, " ")
	return scheme + ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.api.api.Name) + `"`
}

// KindOfError is the kind of problem that stands for an upstream's error.
func KindOfError(status int) Kind {
	title := http.StatusText(status)
	if title == "" {
		title = "Error"
	}
	return Kind{Name: "service-error", Title: title, Status: status}
}

// Trailer hands over the trailer of the upstream's answer, before it is passed
// on, and gives the edits to make in it. gRPC says its errors there: messages
// of the statuses unknown (2), internal (13) and data loss (15) are always
// taken out, others when they give something away.
func (s *Session) Trailer(h http.Header) []HeadEdit {
	if len(h) == 0 || s.api == nil || s.refusal != nil || !s.on(rewriting) {
		return nil
	}
	mode := s.op.modes[rewriting]
	var edits []HeadEdit
	edit := func(name, rule, class, detail string) {
		if s.add(rewriting, mode, nil, rule, sallyport.Place{In: sallyport.InHeader, Name: name}, class, detail) {
			edits = append(edits, HeadEdit{Name: name})
		}
	}
	code := first(h, "Grpc-Status")
	server := code == "2" || code == "13" || code == "15"
	if m := first(h, "Grpc-Message"); m != "" && code != "0" {
		if text, err := url.PathUnescape(m); err == nil {
			m = text
		}
		leaks := silent.Look([]byte(m), &s.known, nil)
		switch {
		case len(leaks) > 0:
			edit("Grpc-Message", leaks[0].Rule, leaks[0].Class, "the message of the gRPC status gives something away")
		case server:
			edit("Grpc-Message", silent.RuleServer, "", "the message of a server error is not for the caller")
		}
	}
	if d := first(h, "Grpc-Status-Details-Bin"); d != "" && code != "0" {
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(d, "="))
		leaks := silent.Look(raw, &s.known, nil)
		switch {
		case err != nil:
			edit("Grpc-Status-Details-Bin", silent.RuleUnread, "", "the details of the gRPC status cannot be read")
		case len(leaks) > 0:
			edit("Grpc-Status-Details-Bin", leaks[0].Rule, leaks[0].Class, "the details of the gRPC status give something away")
		case server:
			edit("Grpc-Status-Details-Bin", silent.RuleServer, "", "the details of a server error are not for the caller")
		}
	}
	for name, values := range h {
		if strings.HasPrefix(name, "Grpc-") {
			continue
		}
		for _, v := range values {
			if l, bad := silent.Value(v, &s.known); bad {
				edit(name, l.Rule, l.Class, "a trailer of the answer gives something away")
				break
			}
		}
	}
	return edits
}
