package otlp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Signal tells what an export request holds.
type Signal int

// The signals that hold exchanges.
const (
	Traces Signal = iota + 1
	Logs
)

func (s Signal) String() string {
	if s == Traces {
		return "traces"
	}
	return "logs"
}

// A Decoder makes exchanges of export requests. It is for one goroutine.
type Decoder struct {
	// Parse makes an exchange of a log record that is a line; nil = lines are bad.
	Parse func(line []byte) (*sallyport.Exchange, error)
	Host  string // of records that name none, before the service's name
}

// Bounds.
const (
	maxRecord = 1 << 20
	maxFields = 200
)

var (
	errMessage = errors.New("is no export request that can be read")
	errRecord  = errors.New("cannot be read")
	errLong    = errors.New("is longer than 1 MiB")
	errNoHTTP  = errors.New("holds neither http attributes nor a line of an access log")
)

// Decode calls yield for each record of an export request, in the encoding of
// Protocol Buffers or, when it begins with {, of JSON: with an exchange; with the
// reason why there is none; or with neither, for spans that are of no server's
// side of HTTP. One record is decoded at a time, whatever the request claims. An
// error of yield ends it.
func (d *Decoder) Decode(signal Signal, b []byte, yield func(*sallyport.Exchange, error) error) error {
	if isJSON(b) {
		return d.json(signal, b, yield)
	}
	// Both signals have the same frame: 1 (of 1 resource, 2 (of 2 record)*)*.
	return each(b, 1, func(group []byte) error {
		var res resource.Resource
		if err := each(group, 1, func(b []byte) error {
			if len(b) > maxRecord || proto.Unmarshal(b, &res) != nil {
				return errMessage
			}
			return nil
		}); err != nil {
			return err
		}
		service := serviceName(&res)
		return each(group, 2, func(scope []byte) error {
			return each(scope, 2, func(b []byte) error {
				return d.record(signal, b, service, proto.Unmarshal, yield)
			})
		})
	})
}

// isJSON looks for what no request in Protocol Buffers begins with: { is the tag
// of a group that both signals lack.
func isJSON(b []byte) bool {
	t := bytes.TrimLeft(b, " \t\r\n")
	return len(t) > 0 && t[0] == '{'
}

// each calls f with every submessage of that number.
func each(b []byte, want protowire.Number, f func([]byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		if num == want && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errMessage
			}
			if err := f(v); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return errMessage
		}
		b = b[n:]
	}
	return nil
}

// group is what both signals' requests have in JSON.
type group struct {
	Resource json.RawMessage `json:"resource"`
	Spans    []struct {
		Spans []json.RawMessage `json:"spans"`
	} `json:"scopeSpans"`
	Logs []struct {
		Records []json.RawMessage `json:"logRecords"`
	} `json:"scopeLogs"`
}

func (d *Decoder) json(signal Signal, b []byte, yield func(*sallyport.Exchange, error) error) error {
	var in struct {
		Spans []group `json:"resourceSpans"`
		Logs  []group `json:"resourceLogs"`
	}
	if json.Unmarshal(b, &in) != nil {
		return errMessage
	}
	read := func(b []byte, m proto.Message) error {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
	}
	list := in.Spans
	if signal == Logs {
		list = in.Logs
	}
	for _, g := range list {
		var res resource.Resource
		if len(g.Resource) > maxRecord || len(g.Resource) > 0 && read(g.Resource, &res) != nil {
			return errMessage
		}
		service := serviceName(&res)
		for _, s := range g.Spans {
			for _, r := range s.Spans {
				if err := d.record(signal, r, service, read, yield); err != nil {
					return err
				}
			}
		}
		for _, s := range g.Logs {
			for _, r := range s.Records {
				if err := d.record(signal, r, service, read, yield); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func serviceName(r *resource.Resource) string {
	for _, kv := range r.GetAttributes() {
		if kv.GetKey() == "service.name" {
			if name := kv.GetValue().GetStringValue(); !strings.HasPrefix(name, "unknown_service") {
				return name
			}
		}
	}
	return ""
}

func (d *Decoder) record(signal Signal, b []byte, service string, read func([]byte, proto.Message) error, yield func(*sallyport.Exchange, error) error) error {
	if len(b) > maxRecord {
		return yield(nil, errLong)
	}
	var x *sallyport.Exchange
	var err error
	if signal == Traces {
		var s trace.Span
		if read(b, &s) != nil {
			return yield(nil, errRecord)
		}
		x, err = d.span(&s)
	} else {
		var r logs.LogRecord
		if read(b, &r) != nil {
			return yield(nil, errRecord)
		}
		x, err = d.log(&r)
	}
	if x != nil && x.Host == "" {
		x.Host = strings.ToLower(cmp.Or(d.Host, service))
	}
	return yield(x, err)
}

// span makes an exchange of the server's side of one. The client's side is the
// same exchange seen by the caller.
func (d *Decoder) span(s *trace.Span) (*sallyport.Exchange, error) {
	if s.GetKind() != trace.Span_SPAN_KIND_SERVER {
		return nil, nil
	}
	var a attributes
	for _, kv := range s.GetAttributes() {
		a.take(kv)
	}
	if a.method == "" {
		return nil, nil // of another protocol
	}
	from, to := s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano()
	x, err := a.exchange(stamp(from))
	if err != nil {
		return nil, err
	}
	if to > from && to-from < uint64(240*time.Hour) {
		x.Duration = time.Duration(to - from)
	}
	if t, i := s.GetTraceId(), s.GetSpanId(); len(t) >= 8 && len(i) >= 8 {
		x.ID = observe.SourceID(binary.BigEndian.Uint64(t[len(t)-8:]), int64(binary.BigEndian.Uint64(i)), x.Time)
	}
	return x, nil
}

func (d *Decoder) log(r *logs.LogRecord) (*sallyport.Exchange, error) {
	at := stamp(cmp.Or(r.GetTimeUnixNano(), r.GetObservedTimeUnixNano()))
	var a attributes
	for _, kv := range r.GetAttributes() {
		a.take(kv)
	}
	body := r.GetBody()
	for _, kv := range body.GetKvlistValue().GetValues() {
		a.take(kv)
	}
	if a.method != "" && a.path != "" {
		return a.exchange(at)
	}
	var line []byte
	switch v := body.GetValue().(type) {
	case *common.AnyValue_StringValue:
		line = bytes.TrimRight([]byte(v.StringValue), "\r\n")
	case *common.AnyValue_BytesValue:
		line = bytes.TrimRight(v.BytesValue, "\r\n")
	case *common.AnyValue_KvlistValue:
		line, _ = json.Marshal(plain(body, 0))
	}
	if len(line) == 0 || d.Parse == nil {
		return nil, errNoHTTP
	}
	x, err := d.Parse(line)
	if err == nil && x == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoHTTP, err)
	}
	if x.Time.IsZero() {
		x.Time = at
	}
	return x, nil
}

// plain is a value as encoding/json writes it, eight levels of it.
func plain(v *common.AnyValue, depth int) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_ArrayValue:
		var out []any
		for _, e := range v.ArrayValue.GetValues() {
			if depth < 8 {
				out = append(out, plain(e, depth+1))
			}
		}
		return out
	case *common.AnyValue_KvlistValue:
		out := map[string]any{}
		for _, kv := range v.KvlistValue.GetValues() {
			if depth < 8 {
				out[kv.GetKey()] = plain(kv.GetValue(), depth+1)
			}
		}
		return out
	}
	return nil
}

// stamp is a time in nanoseconds; without one, or with one that is to come, it
// is now.
func stamp(ns uint64) time.Time {
	now := time.Now()
	if at := time.Unix(0, int64(min(ns, 1<<62))); ns > 0 && at.Before(now.Add(5*time.Minute)) {
		return at
	}
	return now
}

// attributes are those of the semantic conventions for HTTP, the stable ones
// (1.23 and later) and those before.
type attributes struct {
	method, path, query, scheme, host, port, full, client, peer, agent, user, version string
	original                                                                          string
	status, sent, received                                                            int64
	reqHeader, respHeader                                                             []sallyport.Field
}

func (a *attributes) take(kv *common.KeyValue) {
	k, v := kv.GetKey(), kv.GetValue()
	switch k {
	case "http.request.method", "http.method":
		a.method = text(v)
	case "http.request.method_original":
		a.original = text(v)
	case "url.path":
		a.path = text(v)
	case "url.query":
		a.query = text(v)
	case "http.target":
		if a.path == "" {
			a.path = text(v)
		}
	case "url.full", "http.url":
		a.full = text(v)
	case "url.scheme", "http.scheme":
		a.scheme = text(v)
	case "server.address", "http.host":
		a.host = text(v)
	case "net.host.name", "http.server_name":
		a.host = cmp.Or(a.host, text(v))
	case "server.port", "net.host.port":
		a.port = text(v)
	case "http.response.status_code", "http.status_code":
		a.status = number(v)
	case "client.address", "http.client_ip":
		a.client = text(v)
	case "network.peer.address", "net.sock.peer.addr", "net.peer.ip":
		a.peer = text(v)
	case "user_agent.original", "http.user_agent":
		a.agent = text(v)
	case "enduser.id", "user.id":
		a.user = text(v)
	case "network.protocol.version", "http.flavor":
		a.version = text(v)
	case "http.request.body.size", "http.request_content_length":
		a.received = number(v)
	case "http.response.body.size", "http.response_content_length":
		a.sent = number(v)
	default:
		if name, ok := strings.CutPrefix(k, "http.request.header."); ok {
			a.reqHeader = field(a.reqHeader, name, v)
		} else if name, ok := strings.CutPrefix(k, "http.response.header."); ok {
			a.respHeader = field(a.respHeader, name, v)
		}
	}
}

func field(list []sallyport.Field, name string, v *common.AnyValue) []sallyport.Field {
	name = strings.ReplaceAll(name, "_", "-") // before they were stable, names had underscores
	values := v.GetArrayValue().GetValues()
	if values == nil {
		values = []*common.AnyValue{v}
	}
	for _, e := range values {
		if len(list) < maxFields && name != "" {
			list = append(list, sallyport.Field{Name: name, Value: text(e)})
		}
	}
	return list
}

func text(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	}
	return ""
}

func number(v *common.AnyValue) int64 {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_StringValue:
		n, _ := strconv.ParseInt(v.StringValue, 10, 64)
		return n
	}
	return 0
}

func (a *attributes) exchange(at time.Time) (*sallyport.Exchange, error) {
	if a.path == "" || strings.Contains(a.path, "://") {
		u, err := url.Parse(cmp.Or(a.full, a.path))
		if err != nil {
			return nil, errors.New("has a URL that cannot be read")
		}
		a.host, a.port = cmp.Or(a.host, u.Hostname()), cmp.Or(a.port, u.Port())
		a.path, a.query, a.scheme = u.EscapedPath(), u.RawQuery, cmp.Or(a.scheme, u.Scheme)
		if a.path == "" && u.Host != "" {
			a.path = "/"
		}
	}
	if p, q, ok := strings.Cut(a.path, "?"); ok {
		a.path, a.query = p, cmp.Or(a.query, q)
	}
	if a.method == "_OTHER" {
		a.method = cmp.Or(a.original, a.method)
	}
	switch {
	case a.method == "" || len(a.method) > 32:
		return nil, errors.New("has no method")
	case !strings.HasPrefix(a.path, "/"):
		return nil, errors.New("has no path that begins with /")
	case a.status != 0 && (a.status < 100 || a.status > 599):
		return nil, errors.New("has a status that is none")
	}
	x := &sallyport.Exchange{Time: at, Method: a.method, Path: a.path, Query: strings.TrimPrefix(a.query, "?"), Host: strings.ToLower(a.host), Status: int(a.status), TLS: a.scheme == "https" || a.scheme == "wss",
		RequestBytes: max(a.received, 0), ResponseBytes: max(a.sent, 0), RequestHeader: a.reqHeader, ResponseHeader: a.respHeader}
	if a.port != "" && a.port != "80" && a.port != "443" && a.host != "" && !strings.Contains(a.host, ":") {
		x.Host += ":" + a.port
	}
	if a.version != "" {
		x.Proto = "HTTP/" + strings.TrimPrefix(a.version, "HTTP/")
	}
	if a.agent != "" {
		x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: "User-Agent", Value: a.agent})
	}
	if x.Client, _ = netip.ParseAddr(a.client); !x.Client.IsValid() {
		x.Client, _ = netip.ParseAddr(a.peer)
	}
	if a.user != "" {
		x.Principal = sallyport.Principal{Kind: "log", Subject: a.user}
	}
	return x, nil
}
