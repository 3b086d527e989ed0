package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A pacer spreads connections and requests evenly in time.
type pacer struct {
	mu   sync.Mutex
	gap  time.Duration
	next time.Time
}

func newPacer(rate float64) *pacer { return &pacer{gap: time.Duration(float64(time.Second) / rate)} }

// wait returns when the next one may be sent. Up to 20 ms of what was not used are
// made up for, so that a coarse clock does not slow a fast pace.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if early := now.Add(-20 * time.Millisecond); p.next.Before(early) {
		p.next = early
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(p.gap)
	p.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// state is the file in which each address that is done has its line. A line
// that was cut when the process died is left out, and its address looked at again.
type state struct {
	mu   sync.Mutex
	path string
	f    *os.File
	done []*result
}

type stateHead struct {
	Plan string `json:"plan"`
}

const maxStateLine = 64 << 20

func openState(path, plan string) (*state, error) {
	s := &state{path: path}
	if path == "" {
		return s, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the scan's state: %w", err)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	end := int64(0)
	for n := 0; ; n++ {
		line, err := readLine(r, maxStateLine)
		if err != nil {
			break
		}
		if n == 0 {
			var h stateHead
			if json.Unmarshal(line, &h) != nil || h.Plan != plan {
				f.Close()
				return nil, fmt.Errorf("%s is the state of another scan; remove it, or name another file", path)
			}
		} else {
			x := new(result)
			if json.Unmarshal(line, x) != nil {
				break
			}
			s.done = append(s.done, x)
		}
		end += int64(len(line)) + 1
	}
	if err := errors.Join(f.Truncate(end), seek(f, end)); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the scan's state: %w", err)
	}
	s.f = f
	if end == 0 {
		s.write(stateHead{plan})
	}
	return s, nil
}

func seek(f *os.File, at int64) error {
	_, err := f.Seek(at, io.SeekStart)
	return err
}

// readLine gives one whole line without its end.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var out []byte
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if err == nil {
			return out[:len(out)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(out) > most {
			return nil, io.ErrUnexpectedEOF
		}
	}
}

func (s *state) write(v any) {
	if b, err := json.Marshal(v); err == nil {
		_, _ = s.f.Write(append(b, '\n'))
	}
}

func (s *state) add(r *result) {
	if s.f == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(r)
}

// finish removes what a scan that is complete needs no more.
func (s *state) finish() {
	if s.f != nil {
		os.Remove(s.path)
	}
}

func (s *state) close() {
	if s.f != nil {
		s.f.Close()
	}
}
