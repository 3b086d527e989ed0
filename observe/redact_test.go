package observe_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"sallyport.dev"
	"sallyport.dev/observe"
	"sallyport.dev/store"
)

// random texts are made at run time: no key, however fake, stands in the repository.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newJWT() string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + e(fmt.Appendf(nil, `{"sub":"u-%x","exp":1}`, randomBytes(4))) + "." + e(randomBytes(96))
}

const luhnBase = "4539578763621"

// newCard is a card number with a right check digit.
func newCard() string {
	digits := fmt.Sprintf("%s%02d", luhnBase, int(randomBytes(1)[0])%100)
	sum := 0
	for i := range digits {
		n := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return digits + fmt.Sprint((10-sum%10)%10)
}

func TestRedactTarget(t *testing.T) {
	jwt, card, token := newJWT(), newCard(), base64.RawURLEncoding.EncodeToString(append(randomBytes(32), 0xfb))
	hexed := hex.EncodeToString(randomBytes(32))
	cases := []struct{ name, path, query, wantPath, wantQuery string }{
		{"common", "/v4/linode/instances/123", "page=1&page_size=100", "/v4/linode/instances/123", "page=1&page_size=100"},
		{"ids stay", "/o/2f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f/items/64f0c2a19b3e4d5f6a7b8c9d", "id=2f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f",
			"/o/2f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f/items/64f0c2a19b3e4d5f6a7b8c9d", "id=2f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f"},
		{"words stay", "/api/getCustomerAccountInformation2/by-department-and-region", "sort=createdAt&fields=id,name,updatedAt&since=2026-01-01",
			"/api/getCustomerAccountInformation2/by-department-and-region", "sort=createdAt&fields=id,name,updatedAt&since=2026-01-01"},
		{"names of secrets", "/login", "user=bo&password=hunter2&Api_Key=abc&x-amz-signature=zz", "/login", "user=bo&password=‹secret›&Api_Key=‹secret›&x-amz-signature=‹secret›"},
		{"escaped name", "/login", "pass%77ord=hunter2", "/login", "pass%77ord=‹secret›"},
		{"token in path", "/share/" + jwt, "", "/share/‹jwt›", ""},
		{"token in query", "/a", "x=" + jwt + "&y=2", "/a", "x=‹jwt›&y=2"},
		{"unknown token", "/a/" + token, "x=" + token, "/a/‹secret›", "x=‹secret›"},
		{"reset link", "/password/reset/" + hexed, "", "/password/reset/‹secret›", ""},
		{"digest is an id", "/images/" + hexed, "h=" + hexed, "/images/" + hexed, "h=‹secret›"},
		{"card", "/pay/" + card, "n=" + card, "/pay/‹payment-card›", "n=‹payment-card›"},
		{"address of a person", "/users/ann.example%40example.org", "q=ann.example%40example.org", "/users/‹email›", "q=‹email›"},
		{"matrix", "/a;jsessionid=1A2B3C;v=2/b", "", "/a;jsessionid=‹secret›;v=2/b", ""},
		{"bare value", "/a", jwt, "/a", "‹jwt›"},
		{"control characters", "/a\x00b", "q=\xff\x01", "/a\ufffdb", "q=\ufffd\ufffd"},
		{"empty", "", "", "", ""},
		{"odd", "//", "&&=&a=&=b", "//", "&&=&a=&=b"},
	}
	for _, c := range cases {
		x := exchange(func(x *sallyport.Exchange) { x.Path, x.Query, x.Template = c.path, c.query, "" })
		observe.Redact(x)
		if x.Path != c.wantPath || x.Query != c.wantQuery {
			t.Errorf("%s: %q ? %q\n  became %q ? %q\n  want   %q ? %q", c.name, c.path, c.query, x.Path, x.Query, c.wantPath, c.wantQuery)
		}
		if !x.Redacted {
			t.Errorf("%s: not marked as redacted", c.name)
		}
	}
}

func TestRedactHeaders(t *testing.T) {
	r, err := observe.NewRedactor(observe.RedactOptions{KeepHeaders: []string{"X-Tenant"}, SecretHeaders: []string{"X-Internal"}, SecretNames: []string{"member-no"}})
	if err != nil {
		t.Fatal(err)
	}
	token := newJWT()
	x := exchange(func(x *sallyport.Exchange) {
		x.Query = "memberNo=77"
		x.RequestHeader = []sallyport.Field{
			{Name: "authorization", Value: "Bearer abc"}, {Name: "COOKIE", Value: "a=b"}, {Name: "X-Tenant", Value: "north"}, {Name: "x-internal", Value: "v"},
			{Name: "X-Anything", Value: "value"}, {Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "curl/8 " + token},
			{Name: "X-" + token[:60], Value: "1"}, {Name: "User-Agent", Value: "Mozilla/5.0 Chrome/128.0.0.0"},
		}
		x.ResponseHeader = []sallyport.Field{{Name: "Set-Cookie", Value: "sid=1"}, {Name: "Location", Value: "/x?token=y"}}
	})
	for range 3 { // the memo must not change what comes out
		y := *x
		y.RequestHeader, y.ResponseHeader = slices.Clone(x.RequestHeader), slices.Clone(x.ResponseHeader)
		r.Redact(&y)
		want := []string{"‹secret›", "‹secret›", "north", "‹secret›", "", "application/json", "curl/8 ‹jwt›", "", "Mozilla/5.0 Chrome/128.0.0.0"}
		for i, f := range y.RequestHeader {
			if f.Value != want[i] {
				t.Errorf("%s: %q, want %q", f.Name, f.Value, want[i])
			}
		}
		if y.ResponseHeader[0].Value != "‹secret›" || y.ResponseHeader[1].Value != "" || y.Query != "memberNo=‹secret›" {
			t.Errorf("%v, query %q", y.ResponseHeader, y.Query)
		}
		if strings.Contains(y.RequestHeader[7].Name, token[10:50]) {
			t.Errorf("a token stands in a header's name: %q", y.RequestHeader[7].Name)
		}
	}
	if _, err := observe.NewRedactor(observe.RedactOptions{KeepHeaders: []string{"cookie"}}); err == nil {
		t.Error("Cookie may be kept")
	}
}

func TestShapeAndClasses(t *testing.T) {
	card := newCard()
	x := exchange(func(x *sallyport.Exchange) {
		x.RequestHeader = []sallyport.Field{{Name: "Content-Type", Value: "application/json; charset=utf-8"}}
		x.RequestBody = []byte(`{"card":{"number":"` + card + `"},"mail":"ann@example.org","password":"hunter2hunter2","n":1,"f":1.5,"ok":true,"none":null,
			"when":"2026-01-02T03:04:05Z","ids":["2f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f","3f1c8e0a-7d44-4b7e-9d3f-0a4b5c6d7e8f"],
			"rows":[{"a":1},{"a":"x","b":[]}],"byId":{"1001":{"v":1},"1002":{"v":2}},"k/~":1}`)
		x.ResponseBody = []byte(`[{"email":"bob@example.org"}]`)
	})
	observe.Redact(x)
	if x.RequestBody != nil || x.ResponseBody != nil {
		t.Error("bodies are still there")
	}
	shape := func(list []sallyport.Typed) (out []string) {
		for _, s := range list {
			out = append(out, strings.TrimSpace(s.Pointer+" "+s.Type+" "+s.Format))
		}
		slices.Sort(out)
		return out
	}
	want := []string{"object", "/card object", "/card/number string integer", "/mail string email", "/password string", "/n integer", "/f number", "/ok boolean", "/none null",
		"/when string date-time", "/ids array", "/ids/* string uuid", "/rows array", "/rows/* object", "/rows/*/a integer", "/rows/*/a string", "/rows/*/b array",
		"/byId object", "/byId/* object", "/byId/*/v integer", "/k~1~0 integer"}
	slices.Sort(want)
	if got := shape(x.Shape.Request); !slices.Equal(got, want) {
		t.Errorf("request's shape\n got %q\nwant %q", got, want)
	}
	if got := shape(x.Shape.Response); !slices.Equal(got, []string{"/* object", "/*/email string email", "array"}) {
		t.Errorf("answer's shape %q", got)
	}
	classes := map[string]bool{}
	for _, c := range x.Classes {
		classes[fmt.Sprint(c.Class, " ", c.Place.Name, " ", c.Response)] = true
	}
	for _, want := range []string{"payment-card /card/number false", "email /mail false", "password /password false", "email /*/email true"} {
		if !classes[want] {
			t.Errorf("class %q is not found in %v", want, classes)
		}
	}
}

func TestShapeIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"a":1`)
	for i := range 5000 {
		fmt.Fprintf(&b, `,"name%dx":{"e":"p%d@example.org"}`, i, i)
	}
	b.WriteString("}")
	for _, body := range []string{b.String(), b.String()[:9000], strings.Repeat("[", 60) + strings.Repeat("]", 60), "\x00\x01\x02", `"x"`, "{}"} {
		x := exchange(func(x *sallyport.Exchange) {
			x.ResponseBody = []byte(body)
			x.Shape = nil
		})
		observe.Redact(x)
		if x.Shape != nil && len(x.Shape.Response) > 512 || len(x.Classes) > 64 {
			t.Errorf("%.20q…: %d places, %d classes", body, len(x.Shape.Response), len(x.Classes))
		}
	}
}

// secrets are planted wherever a request can carry them, then every byte that
// was written is searched for them.
func TestNoSecretIsWritten(t *testing.T) {
	jwt, card, iban := newJWT(), newCard(), "DE89370400440532013000"
	opaque := base64.RawURLEncoding.EncodeToString(randomBytes(48))
	vendor := "gh" + "p_" + strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(randomBytes(27)))
	password := "Tr0ub4dor&" + hex.EncodeToString(randomBytes(6))
	hexKey := hex.EncodeToString(randomBytes(32))
	pem := "-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString(randomBytes(90)) + "\n-----END PRIVATE KEY-----\n"
	basic := base64.StdEncoding.EncodeToString([]byte("ann:" + password))
	escape := func(s string) string {
		return strings.NewReplacer("&", "%26", "+", "%2B", "/", "%2F", "=", "%3D").Replace(s)
	}
	var all []*sallyport.Exchange
	plant := func(change func(*sallyport.Exchange)) {
		for range 30 { // the memo, and the sample, see it more than once
			all = append(all, exchange(func(x *sallyport.Exchange) { x.Template = "" }, change))
		}
	}
	for _, secret := range []string{jwt, card, vendor, opaque, iban} {
		plant(func(x *sallyport.Exchange) { x.Path = "/a/" + secret + "/b" })
		plant(func(x *sallyport.Exchange) { x.Query = "page=1&q=" + secret + "&z=2" })
		plant(func(x *sallyport.Exchange) { x.Query = secret })
		plant(func(x *sallyport.Exchange) { x.Query = secret + "=1" })
		plant(func(x *sallyport.Exchange) {
			x.Undocumented = []sallyport.Place{{In: sallyport.InBody, Name: "/data/" + secret}, {In: sallyport.InQuery, Name: secret}}
			x.Decision.Reasons = []sallyport.Reason{{Stage: "validate", Rule: "schema.type", Place: sallyport.Place{In: sallyport.InQuery, Name: secret}, Detail: "near " + secret}}
			x.Decision.NotInspected = []string{"body of " + secret}
		})
		plant(func(x *sallyport.Exchange) {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "User-Agent", Value: "client " + secret}, sallyport.Field{Name: "Accept", Value: secret})
		})
		plant(func(x *sallyport.Exchange) {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "Content-Type", Value: "application/json"})
			x.RequestBody = []byte(`{"a":"` + secret + `","` + secret + `":{"b":"` + secret + `"},"list":["` + secret + `"]}`)
			x.ResponseBody = []byte(`{"deep":{"er":[{"c":"` + secret + `"}]}}`)
		})
	}
	for _, secret := range []string{password, hexKey, opaque} {
		plant(func(x *sallyport.Exchange) {
			x.Query = "user=ann&password=" + escape(secret) + "&token=" + escape(secret)
		})
		plant(func(x *sallyport.Exchange) { x.Path = "/login;sessionid=" + escape(secret) })
		plant(func(x *sallyport.Exchange) {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "X-Api-Key", Value: secret}, sallyport.Field{Name: "Cookie", Value: "s=" + secret},
				sallyport.Field{Name: "X-Whatever", Value: secret}, sallyport.Field{Name: "Referer", Value: "https://x/?t=" + secret})
			x.ResponseHeader = append(x.ResponseHeader, sallyport.Field{Name: "Set-Cookie", Value: "s=" + secret}, sallyport.Field{Name: "Location", Value: "/?t=" + secret})
		})
		plant(func(x *sallyport.Exchange) {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "Content-Type", Value: "application/x-www-form-urlencoded"})
			x.RequestBody = []byte("user=ann&password=" + escape(secret))
			x.ResponseBody = []byte(`{"password":"` + secret + `","apiKey":"` + secret + `"}`)
		})
	}
	plant(func(x *sallyport.Exchange) {
		x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "Authorization", Value: "Basic " + basic}, sallyport.Field{Name: "Proxy-Authorization", Value: "Bearer " + jwt})
		x.RequestBody, x.ResponseBody = []byte(pem), []byte("<key>"+pem+"</key>")
	})
	needles := []string{jwt, jwt[strings.LastIndex(jwt, ".")+1:], card, iban, opaque, vendor, password, hexKey, basic, strings.Split(pem, "\n")[1], escape(password)}

	logged := &capture{}
	key := randomBytes(store.KeySize)
	o := store.Options{Dir: t.TempDir(), Key: key, Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, stop := openJournal(t, s, observe.JournalOptions{SampleOne: 1, Logger: o.Logger})
	r := newRecorder(t, observe.RecorderOptions{Stream: s.Stream(), Logger: o.Logger})
	for _, x := range all {
		r.Record(x)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := r.Counters(); int(c.Acked) != len(all) || c.Sampled == 0 {
		t.Fatalf("%+v", c)
	}
	eventually(t, "journal", func() bool { return int(j.Rates(0).Total) == len(all) })
	stop()

	search := func(where, text string) {
		for i, needle := range needles {
			if strings.Contains(text, needle) {
				at := strings.Index(text, needle)
				t.Errorf("%s holds secret %d: …%.60q", where, i, text[max(0, at-40):at])
			}
		}
	}
	// The stream's messages, as stored and decrypted.
	seen := 0
	ctx, cancel := context.WithCancel(t.Context())
	_ = s.Stream().Consume(ctx, "search", []string{"sallyport.>"}, func(_ context.Context, ms []store.Message) error {
		for _, m := range ms {
			search("the stream", string(m.Data))
			var e sallyport.Event
			if err := e.UnmarshalBinary(m.Data); err != nil {
				t.Error(err)
			}
			seen += len(e.Exchanges)
		}
		if seen >= len(all) {
			cancel()
		}
		return nil
	})
	// Every column of every row of every table.
	var tables []string
	if err := s.Reader().NewRaw("SELECT name FROM sqlite_schema WHERE type = 'table'").Scan(t.Context(), &tables); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, table := range tables {
		var list []map[string]any
		if err := s.Reader().NewSelect().Table(table).Scan(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		for _, row := range list {
			rows++
			for column, v := range row {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				search("table "+table+" column "+column, fmt.Sprint(v))
			}
		}
	}
	if rows < len(all) {
		t.Errorf("%d rows searched, %d exchanges recorded", rows, len(all))
	}
	search("the log", logged.String())
	// What stays must stay useful.
	x, err := j.Find(t.Context(), all[0].ID)
	if err != nil || x.Path != "/a/‹jwt›/b" || x.Query != "limit=25&order=desc&state=open" {
		t.Errorf("the harmless parts are gone too: %+v, %v", x, err)
	}
}

// capture keeps what is logged.
type capture struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *capture) contains(s string) bool { return strings.Contains(c.String(), s) }

func FuzzRedact(f *testing.F) {
	f.Add("/a/b;c=d/%41", "a=b&password=x&%zz", "User-Agent", "x", []byte(`{"a":[1,{"b":"c"}]}`), "application/json")
	f.Add("/\xff/..//", "=&=&", "", "\x00", []byte("a=b&c"), "application/x-www-form-urlencoded")
	f.Add("", "x="+strings.Repeat("aB3", 900), "Accept", strings.Repeat("z", 400), []byte("<a/>"), "text/xml")
	f.Fuzz(func(t *testing.T, path, query, field, value string, body []byte, media string) {
		x := &sallyport.Exchange{Path: path, Query: query, Method: field, Host: value, RequestBody: body, ResponseBody: body,
			RequestHeader: []sallyport.Field{{Name: field, Value: value}, {Name: "Content-Type", Value: media}},
			Undocumented:  []sallyport.Place{{In: sallyport.InBody, Name: path}},
			Decision:      sallyport.Decision{Reasons: []sallyport.Reason{{Detail: value}}}}
		observe.Redact(x)
		if !x.Redacted || x.RequestBody != nil || x.ResponseBody != nil {
			t.Fatal("not redacted")
		}
		texts := []string{x.Path, x.Query, x.Method, x.Host, x.RequestHeader[0].Name, x.RequestHeader[0].Value, x.RequestHeader[1].Value, x.Undocumented[0].Name, x.Decision.Reasons[0].Detail}
		if x.Shape != nil {
			for _, s := range append(x.Shape.Request, x.Shape.Response...) {
				texts = append(texts, s.Pointer)
			}
		}
		for i, s := range texts {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f }) || len(s) > 16<<10 {
				t.Fatalf("text %d is %.200q (%d bytes)", i, s, len(s))
			}
		}
		if _, err := (sallyport.Event{Exchanges: []sallyport.Exchange{*x}}).MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	})
}
