package observe_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"sallyport.dev"
	"sallyport.dev/observe"
)

func lessonOf(t testing.TB, x sallyport.Exchange) *sallyport.Exchange {
	t.Helper()
	r, err := observe.NewRedactor(observe.RedactOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Redact(&x)
	return &x
}

func posted(media, body string) sallyport.Exchange {
	return sallyport.Exchange{API: "a", Method: "POST", Path: "/api", Status: 200, Origin: 200, RequestBody: []byte(body), RequestBytes: int64(len(body)),
		RequestHeader: []sallyport.Field{{Name: "Content-Type", Value: media}}, Decision: sallyport.Decision{Action: sallyport.ActionAllow}}
}

// TestCallsInBodies: what bodies ask for by name is found, with the types of
// arguments and without a value; their look-alikes name nothing.
func TestCallsInBodies(t *testing.T) {
	soap := posted("text/xml", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><GetPrice xmlns="urn:shop"><item>Adaline</item></GetPrice></s:Body></s:Envelope>`)
	soap.RequestHeader = append(soap.RequestHeader, sallyport.Field{Name: "SOAPAction", Value: `"urn:shop#GetPrice"`})
	for _, c := range []struct {
		name string
		x    sallyport.Exchange
		want []string
	}{
		{"graphql", posted("application/json", `{"query":"query Q($id: ID!) { user(id: $id, limit: 3, note: \"Adaline\") { name orders { total } } }","variables":{"id":"7"}}`), []string{"query user /id=ID! /limit=Int /note=String [/name /orders /orders/total]"}},
		{"graphql, fragments", posted("application/json", `{"query":"mutation { pay(to: {iban: \"Adaline\"}, by: [1], how: FAST, sure: true, sum: 1.5) { ...f } } fragment f on P { id }"}`), []string{"mutation pay /to=object /by=list /how=enum /sure=Boolean /sum=Float [/id]"}},
		{"graphql, a fragment in itself", posted("application/json", `{"query":"{ a { ...f } } fragment f on P { b { ...f } }"}`), nil},
		{"graphql, broken", posted("application/json", `{"query":"query { user(id: "}`), []string{}},
		{"a search", posted("application/json", `{"query":"Adaline and others"}`), []string{}},
		{"json-rpc", posted("application/json", `{"jsonrpc":"2.0","method":"account.close","params":{"id":7,"why":"Adaline"},"id":1}`), []string{"json-rpc account.close /id=integer /why=string []"}},
		{"json-rpc, several", posted("application/json", `[{"jsonrpc":"2.0","method":"a","params":[1.5]},{"jsonrpc":"2.0","method":"b"}]`), []string{"json-rpc a /*=number []", "json-rpc b []"}},
		{"a method that is none", posted("application/json", `{"method":"card","params":{"number":1}}`), []string{}},
		{"soap", soap, []string{"soap GetPrice []"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := lessonOf(t, c.x)
			if x.Lesson == nil {
				t.Fatal("no lesson")
			}
			got := []string{}
			for _, call := range x.Lesson.Calls {
				s := call.Kind + " " + call.Name
				for _, a := range call.Arguments {
					s += " " + a.Pointer + "=" + a.Type
				}
				got = append(got, s+" ["+strings.Join(call.Fields, " ")+"]")
			}
			if c.want != nil && !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if strings.Contains(fmt.Sprint(x.Lesson), "Adaline") {
				t.Errorf("a value is in the lesson: %+v", x.Lesson)
			}
		})
	}
}

// framed is a gRPC message with the five bytes before it.
func framed(message []byte) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
}

func grpcMessage() []byte {
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	inner = protowire.AppendFixed64(protowire.AppendTag(inner, 2, protowire.Fixed64Type), 1<<63)
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "Adaline Byron")
	return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), inner)
}

func TestCallsOfGRPC(t *testing.T) {
	x := posted("application/grpc", framed(grpcMessage()))
	x.Path = "/shop.v1.Orders/Place"
	got := lessonOf(t, x)
	var shape []string
	if got.Shape != nil {
		for _, p := range got.Shape.Request {
			shape = append(shape, p.Pointer+"="+p.Type)
		}
	}
	slices.Sort(shape)
	if want := []string{"/1=string", "/3/1=varint", "/3/2=fixed64", "/3=message"}; !slices.Equal(shape, want) {
		t.Errorf("shape %q, want %q", shape, want)
	}
	if s := fmt.Sprint(got.Lesson, got.Shape); strings.Contains(s, "Adaline") || !strings.Contains(s, "grpc") {
		t.Errorf("lesson %+v, want the method and no value", got.Lesson)
	}
}

// TestWordsNeedThreeCallers: a value is of an enumeration when three principals
// have it in common, never when two have, and never under a name that speaks of people.
func TestWordsNeedThreeCallers(t *testing.T) {
	for _, c := range []struct {
		callers int
		key     string
		shown   bool
	}{{3, "status", true}, {2, "status", false}, {1, "status", false}, {5, "owner", false}, {5, "city", false}} {
		r, err := observe.NewRedactor(observe.RedactOptions{})
		if err != nil {
			t.Fatal(err)
		}
		shown := false
		for i := range 60 {
			x := posted("application/json", fmt.Sprintf(`{"%s":"pending"}`, c.key))
			x.Principal = sallyport.Principal{Kind: "oidc", Issuer: "i", Subject: fmt.Sprint(i % c.callers)}
			x.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) // a caller is who it says, and not where it comes from
			r.Redact(&x)
			shown = shown || x.Lesson != nil && slices.ContainsFunc(x.Lesson.Words, func(w sallyport.Word) bool { return w.Value == "pending" })
		}
		if shown != c.shown {
			t.Errorf("%d callers, %s: shown %v, want %v", c.callers, c.key, shown, c.shown)
		}
	}
}

func FuzzCallsInBodies(f *testing.F) {
	f.Add("application/json", `{"query":"{ a { ...f } } fragment f on P { b { ...f } }"}`)
	f.Add("application/json", `{"query":"query($a:[Int!]!){x(a:$a,b:{c:[1,{d:2}]}){... on Y{z}}}"}`)
	f.Add("application/json", `[{"jsonrpc":"2.0","method":"m","params":[{}]}]`)
	f.Add("application/grpc", framed(grpcMessage()))
	f.Add("application/grpc", "\x00\x00\x00\x00\x06\x0b\x0b\x0b\x0c\x0c\x0c")
	f.Fuzz(func(t *testing.T, media, body string) {
		x := lessonOf(t, posted(media, body))
		if x.Lesson != nil && len(x.Lesson.Calls) > 16 {
			t.Errorf("%d calls", len(x.Lesson.Calls))
		}
		if x.Shape != nil && len(x.Shape.Request) > 1024 {
			t.Errorf("%d places", len(x.Shape.Request))
		}
	})
}
