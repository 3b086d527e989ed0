package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
)

// Diff says in words, one line a change, what now demands that was did not.
// Secrets are not shown; the order is that of the fields.
func Diff(was, now API) []string {
	var d differ
	d.word("mode", orObserve(was.Mode), orObserve(now.Mode))
	d.checks("", was.Checks, now.Checks)
	d.auth(was.Auth, now.Auth)
	d.list("limit", limitWords(counted(was.Limits)), limitWords(counted(now.Limits)))
	d.word("RateLimit fields in answers", string(cmp.Or(was.LimitHeaders, HeadersRefused)), string(cmp.Or(now.LimitHeaders, HeadersRefused)))
	wb, nb := was.Bounds.WithDefaults(), now.Bounds.WithDefaults()
	d.word("body bound", bytesWord(wb.Body), bytesWord(nb.Body))
	d.word("answer bound", bytesWord(wb.Answer), bytesWord(nb.Answer))
	d.word("sample bound", bytesWord(wb.Sample), bytesWord(nb.Sample))
	d.word("a body that is too large", string(wb.Oversize), string(nb.Oversize))
	d.word("an encoded body", string(wb.Encoded), string(nb.Encoded))
	d.word("undeclared operations", orRecord(was.Shadow), orRecord(now.Shadow))
	d.word("undocumented parameters", orRecord(was.Undocumented), orRecord(now.Undocumented))
	d.word("answers", was.Answers.String(), now.Answers.String())
	d.errors("", was.Errors, now.Errors)
	for _, f := range []struct {
		what     string
		was, now any
	}{{"graphql", was.GraphQL, now.GraphQL}, {"jsonrpc", was.JSONRPC, now.JSONRPC}, {"files", was.Files, now.Files}, {"grpc", was.GRPC, now.GRPC}, {"soap", was.SOAP, now.SOAP}, {"cache", was.Cache, now.Cache}, {"websocket", was.WebSocket, now.WebSocket}} {
		d.word(f.what, fmt.Sprintf("%+v", f.was), fmt.Sprintf("%+v", f.now))
	}
	d.word("credentials for upstreams", was.Credentials.words(), now.Credentials.words())
	d.list("rule", ruleWords(was.Rules), ruleWords(now.Rules))
	d.word("load", was.Loaded().words(), now.Loaded().words())
	d.operations(was.Operations, now.Operations)
	d.list("exception", exceptionWords(was.Exceptions), exceptionWords(now.Exceptions))
	return d
}

type differ []string

func (d *differ) say(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (d *differ) word(what, was, now string) {
	switch {
	case was == now:
	case was == "":
		d.say("%s: now %s", what, now)
	case now == "":
		d.say("%s: no longer %s", what, was)
	default:
		d.say("%s: %s → %s", what, was, now)
	}
}

func (d *differ) list(what string, was, now []string) {
	for _, w := range was {
		if !slices.Contains(now, w) {
			d.say("%s removed: %s", what, w)
		}
	}
	for _, n := range now {
		if !slices.Contains(was, n) {
			d.say("%s added: %s", what, n)
		}
	}
}

func (d *differ) checks(prefix string, was, now map[sallyport.Stage]sallyport.Mode) {
	for _, s := range Stages() {
		d.word(prefix+"check "+string(s), string(was[s]), string(now[s]))
	}
}

func (d *differ) auth(was, now Auth) {
	var w, n []string
	for _, o := range was.OIDC {
		w = append(w, o.words())
	}
	for _, o := range now.OIDC {
		n = append(n, o.words())
	}
	d.list("issuer", w, n)
	w, n = nil, nil
	for _, k := range was.Keys {
		w = append(w, k.words())
	}
	for _, k := range now.Keys {
		n = append(n, k.words())
	}
	d.list("API key", w, n)
	for _, k := range now.Keys {
		for _, old := range was.Keys {
			if old.ID == k.ID && old.Hash != k.Hash {
				d.say("API key %s: replaced by another secret", k.ID)
			}
		}
	}
	d.word("API keys are read from", was.KeyIn.words(), now.KeyIn.words())
	if was.Pepper != now.Pepper {
		d.say("pepper of the API keys: changed")
	}
	d.word("tokens bound by", was.Binding.words(), now.Binding.words())
	d.word("proofs of possession", was.DPoP.words(), now.DPoP.words())
	w, n = nil, nil
	for _, c := range was.Certificates {
		w = append(w, c.words())
	}
	for _, c := range now.Certificates {
		n = append(n, c.words())
	}
	d.list("certificate", w, n)
	w, n = nil, nil
	for _, s := range was.Signatures {
		w = append(w, s.words())
	}
	for _, s := range now.Signatures {
		n = append(n, s.words())
	}
	d.list("signature", w, n)
	d.word("anonymous requests", was.Anonymous.words(), now.Anonymous.words())
	d.word("clock skew", durationWord(was.Skew), durationWord(now.Skew))
	d.word("failed credentials per client", was.Failures.String(), now.Failures.String())
}

func (d *differ) errors(prefix string, was, now Errors) {
	d.word(prefix+"errors", string(was.Mode), string(now.Mode))
	numbers := func(e Errors) (pass, status []string) {
		for _, s := range e.Pass {
			pass = append(pass, fmt.Sprint(s))
		}
		for _, s := range e.Status {
			status = append(status, fmt.Sprintf("%d as %d", s.From, s.To))
		}
		return pass, status
	}
	wp, ws := numbers(was)
	np, ns := numbers(now)
	d.list(prefix+"error status that passes", wp, np)
	d.list(prefix+"error status", ws, ns)
	d.word(prefix+"error bound", bytesWord(cmp.Or(was.Bound, DefaultErrors.Bound)), bytesWord(cmp.Or(now.Bound, DefaultErrors.Bound)))
	d.word(prefix+"time class of failed sign-ins", cmp.Or(was.TimeClass, DefaultErrors.TimeClass).String(), cmp.Or(now.TimeClass, DefaultErrors.TimeClass).String())
}

func loginWord(on bool) string {
	if on {
		return "answered alike"
	}
	return ""
}

func (d *differ) operations(was, now []OperationDemand) {
	find := func(list []OperationDemand, name string) (OperationDemand, bool) {
		i := slices.IndexFunc(list, func(o OperationDemand) bool { return o.Operation == name })
		if i < 0 {
			return OperationDemand{}, false
		}
		return list[i], true
	}
	one := func(name string, w, n OperationDemand) {
		d.word(name+": mode", string(w.Mode), string(n.Mode))
		d.errors(name+": ", w.Errors, n.Errors)
		d.word(name+": cache", fmt.Sprintf("%+v", w.Cache), fmt.Sprintf("%+v", n.Cache))
		d.word(name+": failures of signing in", loginWord(w.Login), loginWord(n.Login))
		d.checks(name+": ", w.Checks, n.Checks)
		d.list(name+": scope", w.Scopes, n.Scopes)
		d.list(name+": sensitive data of the kind", w.Sensitive, n.Sensitive)
		d.list(name+": acr", w.ACR, n.ACR)
		d.list(name+": rule", ruleWords(w.Rules), ruleWords(n.Rules))
		d.word(name+": greatest age of the sign-in", durationWord(w.MaxAge), durationWord(n.MaxAge))
		d.word(name+": anonymous requests", string(w.Anonymous), string(n.Anonymous))
		d.list(name+": limit", limitWords(w.Limits), limitWords(n.Limits))
		d.word(name+": price", priceWord(w.Price), priceWord(n.Price))
	}
	for _, w := range was {
		n, ok := find(now, w.Operation)
		if !ok {
			d.say("%s: own demands removed", w.Operation)
		}
		one(w.Operation, w, n)
	}
	for _, n := range now {
		if _, ok := find(was, n.Operation); !ok {
			d.say("%s: own demands added", n.Operation)
			one(n.Operation, OperationDemand{}, n)
		}
	}
}

func orObserve(m sallyport.Mode) string {
	if m == "" {
		m = sallyport.Observe
	}
	return string(m)
}

func orRecord(s Shadow) string {
	if s == "" {
		s = Record
	}
	return string(s)
}

func bytesWord(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func durationWord(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func priceWord(p float64) string {
	if p == 0 {
		return ""
	}
	return Quantity{Value: p}.String()
}

func limitWords(ls []Limit) []string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = l.String()
	}
	return out
}

func exceptionWords(es []Exception) []string {
	out := make([]string, len(es))
	for i, e := range es {
		where := e.Operation
		if where == "" || where == "*" {
			where = "all operations"
		}
		if e.Place != "" {
			where += ", " + e.Place
		}
		out[i] = fmt.Sprintf("%s spares %s on %s until %s (%s: %s)", e.ID, e.Rule, where, e.Expires.Format(time.DateOnly), e.Owner, e.Reason)
	}
	return out
}

func (o OIDC) words() string {
	s := o.Issuer + " for audience " + o.Audience
	if len(o.Algorithms) > 0 {
		s += " by " + strings.Join(o.Algorithms, ", ")
	}
	if len(o.Types) > 0 {
		s += " of type " + strings.Join(o.Types, ", ")
	}
	if o.Profile != "" {
		s += " by profile " + string(o.Profile)
	}
	if i := o.Introspection.WithDefaults(); i.Enabled() {
		s += ", asked about opaque tokens as " + i.ClientID + ", answers holding " + i.Cache.String()
		if i.AnyAudience {
			s += ", audience or not"
		}
		if i.JWT == On {
			s += ", about JWTs too"
		}
	}
	if len(o.Clients) > 0 {
		s += " of clients " + strings.Join(o.Clients, ", ")
	}
	return s
}

func (k Key) words() string {
	s := k.ID + " for " + k.Subject
	if len(k.Scopes) > 0 {
		s += " with " + strings.Join(k.Scopes, " ")
	}
	if !k.Expires.IsZero() {
		s += " until " + k.Expires.Format(time.DateOnly)
	}
	return s
}

func (b Binding) words() string {
	if b == "" {
		return "nothing demanded"
	}
	return string(b)
}

func (d DPoP) words() string {
	d = d.WithDefaults()
	s := "by " + strings.Join(d.Algorithms, ", ") + " within " + d.Window.String()
	if d.Nonce {
		s += " with a nonce"
	}
	if len(d.Origins) > 0 {
		s += " for " + strings.Join(d.Origins, ", ")
	}
	return s
}

func (c Certificate) words() string {
	s := c.ID + " is " + cmp.Or(c.URI, c.DNS, c.Subject)
	if len(c.Scopes) > 0 {
		s += " with " + strings.Join(c.Scopes, " ")
	}
	return s
}

// WithDefaults fills what is not given: the header X-API-Key.
func (k KeyIn) WithDefaults() KeyIn {
	if k.In == "" {
		k.In = sallyport.InHeader
	}
	if k.Name == "" {
		k.Name = "X-API-Key"
	}
	return k
}

func (k KeyIn) words() string {
	k = k.WithDefaults()
	return string(k.In) + " " + k.Name
}

func (a Anonymous) words() string {
	if a == ByContract {
		return "by contract"
	}
	return string(a)
}
