package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Source is one place where it can be read how busy the upstream is. One of
// URL, Cgroup and Own is set.
type Source struct {
	URL    string // of a page in the Prometheus text format
	Cgroup string // folder of a cgroup of version 2
	Own    bool   // this process: what it takes from its own cgroup and processors

	// Names of the metrics on that page: process_cpu_seconds_total and
	// process_resident_memory_bytes. A name that ends in _total is a count of
	// seconds of a processor, whose rise counts; one that ends in _bytes is held
	// against MemoryLimit; any other is a utilisation, 1 = all.
	CPU, Memory string
	Cores       float64 // processors that the upstream may use; 0: those of this machine, or what the cgroup allows
	MemoryLimit float64 // bytes; 0: what the cgroup allows, or the machine has

	Every time.Duration // between two readings: 2 s
}

// Name is how the source is shown.
func (s Source) Name() string {
	switch {
	case s.URL != "":
		return "prometheus " + s.URL
	case s.Cgroup != "":
		return "cgroup " + s.Cgroup
	}
	return "own"
}

// Load is how busy something is; 1 = all that there is.
type Load struct {
	CPU      float64
	Memory   float64
	Pressure float64 // share of time in which something waited for a processor
	Cores    float64 // processors at work; 0: not known
}

// maxPage bounds a page of metrics.
const maxPage = 8 << 20

// meter keeps the newest reading of each source; the gate's mutex is over it.
type meter struct {
	slots   []*slot
	reports slot // what the upstream says with its answers
}

type slot struct {
	Source
	load  Load
	at    time.Time
	fails string // why the last reading failed
}

func (m *meter) set(sources []Source, now time.Time) {
	before := m.slots
	m.slots = nil
	for _, s := range sources {
		if s.Every <= 0 {
			s.Every = 2 * time.Second
		}
		next := &slot{Source: s}
		for _, b := range before {
			if b.Source == s {
				next = b
			}
		}
		m.slots = append(m.slots, next)
	}
}

// read is the highest load that a source has seen, as far as it is fresh.
func (m *meter) read(now time.Time) Load {
	var out Load
	take := func(s *slot, fresh time.Duration) {
		if s.at.IsZero() || now.Sub(s.at) > fresh {
			return
		}
		out.CPU, out.Memory = max(out.CPU, s.load.CPU), max(out.Memory, s.load.Memory)
		out.Pressure = max(out.Pressure, s.load.Pressure)
		if !s.Own {
			out.Cores += s.load.Cores
		}
	}
	for _, s := range m.slots {
		take(s, 3*s.Every+time.Second)
	}
	take(&m.reports, 5*time.Second)
	return out
}

// Report takes what an upstream says about itself in a load report; what it
// doesn't say is 0.
func (g *Gate) Report(cpu, memory float64) {
	if cpu <= 0 && memory <= 0 {
		return
	}
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.meter.reports
	// Many instances and requests report: what counts fades within a second, and
	// each of many reports weighs little.
	k := 1 - math.Exp(-now.Sub(s.at).Seconds())
	if s.at.IsZero() {
		k = 1
	}
	k = min(1, max(k, 0.01))
	s.load.CPU += (min(cpu, 16) - s.load.CPU) * k
	s.load.Memory += (memory - s.load.Memory) * k
	s.at = now
}

// Share is how much of a slot's time is a processor's, as far as the sources
// tell, or as it is set.
func (g *Gate) Share() float64 {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slotShare(now)
}

func (g *Gate) slotShare(now time.Time) float64 {
	if l := g.meter.read(now); l.Cores > 0 {
		return min(1, l.Cores/max(1, g.all.load(now)))
	}
	return g.set.Share
}

// Watch reads the sources until ctx ends.
func (g *Gate) Watch(ctx context.Context, log *slog.Logger) {
	g.mu.Lock()
	slots := g.meter.slots
	g.mu.Unlock()
	done := make(chan struct{})
	for _, s := range slots {
		go func() {
			defer func() { done <- struct{}{} }()
			g.follow(ctx, s, log)
		}()
	}
	for range slots {
		<-done
	}
}

func (g *Gate) follow(ctx context.Context, s *slot, log *slog.Logger) {
	r := reader{Source: s.Source, client: &http.Client{Timeout: min(s.Every, 5*time.Second), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	defer r.client.CloseIdleConnections()
	timer := time.NewTicker(s.Every)
	defer timer.Stop()
	for {
		l, err := r.read(ctx, time.Now())
		if ctx.Err() != nil {
			return
		}
		fails := ""
		if err != nil && !errors.Is(err, errFirst) {
			fails = err.Error()
		}
		g.mu.Lock()
		was := s.fails
		s.fails = fails
		if err == nil {
			s.load, s.at = l, g.now()
		}
		g.mu.Unlock()
		if fails != "" && was == "" {
			log.Warn("read the load of an upstream", "source", s.Name(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// errFirst: a rate needs two readings.
var errFirst = errors.New("first reading")

// reader reads one source again and again.
type reader struct {
	Source
	client *http.Client
	used   float64 // seconds of processors at the last reading
	at     time.Time
}

func (r *reader) read(ctx context.Context, now time.Time) (Load, error) {
	switch {
	case r.URL != "":
		return r.page(ctx, now)
	case r.Cgroup != "":
		return r.cgroup(r.Cgroup, now)
	}
	return r.own(now)
}

// rate is how many processors were at work since the last reading.
func (r *reader) rate(used float64, now time.Time) (cores float64, first bool) {
	before, at := r.used, r.at
	r.used, r.at = used, now
	dt := now.Sub(at).Seconds()
	if at.IsZero() || used < before || dt <= 0 { // it began again
		return 0, true
	}
	return (used - before) / dt, false
}

func (r *reader) page(ctx context.Context, now time.Time) (Load, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return Load{}, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	res, err := r.client.Do(req)
	if err != nil {
		return Load{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Load{}, fmt.Errorf("answered %d", res.StatusCode)
	}
	cpu, memory := r.CPU, r.Memory
	if cpu == "" {
		cpu = "process_cpu_seconds_total"
	}
	if memory == "" {
		memory = "process_resident_memory_bytes"
	}
	sums, err := scrape(res.Body, cpu, memory)
	if err != nil {
		return Load{}, err
	}
	var l Load
	v, found := sums[cpu]
	switch {
	case !found && r.CPU != "":
		return Load{}, fmt.Errorf("the page has no %s", r.CPU)
	case !found:
	case strings.HasSuffix(cpu, "_total"):
		cores, first := r.rate(v, now)
		if first {
			return Load{}, errFirst
		}
		l.Cores, l.CPU = cores, cores/orMachine(r.Cores)
	default:
		l.CPU = v
	}
	v, found = sums[memory]
	switch {
	case !found && r.Memory != "":
		return Load{}, fmt.Errorf("the page has no %s", r.Memory)
	case !found:
	case !strings.HasSuffix(memory, "_bytes"):
		l.Memory = v
	case r.MemoryLimit > 0:
		l.Memory = v / r.MemoryLimit
	}
	return l, nil
}

func orMachine(cores float64) float64 {
	if cores > 0 {
		return cores
	}
	return float64(runtime.NumCPU())
}

// scrape sums the series of each of the named metrics on a page in the
// Prometheus text format 0.0.4. Lines of others are passed over; one of ours
// that can't be read is an error.
func scrape(page io.Reader, names ...string) (map[string]float64, error) {
	out := map[string]float64{}
	limited := &io.LimitedReader{R: page, N: maxPage + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 16<<10), 256<<10)
	for lines.Scan() {
		line := lines.Bytes()
		for _, name := range names {
			rest, ours := bytes.CutPrefix(line, []byte(name))
			if !ours || len(rest) == 0 || rest[0] != '{' && rest[0] != ' ' && rest[0] != '\t' {
				continue
			}
			if rest[0] == '{' {
				end := labelsEnd(rest)
				if end < 0 {
					return nil, fmt.Errorf("labels of %s do not end", name)
				}
				rest = rest[end+1:]
			}
			fields := bytes.Fields(rest)
			if len(fields) == 0 || len(fields) > 2 {
				return nil, fmt.Errorf("%s has no value", name)
			}
			v, err := strconv.ParseFloat(string(fields[0]), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				return nil, fmt.Errorf("the value of %s is no number that it can be", name)
			}
			out[name] += v
			break
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("the page is longer than %d bytes", maxPage)
	}
	return out, nil
}

// labelsEnd is where the brace closes that b begins with; quoted values may
// hold braces.
func labelsEnd(b []byte) int {
	quoted := false
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i
		}
	}
	return -1
}

// cgroup reads a cgroup of version 2 (Linux, Documentation/admin-guide/cgroup-v2.rst).
func (r *reader) cgroup(dir string, now time.Time) (Load, error) {
	stat, err := keyed(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return Load{}, err
	}
	usec, ok := stat["usage_usec"]
	if !ok {
		return Load{}, fmt.Errorf("%s has no usage_usec", filepath.Join(dir, "cpu.stat"))
	}
	var l Load
	if l.Memory, err = r.memory(dir); err != nil {
		return Load{}, err
	}
	if l.Pressure, err = pressure(filepath.Join(dir, "cpu.pressure")); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return Load{}, err
	}
	cores, first := r.rate(usec/1e6, now)
	if first {
		return Load{}, errFirst
	}
	allowed := r.Cores
	if allowed == 0 {
		if allowed, err = quota(filepath.Join(dir, "cpu.max")); err != nil {
			return Load{}, err
		}
	}
	l.Cores, l.CPU = cores, cores/orMachine(allowed)
	return l, nil
}

// memory is how much of what it may a cgroup holds.
func (r *reader) memory(dir string) (float64, error) {
	now, err := single(filepath.Join(dir, "memory.current"))
	if errors.Is(err, os.ErrNotExist) { // no memory controller here
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	allowed := r.MemoryLimit
	if allowed == 0 {
		if allowed, err = single(filepath.Join(dir, "memory.max")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	if allowed == 0 || math.IsInf(allowed, 1) {
		if m, err := keyed("/proc/meminfo"); err == nil {
			allowed = m["MemTotal:"] * 1024
		}
	}
	if allowed <= 0 || math.IsInf(allowed, 1) {
		return 0, nil
	}
	return now / allowed, nil
}

// own reads what this process takes: of the processors that it may use, and of
// its cgroup where that can be read.
func (r *reader) own(now time.Time) (Load, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return Load{}, err
	}
	var l Load
	dir := ""
	if b, err := short("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				dir = filepath.Join("/sys/fs/cgroup", path)
			}
		}
	}
	if dir != "" {
		l.Memory, _ = r.memory(dir) // where it can't be read it is not known
		p, err := pressure(filepath.Join(dir, "cpu.pressure"))
		if err != nil {
			p, _ = pressure("/proc/pressure/cpu")
		}
		l.Pressure = p
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	cores, first := r.rate(used, now)
	if first {
		return Load{}, errFirst
	}
	allowed := r.Cores
	if allowed == 0 {
		allowed = float64(runtime.GOMAXPROCS(0))
	}
	l.Cores, l.CPU = cores, cores/allowed
	return l, nil
}

// short reads a file of the kernel's, which is short.
func short(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10+1))
	if err == nil && len(b) > 64<<10 {
		err = fmt.Errorf("%s is longer than 64 KiB", file)
	}
	return b, err
}

// keyed reads lines of a name and a number.
func keyed(file string) (map[string]float64, error) {
	b, err := short(file)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if v, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			out[f[0]] = float64(v)
		}
	}
	return out, nil
}

// single reads a file that holds one number, or "max".
func single(file string) (float64, error) {
	b, err := short(file)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(b))
	if text == "max" {
		return math.Inf(1), nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds no number", file)
	}
	return float64(v), nil
}

// quota is how many processors cpu.max allows; 0: no bound.
func quota(file string) (float64, error) {
	b, err := short(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) == 2 && f[0] == "max" {
		return 0, nil
	}
	if len(f) == 2 {
		q, err1 := strconv.ParseUint(f[0], 10, 64)
		p, err2 := strconv.ParseUint(f[1], 10, 64)
		if err1 == nil && err2 == nil && p > 0 && q > 0 {
			return float64(q) / float64(p), nil
		}
	}
	return 0, fmt.Errorf("%s is not \"quota period\"", file)
}

// pressure is the line "some avg10=" of a PSI file (Linux,
// Documentation/accounting/psi.rst), as a share.
func pressure(file string) (float64, error) {
	b, err := short(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, "some avg10=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(v >= 0 && v <= 100) {
			break
		}
		return v / 100, nil
	}
	return 0, fmt.Errorf("%s has no \"some avg10\"", file)
}
