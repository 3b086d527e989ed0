package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"sallyport.dev"
	"sallyport.dev/adapter/accesslog"
	"sallyport.dev/adapter/otlp"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/observe"
)

const token = "made for this test"

func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func kv(k string, v any) *common.KeyValue {
	out := &common.KeyValue{Key: k, Value: &common.AnyValue{}}
	switch v := v.(type) {
	case string:
		out.Value.Value = &common.AnyValue_StringValue{StringValue: v}
	case int:
		out.Value.Value = &common.AnyValue_IntValue{IntValue: int64(v)}
	case []string:
		list := &common.ArrayValue{}
		for _, s := range v {
			list.Values = append(list.Values, kv("", s).Value)
		}
		out.Value.Value = &common.AnyValue_ArrayValue{ArrayValue: list}
	}
	return out
}

func stable(s sourcetest.Sent) []*common.KeyValue {
	return []*common.KeyValue{kv("http.request.method", s.Method), kv("url.path", s.Path), kv("url.query", s.Query), kv("url.scheme", "https"), kv("server.address", s.Host), kv("server.port", 443),
		kv("http.response.status_code", s.Status), kv("client.address", "192.0.2.7"), kv("network.protocol.version", "2"), kv("http.request.header.authorization", []string{"Bearer " + sourcetest.Secret})}
}

func old(s sourcetest.Sent) []*common.KeyValue {
	return []*common.KeyValue{kv("http.method", s.Method), kv("http.target", s.Path+"?"+s.Query), kv("http.scheme", "https"), kv("http.host", s.Host), kv("http.status_code", s.Status), kv("net.sock.peer.addr", "192.0.2.7")}
}

func byURL(s sourcetest.Sent) []*common.KeyValue {
	return []*common.KeyValue{kv("http.method", s.Method), kv("http.url", "https://"+s.Host+s.Path+"?"+s.Query), kv("http.status_code", fmt.Sprint(s.Status))}
}

// spans is an export request; its bytes are those of TracesData.
func spans(list []sourcetest.Sent, bad bool, a func(sourcetest.Sent) []*common.KeyValue) *trace.TracesData {
	var out []*trace.Span
	for i, s := range list {
		id := binary.BigEndian.AppendUint64(nil, uint64(i+1))
		at := uint64(s.Time.UnixNano())
		out = append(out, &trace.Span{TraceId: append(id, id...), SpanId: id, Kind: trace.Span_SPAN_KIND_SERVER, StartTimeUnixNano: at, EndTimeUnixNano: at + 5e6, Attributes: a(s)},
			&trace.Span{TraceId: id, SpanId: id, Kind: trace.Span_SPAN_KIND_CLIENT, StartTimeUnixNano: at, Attributes: a(s)},
			&trace.Span{Kind: trace.Span_SPAN_KIND_SERVER, Attributes: []*common.KeyValue{kv("rpc.system", "other")}})
	}
	if bad {
		out = append(out, &trace.Span{Kind: trace.Span_SPAN_KIND_SERVER, Attributes: []*common.KeyValue{kv("http.request.method", "GET"), kv("url.path", sourcetest.Secret)}})
	}
	return &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{Resource: &resource.Resource{Attributes: []*common.KeyValue{kv("service.name", "shop")}}, ScopeSpans: []*trace.ScopeSpans{{Spans: out}}}}}
}

func records(list []sourcetest.Sent, bad bool) *logs.LogsData {
	var out []*logs.LogRecord
	for i, s := range list {
		r := &logs.LogRecord{TimeUnixNano: uint64(s.Time.UnixNano())}
		target := s.Path
		if s.Query != "" {
			target += "?" + s.Query
		}
		switch i % 3 {
		case 0:
			r.Attributes = stable(s)
		case 1:
			r.Body = kv("", fmt.Sprintf("%s:443 192.0.2.7 - - [%s] %q %d 5 \"-\" \"x\"\n", s.Host, s.Time.Format("02/Jan/2006:15:04:05 -0700"), s.Method+" "+target+" HTTP/1.1", s.Status)).Value
		case 2:
			r.Body = &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{kv("request_method", s.Method), kv("request_uri", target), kv("host", s.Host), kv("status", s.Status), kv("time_iso8601", s.Time.Format(time.RFC3339))}}}}
		}
		out = append(out, r)
	}
	if bad {
		out = append(out, &logs.LogRecord{Body: kv("", "a line of an application, "+sourcetest.Secret).Value})
	}
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: out}}}}}
}

func pack(t testing.TB, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asJSON writes ids in hexadecimal and kinds as numbers, as the protocol has it.
func asJSON(t testing.TB, m proto.Message) []byte {
	b, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if s, ok := e.(string); ok && (k == "traceId" || k == "spanId") {
					var raw []byte
					_ = json.Unmarshal([]byte(`"`+s+`"`), &raw)
					v[k] = hex.EncodeToString(raw)
				}
				walk(e)
			}
		}
	}
	walk(v)
	b, _ = json.Marshal(v)
	return b
}

func squeeze(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	z.Close()
	return out.Bytes()
}

func server(t *testing.T, network string) *otlp.Server {
	guess := &accesslog.Guess{}
	return &otlp.Server{Network: network, Address: free(t), Token: token, Decoder: otlp.Decoder{Parse: guess.Parse}}
}

func post(t *testing.T, s *otlp.Server, path, kind, coding, bearer string, body []byte) (int, http.Header, []byte) {
	t.Helper()
	for s.Health().State != "reading" {
		time.Sleep(2 * time.Millisecond)
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Address+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", "Bearer "+bearer)
	if coding != "" {
		r.Header.Set("Content-Encoding", coding)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, b
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = bytes.Clone(b); return nil }

var _ encoding.Codec = raw{}

func call(t *testing.T, s *otlp.Server, method, bearer string, body []byte, options ...grpc.CallOption) ([]byte, error) {
	t.Helper()
	for s.Health().State != "reading" {
		time.Sleep(2 * time.Millisecond)
	}
	c, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []byte
	err = c.Invoke(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+bearer), method, &body, &out, append(options, grpc.ForceCodec(raw{}))...)
	return out, err
}

const (
	exportTraces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	exportLogs   = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
)

func TestSource(t *testing.T) {
	for _, c := range []struct {
		name, network string
		send          func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool)
	}{
		{"traces by HTTP, stable names, gzip", "http", func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool) {
			code, _, b := post(t, s, "/v1/traces", "application/x-protobuf", "gzip", token, squeeze(pack(t, spans(list, bad, stable))))
			if code != 200 || bad != (len(b) > 0) || bytes.Contains(b, []byte(sourcetest.Secret)) {
				t.Errorf("%d %q", code, b)
			}
		}},
		{"traces by HTTP as JSON, old names", "http", func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool) {
			code, _, b := post(t, s, "/v1/traces", "application/json", "", token, asJSON(t, spans(list, bad, old)))
			if code != 200 || bad != strings.Contains(string(b), `"rejectedSpans":"1"`) {
				t.Errorf("%d %q", code, b)
			}
		}},
		{"traces by gRPC, whole URLs", "grpc", func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool) {
			if b, err := call(t, s, exportTraces, token, pack(t, spans(list, bad, byURL))); err != nil || bad != (len(b) > 0) {
				t.Errorf("%v %q", err, b)
			}
		}},
		{"logs by gRPC, gzip", "grpc", func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool) {
			if b, err := call(t, s, exportLogs, token, pack(t, records(list, bad)), grpc.UseCompressor("gzip")); err != nil || bad != (len(b) > 0) {
				t.Errorf("%v %q", err, b)
			}
		}},
		{"logs by HTTP as JSON", "http", func(t *testing.T, s *otlp.Server, list []sourcetest.Sent, bad bool) {
			code, _, b := post(t, s, "/v1/logs", "application/json", "", token, asJSON(t, records(list, bad)))
			if code != 200 || bad != strings.Contains(string(b), `"rejectedLogRecords":"1"`) || bytes.Contains(b, []byte(sourcetest.Secret)) {
				t.Errorf("%d %q", code, b)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Subject{New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
				s := server(t, c.network)
				return s, func(list []sourcetest.Sent, bad bool) { c.send(t, s, list, bad) }
			}})
		})
	}
}

func started(t *testing.T, s *otlp.Server, emit func(*sallyport.Exchange) error) func() error {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, emit) }()
	return func() error { end(); return <-done }
}

func TestWhoMaySendWhat(t *testing.T) {
	s := server(t, "http")
	var got atomic.Int64
	stop := started(t, s, func(*sallyport.Exchange) error { got.Add(1); return nil })
	one := pack(t, spans(sourcetest.Traffic(1), false, stable))
	const pb, js = "application/x-protobuf", "application/json"
	for _, c := range []struct {
		name, path, kind, coding, bearer string
		body                             []byte
		code                             int
	}{
		{"good", "/v1/traces", pb, "", token, one, 200},
		{"another token", "/v1/traces", pb, "", "x", one, 401},
		{"no token", "/v1/traces", pb, "", "", one, 401},
		{"metrics", "/v1/metrics", pb, "", token, one, 404},
		{"elsewhere", "/", pb, "", token, one, 404},
		{"another kind", "/v1/traces", "text/plain", "", token, one, 415},
		{"another compression", "/v1/traces", pb, "br", token, one, 400},
		{"no gzip", "/v1/traces", pb, "gzip", token, one, 400},
		{"cut gzip", "/v1/traces", pb, "gzip", token, squeeze(one)[:60], 400},
		{"empty", "/v1/traces", pb, "", token, nil, 200},
		{"empty JSON", "/v1/traces", js, "", token, []byte("{}"), 200},
		{"cut", "/v1/traces", pb, "", token, one[:len(one)-3], 400},
		{"cut JSON", "/v1/traces", js, "", token, asJSON(t, spans(sourcetest.Traffic(1), false, stable))[:90], 400},
		{"JSON as protobuf", "/v1/traces", pb, "", token, []byte(`{"resourceSpans":[]}`), 400},
		{"protobuf as JSON", "/v1/traces", js, "", token, one, 400},
		{"larger than the bound", "/v1/traces", pb, "", token, make([]byte, 9<<20), 413},
		{"a bomb", "/v1/traces", pb, "gzip", token, squeeze(make([]byte, 100<<20)), 413},
		{"a deep one", "/v1/logs", js, "", token, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 20000) + `]}}]}]}]}`), 400},
		{"many empty records", "/v1/traces", js, "", token, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{}` + strings.Repeat(`,{}`, 1<<17) + `]}]}]}`), 200},
	} {
		if code, _, b := post(t, s, c.path, c.kind, c.coding, c.bearer, c.body); code != c.code || len(b) > 1000 {
			t.Errorf("%s: %d %.200q, want %d", c.name, code, b, c.code)
		}
	}
	if err := stop(); err != nil || got.Load() != 1 {
		t.Errorf("%v, %d exchanges, want 1", err, got.Load())
	}
	g := server(t, "grpc")
	stop = started(t, g, func(*sallyport.Exchange) error { return nil })
	for _, c := range []struct {
		bearer string
		body   []byte
		code   codes.Code
	}{{"x", one, codes.Unauthenticated}, {token, one[:len(one)-3], codes.InvalidArgument}, {token, make([]byte, 9<<20), codes.ResourceExhausted}, {token, one, codes.OK}} {
		if _, err := call(t, g, exportTraces, c.bearer, c.body); status.Code(err) != c.code {
			t.Errorf("gRPC: %v, want %s", err, c.code)
		}
	}
	_ = stop()
}

// While the stream is slow, a flood waits a little and is then told to come
// again; what was taken is not lost.
func TestFlood(t *testing.T) {
	for _, network := range []string{"http", "grpc"} {
		t.Run(network, func(t *testing.T) {
			s := server(t, network)
			gate := make(chan struct{})
			stop := started(t, s, func(*sallyport.Exchange) error { <-gate; return nil })
			one := pack(t, spans(sourcetest.Traffic(1), false, stable))
			results := make(chan string, 20)
			for range 20 {
				go func() {
					if network == "grpc" {
						_, err := call(t, s, exportTraces, token, one)
						st := status.Convert(err)
						results <- fmt.Sprint(st.Code(), len(st.Details()))
						return
					}
					code, h, _ := post(t, s, "/v1/traces", "application/x-protobuf", "", token, one)
					results <- fmt.Sprint(code, h.Get("Retry-After"))
				}()
			}
			count := map[string]int{}
			for range 12 {
				count[<-results]++
			}
			close(gate)
			for range 8 {
				count[<-results]++
			}
			if good, told := count["200"]+count["OK 0"], count["4291"]+count["ResourceExhausted 1"]; good != 8 || told != 12 {
				t.Errorf("%v", count)
			}
			if s.Health().Emitted != 8 || s.Health().Notice == "" {
				t.Errorf("%+v", s.Health())
			}
			_ = stop()
		})
	}
}

// When exchanges cannot be taken any more, the source ends with that error and
// the sender keeps what it has.
func TestTakenNoMore(t *testing.T) {
	s := server(t, "http")
	full := errors.New("full")
	stop := started(t, s, func(*sallyport.Exchange) error { return full })
	if code, _, _ := post(t, s, "/v1/traces", "application/x-protobuf", "", token, pack(t, spans(sourcetest.Traffic(1), false, stable))); code != 503 {
		t.Errorf("%d", code)
	}
	if err := stop(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pack(f, spans(sourcetest.Traffic(3), true, old)), true)
	f.Add(asJSON(f, spans(sourcetest.Traffic(3), true, stable)), true)
	f.Add(pack(f, records(sourcetest.Traffic(3), true)), false)
	f.Add(asJSON(f, records(sourcetest.Traffic(3), true)), false)
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00}, true)
	f.Fuzz(func(t *testing.T, b []byte, traces bool) {
		guess := &accesslog.Guess{}
		d := otlp.Decoder{Parse: guess.Parse}
		signal := otlp.Logs
		if traces {
			signal = otlp.Traces
		}
		_ = d.Decode(signal, b, func(x *sallyport.Exchange, err error) error {
			if x != nil && (err != nil || x.Method == "" || x.Path == "" || x.Time.IsZero()) {
				t.Errorf("%+v with %v", x, err)
			}
			return nil
		})
	})
}
