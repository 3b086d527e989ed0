package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/gateway/http1"
	"sallyport.dev/guard"
	tokens "sallyport.dev/identity" // identity is a coding here
)

// An Onward is what the requests of an API carry to its upstreams about who
// calls, and as whom the gateway calls. It is immutable once it is in a pool.
type Onward struct {
	Tokens   *tokens.Grants // where OAuth2 and Exchange come from
	OAuth2   *tokens.Grant  // a token of our own in Authorization
	Exchange *tokens.Grant  // the caller's token, exchanged, in Authorization
	Set      []http1.Field  // secrets that do not change
	Drop     []string       // request headers of the caller's that stay behind
	// Name tells the upstream by headers who calls; Sign by a token in
	// X-Sallyport-Identity, whose audience is the API's name.
	Name bool
	Sign Signer

	drop map[string]bool // folded, with the names that are set
}

// A Signer makes a JWT of a type from claims; *tokens.Signer is one.
type Signer interface {
	Sign(typ string, claims map[string]any) (string, error)
}

// The headers that tell an upstream who calls. A client's own never pass.
const (
	headerPrincipal = "X-Sallyport-Principal"
	headerClient    = "X-Sallyport-Client"
	headerActor     = "X-Sallyport-Actor"
	headerScope     = "X-Sallyport-Scope"
	headerIdentity  = "X-Sallyport-Identity"
)

// identityLife is how long a token that names a caller is good for.
const identityLife = time.Minute

// prepared is a copy that requests can share.
func (o *Onward) prepared() *Onward {
	if o == nil {
		return nil
	}
	p := *o
	p.drop = map[string]bool{}
	for _, name := range p.Drop {
		p.drop[fold(name)] = true
	}
	for _, f := range p.Set {
		p.drop[fold(f.Name)] = true
	}
	if p.OAuth2 != nil || p.Exchange != nil {
		p.drop["authorization"] = true
	}
	return &p
}

// drops reports whether a request header of the caller's stays behind.
func (o *Onward) drops(name string) bool { return o != nil && o.drop[fold(name)] }

// setOut is goOnward where there is anything to put, and once.
func (p *passage) setOut() bool {
	o := p.lane.onward
	return o == nil || p.onward != nil || p.goOnward(o)
}

// goOnward puts into p.more what the upstream is to get. It reports whether the
// request can go on; if not, it has been answered.
func (p *passage) goOnward(o *Onward) bool {
	p.onward = o
	p.more = append(p.more[:0], p.fields[:]...)
	p.more = append(p.more, o.Set...)
	token, scopes := p.ses.Proven()
	if o.Name || o.Sign != nil {
		if err := p.name(o, scopes); err != nil {
			p.refuse(guard.KindInternal, nil, forwardReason("identity.unsigned", "the caller's name could not be signed"))
			return false
		}
	}
	if o.OAuth2 == nil && o.Exchange == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(p.r.Context(), p.g.o.Bounds.FetchTime)
	defer cancel()
	var err error
	if o.OAuth2 != nil {
		token, err = o.Tokens.Token(ctx, *o.OAuth2)
	} else if token != "" {
		token, err = o.Tokens.Exchange(ctx, *o.Exchange, token)
	} else {
		p.refuse(guard.KindForbidden, nil, forwardReason("credential.no-token", "the upstream wants the caller's token exchanged, and no verified token came"))
		return false
	}
	switch {
	case err == nil:
		p.more = append(p.more, http1.Field{Name: "Authorization", Value: "Bearer " + token})
		return true
	case errors.Is(err, tokens.ErrExchange):
		p.refuse(guard.KindForbidden, nil, forwardReason("credential.refused", "the issuer does not exchange the caller's token for the upstream's"))
	default:
		p.g.o.Log.Debug("credential for the upstream", "request", p.id, "error", err)
		p.refuse(guard.KindUnavailable, retrySoon, forwardReason("credential.unavailable", "there is no token for the upstream, and none could be fetched"))
	}
	return false
}

// name tells the upstream who calls.
func (p *passage) name(o *Onward, scopes []string) error {
	who := p.ses.Principal()
	if who.Anonymous() {
		return nil
	}
	if o.Name {
		for _, f := range []http1.Field{{Name: headerPrincipal, Value: who.String()}, {Name: headerClient, Value: who.Client},
			{Name: headerActor, Value: who.Actor}, {Name: headerScope, Value: strings.Join(scopes, " ")}} {
			if f.Value != "" {
				f.Value = headerText(f.Value)
				p.more = append(p.more, f)
			}
		}
	}
	if o.Sign == nil {
		return nil
	}
	now := p.g.o.Now()
	claims := map[string]any{"iss": "sallyport", "aud": p.ses.API().Name, "sub": who.String(), "jti": p.id, "iat": now.Unix(), "exp": now.Add(identityLife).Unix(),
		"kind": who.Kind, "subject": who.Subject}
	for name, v := range map[string]string{"issuer": who.Issuer, "client_id": who.Client, "scope": strings.Join(scopes, " ")} {
		if v != "" {
			claims[name] = v
		}
	}
	if who.Actor != "" {
		claims["act"] = map[string]string{"sub": who.Actor}
	}
	token, err := o.Sign.Sign("sallyport-identity+jwt", claims)
	if err == nil {
		p.more = append(p.more, http1.Field{Name: headerIdentity, Value: token})
	}
	return err
}

// headerText writes s so that it can stand in a header: whatever is not
// printable ASCII, and the percent sign, as %XX.
func headerText(s string) string {
	plain := func(c byte) bool { return c > ' ' && c <= '~' && c != '%' || c == ' ' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) && strings.TrimSpace(s) == s {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) && (s[i] != ' ' || i > 0 && i < len(s)-1) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// extra are the fields that the upstream gets besides the client's.
func (p *passage) extra() []http1.Field {
	if p.onward != nil {
		return p.more
	}
	return p.fields[:]
}

// keep takes out of h what stays behind for the sake of our own credentials.
func (o *Onward) keep(h http.Header) {
	if o == nil {
		return
	}
	for name := range h {
		if o.drops(name) {
			delete(h, name)
		}
	}
}
