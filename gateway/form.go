package gateway

import (
	"io"

	"sallyport.dev"
	"sallyport.dev/guard"
)

// A formReader gives a form on as the guard has judged it, part by part. It may
// outlive its passage in a transport's goroutine: the conversation keeps it out
// of the session then.
type formReader struct {
	src io.Reader
	c   *conversation
	in  []byte // scratch
	buf []byte // of out
	out []byte // may pass
	err error
}

const formChunk = 32 << 10

// receiveForm begins to read a form that streams: nothing is asked of an
// instance before its first part was judged.
func (p *passage) receiveForm(limit int64) (guard.Kind, *sallyport.Reason) {
	p.conv = &conversation{g: p.g, ses: p.ses}
	f := &formReader{src: p.in, c: p.conv, in: make([]byte, formChunk)}
	p.formIn = f
	if err := p.conv.reserve(limit + formChunk); err != nil {
		return p.bodyTrouble(err)
	}
	for len(f.out) == 0 && f.err == nil {
		f.more()
	}
	switch {
	case p.conv.refused() != nil:
		p.refuse(p.conv.refusal.Kind, p.conv.refusal.Header, nil)
	case f.err != nil && f.err != io.EOF:
		return p.bodyTrouble(f.err)
	}
	return guard.Kind{}, nil
}

// Read gives what may pass. Its error is errRefused once something may not.
func (f *formReader) Read(b []byte) (int, error) {
	for len(f.out) == 0 && f.err == nil {
		f.more()
	}
	if len(f.out) == 0 {
		return 0, f.err
	}
	n := copy(b, f.out)
	f.out = f.out[n:]
	return n, nil
}

// more reads once and has it judged.
func (f *formReader) more() {
	n, err := f.src.Read(f.in)
	now := f.c.g.o.Now()
	refused := f.c.step(func(s *guard.Session) (step guard.Step) {
		f.buf = f.buf[:0]
		if n > 0 {
			if f.buf, step = s.FormBytes(f.buf, f.in[:n], now); step.Verb == guard.Refuse {
				return step
			}
		}
		if err == io.EOF {
			f.buf, step = s.FormEnd(f.buf, now)
		}
		return step
	})
	if f.out, f.err = f.buf, err; refused != nil {
		f.out, f.err = nil, refused
	}
}
