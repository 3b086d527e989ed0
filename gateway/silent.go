package gateway

import (
	"context"
	"io"
	"net/http"
	"os"
	"time"

	"sallyport.dev/guard"
)

// editHead makes the edits that the guard wants in an answer's head.
func editHead(h http.Header, edits []guard.HeadEdit) {
	for _, e := range edits {
		if e.Value == "" {
			delete(h, e.Name)
		} else {
			h[e.Name] = []string{e.Value}
		}
	}
}

// rewrite answers with a problem in the place of what the upstream said, whose
// original goes to the sealer. cut: only the beginning of the body is in hand.
func (p *passage) rewrite(step guard.Step, cut bool) {
	a := &p.up
	p.g.count.rewritten.Add(1)
	if s := p.g.o.Sealer; s != nil {
		o := Original{ID: p.id, Time: p.g.o.Now(), Status: a.status, Header: a.header, Body: a.whole, Cut: cut}
		if api := p.ses.API(); api != nil {
			o.API = api.Name
		}
		s.Seal(o)
	}
	a.whole = nil // no sample of it is for the record
	p.sample.b = p.sample.b[:0]
	p.after = &step
}

// answerLate sends the answer that takes the upstream's place. One that has to
// wait does so here, with the upstream's connection given back; when too many
// wait, all that come are turned away alike.
func (p *passage) answerLate() {
	step := p.after
	if step.Wait > 0 {
		if !p.g.waiting.add(1) {
			p.refuse(guard.KindUnavailable, retrySoon, forwardReason("login.waiting", "too many failed sign-ins wait for their answer"))
			return
		}
		wait(p.r.Context(), step.Wait)
		p.g.waiting.sub(1)
	}
	p.refuse(step.Refusal.Kind, step.Refusal.Header, nil)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// inTime is a's body, of which an error is not waited for longer than for a
// head: held back, it could otherwise keep its client for as long as it drips.
func (p *passage) inTime(a *ask) io.Reader {
	if a.status < 400 {
		return a
	}
	return &timely{a, p.g.o.Now, p.g.o.Now().Add(p.g.o.Bounds.AnswerTime)}
}

type timely struct {
	io.Reader
	now func() time.Time
	by  time.Time
}

func (t *timely) Read(b []byte) (int, error) {
	if t.now().After(t.by) {
		return 0, os.ErrDeadlineExceeded
	}
	return t.Reader.Read(b)
}
