// Package extauthz answers Envoy over gRPC by two protocols: external
// authorisation (envoy.service.auth.v3) and external processing
// (envoy.service.ext_proc.v3). In come the request's head with as much of the body
// as Envoy is told to show, and by the second protocol the answer too; out go
// header changes, or the refusal in the answer's place. Messages are judged as the
// published API describes them; it never dials, and keeps no configuration of Envoy's.
package extauthz

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procmode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
)

// MetadataToken carries the secret that Envoy shares with the door (initial_metadata).
const MetadataToken = "x-sallyport-door"

const (
	maxMessage = 4 << 20
	maxStreams = 4096 // of one connection
)

// A Server answers Envoy. Its fields are set before it serves.
type Server struct {
	auth.UnimplementedAuthorizationServer
	proc.UnimplementedExternalProcessorServer
	Desk  *door.Desk
	Peers door.Peers
}

var (
	_ auth.AuthorizationServer     = (*Server)(nil)
	_ proc.ExternalProcessorServer = (*Server)(nil)
)

// Serve answers until ctx ends; then what is under way ends first, for two
// seconds at most.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(5*time.Second),
		grpc.MaxHeaderListSize(64<<10), grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second}),
		grpc.UnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := s.admit(ctx); err != nil {
				return nil, err
			}
			return next(ctx, in)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := s.admit(ss.Context()); err != nil {
				return err
			}
			return next(srv, ss)
		}))
	auth.RegisterAuthorizationServer(g, s)
	proc.RegisterExternalProcessorServer(g, s)
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(2*time.Second, g.Stop)
		g.GracefulStop()
		t.Stop()
	})
	defer stop()
	if err := g.Serve(ln); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *Server) admit(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	token := ""
	if md, has := metadata.FromIncomingContext(ctx); has {
		if v := md.Get(MetadataToken); len(v) == 1 {
			token = v[0]
		}
	}
	if !ok || !s.Peers.May(p.Addr) || !s.Peers.Knows(token) {
		return s.strange(codes.PermissionDenied, "this peer may not ask")
	}
	return nil
}

func (s *Server) strange(c codes.Code, text string) error {
	s.Desk.Strange()
	return status.Error(c, text)
}

// Check decides by a request's head and, where Envoy shows it, its body.
func (s *Server) Check(ctx context.Context, in *auth.CheckRequest) (*auth.CheckResponse, error) {
	h := in.GetAttributes().GetRequest().GetHttp()
	header := http.Header{}
	if m := h.GetHeaderMap(); len(m.GetHeaders()) > 0 {
		readMap(m, header)
	} else {
		for name, v := range h.GetHeaders() {
			if !strings.HasPrefix(name, ":") {
				header.Add(textproto.CanonicalMIMEHeaderKey(name), v)
			}
		}
	}
	partial := header["X-Envoy-Auth-Partial-Body"]
	delete(header, "X-Envoy-Auth-Partial-Body")
	q, err := question(h.GetMethod(), h.GetPath(), h.GetHost(), h.GetScheme(), in.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress(), header)
	if err != nil {
		return nil, s.strange(codes.InvalidArgument, err.Error())
	}
	body := h.GetRawBody()
	if len(body) == 0 {
		body = []byte(h.GetBody())
	}
	q.ContentLength = length(header, len(body) > 0)
	t := s.Desk.Ask(ctx, q)
	defer t.Finish()
	if _, wants := t.Wants(); wants || len(body) > 0 {
		sight := door.Whole
		switch {
		case len(body) == 0: // whoever shows bodies shows this one, if it is empty: nothing tells
			sight = door.None
		case q.ContentLength >= 0 && q.ContentLength != int64(len(body)), q.ContentLength < 0 && !(len(partial) == 1 && partial[0] == "false"):
			sight = door.Cut
		}
		t.Body(body, sight)
	}
	if r := t.Refusal(); r != nil {
		return &auth.CheckResponse{Status: &rpc.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(r.Status)}, Headers: options(door.ProblemHeader(r, t.ID)), Body: string(door.Problem(r.Kind, t.ID))}}}, nil
	}
	set, gone := s.changes(t, header)
	return &auth.CheckResponse{Status: &rpc.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{Headers: set, HeadersToRemove: gone}}}, nil
}

// changes are what an allowed request goes on with: ours set, the client's own
// taken away.
func (s *Server) changes(t *door.Turn, client http.Header) (set []*core.HeaderValueOption, gone []string) {
	ours := append(append([][2]string(nil), t.Identity()...), [2]string{door.HeaderID, t.ID})
	named := map[string]bool{}
	for _, f := range ours {
		named[f[0]] = true
	}
	for name := range client {
		if s.Desk.Strips(name) && !named[name] {
			gone = append(gone, strings.ToLower(name))
		}
	}
	return options(ours), gone
}

func options(list [][2]string) []*core.HeaderValueOption {
	out := make([]*core.HeaderValueOption, 0, len(list))
	for _, f := range list {
		out = append(out, &core.HeaderValueOption{Header: &core.HeaderValue{Key: strings.ToLower(f[0]), RawValue: []byte(f[1])}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD})
	}
	return out
}

// readMap adds the lines of a head to into, but for those that begin with a colon.
func readMap(m *core.HeaderMap, into http.Header) {
	for _, h := range m.GetHeaders() {
		v := h.GetValue()
		if v == "" {
			v = string(h.GetRawValue())
		}
		if !strings.HasPrefix(h.GetKey(), ":") {
			into.Add(textproto.CanonicalMIMEHeaderKey(h.GetKey()), v)
		}
	}
}

func length(h http.Header, some bool) int64 {
	switch v := h["Content-Length"]; {
	case len(v) == 1:
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			return n
		}
		return -1
	case len(v) > 1, len(h["Transfer-Encoding"]) > 0, some:
		return -1
	}
	return 0
}

func question(method, path, host, scheme, from string, h http.Header) (*guard.Request, error) {
	if at := strings.LastIndexByte(from, ','); at >= 0 {
		from = from[at+1:]
	}
	client, err := netip.ParseAddr(strings.TrimSpace(from))
	switch {
	case err != nil:
		if ap, aerr := netip.ParseAddrPort(strings.TrimSpace(from)); aerr == nil {
			client = ap.Addr()
			break
		}
		return nil, errors.New("the client's address is missing")
	case method == "" || strings.ContainsAny(method+path, " \t\r\n"):
		return nil, errors.New("the method is missing, or no method")
	}
	if !strings.HasPrefix(path, "/") && path != "*" {
		return nil, errors.New("the path is missing, or no path")
	}
	client = client.Unmap().WithZone("")
	q := &guard.Request{Method: method, Host: host, Proto: "HTTP/1.1", TLS: scheme == "https", Header: h, Client: client, Peer: client}
	q.Path, q.RawQuery, _ = strings.Cut(path, "?")
	q.Upgrade = strings.EqualFold(h.Get("Upgrade"), "websocket")
	return q, nil
}

// Process follows one exchange from its request's head to its answer's end.
func (s *Server) Process(stream proc.ExternalProcessor_ProcessServer) error {
	p := &process{s: s, ctx: stream.Context()}
	defer p.end()
	for {
		in, err := stream.Recv()
		if err != nil {
			if err == io.EOF || stream.Context().Err() != nil {
				return nil
			}
			return err
		}
		out, err := p.step(in)
		if err != nil {
			return err
		}
		if in.GetObservabilityMode() {
			continue // nobody waits for what is decided
		}
		if err := stream.Send(out); err != nil {
			return err
		}
		if out.GetImmediateResponse() != nil {
			return nil
		}
	}
}

// A process is one exchange.
type process struct {
	s                *Server
	ctx              context.Context
	t                *door.Turn
	header           http.Header
	request, answers procmode.ProcessingMode_BodySendMode
	owed             bool // the request's body is to come
	waits            bool // the answer's body is
	answered         bool
}

func (p *process) end() {
	if p.t == nil {
		return
	}
	p.unseen()
	if p.waits {
		p.t.AnswerUnseen()
	}
	p.t.Finish()
}

// unseen goes on without a body that was to come.
func (p *process) unseen() {
	if p.owed {
		p.owed = false
		p.t.Body(nil, door.None)
	}
}

func shows(m procmode.ProcessingMode_BodySendMode) bool {
	return m == procmode.ProcessingMode_BUFFERED || m == procmode.ProcessingMode_BUFFERED_PARTIAL
}

func (p *process) step(in *proc.ProcessingRequest) (*proc.ProcessingResponse, error) {
	if c := in.GetProtocolConfig(); c != nil {
		p.request, p.answers = c.GetRequestBodyMode(), c.GetResponseBodyMode()
	}
	if p.t == nil && in.GetRequestHeaders() == nil {
		return nil, p.s.strange(codes.InvalidArgument, "the request's head comes first")
	}
	switch m := in.GetRequest().(type) {
	case *proc.ProcessingRequest_RequestHeaders:
		return p.head(in, m.RequestHeaders)
	case *proc.ProcessingRequest_RequestBody:
		sight := door.Cut
		if m.RequestBody.GetEndOfStream() {
			sight = door.Whole
		}
		common := &proc.CommonResponse{}
		if p.owed {
			p.owed = false
			p.t.Body(m.RequestBody.GetBody(), sight)
			if r := p.t.Refusal(); r != nil {
				return p.refuse(r), nil
			}
			common.HeaderMutation = p.mutation()
		}
		return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestBody{RequestBody: &proc.BodyResponse{Response: common}}}, nil
	case *proc.ProcessingRequest_ResponseHeaders:
		return p.answer(m.ResponseHeaders)
	case *proc.ProcessingRequest_ResponseBody:
		return p.answerBody(m.ResponseBody)
	case *proc.ProcessingRequest_RequestTrailers:
		p.t.Note("trailer: the fields behind the request's body pass as they are")
		return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestTrailers{RequestTrailers: &proc.TrailersResponse{}}}, nil
	case *proc.ProcessingRequest_ResponseTrailers:
		return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_ResponseTrailers{ResponseTrailers: &proc.TrailersResponse{}}}, nil
	}
	return nil, p.s.strange(codes.InvalidArgument, "the message is of an unknown kind")
}

func pseudo(m *core.HeaderMap, name string) string {
	for _, h := range m.GetHeaders() {
		if h.GetKey() == name {
			if v := h.GetValue(); v != "" {
				return v
			}
			return string(h.GetRawValue())
		}
	}
	return ""
}

func (p *process) head(in *proc.ProcessingRequest, m *proc.HttpHeaders) (*proc.ProcessingResponse, error) {
	if p.t != nil {
		return nil, p.s.strange(codes.InvalidArgument, "the request's head came before")
	}
	h := m.GetHeaders()
	p.header = http.Header{}
	readMap(h, p.header)
	from := ""
	for _, a := range in.GetAttributes() {
		if v := a.GetFields()["source.address"].GetStringValue(); v != "" {
			from = v
		}
	}
	if v := p.header["X-Forwarded-For"]; from == "" && len(v) > 0 {
		from = v[len(v)-1] // its last part is Envoy's, with use_remote_address
	}
	q, err := question(pseudo(h, ":method"), pseudo(h, ":path"), pseudo(h, ":authority"), pseudo(h, ":scheme"), from, p.header)
	if err != nil {
		return nil, p.s.strange(codes.InvalidArgument, err.Error())
	}
	q.ContentLength = length(p.header, !m.GetEndOfStream())
	if m.GetEndOfStream() {
		q.ContentLength = 0
	}
	p.t = p.s.Desk.Ask(p.ctx, q)
	common := &proc.CommonResponse{}
	if _, wants := p.t.Wants(); wants {
		if p.owed = true; !shows(p.request) {
			p.unseen()
		}
	}
	if r := p.t.Refusal(); r != nil {
		return p.refuse(r), nil
	}
	if !p.owed {
		common.HeaderMutation = p.mutation()
	}
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestHeaders{RequestHeaders: &proc.HeadersResponse{Response: common}}}, nil
}

func (p *process) mutation() *proc.HeaderMutation {
	set, gone := p.s.changes(p.t, p.header)
	return &proc.HeaderMutation{SetHeaders: set, RemoveHeaders: gone}
}

func (p *process) refuse(r *guard.Refusal) *proc.ProcessingResponse {
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_ImmediateResponse{ImmediateResponse: &proc.ImmediateResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(r.Status)}, Headers: &proc.HeaderMutation{SetHeaders: options(door.ProblemHeader(r, p.t.ID))},
		Body: door.Problem(r.Kind, p.t.ID), Details: "sallyport"}}}
}

func edited(edits []guard.HeadEdit) *proc.HeaderMutation {
	m := &proc.HeaderMutation{}
	for _, e := range edits {
		if e.Value == "" {
			m.RemoveHeaders = append(m.RemoveHeaders, strings.ToLower(e.Name))
		} else {
			m.SetHeaders = append(m.SetHeaders, options([][2]string{{e.Name, e.Value}})...)
		}
	}
	return m
}

func (p *process) answer(m *proc.HttpHeaders) (*proc.ProcessingResponse, error) {
	code, err := strconv.Atoi(pseudo(m.GetHeaders(), ":status"))
	if err != nil || code < 100 || code > 999 || p.answered {
		return nil, p.s.strange(codes.InvalidArgument, "the answer has no status, or came before")
	}
	p.answered = true
	p.unseen()
	h := http.Header{}
	readMap(m.GetHeaders(), h)
	edits, _, wants := p.t.Answer(code, h)
	if wants {
		if p.waits = shows(p.answers) && !m.GetEndOfStream(); m.GetEndOfStream() {
			p.t.AnswerBody(nil, door.Whole)
		} else if !p.waits {
			p.t.AnswerUnseen()
		}
	}
	if r := p.t.Refusal(); r != nil {
		return p.refuse(r), nil
	}
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_ResponseHeaders{ResponseHeaders: &proc.HeadersResponse{Response: &proc.CommonResponse{HeaderMutation: edited(edits)}}}}, nil
}

func (p *process) answerBody(m *proc.HttpBody) (*proc.ProcessingResponse, error) {
	common := &proc.CommonResponse{}
	if p.waits {
		p.waits = false
		sight := door.Cut
		if m.GetEndOfStream() {
			sight = door.Whole
		}
		replace, edits := p.t.AnswerBody(m.GetBody(), sight)
		if r := p.t.Refusal(); r != nil {
			return p.refuse(r), nil
		}
		if replace != nil {
			common.HeaderMutation, common.BodyMutation = edited(edits), &proc.BodyMutation{Mutation: &proc.BodyMutation_Body{Body: replace}}
		}
	}
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_ResponseBody{ResponseBody: &proc.BodyResponse{Response: common}}}, nil
}
