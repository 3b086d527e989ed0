// Package vectors reads decision vectors: files that say, for a program and a
// request, what must be decided. In comes a file system with the files of
// guard/testdata; out go cases that any door can put to the same program, and
// tokens signed at run time by keys of this process. It decides nothing itself,
// and serves tests only: the guard's own, and those that put the same vectors
// through every door.
package vectors

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	yaml "go.yaml.in/yaml/v4"
	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// Now is the time of every vector.
var Now = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

// Issuer issues the tokens of the vectors, for Audience.
const (
	Issuer   = "https://idp.example.test"
	Audience = "items"
)

// A File is one program with the cases put to it, in order: what one case
// counts, the next one finds counted.
type File struct {
	Name    string  `yaml:"-"`
	About   string  `yaml:"about"`
	Program Program `yaml:"program"`
	Cases   []Case  `yaml:"cases"`

	document yaml.Node
}

// Program is the configuration of one API.
type Program struct {
	Spec   string     `yaml:"spec"` // file beside the folder of the vectors; "" = none
	Hosts  []string   `yaml:"hosts"`
	Path   string     `yaml:"path"`
	Policy policy.API `yaml:"policy"`
}

// A Case is one exchange and the decision expected.
type Case struct {
	Name    string   `yaml:"name"`
	Request Request  `yaml:"request"`
	Answer  *Answer  `yaml:"answer"`
	Expect  Decision `yaml:"expect"`
}

// A Request is what is sent.
type Request struct {
	Method  string      `yaml:"method"`
	Target  string      `yaml:"target"` // path and query, as on the wire
	Host    string      `yaml:"host"`   // "" = api.example.test
	Header  [][2]string `yaml:"header"`
	Body    string      `yaml:"body"`
	Fill    int         `yaml:"fill"`   // bytes of "x" put where the body says $FILL
	Client  string      `yaml:"client"` // "" = 192.0.2.7
	Bearer  *Token      `yaml:"bearer"`
	Repeat  int         `yaml:"repeat"` // send it so many times; the last one counts
	Chunked bool        `yaml:"chunked"`
	Upgrade bool        `yaml:"upgrade"`
}

// A Token is what a bearer token says; what is left out is as it should be.
type Token struct {
	Subject  string `yaml:"sub"`
	Scope    string `yaml:"scope"`
	Issuer   string `yaml:"iss"`
	Audience string `yaml:"aud"`
	Expires  int    `yaml:"expires"` // seconds from now; zero is 300
	Alg      string `yaml:"alg"`     // RS256, ES256 or EdDSA; anything else is only claimed
	KeyID    string `yaml:"kid"`
	Type     string `yaml:"typ"`
	By       string `yaml:"by"` // "stranger": signed by nobody's key; "nobody": not signed
}

// An Answer is what the upstream answers.
type Answer struct {
	Status int         `yaml:"status"`
	Header [][2]string `yaml:"header"`
	Body   string      `yaml:"body"`
}

// A Decision is what is expected of an exchange. It is written whole by -update.
type Decision struct {
	Action       string      `yaml:"action"`
	Stage        string      `yaml:"stage,omitempty"`
	Status       int         `yaml:"status,omitempty"`
	Kind         string      `yaml:"kind,omitempty"`
	Header       [][2]string `yaml:"header,omitempty"`
	Operation    string      `yaml:"operation,omitempty"`
	Principal    string      `yaml:"principal,omitempty"`
	Reasons      []string    `yaml:"reasons,omitempty"` // "enforce inspect sqli.tautology at query q"
	NotInspected []string    `yaml:"not_inspected,omitempty"`
	Undocumented []string    `yaml:"undocumented,omitempty"`
	NewStatus    bool        `yaml:"new_status,omitempty"`
}

// Load reads every file of folder.
func Load(fsys fs.FS, folder string) ([]*File, error) {
	names, err := fs.Glob(fsys, path.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var out []*File
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		f := &File{Name: strings.TrimSuffix(path.Base(name), ".yaml")}
		if err := yaml.Unmarshal(text, &f.document); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := f.document.Decode(f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// Update gives the file's text with what is expected of each case replaced; all
// else, comments included, stays.
func (f *File) Update(got []Decision) ([]byte, error) {
	cases := member(f.document.Content[0], "cases")
	for i, c := range cases.Content {
		var n yaml.Node
		if err := n.Encode(got[i]); err != nil {
			return nil, err
		}
		if old := member(c, "expect"); old != nil {
			*old = n
			continue
		}
		c.Content = append(c.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "expect"}, &n)
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&f.document); err != nil {
		return nil, err
	}
	return []byte(b.String()), e.Close()
}

func member(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// Config is the guard's configuration for the file's program; name names its API.
func (f *File) Config(fsys fs.FS, name string) (guard.Config, error) {
	a := guard.API{
		API:    sallyport.API{Name: name, Hosts: f.Program.Hosts, Path: f.Program.Path},
		Policy: f.Program.Policy,
	}
	if f.Program.Spec != "" {
		text, err := fs.ReadFile(fsys, f.Program.Spec)
		if err != nil {
			return guard.Config{}, err
		}
		set, err := spec.Load(context.Background(), []spec.Source{{Path: f.Program.Spec, Data: text}}, spec.Options{})
		if err != nil {
			return guard.Config{}, fmt.Errorf("load %s: %w", f.Program.Spec, err)
		}
		a.Spec = set
	}
	return guard.Config{Name: "vectors", APIs: []guard.API{a}, Keys: keys()}, nil
}

// Head is the request's head as a door hands it over, with its body.
func (r *Request) Head(id string) (*guard.Request, []byte) {
	target, query, _ := strings.Cut(r.Target, "?")
	body := []byte(strings.Replace(r.Body, "$FILL", strings.Repeat("x", r.Fill), 1))
	out := &guard.Request{
		ID: id, Door: "vectors", Method: or(r.Method, http.MethodGet), Host: or(r.Host, "api.example.test"), Path: target, RawQuery: query,
		Proto: "HTTP/1.1", Header: header(r.Header), Client: netip.MustParseAddr(or(r.Client, "192.0.2.7")), ContentLength: int64(len(body)),
	}
	out.Peer, out.Upgrade = out.Client, r.Upgrade
	if r.Bearer != nil {
		out.Header.Set("Authorization", "Bearer "+r.Bearer.sign())
	}
	if r.Chunked {
		out.ContentLength = -1
	}
	return out, body
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func header(pairs [][2]string) http.Header {
	h := http.Header{}
	for _, p := range pairs {
		h.Add(p[0], p[1])
	}
	return h
}

// Put steps one case through the program as a door does, and gives the decision.
func Put(p *guard.Program, c *Case) Decision {
	var d Decision
	for i := range max(1, c.Request.Repeat) {
		r, body := c.Request.Head(fmt.Sprintf("%026d", i))
		d = step(p, r, body, c.Answer)
	}
	return d
}

func step(p *guard.Program, r *guard.Request, body []byte, answer *Answer) Decision {
	s, next := p.Begin(r, Now)
	if next.Verb == guard.Fetch {
		next = s.Resume(Now)
	}
	if next.Verb == guard.Proceed && (next.Body == guard.BodyWhole || next.Body == guard.BodySample) {
		next = s.RequestBody(body[:min(int64(len(body)), next.BodyLimit+1)], Now)
	}
	refusal := next.Refusal
	o := guard.Outcome{RequestBytes: int64(len(body))}
	if refusal == nil && answer != nil {
		next = s.Response(answer.Status, header(answer.Header), Now)
		if next.Verb == guard.Proceed && (next.Body == guard.BodyWhole || next.Body == guard.BodySample) {
			next = s.ResponseBody([]byte(answer.Body)[:min(int64(len(answer.Body)), next.BodyLimit+1)], Now)
		}
		refusal = next.Refusal
		o.Status, o.Origin = answer.Status, answer.Status
	}
	if refusal != nil {
		o.Status = refusal.Status
	}
	return Describe(s.End(o, Now), refusal)
}

// Describe puts an exchange's decision into the form that vectors expect.
func Describe(x *sallyport.Exchange, r *guard.Refusal) Decision {
	d := Decision{
		Action: string(x.Decision.Action), Stage: string(x.Decision.Stage), Status: x.Decision.Status,
		NotInspected: x.Decision.NotInspected, NewStatus: x.NewStatus,
	}
	if r != nil {
		d.Kind, d.Header = r.Name, r.Header
	}
	if x.Template != "" {
		d.Operation = x.Operation().Key()
	}
	if !x.Principal.Anonymous() {
		d.Principal = x.Principal.String()
	}
	for _, reason := range x.Decision.Reasons {
		s := fmt.Sprintf("%s %s %s", reason.Mode, reason.Stage, reason.Rule)
		if reason.Place.In != "" {
			s += " at " + reason.Place.String()
		}
		if reason.Class != "" {
			s += " as " + reason.Class
		}
		if reason.Exception != "" {
			s += " spared by " + reason.Exception
		}
		d.Reasons = append(d.Reasons, s)
	}
	for _, p := range x.Undocumented {
		d.Undocumented = append(d.Undocumented, p.String())
	}
	slices.Sort(d.Undocumented)
	return d
}

// ring is the keys of Issuer, made at run time.
type ring struct {
	rsa, stranger *rsa.PrivateKey
	ec            *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
}

var keys = sync.OnceValue(func() *ring {
	r := &ring{}
	var errs [4]error
	r.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	r.stranger, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	r.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, r.ed, errs[3] = ed25519.GenerateKey(rand.Reader)
	for _, err := range errs {
		if err != nil {
			panic(err)
		}
	}
	return r
})

// Key implements guard.KeySource.
func (r *ring) Key(issuer, kid, alg string) (any, bool) {
	if issuer != Issuer {
		return nil, false
	}
	switch kid {
	case "RS256":
		return &r.rsa.PublicKey, true
	case "ES256":
		return &r.ec.PublicKey, true
	case "EdDSA":
		return r.ed.Public().(ed25519.PublicKey), true
	}
	return nil, false
}

func (t *Token) sign() string {
	alg := or(t.Alg, "RS256")
	expires := t.Expires
	if expires == 0 {
		expires = 300
	}
	claims := map[string]any{"iss": or(t.Issuer, Issuer), "sub": or(t.Subject, "alice"), "aud": or(t.Audience, Audience),
		"exp": Now.Unix() + int64(expires), "iat": Now.Unix() - 30}
	if t.Scope != "" {
		claims["scope"] = t.Scope
	}
	signed := part(map[string]any{"alg": alg, "kid": or(t.KeyID, alg), "typ": or(t.Type, "JWT")}) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(t.signature(alg, signed))
}

func part(m map[string]any) string {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (t *Token) signature(alg, signed string) []byte {
	r, sum := keys(), sha256.Sum256([]byte(signed))
	switch {
	case t.By == "nobody":
		return []byte{0}
	case alg == "EdDSA":
		return ed25519.Sign(r.ed, []byte(signed))
	case alg == "ES256":
		x, y, err := ecdsa.Sign(rand.Reader, r.ec, sum[:])
		if err != nil {
			panic(err)
		}
		return append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	}
	key := r.rsa
	if t.By == "stranger" {
		key = r.stranger
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return sig
}

// HashOf gives the hash under which policy.Key knows an API key.
func HashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}
