package gateway

import (
	"io"
	"slices"

	"sallyport.dev"
	"sallyport.dev/gateway/sse"
	"sallyport.dev/guard"
)

// A feed is a stream of events on its way to the client.
type feed struct {
	p      *passage
	events *guard.Events
	r      sse.Reader
	holds  bool // an event waits for its end, for it may be changed
	told   bool // of the block that is longer than the bound
	second int64
	noted  int
	out    []byte
}

// through gives what of the next piece of the stream goes on. stop: the stream
// ends behind it.
func (f *feed) through(b []byte) (out []byte, stop bool) {
	f.r.Write(b)
	f.out = f.out[:0]
	for {
		block, ok := f.r.Next()
		if !ok {
			break
		}
		data, pass := []byte(nil), true
		switch {
		case block.Over && !f.told:
			_, pass = f.judge(nil, true)
		case len(block.Data) > 0:
			data, pass = f.judge(block.Data, false)
		}
		f.told = block.Over
		switch {
		case !pass && f.holds:
			return f.out, true
		case data != nil && f.holds:
			f.out = append(f.out, block.With(data)...)
		default:
			f.out = append(f.out, block.Raw...)
		}
	}
	if !f.holds {
		return b, false
	}
	return f.out, false
}

// judge has the guard look at one event and puts on record what it finds, ten
// times a second at most unless the event is refused.
func (f *feed) judge(data []byte, cut bool) (out []byte, pass bool) {
	g := f.p.g
	now := g.o.Now()
	out, pass, x := f.events.Judge(newID(now), data, cut, now)
	if x == nil || g.o.Recorder == nil {
		return out, pass
	}
	if s := now.Unix(); s != f.second {
		f.second, f.noted = s, 0
	}
	if f.noted++; f.noted <= refusedRecord || !pass {
		x.Instance = f.p.up.from
		g.o.Recorder.Record(x)
	}
	return out, pass
}

// answerEvents sends an answer that is a stream of events; its head is out.
// ended: all of it is in hand.
func (p *passage) answerEvents(ended bool, o outcome) outcome {
	a, w, g := &p.up, p.w, p.g
	f := &feed{p: p, events: p.events}
	a.from = p.out.Instance
	bytes, holds := f.events.Bound()
	f.r.Max, f.holds = int(bytes), holds
	p.endless = true
	p.leavePlace()
	send := func(b []byte) bool {
		b, stop := f.through(b)
		p.timeWrite()
		if len(b) > 0 {
			n, err := w.Write(b)
			p.out.ResponseBytes += int64(n)
			if err != nil || !p.flush() {
				p.cutAnswer(nil)
				return false
			}
		}
		p.untimeWrite()
		if stop {
			g.count.eventsRefused.Add(1)
			p.cutAnswer(&sallyport.Reason{Stage: sallyport.StageValidate, Rule: "answer.event", Detail: "an event was refused: see its own record", Mode: sallyport.Enforce})
			return false
		}
		return true
	}
	p.flush()
	whole := slices.Clone(a.whole)
	a.whole = nil
	if !ended {
		p.finish() // it may never end: it is on record from now on
	}
	if len(whole) > 0 && !send(whole) {
		return o
	}
	for !ended {
		buf := copyBuffers.Get().(*[]byte)
		n, err := a.Read(*buf)
		if n > 0 {
			on := send((*buf)[:n])
			if copyBuffers.Put(buf); !on {
				return o
			}
			if a.idle != nil {
				a.idle.Reset(g.o.Bounds.StreamIdle)
			}
		} else {
			copyBuffers.Put(buf)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if p.r.Context().Err() != nil {
				p.cutAnswer(nil)
				return o
			}
			p.cutAnswer(forwardReason(truncated(err), "the answer broke off"))
			return failed
		}
	}
	if f.holds { // no client reads an event out of it, but it is the service's
		if rest := f.r.Rest(); len(rest) > 0 {
			if n, err := w.Write(rest); err == nil {
				p.out.ResponseBytes += int64(n)
			}
		}
	}
	p.trailers()
	p.finish()
	return o
}
