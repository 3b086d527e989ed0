package console_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/console"
	"sallyport.dev/console/api"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/observe/original"
	"sallyport.dev/spec"
	"sallyport.dev/store"
	"sallyport.dev/test/browser/scene"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// bench is a console over real rooms and a store of its own.
type bench struct {
	t       *testing.T
	store   *store.Store
	console *console.Console
	server  *httptest.Server
	record  *observe.Recorder
	sealer  *original.Sealer
	estate  *scene.Estate
	key     []byte
	log     *bytes.Buffer

	contract *spec.Set

	mu  sync.Mutex
	now time.Time // zero: the real clock
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.IsZero() {
		return time.Now()
	}
	return b.now
}

// later moves the console's clock.
func (b *bench) later(d time.Duration) {
	now := b.clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = now.Add(d)
}

type locked struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// open starts a bench on the dialect.
func open(t *testing.T, dialect store.Dialect) *bench {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &bench{t: t, key: make([]byte, store.KeySize), log: &bytes.Buffer{}, estate: scene.New(3, time.Now())}
	rand.Read(b.key)
	o := store.Options{Dir: t.TempDir(), Key: b.key}
	if dialect == store.Postgres {
		o.DatabaseURL = postgres.Database(t)
	}
	st, err := store.Open(ctx, o)
	must(t, err)
	journal, err := observe.OpenJournal(ctx, st, observe.JournalOptions{SampleOne: 1})
	must(t, err)
	catalogue, err := inventory.Open(ctx, st, inventory.Options{Pace: 50 * time.Millisecond})
	must(t, err)
	for _, a := range scene.APIs() {
		var ops []sallyport.Operation
		for _, c := range a.Contracts {
			ops = append(ops, c.Operation)
		}
		must(t, catalogue.Declare(ctx, a.API, ops))
		must(t, catalogue.Describe(ctx, a.Name, a.Contracts))
	}
	b.record, err = observe.NewRecorder(observe.RecorderOptions{Stream: st.Stream()})
	must(t, err)
	b.store = st
	b.sealer, err = original.NewSealer(st.Stream(), b.key, slog.New(slog.DiscardHandler))
	must(t, err)
	drawer, err := original.Open(ctx, st, b.key, original.Options{})
	must(t, err)
	b.console, err = console.New(ctx, console.Options{
		Store: st, Key: b.key, Journal: journal, Originals: drawer, Inventory: catalogue, Recorder: b.record, Engine: b.estate, Paces: b.estate,
		Build: console.Build{Version: "test"}, PasswordMemory: 1 << 10, Now: b.clock, Logger: slog.New(slog.NewTextHandler(&locked{b: b.log}, nil)),
	})
	must(t, err)
	b.contract, err = spec.Load(ctx, []spec.Source{{Path: "openapi.json", Data: b.console.Document()}}, spec.Options{})
	must(t, err)
	b.server = httptest.NewUnstartedServer(b.console.Handler())
	b.server.EnableHTTP2 = true
	b.server.StartTLS()
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{journal.Run, drawer.Run, catalogue.Run, b.console.Run} {
		running.Go(func() { run(ctx) })
	}
	t.Cleanup(func() {
		end, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		b.record.Close(end)
		b.sealer.Close(end)
		cancel()
		b.server.Close()
		running.Wait()
		st.Close()
	})
	return b
}

// both runs a test on SQLite and on PostgreSQL.
func both(t *testing.T, f func(t *testing.T, b *bench)) {
	for _, d := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(string(d), func(t *testing.T) { f(t, open(t, d)) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// browser is one browser: it keeps cookies.
type browser struct {
	b      *bench
	client *http.Client
}

func (b *bench) browser() *browser {
	jar, _ := cookiejar.New(nil)
	transport := b.server.Client().Transport
	return &browser{b, &http.Client{Transport: transport, Jar: jar, Timeout: 20 * time.Second}}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
}

// do calls the API; in, if not nil, is sent as JSON.
func (c *browser) do(method, path string, in any, header ...string) answer {
	c.b.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		must(c.b.t, err)
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequest(method, c.b.server.URL+path, body)
	must(c.b.t, err)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := c.client.Do(r)
	must(c.b.t, err)
	defer w.Body.Close()
	raw, err := io.ReadAll(w.Body)
	must(c.b.t, err)
	c.b.keepsContract(r, w, raw)
	return answer{w.StatusCode, w.Header, raw}
}

// keepsContract holds an answer against the document that describes it: the
// console is guarded by that document.
func (b *bench) keepsContract(r *http.Request, w *http.Response, body []byte) {
	b.t.Helper()
	var m spec.Match
	if b.contract.Match(r.Method, r.URL.EscapedPath(), &m) != spec.Found {
		return
	}
	var c spec.Check
	c.Reset()
	m.Op.CheckResponse(&c, w.StatusCode, w.Header)
	if len(body) > 0 {
		m.Op.CheckResponseBody(&c, w.StatusCode, w.Header.Get("Content-Type"), body)
	}
	for _, p := range c.Problems {
		b.t.Errorf("%s %s answered %d against its own document: %s %s: %s (%.300s)", r.Method, r.URL.Path, w.StatusCode, p.Place, p.Rule, p.Detail, body)
	}
	if len(c.Undocumented) > 0 {
		b.t.Errorf("%s %s answered with %v, which its document does not name", r.Method, r.URL.Path, c.Undocumented)
	}
}

func (c *browser) want(status int, method, path string, in any) answer {
	c.b.t.Helper()
	a := c.do(method, path, in)
	if a.status != status {
		c.b.t.Fatalf("%s %s: got %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

type object = map[string]any

const (
	passphrase = "plum kayak orbit fern"
	other      = "violet anvil moss tram"
)

// admin is a browser in which the first administrator is signed in.
func (b *bench) admin() *browser {
	b.t.Helper()
	c := b.browser()
	c.want(201, "POST", "/api/v1/setup", object{"token": b.setup(), "name": "anna", "password": passphrase})
	return c
}

func (b *bench) setup() string {
	b.t.Helper()
	path, err := b.console.Setup(context.Background())
	must(b.t, err)
	token, ok := strings.CutPrefix(path, "/setup#")
	if !ok {
		b.t.Fatalf("Setup gave %q, want /setup#…", path)
	}
	return token
}

// invited is a browser in which a new person of that role is signed in.
func (b *bench) invited(admin *browser, name, role string) (*browser, string) {
	b.t.Helper()
	var i struct {
		Path   string
		Person struct{ ID string }
	}
	admin.want(201, "POST", "/api/v1/people", object{"name": name, "role": role}).into(b.t, &i)
	c := b.browser()
	c.want(201, "POST", "/api/v1/setup", object{"token": strings.TrimPrefix(i.Path, "/setup#"), "password": other})
	return c, i.Person.ID
}

// An original is sealed for administrators, and each opening is on record.
func TestOriginals(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		admin := b.admin()
		viewer, _ := b.invited(admin, "vera", "viewer")
		var x *sallyport.Exchange
		var o original.Original
		for ok := false; !ok; {
			x = b.estate.Exchange(time.Now())
			o, ok = scene.Original(x)
		}
		b.record.Record(x)
		b.sealer.Seal(o)
		path := "/api/v1/decisions/" + x.ID
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			var detail struct{ Original bool }
			if a := viewer.do("GET", path, nil); a.status == 200 {
				if bytes.Contains(a.body, []byte("Limits.java")) {
					t.Fatalf("the decision shows the original: %s", a.body)
				}
				if a.into(t, &detail); detail.Original {
					break
				}
			}
			if time.Now().After(end) {
				t.Fatal("no original is kept")
			}
		}
		var opened struct {
			Status  int
			Body    string
			Headers []struct{ Name, Value string }
		}
		admin.want(200, "POST", path+"/original", nil).into(t, &opened)
		if opened.Status != 500 || opened.Body != string(o.Body) || len(opened.Headers) != 1 {
			t.Errorf("opened %+v", opened)
		}
		viewer.want(403, "POST", path+"/original", nil)
		b.browser().want(401, "POST", path+"/original", nil)
		admin.want(404, "POST", "/api/v1/decisions/01J00000000000000000000000/original", nil)
		var log struct {
			Entries []struct{ Name, Action, Target, Outcome string }
		}
		admin.want(200, "GET", "/api/v1/audit?limit=4", nil).into(t, &log)
		got := fmt.Sprint(log.Entries[:2])
		if want := fmt.Sprintf("[{vera access openOriginal refused} {anna original.open %s done}]", x.ID); got != want {
			t.Errorf("audit log %s, want %s", got, want)
		}
		admin.want(200, "GET", "/api/v1/audit?action=original.open", nil)
	})
}

func TestSetupLink(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		c := b.browser()
		first, second := b.setup(), b.setup()
		take := func(token, password string) answer {
			return c.do("POST", "/api/v1/setup", object{"token": token, "name": "Anna", "password": password})
		}
		if a := take(first, passphrase); a.status != 403 {
			t.Errorf("a link that a newer one replaced: got %d %s, want 403", a.status, a.body)
		}
		if a := take(second, "password1234"); a.status != 422 || bytes.Contains(a.body, []byte("password1234")) {
			t.Errorf("a password that is guessed early: got %d %s, want 422 without it", a.status, a.body)
		}
		b.later(61 * time.Minute)
		if a := take(second, passphrase); a.status != 403 {
			t.Errorf("a link older than an hour: got %d %s, want 403", a.status, a.body)
		}
		third := b.setup()
		for _, table := range []string{"console_invitation", "console_account"} {
			var rows []map[string]any
			must(t, b.store.DB().NewSelect().TableExpr(table).Scan(context.Background(), &rows))
			if strings.Contains(fmt.Sprint(rows), third) {
				t.Errorf("%s holds the link's token in clear", table)
			}
		}
		if a := take(third, passphrase); a.status != 201 {
			t.Fatalf("a good link: got %d %s, want 201", a.status, a.body)
		}
		if a := take(third, other); a.status != 403 {
			t.Errorf("a link that was used: got %d %s, want 403", a.status, a.body)
		}
		if path, err := b.console.Setup(context.Background()); err != nil || path != "" {
			t.Errorf("Setup with an administrator: got %q, %v, want none", path, err)
		}
		var me struct{ Name, Role string }
		c.want(200, "GET", "/api/v1/session", nil).into(t, &me)
		if me.Name != "anna" || me.Role != "admin" {
			t.Errorf("signed in as %+v, want anna, admin", me)
		}
	})
}

// Of many who take one link at once, one gets in.
func TestSetupLinkIsSingle(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		token := b.setup()
		got := make(chan int, 4)
		for i := range 4 {
			c := b.browser()
			go func() {
				got <- c.do("POST", "/api/v1/setup", object{"token": token, "name": fmt.Sprintf("anna%d", i), "password": passphrase}).status
			}()
		}
		made := 0
		for range 4 {
			if s := <-got; s == 201 {
				made++
			} else if s != 403 {
				t.Errorf("got %d, want 201 or 403", s)
			}
		}
		if made != 1 {
			t.Errorf("%d administrators were made from one link", made)
		}
	})
}

func TestSignIn(t *testing.T) {
	b := open(t, store.SQLite)
	admin := b.admin()
	_, id := b.invited(admin, "dora", "viewer")
	admin.want(200, "PATCH", "/api/v1/people/"+id, object{"disabled": true})
	c := b.browser()
	sign := func(name, password string) answer {
		return c.do("POST", "/api/v1/session", object{"name": name, "password": password})
	}
	var equal []byte
	for _, wrong := range [][2]string{{"anna", "violet anvil moss tra"}, {"nobody", passphrase}, {"dora", other}, {"anna", ""}} {
		a := sign(wrong[0], wrong[1])
		if wrong[1] == "" {
			if a.status != 422 {
				t.Errorf("no password: got %d, want 422", a.status)
			}
			continue
		}
		if a.status != 401 || equal != nil && !bytes.Equal(a.body, equal) {
			t.Errorf("%s: got %d %s, want 401 and the same answer as for others: %s", wrong[0], a.status, a.body, equal)
		}
		equal = a.body
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: a failed sign-in set a cookie", wrong[0])
		}
	}
	a := sign(" Anna ", passphrase)
	if a.status != 201 {
		t.Fatalf("sign in: got %d %s", a.status, a.body)
	}
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-sallyport=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie lacks %s: %s", part, cookie)
		}
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "__Host-sallyport="), ";")
	again := sign("anna", passphrase)
	if next := again.header.Get("Set-Cookie"); !strings.HasPrefix(next, "__Host-sallyport=") || strings.Contains(next, value) {
		t.Errorf("a sign-in kept the cookie: %s after %s", next, cookie)
	}
	old := b.browser().do("GET", "/api/v1/session", nil, "Cookie", "__Host-sallyport="+value)
	if old.status != 401 {
		t.Errorf("the cookie from before the rotation: got %d, want 401", old.status)
	}
	planted := b.browser().do("POST", "/api/v1/session", object{"name": "anna", "password": passphrase}, "Cookie", "__Host-sallyport=planted-by-another")
	if strings.Contains(planted.header.Get("Set-Cookie"), "planted-by-another") {
		t.Error("a planted cookie became a session")
	}
	c.want(204, "DELETE", "/api/v1/session", nil)
	c.want(401, "GET", "/api/v1/session", nil)
}

func TestAttemptsAreSpaced(t *testing.T) {
	b := open(t, store.SQLite)
	b.admin()
	c := b.browser()
	var last answer
	for range 12 {
		if last = c.do("POST", "/api/v1/session", object{"name": "nobody", "password": other}); last.status != 401 {
			break
		}
	}
	if last.status != 429 || last.header.Get("Retry-After") == "" {
		t.Fatalf("after many failures: got %d %s (Retry-After %q), want 429", last.status, last.body, last.header.Get("Retry-After"))
	}
	if got := c.do("POST", "/api/v1/session", object{"name": "anna", "password": passphrase}); got.status != 201 {
		t.Errorf("another account meanwhile: got %d %s, want 201", got.status, got.body)
	}
	b.later(31 * time.Second)
	if got := c.do("POST", "/api/v1/session", object{"name": "nobody", "password": other}); got.status != 401 {
		t.Errorf("after the wait: got %d %s, want 401", got.status, got.body)
	}
}

// operations are all operations of the document: path with its parameters
// filled in, method, access.
func operations(t *testing.T, document []byte) (list [][3]string) {
	t.Helper()
	var d struct {
		Paths map[string]map[string]struct {
			Access string `json:"x-access"`
		}
	}
	must(t, json.Unmarshal(document, &d))
	for path, methods := range d.Paths {
		for method, o := range methods {
			list = append(list, [3]string{strings.ToUpper(method), strings.ReplaceAll(strings.ReplaceAll(path, "people/{id}", "people/AAAAAAAAAAAAAAAAAAAAAAAAAA"), "{id}", "0123456789abcdef01234567"), o.Access})
		}
	}
	return list
}

func TestAccess(t *testing.T) {
	b := open(t, store.SQLite)
	admin := b.admin()
	viewer, _ := b.invited(admin, "vera", "viewer")
	nobody := b.browser()
	seen := map[string]int{}
	for _, o := range operations(t, b.console.Document()) {
		method, path, access := o[0], o[1], o[2]
		seen[access]++
		var in any
		if method != "GET" && method != "DELETE" {
			in = object{}
		}
		if got := nobody.do(method, path, in).status; access != "public" && access != "" && got != 401 {
			t.Errorf("%s %s without a session: got %d, want 401", method, path, got)
		}
		if access == "admin" {
			if a := viewer.do(method, path, in); a.status != 403 || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s as a viewer: got %d %s, want 403", method, path, a.status, a.body)
			}
		}
	}
	if seen["admin"] < 5 || seen["viewer"] < 10 || seen["public"] != 5 {
		t.Errorf("the document names %v operations by access", seen)
	}
	viewer.want(403, "GET", "/api/v1/sessions?all=true", nil)
	viewer.want(404, "DELETE", "/api/v1/sessions/0123456789abcdef01234567", nil)
	var refused struct {
		Entries []struct{ Action, Outcome, Name string }
	}
	admin.want(200, "GET", "/api/v1/audit?action=access", nil).into(t, &refused)
	if len(refused.Entries) < 5 || refused.Entries[0].Name != "vera" {
		t.Errorf("refused accesses are not in the audit log: %+v", refused.Entries)
	}
}

func TestForeignPages(t *testing.T) {
	b := open(t, store.SQLite)
	admin := b.admin()
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a neighbour", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://127.0.0.1:1"}, 403},
		{"an old browser elsewhere", []string{"Origin", "https://evil.example"}, 403},
		{"our own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", b.server.URL}, 201},
		{"a program", nil, 201},
	} {
		a := admin.do("POST", "/api/v1/people", object{"name": "x" + strings.ReplaceAll(c.name, " ", "-"), "role": "viewer"}, c.header...)
		if a.status != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, a.status, a.body, c.want)
		}
	}
	form, err := admin.client.Post(b.server.URL+"/api/v1/people", "text/plain", strings.NewReader(`{"name":"form","role":"admin"}`))
	must(t, err)
	form.Body.Close()
	if form.StatusCode != 415 {
		t.Errorf("a body that a form can send: got %d, want 415", form.StatusCode)
	}
}

func TestSessions(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		admin := b.admin()
		second := b.browser()
		second.want(201, "POST", "/api/v1/session", object{"name": "anna", "password": passphrase})
		viewer, id := b.invited(admin, "vera", "viewer")
		var list struct {
			Sessions []struct {
				ID, Name string
				Current  bool
			}
		}
		admin.want(200, "GET", "/api/v1/sessions", nil).into(t, &list)
		if len(list.Sessions) != 2 {
			t.Fatalf("one's own sessions: got %+v, want two", list.Sessions)
		}
		for _, s := range list.Sessions {
			if !s.Current {
				admin.want(204, "DELETE", "/api/v1/sessions/"+s.ID, nil)
			}
		}
		second.want(401, "GET", "/api/v1/session", nil)
		admin.want(200, "GET", "/api/v1/sessions?all=true", nil).into(t, &list)
		if len(list.Sessions) != 2 {
			t.Errorf("all sessions: got %+v, want anna's and vera's", list.Sessions)
		}

		// A change of one's password ends one's other sessions and moves this one.
		second.want(201, "POST", "/api/v1/session", object{"name": "anna", "password": passphrase})
		admin.want(403, "PUT", "/api/v1/session/password", object{"current": other, "next": "harp lemon quartz dune"})
		admin.want(422, "PUT", "/api/v1/session/password", object{"current": passphrase, "next": "annaannaanna"})
		admin.want(204, "PUT", "/api/v1/session/password", object{"current": passphrase, "next": "harp lemon quartz dune"})
		second.want(401, "GET", "/api/v1/session", nil)
		admin.want(200, "GET", "/api/v1/session", nil)
		b.browser().want(401, "POST", "/api/v1/session", object{"name": "anna", "password": passphrase})

		// Disabling ends sessions; the last administrator cannot go.
		admin.want(200, "PATCH", "/api/v1/people/"+id, object{"disabled": true})
		viewer.want(401, "GET", "/api/v1/overview", nil)
		var me struct{ ID string }
		admin.want(200, "GET", "/api/v1/session", nil).into(t, &me)
		admin.want(409, "PATCH", "/api/v1/people/"+me.ID, object{"disabled": true})
		admin.want(409, "PATCH", "/api/v1/people/"+me.ID, object{"role": "viewer"})

		// Roles count at once, in sessions that are open.
		admin.want(200, "PATCH", "/api/v1/people/"+id, object{"disabled": false, "role": "admin"})
		viewer.want(201, "POST", "/api/v1/session", object{"name": "vera", "password": other})
		viewer.want(200, "GET", "/api/v1/people", nil)
		admin.want(200, "PATCH", "/api/v1/people/"+id, object{"role": "viewer"})
		viewer.want(403, "GET", "/api/v1/people", nil)

		// Nobody at the desk.
		b.later(31 * time.Minute)
		admin.want(401, "GET", "/api/v1/session", nil)
	})
}

func TestAuditLog(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		ctx := context.Background()
		admin := b.admin()
		b.browser().want(401, "POST", "/api/v1/session", object{"name": "anna", "password": other})
		b.browser().want(401, "POST", "/api/v1/session", object{"name": passphrase, "password": other})
		for i := range 6 {
			admin.want(201, "POST", "/api/v1/people", object{"name": fmt.Sprintf("person%d", i), "role": "viewer"})
		}
		var log struct {
			Entries []struct {
				Seq                                   int64
				Name, Action, Target, Outcome, Client string
			}
		}
		admin.want(200, "GET", "/api/v1/audit", nil).into(t, &log)
		var acts []string
		for _, e := range log.Entries {
			acts = append(acts, e.Action+" "+e.Outcome+" "+e.Target)
			if e.Client == "" {
				t.Errorf("entry %d does not say from where", e.Seq)
			}
		}
		all := strings.Join(acts, "\n")
		for _, want := range []string{"invitation.take done anna", "session.create done anna", "session.create refused anna", "session.create refused unknown name", "account.add done person5"} {
			if !strings.Contains(all, want) {
				t.Errorf("the log lacks %q:\n%s", want, all)
			}
		}
		if strings.Contains(all, passphrase) || strings.Contains(b.log.String(), passphrase) {
			t.Error("what was typed as a name stands in a log: it was a password")
		}

		verify := func() (v struct {
			Intact  bool
			Checked int64
			Broken  int64
			Problem string
			Last    int64
		}) {
			admin.want(200, "GET", "/api/v1/audit/verification", nil).into(t, &v)
			return v
		}
		good := verify()
		if !good.Intact || good.Checked != int64(len(log.Entries)) {
			t.Fatalf("an untouched log: %+v, want intact with %d entries", good, len(log.Entries))
		}
		// Each alteration is undone before the next.
		for _, c := range []struct {
			name, do, undo string
			broken         int64
			says           string
		}{
			{"an altered field", "UPDATE console_audit SET target = 'nobody' WHERE seq = 5", "UPDATE console_audit SET target = 'person0' WHERE seq = 5", 5, "entry 5 was altered"},
			{"an altered time", "UPDATE console_audit SET at = at + 1 WHERE seq = 3", "UPDATE console_audit SET at = at - 1 WHERE seq = 3", 3, "entry 3 was altered"},
			{"a removed entry", "UPDATE console_audit SET seq = 1000 WHERE seq = 6", "UPDATE console_audit SET seq = 6 WHERE seq = 1000", 6, "entry 6 is missing"},
			{"a removed end", fmt.Sprintf("UPDATE console_audit SET seq = seq - 2000 WHERE seq > %d", good.Last-2), "UPDATE console_audit SET seq = seq + 2000 WHERE seq < 0", good.Last - 1, "are missing"},
			{"a head set back", "UPDATE console_audit_head SET seq = seq - 1", "UPDATE console_audit_head SET seq = seq + 1", 0, "the head was altered"},
		} {
			exec := func(q string) {
				t.Helper()
				if _, err := b.store.DB().ExecContext(ctx, q); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			if c.name == "an altered field" {
				var e struct{ Target string }
				must(t, b.store.DB().NewRaw("SELECT target FROM console_audit WHERE seq = 5").Scan(ctx, &e.Target))
				c.undo = strings.Replace(c.undo, "person0", e.Target, 1)
			}
			exec(c.do)
			if v := verify(); v.Intact || v.Broken != c.broken || !strings.Contains(v.Problem, c.says) {
				t.Errorf("%s: got %+v, want entry %d and %q", c.name, v, c.broken, c.says)
			}
			exec(c.undo)
			if v := verify(); !v.Intact {
				t.Fatalf("%s: undone, and still %+v", c.name, v)
			}
		}
	})
}

// Entries that are written at once by many make one chain.
func TestAuditLogUnderLoad(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		admin := b.admin()
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				admin.do("POST", "/api/v1/people", object{"name": fmt.Sprintf("p%02d", i), "role": "viewer"})
			})
		}
		wait.Wait()
		var v struct {
			Intact  bool
			Checked int64
			Problem string
		}
		admin.want(200, "GET", "/api/v1/audit/verification", nil).into(t, &v)
		if !v.Intact || v.Checked != 18 {
			t.Errorf("got %+v, want 18 entries, intact", v)
		}
	})
}

// stream follows server-sent events until a message of that name for which
// take reports true.
func (c *browser) stream(t *testing.T, path, name string, started func(), take func(data []byte) bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", c.b.server.URL+path, nil)
	must(t, err)
	w, err := (&http.Client{Transport: c.client.Transport, Jar: c.client.Jar}).Do(r)
	must(t, err)
	defer w.Body.Close()
	if w.StatusCode != 200 || w.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(w.Body)
		return fmt.Errorf("%s: got %d %s", path, w.StatusCode, b)
	}
	event := ""
	for s := bufio.NewReader(w.Body); ; {
		line, err := s.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		if started != nil {
			started()
			started = nil
		}
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			event = v
		} else if v, ok := strings.CutPrefix(line, "data: "); ok && event == name && take([]byte(v)) {
			return nil
		}
	}
}

func TestDecisionsAndInventory(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		admin := b.admin()
		var refused *sallyport.Exchange
		find := ""
		feed := func() {
			for i := range 300 {
				x := b.estate.Exchange(time.Now().Add(time.Duration(i-300) * time.Millisecond))
				if x.Decision.Stage == sallyport.StageInspect && refused == nil {
					copied := *x
					refused, find = &copied, x.ID
				}
				b.record.Record(x)
			}
		}
		// The live view shows what fits its filter, and nothing else.
		err := admin.stream(t, "/api/v1/decisions/live?action=refuse&stage=inspect", "decisions", feed, func(data []byte) bool {
			var batch struct {
				Decisions []struct{ ID, Action, Stage string }
			}
			must(t, json.Unmarshal(data, &batch))
			for _, d := range batch.Decisions {
				if d.Action != "refuse" || d.Stage != "inspect" {
					t.Errorf("the filtered live view shows %+v", d)
				}
			}
			return len(batch.Decisions) > 0
		})
		must(t, err)
		if refused == nil {
			t.Fatal("the scene has no refusal by inspect")
		}

		var one struct {
			Decision struct {
				ID, Path, Query, Stage string
				Status                 int
				Reasons                []struct{ Rule, In, Name, Class string }
			}
			Program string
		}
		admin.want(200, "GET", "/api/v1/decisions/"+find, nil).into(t, &one)
		if r := one.Decision.Reasons; one.Decision.Status != 403 || len(r) != 1 || r[0].Rule != "sqli.tautology" || r[0].Name != "q" || one.Program == "" {
			t.Errorf("the decision by its id: %+v", one)
		}
		admin.want(404, "GET", "/api/v1/decisions/01J00000000000000000000000", nil)
		admin.want(422, "GET", "/api/v1/decisions?client=nonsense.example", nil)
		admin.want(422, "GET", "/api/v1/decisions?client=1.2.3.4/99", nil)
		admin.want(422, "GET", "/api/v1/decisions?unknown=1", nil)

		var page struct {
			Decisions []struct{ ID, Action, Client string }
			Next      string
		}
		admin.want(200, "GET", "/api/v1/decisions?limit=20&client=192.0.2.0/24", nil).into(t, &page)
		if len(page.Decisions) != 20 || page.Next == "" {
			t.Fatalf("a page of history: %d decisions, next %q", len(page.Decisions), page.Next)
		}
		first := page.Decisions[0].ID
		admin.want(200, "GET", "/api/v1/decisions?limit=20&client=192.0.2.0/24&before="+page.Next, nil).into(t, &page)
		if len(page.Decisions) == 0 || page.Decisions[0].ID >= first {
			t.Errorf("the next page does not go on below the first")
		}

		// The inventory has counted them.
		var ops struct {
			Operations []struct {
				API, Key, Tier string
				Counts         struct{ Requests int64 }
			}
		}
		wait(t, "operations in the inventory", func() bool {
			admin.want(200, "GET", "/api/v1/operations?api=payments&sort=requests", nil).into(t, &ops)
			return len(ops.Operations) > 0 && ops.Operations[0].Counts.Requests > 0
		})
		var detail struct {
			Places []struct{ Name string }
			Users  []struct{ Principal string }
		}
		admin.want(200, "GET", "/api/v1/operation?api=payments&method=GET&template=/payments/v1/transfers", nil).into(t, &detail)
		if len(detail.Places) == 0 || len(detail.Users) == 0 {
			t.Errorf("one operation: %+v", detail)
		}
		admin.want(404, "GET", "/api/v1/operation?api=payments&method=GET&template=/absent", nil)

		var over struct {
			Totals    struct{ Requests, Refuse uint64 }
			Instances []struct{ Admission, Reason string }
			APIs      []struct{ Name, Team string }
			Programs  []struct{ Name string }
			Series    struct{ Times []int64 }
			Notices   []struct{ Rule string }
		}
		err = admin.stream(t, "/api/v1/overview/live?span=5m", "overview", nil, func(data []byte) bool {
			must(t, json.Unmarshal(data, &over))
			return over.Totals.Requests == 300
		})
		must(t, err)
		if over.Totals.Refuse == 0 || len(over.Instances) != 5 || over.Instances[2].Reason == "" || len(over.APIs) < 3 || len(over.Programs) != 2 || len(over.Series.Times) != 300 {
			t.Errorf("the overview: %+v", over)
		}
		var pools struct {
			Pools []struct {
				API       string
				Instances []struct{ URL string }
				Load      *struct {
					Limit   float64
					Classes []struct{ Shed int64 }
				}
			}
		}
		admin.want(200, "GET", "/api/v1/pools", nil).into(t, &pools)
		if len(pools.Pools) == 0 || len(pools.Pools[0].Instances) == 0 || pools.Pools[0].Load == nil || pools.Pools[0].Load.Limit != 24 || len(pools.Pools[0].Load.Classes) != 2 || pools.Pools[len(pools.Pools)-1].Load != nil {
			t.Errorf("the pools: %+v", pools)
		}
		for _, span := range []string{"1h", "1d"} {
			admin.want(200, "GET", "/api/v1/overview?span="+span, nil)
		}
		admin.want(422, "GET", "/api/v1/overview?span=7", nil)
		if len(over.Notices) != 2 || over.Notices[0].Rule != "upstream.plaintext" {
			t.Errorf("notices: %+v", over.Notices)
		}
		var list struct {
			Certificates []struct {
				Soon bool
				OCSP struct{ Status string }
			}
		}
		admin.want(200, "GET", "/api/v1/certificates", nil).into(t, &list)
		if len(list.Certificates) != 2 || !list.Certificates[0].Soon || list.Certificates[1].OCSP.Status != "good" {
			t.Errorf("certificates, first those that end first: %+v", list.Certificates)
		}
		b.browser().want(401, "GET", "/api/v1/certificates", nil)
	})
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("%s: not within 15 s", what)
}

func TestInventoryIsLive(t *testing.T) {
	b := open(t, store.SQLite)
	admin := b.admin()
	err := admin.stream(t, "/api/v1/inventory/live", "inventory", func() {
		go func() {
			for range 40 { // the watch may begin a moment after the headers
				b.record.Record(b.estate.Exchange(time.Now()))
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}, func(data []byte) bool {
		var n struct {
			Revision uint64
			APIs     []string
		}
		must(t, json.Unmarshal(data, &n))
		return n.Revision > 0 && len(n.APIs) > 0
	})
	must(t, err)
}

// A live view ends with its session.
func TestStreamEndsWithItsSession(t *testing.T) {
	b := open(t, store.SQLite)
	admin := b.admin()
	viewer, id := b.invited(admin, "vera", "viewer")
	err := viewer.stream(t, "/api/v1/decisions/live", "end", func() {
		admin.want(200, "PATCH", "/api/v1/people/"+id, object{"disabled": true})
	}, func([]byte) bool { return true })
	must(t, err)
}

func TestProblems(t *testing.T) {
	b := open(t, store.SQLite)
	c := b.admin()
	for _, x := range []struct {
		method, path string
		in           any
		want         int
	}{
		{"GET", "/api/v1/absent", nil, 404},
		{"GET", "/api/", nil, 404},
		{"DELETE", "/api/v1/overview", nil, 405},
		{"POST", "/api/v1/session", object{"name": "anna", "password": passphrase, "admin": true}, 422},
		{"POST", "/api/v1/session", []int{1}, 422},
		{"POST", "/api/v1/people", object{"name": "x y", "role": "viewer"}, 422},
		{"POST", "/api/v1/people", object{"name": "xy", "role": "root"}, 422},
		{"POST", "/api/v1/people", object{"name": "anna", "role": "viewer"}, 409},
		{"POST", "/api/v1/session", object{"name": "anna", "password": strings.Repeat("x", 20<<10)}, 413},
		{"GET", "/api/v1/decisions/%2e%2e", nil, 422},
	} {
		a := c.do(x.method, x.path, x.in)
		var p struct {
			Status int
			Title  string
			Errors []struct{ Value any }
		}
		if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil || a.status != x.want || p.Status != x.want || p.Title == "" {
			t.Errorf("%s %s: got %d %s %s, want %d as a problem document", x.method, x.path, a.status, a.header.Get("Content-Type"), a.body, x.want)
		}
		for _, e := range p.Errors {
			if e.Value != nil {
				t.Errorf("%s %s: the answer repeats what was sent: %s", x.method, x.path, a.body)
			}
		}
		if x.want == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", x.method, x.path)
		}
	}
}

func TestHeaders(t *testing.T) {
	b := open(t, store.SQLite)
	c := b.browser()
	for _, path := range []string{"/", "/api/v1/session", "/api/openapi.json", "/icon.svg"} {
		h := c.do("GET", path, nil).header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
		if p := h.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || !strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", path, p)
		}
		if strings.HasPrefix(path, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q, want no-store", path, h.Get("Cache-Control"))
		}
	}
	if got := c.do("GET", "/api/openapi.json", nil).body; !bytes.Equal(got, b.console.Document()) {
		t.Error("/api/openapi.json is not the document")
	}
}

func TestLimitsAndSuggestions(t *testing.T) {
	b := open(t, store.SQLite)
	c := b.admin()
	var limits struct {
		Limits []api.LimitView
		Total  int
	}
	must(t, json.Unmarshal(c.do("GET", "/api/v1/limits?api=payments&limit=1", nil).body, &limits))
	if limits.Total != 2 || len(limits.Limits) != 1 {
		t.Fatalf("%+v", limits)
	}
	if l := limits.Limits[0]; l.Refused != 41 || l.Counted != "together" || len(l.Nearest) != 2 || l.Nearest[0].Used != 1 || l.Window != 60 {
		t.Errorf("%+v", l)
	}
	var learned struct {
		Suggestions []api.SuggestionView
		Headroom    int
	}
	must(t, json.Unmarshal(c.do("GET", "/api/v1/limits/suggestions", nil).body, &learned))
	if len(learned.Suggestions) != 2 || learned.Headroom != 2 {
		t.Fatalf("%+v", learned)
	}
	if s := learned.Suggestions[0]; s.Suggested != 88 || s.P999 != 44 || len(s.Buckets) != 8 || fmt.Sprint(s.Current) != "[100/min per principal]" {
		t.Errorf("%+v", s)
	}
	for path, want := range map[string]int{"/api/v1/limits?limit=0": 422, "/api/v1/limits?limit=5000": 422, "/api/v1/limits/suggestions?other=1": 422} {
		if r := c.do("GET", path, nil); r.status != want && r.status != 400 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	if r := b.browser().do("GET", "/api/v1/limits", nil); r.status != 401 {
		t.Errorf("without a session: %d", r.status)
	}
}

func TestNewWantsItsRooms(t *testing.T) {
	if _, err := console.New(context.Background(), console.Options{}); err == nil {
		t.Error("a console without rooms was made")
	}
}
