// Package relay is a correct fixture API that signs in, searches, keeps webhooks
// and fetches URLs, and its mutants. In come requests as openapi.yaml describes
// them; out go the answers described there. It dials public addresses alone,
// and what injection would lead to is only acted in the mutants: nothing is
// ever executed, and no database is asked.
package relay

import (
	"context"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/rest"
)

// Document is the OpenAPI description of the API.
//
//go:embed openapi.yaml
var Document []byte

// Audience is what tokens for the API are made for.
const Audience = "relay"

// Password is that of alice, of the examples in the description.
const Password = "an example, not a secret"

// console is the one origin that browsers may call from.
const console = "https://console.example.test"

type webhook struct {
	Owner, URL string
	Events     []string
	Metadata   json.RawMessage
	Created    time.Time
}

type webhookView struct {
	ID       string          `json:"id"`
	URL      string          `json:"url"`
	Events   []string        `json:"events"`
	Metadata json.RawMessage `json:"metadata"`
	Created  string          `json:"created"`
}

type fetch struct {
	Owner, URL, State string
	Status            *int
}

type fetchView struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	State  string `json:"state"`
	Status *int   `json:"status"`
}

type account struct{ name, role, email, salt string }

type article struct {
	ID     int    `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author"`
	hidden bool
}

var articles = []article{
	{1, "Rivers of the north", "Ada", false},
	{2, "A short history of knots", "Ben", false},
	{3, "Rivers and their bridges", "Cleo", false},
	{4, "Accounts of the house", "Ada", true},
}

type api struct {
	defect.Options
	skip     rest.Skip
	tokens   *rest.Tokens
	bodies   *rest.Bodies
	limit    rest.Limit
	webhooks *rest.Table[webhook]
	fetches  *rest.Table[fetch]
	accounts []account
	secret   []byte // alice's password, hashed

	signInBody, resetBody, webhookBody, fetchBody, searchQuery *rest.Schema
}

// New starts the API with a webhook of alice and one of bob.
func New(o defect.Options) http.Handler {
	o.Fill()
	m := defect.Select(mutants, o.Mutant)
	skip := rest.Skip(m.Check())
	a := &api{Options: o, skip: skip, bodies: rest.NewBodies(skip),
		tokens:   &rest.Tokens{Key: o.Key, Audience: Audience, Now: o.Now, Skip: skip},
		limit:    rest.Limit{Burst: 20, Every: 500 * time.Millisecond, Now: o.Now},
		webhooks: rest.NewTable[webhook]("webhooks", skip), fetches: rest.NewTable[fetch]("fetches", skip),
		accounts: []account{{"alice", "user", "alice@example.test", "a"}}, secret: o.Derive(Password, "a")}
	if a.Dial == nil {
		a.Dial = a.dial
	}
	address := rest.Formatted("email")
	a.signInBody = rest.Object(rest.Needs("email", address), rest.Needs("password", rest.Text(1, 100))).Name("session", skip)
	a.resetBody = rest.Object(rest.Needs("email", rest.Formatted("email"))).Name("reset", skip)
	a.webhookBody = rest.Object(
		rest.Needs("url", rest.Formatted("uri")),
		rest.Needs("events", rest.List(1, 3, rest.OneOf("created", "changed", "removed")).Distinct()),
		rest.May("metadata", rest.Any().Or(map[string]any{})),
	).Name("webhook", skip)
	a.fetchBody = rest.Object(rest.Needs("url", rest.Formatted("uri"))).Name("fetch", skip)
	a.searchQuery = rest.Object(
		rest.Needs("q", rest.Text(1, 50)),
		rest.May("field", rest.OneOf("title", "author").Or("title")),
		rest.May("limit", rest.Integer(1, 50).Or(10)),
	).Name("search", skip)
	made := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	a.webhooks.Seed("00000000-0000-4000-8000-0000000000a1", webhook{"alice", "https://alice.example.com/hook", []string{"created"}, json.RawMessage("{}"), made})
	a.webhooks.Seed("00000000-0000-4000-8000-0000000000b1", webhook{"bob", "https://bob.example.com/hook", []string{"created"}, json.RawMessage("{}"), made})
	a.fetches.Seed("00000000-0000-4000-8000-0000000000c1", fetch{"alice", "https://example.com/", "failed", nil})
	return m.Wrap(cors(rest.Routes(
		rest.On("POST", "/sessions", a.signIn),
		rest.On("POST", "/password-resets", a.reset),
		rest.On("GET", "/me", a.me),
		rest.On("GET", "/search", a.search),
		rest.On("GET", "/webhooks", a.list),
		rest.On("POST", "/webhooks", a.create),
		rest.On("GET", "/webhooks/{webhookId}", a.read),
		rest.On("DELETE", "/webhooks/{webhookId}", a.remove),
		rest.On("POST", "/fetches", a.fetch),
		rest.On("GET", "/fetches/{fetchId}", a.readFetch),
	)), &a.Options)
}

// cors admits the console and nobody else, with credentials.
func cors(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		if r.Header.Get("Origin") == console {
			w.Header().Set("Access-Control-Allow-Origin", console)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
				w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				w.Header().Set("Access-Control-Max-Age", "600")
			}
		}
		h.ServeHTTP(w, r)
	})
}

type session struct {
	Token   string `json:"token"`
	Expires string `json:"expires"`
}

// signIn takes the same steps for an address that nobody has.
func (a *api) signIn(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Email, Password string }
	if err := a.bodies.Read(w, r, a.signInBody, &in); err != nil {
		return err
	}
	if !a.skip.Skips("signin.rate") {
		if err := a.limit.Take(in.Email); err != nil {
			return err
		}
	}
	who, known := a.find(in.Email)
	if !known {
		if a.skip.Skips("signin.text") {
			return rest.Fail(http.StatusUnauthorized, "there is no such user").With("WWW-Authenticate", `Bearer realm="api"`)
		}
		if a.skip.Skips("signin.status") {
			return rest.Fail(http.StatusNotFound, "no such user")
		}
	}
	right := false
	if known || !a.skip.Skips("signin.time") {
		right = subtle.ConstantTimeCompare(a.Derive(in.Password, who.salt), a.secret) == 1
	}
	if !known || !right {
		return rest.Fail(http.StatusUnauthorized, "address or password is wrong").With("WWW-Authenticate", `Bearer realm="api"`)
	}
	until := a.Now().Add(time.Hour)
	token := rest.Mint(a.Key, rest.Claims{Subject: who.name, Role: who.role, Audience: Audience, Issued: a.Now().Unix(), Expires: until.Unix()})
	return rest.WriteJSON(w, http.StatusCreated, session{token, until.UTC().Format(time.RFC3339)})
}

func (a *api) find(email string) (account, bool) {
	for _, x := range a.accounts {
		if x.email == email {
			return x, true
		}
	}
	return account{salt: "nobody"}, false
}

// reset says the same whether or not there is such an address.
func (a *api) reset(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Email string }
	if err := a.bodies.Read(w, r, a.resetBody, &in); err != nil {
		return err
	}
	if err := a.limit.Take("reset " + in.Email); err != nil {
		return err
	}
	if _, known := a.find(in.Email); !known && a.skip.Skips("reset.known") {
		return rest.Fail(http.StatusNotFound, "no such address")
	}
	return rest.WriteJSON(w, http.StatusAccepted, map[string]string{"message": "If the address is known, a letter is on its way."})
}

func (a *api) me(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, map[string]string{"name": who.Name, "role": who.Role})
}

type results struct {
	Query string    `json:"query"`
	Items []article `json:"items"`
}

func (a *api) search(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Q, Field string
		Limit    int
	}
	if err := a.searchQuery.Params(r, &q); err != nil {
		return err
	}
	hidden, err := a.inject(r.Context(), &q.Q)
	if err != nil {
		return err
	}
	out := results{q.Q, []article{}}
	for _, x := range articles {
		text := x.Title
		if q.Field == "author" {
			text = x.Author
		}
		if (hidden || !x.hidden && strings.Contains(strings.ToLower(text), strings.ToLower(q.Q))) && len(out.Items) < max(q.Limit, 1) {
			out.Items = append(out.Items, x)
		}
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	out := struct {
		Items []webhookView `json:"items"`
	}{[]webhookView{}}
	for _, row := range a.webhooks.List(func(h rest.Row[webhook]) bool { return a.mine(who, h.Value.Owner, "list") }) {
		out.Items = append(out.Items, view(row))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func view(r rest.Row[webhook]) webhookView {
	h := r.Value
	return webhookView{r.ID, h.URL, h.Events, h.Metadata, h.Created.UTC().Format(time.RFC3339)}
}

func (a *api) mine(who rest.Principal, owner, verb string) bool {
	return owner == who.Name || who.Admin() || a.skip.Skips("owner."+verb)
}

var errNotFound = rest.Fail(http.StatusNotFound, "no such resource")

func (a *api) create(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	var in struct {
		URL      string
		Events   []string
		Metadata json.RawMessage
	}
	if err := a.bodies.Read(w, r, a.webhookBody, &in); err != nil {
		return err
	}
	if !a.skip.Skips("webhook.guard") {
		if err := a.public(in.URL); err != nil {
			return err
		}
	}
	row, err := a.webhooks.Insert(a.ID(), webhook{who.Name, in.URL, in.Events, in.Metadata, a.Now()})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/webhooks/"+row.ID)
	return rest.WriteJSON(w, http.StatusCreated, view(row))
}

func (a *api) webhook(r *http.Request, verb string) (rest.Row[webhook], error) {
	who, err := a.tokens.Who(r)
	if err != nil {
		return rest.Row[webhook]{}, err
	}
	id, err := rest.PathID(r, "webhookId")
	if err != nil {
		return rest.Row[webhook]{}, err
	}
	row, ok := a.webhooks.Get(id)
	if !ok || !a.mine(who, row.Value.Owner, verb) {
		return row, errNotFound
	}
	return row, nil
}

func (a *api) read(w http.ResponseWriter, r *http.Request) error {
	row, err := a.webhook(r, "read")
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) error {
	row, err := a.webhook(r, "delete")
	if err != nil {
		return err
	}
	if err := a.webhooks.Delete(row.ID, nil); err != nil {
		return err
	}
	return rest.Empty(w)
}

func (a *api) fetch(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	var in struct{ URL string }
	if err := a.bodies.Read(w, r, a.fetchBody, &in); err != nil {
		return err
	}
	if err := a.public(in.URL); err != nil {
		return err
	}
	ctx, done := context.WithTimeout(r.Context(), 2*time.Second)
	defer done()
	f := fetch{who.Name, in.URL, "failed", nil}
	if status, err := a.Dial(ctx, in.URL); err == nil {
		f.State, f.Status = "done", &status
	}
	row, err := a.fetches.Insert(a.ID(), f)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/fetches/"+row.ID)
	return rest.WriteJSON(w, http.StatusCreated, fetchView{row.ID, f.URL, f.State, f.Status})
}

func (a *api) readFetch(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	id, err := rest.PathID(r, "fetchId")
	if err != nil {
		return err
	}
	row, ok := a.fetches.Get(id)
	if !ok || !a.mine(who, row.Value.Owner, "fetches") {
		return errNotFound
	}
	f := row.Value
	return rest.WriteJSON(w, http.StatusOK, fetchView{row.ID, f.URL, f.State, f.Status})
}

var errPrivate = rest.Invalid("/url", "public")

// public refuses URLs that are not of a public host: the addresses behind a
// name are checked again when it is dialled.
func (a *api) public(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil && !a.skip.Skips("url.userinfo") {
		return rest.Invalid("/url", "format")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if address, err := netip.ParseAddr(host); err == nil {
		if !a.global(address) && !a.skip.Skips("url.private") {
			return errPrivate
		}
		return nil
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	local := !strings.Contains(host, ".") || slices.Contains([]string{"localhost", "local", "internal"}, last)
	numeric := last != "" && strings.Trim(last, "0123456789abcdefx") == "" && last[0] >= '0' && last[0] <= '9'
	if local && !numeric && !a.skip.Skips("url.local") || numeric && !a.skip.Skips("url.numeric") {
		return errPrivate
	}
	return nil
}

var shared = netip.MustParsePrefix("100.64.0.0/10")

func (a *api) global(address netip.Addr) bool {
	address = address.Unmap()
	if a.skip.Skips("url.linklocal") && address.IsLinkLocalUnicast() {
		return true
	}
	return address.IsGlobalUnicast() && !address.IsPrivate() && !shared.Contains(address)
}

// dial asks a URL and gives the status; it follows no redirect.
func (a *api) dial(ctx context.Context, target string) (int, error) {
	d := net.Dialer{Timeout: 2 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		guarded := !strings.HasPrefix(string(a.skip), "url.")
		if err != nil || guarded && !a.global(to.Addr()) {
			return errors.New("not a public address")
		}
		return nil
	}}
	c := http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}
