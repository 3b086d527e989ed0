package discovery_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	prng "math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/observe"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
	"sallyport.dev/test/lab/linode"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

func onEach(t *testing.T, test func(t *testing.T, o store.Options)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			o := options(t)
			if kind == "postgres" {
				o.DatabaseURL = postgres.Database(t)
			}
			test(t, o)
		})
	}
}

func options(t testing.TB) store.Options {
	o := store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
	rand.Read(o.Key)
	return o
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

func openDiscovery(t testing.TB, s *store.Store, o discovery.Options) *discovery.Discovery {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	d, err := discovery.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func publish(t testing.TB, s *store.Store, list []sallyport.Exchange, each int) {
	t.Helper()
	for chunk := range slices.Chunk(list, each) {
		b, err := sallyport.Event{Exchanges: chunk}.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stream().Publish(t.Context(), sallyport.SubjectExchange, "", b); err != nil {
			t.Fatal(err)
		}
	}
}

// fold runs d until it has handled everything in the stream, and stops it.
func fold(t testing.TB, s *store.Store, d *discovery.Discovery) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for {
		st, err := s.Stream().Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := st.Consumers["discovery"]; ok && c.Lag == 0 {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("run ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("run: %v", err)
	}
}

// sightings reads all that were published.
func sightings(t testing.TB, s *store.Store, want int) []sallyport.Sighting {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out []sallyport.Sighting
	seen := map[uint64]bool{}
	err := s.Stream().Consume(ctx, "test", []string{sallyport.SubjectSighting}, func(ctx context.Context, messages []store.Message) error {
		for _, m := range messages {
			var e sallyport.Event
			if err := e.UnmarshalBinary(m.Data); err != nil {
				return err
			}
			if seen[e.Source] {
				t.Errorf("sightings of event %d come twice", e.Source)
			}
			seen[e.Source] = true
			out = append(out, e.Sightings...)
		}
		n := 0
		for _, g := range out {
			if g.Path != "" {
				n++
			}
		}
		if n >= want {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return out
}

// recorded turns lines of recorded traffic into exchanges as observe publishes
// them: redacted, with the shape of the body.
func recorded(t testing.TB, zipped []byte, api string) []sallyport.Exchange {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	redactor, err := observe.NewRedactor(observe.RedactOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<26)
	var out []sallyport.Exchange
	for lines.Scan() {
		var r struct {
			Method, URL string
			Status      int
			Body        any `json:"resp_body"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := r.Body.(string)
		if !ok && r.Body != nil {
			b, _ := json.Marshal(r.Body)
			body = string(b)
		}
		x := sallyport.Exchange{ID: fmt.Sprintf("%026d", len(out)), Time: time.Unix(1_770_000_000+int64(len(out)), 0).UTC(), Door: "gateway", API: api, Method: r.Method, Path: u.EscapedPath(), Query: u.RawQuery,
			Status: r.Status, Origin: r.Status, Principal: sallyport.Principal{Kind: "oidc", Issuer: "i", Subject: fmt.Sprint(len(out) % 5)}, ResponseBody: []byte(body),
			ResponseHeader: []sallyport.Field{{Name: "Content-Type", Value: "application/json"}}, Decision: sallyport.Decision{Action: sallyport.ActionAllow}}
		redactor.Redact(&x)
		out = append(out, x)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

var braces = regexp.MustCompile(`\{[^}]*\}`)

// truth says to which declared operation each exchange belongs; arguments are
// written {}. Exchanges that no operation matches are left out.
func truth(list []sallyport.Exchange, operations map[string][]string) (matched []sallyport.Exchange, ops map[string]int) {
	type candidate struct {
		template string
		args     int
		re       *regexp.Regexp
	}
	byMethod := map[string][]candidate{}
	for method, templates := range operations {
		for _, p := range templates {
			parts := strings.Split(braces.ReplaceAllString(p, "\x00"), "\x00")
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			byMethod[method] = append(byMethod[method], candidate{braces.ReplaceAllString(p, "{}"), len(parts), regexp.MustCompile("^" + strings.Join(parts, "[^/]+") + "$")})
		}
	}
	ops = map[string]int{}
	for _, x := range list {
		best := -1
		for i, c := range byMethod[x.Method] {
			if c.re.MatchString(x.Path) && (best < 0 || c.args < byMethod[x.Method][best].args) {
				best = i
			}
		}
		if best >= 0 {
			matched = append(matched, x)
			ops[x.Method+" "+byMethod[x.Method][best].template]++
		}
	}
	return matched, ops
}

type score struct{ precision, recall, f1 float64 }

func (s score) String() string {
	return fmt.Sprintf("precision %.3f, recall %.3f, F1 %.3f", s.precision, s.recall, s.f1)
}

func measure(t *testing.T, learned []discovery.Template, want map[string]int) score {
	t.Helper()
	got := map[string]bool{}
	for _, l := range learned {
		if !l.Probed {
			got[l.Method+" "+braces.ReplaceAllString(l.Template, "{}")] = true
		}
	}
	hits := 0
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range got {
			if !yield(k) {
				return
			}
		}
	}) {
		if want[k] > 0 {
			hits++
		} else {
			t.Logf("learned but not declared: %s", k)
		}
	}
	for k := range want {
		if !got[k] {
			t.Logf("declared and seen but not learned: %s", k)
		}
	}
	p, r := float64(hits)/float64(max(1, len(got))), float64(hits)/float64(max(1, len(want)))
	return score{p, r, 2 * p * r / max(p+r, 1e-9)}
}

func linodeOperations(t testing.TB) map[string][]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(linode.Spec))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.NewDecoder(z).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for p, item := range doc.Paths {
		for m := range item {
			// Only one version is in the traffic: no traffic can tell that it is a parameter.
			out[strings.ToUpper(m)] = append(out[strings.ToUpper(m)], strings.Replace(p, "{apiVersion}", "v4beta", 1))
		}
	}
	return out
}

func githubOperations(t testing.TB) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(unzip(t, "testdata/github-operations.txt.gz"))), "\n") {
		m, p, _ := strings.Cut(line, " ")
		out[m] = append(out[m], p)
	}
	return out
}

func unzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLearnedTemplates compares what is learned from recorded traffic with the
// vendor's specification, and shows that a restart in the middle changes
// nothing.
func TestLearnedTemplates(t *testing.T) {
	list, want := truth(recorded(t, linode.Traffic, "linode"), linodeOperations(t))
	var first []discovery.Template
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		d := openDiscovery(t, s, discovery.Options{})
		publish(t, s, list[:900], 50)
		fold(t, s, d)
		d = openDiscovery(t, s, discovery.Options{}) // as after a restart
		publish(t, s, list[900:], 50)
		fold(t, s, d)
		learned := d.Templates("linode")
		sc := measure(t, learned, want)
		t.Logf("%d exchanges, %d operations declared and seen: %v", len(list), len(want), sc)
		if sc.f1 < 0.95 {
			t.Errorf("%v, want F1 of at least 0.95", sc)
		}
		if len(first) == 0 {
			first = learned
		} else if !slices.EqualFunc(first, learned, func(a, b discovery.Template) bool {
			return a.Method == b.Method && a.Template == b.Template && a.Count == b.Count && slices.Equal(a.Reasons, b.Reasons)
		}) {
			t.Error("the other database learned something else")
		}
		// What is stored is what is in memory.
		again := openDiscovery(t, s, discovery.Options{}).Templates("linode")
		if len(again) != len(learned) {
			t.Fatalf("%d templates after a restart, %d before", len(again), len(learned))
		}
		for i := range again {
			if again[i].Template != learned[i].Template || again[i].Method != learned[i].Method || !slices.Equal(again[i].Reasons, learned[i].Reasons) {
				t.Errorf("after a restart %+v\nbefore          %+v", again[i], learned[i])
			}
		}
		checkSightings(t, sightings(t, s, len(list)), learned, list)
	})

	t.Run("without restart", func(t *testing.T) {
		s := openStore(t, options(t))
		d := openDiscovery(t, s, discovery.Options{})
		publish(t, s, list, 50)
		fold(t, s, d)
		if learned := d.Templates("linode"); !slices.EqualFunc(first, learned, func(a, b discovery.Template) bool { return a.Method == b.Method && a.Template == b.Template }) {
			t.Error("a restart in the middle changed what was learned")
		}
	})
	t.Run("without shapes", func(t *testing.T) {
		bare := slices.Clone(list)
		for i := range bare {
			bare[i].Shape = nil
		}
		s := openStore(t, options(t))
		d := openDiscovery(t, s, discovery.Options{})
		publish(t, s, bare, 50)
		fold(t, s, d)
		sc := measure(t, d.Templates("linode"), want)
		t.Log(sc)
		if sc.f1 < 0.90 {
			t.Errorf("%v, want F1 of at least 0.90", sc)
		}
	})
}

// checkSightings follows the merges: whoever counts by sightings must end with
// each exchange under a template that exists.
func checkSightings(t *testing.T, all []sallyport.Sighting, learned []discovery.Template, list []sallyport.Exchange) {
	t.Helper()
	counts := map[string]int{}
	total := 0
	for _, g := range all {
		for _, old := range g.Replaces {
			counts[g.Method+" "+g.Template] += counts[g.Method+" "+old]
			delete(counts, g.Method+" "+old)
		}
		if g.Path != "" {
			counts[g.Method+" "+g.Template]++
			total++
		}
	}
	if total != len(list) {
		t.Errorf("%d sightings of %d exchanges", total, len(list))
	}
	have := map[string]int{}
	for _, l := range learned {
		have[l.Method+" "+l.Template] = int(l.Count)
	}
	for k, n := range counts {
		if n != 0 && have[k] != n {
			t.Errorf("%s: %d by sightings, %d by discovery", k, n, have[k])
		}
	}
}

// TestSecondAPI uses another vendor's traffic. There is one owner in it, which
// nothing can tell to be a parameter; so the figures are taken as they are, and
// again after the specification has declared that one operation.
func TestSecondAPI(t *testing.T) {
	zipped, err := os.ReadFile("testdata/octokit.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	list, want := truth(recorded(t, zipped, "github"), githubOperations(t))
	for _, c := range []struct {
		name     string
		declared []string
		least    float64
	}{{"as it is", nil, 0.1}, {"with /repos/{owner}/{repo} declared", []string{"/repos/{owner}/{repo}"}, 0.65}} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, options(t))
			d := openDiscovery(t, s, discovery.Options{})
			var head []sallyport.Exchange
			for _, p := range c.declared {
				head = append(head, sallyport.Exchange{ID: "declared", API: "github", Method: "GET", Path: "/repos/a/b", Template: p, Declared: true, Redacted: true})
			}
			publish(t, s, append(head, list...), 10)
			fold(t, s, d)
			sc := measure(t, d.Templates("github"), want)
			t.Logf("%d exchanges, %d operations: %v", len(list), len(want), sc)
			if sc.f1 < c.least {
				t.Errorf("%v, want F1 of at least %.2f", sc, c.least)
			}
		})
	}
}

func plain(method, path string, status int) sallyport.Exchange {
	return sallyport.Exchange{ID: "x", Time: time.Unix(1_770_000_000, 0).UTC(), API: "a", Method: method, Path: path, Status: status, Origin: status, Redacted: true}
}

// TestForms sets values beside literals that look like them.
func TestForms(t *testing.T) {
	s := openStore(t, options(t))
	d := openDiscovery(t, s, discovery.Options{})
	var list []sallyport.Exchange
	cases := []struct{ path, want string }{
		{"/v4/items/17", "/v4/items/{itemId}"},
		{"/v2beta1/items", "/v2beta1/items"},
		{"/items/-1", "/items/{itemId}"},
		{"/items/123e4567-e89b-12d3-a456-426614174000", "/items/{itemId}"},
		{"/items/123e4567-e89b-12d3-a456-426614174000/parts/9", "/items/{itemId}/parts/{partId}"},
		{"/categories/5/boxes/6", "/categories/{categoryId}/boxes/{boxId}"},
		{"/files/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "/files/{fileId}"},
		{"/reports/2026-03-04", "/reports/{reportId}"},
		{"/stats/2026/03", "/stats/{statId}/{statId2}"},
		{"/ips/192.0.2.7", "/ips/{ipId}"},
		{"/ranges/2001:db8::1", "/ranges/{rangeId}"},
		{"/images/private%2F5", "/images/{imageId}"},
		{"/users/ada@example.org", "/users/{userId}"},
		{"/users/‹email›", "/users/{userId}"},
		{"/x/7f3kQ9zLp2Xw8RtB", "/x/{xId}"},
		{"/oauth2/token", "/oauth2/token"},
		{"/ipv4/assign", "/ipv4/assign"},
		{"/s3/buckets", "/s3/buckets"},
		{"/2/tweets", "/2/tweets"},
		{"/1.1/users", "/1.1/users"},
		{"/openapi.json", "/openapi.json"},
		{"/networking/ipv6/pools", "/networking/ipv6/pools"},
		{"/sha256/check", "/sha256/check"},
		{"/lke/versions/1.29", "/lke/versions/{versionId}"},
		{"/releases/v1.0.0", "/releases/{releaseId}"},
		{"//items///17/", "/items/{itemId}"},
		{"/", "/"},
		{"/{id}", "/{valueId}"},
	}
	for i, c := range cases { // each in an API of its own
		x := plain("GET", c.path, 200)
		x.API = fmt.Sprint(i)
		list = append(list, x)
	}
	publish(t, s, list, 5)
	fold(t, s, d)
	for i, c := range cases {
		if got := d.Templates(fmt.Sprint(i)); len(got) != 1 || got[0].Template != c.want {
			t.Errorf("%s\n got %+v\nwant %s", c.path, got, c.want)
		}
	}
}

// TestCollections folds slugs by what the server does with them, and leaves
// the actions beside them alone.
func TestCollections(t *testing.T) {
	s := openStore(t, options(t))
	d := openDiscovery(t, s, discovery.Options{})
	var list []sallyport.Exchange
	add := func(method, path string, status int) { list = append(list, plain(method, path, status)) }
	add("GET", "/users/nobody", 404) // before anything is known
	add("GET", "/users", 200)
	add("POST", "/users", 201)
	add("GET", "/users/search", 200)
	add("POST", "/users/import", 202)
	for _, name := range []string{"ada", "bob", "eve"} {
		add("GET", "/users/"+name, 200)
		add("GET", "/users/"+name+"/grants", 200)
		add("DELETE", "/users/"+name, 204)
	}
	add("GET", "/databases/mysql/instances", 200)
	add("GET", "/databases/postgresql/instances", 200)
	publish(t, s, list, 3)
	fold(t, s, d)
	var got []string
	for _, l := range d.Templates("a") {
		got = append(got, fmt.Sprintf("%s %s %d", l.Method, l.Template, l.Count))
		if strings.Contains(l.Template, "{") && (len(l.Reasons) != strings.Count(l.Template, "{") || !strings.HasPrefix(l.Reasons[0], "{userId}: ")) {
			t.Errorf("%s %s: reasons %q", l.Method, l.Template, l.Reasons)
		}
	}
	want := []string{"GET /databases/mysql/instances 1", "GET /databases/postgresql/instances 1", "GET /users 1", "POST /users 1", "POST /users/import 1", "GET /users/search 1",
		"DELETE /users/{userId} 3", "GET /users/{userId} 4", "GET /users/{userId}/grants 3"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	all := sightings(t, s, len(list))
	checkSightings(t, all, d.Templates("a"), list)
}

// TestMadeUpPaths sends words that nothing folds to a service that answers 200
// to everything. Whoever does that must not keep discovery busy for the square
// of what was sent: it all is folded within the time that fold allows.
func TestMadeUpPaths(t *testing.T) {
	s := openStore(t, options(t))
	d := openDiscovery(t, s, discovery.Options{})
	rng := prng.New(prng.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 7)
		for i := range b {
			b[i] = "bcdfglmnprstvaeiou"[rng.IntN(18)]
		}
		return string(b)
	}
	var list []sallyport.Exchange
	for range 12_000 {
		list = append(list, plain("GET", "/"+word()+"/"+word()+"/"+word(), 200))
	}
	publish(t, s, list, 24)
	fold(t, s, d)
	if n := len(d.Templates("a")); n == 0 || n > 3000 {
		t.Errorf("%d templates", n)
	}
}

// TestScanner sends what scanners send: thousands of paths that are refused or
// not there. They create nothing but a bounded list of candidates.
func TestScanner(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		d := openDiscovery(t, s, discovery.Options{Candidates: 50, Templates: 100, Children: 20})
		var list []sallyport.Exchange
		for i := range 3000 {
			x := plain("GET", fmt.Sprintf("/scan-%c%c/x%c.php", 'a'+i%26, 'a'+i/26%26, 'a'+i/676), 404)
			switch i % 3 {
			case 1:
				x.Status, x.Origin, x.Decision = 403, 0, sallyport.Decision{Action: sallyport.ActionRefuse}
			case 2:
				x.Status, x.Origin = 401, 401
			}
			list = append(list, x)
		}
		list = append(list, plain("GET", "/items", 200))
		for _, p := range []string{"", "\x00", "/\xff", "/" + strings.Repeat("a/", 5000), "/" + strings.Repeat("b", 100_000), "*", "/%", "/a b", "/‮x"} {
			x := plain("GET", p, 404)
			list = append(list, x)
			x.Method, x.Status, x.Origin = "M"+p, 200, 200
			list = append(list, x)
		}
		publish(t, s, list, 100)
		fold(t, s, d)
		st := d.Stats()
		if st.Candidates > 50 || st.Templates > 12 || st.Overflow == 0 {
			t.Errorf("%+v", st)
		}
		learned := 0
		for _, l := range d.Templates("a") {
			if !l.Probed && strings.HasPrefix(l.Template, "/scan") {
				learned++
			}
		}
		if learned > 0 {
			t.Errorf("%d operations learned from a scan", learned)
		}

		// A server that answers 200 to everything: values fold when there are too many.
		list = nil
		for i := range 500 {
			list = append(list, plain("GET", fmt.Sprintf("/pages/%c%c%c", 'a'+i%26, 'k'+i/26%14, 'a'+i/364), 200))
		}
		publish(t, s, list, 100)
		fold(t, s, d)
		n := 0
		for _, l := range d.Templates("a") {
			if strings.HasPrefix(l.Template, "/pages/") {
				n++
			}
		}
		if n > 20 {
			t.Errorf("%d templates under /pages, want them folded", n)
		}
	})
}

// TestWire holds what discovery reads of an exchange to the root's type.
func TestWire(t *testing.T) {
	s := openStore(t, options(t))
	d := openDiscovery(t, s, discovery.Options{})
	x := plain("PUT", "/things/5", 204)
	x.Duration, x.Query, x.TLS, x.RequestBytes, x.ResponseBytes = 5*time.Millisecond, "q=1&r=2&q=3", true, 7, 8
	x.Principal = sallyport.Principal{Kind: "key", Subject: "s"}
	x.Classes = []sallyport.DataClass{{Class: "email", Place: sallyport.Place{In: sallyport.InBody, Name: "/e"}, Response: true}}
	x.Shape = &sallyport.Shape{Response: []sallyport.Typed{{Pointer: "/e", Type: "string", Format: "email"}}}
	publish(t, s, []sallyport.Exchange{x}, 1)
	fold(t, s, d)
	got := sightings(t, s, 1)[0]
	want := sallyport.Sighting{ID: x.ID, Time: got.Time, API: "a", Method: "PUT", Template: "/things/{thingId}", Path: x.Path, Status: 204, Origin: 204, Reasons: []string{"{thingId}: every value has the form of an integer"},
		Principal: x.Principal, Duration: x.Duration, RequestBytes: 7, ResponseBytes: 8, TLS: true, Classes: x.Classes, Shape: x.Shape, Parameters: []sallyport.Place{{In: sallyport.InQuery, Name: "q"}, {In: sallyport.InQuery, Name: "r"}}}
	if got.Shape == nil || !slices.Equal(got.Shape.Response, x.Shape.Response) {
		t.Errorf("shape %+v", got.Shape)
	}
	want.Shape = got.Shape
	if len(got.Replaces) == 0 {
		got.Replaces = nil // empty or none is the same
	}
	if !got.Time.Equal(x.Time) || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
