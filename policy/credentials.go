package policy

import (
	"slices"
	"strings"
)

// Credentials are what requests carry to the upstreams of an API: credentials
// of the gateway's own, so that no service holds keys, and who calls. The zero
// value passes the caller's own on, and says nothing.
type Credentials struct {
	OAuth2   OAuth2       `yaml:"oauth2" doc:"A token of our own, by client credentials (RFC 6749, section 4.4), fetched and renewed ahead."`
	Exchange OAuth2       `yaml:"exchange" doc:"The caller's token exchanged for one of the upstream's (RFC 8693)."`
	Header   SecretHeader `yaml:"header" doc:"A header with a secret, such as an API key."`
	Basic    Basic        `yaml:"basic" doc:"Name and password (RFC 7617)."`
	// Authorization says what becomes of the caller's own credential, its
	// Authorization, DPoP and key headers; "" drops it where one of ours takes its place.
	Authorization Passing `yaml:"authorization" enum:"drop|pass" doc:"What becomes of the caller's own credential. Default: dropped where a credential of ours is sent, else passed."`
	Principal     Naming  `yaml:"principal" enum:"header|jwt" doc:"How the upstream is told who calls: by X-Sallyport-Principal and its like, or by a signed token in X-Sallyport-Identity. Default: not."`
}

// Passing says what becomes of a caller's own credential.
type Passing string

// The ways to treat a caller's own credential.
const (
	Drop Passing = "drop"
	Pass Passing = "pass"
)

// Naming says how an upstream is told who calls.
type Naming string

// The ways to tell an upstream who calls.
const (
	ByHeader Naming = "header"
	ByJWT    Naming = "jwt"
)

// OAuth2 is one client at a token endpoint.
type OAuth2 struct {
	Issuer   string   `yaml:"issuer" doc:"Issuer whose discovery document names the token endpoint."`
	TokenURL string   `yaml:"token_url" doc:"Token endpoint, in place of issuer."`
	ClientID string   `yaml:"client_id" doc:"Who asks."`
	Secret   string   `yaml:"secret" doc:"Its secret, as env:NAME or file:PATH."`
	Key      string   `yaml:"private_key_jwt" doc:"In place of a secret: its private key (RFC 7523), PEM, as file:PATH or env:NAME."`
	KeyID    string   `yaml:"key_id" doc:"kid that the issuer knows the key by."`
	Scope    []string `yaml:"scope" doc:"Scopes asked for."`
	Audience string   `yaml:"audience" doc:"audience asked for."`
	Resource string   `yaml:"resource" doc:"resource asked for (RFC 8707)."`
}

// Stated reports whether anything is said.
func (o OAuth2) Stated() bool {
	return o.Issuer != "" || o.TokenURL != "" || o.ClientID != "" || o.Secret != "" || o.Key != "" || o.KeyID != "" || len(o.Scope) > 0 || o.Audience != "" || o.Resource != ""
}

// SecretHeader is one header with a secret.
type SecretHeader struct {
	Name  string `yaml:"name" doc:"Name of the header."`
	Value string `yaml:"value" doc:"Its value, as env:NAME or file:PATH."`
}

// Basic is a name and its password.
type Basic struct {
	User     string `yaml:"user" doc:"Name."`
	Password string `yaml:"password" doc:"Password, as env:NAME or file:PATH."`
}

// Own reports whether requests carry a credential of ours.
func (c Credentials) Own() bool {
	return c.OAuth2.Stated() || c.Exchange.Stated() || c.Header.Name != "" || c.Basic != (Basic{})
}

// Stated reports whether anything is changed on the way to the upstream.
func (c Credentials) Stated() bool { return c.Own() || c.Authorization == Drop || c.Principal != "" }

// DropsCaller reports whether the caller's own credential stays behind.
func (c Credentials) DropsCaller() bool {
	return c.Authorization == Drop || c.Authorization == "" && c.Own()
}

func (c Credentials) words() string {
	var w []string
	if c.OAuth2.Stated() {
		w = append(w, "token of client "+c.OAuth2.ClientID)
	}
	if c.Exchange.Stated() {
		w = append(w, "exchanged by client "+c.Exchange.ClientID)
	}
	if c.Header.Name != "" {
		w = append(w, "header "+c.Header.Name)
	}
	if c.Basic.User != "" {
		w = append(w, "user "+c.Basic.User)
	}
	if c.DropsCaller() {
		w = append(w, "the caller's stays behind")
	}
	if c.Principal != "" {
		w = append(w, "caller named by "+string(c.Principal))
	}
	if len(w) == 0 {
		return "the caller's own"
	}
	return strings.Join(w, ", ")
}

func (m *Mistakes) credentials(a API) {
	c := a.Credentials
	oneOf(m, "credentials.authorization", c.Authorization, Drop, Pass)
	oneOf(m, "credentials.principal", c.Principal, ByHeader, ByJWT)
	inAuthorization := 0
	for _, g := range []struct {
		name string
		OAuth2
	}{{"oauth2", c.OAuth2}, {"exchange", c.Exchange}} {
		if !g.Stated() {
			continue
		}
		inAuthorization++
		m.grant("credentials."+g.name, g.OAuth2)
	}
	if c.Exchange.Stated() && len(a.Auth.OIDC) == 0 {
		m.add("credentials.exchange", "auth.oidc names no issuer whose tokens could be exchanged")
	}
	if c.Basic != (Basic{}) {
		inAuthorization++
		if c.Basic.User == "" || strings.Contains(c.Basic.User, ":") {
			m.add("credentials.basic.user", "%q: want a name without a colon (RFC 7617)", c.Basic.User)
		}
		m.reference("credentials.basic.password", c.Basic.Password)
	}
	if h := c.Header; h != (SecretHeader{}) {
		switch {
		case h.Name == "" || strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }):
			m.add("credentials.header.name", "%q is not the name of a header", h.Name)
		case slices.ContainsFunc([]string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Expect", "X-Request-Id"}, func(n string) bool { return strings.EqualFold(n, h.Name) }),
			strings.HasPrefix(strings.ToLower(h.Name), "x-forwarded-"), strings.HasPrefix(strings.ToLower(h.Name), "x-sallyport-"):
			m.add("credentials.header.name", "%q is set by the gateway itself", h.Name)
		case strings.EqualFold(h.Name, "Authorization"):
			inAuthorization++
		}
		m.reference("credentials.header.value", h.Value)
	}
	if inAuthorization > 1 {
		m.add("credentials", "several want the header Authorization; choose one of oauth2, exchange, basic and a header of that name")
	}
	if inAuthorization > 0 && c.Authorization == Pass {
		m.add("credentials.authorization", "the caller's Authorization cannot pass where ours takes its place")
	}
}

// reference checks a secret that must stand elsewhere.
func (m *Mistakes) reference(path, ref string) {
	if !strings.HasPrefix(ref, "env:") && !strings.HasPrefix(ref, "file:") {
		m.add(path, "want env:NAME or file:PATH: secrets never stand in the configuration")
	}
}

func (m *Mistakes) grant(p string, g OAuth2) {
	switch {
	case (g.Issuer == "") == (g.TokenURL == ""):
		m.add(p, "want either issuer or token_url")
	case g.Issuer != "":
		if err := CheckIssuer(g.Issuer); err != nil {
			m.add(p+".issuer", "%v", err)
		}
	default:
		if err := CheckIssuer(g.TokenURL); err != nil {
			m.add(p+".token_url", "%v", err)
		}
	}
	if g.ClientID == "" {
		m.add(p+".client_id", "missing")
	}
	switch {
	case (g.Secret == "") == (g.Key == ""):
		m.add(p, "want either secret or private_key_jwt")
	case g.Secret != "":
		m.reference(p+".secret", g.Secret)
	default:
		m.reference(p+".private_key_jwt", g.Key)
	}
	m.scopes(p+".scope", g.Scope)
	if g.Resource != "" && !strings.Contains(g.Resource, ":") {
		m.add(p+".resource", "%q: want an absolute URI (RFC 8707)", g.Resource)
	}
}
