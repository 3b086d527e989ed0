// Package push takes exchanges by HTTP. In come lines of JSON (NDJSON), each an
// exchange, at POST /v1/exchanges; or, at a listener that mirrors, copies of
// requests as nginx (mirror) and Traefik (mirroring) send them. Out go exchanges.
//
// A sender proves itself by a token. Requests at once, lines, headers and bodies
// are bounded: of a body beyond 1 MiB the rest is read and left out. A copied request
// has no answer, and its exchange no status. The package answers what it took
// and what it could not read, quotes nothing, and writes nothing.
package push

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Bounds.
const (
	maxLine = 3 << 20
	maxBody = 1 << 20
	atOnce  = 64
)

// TokenHeader carries the token of mirrored requests, whose Authorization is
// their sender's own.
const TokenHeader = "X-Sallyport-Token"

// A Server is a source that listens for exchanges.
type Server struct {
	Address string
	Token   string // "" = nobody has to prove anything
	Mirror  bool   // every request is a copy of one
	Entry   observe.Entry

	tally observe.SourceTally
	mu    sync.Mutex
	n     int64
	id    uint64
	emit  func(*sallyport.Exchange) error
	fail  context.CancelCauseFunc
}

var _ observe.Source = (*Server)(nil)

// Name is "push:" or "mirror:" and the address.
func (s *Server) Name() string {
	if s.Mirror {
		return "mirror:" + s.Address
	}
	return "push:" + s.Address
}

// Health implements observe.Source.
func (s *Server) Health() observe.SourceHealth { return s.tally.Health() }

// Run implements observe.Source.
func (s *Server) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	s.emit, s.id = emit, rand.Uint64()
	if s.Mirror {
		s.tally.Format("mirror")
	} else {
		s.tally.Format("ndjson")
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		s.tally.State("failed", err)
		return err
	}
	places := make(chan struct{}, atOnce)
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				s.serve(w, r)
			default:
				w.Header().Set("Retry-After", "1")
				http.Error(w, "too many at once", http.StatusServiceUnavailable)
			}
		})}
	context.AfterFunc(ctx, func() { srv.Close() })
	s.tally.State("reading", nil)
	err = srv.Serve(ln)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		s.tally.State("failed", cause)
		return cause
	}
	if ctx.Err() == nil {
		s.tally.State("failed", err)
		return err
	}
	s.tally.State("done", nil)
	return nil
}

func (s *Server) known(r *http.Request) bool {
	given := r.Header.Get(TokenHeader)
	if !s.Mirror && given == "" {
		given, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.Token))
	return s.Token == "" || subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.known(r):
		w.Header().Set("Www-Authenticate", "Bearer")
		http.Error(w, "no token, or another one", http.StatusUnauthorized)
	case s.Mirror:
		s.mirrored(r)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Path != "/v1/exchanges":
		http.Error(w, "exchanges go to /v1/exchanges", http.StatusNotFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "exchanges come by POST", http.StatusMethodNotAllowed)
	default:
		s.lines(w, r)
	}
}

// outcome is what a sender is told.
type outcome struct {
	Accepted int    `json:"accepted"`
	Bad      int    `json:"bad"`
	FirstBad string `json:"first_bad,omitempty"`
}

func (s *Server) lines(w http.ResponseWriter, r *http.Request) {
	var out outcome
	status := http.StatusAccepted
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Minute))
	in := bufio.NewScanner(r.Body)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	bad := func(line int, why string) {
		if out.Bad++; out.FirstBad == "" {
			out.FirstBad = fmt.Sprintf("line %d: %s", line, why)
		}
		s.tally.Bad(fmt.Sprintf("%s, line %d", r.RemoteAddr, line), why)
	}
	line := 0
	for in.Scan() {
		line++
		if len(in.Bytes()) == 0 {
			continue
		}
		s.tally.Read(1)
		x, err := exchange(in.Bytes())
		if err != nil {
			bad(line, err.Error())
			continue
		}
		if s.take(x) != nil {
			status = http.StatusServiceUnavailable
			break
		}
		out.Accepted++
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		s.tally.Read(1)
		bad(line+1, "is longer than 3 MiB; nothing behind it was read")
		status = http.StatusRequestEntityTooLarge
	} else if err != nil {
		bad(line+1, "the request was cut off")
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(out)
}

// record is one line.
type record struct {
	Time     time.Time         `json:"time"`
	URL      string            `json:"url"`
	Method   string            `json:"method"`
	Host     string            `json:"host"`
	Path     string            `json:"path"`
	Query    string            `json:"query"`
	Proto    string            `json:"proto"`
	TLS      bool              `json:"tls"`
	Status   int               `json:"status"`
	Millis   float64           `json:"duration_ms"`
	Client   string            `json:"client"`
	Subject  string            `json:"subject"`
	Instance string            `json:"instance"`
	ReqHead  map[string]string `json:"request_headers"`
	RespHead map[string]string `json:"response_headers"`
	ReqBody  string            `json:"request_body"`
	RespBody string            `json:"response_body"`
}

func exchange(line []byte) (*sallyport.Exchange, error) {
	var in record
	if err := json.Unmarshal(line, &in); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return nil, fmt.Errorf("a member is of the wrong type")
		}
		return nil, errors.New("is no JSON object of an exchange")
	}
	if in.URL != "" {
		u, err := url.Parse(in.URL)
		if err != nil || u.Host == "" {
			return nil, errors.New("its url cannot be read")
		}
		in.Host, in.Path, in.Query, in.TLS = u.Host, u.EscapedPath(), u.RawQuery, u.Scheme == "https" || u.Scheme == "wss"
		if in.Path == "" {
			in.Path = "/"
		}
	}
	if p, q, ok := strings.Cut(in.Path, "?"); ok {
		in.Path, in.Query = p, q
	}
	switch {
	case in.Method == "" || len(in.Method) > 32:
		return nil, errors.New("has no method")
	case !strings.HasPrefix(in.Path, "/"):
		return nil, errors.New("has no path that begins with /")
	case in.Status != 0 && (in.Status < 100 || in.Status > 599):
		return nil, errors.New("its status is no status")
	}
	if now := time.Now(); in.Time.IsZero() || in.Time.After(now.Add(5*time.Minute)) {
		in.Time = now
	}
	x := &sallyport.Exchange{Time: in.Time, Method: in.Method, Host: strings.ToLower(in.Host), Path: in.Path, Query: in.Query, Proto: in.Proto, TLS: in.TLS, Status: in.Status,
		Duration: time.Duration(min(max(in.Millis, 0), 1e9) * float64(time.Millisecond)), Instance: in.Instance, RequestBytes: int64(len(in.ReqBody)), ResponseBytes: int64(len(in.RespBody)),
		RequestHeader: fields(in.ReqHead), ResponseHeader: fields(in.RespHead)}
	x.Client, _ = netip.ParseAddr(in.Client)
	if in.Subject != "" {
		x.Principal = sallyport.Principal{Kind: "log", Subject: in.Subject}
	}
	if len(in.ReqBody) <= maxBody {
		x.RequestBody = []byte(in.ReqBody)
	}
	if len(in.RespBody) <= maxBody {
		x.ResponseBody = []byte(in.RespBody)
	}
	return x, nil
}

func fields(m map[string]string) []sallyport.Field {
	var out []sallyport.Field
	for k, v := range m {
		if len(out) < 200 {
			out = append(out, sallyport.Field{Name: http.CanonicalHeaderKey(k), Value: v})
		}
	}
	return out
}

// mirrored takes a copy of a request.
func (s *Server) mirrored(r *http.Request) {
	s.tally.Read(1)
	x := &sallyport.Exchange{Unseen: true, Time: time.Now(), Method: r.Method, Host: strings.ToLower(strings.TrimSuffix(r.Host, "-shadow")), Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Proto: r.Proto,
		TLS: r.Header.Get("X-Forwarded-Proto") == "https", RequestBytes: max(r.ContentLength, 0)}
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
	x.Client, _ = netip.ParseAddr(strings.TrimSpace(first))
	for k, list := range r.Header {
		if k != TokenHeader && len(x.RequestHeader) < 200 {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: k, Value: list[0]})
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		s.tally.Bad(r.RemoteAddr, "the body of a copied request was cut off")
		body = nil
	} else if len(body) > maxBody {
		n, _ := io.Copy(io.Discard, io.LimitReader(r.Body, 64<<20))
		x.RequestBytes = max(x.RequestBytes, n+int64(len(body)))
		body = nil
	}
	x.RequestBody = body
	x.RequestBytes = max(x.RequestBytes, int64(len(body)))
	_ = s.take(x)
}

func (s *Server) take(x *sallyport.Exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	x.ID = observe.SourceID(s.id, s.n, x.Time)
	s.tally.Lag(time.Since(x.Time))
	s.Entry.Take(s.Name(), x)
	if err := s.emit(x); err != nil {
		s.fail(err)
		return err
	}
	s.tally.Emitted(x.Time)
	return nil
}
