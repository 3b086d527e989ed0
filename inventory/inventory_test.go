package inventory_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/inventory"
	"sallyport.dev/observe"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
	"sallyport.dev/test/lab/linode"
)

func TestMain(m *testing.M) {
	if os.Getenv("INVENTORY_TEST_CHILD") != "" {
		child()
		return
	}
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// child is the process that TestKill kills: it counts until it dies.
func child() {
	key, err := hex.DecodeString(os.Getenv("INVENTORY_TEST_KEY"))
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Dir: os.Getenv("INVENTORY_TEST_CHILD"), Key: key, DatabaseURL: os.Getenv("INVENTORY_TEST_DB"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	v, err := inventory.Open(ctx, s, inventory.Options{Pace: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	d, err := discovery.Open(ctx, s, discovery.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	go func() { panic(d.Run(ctx)) }()
	panic(v.Run(ctx))
}

// onEach runs test on SQLite and on PostgreSQL.
func onEach(t *testing.T, test func(t *testing.T, o store.Options)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			o := store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
			rand.Read(o.Key)
			if kind == "postgres" {
				o.DatabaseURL = postgres.Database(t)
			}
			test(t, o)
		})
	}
}

func openStore(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openInventory(t testing.TB, s *store.Store, o inventory.Options) *inventory.Inventory {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	if o.Pace == 0 {
		o.Pace = time.Millisecond
	}
	if o.Now == nil {
		o.Now = func() time.Time { return start.Add(time.Hour) }
	}
	v, err := inventory.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func publish(t testing.TB, s *store.Store, subject string, e sallyport.Event) uint64 {
	t.Helper()
	for i := range e.Exchanges {
		e.Exchanges[i].Redacted = true
	}
	b, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	seq, err := s.Stream().Publish(t.Context(), subject, "", b)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// count runs v until everything up to seq is counted, and stops it.
func count(t testing.TB, v *inventory.Inventory, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	notices := v.Watch(ctx)
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	for {
		st, err := v.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Sequence >= seq {
			break
		}
		select {
		case <-notices:
		case err := <-done:
			t.Fatalf("run ended: %v", err)
		case <-time.After(50 * time.Millisecond): // batches without news give no notice
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("run: %v", err)
	}
}

var start = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func user(n int) sallyport.Principal {
	return sallyport.Principal{Kind: "oidc", Issuer: "https://idp.example.test", Subject: fmt.Sprintf("user-%d", n)}
}

// exchange is a plain one; edit changes it.
func exchange(n int, edit func(x *sallyport.Exchange)) sallyport.Exchange {
	x := sallyport.Exchange{ID: fmt.Sprintf("x%025d", n), Time: start.Add(time.Duration(n) * time.Millisecond), Duration: time.Duration(1+n%100) * time.Millisecond, Door: "gateway",
		API: "shop", Method: "GET", Template: "/items/{id}", Declared: true, Path: fmt.Sprintf("/items/%d", n), Query: "page=2&sort=x", TLS: true, Client: netip.MustParseAddr("192.0.2.1"),
		Principal: user(n % 3), Status: 200, Origin: 200, RequestBytes: 10, ResponseBytes: 100, Decision: sallyport.Decision{Action: sallyport.ActionAllow}}
	if edit != nil {
		edit(&x)
	}
	return x
}

var shop = sallyport.API{Name: "shop", Hosts: []string{"shop.example.test"}, Owner: sallyport.Owner{Team: "shop", Contact: "shop@example.test", Deputy: "sales"}, Department: "Retail", Exposure: sallyport.External}

var shopOperations = []sallyport.Operation{
	{API: "shop", Method: "GET", Template: "/items/{id}", Name: "getItem", Declared: true},
	{API: "shop", Method: "POST", Template: "/items", Name: "addItem", Declared: true},
}

func detail(t testing.TB, v *inventory.Inventory, api, key string) *inventory.Detail {
	t.Helper()
	d, err := v.Operation(t.Context(), api, key)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func api(t testing.TB, v *inventory.Inventory, name string) inventory.API {
	t.Helper()
	list, err := v.APIs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(a inventory.API) bool { return a.Name == name })
	if i < 0 {
		t.Fatalf("no API %q in %v", name, list)
	}
	return list[i]
}

func hint(a inventory.API, kind string) int {
	for _, h := range a.Hints {
		if h.Kind == kind {
			return h.Count
		}
	}
	return 0
}

func TestCounts(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		if err := v.Declare(t.Context(), shop, shopOperations); err != nil {
			t.Fatal(err)
		}
		contracts := []inventory.Contract{{Operation: shopOperations[0], Summary: "One item", Security: []string{"oidc"}, Statuses: []string{"200", "4XX"},
			Places: []inventory.DeclaredPlace{{Place: sallyport.Place{In: sallyport.InPath, Name: "id"}, Type: "integer", Required: true}, {Place: sallyport.Place{In: sallyport.InQuery, Name: "page"}, Type: "integer"},
				{Place: sallyport.Place{In: sallyport.InBody, Name: "/email"}, Response: true, Type: "string", Format: "email"}}}}
		if err := v.Describe(t.Context(), "shop", contracts); err != nil {
			t.Fatal(err)
		}
		var list []sallyport.Exchange
		for n := range 1000 {
			list = append(list, exchange(n, func(x *sallyport.Exchange) {
				switch {
				case n%10 == 0:
					x.Status, x.Origin = 503, 503
				case n%10 == 1:
					x.Status, x.Origin, x.Decision = 403, 0, sallyport.Decision{Action: sallyport.ActionRefuse, Stage: sallyport.StageInspect, Status: 403}
				case n == 999:
					x.Status, x.Origin, x.NewStatus = 302, 302, true
				}
				if n%100 == 5 {
					x.Undocumented = []sallyport.Place{{In: sallyport.InQuery, Name: "sort"}}
					x.Classes = []sallyport.DataClass{{Class: "email", Place: sallyport.Place{In: sallyport.InBody, Name: "/email"}, Response: true}}
					x.Shape = &sallyport.Shape{Response: []sallyport.Typed{{Pointer: "", Type: "object"}, {Pointer: "/email", Type: "string", Format: "email"}, {Pointer: "/n", Type: []string{"integer", "null"}[n/100%2]}}}
				}
			}))
		}
		var seq uint64
		for chunk := range slices.Chunk(list, 70) {
			seq = publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: chunk})
		}
		count(t, v, seq)

		d := detail(t, v, "shop", "GET /items/{id}")
		want := inventory.Counts{Requests: 1000, Refused: 100, Status2xx: 799, Status3xx: 1, Status4xx: 100, Status5xx: 100, RequestBytes: 10_000, ResponseBytes: 100_000}
		if d.Counts != want {
			t.Errorf("counts %+v\nwant   %+v", d.Counts, want)
		}
		if d.Tier != inventory.Matched || d.Name != "getItem" || d.Summary != "One item" || !d.Declared || d.TLS != 1000 || d.Plain != 0 || d.Anonymous != 0 || d.Principals != 3 {
			t.Errorf("got %+v", d)
		}
		if !d.FirstSeen.Equal(start) || !d.LastSeen.Equal(start.Add(999*time.Millisecond)) {
			t.Errorf("seen from %v to %v", d.FirstSeen, d.LastSeen)
		}
		if p := d.Latency.P50; p < 48*time.Millisecond || p > 53*time.Millisecond {
			t.Errorf("median %v, want about 50 ms", p)
		}
		places := map[string]inventory.Place{}
		for _, p := range d.Places {
			places[fmt.Sprint(p.Place, p.Response)] = p
		}
		if p := places["query page false"]; p.Count != 1000 || !p.Declared || p.Undocumented || p.Type != "integer" {
			t.Errorf("page: %+v", p)
		}
		if p := places["query sort false"]; p.Count != 1000 || p.Declared || !p.Undocumented {
			t.Errorf("sort: %+v", p)
		}
		if p := places["body /email true"]; p.Count != 10 || !p.Declared || p.Seen["string"] != 10 || p.SeenFormat != "email" || p.Format != "email" {
			t.Errorf("email: %+v", p)
		}
		if p := places["body /n true"]; p.Seen["integer"] != 5 || p.Seen["null"] != 5 {
			t.Errorf("n: %+v", p)
		}
		if p := places["path id false"]; p.Count != 0 || !p.Declared || !p.Required || !p.FirstSeen.IsZero() {
			t.Errorf("id: %+v", p)
		}
		got := fmt.Sprint(d.Undocumented)
		for _, s := range d.Statuses {
			got += fmt.Sprintf(" %d:%d:%v:%v", s.Code, s.Count, s.Declared, s.Undocumented)
		}
		if want := "2 200:799:true:false 302:1:false:true 403:100:true:false 503:100:false:false"; got != want {
			t.Errorf("statuses %s\nwant     %s", got, want)
		}
		if len(d.Consumers) != 3 || d.Consumers[0].Count+d.Consumers[1].Count+d.Consumers[2].Count != 1000 {
			t.Errorf("consumers %+v", d.Consumers)
		}
		if len(d.Found) != 1 || d.Found[0].Class != "email" || d.Found[0].Count != 10 || !slices.Equal(d.Classes, []string{"email"}) {
			t.Errorf("classes %+v %v", d.Found, d.Classes)
		}
		if len(d.Hours) != 1 || d.Hours[0].Requests != 1000 || d.Hours[0].Errors != 100 || d.Hours[0].Refused != 100 {
			t.Errorf("hours %+v", d.Hours)
		}
		a := api(t, v, "shop")
		if a.Counts != want || a.Operations != 2 || a.Declared != 2 || a.Seen != 1 || a.Shadow != 0 || a.Principals != 3 || a.Owner != shop.Owner || a.Exposure != sallyport.External {
			t.Errorf("API %+v", a)
		}
		if hint(a, "undocumented") != 1 || hint(a, "unused") != 1 || hint(a, "unowned") != 0 {
			t.Errorf("hints %+v", a.Hints)
		}

		// The same declaration again changes nothing; without an operation, that one is undeclared.
		before, _ := v.Changes(t.Context(), "*", 0, 1000)
		if err := errors.Join(v.Declare(t.Context(), shop, shopOperations), v.Describe(t.Context(), "shop", contracts)); err != nil {
			t.Fatal(err)
		}
		if after, _ := v.Changes(t.Context(), "*", 0, 1000); len(after) != len(before) {
			t.Errorf("%d changes after the same declaration, %d before", len(after), len(before))
		}
		if err := v.Declare(t.Context(), shop, shopOperations[1:]); err != nil {
			t.Fatal(err)
		}
		d = detail(t, v, "shop", "GET /items/{id}")
		if d.Declared || d.UndeclaredSince.IsZero() || d.Requests != 1000 || d.Tier != inventory.Corroborated || !d.Shadow() {
			t.Errorf("after it left the specification: %+v", d.Row)
		}
		if err := v.Declare(t.Context(), shop, shopOperations); err != nil {
			t.Fatal(err)
		}
		if d = detail(t, v, "shop", "GET /items/{id}"); !d.Declared || !d.UndeclaredSince.IsZero() || d.Tier != inventory.Matched {
			t.Errorf("after it came back: %+v", d.Row)
		}
		if _, err := v.Operation(t.Context(), "shop", "GET /nothing"); !errors.Is(err, sallyport.NotFound) {
			t.Errorf("unknown operation: %v", err)
		}
	})
}

func sighting(n int, template, path string, status int) sallyport.Sighting {
	return sallyport.Sighting{ID: fmt.Sprintf("s%025d", n), Time: start.Add(time.Duration(n) * time.Millisecond), API: "old", Method: "GET", Template: template, Path: path, Status: status, Origin: status,
		Principal: user(n), Reasons: []string{"{userId}: because"}, Duration: time.Millisecond, RequestBytes: 1, ResponseBytes: 2, Parameters: []sallyport.Place{{In: sallyport.InQuery, Name: "q"}},
		Classes: []sallyport.DataClass{{Class: "phone", Place: sallyport.Place{In: sallyport.InBody, Name: "/p"}, Response: true}}}
}

func TestSightingsMergeAndRepeat(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		one := sallyport.Event{Source: 1, Sightings: []sallyport.Sighting{sighting(1, "/users/ada", "/users/ada", 200), sighting(2, "/users/bob", "/users/bob", 200), sighting(3, "/users/ada", "/users/ada", 500)}}
		publish(t, s, sallyport.SubjectSighting, one)
		seq := publish(t, s, sallyport.SubjectSighting, one) // the same source twice
		count(t, v, seq)
		if d := detail(t, v, "old", "GET /users/ada"); d.Requests != 2 || d.Status5xx != 1 || d.Tier != inventory.SeenOnce || !d.Shadow() {
			t.Fatalf("before the merge %+v", d.Row)
		}
		third := sighting(4, "/users/{userId}", "/users/eve", 200)
		third.Replaces = []string{"/users/ada", "/users/bob"}
		merged := sallyport.Event{Source: 2, Sightings: []sallyport.Sighting{third, sighting(5, "/users/{userId}", "/users/tom", 200)}}
		seq = publish(t, s, sallyport.SubjectSighting, merged)
		count(t, v, seq)
		d := detail(t, v, "old", "GET /users/{userId}")
		want := inventory.Counts{Requests: 5, Status2xx: 4, Status5xx: 1, RequestBytes: 5, ResponseBytes: 10}
		if d.Counts != want || d.Tier != inventory.Corroborated || d.Principals != 4 || len(d.Consumers) != 5 || len(d.Reasons) != 1 {
			t.Errorf("after the merge %+v %+v %v", d.Row, d.Consumers, d.Reasons)
		}
		if !d.FirstSeen.Equal(start.Add(time.Millisecond)) || !d.LastSeen.Equal(start.Add(5*time.Millisecond)) {
			t.Errorf("seen from %v to %v", d.FirstSeen, d.LastSeen)
		}
		if len(d.Places) != 1 || d.Places[0].Count != 5 || len(d.Found) != 1 || d.Found[0].Count != 5 || d.Hours[0].Requests != 5 {
			t.Errorf("details %d %+v %+v", d.Places[0].Count, d.Found, d.Hours)
		}
		page, err := v.Operations(t.Context(), inventory.Filter{API: "old", Probed: true})
		if err != nil || len(page.Rows) != 1 {
			t.Errorf("%d rows, want the merged one alone: %v", len(page.Rows), err)
		}
		// A merge and its count in one batch with what came before it.
		seq = publish(t, s, sallyport.SubjectSighting, sallyport.Event{Source: 3, Sightings: []sallyport.Sighting{sighting(6, "/a/x", "/a/x", 200), {API: "old", Method: "GET", Template: "/a/{aId}", Replaces: []string{"/a/x"}, Time: start}, sighting(7, "/a/{aId}", "/a/y", 200)}})
		count(t, v, seq)
		if d := detail(t, v, "old", "GET /a/{aId}"); d.Requests != 2 {
			t.Errorf("merged in one batch: %+v", d.Row)
		}
		a := api(t, v, "old")
		if a.Shadow != 2 || a.Configured || hint(a, "unowned") != 1 {
			t.Errorf("API %+v", a)
		}
	})
}

var words = []string{"alpha", "beta-one", "gamma", "delta-3", "epsilon", "zeta-99", "eta", "theta"}

// both runs v and d until everything published is counted, sightings included.
func both(t testing.TB, s *store.Store, v *inventory.Inventory, d *discovery.Discovery) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- v.Run(ctx) }()
	go func() { done <- d.Run(ctx) }()
	for {
		st, err := s.Stream().Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, ok := st.Consumers["discovery"]
		b, ok2 := st.Consumers["inventory"]
		if ok && ok2 && a.Lag == 0 && b.Lag == 0 {
			if again, err := s.Stream().Stats(t.Context()); err == nil && again.Last == st.Last {
				break
			}
		}
		select {
		case err := <-done:
			t.Fatalf("run ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("run: %v", err)
		}
	}
}

// TestRecordedTraffic folds and counts a real API's traffic with no
// specification at all.
func TestRecordedTraffic(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(linode.Traffic))
	if err != nil {
		t.Fatal(err)
	}
	redactor, err := observe.NewRedactor(observe.RedactOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var list []sallyport.Exchange
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var r struct {
			Method, URL string
			Status      int
			Body        string `json:"resp_body"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		x := exchange(len(list), func(x *sallyport.Exchange) {
			x.API, x.Declared, x.Template, x.Method, x.Path, x.Query, x.Status, x.Origin = "linode", false, "", r.Method, u.EscapedPath(), u.RawQuery, r.Status, r.Status
			x.ResponseHeader, x.ResponseBody = []sallyport.Field{{Name: "Content-Type", Value: "application/json"}}, []byte(r.Body)
		})
		redactor.Redact(&x)
		list = append(list, x)
	}
	if err := lines.Err(); err != nil || len(list) != 2275 {
		t.Fatalf("%d exchanges: %v", len(list), err)
	}
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		d, err := discovery.Open(t.Context(), s, discovery.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for chunk := range slices.Chunk(list, 60) {
			publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: chunk})
		}
		both(t, s, v, d)
		a := api(t, v, "linode")
		if a.Requests != int64(len(list)) || a.Shadow < 271 || hint(a, "unowned") != 1 || len(a.Classes) == 0 {
			t.Errorf("API %+v", a)
		}
		want := map[string]int64{}
		total := int64(0)
		for _, l := range d.Templates("linode") {
			want[l.Method+" "+l.Template] = int64(l.Count)
			total += int64(l.Count)
		}
		page, err := v.Operations(t.Context(), inventory.Filter{API: "linode", Probed: true, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, r := range page.Rows {
			if r.Requests != want[r.Key()] {
				t.Errorf("%s: %d requests counted, discovery folded %d", r.Key(), r.Requests, want[r.Key()])
			}
			sum += r.Requests
		}
		if sum != int64(len(list)) || total != sum || len(page.Rows) != len(want) {
			t.Errorf("%d requests in %d rows, want %d in %d", sum, len(page.Rows), len(list), len(want))
		}
		t.Logf("%d operations (%d shadow, %d probed only), %d kinds of data: %v", len(page.Rows), a.Shadow, a.Probed, len(a.Classes), a.Classes)
		one := detail(t, v, "linode", "GET /v4beta/linode/instances/{instanceId}")
		if len(one.Reasons) != 1 || len(one.Places) < 10 || one.Tier != inventory.Corroborated {
			t.Errorf("one operation: %v, %d places, %v", one.Reasons, len(one.Places), one.Tier)
		}
	})
}

// TestKill kills the counting process again and again; every exchange is
// counted once all the same.
func TestKill(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		const events, each, kills = 1500, 20, 6
		s := openStore(t, o)
		n := 0
		for range events {
			var e sallyport.Event
			for range each {
				e.Exchanges = append(e.Exchanges, exchange(n, func(x *sallyport.Exchange) {
					if x.Template = fmt.Sprintf("/items/%d/{id}", n%50); n%2 == 1 {
						// No specification: discovery folds it, later and with merges.
						x.Declared, x.Template = false, ""
						x.Method, x.Path = []string{"GET", "DELETE"}[n/2%2], fmt.Sprintf("/box%d/%s/parts/%d", n%30, words[n/7%len(words)], n)
					}
				}))
				n++
			}
			publish(t, s, sallyport.SubjectExchange, e)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for k := range kills {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "INVENTORY_TEST_CHILD="+o.Dir, "INVENTORY_TEST_KEY="+hex.EncodeToString(o.Key), "INVENTORY_TEST_DB="+o.DatabaseURL)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(60+35*k) * time.Millisecond) // anywhere: opening, counting, committing
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		s = openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		d, err := discovery.Open(t.Context(), s, discovery.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		both(t, s, v, d)
		a := api(t, v, "shop")
		page, err := v.Operations(t.Context(), inventory.Filter{API: "shop", Probed: true, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, r := range page.Rows {
			sum += r.Requests
		}
		if a.Requests != events*each || sum != events*each {
			t.Errorf("counted %d for the API and %d for %d operations, want %d", a.Requests, sum, len(page.Rows), events*each)
		}
	})
}

// TestBounds sends what a scanner sends: nothing of it may multiply rows.
func TestBounds(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{Probed: 20, Operations: 10, Consumers: 5, Places: 30})
		hostile := []string{"/\x00", "/" + strings.Repeat("x", 100_000), "/\xff\xfe", "/a'); DROP TABLE inventory_operation; --", "/%00", "/{", "/‮", " ", "/a\nb", "/?%"}
		var e sallyport.Event
		n := 0
		for i := range 200 {
			n++
			g := sighting(n, fmt.Sprintf("/scan/%d", i), fmt.Sprintf("/scan/%d", i), 404)
			e.Sightings = append(e.Sightings, g)
		}
		for i := range 200 {
			n++
			e.Sightings = append(e.Sightings, sighting(n, fmt.Sprintf("/wild/%d", i), "/wild", 200))
		}
		for _, h := range hostile {
			n++
			g := sighting(n, h, h, 404)
			g.Method, g.API = h, "hostile"
			g.Parameters = []sallyport.Place{{In: sallyport.InQuery, Name: h}}
			g.Principal = sallyport.Principal{Kind: h, Subject: h}
			e.Sightings = append(e.Sightings, g)
		}
		var many sallyport.Event
		for i := range 300 {
			n++
			many.Exchanges = append(many.Exchanges, exchange(n, func(x *sallyport.Exchange) {
				x.Principal = user(i)
				x.Query = fmt.Sprintf("a%d=1&b%d=2", i, i)
				x.Undocumented = []sallyport.Place{{In: sallyport.InQuery, Name: fmt.Sprintf("a%d", i)}}
				x.Shape = &sallyport.Shape{Request: []sallyport.Typed{{Pointer: fmt.Sprintf("/k%d", i), Type: "string"}}}
				x.Status, x.Origin = 200+i%300, 200
			}))
		}
		many.Exchanges = append(many.Exchanges, exchange(n+1, func(x *sallyport.Exchange) {
			x.API, x.Method, x.Template, x.Status, x.Query, x.Time = "hostile\x00", "G\x00T", "/\xff", -7, "\xff=%zz&&=&\x00", time.Time{}
		}))
		for _, subject := range []string{"twin\x00", "twin\x01"} { // the same once cleaned
			n++
			many.Exchanges = append(many.Exchanges, exchange(n, func(x *sallyport.Exchange) {
				x.API, x.Template, x.Principal = "twins", "/t", sallyport.Principal{Kind: "key", Subject: subject}
			}))
		}
		publish(t, s, sallyport.SubjectSighting, e)
		seq := publish(t, s, sallyport.SubjectExchange, many)
		if _, err := s.Stream().Publish(t.Context(), sallyport.SubjectExchange, "", []byte("not an event")); err != nil {
			t.Fatal(err)
		}
		count(t, v, seq+1)
		a := api(t, v, "old")
		if a.Probed != 20 || a.Shadow != 10 {
			t.Errorf("%d probed and %d shadow operations, want the bounds 20 and 10", a.Probed, a.Shadow)
		}
		if d := detail(t, v, "twins", "GET /t"); len(d.Consumers) != 1 || d.Consumers[0].Count != 2 {
			t.Errorf("twins %+v", d.Consumers)
		}
		d := detail(t, v, "shop", "GET /items/{id}")
		if len(d.Consumers) != 5 || len(d.Places) != 30 || len(d.Statuses) > 100 || d.Requests != 300 {
			t.Errorf("%d consumers, %d places, %d statuses, %d requests", len(d.Consumers), len(d.Places), len(d.Statuses), d.Requests)
		}
		if d.Principals < 294 || d.Principals > 306 {
			t.Errorf("%d principals, want 300 within 2 %%", d.Principals)
		}
	})
}

// TestOneBadEvent breaks the counting of one event for good: the others are
// counted all the same.
func TestOneBadEvent(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		if _, err := s.DB().ExecContext(t.Context(), "DROP TABLE inventory_hour"); err != nil {
			t.Fatal(err)
		}
		bad := exchange(1, nil) // needs the table
		good := exchange(2, func(x *sallyport.Exchange) { x.Declared, x.Template = false, "" })
		publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{good}})
		publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{bad}})
		seq := publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{good, good}})
		count(t, v, seq)
		if a := api(t, v, "shop"); a.Requests != 3 {
			t.Errorf("%d requests counted, want the 3 good ones", a.Requests)
		}
	})
}

func TestPages(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		var ops []sallyport.Operation
		for i := range 250 {
			ops = append(ops, sallyport.Operation{API: "shop", Method: []string{"GET", "PUT"}[i%2], Template: fmt.Sprintf("/a%d/{id}", i/2), Name: fmt.Sprintf("op_%d", i), Declared: true})
		}
		if err := v.Declare(t.Context(), shop, ops); err != nil {
			t.Fatal(err)
		}
		var e sallyport.Event
		for n := range 600 {
			e.Exchanges = append(e.Exchanges, exchange(n, func(x *sallyport.Exchange) {
				x.Method, x.Template = ops[n*n%200].Method, ops[n*n%200].Template
				if n%7 == 0 {
					x.Status, x.Origin = 500, 500
				}
			}))
		}
		count(t, v, publish(t, s, sallyport.SubjectExchange, e))
		for _, sort := range []inventory.Sort{inventory.ByTemplate, inventory.ByLastSeen, inventory.ByFirstSeen, inventory.ByRequests, inventory.ByErrors, inventory.ByLatency} {
			for _, reverse := range []bool{false, true} {
				seen := map[int64]bool{}
				var last inventory.Row
				f := inventory.Filter{Sort: sort, Reverse: reverse, Limit: 37}
				for {
					page, err := v.Operations(t.Context(), f)
					if err != nil {
						t.Fatal(err)
					}
					for i, r := range page.Rows {
						if seen[r.ID] {
							t.Fatalf("%s: row %d comes twice", sort, r.ID)
						}
						if sort == inventory.ByRequests && (i > 0 || len(seen) > 0) && (last.Requests < r.Requests) != reverse && last.Requests != r.Requests {
							t.Fatalf("requests %d then %d, reverse %v", last.Requests, r.Requests, reverse)
						}
						seen[r.ID], last = true, r
					}
					if page.Next == "" {
						break
					}
					f.After = page.Next
				}
				if len(seen) != 250 {
					t.Errorf("%s: %d rows, want 250", sort, len(seen))
				}
			}
		}
		for _, c := range []struct {
			f    inventory.Filter
			want int
		}{
			{inventory.Filter{Text: "a12/"}, 2},
			{inventory.Filter{Text: "OP_7"}, 11},
			{inventory.Filter{Text: "%"}, 0},
			{inventory.Filter{Method: "put", Limit: 1000}, 125},
			{inventory.Filter{Tiers: []inventory.Tier{inventory.Unseen}, Limit: 1000}, 250 - len(touched(600, 200))},
			{inventory.Filter{Shadow: true}, 0},
			{inventory.Filter{NoAPI: true}, 0},
			{inventory.Filter{API: "shop", Class: "email"}, 0},
			{inventory.Filter{SeenAfter: start.Add(time.Hour)}, 0},
		} {
			page, err := v.Operations(t.Context(), c.f)
			if err != nil || len(page.Rows) != c.want {
				t.Errorf("%+v: %d rows, want %d: %v", c.f, len(page.Rows), c.want, err)
			}
		}
		for _, f := range []inventory.Filter{{Sort: "colour"}, {After: "?"}, {Hint: "what"}} {
			if _, err := v.Operations(t.Context(), f); !errors.Is(err, sallyport.Invalid) {
				t.Errorf("%+v: %v, want invalid", f, err)
			}
		}
	})
}

func touched(n, mod int) map[int]bool {
	m := map[int]bool{}
	for i := range n {
		if i%7 != 0 {
			m[i*i%mod] = true
		}
	}
	for i := range n {
		m[i*i%mod] = m[i*i%mod] || false
	}
	return m
}

// TestAdopt declares an API after its traffic was seen: history moves to the
// operations of the specification, whatever it calls their arguments.
func TestAdopt(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		seq := publish(t, s, sallyport.SubjectSighting, sallyport.Event{Source: 1, Sightings: []sallyport.Sighting{sighting(1, "/users/{userId}", "/users/1", 200), sighting(2, "/users/{userId}", "/users/2", 200), sighting(3, "/other", "/other", 200)}})
		count(t, v, seq)
		old := sallyport.API{Name: "old", Owner: sallyport.Owner{Team: "t"}}
		if err := v.Declare(t.Context(), old, []sallyport.Operation{{API: "old", Method: "GET", Template: "/users/{name}", Name: "getUser"}}); err != nil {
			t.Fatal(err)
		}
		if d := detail(t, v, "old", "GET /users/{name}"); d.Requests != 2 || d.Tier != inventory.Matched || !d.Declared || d.Principals != 2 || len(d.Consumers) != 2 {
			t.Errorf("%+v", d.Row)
		}
		a := api(t, v, "old")
		if a.Shadow != 1 || a.Declared != 1 || a.Seen != 1 || !a.Configured {
			t.Errorf("%+v", a)
		}
		if err := v.Keep(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if a := api(t, v, "old"); a.Configured || a.Owner.Team != "t" {
			t.Errorf("after it left the configuration: %+v", a)
		}
	})
}

func TestWatchAndRetention(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		now := start
		v := openInventory(t, s, inventory.Options{MaxAge: 24 * time.Hour, History: time.Hour, Now: func() time.Time { return now }})
		ctx, cancel := context.WithCancel(t.Context())
		notices := v.Watch(ctx)
		if err := v.Declare(t.Context(), shop, shopOperations); err != nil {
			t.Fatal(err)
		}
		if n := <-notices; len(n.APIs) != 1 || n.APIs[0] != "shop" || len(n.Changes) == 0 {
			t.Errorf("notice %+v", n)
		}
		publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{exchange(1, nil)}})
		seq := publish(t, s, sallyport.SubjectSighting, sallyport.Event{Source: 1, Sightings: []sallyport.Sighting{sighting(1, "/x", "/x", 200)}})
		count(t, v, seq)
		if n := <-notices; n.Revision < 2 {
			t.Errorf("notice %+v", n)
		}
		cancel()
		for range notices {
		}
		now = start.Add(48 * time.Hour)
		count(t, v, publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{exchange(2, func(x *sallyport.Exchange) { x.Time = now })}}))
		for range 100 { // retention runs beside the counting when Run begins
			if _, err := v.Operation(t.Context(), "old", "GET /x"); errors.Is(err, sallyport.NotFound) {
				break
			}
			count(t, v, 0)
		}
		if _, err := v.Operation(t.Context(), "old", "GET /x"); !errors.Is(err, sallyport.NotFound) {
			t.Errorf("an undeclared operation not seen for two days is still there: %v", err)
		}
		if d := detail(t, v, "shop", "GET /items/{id}"); d.Requests != 2 || len(d.Hours) != 1 {
			t.Errorf("the declared one: %+v %+v", d.Counts, d.Hours)
		}
	})
}
