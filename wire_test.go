package sallyport_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"sallyport.dev"
)

// full has every field set, so that a forgotten one shows.
func full() sallyport.Event {
	at := time.UnixMicro(1_790_000_000_123_456).UTC()
	place := sallyport.Place{In: sallyport.InBody, Name: "/a/0"}
	classes := []sallyport.DataClass{{Class: "email", Place: place, Response: true}, {Class: "iban", Place: place}}
	shape := &sallyport.Shape{Request: []sallyport.Typed{{Pointer: "/a", Type: "string", Format: "uuid"}}, Response: []sallyport.Typed{}}
	who := sallyport.Principal{Kind: "oidc", Issuer: "https://idp.example.test", Subject: "alice", Client: "app", Actor: "desk"}
	return sallyport.Event{Source: 1 << 40,
		Exchanges: []sallyport.Exchange{{ID: "01", Time: at, Duration: time.Millisecond, Upstream: time.Microsecond, Door: "gateway", API: "shop", Template: "/x/{id}", Declared: true,
			Method: "GET", Host: "h", Path: "/x/1", Query: "q=1", Proto: "HTTP/1.1", TLS: true, Client: netip.MustParseAddr("2001:db8::1"), Principal: who, Status: 200, Origin: 201,
			Instance: "http://10.0.0.1", Retries: 2, RequestHeader: []sallyport.Field{{Name: "A", Value: "b"}}, ResponseHeader: []sallyport.Field{{Name: "C", Value: "d"}},
			RequestBytes: 70000, ResponseBytes: 5_000_000_000,
			Decision: sallyport.Decision{Action: sallyport.ActionRefuse, Stage: sallyport.StageInspect, Status: 403, Program: "p", Relief: []string{"cache.hit"}, NotInspected: []string{"body"},
				Reasons: []sallyport.Reason{{Stage: sallyport.StageInspect, Rule: "sqli.union", Place: place, Class: "sqli", Detail: "d", Mode: sallyport.Enforce, Exception: "E1"}}},
			Undocumented: []sallyport.Place{place}, NewStatus: true, Unseen: true, Redacted: true, Classes: classes, Shape: shape, Verb: "query", Also: []string{"query user"}, Call: "GetPrice",
			Cost: sallyport.Cost{CPU: 3 * time.Millisecond, Estimated: true, Bytes: 1 << 20, Rows: 12, Money: 250_000, Units: 1.5},
			Lesson: &sallyport.Lesson{Scheme: "bearer", Cookies: []string{"session"}, RequestAbsent: []string{"/a"}, ResponseAbsent: []string{"/b"},
				Words: []sallyport.Word{{Place: place, Response: true, Value: "open"}},
				Calls: []sallyport.Call{{Kind: "query", Name: "user", Arguments: []sallyport.Typed{{Pointer: "/id", Type: "ID!"}}, Fields: []string{"/name"}}}}},
			{ID: "02", Redacted: true, Client: netip.MustParseAddr("192.0.2.1"), Status: -1}},
		Sightings: []sallyport.Sighting{{ID: "01", Time: at, API: "shop", Method: "GET", Template: "/y/{id}", Path: "/y/2", Status: 404, Reasons: []string{"r"}, Replaces: []string{"/y/2"}, Unseen: true,
			Origin: 404, Principal: who, Refused: true, Duration: 3, RequestBytes: 4, ResponseBytes: 5, TLS: true, Classes: classes, Shape: shape, Parameters: []sallyport.Place{place}}}}
}

func TestEventsComeBackWhole(t *testing.T) {
	want := full()
	for _, x := range []any{want.Exchanges[0], want.Sightings[0]} {
		for i, v := 0, reflect.ValueOf(x); i < v.NumField(); i++ {
			if f := v.Type().Field(i); v.Field(i).IsZero() && f.Tag.Get("cbor") != "-" {
				t.Errorf("the test leaves %s.%s empty", v.Type(), f.Name)
			}
		}
	}
	b, err := want.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got sallyport.Event
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wrote\n%+v\nread\n%+v", want, got)
	}
	var some sallyport.Event
	if err := some.UnmarshalKeys(b, sallyport.KeysOf(1, 17)); err != nil {
		t.Fatal(err)
	}
	if x := some.Exchanges[0]; x.ID != "01" || x.Status != 200 || x.Door != "" || x.Decision.Action != "" {
		t.Errorf("with two keys: %+v", x)
	}
}

// Another reader of CBOR must read the same keys, as the tags say.
func TestEventsAreCBOR(t *testing.T) {
	e := full()
	b, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var generic map[int]any
	if err := cbor.Unmarshal(b, &generic); err != nil {
		t.Fatal(err)
	}
	x := generic[1].([]any)[0].(map[any]any)
	typ := reflect.TypeFor[sallyport.Exchange]()
	for i := range typ.NumField() {
		tag := typ.Field(i).Tag.Get("cbor")
		if tag == "-" {
			continue
		}
		var key uint64
		for _, c := range tag {
			if c == ',' {
				break
			}
			key = key*10 + uint64(c-'0')
		}
		if _, ok := x[key]; !ok {
			t.Errorf("no key %d (%s)", key, typ.Field(i).Name)
		}
	}
	if len(x) != 36 {
		t.Errorf("%d keys in an exchange, want 36", len(x))
	}
}

func TestUnredactedExchangesStayHome(t *testing.T) {
	if _, err := (sallyport.Event{Exchanges: []sallyport.Exchange{{ID: "01"}}}).MarshalBinary(); err == nil {
		t.Error("an exchange that is not redacted was encoded")
	}
}

func TestNewerEventsAreRead(t *testing.T) {
	b, err := cbor.Marshal(map[int]any{1: []any{map[int]any{1: "01", 99: map[string]any{"later": []int{1}}, 17: 200}}, 9: "new"})
	if err != nil {
		t.Fatal(err)
	}
	var e sallyport.Event
	if err := e.UnmarshalBinary(b); err != nil || len(e.Exchanges) != 1 || e.Exchanges[0].Status != 200 {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzEvent(f *testing.F) {
	e := full()
	b, err := e.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{0xa1, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e sallyport.Event
		if e.UnmarshalBinary(b) != nil {
			return
		}
		for i := range e.Exchanges {
			e.Exchanges[i].Redacted = true
		}
		once, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var again sallyport.Event
		if err := again.UnmarshalBinary(once); err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if twice, _ := again.MarshalBinary(); !bytes.Equal(once, twice) {
			t.Error("writing twice gives two results")
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	e := sallyport.Event{}
	for range 128 {
		x := full().Exchanges[0]
		x.Shape, x.Classes, x.Undocumented, x.Decision.Reasons = nil, nil, nil, nil
		e.Exchanges = append(e.Exchanges, x)
	}
	data, _ := e.MarshalBinary()
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data, _ = e.AppendBinary(data[:0])
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e sallyport.Event
			if err := e.UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
	})
	b.Run("read-some", func(b *testing.B) {
		keys := sallyport.KeysOf(2, 3, 6, 7, 8, 9, 16, 17, 25)
		b.ReportAllocs()
		for b.Loop() {
			var e sallyport.Event
			if err := e.UnmarshalKeys(data, keys); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/exchange")
	})
}
