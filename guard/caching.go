package guard

import (
	"net/textproto"
	"slices"
	"strings"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// cacheOf is what may be stored of an operation's answers, nil: nothing. The
// headers that the specification declares for it are part of the key.
func cacheOf(o *spec.Operation, c policy.Cache) *policy.Cache {
	if c.Mode != policy.On {
		return nil
	}
	for _, name := range o.KeyHeaders() {
		if name = textproto.CanonicalMIMEHeaderKey(name); !slices.Contains(c.Headers, name) {
			c.Headers = append(slices.Clone(c.Headers), name)
		}
	}
	slices.Sort(c.Headers)
	return &c
}

// caches reports whether anything of the API may be stored.
func (a *api) cachesAny() bool {
	if a.unknown.cache != nil {
		return true
	}
	for _, o := range a.operations {
		if o.cache != nil {
			return true
		}
	}
	return false
}

// Caching is what may be stored of the answers to this request, nil: nothing.
// It is shared and must not be changed. Only declared operations, and paths that
// the policy names, are ever stored.
func (s *Session) Caching() *policy.Cache {
	if s.op == nil || s.entry != nil || s.op.cache == nil {
		return nil
	}
	if s.op.spec == nil && s.op.cache.Under(canonicalPath(s.r.Path)) == nil {
		return nil
	}
	return s.op.cache
}

// Changes reports whether the API has stored answers that this request, when it
// is not a safe one, makes out of date.
func (s *Session) Changes() bool { return s.api != nil && s.api.stores }

// Storable reports whether the contract, or the policy in its place, has an
// answer with this status and media type.
func (s *Session) Storable(status int, contentType string) bool {
	c := s.Caching()
	return c != nil && s.op.storable(c, s.r.Path, status, contentType)
}

// Storing is Storable for use after the session has ended.
func (s *Session) Storing() func(status int, contentType string) bool {
	c, op, path := s.Caching(), s.op, s.r.Path
	return func(status int, contentType string) bool {
		return c != nil && op.storable(c, path, status, contentType)
	}
}

func (o *operation) storable(c *policy.Cache, path string, status int, contentType string) bool {
	switch {
	case contentType == "" && (status == 204 || status >= 300 && status < 400): // no content
		return o.spec == nil || o.spec.Declares(status, "")
	case o.spec == nil:
		return policy.Holds(c.Under(canonicalPath(path)), contentType)
	case len(c.Types) > 0:
		return policy.Holds(c.Types, contentType)
	}
	return o.spec.Declares(status, contentType)
}

// Authority names the proven caller with everything that its credential allows, so
// that two requests with the same name may be given the same answer: "" when
// nobody is proven, or when the request carries a second credential besides.
func (s *Session) Authority() string {
	if s.id == nil || s.id.Principal.Anonymous() {
		return ""
	}
	if s.secondCredential() {
		return "" // the upstream may go by that
	}
	p := s.id.Principal
	scopes := slices.Clone(s.id.Scopes)
	slices.Sort(scopes)
	return strings.Join([]string{p.Kind, p.Issuer, p.Subject, p.Client, p.Actor, s.id.ACR, strings.Join(scopes, " "), s.id.Standing(claimsOf)}, "\x01")
}

// secondCredential reports whether the request carries anything that may be a
// credential besides the one that proved the caller: nobody has looked at it, and
// the upstream may.
func (s *Session) secondCredential() bool {
	h := s.r.Header
	if len(h["Authorization"]) > 0 && s.id.Principal.Kind != "oidc" {
		return true
	}
	if cookies := h["Cookie"]; len(cookies) > 0 && (s.credential.In != sallyport.InCookie || len(cookies) > 1 || strings.Contains(cookies[0], ";")) {
		return true
	}
	own := ""
	if s.credential.In == sallyport.InHeader {
		own = textproto.CanonicalMIMEHeaderKey(s.credential.Name)
	}
	for name := range h {
		if name != own && secretName(name) {
			return true
		}
	}
	return false
}

// secretName reports whether a header looks by its name like one that holds a
// credential. Those of proofs, and the ones that every request may have, do not.
func secretName(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Dpop": // looked at for themselves
		return false
	case "Proxy-Authorization":
		return true
	}
	l := strings.ToLower(name)
	for _, word := range [...]string{"api-key", "apikey", "api_key", "token", "auth", "session", "secret", "passw", "credential"} {
		if strings.Contains(l, word) {
			return true
		}
	}
	return false
}

// Credentialed reports whether the request carries anything that may be a
// credential, proven or not.
func (s *Session) Credentialed() bool {
	h := s.r.Header
	if s.id != nil && !s.id.Principal.Anonymous() || s.r.Certificate != nil || s.credential != (sallyport.Place{}) {
		return true
	}
	if len(h["Authorization"]) > 0 || len(h["Cookie"]) > 0 {
		return true
	}
	for name := range h {
		if secretName(name) {
			return true
		}
	}
	if s.api == nil || s.op.demands() {
		return true
	}
	switch in, name := s.api.keyIn.In, s.api.keyIn.Name; in {
	case sallyport.InHeader:
		return len(h[textproto.CanonicalMIMEHeaderKey(name)]) > 0
	case sallyport.InQuery:
		return strings.Contains(s.r.RawQuery, name+"=")
	}
	return false
}

// demands reports whether the specification lets nobody in without a credential,
// wherever that is carried.
func (o *operation) demands() bool {
	return len(o.needs) > 0 && !slices.ContainsFunc(o.needs, func(n need) bool { return n.nothing })
}
