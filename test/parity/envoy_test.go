package parity

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	procmode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	yaml "go.yaml.in/yaml/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"sallyport.dev"
	"sallyport.dev/adapter/extauthz"
	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
	"sallyport.dev/guard/inspect"
	"sallyport.dev/guard/vectors"
)

func envoy(t *testing.T, w *way) *grpc.ClientConn {
	t.Helper()
	addr := w.open(t, &extauthz.Server{Desk: w.door, Peers: door.Peers{Token: "secret"}})
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func known(t *testing.T) context.Context {
	ctx, end := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), extauthz.MetadataToken, "secret"), 20*time.Second)
	t.Cleanup(end)
	return ctx
}

// check is what Envoy's ext_authz filter sends.
func check(r *guard.Request, body []byte, client string) *auth.CheckRequest {
	h := map[string]string{":method": r.Method, ":path": target(r), ":authority": r.Host}
	for name, v := range r.Header {
		h[strings.ToLower(name)] = strings.Join(v, ",")
	}
	if len(body) > 0 && r.ContentLength >= 0 {
		h["content-length"] = fmt.Sprint(len(body))
	}
	h["x-envoy-auth-partial-body"] = "false"
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source:  &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: client}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: r.Method, Path: target(r), Host: r.Host, Scheme: "http", Headers: h, RawBody: body}}}}
}

func target(r *guard.Request) string {
	if r.RawQuery == "" {
		return r.Path
	}
	return r.Path + "?" + r.RawQuery
}

func lines(pairs ...string) *core.HeaderMap {
	m := &core.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &core.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return m
}

// process is what Envoy's ext_proc filter sends, with bodies buffered. It gives the
// status of an immediate response, 0 for none.
func process(ctx context.Context, c proc.ExternalProcessorClient, r *guard.Request, body []byte, client string, a *vectors.Answer) (int, error) {
	stream, err := c.Process(ctx)
	if err != nil {
		return 0, err
	}
	defer stream.CloseSend()
	ask := func(m *proc.ProcessingRequest) (*proc.ProcessingResponse, error) {
		if err := stream.Send(m); err != nil {
			return nil, err
		}
		return stream.Recv()
	}
	head := lines(":method", r.Method, ":path", target(r), ":authority", r.Host, ":scheme", "http", "x-auth-subject", "root")
	for name, v := range r.Header {
		for _, one := range v {
			head.Headers = append(head.Headers, lines(strings.ToLower(name), one).Headers...)
		}
	}
	if len(body) > 0 && r.ContentLength >= 0 {
		head.Headers = append(head.Headers, lines("content-length", fmt.Sprint(len(body))).Headers...)
	}
	attributes, _ := structpb.NewStruct(map[string]any{"source.address": net.JoinHostPort(client, "4711")})
	bodiless := len(body) == 0 && r.ContentLength == 0
	out, err := ask(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: head, EndOfStream: bodiless}},
		Attributes:     map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes},
		ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: procmode.ProcessingMode_BUFFERED, ResponseBodyMode: procmode.ProcessingMode_BUFFERED}})
	if err == nil && !bodiless && out.GetImmediateResponse() == nil {
		out, err = ask(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: body, EndOfStream: true}}})
	}
	if err == nil && out.GetImmediateResponse() == nil && a != nil {
		h := lines(":status", fmt.Sprint(a.Status))
		for _, f := range a.Header {
			h.Headers = append(h.Headers, lines(strings.ToLower(f[0]), f[1]).Headers...)
		}
		out, err = ask(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: h, EndOfStream: a.Body == ""}}})
		if err == nil && out.GetImmediateResponse() == nil && a.Body != "" {
			out, err = ask(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(a.Body), EndOfStream: true}}})
		}
	}
	if err != nil {
		return 0, err
	}
	return int(out.GetImmediateResponse().GetStatus().GetCode()), nil
}

// No Envoy is to be had here, so its part is played by a gRPC client that sends
// what the published API says.
func TestVectorsByEnvoysProtocols(t *testing.T) {
	az, ep := newWay("ext_authz", true, ""), newWay("ext_proc", true, "all")
	check1, process1 := auth.NewAuthorizationClient(envoy(t, az)), proc.NewExternalProcessorClient(envoy(t, ep))
	ctx := known(t)
	data := os.DirFS("../../guard/testdata")
	files, err := vectors.Load(data, "vectors")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := inspect.New(inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same, blind := map[string]int{}, map[string]int{}
	for _, f := range files {
		config, err := f.Config(data, "items")
		if err != nil {
			t.Fatal(err)
		}
		config.Inspect = engine
		for _, w := range []*way{az, ep} {
			p, err := guard.Compile(config)
			if err != nil {
				t.Fatal(err)
			}
			w.program.Store(p)
		}
		for i := range f.Cases {
			c := &f.Cases[i]
			for _, w := range []*way{az, ep} {
				got := 0
				var x *sallyport.Exchange
				for n := range max(1, c.Request.Repeat) {
					r, body := c.Request.Head(fmt.Sprintf("%026d", n))
					w.tape.take(false)
					if w == az {
						out, cerr := check1.Check(ctx, check(r, body, r.Client.String()))
						got, err = int(out.GetDeniedResponse().GetStatus().GetCode()), cerr
					} else {
						got, err = process(ctx, process1, r, body, r.Client.String(), c.Answer)
					}
					x = w.tape.take(true)
				}
				if err != nil || x == nil {
					t.Errorf("%s %s/%s: %v, record %v", w.name, f.Name, c.Name, err, x)
					continue
				}
				d := vectors.Describe(x, nil)
				want := c.Expect
				unseen := slices.ContainsFunc(d.NotInspected, func(s string) bool { return strings.Contains(s, ": the proxy") })
				switch {
				case d.Action == want.Action && d.Stage == want.Stage && d.Status == want.Status && slices.Equal(d.Reasons, want.Reasons) && (got == want.Status || want.Status == 0 && want.Kind != "" && got >= 400):
					same[w.name]++
				case unseen && w == az && (c.Answer != nil || c.Request.Chunked), c.Request.Header != nil && f.Name == "authenticate" && strings.Contains(c.Name, "two Authorization"):
					blind[w.name]++ // ext_authz joins what came twice, unless encode_raw_headers is on
				default:
					t.Errorf("%s %s/%s: %d %+v, want %+v", w.name, f.Name, c.Name, got, d, want)
				}
			}
		}
	}
	t.Logf("same, not shown: ext_authz %d, %d; ext_proc %d, %d", same["ext_authz"], blind["ext_authz"], same["ext_proc"], blind["ext_proc"])
}

// What Envoy is told to change takes the client's own identity away, also when
// nobody has been proven; strangers and half messages get an error, upon which
// Envoy does as failure_mode_allow says.
func TestEnvoyIsToldToClear(t *testing.T) {
	w := newWay("ext_authz", true, "")
	conn := envoy(t, w)
	p, err := guard.Compile(guard.Config{Name: "p", APIs: []guard.API{{API: sallyport.API{Name: "a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.program.Store(p)
	r := &guard.Request{Method: "GET", Path: "/x", Host: "a", Header: map[string][]string{"X-Auth-Subject": {"root"}, "X_auth_kind": {"root"}}}
	ask := auth.NewAuthorizationClient(conn)
	out, err := ask.Check(known(t), check(r, nil, "192.0.2.7"))
	if err != nil || out.GetOkResponse() == nil {
		t.Fatal(out, err)
	}
	gone := out.GetOkResponse().GetHeadersToRemove()
	slices.Sort(gone)
	if !slices.Equal(gone, []string{"x-auth-subject", "x_auth_kind"}) {
		t.Errorf("to remove: %v", gone)
	}
	if err := out.ValidateAll(); err != nil {
		t.Error(err)
	}
	if _, err := ask.Check(t.Context(), check(r, nil, "192.0.2.7")); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger: %v", err)
	}
	for name, in := range map[string]*auth.CheckRequest{"nothing": {}, "no client": check(r, nil, ""), "no path": check(&guard.Request{Method: "GET", Host: "a"}, nil, "192.0.2.7")} {
		if _, err := ask.Check(known(t), in); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := check(r, nil, "192.0.2.7")
	long.Attributes.Request.Http.Headers["x-long"] = strings.Repeat("x", 5<<20)
	if _, err := ask.Check(known(t), long); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("5 MiB: %v", err)
	}
	pc := proc.NewExternalProcessorClient(conn)
	for name, m := range map[string]*proc.ProcessingRequest{
		"nothing": {}, "an answer first": {Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: lines(":status", "200")}}},
		"a head without a client": {Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: lines(":method", "GET", ":path", "/x", ":authority", "a")}}},
	} {
		s, err := pc.Process(known(t))
		if err != nil {
			t.Fatal(err)
		}
		s.Send(m)
		if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The example for Envoy is what the published types say, every part of it.
func TestEnvoyExampleIsValid(t *testing.T) {
	text, err := os.ReadFile("../../examples/doors/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var boot bootstrap.Bootstrap
	if err := protojson.Unmarshal(b, &boot); err != nil {
		t.Fatal(err)
	}
	if err := boot.ValidateAll(); err != nil {
		t.Fatal(err)
	}
	if len(boot.GetStaticResources().GetListeners()) != 1 || len(boot.GetStaticResources().GetClusters()) != 2 {
		t.Error("a listener and two clusters are missing")
	}
}
