package pcap

import (
	"bytes"
	"container/list"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// Bounds.
const (
	maxConns   = 50_000
	maxMemory  = 128 << 20 // of heads, bodies and segments that wait, together
	maxHeld    = 1 << 20   // of segments that wait, of one direction
	maxWaiting = 512       // segments, likewise
	patience   = 64        // packets of a connection until a hole whose bytes were acknowledged is a loss
	settling   = 16        // packets of a connection whose beginning was not seen, until it is read
	window     = 1 << 26   // further ahead no segment is believed
	maxQueue   = 64        // messages without their counterpart
	idle       = 2 * time.Minute
)

// key is a connection, the lesser end first.
type key struct {
	a, b    netip.AddrPort
	network uint32
}

type segment struct {
	seq  uint32
	data []byte
	cut  int
	ack  uint32
	at   time.Time
}

// half is one direction.
type half struct {
	reader
	started bool
	next    uint32 // sequence number expected
	acked   uint32 // highest that the other side has acknowledged
	hasAck  bool
	fin     bool
	finAt   uint32
	held    []segment // in order, ahead of next
	bytes   int       // in held
	hole    int       // packets since the first of held came
	gaps    int       // holes that were given up
}

// conn is one connection.
type conn struct {
	a        *assembler
	key      key
	half     [2]half // 0 = from key.a
	client   int     // which half requests come by; -1 = not known yet
	reqs     []*message
	resps    []*message
	lossy    bool // answers are told by what they acknowledge
	packets  int
	last     time.Time
	place    *list.Element
	memory   int
	syn      uint32 // first number of the client; 0 = not known
	closed   bool   // nothing more is read
	buffered int
	paired   [2]int // gaps before the last request and answer that were put together
}

// assembler makes exchanges of packets.
type assembler struct {
	ports map[uint16]bool // nil = all
	emit  func(req, resp *message, client, server netip.AddrPort, seen bool) error
	wrong func(where, why string)

	conns  map[key]*conn
	order  *list.List // the one that was quiet longest first
	memory int
	err    error

	lost                                                      int // messages and holes
	repeated, reordered, overlapped, encrypted, newer, others int
	fragments                                                 int
}

func newAssembler() *assembler { return &assembler{conns: map[key]*conn{}, order: list.New()} }

func (a *assembler) bad(c *conn, why string) {
	a.wrong(fmt.Sprintf("connection %s - %s", c.key.a, c.key.b), why)
}

// notice says what people should know of what was not read.
func (a *assembler) notice() string {
	var out []string
	for _, n := range []struct {
		n    int
		what string
	}{{a.encrypted, "connections are TLS"}, {a.newer, "are HTTP/2 in plain text"}, {a.others, "are of another protocol"}, {a.fragments, "packets are fragments of IP"},
		{a.reordered, "segments came out of order"}, {a.repeated, "were sent again"}, {a.overlapped, "overlap"}} {
		if n.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n.n, n.what))
		}
	}
	return strings.Join(out, ", ")
}

// take reads one segment. What it needs of p.data it copies.
func (a *assembler) take(p *packet, at time.Time) error {
	if a.ports != nil && !a.ports[p.dst.Port()] && !a.ports[p.src.Port()] {
		return nil
	}
	for e := a.order.Front(); e != nil && at.Sub(e.Value.(*conn).last) > idle; e = a.order.Front() {
		a.end(e.Value.(*conn), false)
	}
	k, side := key{p.src, p.dst, p.network}, 0
	if p.dst.Compare(p.src) < 0 {
		k, side = key{p.dst, p.src, p.network}, 1
	}
	c := a.conns[k]
	if c != nil && p.flags&(flagSYN|flagACK) == flagSYN && c.fresh(side, p.seq+1) {
		a.end(c, true) // the ports are used again
		c = nil
	}
	if c != nil && c.closed { // what is sent again
		return a.err
	}
	if c == nil {
		if p.flags&flagRST != 0 || len(p.data)+p.cut == 0 && p.flags&flagSYN == 0 {
			return a.err
		}
		if len(a.conns) >= maxConns {
			a.end(a.order.Front().Value.(*conn), false)
		}
		c = &conn{a: a, key: k, client: -1}
		switch {
		case a.ports[p.dst.Port()] && !a.ports[p.src.Port()]:
			c.client = side
		case a.ports[p.src.Port()] && !a.ports[p.dst.Port()]:
			c.client = 1 - side
		}
		a.conns[k] = c
		c.place = a.order.PushBack(c)
	}
	c.packets++
	if at.After(c.last) {
		c.last = at
	}
	a.order.MoveToBack(c.place)
	h, o := &c.half[side], &c.half[1-side]
	if p.flags&flagSYN != 0 {
		c.start(side, p.seq+1)
		if p.flags&flagACK != 0 {
			c.client = 1 - side
			c.start(1-side, p.ack)
		} else {
			c.client, c.syn = side, p.seq+1
		}
		p.seq++
	}
	if p.flags&flagACK != 0 && (!o.hasAck || int32(p.ack-o.acked) > 0) {
		o.acked, o.hasAck = p.ack, true
	}
	if n := len(p.data) + p.cut; n > 0 {
		c.insert(side, segment{p.seq, p.data, p.cut, p.ack, at})
	}
	if p.flags&flagFIN != 0 {
		h.fin, h.finAt = true, p.seq+uint32(len(p.data)+p.cut)
	}
	for s := range c.half {
		if h := &c.half[s]; !h.started && (c.packets >= settling || len(h.held) > 0 && h.bytes > maxHeld/2) {
			c.start(s, 0)
		}
		c.settle(s)
	}
	c.pair(false)
	if p.flags&flagRST != 0 || c.half[0].done() && c.half[1].done() {
		if len(c.half[0].held)+len(c.half[1].held) == 0 || c.packets > patience && p.flags&flagRST == 0 {
			a.close(c)
		}
	}
	if n := cap(c.half[0].buf) + cap(c.half[1].buf); n != c.buffered {
		c.use(n - c.buffered)
		c.buffered = n
	}
	for a.memory > maxMemory && len(a.conns) > 1 {
		a.end(a.order.Front().Value.(*conn), false)
	}
	return a.err
}

// fresh says that a SYN with this first number begins another connection.
func (c *conn) fresh(side int, first uint32) bool {
	if c.syn != 0 {
		return c.syn != first
	}
	ahead := int32(first - c.half[side].next)
	return c.closed || c.half[side].started && (ahead > 0 || ahead < -window)
}

// done says that everything up to the end was read.
func (h *half) done() bool { return h.fin && h.started && int32(h.next-h.finAt) >= 0 }

// start begins to read a direction: at the number that its SYN gives, or, with
// none, at what came first.
func (c *conn) start(side int, seq uint32) {
	h := &c.half[side]
	if h.started {
		return
	}
	if seq == 0 {
		if len(h.held) == 0 {
			return
		}
		seq = h.held[0].seq
		h.state, h.gaps, c.lossy = searching, 1, true
	}
	h.started, h.next = true, seq
	for len(h.held) > 0 && int32(h.held[0].seq-seq) < 0 { // older than the connection
		h.drop(c)
	}
}

func (h *half) drop(c *conn) segment {
	s := h.held[0]
	h.held[0] = segment{}
	h.held = h.held[1:]
	h.bytes -= len(s.data)
	c.use(-len(s.data))
	return s
}

func (c *conn) use(n int) {
	c.memory += n
	c.a.memory += n
}

// insert takes a segment: at once where it is next, else it waits.
func (c *conn) insert(side int, s segment) {
	h := &c.half[side]
	if h.started {
		ahead := int32(s.seq - h.next)
		switch {
		case ahead > window || ahead < -window:
			return
		case ahead < 0:
			old := int(-ahead)
			if old >= len(s.data)+s.cut {
				c.a.repeated++
				return
			}
			c.a.overlapped++
			s.cut -= max(0, old-len(s.data))
			s.data, s.seq = s.data[min(old, len(s.data)):], h.next
			ahead = 0
		}
		if ahead == 0 && len(h.held) == 0 {
			c.deliver(side, s)
			return
		}
	}
	i, found := slices.BinarySearchFunc(h.held, s.seq, func(x segment, seq uint32) int { return int(int32(x.seq - seq)) })
	if found && len(h.held[i].data) >= len(s.data) {
		c.a.repeated++
		return
	}
	if h.started && s.seq != h.next {
		c.a.reordered++
	}
	s.data = bytes.Clone(s.data)
	h.held = slices.Insert(h.held, i, s)
	h.bytes += len(s.data)
	c.use(len(s.data))
}

// deliver reads a segment that is next.
func (c *conn) deliver(side int, s segment) {
	h := &c.half[side]
	c.read(side, s.data, s.seq, s.ack, s.at)
	h.next = s.seq + uint32(len(s.data))
	if s.cut > 0 {
		c.skip(side, s.cut)
	}
}

func (c *conn) skip(side, n int) {
	h := &c.half[side]
	h.next += uint32(n)
	h.gaps++
	c.a.lost++
	c.lossy = true
	h.skip(int64(n))
}

// settle reads what no longer waits, and gives up holes that nothing will fill.
func (c *conn) settle(side int) {
	h := &c.half[side]
	if !h.started {
		return
	}
	for len(h.held) > 0 {
		ahead := int32(h.held[0].seq - h.next)
		if ahead > 0 {
			h.hole++
			seen := h.hasAck && int32(h.acked-h.next) > 0 // the receiver has what is missing here
			if !(seen && h.hole > patience) && h.bytes <= maxHeld && len(h.held) <= maxWaiting && c.a.memory <= maxMemory {
				return
			}
			c.skip(side, int(ahead))
		}
		h.hole = 0
		s := h.drop(c)
		if old := int(h.next - s.seq); old > 0 {
			if old >= len(s.data)+s.cut {
				c.a.repeated++
				continue
			}
			c.a.overlapped++
			s.cut -= max(0, old-len(s.data))
			s.data, s.seq = s.data[min(old, len(s.data)):], h.next
		}
		c.deliver(side, s)
	}
}

// strange gives up a direction that speaks something else.
func (c *conn) strange(side int) {
	c.a.bad(c, "a head cannot be read")
	c.half[side].lost()
	c.lossy = true
}

// begun is called when a head is complete.
func (c *conn) begun(side int, m *message) {
	h := &c.half[side]
	if c.client < 0 {
		if c.client = side; m.status > 0 {
			c.client = 1 - side
		}
	}
	if (m.status > 0) == (side == c.client) { // a request where answers come
		c.strange(side)
		return
	}
	request := ""
	m.gap = h.gaps
	if m.status == 0 {
		c.reqs = append(c.reqs, m)
	} else {
		if n := len(c.resps); c.lossy {
			if n = c.asked(m); n >= 0 {
				request = c.reqs[n].method
			}
		} else if n < len(c.reqs) {
			request = c.reqs[n].method
		}
		if m.status >= 200 || m.status == 101 {
			c.resps = append(c.resps, m)
		}
	}
	h.state, h.left = m.framing(request)
	if m.status == 101 || m.status/100 == 2 && request == "CONNECT" {
		c.ended(side)
		c.pass()
		return
	}
	if h.state == inBody && h.left == 0 {
		c.ended(side)
	}
	for len(c.reqs) > maxQueue {
		c.out(c.reqs[0], nil, false)
		c.reqs = c.reqs[1:]
	}
	for len(c.resps) > maxQueue {
		c.a.lost++
		c.resps = c.resps[1:]
	}
}

// asked is the last request that an answer acknowledges; -1 = none that is known.
func (c *conn) asked(m *message) int {
	for i := len(c.reqs) - 1; i >= 0; i-- {
		if int32(c.reqs[i].behind-m.behind) <= 0 {
			return i
		}
	}
	return -1
}

func (c *conn) body(m *message, b []byte) {
	if m == nil {
		return
	}
	m.size += int64(len(b))
	switch {
	case m.cut:
	case m.size > maxBody || c.a.memory > maxMemory:
		c.use(-len(m.body))
		m.cut, m.body = true, nil
	default:
		m.body = append(m.body, b...)
		c.use(len(b))
	}
}

func (c *conn) ended(side int) {
	h := &c.half[side]
	if h.now != nil {
		h.now.whole = true
	}
	h.now, h.state, h.left = nil, inHead, 0
}

// pair hands on what has its counterpart. Answers come in the order of requests.
// Where something is missing before either, that says nothing, and an answer is
// to the last request that it acknowledges: who waits for answers before asking
// again is told right, and pipelining is rare.
func (c *conn) pair(final bool) {
	for len(c.resps) > 0 && c.resps[0].whole {
		resp := c.resps[0]
		if c.lossy && (resp.gap != c.paired[1] || len(c.reqs) == 0 || c.reqs[0].gap != c.paired[0]) {
			if h := &c.half[c.client]; !final && h.started && int32(resp.behind-h.next) > 0 {
				break // its request may still come
			}
			n := c.asked(resp)
			if n < 0 {
				c.a.lost++
				c.use(-len(resp.body))
				c.resps, c.paired[1] = c.resps[1:], resp.gap
				continue
			}
			for _, req := range c.reqs[:n] {
				c.out(req, nil, false)
			}
			c.reqs = c.reqs[n:]
		}
		if len(c.reqs) == 0 || !c.reqs[0].whole {
			break
		}
		req := c.reqs[0]
		c.reqs, c.resps, c.paired = c.reqs[1:], c.resps[1:], [2]int{req.gap, resp.gap}
		c.out(req, resp, true)
	}
	// What no HTTP/1 can begin with needs no reading.
	for s := range c.half {
		h := &c.half[s]
		if h.state != inHead || len(h.buf) < 3 || h.buf[0] >= 'A' && h.buf[0] <= 'Z' {
			continue
		}
		switch {
		case h.buf[0] == 22 && h.buf[1] == 3:
			c.a.encrypted++
		case h.buf[0] >= 'a' && h.buf[0] <= 'z':
			continue
		default:
			c.a.others++
		}
		c.pass()
	}
}

// pass reads no more of a connection.
func (c *conn) pass() {
	for s := range c.half {
		c.half[s].state, c.half[s].buf, c.half[s].now = opaque, nil, nil
	}
}

// out hands an exchange on. seen says that whether there was an answer is known.
func (c *conn) out(req, resp *message, seen bool) {
	c.use(-len(req.body))
	if resp != nil {
		c.use(-len(resp.body))
	}
	client, server := c.key.a, c.key.b
	if c.client == 1 {
		client, server = server, client
	}
	if c.a.err == nil {
		c.a.err = c.a.emit(req, resp, client, server, seen)
	}
}

// end forgets a connection: closed says that it ended, and was not only left.
func (a *assembler) end(c *conn, closed bool) {
	a.finish(c, closed)
	delete(a.conns, c.key)
	a.order.Remove(c.place)
}

// close ends a connection and knows it for a while, so that segments which come
// late begin no other.
func (a *assembler) close(c *conn) {
	a.finish(c, true)
	c.closed, c.reqs, c.resps, c.half = true, nil, nil, [2]half{}
}

func (a *assembler) finish(c *conn, closed bool) {
	if c.closed {
		return
	}
	for s := range c.half {
		h := &c.half[s]
		c.start(s, 0)
		for len(h.held) > 0 {
			if ahead := int32(h.held[0].seq - h.next); ahead > 0 {
				c.skip(s, int(ahead))
			}
			c.settle(s)
		}
		if h.state == untilClose && closed {
			c.ended(s)
		}
	}
	for _, m := range slices.Concat(c.reqs, c.resps) {
		m.cut = m.cut || !m.whole
		m.whole = true
	}
	if c.client >= 0 {
		c.pair(true)
	}
	for _, req := range c.reqs {
		c.out(req, nil, closed && !c.lossy)
	}
	a.lost += len(c.resps)
	c.use(-c.memory)
	c.buffered = 0
}

// fill gives up what the receiver has, and nobody sent for a while, of those
// connections that were quiet since a time.
func (a *assembler) fill(since time.Time) error {
	for e := a.order.Front(); e != nil; e = e.Next() {
		c := e.Value.(*conn)
		if !c.last.Before(since) {
			break
		}
		if c.closed {
			continue
		}
		for s := range c.half {
			h := &c.half[s]
			if missing := int32(h.acked - h.next); h.started && h.hasAck && !h.fin && h.state != opaque && missing > 0 && missing < window {
				if len(h.held) > 0 {
					missing = min(missing, int32(h.held[0].seq-h.next))
				}
				if missing > 0 {
					c.skip(s, int(missing))
				}
				c.settle(s)
			}
		}
		c.pair(false)
	}
	return a.err
}

// flush gives up the connections that were quiet since a time; the zero time
// means all of them.
func (a *assembler) flush(since time.Time) error {
	for e := a.order.Front(); e != nil; e = a.order.Front() {
		if c := e.Value.(*conn); since.IsZero() || c.last.Before(since) {
			a.end(c, false)
			continue
		}
		break
	}
	return a.err
}

// exchange is the record of a request and its answer.
func exchange(req, resp *message, client, server netip.AddrPort, seen bool) *sallyport.Exchange {
	x := &sallyport.Exchange{Time: req.at, Method: req.method, Proto: req.proto, Host: strings.ToLower(req.field("Host")), Client: client.Addr().Unmap(),
		RequestHeader: req.header, RequestBytes: req.size, Instance: "http://" + server.String()}
	x.Path, x.Query, _ = strings.Cut(req.target, "?")
	if !strings.HasPrefix(x.Path, "/") {
		if u, err := url.Parse(req.target); err == nil && u.Host != "" { // to a proxy
			x.Host, x.Path, x.Query = strings.ToLower(u.Host), u.EscapedPath(), u.RawQuery
		}
		if !strings.HasPrefix(x.Path, "/") {
			x.Path = "/" + x.Path
		}
	}
	if !req.cut {
		x.RequestBody = req.body
	}
	x.Unseen = resp == nil && !seen
	if resp != nil {
		x.Status, x.ResponseHeader, x.ResponseBytes, x.Duration = resp.status, resp.header, resp.size, max(0, resp.end.Sub(req.at))
		if !resp.cut {
			x.ResponseBody = resp.body
		}
	}
	return x
}
