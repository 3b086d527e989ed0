package guard

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/limit"
	"sallyport.dev/guard/signed"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

var (
	refusedUnknown   = &Refusal{Kind: KindNotFound, Action: sallyport.ActionRefuse, Stage: sallyport.StageIdentify}
	refusedInvalid   = &Refusal{Kind: KindInvalid, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}
	refusedTooLarge  = &Refusal{Kind: KindTooLarge, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}
	refusedMediaType = &Refusal{Kind: KindMediaType, Action: sallyport.ActionRefuse, Stage: sallyport.StageValidate}
	refusedForNow    = &Refusal{Kind: KindUnavailable, Action: sallyport.ActionRefuse, Stage: sallyport.StageAuthenticate, Header: [][2]string{{"Retry-After", "5"}}}
	refusedAttack    = &Refusal{Kind: KindRefused, Action: sallyport.ActionRefuse, Stage: sallyport.StageInspect}
)

// nobody is what holds where no API serves a request: it is refused whatever
// any policy says, for there is nowhere to send it.
var nobody = &operation{modes: [stages]sallyport.Mode{identify: sallyport.Enforce}}

func (s *Session) begin(now time.Time) Step {
	s.identify()
	if s.refusal != nil {
		return s.refuse()
	}
	if s.on(limiting) {
		s.count(s.op.perClient, now)
		if s.refusal != nil {
			return s.refuse()
		}
	}
	if s.signs() {
		return s.signedHead(now)
	}
	return s.authenticated(now)
}

// Resume goes on after the door has tried to fetch what Step.Fetch named,
// whether or not it succeeded.
func (s *Session) Resume(now time.Time) Step {
	if s.refusal != nil {
		return s.refuse()
	}
	return s.authenticated(now)
}

// authenticated goes on from authentication to the end of the head.
func (s *Session) authenticated(now time.Time) Step {
	if s.api.auth != nil && s.on(authenticate) {
		if key := s.authenticate(now); key.Issuer != "" {
			s.fetched = true
			return Step{Verb: Fetch, Fetch: key}
		}
		if s.refusal != nil {
			return s.refuse()
		}
		if s.on(authorise) {
			s.authorise(now)
			if s.refusal != nil {
				return s.refuse()
			}
		}
	}
	if !(s.op.spec == nil && s.preflight()) { // which carries no credentials
		if s.judge(s.op.ofHead, now); s.refusal != nil {
			return s.refuse()
		}
	}
	if s.on(limiting) {
		s.count(s.op.perOther, now)
		if s.refusal != nil {
			return s.refuse()
		}
	}
	// Parameters are read for inspection even when nobody validates them.
	if s.on(validate) || s.on(inspecting) {
		if s.op.spec != nil {
			s.op.spec.CheckParams(&s.check, &s.match, s.r.RawQuery, s.r.Header)
		} else {
			spec.ReadParams(&s.check, s.r.Path, s.r.RawQuery, s.r.Header)
		}
		if s.validated(); s.refusal != nil {
			return s.refuse()
		}
		if s.entry != nil {
			if s.entryHead(now); s.refusal != nil {
				return s.refuse()
			}
		}
		if s.on(inspecting) {
			s.inspectTarget()
			s.inspectParams(s.check.Params)
			if s.refusal != nil {
				return s.refuse()
			}
		}
	}
	return s.bodyRules(s.expectBody(), now)
}

// identify finds the API and the operation.
func (s *Session) identify() {
	s.op = nobody
	a := s.p.find(s.r.Host, s.r.Path)
	if a == nil {
		s.fault(identify, refusedUnknown, "api.unknown", sallyport.Place{In: sallyport.InTarget}, "", "no API is served at this host and path")
		return
	}
	s.api, s.op = a, a.unknown
	if s.entry = a.at(s.r.Path); s.entry != nil {
		s.op = s.entry.op
		return
	}
	if a.spec == nil {
		return
	}
	switch a.spec.Match(s.r.Method, s.r.Path, &s.match) {
	case spec.Found:
		if o := a.operations[s.match.Op]; o != nil {
			s.op = o
		}
	case spec.NoMethod:
		if !s.preflight() && s.on(identify) {
			s.fault(identify, methodRefusal(s.match.Allowed), "operation.method", sallyport.Place{In: sallyport.InMethod}, "",
				"the specification declares this path, but not for this method")
		}
	case spec.NoPath:
		if s.on(identify) && a.spec.Variant(s.r.Path) {
			s.fault(identify, refusedUnknown, "path.variant", sallyport.Place{In: sallyport.InTarget}, "",
				"some servers read this path as one that the specification declares, and its checks would be missing")
		}
		if s.on(identify) {
			mode := s.op.modes[identify]
			if a.shadow != policy.Refuse {
				mode = sallyport.Observe
			}
			s.add(identify, mode, refusedUnknown, "operation.undeclared", sallyport.Place{In: sallyport.InTarget}, "",
				"no specification declares this operation")
		}
	}
}

// preflight reports whether a browser asks whether it may ask (Fetch standard,
// CORS preflight): such a request never carries credentials.
func (s *Session) preflight() bool {
	return s.r.Method == http.MethodOptions && s.r.ContentLength == 0 &&
		len(s.r.Header["Origin"]) == 1 && len(s.r.Header["Access-Control-Request-Method"]) == 1
}

func methodRefusal(allowed []string) *Refusal {
	return &Refusal{Kind: KindMethod, Action: sallyport.ActionRefuse, Stage: sallyport.StageIdentify,
		Header: [][2]string{{"Allow", strings.Join(allowed, ", ")}}}
}

// authenticate proves who calls. When a key of a configured issuer is not in
// memory it is named, once, for the door to fetch.
func (s *Session) authenticate(now time.Time) FetchKey {
	if as := &s.r.As; as.id != nil && as.api == s.api.api.Name {
		s.id, s.credential = as.id, as.credential
		return FetchKey{}
	}
	header := s.r.Header["Authorization"]
	key, keys := "", 0
	if s.api.auth.Keys() {
		key, keys = s.apiKey()
	}
	bearer := len(header) > 0 && s.api.auth.Tokens()
	certificate := s.r.Certificate != nil && s.api.auth.Certificates()
	switch {
	case s.signed:
		s.signature(now)
	case len(header) > 1 || keys > 1 || bearer && keys > 0:
		s.unproven(authn.RuleSeveral)
	case bearer:
		token, ok := authn.Bearer(header[0])
		if !ok {
			if token, s.dpop = authn.DPoP(header[0]); !s.dpop {
				s.unproven(authn.RuleScheme)
				return FetchKey{}
			}
		}
		return s.bearer(token, now)
	case keys == 1:
		s.credential = sallyport.Place{In: s.api.keyIn.In, Name: s.api.keyIn.Name}
		if !s.mayFail(now) {
			return FetchKey{}
		}
		id, rule := s.api.auth.APIKey(key, now)
		if rule != "" {
			s.failed(rule, now)
			return FetchKey{}
		}
		s.id = id
	case certificate && s.certified(now):
	case !s.op.anonymous && !(s.op.spec == nil && s.preflight()):
		s.unproven(authn.RuleMissing)
	}
	return FetchKey{}
}

func (s *Session) bearer(token string, now time.Time) FetchKey {
	if s.api.auth.Opaque(token) {
		return s.opaque(token, now)
	}
	id, rule, found := s.api.auth.Cached(token, now)
	if !found {
		if rule = s.api.auth.Open(token, &s.token, now); rule == "" {
			if !s.mayFail(now) {
				return FetchKey{}
			}
			id, rule = s.api.auth.Prove(&s.token, now)
			if (rule == authn.RuleKey || rule == authn.RuleNoKeys) && !s.fetched {
				return FetchKey{Issuer: s.token.Issuer(), KeyID: s.token.KeyID()}
			}
		}
	}
	if rule == "" && s.api.auth.Asks(id) {
		if rule = s.api.auth.Active(token); rule == authn.RuleUnasked && !s.inquired {
			s.inquired = true
			return FetchKey{Issuer: s.api.auth.OpaqueIssuer(), Token: token}
		}
	}
	s.proven(id, rule, token, now)
	return FetchKey{}
}

// opaque goes by what the issuer has said about the token. When that is not in
// memory the token is named, once, for the door to ask about.
func (s *Session) opaque(token string, now time.Time) FetchKey {
	id, rule := s.api.auth.Introspected(token, &s.token, now)
	if rule == authn.RuleUnasked && !s.fetched {
		if !s.mayFail(now) {
			return FetchKey{}
		}
		return FetchKey{Issuer: s.api.auth.OpaqueIssuer(), Token: token}
	}
	s.proven(id, rule, token, now)
	return FetchKey{}
}

// proven takes over who a token is for, once its holder has been checked too.
func (s *Session) proven(id *authn.Identity, rule, token string, now time.Time) {
	if rule == "" && (s.dpop || !s.api.auth.Plain(id)) {
		if rule = s.held(id, token, now); s.refusal != nil {
			return
		}
	}
	if rule != "" {
		s.failed(rule, now)
		return
	}
	s.id = id
}

// held checks that the token is presented by its holder.
func (s *Session) held(id *authn.Identity, token string, now time.Time) (rule string) {
	if s.dpop && !s.mayFail(now) {
		return ""
	}
	return s.api.auth.Held(id, token, &authn.Presentation{
		DPoP: s.dpop, Proofs: s.r.Header["Dpop"], Certificate: s.r.Certificate,
		Method: s.r.Method, TLS: s.r.TLS, Host: s.r.Host, Target: s.r.Path,
	}, &s.token, now)
}

// certified proves the caller by the connection's certificate. It reports
// whether that settles the matter: a stranger may still come where anybody may.
func (s *Session) certified(now time.Time) bool {
	id, rule := s.api.auth.Certificate(s.r.Certificate, now)
	switch {
	case rule == "":
		s.id = id
	case s.op.anonymous:
		return false
	default:
		s.unproven(rule)
	}
	return true
}

// mayFail reports whether this client may still have a credential verified: the
// budget is of failures, and verification is what costs.
func (s *Session) mayFail(now time.Time) bool {
	if !s.on(limiting) {
		return true
	}
	ok, wait := s.p.counters.Take(limit.Key{Limit: s.api.failuresName, Addr: subnet(s.r.Client)}, s.api.failures, 0, now)
	if ok {
		return true
	}
	s.fault(limiting, throttled(wait), authn.RuleFailures, sallyport.Place{In: sallyport.InHeader, Name: "Authorization"}, "", authn.Describe(authn.RuleFailures))
	return s.refusal == nil
}

// failed records a credential that broke a rule, and charges the client for
// what was spent on it. Rules seen without any key cost nothing worth counting.
func (s *Session) failed(rule string, now time.Time) {
	switch rule {
	case signed.RuleWrong, signed.RuleDigest, signed.RuleReplayed, authn.RuleSignature, authn.RuleKey, authn.RuleKeyUnknown, authn.RuleProofSign, authn.RuleReplayed, authn.RuleInactive:
		s.p.counters.Take(limit.Key{Limit: s.api.failuresName, Addr: subnet(s.r.Client)}, s.api.failures, 1, now)
	}
	s.unproven(rule)
}

func (s *Session) unproven(rule string) {
	r, place := s.api.invalidCredential, sallyport.Place{In: sallyport.InHeader, Name: "Authorization"}
	switch {
	case rule == authn.RuleMissing:
		r, place = s.api.unauthenticated, sallyport.Place{}
	case rule == authn.RuleNoKeys || rule == authn.RuleUnasked || rule == authn.RuleProofsFull:
		r = refusedForNow
	case rule == authn.RuleStranger || rule == authn.RuleOutdated:
		r, place = s.api.unauthenticated, sallyport.Place{}
	case rule == authn.RuleProofNonce:
		r = withNonce(s.api.noNonce, s.p.proofs.Nonce(s.began))
		place.Name = "DPoP"
	case strings.HasPrefix(rule, "proof."):
		r, place.Name = s.api.invalidProof, "DPoP"
	case s.credential.In != "":
		r, place = s.api.unauthenticated, s.credential
	}
	s.fault(authenticate, r, rule, place, "", authn.Describe(rule))
}

// withNonce adds the nonce that the next proof must carry.
func withNonce(r *Refusal, nonce string) *Refusal {
	out := *r
	out.Header = append(r.Header[:len(r.Header):len(r.Header)], [2]string{"Dpop-Nonce", nonce})
	return &out
}

// apiKey gives the API key that was presented, and how often one was.
func (s *Session) apiKey() (key string, n int) {
	in, name := s.api.keyIn.In, s.api.keyIn.Name
	switch in {
	case sallyport.InHeader:
		if values := s.r.Header[http.CanonicalHeaderKey(name)]; len(values) > 0 {
			return values[0], len(values)
		}
	case sallyport.InQuery:
		for rest := s.r.RawQuery; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			k, v, _ := strings.Cut(pair, "=")
			if k = unescaped(k); k == name {
				key = unescaped(v)
				n++
			}
		}
	case sallyport.InCookie:
		for _, line := range s.r.Header["Cookie"] {
			for rest := line; rest != ""; {
				var pair string
				pair, rest, _ = strings.Cut(rest, ";")
				if k, v, _ := strings.Cut(strings.TrimSpace(pair), "="); k == name {
					key = strings.Trim(v, `"`)
					n++
				}
			}
		}
	}
	return key, n
}

func unescaped(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return out
}

// authorise checks the scopes that the operation needs. One alternative of the
// specification must be met, and all that the policy adds. Alternatives without
// scopes are met by API keys, certificates and signatures; a token meets them only when no alternative names
// scopes, for it cannot be told which scheme a scopeless alternative means.
func (s *Session) authorise(now time.Time) {
	if s.id == nil {
		if s.op.anonymous && len(s.op.scopes) > 0 {
			s.fault(authorise, s.api.unauthenticated, "scope.missing", sallyport.Place{}, "", "the operation needs a scope, and nobody was authenticated")
		}
		if s.op.anonymous && s.op.steps() {
			s.fault(authorise, s.op.stepUp, "acr.missing", sallyport.Place{}, "", "the operation asks how the user authenticated, and nobody did")
		}
		return
	}
	if len(s.op.acr) > 0 && !slices.Contains(s.op.acr, s.id.ACR) {
		s.fault(authorise, s.op.stepUp, "acr.insufficient", sallyport.Place{}, "", "the user has not authenticated in one of the ways that the operation asks for")
	}
	if s.op.maxAge > 0 && !s.id.Recent(s.op.maxAge, now) {
		s.fault(authorise, s.op.stepUp, "auth-time.too-old", sallyport.Place{}, "", "the user authenticated longer ago than the operation allows, or the token does not say when")
	}
	if !s.id.Has(s.op.scopes) || !s.meets(s.op.needs) {
		s.fault(authorise, s.op.forbidden, "scope.missing", sallyport.Place{}, "", "the credential has not the scopes that the operation needs")
	}
}

func (s *Session) meets(needs []need) bool {
	if len(needs) == 0 {
		return true
	}
	scoped := false
	for i := range needs {
		n := &needs[i]
		if n.nothing || len(n.scopes) > 0 && s.id.Has(n.scopes) {
			return true
		}
		scoped = scoped || len(n.scopes) > 0
	}
	if scoped && s.id.Principal.Kind == "oidc" {
		return false
	}
	for i := range needs {
		if len(needs[i].scopes) == 0 {
			return true
		}
	}
	return false
}

// validated turns the problems that the last check found into reasons.
func (s *Session) validated() {
	problems := s.check.Problems[s.seen:]
	s.seen = len(s.check.Problems)
	judged := (s.op.spec != nil || s.entry != nil) && s.on(validate)
	for i := range problems {
		p := &problems[i]
		if s.on(inspecting) && !(judged && s.op.modes[validate] == sallyport.Enforce) && s.blinds(p.Rule) {
			s.fault(inspecting, refusedUnreadable, p.Rule, p.Place, "", p.Detail)
		}
	}
	if !judged {
		return
	}
	for i := range problems {
		p := &problems[i]
		s.fault(validate, refusalFor(p.Rule), p.Rule, p.Place, "", p.Detail)
	}
	if s.api.undocumented == policy.Refuse && s.entry == nil {
		for _, place := range s.check.Undocumented {
			if place != s.credential {
				s.fault(validate, refusedInvalid, "parameter.undocumented", place, "", "no specification declares it")
			}
		}
	}
}

// blinds reports whether a problem keeps inspection from seeing values that the
// upstream may see: then it is inspection's affair as well, whoever validates.
func (s *Session) blinds(rule string) bool {
	switch rule {
	case "parameter.count", "multipart.syntax", "multipart.boundary":
		return true
	case "xml.root", "xml.item", "xml.space", "xml.duplicate":
		return false
	case "body.charset":
		return !likeASCII(s.contentType)
	}
	return strings.HasPrefix(rule, "xml.")
}

// likeASCII reports whether the character set of a media type writes ASCII as
// ASCII does, so that an attack can be seen in its bytes.
func likeASCII(contentType string) bool {
	_, set, found := strings.Cut(strings.ToLower(contentType), "charset")
	set = strings.TrimLeft(set, " =\t\"'")
	for _, known := range [...]string{"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "latin", "windows-125", "koi8-"} {
		if strings.HasPrefix(set, known) {
			return true
		}
	}
	return !found
}

// refusalFor chooses the kind of refusal for a rule of the specification.
func refusalFor(rule string) *Refusal {
	switch rule {
	case "body.media-type":
		return refusedMediaType
	case "json.bytes", "body.too-large":
		return refusedTooLarge
	}
	return refusedInvalid
}
