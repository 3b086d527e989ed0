// Package otlp takes exchanges by the OpenTelemetry protocol (OTLP 1.x). In come
// export requests of traces and logs, over HTTP (Protocol Buffers or JSON) or
// gRPC, plain or compressed by gzip; out go exchanges: of spans of the server's
// kind that carry the semantic conventions for HTTP, the stable ones or those
// before, and of log records that carry them or are lines of an access log.
//
// A sender proves itself by a token. Requests at once and the size of each,
// decompressed, are bounded; who sends more is told to come again later (429, or
// RESOURCE_EXHAUSTED with RetryInfo). What could not be read is counted and
// answered as a partial success. The package quotes nothing and writes nothing.
package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // senders compress by it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Bounds.
const (
	maxRequest = 8 << 20 // decompressed
	atOnce     = 8       // requests that are in memory; one of them is decoded
	arriving   = 32      // that gRPC reads before it asks
	patience   = time.Second
)

// TokenHeader carries the token where Authorization is needed otherwise.
const TokenHeader = "X-Sallyport-Token"

// A Server is a source that listens for export requests.
type Server struct {
	Network string // "http" or "grpc"
	Address string
	TLS     *tls.Config // nil = none
	Token   string      // "" = nobody has to prove anything
	Decoder Decoder     // the server's alone while it runs
	Entry   observe.Entry

	tally  observe.SourceTally
	places chan struct{}
	mu     sync.Mutex // one request is decoded at a time
	n      int64
	id     uint64
	emit   func(*sallyport.Exchange) error
	fail   context.CancelCauseFunc
}

var _ observe.Source = (*Server)(nil)

// Name is "otlp:" with network and address.
func (s *Server) Name() string { return "otlp:" + s.Network + "://" + s.Address }

// Health implements observe.Source.
func (s *Server) Health() observe.SourceHealth { return s.tally.Health() }

// Run implements observe.Source.
func (s *Server) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	s.emit, s.id, s.places = emit, rand.Uint64(), make(chan struct{}, atOnce)
	s.tally.Format("otlp")
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err == nil {
		if s.Network == "grpc" {
			err = s.serveGRPC(ctx, ln)
		} else {
			err = s.serveHTTP(ctx, ln)
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	} else if ctx.Err() != nil {
		err = nil
	}
	if err != nil {
		s.tally.State("failed", err)
		return err
	}
	s.tally.State("done", nil)
	return nil
}

// place waits a little for room to hold a request.
func (s *Server) place(ctx context.Context) (free func(), ok bool) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case s.places <- struct{}{}:
		return func() { <-s.places }, true
	case <-t.C:
	case <-ctx.Done():
	}
	s.tally.Notice("more than %d requests at once; those beyond were told to come again", atOnce)
	return nil, false
}

func (s *Server) knows(token string) bool {
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.Token))
	return s.Token == "" || subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// taken is what became of a request.
type taken struct {
	bad int64
	why string
}

var errStopped = errors.New("exchanges cannot be taken now")

// take decodes a request and hands on what is in it.
func (s *Server) take(signal Signal, b []byte, from string) (taken, error) {
	var out taken
	s.mu.Lock()
	defer s.mu.Unlock()
	record := 0
	err := s.Decoder.Decode(signal, b, func(x *sallyport.Exchange, err error) error {
		record++
		s.tally.Read(1)
		switch {
		case err != nil:
			if out.bad++; out.why == "" {
				out.why = fmt.Sprintf("record %d %v", record, err)
			}
			s.tally.Bad(fmt.Sprintf("%s from %s, record %d", signal, from, record), "it "+err.Error())
			return nil
		case x == nil:
			return nil
		}
		s.n++
		if x.ID == "" {
			x.ID = observe.SourceID(s.id, s.n, x.Time)
		}
		s.tally.Lag(time.Since(x.Time))
		s.Entry.Take(s.Name(), x)
		at := x.Time
		if err := s.emit(x); err != nil {
			s.fail(err)
			return errStopped
		}
		s.tally.Emitted(at)
		return nil
	})
	if err != nil && !errors.Is(err, errStopped) {
		s.tally.Bad(fmt.Sprintf("%s from %s", signal, from), "the request "+err.Error())
	}
	return out, err
}

// answer is the export response in Protocol Buffers: of either signal, 1 =
// partial success (1 = rejected, 2 = why).
func (t taken) answer() []byte {
	if t.bad == 0 {
		return nil
	}
	part := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(t.bad))
	part = protowire.AppendString(protowire.AppendTag(part, 2, protowire.BytesType), t.why)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), part)
}

// json is the same in the protocol's JSON.
func (t taken) json(signal Signal) []byte {
	if t.bad == 0 {
		return []byte("{}")
	}
	rejected := "rejectedSpans"
	if signal == Logs {
		rejected = "rejectedLogRecords"
	}
	b, _ := json.Marshal(map[string]any{"partialSuccess": map[string]string{rejected: strconv.FormatInt(t.bad, 10), "errorMessage": t.why}})
	return b
}

func (s *Server) serveHTTP(ctx context.Context, ln net.Listener) error {
	if s.TLS != nil {
		ln = tls.NewListener(ln, s.TLS)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, Handler: http.HandlerFunc(s.http)}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	s.tally.State("reading", nil)
	return srv.Serve(ln)
}

func (s *Server) http(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	reply := func(status int, b []byte) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write(b)
	}
	refuse := func(code int, c codes.Code, text string) {
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		why := &rpc.Status{Code: int32(c), Message: text}
		if kind == "application/json" {
			b, _ := protojson.Marshal(why)
			reply(code, b)
			return
		}
		kind = "application/x-protobuf"
		b, _ := proto.Marshal(why)
		reply(code, b)
	}
	token := r.Header.Get(TokenHeader)
	if token == "" {
		token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	if !s.knows(token) {
		w.Header().Set("Www-Authenticate", "Bearer")
		refuse(http.StatusUnauthorized, codes.Unauthenticated, "no token, or another one")
		return
	}
	signal := Traces
	switch r.URL.Path {
	case "/v1/traces":
	case "/v1/logs":
		signal = Logs
	case "/v1/metrics":
		refuse(http.StatusNotFound, codes.Unimplemented, "metrics hold no exchanges: send traces and logs")
		return
	default:
		refuse(http.StatusNotFound, codes.Unimplemented, "export requests go to /v1/traces and /v1/logs")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, codes.Unimplemented, "export requests come by POST")
		return
	}
	if kind != "application/json" && kind != "application/x-protobuf" {
		refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, "application/x-protobuf or application/json")
		return
	}
	free, ok := s.place(r.Context())
	if !ok {
		refuse(http.StatusTooManyRequests, codes.ResourceExhausted, "too many requests at once")
		return
	}
	defer free()
	b, err := body(r)
	switch {
	case errors.Is(err, errTooLarge):
		refuse(http.StatusRequestEntityTooLarge, codes.InvalidArgument, err.Error())
		return
	case err != nil:
		s.tally.Bad(r.RemoteAddr, "the request was cut off, or its compression is broken")
		refuse(http.StatusBadRequest, codes.InvalidArgument, "the body cannot be read")
		return
	}
	if len(b) > 0 && (kind == "application/json") != isJSON(b) {
		s.tally.Bad(r.RemoteAddr, "the request "+errMessage.Error())
		refuse(http.StatusBadRequest, codes.InvalidArgument, "the body is not what its Content-Type says")
		return
	}
	out, err := s.take(signal, b, r.RemoteAddr)
	switch {
	case errors.Is(err, errStopped):
		refuse(http.StatusServiceUnavailable, codes.Unavailable, err.Error())
	case err != nil:
		refuse(http.StatusBadRequest, codes.InvalidArgument, "the request "+err.Error())
	default:
		b := out.answer()
		if kind == "application/json" {
			b = out.json(signal)
		}
		reply(http.StatusOK, b)
	}
}

var errTooLarge = fmt.Errorf("a request is larger than %d MiB", maxRequest>>20)

// body reads a request's, and no more of it than the bound.
func body(r *http.Request) ([]byte, error) {
	var in io.Reader = io.LimitReader(r.Body, maxRequest+1)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = io.LimitReader(z, maxRequest+1)
	default:
		return nil, errors.New("compressed in a way that is not known")
	}
	b, err := io.ReadAll(in)
	if err == nil && len(b) > maxRequest {
		return nil, errTooLarge
	}
	return b, err
}

// message is a request or an answer as it goes over the wire.
type message struct{ b []byte }

// wire hands messages on undecoded.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(v any) ([]byte, error) {
	if m, ok := v.(*message); ok {
		return m.b, nil
	}
	return nil, errMessage
}

func (wire) Unmarshal(b []byte, v any) error {
	m, ok := v.(*message)
	if !ok {
		return errMessage
	}
	m.b = bytes.Clone(b)
	return nil
}

var _ encoding.Codec = wire{}

func (s *Server) serveGRPC(ctx context.Context, ln net.Listener) error {
	// gRPC reads a message before its handler may refuse it: strangers, and what is
	// too many, are turned away by their headers.
	coming := make(chan struct{}, arriving)
	tapped := func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if !s.knows(bearer(info.Header)) {
			return nil, errStranger
		}
		select {
		case coming <- struct{}{}:
			context.AfterFunc(ctx, func() { <-coming })
			return ctx, nil
		default:
			return nil, status.Error(codes.ResourceExhausted, "too many requests at once")
		}
	}
	options := []grpc.ServerOption{grpc.InTapHandle(tapped), grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(atOnce), grpc.ConnectionTimeout(10 * time.Second), grpc.MaxHeaderListSize(64 << 10),
		grpc.ForceServerCodec(wire{}), grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second})}
	if s.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.TLS)))
	}
	g := grpc.NewServer(options...)
	for name, signal := range map[string]Signal{"opentelemetry.proto.collector.trace.v1.TraceService": Traces, "opentelemetry.proto.collector.logs.v1.LogsService": Logs} {
		g.RegisterService(&grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Export",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return s.export(ctx, signal, decode)
			}}}}, nil)
	}
	defer context.AfterFunc(ctx, g.Stop)()
	s.tally.State("reading", nil)
	return g.Serve(ln)
}

var errStranger = status.Error(codes.Unauthenticated, "no token, or another one")

func bearer(md metadata.MD) string {
	if v := md.Get(TokenHeader); len(v) == 1 {
		return v[0]
	} else if v := md.Get("authorization"); len(v) == 1 {
		token, _ := strings.CutPrefix(v[0], "Bearer ")
		return token
	}
	return ""
}

func (s *Server) export(ctx context.Context, signal Signal, decode func(any) error) (any, error) {
	free, ok := s.place(ctx)
	if !ok {
		st, err := status.New(codes.ResourceExhausted, "too many requests at once").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	defer free()
	var m message
	if err := decode(&m); err != nil {
		return nil, err
	}
	from := "a sender"
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	out, err := s.take(signal, m.b, from)
	switch {
	case errors.Is(err, errStopped):
		return nil, status.Error(codes.Unavailable, err.Error())
	case err != nil:
		return nil, status.Error(codes.InvalidArgument, "the request "+err.Error())
	}
	return &message{out.answer()}, nil
}
