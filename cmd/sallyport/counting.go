package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev/console"
	"sallyport.dev/gateway/counters"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/limit"
	"sallyport.dev/policy"
	"sallyport.dev/store"
)

// countersChoice is where limits are counted: a URL, or a mapping.
type countersChoice struct{ sharedCounters }

type sharedCounters struct {
	URL      string `yaml:"url" doc:"redis://[user@]host:port[/db], or rediss:// with TLS; also env:NAME or file:PATH that holds such a URL."`
	Password string `yaml:"password" doc:"As env:NAME or file:PATH."`
	CA       string `yaml:"ca" doc:"PEM file with the authorities that a rediss:// server is checked against. Default the system's."`
}

func (c *countersChoice) fromNode(n *yaml.Node, m *mistakes) {
	if n.Kind == yaml.ScalarNode {
		c.URL = n.Value
		return
	}
	m.decode(n, valueOf(&c.sharedCounters), "counters")
}

func (c *countersChoice) schema() map[string]any {
	return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, schemaOf(c.sharedCounters)}}
}

func (c *config) checkCounters(bad func(string, string, ...any)) {
	k := c.Counters
	if k.URL == "" {
		if k != (countersChoice{}) {
			bad("counters", "url is missing")
		}
		return
	}
	if !strings.HasPrefix(k.URL, "env:") && !strings.HasPrefix(k.URL, "file:") {
		u, err := url.Parse(k.URL)
		switch {
		case err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "":
			bad("counters", "want redis://host:port or rediss://host:port, or env:NAME or file:PATH that holds such a URL")
		case u.User != nil:
			if _, has := u.User.Password(); has {
				bad("counters", "a password stands in the URL; give it as password: env:NAME or file:PATH")
			}
		}
	}
	if k.Password != "" && !strings.HasPrefix(k.Password, "env:") && !strings.HasPrefix(k.Password, "file:") {
		bad("counters.password", "want env:NAME or file:PATH; secrets do not stand in this file")
	}
	if k.CA != "" {
		if _, err := pool509(c.path(k.CA)); err != nil {
			bad("counters.ca", "%v", err)
		}
	}
}

// openCounters makes the counters that limits go by, and the memory of used
// proofs: of this process, or shared with other nodes.
func (e *engine) openCounters() error {
	e.memory = limit.NewMemory(0)
	e.lasting.counters, e.lasting.forecast, e.lasting.tallies = e.memory, limit.NewForecast(0), new(limit.Tallies)
	k := e.cfg.Counters
	if k.URL == "" {
		return nil
	}
	o := counters.Options{Local: e.memory, Log: e.log}
	var err error
	if o.URL, err = e.cfg.secret(k.URL); err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	if o.Password, err = e.cfg.secret(k.Password); err != nil {
		return fmt.Errorf("counters.password: %w", err)
	}
	if k.CA != "" {
		pool, err := pool509(e.cfg.path(k.CA))
		if err != nil {
			return fmt.Errorf("counters.ca: %w", err)
		}
		o.TLS = &tls.Config{RootCAs: pool}
	}
	if u, err := url.Parse(o.URL); err == nil && u.Scheme == "redis" && !loopback(u.Hostname()) && net.ParseIP(u.Hostname()) != nil {
		e.log.Warn("counters: redis:// sends its password and what it counts in plain text; rediss:// is for networks that others share")
	}
	if e.shared, err = counters.Open(o); err != nil {
		return err
	}
	e.lasting.counters = e.shared
	e.lasting.proofs = authn.NewProofs(e.shared.Replays(authn.NewReplayMemory(1 << 20)))
	return nil
}

//go:embed migrations
var migrations embed.FS

// quotaBook writes down what was taken of quotas, so that a day or month goes
// on after a restart. A process that is killed forgets the last two seconds.
type quotaBook struct {
	store  *store.Store
	memory *limit.Memory
	node   string
	saved  map[limit.Key]limit.Used
}

const quotaWriting = 2 * time.Second

// openQuotas takes over what was written down before.
func openQuotas(ctx context.Context, s *store.Store, dir string, m *limit.Memory) (*quotaBook, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx, "quota", files); err != nil {
		return nil, err
	}
	b := &quotaBook{store: s, memory: m, saved: map[limit.Key]limit.Used{}}
	if b.node, err = nodeName(dir); err != nil {
		return nil, err
	}
	now := time.Now()
	rows, err := s.Reader().QueryContext(ctx, "SELECT name, subject, client, until, used FROM quota WHERE node = ? AND until > ?", b.node, now.Unix())
	if err != nil {
		return nil, fmt.Errorf("read quotas: %w", s.Explain(err))
	}
	defer rows.Close()
	var list []limit.Used
	for rows.Next() {
		var u limit.Used
		var client string
		var until int64
		if err := rows.Scan(&u.Key.Limit, &u.Key.Subject, &client, &until, &u.Count); err != nil {
			return nil, fmt.Errorf("read quotas: %w", err)
		}
		if client != "" {
			if u.Key.Addr, err = netip.ParseAddr(client); err != nil {
				continue
			}
		}
		u.Until = time.Unix(until, 0)
		list = append(list, u)
		b.saved[u.Key] = u
	}
	m.Restore(list, now)
	return b, rows.Err()
}

// nodeName is the name that this data directory counts under, made at first.
func nodeName(dir string) (string, error) {
	file := filepath.Join(dir, "node")
	b, err := os.ReadFile(file)
	if err == nil && len(strings.TrimSpace(string(b))) == 16 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var raw [8]byte
	rand.Read(raw[:]) // never fails
	name := hex.EncodeToString(raw[:])
	return name, os.WriteFile(file, []byte(name+"\n"), 0o600)
}

// Run writes until ctx ends, and once more then.
func (b *quotaBook) Run(ctx context.Context, logged func(error)) error {
	tick := time.NewTicker(quotaWriting)
	defer tick.Stop()
	failing := false
	for {
		last := false
		select {
		case <-ctx.Done():
			last = true
		case <-tick.C:
		}
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := b.write(writing, time.Now())
		cancel()
		if err != nil && !failing { // once, and not every two seconds until it works again
			logged(err)
		}
		failing = err != nil
		if last {
			return nil
		}
	}
}

// write saves what has changed, in one transaction.
func (b *quotaBook) write(ctx context.Context, now time.Time) error {
	var changed []limit.Used
	for _, u := range b.memory.Quotas(now) {
		if old := b.saved[u.Key]; old.Count != u.Count || !old.Until.Equal(u.Until) {
			changed = append(changed, u)
		}
	}
	over := 0
	for k, u := range b.saved {
		if !u.Until.After(now) {
			delete(b.saved, k)
			over++
		}
	}
	if len(changed) == 0 && over == 0 {
		return nil
	}
	err := b.store.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if over > 0 {
			if _, err := tx.ExecContext(ctx, "DELETE FROM quota WHERE until <= ?", now.Unix()); err != nil {
				return err
			}
		}
		for part := range chunks(changed, 100) {
			q, args := strings.Builder{}, []any{}
			q.WriteString("INSERT INTO quota (node, name, subject, client, until, used) VALUES ")
			for i, u := range part {
				if i > 0 {
					q.WriteByte(',')
				}
				q.WriteString("(?,?,?,?,?,?)")
				client := ""
				if u.Key.Addr.IsValid() {
					client = u.Key.Addr.String()
				}
				args = append(args, b.node, u.Key.Limit, u.Key.Subject, client, u.Until.Unix(), u.Count)
			}
			q.WriteString(" ON CONFLICT (node, name, subject, client) DO UPDATE SET until = EXCLUDED.until, used = EXCLUDED.used")
			if _, err := tx.ExecContext(ctx, q.String(), args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write down quotas: %w", b.store.Explain(err))
	}
	for _, u := range changed {
		b.saved[u.Key] = u
	}
	return nil
}

func chunks[T any](list []T, n int) func(func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(list) > 0 {
			part := list[:min(n, len(list))]
			if list = list[len(part):]; !yield(part) {
				return
			}
		}
	}
}

// limitMetrics are the measures of what limits count with.
func (e *engine) limitMetrics(gauge, counter func(name, help string, f func() float64)) {
	gauge("limit_keys", "Keys that limits are counted under in this process.", func() float64 { return float64(e.memory.Len()) })
	counter("limit_keys_evicted_total", "Keys given up for want of memory before their budget was whole again.", func() float64 { return float64(e.memory.Evicted()) })
	if e.shared == nil {
		return
	}
	gauge("counters_shared", "1 while limits are counted together with other nodes, 0 while this node counts alone.", func() float64 {
		if e.shared.Alone() {
			return 0
		}
		return 1
	})
	gauge("counters_leases", "Keys that this node shares with others.", func() float64 { return float64(e.shared.Stats().Leases) })
	counter("counters_trips_total", "Batches sent to the shared counters.", func() float64 { return float64(e.shared.Stats().Trips) })
	counter("counters_late_total", "Requests that the shared counters did not answer in time; they were counted here.", func() float64 { return float64(e.shared.Stats().Late) })
	counter("counters_failures_total", "Batches that the shared counters gave no usable answer to.", func() float64 { return float64(e.shared.Stats().Failures) })
	counter("counters_outages_total", "Times that sharing ended.", func() float64 { return float64(e.shared.Stats().Outages) })
	counter("counters_unshared_total", "Questions about keys beyond the number that can be shared; they were counted here.", func() float64 { return float64(e.shared.Stats().Full) })
}

// nearestShown is how many of those nearest to a limit are shown.
const nearestShown = 5

// Limits lists the limits in force at each door, with who is nearest to them.
func (e *engine) Limits() []console.Limit {
	e.mu.Lock()
	type door struct {
		name    string
		program *guard.Program
	}
	var doors []door
	if e.current != nil {
		doors = append(doors, door{"gateway", e.current.program})
		if e.current.out != nil {
			doors = append(doors, door{"egress", e.current.out.program})
		}
	}
	if e.desk != nil {
		doors = append(doors, door{"console", e.desk.program})
	}
	e.mu.Unlock()
	now := time.Now()
	together := e.shared != nil && !e.shared.Alone()
	var out []console.Limit
	at := map[string]int{}
	limits := map[string]limit.Limit{}
	for _, d := range doors {
		for _, l := range d.program.Limits() {
			if _, twice := at[l.Key]; twice {
				continue
			}
			m := l.Text.Measure()
			at[l.Key], limits[l.Key] = len(out), l.Limit
			out = append(out, console.Limit{Door: d.name, API: l.API, Operation: l.Operation, Name: l.Name, What: l.Text.What(), Measure: string(m), Per: string(l.Text.Per),
				Mode: string(l.Mode), Count: l.Text.Count(), Window: l.Text.Window(), Capacity: l.Text.Capacity(), Together: together && m != policy.Concurrent,
				Refused: e.lasting.tallies.Hour(l.Key, now)})
		}
	}
	e.memory.Near(now, func(name string) (limit.Limit, bool) { l, ok := limits[name]; return l, ok }, func(k limit.Key, l limit.Limit, s limit.State) {
		u := console.LimitUser{Subject: k.Subject, Remaining: int64(s.Remaining), Held: int64(s.Held), Reset: s.Reset}
		if k.Addr.IsValid() {
			u.Subject = k.Addr.String()
		}
		u.Used = float64(l.Capacity()-s.Remaining) / float64(l.Capacity())
		list := &out[at[k.Limit]].Nearest
		i, _ := slices.BinarySearchFunc(*list, u, func(a, b console.LimitUser) int {
			return cmp.Or(cmp.Compare(b.Used, a.Used), cmp.Compare(b.Reset, a.Reset), cmp.Compare(a.Subject, b.Subject))
		})
		if i < nearestShown {
			*list = slices.Insert(*list, i, u)
			*list = (*list)[:min(len(*list), nearestShown)]
		}
	})
	return out
}

// keepTallies forgets how often limits that are no more turned somebody away;
// e.mu is held.
func (e *engine) keepTallies() {
	known := map[string]bool{}
	for _, c := range []*compiled{e.current, e.current.out, e.desk} {
		if c == nil {
			continue
		}
		for _, l := range c.program.Limits() {
			known[l.Key] = true
		}
	}
	e.lasting.tallies.Keep(func(name string) bool { return known[name] })
}
