package gateway

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev"
	"sallyport.dev/gateway/websocket"
	"sallyport.dev/guard"
)

// agreed reports whether the upstream's answer to the handshake is one that RFC
// 6455 (section 4.1) lets a client go on with: it proves that it has read the
// key, agrees to no extension, and to no protocol but one that was offered.
func (p *passage) agreed() bool {
	h := p.up.header
	sum := sha1.Sum([]byte(first(p.r.Header["Sec-Websocket-Key"]) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if first(h["Sec-Websocket-Accept"]) != base64.StdEncoding.EncodeToString(sum[:]) || len(h["Sec-Websocket-Extensions"]) > 0 {
		return false
	}
	chosen := h["Sec-Websocket-Protocol"]
	if len(chosen) == 0 {
		return true
	}
	var offered []string
	for _, v := range p.r.Header["Sec-Websocket-Protocol"] {
		for word := range strings.SplitSeq(v, ",") {
			offered = append(offered, strings.TrimSpace(word))
		}
	}
	return len(chosen) == 1 && slices.Contains(offered, chosen[0])
}

// How long the other side has to answer a close frame, and how many records of
// messages a connection may make in a second: those of refused messages and
// those of others.
const (
	closeTime     = 3 * time.Second
	refusedRecord = 10
	sampledRecord = 1
	maxPinged     = 64 // pings of the service that may wait for their answers
)

// A talk is one conversation on its way: two pumps, one each way, read messages,
// have the guard judge them, and write on what passes.
type talk struct {
	g    *Gateway
	c    *guard.Conversation
	in   string // instance
	term guard.Terms

	client, upstream side

	held   atomic.Int64 // of Gateway.buffered
	pinged atomic.Int64 // pings of the service that the client has not answered yet
	active atomic.Int64 // when a message last came, either way

	mu        sync.Mutex
	over      bool
	code      int
	reason    *sallyport.Reason
	second    int64 // in which the records below were made
	noted     int
	sampled   int
	unwritten int64 // records that the bounds left out
}

// A side is one end of the conversation.
type side struct {
	conn  net.Conn
	mask  bool // frames that go there are masked
	bytes atomic.Int64

	mu     sync.Mutex
	buf    []byte
	closed bool // a close frame has gone there
}

// converse passes messages both ways until the connection ends, and puts it on
// record. The answer 101 is out.
func (p *passage) converse(c *guard.Conversation, client net.Conn, rd *bufio.Reader, upstream net.Conn, early []byte) outcome {
	g := p.g
	t := &talk{g: g, c: c, in: p.out.Instance, term: c.Terms()}
	t.client.conn, t.upstream.conn, t.upstream.mask = client, upstream, true
	id := p.id
	tn := &tunnel{client: client, upstream: upstream, talk: t}
	if !g.track(tn) {
		tn.close()
		return served
	}
	defer g.untrack(tn)
	defer func() { g.buffered.sub(t.held.Load()) }()
	t.active.Store(g.o.Now().UnixNano())
	g.count.conversations.Add(1)
	defer g.count.conversations.Add(-1)

	var sides sync.WaitGroup
	sides.Go(func() {
		t.pump(&t.upstream, &t.client, bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), upstream), 4<<10), false)
	})
	t.pump(&t.client, &t.upstream, rd, true)
	sides.Wait()
	// What the client has sent meanwhile would have the connection reset, and our
	// last words lost with it.
	client.SetReadDeadline(time.Now().Add(time.Second))
	io.CopyN(io.Discard, client, 1<<20)
	tn.close()
	t.mu.Lock()
	e := guard.Parting{Code: t.code, Reason: t.reason, Instance: t.in, RequestBytes: t.client.bytes.Load(), ResponseBytes: t.upstream.bytes.Load()}
	t.mu.Unlock()
	if e.Code == 0 {
		e.Code = 1006
	}
	x := c.End(id, e, g.o.Now())
	x.ID = newID(g.o.Now())
	t.record(x)
	return served
}

// record hands a record over. Requests are counted by the one of the upgrade.
func (t *talk) record(x *sallyport.Exchange) {
	if rec := t.g.o.Recorder; rec != nil {
		rec.Record(x)
	}
}

// pump reads from one side and writes to the other.
func (t *talk) pump(from, to *side, rd *bufio.Reader, received bool) {
	r := &websocket.Reader{R: rd, Client: received, Size: t.term.Size, Spill: t.term.Spill, Grow: t.grow}
	for {
		m, err := t.next(r, from)
		if err != nil {
			t.broken(err, from, received)
			return
		}
		switch m.Op {
		case websocket.Close:
			t.finish(websocket.CloseCode(m.Data), nil)
			to.close(m.Data)
			// The other side answers with a close of its own, which its pump passes on.
			to.conn.SetReadDeadline(time.Now().Add(closeTime))
			return
		case websocket.Ping, websocket.Pong:
			if !t.beat(m.Op, received) {
				return
			}
			if to.write(m, t.g.o.Bounds.WriteTime) != nil {
				t.cut()
				return
			}
			continue
		}
		from.bytes.Add(int64(len(m.Data)))
		t.active.Store(t.g.o.Now().UnixNano())
		if !m.Later { // of one that comes in parts the first stands for all
			if !t.hear(&m, received) {
				return
			}
		}
		if to.write(m, t.g.o.Bounds.WriteTime) != nil {
			t.cut()
			return
		}
	}
}

// next reads a message within the terms of the conversation.
func (t *talk) next(r *websocket.Reader, from *side) (websocket.Message, error) {
	for {
		now := t.g.o.Now()
		idle := time.Unix(0, t.active.Load()).Add(t.term.Idle)
		until, reason := idle, &websocket.Error{Code: websocket.GoingAway, Rule: "connection.idle", Detail: "no message for as long as a connection may be idle"}
		if !t.term.Life.IsZero() && t.term.Life.Before(until) {
			until, reason = t.term.Life, &websocket.Error{Code: websocket.GoingAway, Rule: "connection.life", Detail: "the connection is as old as it may become"}
		}
		if !t.term.Ends.IsZero() && t.term.Ends.Before(until) {
			until, reason = t.term.Ends, &websocket.Error{Code: websocket.Unauthorized, Rule: "credentials.ended", Detail: "the credential that the connection was opened with has ended"}
		}
		if !now.Before(until) {
			return websocket.Message{}, reason
		}
		t.mu.Lock()
		if !t.over { // else a deadline for the last words stands
			from.conn.SetReadDeadline(time.Now().Add(until.Sub(now)))
		}
		over := t.over
		t.mu.Unlock()
		// A deadline must not break a frame in two: what is waited for is its first byte.
		if _, err := r.R.Peek(1); err != nil {
			if timedOut(err) && !over {
				continue
			}
			return websocket.Message{}, err
		}
		t.mu.Lock()
		if !t.over {
			from.conn.SetReadDeadline(time.Now().Add(t.g.o.Bounds.BodyIdle))
		}
		t.mu.Unlock()
		return r.Next()
	}
}

// hear has the guard judge a message and puts it on record, if it is to be.
func (t *talk) hear(m *websocket.Message, received bool) (pass bool) {
	now := t.g.o.Now()
	pass, x := t.c.Hear(guard.Heard{ID: newID(now), Received: received, Binary: m.Op == websocket.Binary, Part: m.Part, Data: m.Data}, now)
	x.Instance = t.in
	t.g.count.messages.Add(1)
	if t.toRecord(x, now) {
		if rec := t.g.o.Recorder; rec != nil && m.Op == websocket.Text && !m.Part && rec.Want(x) {
			sample := sampleOf(m.Data, t.g.o.Bounds.Sample)
			if received {
				x.RequestBody = sample
			} else {
				x.ResponseBody = sample
			}
		}
		t.record(x)
	}
	if pass {
		return true
	}
	t.g.count.messagesRefused.Add(1)
	reason := &sallyport.Reason{Stage: x.Decision.Stage, Rule: "message.refused", Detail: "a message was refused: see its own record", Mode: sallyport.Enforce}
	t.end(websocket.Refused, "message refused", reason)
	return false
}

// beat counts what the client sends to keep the connection alive in the rate of
// its messages, but for the answers to pings of the service.
func (t *talk) beat(op websocket.Op, received bool) (pass bool) {
	switch {
	case !received:
		if op == websocket.Ping && t.pinged.Load() < maxPinged {
			t.pinged.Add(1)
		}
		return true
	case op == websocket.Pong && t.pinged.Load() > 0:
		t.pinged.Add(-1) // by this pump alone
		return true
	}
	now := t.g.o.Now()
	pass, x := t.c.Control(newID(now), now)
	if x != nil {
		x.Instance = t.in
		if t.toRecord(x, now) {
			t.record(x)
		}
	}
	if !pass {
		t.g.count.messagesRefused.Add(1)
		t.end(websocket.Refused, "message refused", &sallyport.Reason{Stage: x.Decision.Stage, Rule: "message.refused", Detail: "a ping was refused: see its own record", Mode: sallyport.Enforce})
	}
	return pass
}

// toRecord bounds the records that a connection makes in a second.
func (t *talk) toRecord(x *sallyport.Exchange, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := now.Unix(); s != t.second {
		t.second, t.noted, t.sampled = s, 0, 0
	}
	n, most := &t.sampled, sampledRecord
	if len(x.Decision.Reasons) > 0 {
		n, most = &t.noted, refusedRecord
	}
	if *n++; *n > most && !x.Decision.Refused() {
		t.unwritten++
		return false
	}
	return true
}

// broken ends the conversation for what reading one side has come to.
func (t *talk) broken(err error, from *side, received bool) {
	var e *websocket.Error
	if errors.As(err, &e) {
		stage, mode := sallyport.StageRequest, sallyport.Enforce
		switch {
		case e.Rule == "connection.idle" || e.Rule == "connection.life":
			stage, mode = sallyport.StageLimit, sallyport.Observe
		case e.Code == websocket.Unauthorized:
			stage, mode = sallyport.StageAuthenticate, sallyport.Observe
		case !received:
			stage = sallyport.StageForward
		}
		t.end(e.Code, e.Rule, &sallyport.Reason{Stage: stage, Rule: e.Rule, Detail: e.Detail, Mode: mode})
		return
	}
	t.finish(0, nil)
	t.cut()
}

// end closes both sides with a code of ours.
func (t *talk) end(code int, why string, reason *sallyport.Reason) {
	if !t.finish(code, reason) {
		return
	}
	payload := websocket.ClosePayload(code, why)
	t.client.close(payload)
	t.upstream.close(payload)
	t.cut()
}

// finish notes how the conversation ends, once. It reports whether it was this
// call that ended it.
func (t *talk) finish(code int, reason *sallyport.Reason) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.over, t.code, t.reason = true, code, reason
	return true
}

// cut ends both connections, with a moment for what was written last to be taken.
func (t *talk) cut() {
	now := time.Now()
	for _, s := range []*side{&t.client, &t.upstream} {
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		}
		s.conn.SetReadDeadline(now)
	}
}

// leave ends the conversation because the gateway ends.
func (t *talk) leave() { t.end(websocket.GoingAway, "going away", nil) }

func (t *talk) grow(more int64) bool {
	if !t.g.buffered.add(more) {
		return false
	}
	t.held.Add(more)
	return true
}

func (s *side) write(m websocket.Message, within time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.buf = websocket.AppendMessage(s.buf[:0], m, s.mask)
	s.conn.SetWriteDeadline(time.Now().Add(within))
	_, err := s.conn.Write(s.buf)
	s.buf = keepSmall(s.buf)
	return err
}

// close sends a close frame, unless one has gone there already.
func (s *side) close(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	s.conn.Write(websocket.AppendFrame(nil, websocket.Close, true, s.mask, payload))
}
