package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const chatSpec = `asyncapi: 3.0.0
info: {title: chat, version: "1"}
channels:
  chat:
    address: /chat/{room}
    parameters: {room: {enum: [lobby, kitchen]}}
    messages:
      say: {payload: {type: object, additionalProperties: false, required: [type, text], properties: {type: {const: say}, text: {type: string, maxLength: 40}}}}
      leave: {payload: {type: object, required: [type], properties: {type: {const: leave}}}}
      said: {payload: {type: object, required: [type, text], properties: {type: {const: said}, text: {type: string}}}}
operations:
  hear: {action: receive, channel: {$ref: '#/channels/chat'}, messages: [{$ref: '#/channels/chat/messages/say'}, {$ref: '#/channels/chat/messages/leave'}]}
  tell: {action: send, channel: {$ref: '#/channels/chat'}, messages: [{$ref: '#/channels/chat/messages/said'}]}
`

const chatSpec2 = `asyncapi: 2.6.0
info: {title: chat, version: "1"}
channels:
  /chat/{room}:
    parameters: {room: {schema: {type: string, enum: [lobby, kitchen]}}}
    publish: {operationId: hear, message: {oneOf: [{$ref: '#/components/messages/say'}, {$ref: '#/components/messages/leave'}]}}
    subscribe: {message: {name: said, payload: {type: object, required: [type, text], properties: {type: {const: said}, text: {type: string}}}}}
components:
  messages:
    say: {name: say, payload: {type: object, additionalProperties: false, required: [type, text], properties: {type: {const: say}, text: {type: string, maxLength: 40}}}}
    leave: {name: leave, payload: {type: object, required: [type], properties: {type: {const: leave}}}}
`

// wait waits for a record of which f holds.
func (r *recorder) wait(t *testing.T, f func(*sallyport.Exchange) bool) *sallyport.Exchange {
	t.Helper()
	end := time.After(5 * time.Second)
	for {
		all := r.list()
		for _, x := range all {
			if f(x) {
				return x
			}
		}
		select {
		case <-r.now:
		case <-end:
			for _, x := range all {
				t.Logf("%s %s %s %d %q %+v", x.Verb, x.Method, x.Path, x.Status, x.Call, x.Decision)
			}
			t.Fatal("no such record")
		}
	}
}

func chat(t testing.TB, text string, mode sallyport.Mode, w policy.WebSocket) guard.API {
	t.Helper()
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "chat.yaml", Data: []byte(text)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: mode, Shadow: policy.Refuse, WebSocket: w}}
}

func inspecting(t testing.TB, apis ...guard.API) *guard.Program {
	t.Helper()
	engine, err := inspect.New(inspect.Options{}) // not kept: others measure the heap
	if err != nil {
		t.Fatal(err)
	}
	p, err := guard.Compile(guard.Config{Name: "test", APIs: apis, Inspect: engine})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parrot answers each message with one of the contract's, or with what the
// message asks for.
func parrot(t testing.TB) string {
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Errorf("extensions reach the upstream: %v", r.Header)
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true, Subprotocols: []string{"graphql-transport-ws"}})
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if kind == websocket.MessageBinary {
				c.Write(r.Context(), kind, b)
				continue
			}
			text := fmt.Sprintf(`{"type":"said","text":"%d"}`, len(b))
			if strings.Contains(string(b), "misbehave") {
				text = `{"type":"oops"}`
			}
			c.Write(r.Context(), websocket.MessageText, []byte(text))
		}
	}).URL
}

func dial(t testing.TB, d *door, path string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	c, res, err := websocket.Dial(t.Context(), "wss://"+d.addr+path, &websocket.DialOptions{HTTPClient: d.client(false), HTTPHeader: header, Subprotocols: protocols,
		CompressionMode: websocket.CompressionContextTakeover})
	if c != nil {
		t.Cleanup(func() { c.CloseNow() })
		c.SetReadLimit(-1)
	}
	return c, res, err
}

// tell sends a message and gives the answer, or the close code.
func tell(t testing.TB, c *websocket.Conn, kind websocket.MessageType, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Write(ctx, kind, []byte(text)); err != nil {
		return fmt.Sprint(int(websocket.CloseStatus(err)))
	}
	_, b, err := c.Read(ctx)
	if err != nil {
		return fmt.Sprint(int(websocket.CloseStatus(err)))
	}
	return string(b)
}

// Messages are held to their channel, in both versions of its description: what
// breaks it ends the connection, what only looks like it passes.
func TestMessages(t *testing.T) {
	said := func(s string) string { return fmt.Sprintf(`{"type":"said","text":"%d"}`, len(s)) }
	up := parrot(t)
	for name, text := range map[string]string{"3.0": chatSpec, "2.6": chatSpec2} {
		d := open(t, gateway.Options{Program: inspecting(t, chat(t, text, sallyport.Enforce, policy.WebSocket{Size: 3000})), APIs: to(up)})
		for _, c := range []struct{ what, message, want, rule, call string }{
			{"say", `{"type":"say","text":"O'Brien's <3"}`, "", "", "say"},
			{"leave", `{"type":"leave"}`, "", "", "leave"},
			{"no message of the channel", `{"type":"shout","text":"x"}`, "1008", "message.kind", ""},
			{"undeclared property", `{"type":"say","text":"x","admin":true}`, "1008", "schema.additionalProperties", ""},
			{"too long a text", `{"type":"say","text":"` + strings.Repeat("x", 41) + `"}`, "1008", "schema.maxLength", ""},
			{"no JSON", `{"type":"say"`, "1008", "json.syntax", ""},
			{"an attack", `{"type":"say","text":"' OR '1'='1' -- "}`, "1008", "sqli", ""},
			{"the service's own", `{"type":"said","text":"x"}`, "1008", "message.kind", ""},
			{"a service that breaks it", `{"type":"say","text":"misbehave"}`, "1008", "", ""},
			{"too large", `{"type":"leave","x":"` + strings.Repeat("x", 5000) + `"}`, "1009", "", ""},
		} {
			conn, res, err := dial(t, d, "/chat/lobby", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.Header.Get("Sec-Websocket-Extensions") != "" {
				t.Error("an extension was agreed on")
			}
			want := c.want
			if want == "" {
				want = said(c.message)
			}
			if got := tell(t, conn, websocket.MessageText, c.message); got != want {
				t.Errorf("%s, %s: got %s, want %s", name, c.what, got, want)
			}
			if c.rule == "" && c.call == "" {
				continue
			}
			x := d.rec.wait(t, func(x *sallyport.Exchange) bool {
				return x.Verb == guard.VerbReceive && x.Template == "/chat/{room}" && (c.call != "" && x.Call == c.call || c.rule != "" && slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return strings.HasPrefix(r.Rule, c.rule) }))
			})
			if x.Proto != "websocket" || x.Decision.Refused() != (c.rule != "") {
				t.Errorf("%s, %s: record %+v", name, c.what, x)
			}
		}
		end := d.rec.wait(t, func(x *sallyport.Exchange) bool {
			return x.Verb == guard.VerbConnection && strings.Contains(x.Call, "1008")
		})
		if !strings.Contains(end.Call, "received 1") || len(end.Decision.Reasons) != 1 {
			t.Errorf("%s: end %+v", name, end)
		}
		if _, res, err := dial(t, d, "/chat/cellar", nil); err == nil || res.StatusCode != 400 {
			t.Errorf("%s: another room: %v %v", name, res, err)
		}
		if _, res, err := dial(t, d, "/other", nil); err == nil || res.StatusCode != 404 {
			t.Errorf("%s: another channel: %v %v", name, res, err)
		}
	}
}

// In observe mode everything passes, and the records say what would be refused.
func TestMessagesAreObserved(t *testing.T) {
	up := parrot(t)
	d := open(t, gateway.Options{Program: inspecting(t, chat(t, chatSpec, sallyport.Observe, policy.WebSocket{Size: 3000, Rate: policy.Rate{Count: 2, Window: time.Hour}})), APIs: to(up)})
	conn, _, err := dial(t, d, "/chat/lobby", http.Header{"Origin": {"https://evil.example"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{`{"type":"shout"}`, `{"type":"leave","x":"` + strings.Repeat("x", 200_000) + `"}`, `{"type":"say","text":"' OR '1'='1' -- "}`, "{"} {
		if got := tell(t, conn, websocket.MessageText, m); got != fmt.Sprintf(`{"type":"said","text":"%d"}`, len(m)) {
			t.Errorf("%.30s: got %s", m, got)
		}
	}
	for _, rule := range []string{"message.kind", "message.size", "message.rate", "json.syntax", "websocket.origin"} {
		d.rec.wait(t, func(x *sallyport.Exchange) bool {
			return !x.Decision.Refused() && slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Rule == rule && r.Mode == sallyport.Observe })
		})
	}
	conn.Close(websocket.StatusNormalClosure, "")
	d.rec.wait(t, func(x *sallyport.Exchange) bool {
		return x.Verb == guard.VerbConnection && strings.HasPrefix(x.Call, "close 1000, received 4, sent 4")
	})
}

// A page of another origin does not open a connection in its visitor's name.
func TestOrigins(t *testing.T) {
	up := parrot(t)
	d := open(t, gateway.Options{Program: inspecting(t, chat(t, chatSpec, sallyport.Enforce, policy.WebSocket{Origins: []string{"https://app.example.test"}})), APIs: to(up)})
	for origin, want := range map[string]int{"": 101, "https://app.example.test": 101, "https://" + d.addr: 101, "http://" + d.addr: 403, "https://app.example.test.evil.example": 403,
		"https://evil.example": 403, "null": 403, "https://app.example.test/": 403} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		_, res, err := dial(t, d, "/chat/lobby", h)
		if res == nil || res.StatusCode != want {
			t.Errorf("origin %q: got %v %v, want %d", origin, res, err, want)
		}
	}
}

// Connections end by their terms, each with its code.
func TestTermsOfConnections(t *testing.T) {
	up := parrot(t)
	for _, c := range []struct {
		name string
		w    policy.WebSocket
		send int
		want string
	}{
		{"rate", policy.WebSocket{Rate: policy.Rate{Count: 3, Window: time.Hour}}, 4, "1008"},
		{"count", policy.WebSocket{Count: 3}, 4, "1008"},
		{"idle", policy.WebSocket{Idle: 200 * time.Millisecond}, 0, "1001"},
		{"life", policy.WebSocket{Life: 200 * time.Millisecond}, 0, "1001"},
	} {
		d := open(t, gateway.Options{Program: inspecting(t, chat(t, chatSpec, sallyport.Enforce, c.w)), APIs: to(up)})
		conn, _, err := dial(t, d, "/chat/lobby", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i := range c.send {
			if got = tell(t, conn, websocket.MessageText, `{"type":"leave"}`); i < c.send-1 && !strings.Contains(got, "said") {
				t.Fatalf("%s: message %d: %s", c.name, i, got)
			}
		}
		if c.send == 0 {
			_, _, err := conn.Read(t.Context())
			got = fmt.Sprint(int(websocket.CloseStatus(err)))
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// When the token ends, the connection that it has opened ends.
func TestConnectionEndsWithItsCredential(t *testing.T) {
	up := parrot(t)
	api := chat(t, chatSpec, sallyport.Enforce, policy.WebSocket{})
	api.Policy.Auth.Keys = []policy.Key{{ID: "k", Hash: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", Expires: time.Now().Add(700 * time.Millisecond)}}
	d := open(t, gateway.Options{Program: inspecting(t, api), APIs: to(up)})
	conn, _, err := dial(t, d, "/chat/lobby", http.Header{"X-Api-Key": {"foo"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("got %v, want 4401", err)
	}
	d.rec.wait(t, func(x *sallyport.Exchange) bool {
		return x.Verb == guard.VerbConnection && slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return r.Rule == "credentials.ended" })
	})
}

// Operations of GraphQL over WebSocket are judged like any other.
func TestGraphQLOverWebSocket(t *testing.T) {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "s.graphql", Data: []byte("type Query { version: String } type Subscription { posted(room: String!): String }")}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	up := parrot(t)
	api := guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: policy.API{Mode: sallyport.Enforce, GraphQL: policy.GraphQL{Upgrade: policy.CheckIt}}}
	d := open(t, gateway.Options{Program: inspecting(t, api), APIs: to(up)})
	for _, c := range []struct{ what, message, want string }{
		{"hello", `{"type":"connection_init","payload":{"token":"x"}}`, ""},
		{"subscription", `{"type":"subscribe","id":"1","payload":{"query":"subscription { posted(room: \"O'Brien\") }"}}`, ""},
		{"query", `{"type":"subscribe","id":"1","payload":{"query":"query($r: String!) { version __typename }","variables":{"r":"x"}}}`, "1008"},
		{"unknown field", `{"type":"subscribe","id":"1","payload":{"query":"{ password }"}}`, "1008"},
		{"introspection", `{"type":"subscribe","id":"1","payload":{"query":"{ __schema { types { name } } }"}}`, "1008"},
		{"attack", `{"type":"subscribe","id":"1","payload":{"query":"subscription($r: String!) { posted(room: $r) }","variables":{"r":"' OR '1'='1' -- "}}}`, "1008"},
		{"no id", `{"type":"subscribe","payload":{"query":"{ version }"}}`, "1008"},
		{"unknown type", `{"type":"data","id":"1"}`, "1008"},
		{"no object", `[]`, "1008"},
		{"end", `{"type":"complete","id":"1"}`, ""},
	} {
		conn, _, err := dial(t, d, "/graphql", nil, "graphql-transport-ws")
		if err != nil {
			t.Fatal(err)
		}
		want := c.want
		if want == "" {
			want = fmt.Sprintf(`{"type":"said","text":"%d"}`, len(c.message))
		}
		if got := tell(t, conn, websocket.MessageText, c.message); got != want {
			t.Errorf("%s: got %s, want %s", c.what, got, want)
		}
	}
	d.rec.wait(t, func(x *sallyport.Exchange) bool { return x.Verb == "subscription" && x.Template == "posted" })
}
