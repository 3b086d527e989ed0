// Package forwardauth answers proxies that ask by HTTP whether a request may
// pass: nginx (auth_request, and njs with the body), Caddy (forward_auth) and
// Traefik (forwardAuth, and forwardBody). In comes the client's head as the proxy
// copies it, with the original method, target and address in headers that the
// proxy alone may set; out goes 204 with headers that say who calls, or the
// refusal with a problem document. It forwards nothing, and it believes no
// header of the client's own: which ones the proxy sets is said by the path that
// the proxy asks at, not found out from the request.
package forwardauth

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

	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
)

// The paths that proxies ask at. Those that end in /body expect the request's
// body in the question.
const (
	PathNginx       = "/nginx"        // X-Original-*
	PathNginxBody   = "/nginx/body"   // the same, with the body
	PathForward     = "/forward"      // X-Forwarded-*
	PathForwardBody = "/forward/body" // the same, with the body
)

// HeaderToken carries the secret that the proxy shares with the door.
const HeaderToken = "X-Sallyport-Door"

// HeaderStatus says the refusal's own status where the answer's had to be
// another: auth_request knows 401 and 403 alone.
const HeaderStatus = "X-Sallyport-Status"

// HeaderProblem has the problem document again, for proxies that throw the
// answer's body away.
const HeaderProblem = "X-Sallyport-Problem"

// A Server answers questions. Its fields are set before it serves.
type Server struct {
	Desk  *door.Desk
	Peers door.Peers
	Body  int64 // most bytes of a body that is taken; more are held for cut. Zero is 1 MiB.
}

// bounds of the conversation with the proxy, which is close by.
const (
	headTime  = 2 * time.Second
	bodyTime  = 5 * time.Second
	headBytes = 64 << 10
)

// Serve answers until ctx ends; then questions in flight end first.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: headTime, ReadTimeout: bodyTime, WriteTimeout: bodyTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: headBytes,
		ErrorLog: silent, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.RemoteAddr())
		}}
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(closing) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type peerKey struct{}

// A style is how a proxy names the original request.
type style struct {
	method, uri, host, proto, client string
	body                             bool
	narrow                           bool // the proxy passes on 401 and 403 alone
}

var styles = map[string]style{
	PathNginx:       {"X-Original-Method", "X-Original-Uri", "X-Original-Host", "X-Original-Proto", "X-Original-Client", false, true},
	PathNginxBody:   {"X-Original-Method", "X-Original-Uri", "X-Original-Host", "X-Original-Proto", "X-Original-Client", true, false},
	PathForward:     {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", false, false},
	PathForwardBody: {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", true, false},
}

// HeaderLength says how long the request's body is, where the question has none.
const HeaderLength = "X-Original-Length"

// ServeHTTP answers one question.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, _ := r.Context().Value(peerKey{}).(net.Addr)
	st, known := styles[r.URL.Path]
	if !s.Peers.May(peer) || !s.Peers.Knows(r.Header.Get(HeaderToken)) || !known {
		s.Desk.Strange()
		w.WriteHeader(http.StatusNotFound)
		return
	}
	q, ok := st.question(r, peer)
	if !ok {
		s.Desk.Strange()
		http.Error(w, "the proxy does not say what was asked for: see the guide", http.StatusBadRequest)
		return
	}
	t := s.Desk.Ask(r.Context(), q)
	if _, wants := t.Wants(); wants && st.body {
		b, sight, err := s.read(r)
		if err != nil {
			t.Note("body: the question broke off")
			t.Finish()
			s.Desk.Strange()
			panic(http.ErrAbortHandler)
		}
		t.Body(b, sight)
	} else if wants {
		t.Body(nil, door.None)
	}
	s.answer(w, t, st)
	t.Finish()
}

func (s *Server) read(r *http.Request) ([]byte, door.Sight, error) {
	most := s.Body
	if most == 0 {
		most = 1 << 20
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, max(most, 0)+1))
	if err != nil {
		return nil, door.Cut, err
	}
	if int64(len(b)) > most {
		return b[:most], door.Cut, nil
	}
	return b, door.Whole, nil
}

func (s *Server) answer(w http.ResponseWriter, t *door.Turn, st style) {
	h := w.Header()
	if r := t.Refusal(); r != nil {
		for _, f := range door.ProblemHeader(r, t.ID) {
			h.Add(f[0], f[1])
		}
		h.Set(HeaderStatus, strconv.Itoa(r.Status))
		b := door.Problem(r.Kind, t.ID)
		h.Set("Content-Length", strconv.Itoa(len(b)))
		h.Set(HeaderProblem, strings.TrimSpace(string(b)))
		status := r.Status
		if st.narrow && status != http.StatusUnauthorized {
			status = http.StatusForbidden
		}
		w.WriteHeader(status)
		w.Write(b)
		return
	}
	// Each name is said, also when there is nothing to say: a proxy that copies
	// only what it gets would let the client's own stand.
	for _, name := range door.IdentityNames {
		h[name] = []string{""}
	}
	for _, f := range t.Identity() {
		h[f[0]] = []string{f[1]}
	}
	h.Set(door.HeaderID, t.ID)
	w.WriteHeader(http.StatusNoContent)
}

// question makes the request out of what the proxy tells. It is not ok when
// the proxy leaves out, or says twice, what was asked for.
func (st *style) question(r *http.Request, peer net.Addr) (*guard.Request, bool) {
	one := func(name string) (string, bool) {
		v := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
		if len(v) != 1 {
			return "", false
		}
		return v[0], v[0] != ""
	}
	method, ok1 := one(st.method)
	uri, ok2 := one(st.uri)
	host, ok3 := one(st.host)
	proto, ok4 := one(st.proto)
	from, ok5 := one(st.client)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !strings.HasPrefix(uri, "/") || strings.ContainsAny(method+uri, " \t\r\n") {
		return nil, false
	}
	if at := strings.LastIndexByte(from, ','); at >= 0 {
		from = from[at+1:]
	}
	client, err := netip.ParseAddr(strings.TrimSpace(from))
	if err != nil {
		return nil, false
	}
	q := &guard.Request{Method: method, Host: host, Proto: "HTTP/1.1", TLS: proto == "https" || proto == "wss", Header: r.Header.Clone(), Client: client.Unmap().WithZone(""), ContentLength: r.ContentLength}
	q.Path, q.RawQuery, _ = strings.Cut(uri, "?")
	q.Peer = q.Client
	if a, ok := peer.(*net.TCPAddr); ok {
		q.Peer = a.AddrPort().Addr().Unmap()
	}
	if !st.body {
		q.ContentLength = st.length(r.Header, method)
	}
	q.Upgrade = strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || strings.EqualFold(r.Header.Get("X-Original-Upgrade"), "websocket")
	for _, name := range []string{"X-Original-Method", "X-Original-Uri", "X-Original-Host", "X-Original-Proto", "X-Original-Client", "X-Original-Upgrade", HeaderLength, HeaderToken,
		"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Server", "X-Forwarded-Port", "X-Real-Ip", "Connection", "Content-Length"} {
		delete(q.Header, name)
	}
	return q, true
}

// length is how long the request's body is, -1 when that is not told.
func (st *style) length(h http.Header, method string) int64 {
	if v := h[HeaderLength]; len(v) == 1 && v[0] != "" {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			return n
		}
		return -1
	}
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions {
		return 0
	}
	return -1
}
