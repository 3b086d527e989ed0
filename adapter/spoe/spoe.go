// Package spoe is the agent that HAProxy asks by its stream processing offload
// protocol (SPOP 2.0, doc/SPOE.txt of HAProxy). In come messages about requests,
// with as much of the body as HAProxy buffers, and about answers' heads; out go
// variables of the transaction that HAProxy's rules act on. It forwards nothing
// and changes nothing by itself: a configuration that does not act on the
// variables guards nothing.
package spoe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
)

// The messages that HAProxy sends; the guide has their arguments.
const (
	MessageRequest  = "sallyport-request"
	MessageResponse = "sallyport-response"
)

// Bounds of the conversation with HAProxy.
const (
	helloTime  = 2 * time.Second
	idleTime   = 5 * time.Minute
	writeTime  = 2 * time.Second
	pending    = 512 // questions under way on one connection
	assembling = 32  // fragmented ones among them
)

// A Server answers HAProxy. Its fields are set before it serves.
type Server struct {
	Desk  *door.Desk
	Peers door.Peers
	// Buffer is HAProxy's tune.bufsize less what it keeps for rewriting: bodies
	// whose length nobody says are held for whole when they are well below it.
	// Zero is 12 KiB, for HAProxy's own defaults.
	Buffer int
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && !errors.Is(err, net.ErrClosed) {
				time.Sleep(10 * time.Millisecond) // out of descriptors: that passes
				continue
			}
			return err
		}
		if !s.Peers.May(c.RemoteAddr()) {
			s.Desk.Strange()
			c.Close()
			continue
		}
		wg.Go(func() { s.Converse(ctx, c) })
	}
}

// A talk is one connection.
type talk struct {
	s     *Server
	c     net.Conn
	max   int // bytes of a frame, as agreed on
	mu    sync.Mutex
	out   []byte
	parts map[[2]uint64][]byte
	bytes int
	wg    sync.WaitGroup
	room  chan struct{}
}

// Converse speaks with one HAProxy until either side ends it, and closes c.
func (s *Server) Converse(ctx context.Context, c net.Conn) {
	t := &talk{s: s, c: c, max: maxFrame, parts: map[[2]uint64][]byte{}, room: make(chan struct{}, pending)}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { // what is under way is still answered
		t.disconnect(goneNormal, "the agent stops")
		c.SetReadDeadline(time.Unix(1, 0))
	})
	err := t.run(ctx)
	var p *protocolError
	if errors.As(err, &p) {
		s.Desk.Strange()
		t.disconnect(p.code, p.text)
	}
	stop()
	t.wg.Wait()
	cancel()
	c.Close()
}

type protocolError struct {
	code uint64
	text string
}

func (p *protocolError) Error() string { return p.text }

func wrong(code uint64, text string) error { return &protocolError{code, text} }

func (t *talk) run(ctx context.Context) error {
	r := bufio.NewReaderSize(t.c, 16<<10)
	t.c.SetReadDeadline(time.Now().Add(helloTime))
	var buf []byte
	for first := true; ; first = false {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(length[:])
		if n > uint32(t.max) {
			return wrong(goneTooBig, "the frame is too big")
		}
		if cap(buf) < int(n) {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		f, err := parseFrame(buf)
		if err != nil {
			return wrong(goneInvalid, "the frame is invalid")
		}
		if first != (f.kind == frameHello) {
			return wrong(goneInvalid, "HELLO comes first, and once")
		}
		switch {
		case first:
			over, err := t.hello(f)
			if err != nil || over {
				return err
			}
		case f.kind == frameDisconnect:
			t.disconnect(goneNormal, "")
			return nil
		case f.kind == frameNotify || f.kind == frameUnset:
			whole, done, err := t.assemble(f)
			if err != nil {
				return err
			}
			if done {
				t.room <- struct{}{}
				t.wg.Go(func() {
					defer func() { <-t.room }()
					t.notify(ctx, f.stream, f.id, whole)
				})
			}
		default:
			return wrong(goneInvalid, "the frame's type is unknown")
		}
		if r.Buffered() == 0 {
			t.c.SetReadDeadline(time.Now().Add(idleTime))
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// hello agrees on version, size and capabilities; over says that HAProxy has
// only looked whether we are well.
func (t *talk) hello(f frame) (over bool, err error) {
	var versions, able string
	var size uint64
	check := false
	if err := pairs(f.payload, func(name []byte, v value) {
		switch string(name) {
		case "supported-versions":
			versions = string(v.text)
		case "max-frame-size":
			size = v.number
		case "capabilities":
			able = string(v.text)
		case "healthcheck":
			check = v.yes()
		}
	}); err != nil {
		return false, wrong(goneInvalid, "the frame is invalid")
	}
	switch {
	case versions == "":
		return false, wrong(goneNoVersion, "no version is offered")
	case !slices.ContainsFunc(strings.Split(versions, ","), func(v string) bool { return strings.HasPrefix(strings.TrimSpace(v), "2.") }):
		return false, wrong(goneVersion, "version 2.0 is the one spoken here")
	case size == 0:
		return false, wrong(goneNoFrameSize, "no frame size is offered")
	case size < minFrame:
		return false, wrong(goneFrameSize, "the frame size is too small")
	}
	t.max = int(min(size, maxFrame))
	var common []string
	for _, c := range strings.Split(able, ",") {
		if c = strings.TrimSpace(c); c == "pipelining" || c == "async" || c == "fragmentation" {
			common = append(common, c)
		}
	}
	p := appendText(append(appendText(nil, "version"), 8), "2.0")
	p = appendVarint(append(appendText(p, "max-frame-size"), 3), uint64(t.max))
	p = appendText(append(appendText(p, "capabilities"), 8), strings.Join(common, ","))
	t.send(frameAgentHello, 0, 0, p)
	return check, nil
}

// assemble gives a NOTIFY's payload once it is all there. It is the caller's.
func (t *talk) assemble(f frame) (whole []byte, done bool, err error) {
	key, fin := [2]uint64{f.stream, f.id}, f.flags&flagFin != 0
	part, begun := t.parts[key]
	switch {
	case f.flags&flagAbort != 0:
		if !f.interior || !begun {
			return nil, false, wrong(goneInvalid, "nothing to break off")
		}
		t.bytes -= len(part)
		delete(t.parts, key)
		t.send(frameAck, f.stream, f.id, nil)
		return nil, false, nil
	case f.interior != begun:
		return nil, false, wrong(goneInterlaced, "fragments do not follow each other")
	case t.bytes+len(f.payload) > maxAssembled || !begun && !fin && len(t.parts) == assembling:
		return nil, false, wrong(goneResources, "too much in fragments")
	}
	part = append(part, f.payload...)
	if !fin {
		t.bytes += len(f.payload)
		t.parts[key] = part
		return nil, false, nil
	}
	if begun {
		t.bytes -= len(part) - len(f.payload)
		delete(t.parts, key)
	}
	return part, true, nil
}

func (t *talk) send(kind byte, stream, id uint64, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = appendFrame(t.out[:0], kind, stream, id, payload)
	t.c.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := t.c.Write(t.out); err != nil {
		t.c.Close()
	}
}

func (t *talk) disconnect(code uint64, why string) {
	p := appendVarint(append(appendText(nil, "status-code"), 3), code)
	p = appendText(append(appendText(p, "message"), 8), why)
	t.send(frameAgentGone, 0, 0, p)
}

// notify answers one NOTIFY. One that cannot be read is answered without a
// variable, which HAProxy's rules take as they take our absence.
func (t *talk) notify(ctx context.Context, stream, id uint64, payload []byte) {
	var ack []byte
	var end []*door.Turn
	strange := 0
	err := messages(payload, func(name string, args map[string]value) {
		var turn *door.Turn
		switch name {
		case MessageRequest:
			if ack, turn = t.s.request(ctx, args, ack); turn == nil {
				strange++
			}
		case MessageResponse:
			ack, turn = t.s.response(args, ack)
		default:
			strange++
		}
		if turn != nil {
			end = append(end, turn)
		}
	})
	if err != nil || strange > 0 {
		t.s.Desk.Strange()
		ack = nil
	}
	if t.s.Desk.Answers { // kept before HAProxy knows, for the answer may come at once
		for _, turn := range end {
			turn.Hold()
		}
	}
	t.send(frameAck, stream, id, ack)
	if !t.s.Desk.Answers {
		for _, turn := range end {
			turn.Finish()
		}
	}
}

// request asks the desk about a request's head and body.
func (s *Server) request(ctx context.Context, args map[string]value, ack []byte) ([]byte, *door.Turn) {
	method, target, host, src := string(args["method"].text), string(args["uri"].text), string(args["host"].text), args["src"].addr
	if method == "" || !strings.HasPrefix(target, "/") && target != "*" || !src.IsValid() {
		return ack, nil
	}
	q := &guard.Request{Method: method, Host: host, Proto: "HTTP/" + string(args["ver"].text), TLS: args["tls"].yes(), Header: http.Header{}, Client: src.Unmap(), Peer: src.Unmap()}
	q.Path, q.RawQuery, _ = strings.Cut(target, "?")
	lines, size := 0, len(target)+len(method)
	if err := headers(args["hdrs"].text, func(name, v string) {
		q.Header.Add(textproto.CanonicalMIMEHeaderKey(name), v)
		lines++
		size += len(name) + len(v)
	}); err != nil {
		return ack, nil
	}
	body := args["body"].text
	sight := door.Whole
	switch length := q.Header["Content-Length"]; {
	case len(length) == 1:
		n, err := strconv.ParseInt(length[0], 10, 64)
		if err != nil || n < 0 {
			return ack, nil
		}
		if q.ContentLength = n; n != int64(len(body)) {
			sight = door.Cut
		}
	case len(length) > 1:
		return ack, nil
	default:
		// Nobody says how long it is. HAProxy waits for all of it or until its
		// buffer is full.
		if len(body) > 0 || len(q.Header["Transfer-Encoding"]) > 0 {
			q.ContentLength = -1
		}
		room := s.Buffer
		if room == 0 {
			room = 12 << 10
		}
		if size+len(body)+32*lines > room {
			sight, q.ContentLength = door.Cut, -1
		}
	}
	q.Upgrade = strings.EqualFold(q.Header.Get("Upgrade"), "websocket")
	t := s.Desk.Ask(ctx, q)
	if _, has := args["body"]; !has {
		sight = door.None
	}
	if _, wants := t.Wants(); wants || len(body) > 0 {
		t.Body(body, sight)
	}
	ack = setText(ack, "id", t.ID)
	if r := t.Refusal(); r != nil {
		return refusal(ack, r, t.ID), t
	}
	ack = setText(ack, "action", "allow")
	for _, f := range t.Identity() {
		if len(f[1]) <= maxText {
			ack = setText(ack, variables[f[0]], f[1])
		}
	}
	return ack, t
}

const maxText = 1 << 10 // so that an ACK fits into any frame that is agreed on in practice

var variables = map[string]string{
	door.HeaderSubject: "subject", door.HeaderKind: "kind", door.HeaderIssuer: "issuer", door.HeaderClient: "client", door.HeaderActor: "actor", door.HeaderScope: "scope",
	"Www-Authenticate": "www_authenticate", "Retry-After": "retry_after", "Allow": "allow",
}

func refusal(ack []byte, r *guard.Refusal, id string) []byte {
	ack = setText(ack, "action", string(r.Action))
	ack = setText(ack, "status", strconv.Itoa(r.Status))
	ack = setText(ack, "problem", string(door.Problem(r.Kind, id)))
	for _, f := range r.Header {
		if name := variables[textproto.CanonicalMIMEHeaderKey(f[0])]; name != "" && len(f[1]) <= maxText {
			ack = setText(ack, name, f[1])
		}
	}
	return ack
}

// response hands an answer's head to the turn that its request began.
func (s *Server) response(args map[string]value, ack []byte) ([]byte, *door.Turn) {
	t := s.Desk.Held(string(args["id"].text))
	if t == nil {
		return ack, nil
	}
	h := http.Header{}
	if err := headers(args["hdrs"].text, func(name, v string) { h.Add(textproto.CanonicalMIMEHeaderKey(name), v) }); err != nil {
		t.Finish()
		return ack, nil
	}
	t.Answer(int(args["status"].number), h)
	t.AnswerUnseen()
	if r := t.Refusal(); r != nil {
		ack = refusal(ack, r, t.ID)
	}
	t.Finish()
	return ack, nil
}
