// Package icap is a server of the Internet Content Adaptation Protocol (RFC
// 3507), which Squid and many commercial proxies speak. In come requests
// (REQMOD) and answers (RESPMOD) with their bodies; out go the request with
// headers that say who calls and without the client's own, the refusal in its
// place, and the answer as the policy lets it pass. Of a body up to 1 MiB is
// looked at, the rest streams through. It opens no connection of its own.
package icap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
)

// The services.
const (
	ServiceRequest  = "/reqmod"
	ServiceResponse = "/respmod"
)

const (
	idleTime    = 5 * time.Minute
	messageTime = 30 * time.Second // of one message, its body included, without progress
	preview     = 4096
)

// A Server answers ICAP clients. Its fields are set before it serves.
type Server struct {
	Desk  *door.Desk
	Peers door.Peers
	tag   string
	once  sync.Once
}

func (s *Server) istag() string {
	s.once.Do(func() { s.tag = fmt.Sprintf("ISTag: \"sp-%x\"\r\n", time.Now().UnixNano()) })
	return s.tag
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
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: that passes
			continue
		}
		if !s.Peers.May(c.RemoteAddr()) {
			s.Desk.Strange()
			c.Close()
			continue
		}
		wg.Go(func() { s.Converse(ctx, c) })
	}
}

// A timed connection gives each read and write its time.
type timed struct {
	net.Conn
	ctx  context.Context
	idle bool
}

func (t *timed) Read(b []byte) (int, error) {
	d := messageTime
	if t.idle {
		d = idleTime
	}
	t.SetReadDeadline(time.Now().Add(d))
	if t.idle && t.ctx.Err() != nil {
		return 0, io.EOF
	}
	return t.Conn.Read(b)
}

func (t *timed) Write(b []byte) (int, error) {
	t.SetWriteDeadline(time.Now().Add(messageTime))
	return t.Conn.Write(b)
}

// Converse speaks with one client until either side ends it, and closes c.
func (s *Server) Converse(ctx context.Context, c net.Conn) {
	t := &timed{Conn: c, ctx: ctx, idle: true}
	stop := context.AfterFunc(ctx, func() {
		time.Sleep(50 * time.Millisecond) // an answer under way
		c.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	defer c.Close()
	r, w := bufio.NewReaderSize(t, lineBytes), bufio.NewWriterSize(t, 16<<10)
	for ctx.Err() == nil {
		t.idle = true
		if _, err := r.Peek(1); err != nil {
			return
		}
		t.idle = false
		m, err := readMessage(r)
		if err == nil {
			err = s.answer(ctx, m, newBody(r, m), flushing{w})
		}
		if errors.Is(err, errSyntax) {
			s.Desk.Strange()
			io.WriteString(w, "ICAP/1.0 400 Bad Request\r\n"+s.istag()+"Connection: close\r\nEncapsulated: null-body=0\r\n\r\n")
		}
		if ferr := w.Flush(); err != nil || ferr != nil {
			return
		}
	}
}

// flushing lets 100 Continue out before what it asks for is read.
type flushing struct{ *bufio.Writer }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil && len(b) > 9 && string(b[9:12]) == "100" {
		err = f.Flush()
	}
	return n, err
}

func (f flushing) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

func (s *Server) answer(ctx context.Context, m *message, b *body, w flushing) error {
	switch {
	case m.method == "OPTIONS" && (m.service == ServiceRequest || m.service == ServiceResponse):
		method := "REQMOD"
		if m.service == ServiceResponse {
			method = "RESPMOD"
		}
		_, err := fmt.Fprintf(w, "ICAP/1.0 200 OK\r\nMethods: %s\r\nService: Sallyport\r\n%sAllow: 204\r\nPreview: %d\r\nTransfer-Preview: *\r\nMax-Connections: 1000\r\nOptions-TTL: 60\r\nEncapsulated: null-body=0\r\n\r\n", method, s.istag(), preview)
		return err
	case m.method == "REQMOD" && m.service == ServiceRequest:
		return s.request(ctx, m, b, w)
	case m.method == "RESPMOD" && m.service == ServiceResponse:
		return s.response(m, b, w)
	case m.method == "OPTIONS" || m.method == "REQMOD" || m.method == "RESPMOD":
		io.WriteString(w, "ICAP/1.0 404 ICAP Service not found\r\n"+s.istag()+"Connection: close\r\nEncapsulated: null-body=0\r\n\r\n")
	default:
		io.WriteString(w, "ICAP/1.0 405 Method Not Allowed\r\n"+s.istag()+"Connection: close\r\nEncapsulated: null-body=0\r\n\r\n")
	}
	s.Desk.Strange()
	return io.EOF // what comes behind it is not read
}

func (s *Server) request(ctx context.Context, m *message, b *body, w flushing) error {
	method, path, secure, ok := target(m.request.first)
	client, err := netip.ParseAddr(m.header["x-client-ip"])
	if !ok || err != nil {
		return errSyntax
	}
	q := &guard.Request{Method: method, Host: m.request.get("Host"), Proto: "HTTP/1.1", TLS: secure, Header: m.request.fields(), Client: client.Unmap().WithZone(""), Peer: client.Unmap().WithZone("")}
	q.Path, q.RawQuery, _ = strings.Cut(path, "?")
	if m.hasBody {
		if q.ContentLength, err = strconv.ParseInt(m.request.get("Content-Length"), 10, 64); err != nil || q.ContentLength < 0 {
			q.ContentLength = -1
		}
	}
	q.Upgrade = strings.EqualFold(m.request.get("Upgrade"), "websocket")
	q.Header.Del("Host")
	t := s.Desk.Ask(ctx, q)
	held, whole := []byte(nil), b.whole
	if limit, wants := t.Wants(); wants {
		if held, whole, err = b.hold(w, min(limit, holdBytes)); err != nil {
			t.Note("body: it broke off")
			t.Finish()
			return err
		}
		sight := door.Cut
		if whole {
			sight = door.Whole
		}
		t.Body(held, sight)
	}
	if r := t.Refusal(); r != nil {
		err := s.refuse(r, t.ID, b, w)
		t.Finish()
		return err
	}
	m.request.drop(func(name string) bool { return s.Desk.Strips(name) || strings.EqualFold(name, door.HeaderID) })
	m.request.lines = append(m.request.lines, t.Identity()...)
	m.request.set(door.HeaderID, t.ID)
	t.Hold() // before the proxy knows, for the answer may come at once
	return s.pass("req", m.request, held, m.hasBody, b, w)
}

// pass sends a head with what is held of its body and what comes behind.
func (s *Server) pass(kind string, h *head, held []byte, hasBody bool, b *body, w flushing) error {
	inner := h.bytes()
	if !hasBody {
		_, err := fmt.Fprintf(w, "ICAP/1.0 200 OK\r\n%sEncapsulated: %s-hdr=0, null-body=%d\r\n\r\n%s", s.istag(), kind, len(inner), inner)
		return err
	}
	// The preview and 100 Continue come before the final answer.
	if !b.whole && b.first {
		rest, err := io.ReadAll(io.LimitReader(b, holdBytes))
		if held = append(held, rest...); err != nil {
			return err
		}
		if err := b.more(w); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "ICAP/1.0 200 OK\r\n%sEncapsulated: %s-hdr=0, %s-body=%d\r\n\r\n%s", s.istag(), kind, kind, len(inner), inner); err != nil {
		return err
	}
	if len(held) > 0 {
		fmt.Fprintf(w, "%x\r\n", len(held))
		w.Writer.Write(held)
		io.WriteString(w, "\r\n")
	}
	for buf := make([]byte, 16<<10); !b.whole; {
		n, err := b.Read(buf)
		if n > 0 {
			fmt.Fprintf(w, "%x\r\n", n)
			w.Writer.Write(buf[:n])
			io.WriteString(w, "\r\n")
		}
		if err != nil && !(err == io.EOF && b.whole) {
			return unexpected(err)
		}
	}
	_, err := io.WriteString(w, "0\r\n\r\n")
	return err
}

// refuse answers in the place of the upstream. What comes of the body behind a
// preview is never asked for; without one it is read and thrown away, up to a bound.
func (s *Server) refuse(r *guard.Refusal, id string, b *body, w flushing) error {
	n, err := io.Copy(io.Discard, io.LimitReader(b, holdBytes))
	if err != nil {
		return err
	}
	text := door.Problem(r.Kind, id)
	h := &head{first: fmt.Sprintf("HTTP/1.1 %d %s", r.Status, http.StatusText(r.Status)), lines: door.ProblemHeader(r, id)}
	h.set("Content-Length", strconv.Itoa(len(text)))
	inner := h.bytes()
	closes, over := "", error(nil)
	if n == holdBytes {
		closes, over = "Connection: close\r\n", io.EOF
	}
	if _, err := fmt.Fprintf(w, "ICAP/1.0 200 OK\r\n%s%sEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%x\r\n%s\r\n0\r\n\r\n", s.istag(), closes, len(inner), inner, len(text), text); err != nil {
		return err
	}
	return over
}

func (s *Server) response(m *message, b *body, w flushing) error {
	code, err := status(m.answer.first)
	if err != nil {
		return err
	}
	var t *door.Turn
	if m.request != nil {
		t = s.Desk.Held(m.request.get(door.HeaderID))
	}
	if t == nil { // ours to refuse, or of somebody who was not asked about
		return s.untouched(m, nil, b, w)
	}
	defer t.Finish()
	fields := m.answer.fields()
	edits, limit, wants := t.Answer(code, fields)
	var held []byte
	if wants {
		var whole bool
		if held, whole, err = b.hold(w, min(limit, holdBytes)); err != nil {
			return err
		}
		sight := door.Cut
		if whole {
			sight = door.Whole
		}
		replace, more := t.AnswerBody(held, sight)
		if replace != nil {
			edits = append(append([]guard.HeadEdit(nil), edits...), more...)
			held = replace
			m.answer.set("Content-Length", strconv.Itoa(len(replace)))
		}
	}
	if r := t.Refusal(); r != nil {
		return s.refuse(r, t.ID, b, w)
	}
	if len(edits) == 0 {
		return s.untouched(m, held, b, w)
	}
	for _, e := range edits {
		if e.Value == "" {
			m.answer.drop(func(n string) bool { return strings.EqualFold(n, e.Name) })
		} else {
			m.answer.set(e.Name, e.Value)
		}
	}
	return s.pass("res", m.answer, held, m.hasBody, b, w)
}

// untouched lets a message pass as it is: by 204 where that may be said.
func (s *Server) untouched(m *message, held []byte, b *body, w flushing) error {
	asked := m.preview >= 0 && !b.first // 100 Continue went out: 204 needs Allow
	if m.allows204() && (!asked || strings.Contains(m.header["allow"], "204")) {
		if _, err := io.Copy(io.Discard, b); err != nil { // the preview, or all of it
			return err
		}
		_, err := io.WriteString(w, "ICAP/1.0 204 No Content\r\n"+s.istag()+"Encapsulated: null-body=0\r\n\r\n")
		return err
	}
	return s.pass("res", m.answer, held, m.hasBody, b, w)
}
