package rest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Principal is who asks.
type Principal struct {
	Name string
	Role string // user or admin
}

// Admin reports whether the principal has the role of an administrator.
func (p Principal) Admin() bool { return p.Role == "admin" }

// Claims of a bearer token (RFC 7519).
type Claims struct {
	Subject  string `json:"sub"`
	Role     string `json:"role"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// Tokens reads and makes bearer tokens: JWTs signed with HS256. Its checks are
// named token.present, token.alg, token.signature, token.stripped,
// token.audience and token.expiry.
type Tokens struct {
	Key      []byte
	Audience string
	Now      func() time.Time
	Skip     Skip
}

// Mint signs a token.
func Mint(key []byte, c Claims) string {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(body)
	return signed + "." + encode(sign(key, signed))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(key []byte, s string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return m.Sum(nil)
}

// Who gives the principal of a request or fails with 401.
func (t *Tokens) Who(r *http.Request) (Principal, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if t.Skip.Skips("token.present") && r.Header.Get("Authorization") == "" {
			return Principal{"alice", "user"}, nil
		}
		return Principal{}, unauthenticated("")
	}
	c, ok := t.read(token)
	if !ok {
		return Principal{}, unauthenticated(`, error="invalid_token"`)
	}
	return Principal{c.Subject, c.Role}, nil
}

func unauthenticated(reason string) error {
	return Fail(http.StatusUnauthorized, "a valid bearer token is needed").With("WWW-Authenticate", `Bearer realm="api"`+reason)
}

func (t *Tokens) read(token string) (c Claims, ok bool) {
	part := strings.Split(token, ".")
	if len(part) != 3 || len(token) > 4096 {
		return c, false
	}
	var head struct{ Alg string }
	if b, err := base64.RawURLEncoding.Strict().DecodeString(part[0]); err != nil || json.Unmarshal(b, &head) != nil {
		return c, false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(part[2])
	if err != nil {
		return c, false
	}
	valid := head.Alg == "HS256" && hmac.Equal(signature, sign(t.Key, part[0]+"."+part[1]))
	switch {
	case t.Skip.Skips("token.alg") && strings.EqualFold(head.Alg, "none"),
		t.Skip.Skips("token.stripped") && len(signature) == 0 && head.Alg == "HS256",
		t.Skip.Skips("token.signature") && len(signature) > 0:
		valid = true
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(part[1]); err != nil || json.Unmarshal(b, &c) != nil {
		return c, false
	}
	current := t.Now().Unix() < c.Expires || t.Skip.Skips("token.expiry")
	meant := c.Audience == t.Audience || t.Skip.Skips("token.audience")
	return c, valid && current && meant && c.Subject != "" && slices.Contains([]string{"user", "admin"}, c.Role)
}

// An Identity is somebody whom the fixtures know, with tokens that are good and
// that are not.
type Identity struct {
	Name, Role                    string
	Token, Expired, OtherAudience string
}

// Identities are alice and bob, who are users, and root, an administrator; the
// tokens are good for a day.
func Identities(key []byte, audience string, now time.Time) []Identity {
	list := []Identity{{Name: "alice", Role: "user"}, {Name: "bob", Role: "user"}, {Name: "root", Role: "admin"}}
	for i := range list {
		id := &list[i]
		c := Claims{id.Name, id.Role, audience, now.Unix(), now.Add(24 * time.Hour).Unix()}
		id.Token = Mint(key, c)
		c.Audience = "other"
		id.OtherAudience = Mint(key, c)
		c.Audience, c.Issued, c.Expires = audience, now.Add(-48*time.Hour).Unix(), now.Add(-time.Hour).Unix()
		id.Expired = Mint(key, c)
	}
	return list
}

// NewUUID is a random identifier (RFC 9562 version 4).
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// NewKey is a random signing key.
func NewKey() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// Derive is the slow hash of a password: PBKDF2 with HMAC-SHA-256.
func Derive(password, salt string) []byte {
	b, err := pbkdf2.Key(sha256.New, password, []byte(salt), 60_000, 32)
	if err != nil {
		panic(err)
	}
	return b
}
