// Package syslog receives the access logs of other doors. In come messages of
// RFC 5424 and RFC 3164 over UDP (RFC 5426), TCP (RFC 6587, counted octets or
// lines) and TLS (RFC 5425); out go the exchanges that a parser makes of them.
//
// Connections, their number and the length of a message are bounded. A message
// that cannot be read is counted and the first is named by its sender; a
// connection whose framing is broken is closed. Over UDP what a full socket
// drops is lost without a trace, as the protocol has it. The package answers
// nothing and writes nothing.
package syslog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Bounds.
const (
	maxMessage  = 64 << 10
	connections = 256
	idle        = time.Hour
)

// A Server is a source that listens for messages.
type Server struct {
	Network string // "udp", "tcp" or "tls"
	Address string
	TLS     *tls.Config // for tls
	// Parse makes an exchange of a message's text; nil without an error is no exchange.
	Parse  func(line []byte) (*sallyport.Exchange, error)
	Format func() string // of what Parse read last; may be nil
	Host   string        // of lines that name none
	Entry  observe.Entry

	tally observe.SourceTally
	mu    sync.Mutex // one message at a time
	n     int64
	id    uint64
	emit  func(*sallyport.Exchange) error
	fail  context.CancelCauseFunc
}

var _ observe.Source = (*Server)(nil)

// Name is "syslog:" with network and address.
func (s *Server) Name() string { return "syslog:" + s.Network + "://" + s.Address }

// Health implements observe.Source.
func (s *Server) Health() observe.SourceHealth { return s.tally.Health() }

// Run implements observe.Source.
func (s *Server) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	s.emit, s.id = emit, rand.Uint64()
	err := s.listen(ctx)
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

func (s *Server) listen(ctx context.Context) error {
	if s.Network == "udp" {
		pc, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", s.Address)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { pc.Close() })()
		if u, ok := pc.(*net.UDPConn); ok {
			_ = u.SetReadBuffer(8 << 20) // as much as the system gives
		}
		s.tally.State("reading", nil)
		b := make([]byte, maxMessage)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return err
			}
			s.message(b[:n], from)
		}
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	if s.Network == "tls" {
		ln = tls.NewListener(ln, s.TLS)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	s.tally.State("reading", nil)
	places := make(chan struct{}, connections)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		select {
		case places <- struct{}{}:
		default:
			s.tally.Notice("more than %d connections at once; those beyond were closed", connections)
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			s.connection(c)
		})
	}
}

// connection reads one stream. Octets are counted where it begins with a digit.
func (s *Server) connection(c net.Conn) {
	r := bufio.NewReaderSize(c, maxMessage+16)
	for {
		_ = c.SetReadDeadline(time.Now().Add(idle))
		first, err := r.Peek(1)
		if err != nil {
			return
		}
		if first[0] < '1' || first[0] > '9' {
			line, err := r.ReadSlice('\n')
			switch {
			case err == bufio.ErrBufferFull:
				s.bad(c.RemoteAddr(), "a message is longer than 64 KiB; the connection was closed")
				return
			case err != nil && len(line) > 0:
				s.bad(c.RemoteAddr(), "the last message was cut off")
				return
			case err != nil:
				return
			}
			s.message(line, c.RemoteAddr())
			continue
		}
		digits, err := r.ReadSlice(' ')
		n, nerr := strconv.Atoi(string(bytes.TrimSuffix(digits, []byte(" "))))
		if err != nil || nerr != nil || n < 1 || n > maxMessage {
			s.bad(c.RemoteAddr(), "a message has no length that can be read; the connection was closed")
			return
		}
		b, err := r.Peek(n)
		if err != nil {
			if err != io.EOF || len(b) > 0 {
				s.bad(c.RemoteAddr(), "the last message was cut off")
			}
			return
		}
		s.message(b, c.RemoteAddr())
		_, _ = r.Discard(n)
	}
}

func (s *Server) bad(from net.Addr, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Read(1)
	s.tally.Bad(from.String(), why)
}

func (s *Server) message(b []byte, from net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.tally.Read(1)
	text, err := Text(b)
	var x *sallyport.Exchange
	if err == nil {
		x, err = s.Parse(text)
	}
	if err != nil {
		s.tally.Bad(fmt.Sprintf("message %d, from %s", s.n, from), "it "+err.Error())
		return
	}
	if x == nil {
		return
	}
	if s.Format != nil {
		s.tally.Format(s.Format())
	}
	if x.Host == "" {
		x.Host = s.Host
	}
	if x.Time.After(time.Now().Add(5 * time.Minute)) {
		s.tally.Notice("times are ahead of the clock here: is the zone right? They are taken as now")
		x.Time = time.Now()
	}
	x.ID = observe.SourceID(s.id, s.n, x.Time)
	s.tally.Lag(time.Since(x.Time))
	s.Entry.Take(s.Name(), x)
	s.tally.Emitted(x.Time)
	if err := s.emit(x); err != nil {
		s.fail(err)
	}
}

var (
	errHeader = errors.New("has no header of RFC 5424 or RFC 3164")
	errEmpty  = errors.New("has no text")
)

// Text is the part of a message behind its header.
func Text(b []byte) ([]byte, error) {
	b = bytes.TrimRight(b, "\r\n\x00 ")
	if len(b) < 3 || b[0] != '<' {
		return nil, errHeader
	}
	end := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if end < 2 {
		return nil, errHeader
	}
	if pri, err := strconv.Atoi(string(b[1:end])); err != nil || pri < 0 || pri > 191 {
		return nil, errHeader
	}
	b = b[end+1:]
	if rest, ok := bytes.CutPrefix(b, []byte("1 ")); ok {
		for range 5 { // time, host, program, process, kind
			_, after, ok := bytes.Cut(rest, []byte(" "))
			if !ok {
				return nil, errHeader
			}
			rest = after
		}
		if after, ok := bytes.CutPrefix(rest, []byte("-")); ok {
			rest = after
		} else if rest = structured(rest); rest == nil {
			return nil, errHeader
		}
		rest = bytes.TrimPrefix(bytes.TrimPrefix(rest, []byte(" ")), []byte("\xef\xbb\xbf"))
		if len(rest) == 0 {
			return nil, errEmpty
		}
		return rest, nil
	}
	// RFC 3164 describes what was found: a time of 15 letters, mostly a host, a tag.
	if len(b) > 16 && b[3] == ' ' && b[6] == ' ' && b[9] == ':' {
		b = b[16:]
	}
	if i := bytes.Index(b, []byte(": ")); i >= 0 && i < 320 && bytes.IndexByte(b[:i], '"') < 0 && bytes.IndexByte(b[:i], '{') < 0 {
		b = b[i+2:]
	}
	if b = bytes.TrimLeft(b, " "); len(b) == 0 {
		return nil, errEmpty
	}
	return b, nil
}

// structured skips structured data; nil = it does not end.
func structured(b []byte) []byte {
	for len(b) > 0 && b[0] == '[' {
		quoted := false
		i := 1
		for ; i < len(b) && (quoted || b[i] != ']'); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				quoted = !quoted
			}
		}
		if i >= len(b) {
			return nil
		}
		b = b[i+1:]
	}
	if len(b) > 0 && b[0] != ' ' {
		return nil
	}
	return b
}
