package incident

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Event is what a notification tells of.
type Event string

// The events.
const (
	EventOpened   Event = "opened"
	EventOverdue  Event = "overdue"
	EventResolved Event = "resolved"
	EventTest     Event = "test"
)

// A Message is a notification. It holds no evidence and no value of a request.
type Message struct {
	ID        string // of the delivery; the same when it is sent again
	Event     Event  // of the first, in a digest
	Text      string // for people
	Incidents []Told // one, or several in a digest; none in a test
}

// Told is what a notification says of one incident.
type Told struct {
	Event     Event     `json:"event"`
	ID        string    `json:"id"`
	API       string    `json:"api"`
	Subject   string    `json:"subject"`
	Title     string    `json:"title"`
	Severity  string    `json:"severity"`
	State     State     `json:"state"`
	Owner     string    `json:"owner,omitempty"`
	Contact   string    `json:"contact,omitempty"`
	Deputy    string    `json:"deputy,omitempty"`
	Opened    time.Time `json:"opened"`
	Due       time.Time `json:"due"`
	Escalated bool      `json:"escalated,omitempty"`
	Link      string    `json:"link,omitempty"`
}

// A Sender sends. Its errors must hold no secret: they are logged and shown.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// A Target is a place that is notified.
type Target struct {
	Name     string // in logs and on screen; no secret
	On       []Event
	Severity Severity // least
	Sender   Sender
}

func (t Target) wants(i *Incident, e Event) bool {
	return i.Severity >= t.Severity && slices.Contains(t.On, e)
}

// announce puts a notification for each target that wants it beside what it tells of.
func (b *Book) announce(ctx context.Context, tx bun.Tx, s *Settings, i *Incident, e Event) error {
	now := b.o.Now().UnixMicro()
	for _, t := range s.Targets {
		if !t.wants(i, e) {
			continue
		}
		n, err := tx.NewSelect().Model((*Delivery)(nil)).Where("state = 'due' AND target = ?", t.Name).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxDue {
			if b.overflow.Add(1)%1000 == 1 {
				b.o.Logger.Error("too many notifications wait; the newest are not sent", "target", t.Name, "waiting", n)
			}
			continue
		}
		if _, err := tx.NewInsert().Model(&Delivery{Incident: i.ID, Event: e, Target: t.Name, State: "due", Next: now, At: now}).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A window bounds messages to one target.
type window struct{ sent []time.Time }

// perMinute is how many messages one target gets; what is beyond waits and
// goes together, as a digest.
const perMinute = 6

const (
	maxAttempts = 12
	leased      = 2 * time.Minute // a process that sends keeps others away so long
	inDigest    = 20              // incidents that a digest names
)

func (w *window) slots(now time.Time) int {
	w.sent = slices.DeleteFunc(w.sent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	return perMinute - len(w.sent)
}

// deliver sends what is due until ctx ends. Each target has its own turn, so
// that one that hangs delays no other for longer than its bound of time.
func (b *Book) deliver(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	busy := map[string]chan struct{}{}
	for {
		s := b.settings.Load()
		for _, t := range s.Targets {
			if done := busy[t.Name]; done != nil {
				select {
				case <-done:
				default:
					continue
				}
			}
			w := b.limits[t.Name]
			if w == nil {
				w = &window{}
				b.limits[t.Name] = w
			}
			done := make(chan struct{})
			busy[t.Name] = done
			go func() {
				defer close(done)
				if err := b.turn(ctx, s, t, w); err != nil && ctx.Err() == nil {
					b.o.Logger.Warn("send notifications", "target", t.Name, "error", err)
				}
			}()
		}
		select {
		case <-ctx.Done():
			for _, done := range busy {
				<-done
			}
			return
		case <-tick.C:
		}
	}
}

// turn sends what is due to one target.
func (b *Book) turn(ctx context.Context, s *Settings, t Target, w *window) error {
	now := b.o.Now()
	slots := w.slots(time.Now())
	if slots <= 0 {
		return nil
	}
	var due []Delivery
	if err := b.o.Store.Reader().NewSelect().Model(&due).Where("state = 'due' AND target = ? AND next <= ?", t.Name, now.UnixMicro()).Order("seq").Limit(500).Scan(ctx); err != nil || len(due) == 0 {
		return err
	}
	// Several processes may look at once: what this one could not lease is another's.
	due = slices.DeleteFunc(due, func(d Delivery) bool {
		res, err := b.o.Store.DB().NewUpdate().Model((*Delivery)(nil)).Set("next = ?", now.Add(leased).UnixMicro()).Where("seq = ? AND state = 'due' AND next = ?", d.Seq, d.Next).Exec(ctx)
		if err != nil {
			return true
		}
		n, err := res.RowsAffected()
		return err != nil || n == 0
	})
	groups := [][]Delivery{due}
	if len(due) <= slots {
		groups = nil
		for i := range due {
			groups = append(groups, due[i:i+1])
		}
	}
	for _, g := range groups {
		if len(g) == 0 {
			continue
		}
		m, err := b.message(ctx, s, g)
		if err != nil {
			return err
		}
		sending, cancel := context.WithTimeout(ctx, 20*time.Second)
		err = t.Sender.Send(sending, m)
		cancel()
		w.sent = append(w.sent, time.Now())
		if ctx.Err() != nil && err != nil {
			return nil // stopped in the middle: it is sent again after the lease
		}
		if err := b.settle(ctx, t, g, err); err != nil {
			return err
		}
	}
	return nil
}

// settle writes how an attempt ended.
func (b *Book) settle(ctx context.Context, t Target, g []Delivery, failure error) error {
	now := b.o.Now()
	if failure == nil {
		b.sent.Add(1)
	} else {
		b.failed.Add(1)
		b.o.Logger.Warn("notification not delivered", "target", t.Name, "notifications", len(g), "attempt", g[0].Attempts+1, "error", failure)
	}
	return b.tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, d := range g {
			q := tx.NewUpdate().Model((*Delivery)(nil)).Where("seq = ?", d.Seq).Set("attempts = ?, at = ?", d.Attempts+1, now.UnixMicro())
			switch {
			case failure == nil:
				q = q.Set("state = 'sent', problem = ''")
			case d.Attempts+1 >= maxAttempts:
				q = q.Set("state = 'failed', problem = ?", oneLine(failure.Error()))
			default:
				q = q.Set("next = ?, problem = ?", now.Add(backOff(d.Attempts)).UnixMicro(), oneLine(failure.Error()))
			}
			if _, err := q.Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func backOff(attempts int) time.Duration {
	return min(5*time.Second<<min(attempts, 10), 30*time.Minute)
}

func (b *Book) message(ctx context.Context, s *Settings, g []Delivery) (Message, error) {
	m := Message{ID: fmt.Sprintf("n%d-%s", g[0].Seq, g[0].Incident), Event: g[0].Event}
	var lines []string
	for k, d := range g {
		if k == inDigest {
			break
		}
		i, err := load(ctx, b.o.Store.Reader(), d.Incident)
		if err != nil {
			return m, err
		}
		x := Told{Event: d.Event, ID: i.ID, API: i.API, Subject: i.Subject, Title: i.Title, Severity: i.Severity.String(), State: i.State, Owner: i.Team, Contact: i.Contact, Deputy: i.Deputy,
			Opened: time.UnixMicro(i.Opened).UTC(), Due: time.UnixMicro(i.Due).UTC(), Escalated: i.Escalated != 0}
		if s.Link != nil {
			x.Link = s.Link(i.ID)
		}
		m.Incidents = append(m.Incidents, x)
		lines = append(lines, x.text())
	}
	m.Text = strings.Join(lines, "\n\n")
	if len(g) > 1 {
		m.Text = fmt.Sprintf("%d notifications together:\n\n%s", len(g), m.Text)
		if len(g) > inDigest {
			m.Text += fmt.Sprintf("\n\nand %d more", len(g)-inDigest)
		}
	}
	return m, nil
}

func (x Told) text() string {
	var w strings.Builder
	fmt.Fprintf(&w, "[%s] %s incident of API %s: %s\n%s\n", x.Event, x.Severity, cmp.Or(x.API, "(none)"), x.Title, x.Subject)
	if x.Event == EventOverdue {
		fmt.Fprintf(&w, "It was due %s; escalated to %s. ", x.Due.Format(time.RFC3339), cmp.Or(x.Deputy, "nobody: the API names no deputy"))
	} else if x.Event != EventResolved {
		fmt.Fprintf(&w, "Due %s. ", x.Due.Format(time.RFC3339))
	}
	fmt.Fprintf(&w, "Owner: %s", cmp.Or(strings.TrimSpace(x.Owner+" "+x.Contact), "nobody is named"))
	if x.Link != "" {
		w.WriteString("\n" + x.Link)
	}
	return w.String()
}

// Test sends a message to each target at once and says how it went, by name.
func Test(ctx context.Context, targets []Target) []Tried {
	out := make([]Tried, len(targets))
	for k, t := range targets {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		out[k] = Tried{t.Name, t.Sender.Send(ctx, Message{ID: newID(time.Now()), Event: EventTest, Text: "[test] Sallyport notifies this place of incidents: " + target(t)})}
		cancel()
	}
	return out
}

// Tried is how a test of one target went.
type Tried struct {
	Target string
	Err    error
}

func target(t Target) string {
	var on []string
	for _, e := range t.On {
		on = append(on, string(e))
	}
	return fmt.Sprintf("%s, severity %s and above", strings.Join(on, ", "), cmp.Or(t.Severity, Low))
}

// TestTargets is Test of the targets in force.
func (b *Book) TestTargets(ctx context.Context) []Tried { return Test(ctx, b.settings.Load().Targets) }
