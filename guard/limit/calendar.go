package limit

import (
	"sync/atomic"
	"time"
)

// A Calendar divides time into days or months, which begin at midnight in its
// zone. It is safe for concurrent use and must not be copied.
type Calendar struct {
	Monthly bool
	Zone    *time.Location // nil: UTC

	now atomic.Pointer[period] // the last one asked for
}

type period struct{ begin, end int64 } // Unix nanoseconds

// End is the end of the period that t lies in, in Unix nanoseconds.
func (c *Calendar) End(t time.Time) int64 {
	at := t.UnixNano()
	if p := c.now.Load(); p != nil && at >= p.begin && at < p.end {
		return p.end
	}
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	year, month, day := t.In(zone).Date()
	var p period
	if c.Monthly {
		p.begin = time.Date(year, month, 1, 0, 0, 0, 0, zone).UnixNano()
		p.end = time.Date(year, month+1, 1, 0, 0, 0, 0, zone).UnixNano()
	} else {
		p.begin = time.Date(year, month, day, 0, 0, 0, 0, zone).UnixNano()
		p.end = time.Date(year, month, day+1, 0, 0, 0, 0, zone).UnixNano()
	}
	c.now.Store(&p)
	return p.end
}

// A Used is what one key has taken of a quota in the period that ends at Until.
type Used struct {
	Key   Key
	Until time.Time
	Count int64
}

// Quotas gives what was taken of quotas whose period has not ended.
func (m *Memory) Quotas(now time.Time) []Used {
	var out []Used
	t := now.UnixNano()
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		for k, c := range s.cells {
			if c.until > t && c.tat > 0 {
				out = append(out, Used{Key: k, Until: time.Unix(0, c.until), Count: c.tat})
			}
		}
		s.mu.Unlock()
	}
	return out
}

// Restore takes over what Quotas gave, for instance before the process ended.
// A key that counts the same period already keeps the higher count.
func (m *Memory) Restore(list []Used, now time.Time) {
	t := now.UnixNano()
	for i := range list {
		u := &list[i]
		until := u.Until.UnixNano()
		if until <= t || u.Count <= 0 {
			continue
		}
		s := m.of(&u.Key)
		s.mu.Lock()
		c, known := s.cells[u.Key]
		if c.until != until {
			c.tat, c.until = 0, until
		}
		c.tat = max(c.tat, u.Count)
		m.put(s, &u.Key, c, known, t)
		s.mu.Unlock()
	}
}
