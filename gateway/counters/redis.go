package counters

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sallyport.dev/guard/limit"
)

// script counts one key at Redis, by Redis' clock in microseconds since 2026.
// ARGV: g (GCRA) or q (quota); what is wanted (negative: given back); what is
// owed, counted whether or not there is room; then, of GCRA, the microseconds
// of one event, of all that fits at once, and of the most that may be owed; of
// a quota, its count and the milliseconds to keep it. It answers what is
// granted, and how far ahead of time the flow runs, in microseconds, or how
// much of the quota is used.
const script = `
local want, owed = tonumber(ARGV[2]), tonumber(ARGV[3])
local have = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if ARGV[1] == 'q' then
  local used = have + owed
  local granted = want
  if want > 0 then granted = math.max(0, math.min(want, tonumber(ARGV[4]) - used)) end
  used = math.max(0, used + granted)
  if used ~= have then redis.call('SET', KEYS[1], string.format('%.0f', used), 'PX', ARGV[5]) end
  return {granted, string.format('%.0f', used)}
end
local t = redis.call('TIME')
local now = (tonumber(t[1]) - 1767225600) * 1000000 + tonumber(t[2])
local each, room, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local tat = math.max(have, now)
if owed > 0 then tat = math.max(tat, math.min(tat + math.ceil(owed * each), now + most)) end
local granted = want
if want > 0 then granted = math.max(0, math.min(want, math.floor((now + room - tat) / each + 1e-6))) end
tat = tat + math.ceil(granted * each - 1e-6)
if tat > now then
  redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000) + 1000))
elseif have > 0 then
  redis.call('DEL', KEYS[1])
end
return {granted, string.format('%.0f', math.max(0, tat - now))}
`

var scriptSHA = func() string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}()

// question is one key's part of a batch.
type question struct {
	e          *lease
	want, owed int64
	waiting    []wait
	limit      limit.Limit
	until      int64
	cmd        *redis.Cmd
}

// pending are the leases to be asked about now.
func (s *Shared) pending() []*question {
	s.mu.Lock()
	list := s.asked
	if len(list) > batch {
		list, s.asked = list[:batch:batch], list[batch:]
		select {
		case s.urgent <- struct{}{}:
		default:
		}
	} else {
		s.asked = nil
	}
	s.mu.Unlock()
	t := time.Now().UnixNano()
	out := make([]*question, 0, len(list))
	for _, e := range list {
		e.s.mu.Lock()
		if e.asking { // not fallen from in between
			out = append(out, e.question(t))
		}
		e.s.mu.Unlock()
	}
	return out
}

// question is what to ask about a lease; its shard is locked. As much is leased
// ahead as was spent of late, and at most Lease.
func (e *lease) question(t int64) *question {
	q := &question{e: e, owed: e.owed, limit: e.limit, until: e.until}
	if e.spent > 0 {
		if past := time.Duration(t - e.heard); e.heard > 0 && past > 0 {
			e.ahead = int64(math.Ceil(float64(e.spent) * min(16, float64(horizon)/float64(max(past, time.Millisecond)))))
		}
		e.ahead = min(e.ahead, int64(Lease(e.limit)))
	}
	for _, w := range e.waiting {
		q.want += w.n
	}
	q.want += max(0, e.ahead-e.tokens)
	q.waiting, e.waiting = e.waiting, nil
	e.asking = true
	return q
}

// dirty are the leases whose costs are to be reported, or whose state all nodes
// together are to be asked about.
func (s *Shared) dirty() []*question {
	t := time.Now().UnixNano()
	var out []*question
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		later := sh.dirty[:0]
		for _, e := range sh.dirty {
			if e.asking { // with the next report
				later = append(later, e)
				continue
			}
			e.dirty = false
			out = append(out, e.question(t))
		}
		clear(sh.dirty[len(later):])
		sh.dirty = later
		sh.mu.Unlock()
	}
	return out
}

// giveBack returns what was leased and has not been spent for a while, or all
// of it, and forgets leases that nothing depends on.
func (s *Shared) giveBack(ctx context.Context, all bool) {
	t := time.Now().UnixNano()
	var out []*question
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		for k, e := range sh.leases {
			switch {
			case e.asking || !all && t-e.touched < int64(idle):
			case e.tokens > 0 || all && e.owed > 0:
				q := &question{e: e, want: -e.tokens, owed: e.owed, limit: e.limit, until: e.until}
				e.tokens, e.ahead, e.spent, e.asking = 0, 0, 0, true
				out = append(out, q)
			case e.disposable() && t-e.touched > int64(10*idle):
				delete(sh.leases, k)
			}
		}
		sh.mu.Unlock()
	}
	s.exchange(ctx, out)
}

// exchange asks Redis and takes its answers over.
func (s *Shared) exchange(ctx context.Context, list []*question) {
	for len(list) > 0 {
		part := list[:min(len(list), batch)]
		list = list[len(part):]
		if err := s.batch(ctx, part); err != nil {
			s.failures.Add(1)
			for _, q := range part {
				q.fail()
			}
			for _, q := range list {
				q.fail()
			}
			s.fall(err)
			return
		}
	}
}

// fail leaves a question unanswered: what was owed stays owed, what was to be
// given back is lost until it expires.
func (q *question) fail() {
	e := q.e
	e.s.mu.Lock()
	e.asking = false
	for _, w := range q.waiting {
		w.done <- verdict{failed: true}
	}
	e.s.mu.Unlock()
}

func (s *Shared) batch(ctx context.Context, list []*question) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := s.send(ctx, list); err != nil {
		if !strings.HasPrefix(err.Error(), "NOSCRIPT") {
			return err
		}
		// Redis has been restarted, or its scripts flushed; nothing was counted.
		if err := s.client.ScriptLoad(ctx, script).Err(); err != nil {
			return err
		}
		var again []*question
		for _, q := range list {
			if q.cmd.Err() != nil {
				again = append(again, q)
			}
		}
		if err := s.send(ctx, again); err != nil {
			return err
		}
	}
	type answer struct{ granted, state int64 }
	answers := make([]answer, len(list))
	for i, q := range list {
		granted, state, err := q.answer()
		if err != nil {
			return err
		}
		answers[i] = answer{granted, state}
	}
	t := time.Now().UnixNano()
	for i, q := range list {
		s.take(q, answers[i].granted, answers[i].state, t)
	}
	return nil
}

func (s *Shared) send(ctx context.Context, list []*question) error {
	s.trips.Add(1)
	p := s.client.Pipeline()
	for _, q := range list {
		name, l := q.e.name, &q.limit
		if l.Every != nil {
			name += ":" + strconv.FormatInt(q.until/int64(time.Second), 10)
			keep := time.Until(time.Unix(0, q.until)) + time.Hour
			q.cmd = p.EvalSha(ctx, scriptSHA, []string{name}, "q", q.want, q.owed, l.Count, max(1, keep.Milliseconds()))
			continue
		}
		each := float64(l.Window) / 1e3 / float64(max(1, l.Count))
		room := math.Ceil(float64(l.Capacity()) * each)
		q.cmd = p.EvalSha(ctx, scriptSHA, []string{name}, "g", q.want, q.owed, strconv.FormatFloat(each, 'g', 17, 64),
			strconv.FormatFloat(room, 'f', 0, 64), strconv.FormatFloat(room+max(float64(l.Window)/1e3, room), 'f', 0, 64))
	}
	_, err := p.Exec(ctx)
	return err
}

var errNonsense = errors.New("its answer is none to what was asked")

// answer reads what Redis said, and believes nothing that it cannot have said.
func (q *question) answer() (granted, state int64, err error) {
	list, err := q.cmd.Slice()
	if err != nil {
		return 0, 0, fmt.Errorf("answer: %w", err)
	}
	if len(list) != 2 {
		return 0, 0, errNonsense
	}
	granted, ok := list[0].(int64)
	text, isText := list[1].(string)
	if !ok || !isText {
		return 0, 0, errNonsense
	}
	state, err = strconv.ParseInt(text, 10, 64)
	if err != nil || state < 0 || state > 1<<54 || granted > max(q.want, 0) || granted < min(q.want, 0) {
		return 0, 0, errNonsense
	}
	return granted, state, nil
}

// take takes one answer over.
func (s *Shared) take(q *question, granted, state, t int64) {
	e := q.e
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	e.asking, e.seen, e.heard, e.spent = false, true, t, 0
	e.owed = max(0, e.owed-q.owed)
	if q.limit.Every != nil && e.until != q.until { // a new day has begun
		for _, w := range q.waiting {
			w.done <- verdict{failed: true}
		}
		return
	}
	wait := int64(0)
	if q.limit.Every != nil {
		e.used = state
		wait = q.until - t
	} else {
		state *= 1000
		e.tat = t + state
		wait = state + int64(q.limit.Span(1)-q.limit.Room())
	}
	e.tokens += max(granted, 0)
	refused := false
	for _, w := range q.waiting {
		switch {
		case e.tokens >= w.n:
			e.tokens -= w.n
			e.spent += w.n
			w.done <- verdict{ok: true}
		default:
			refused = true
			w.done <- verdict{wait: time.Duration(max(wait, int64(time.Millisecond)))}
		}
	}
	e.denied = 0
	if refused || q.want > 0 && granted == 0 {
		e.denied = t + max(wait, int64(time.Millisecond))
	}
	if len(e.waiting) > 0 { // came while it was asked
		s.ask(e)
	}
}
