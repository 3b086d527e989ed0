package policy

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	sallyport "sallyport.dev"
)

// Load is how an API's upstream is kept from doing more than it can. The zero
// value does nothing.
type Load struct {
	CPU      Fraction `yaml:"cpu" doc:"Part of the upstream's processors beyond which requests are turned away, what costs most and is trusted least first, such as 80%."`
	Memory   Fraction `yaml:"memory" doc:"Part of its memory beyond which requests are turned away, such as 85%."`
	Pressure Fraction `yaml:"pressure" doc:"Part of the time in which something waits for a processor there (PSI, some avg10) beyond which requests are turned away, such as 40%."`
	// Sources say how busy the upstream is, besides the load reports (ORCA) that
	// it sends with its answers, which always count.
	Sources []LoadSource `yaml:"sources" doc:"Where it is read how busy the upstream is. Load reports (ORCA) in its answers count always."`

	Concurrency Concurrency `yaml:"concurrency" doc:"Requests in flight at once: a number, or adaptive for as many as the upstream works on without waiting. Default no bound but max_conns of each instance."`
	Min         int         `yaml:"min" doc:"Least that adaptive finds. Default 4."`
	Max         int         `yaml:"max" doc:"Most that adaptive finds. Default 1000."`
	Queue       *int        `yaml:"queue" doc:"Requests that wait for a place at once; 0 = none waits. Default 128."`
	// Wait is for how long each may wait.
	Wait    time.Duration `yaml:"wait" doc:"How long a request waits for a place. Default 250ms."`
	Classes []LoadClass   `yaml:"classes" doc:"Traffic that keeps a part of the places whatever else is asked for; the first that fits holds."`
	// SlotShare is how much of the time that a request holds its place is taken
	// for time of a processor where neither the upstream nor a source says.
	SlotShare Fraction `yaml:"slot_share" doc:"How much of the time that a request takes counts as CPU time where nothing tells. Default 100%."`
}

// Enabled reports whether anything is to be done.
func (l Load) Enabled() bool {
	return l.CPU > 0 || l.Memory > 0 || l.Pressure > 0 || l.Concurrency.Adaptive || l.Concurrency.Limit > 0
}

// A LoadSource is one place where it can be read how busy the upstream is.
type LoadSource struct {
	Prometheus string `yaml:"prometheus" doc:"URL of a page of metrics of the upstream."`
	Cgroup     string `yaml:"cgroup" doc:"Folder of the cgroup (version 2) of an upstream on this machine."`
	Own        bool   `yaml:"own" doc:"This process itself."`

	CPU         string        `yaml:"cpu" doc:"Metric of the page: seconds of processors when it ends in _total, else a utilisation from 0 to 1. Default process_cpu_seconds_total."`
	Memory      string        `yaml:"memory" doc:"Metric of the page: held against memory_limit when it ends in _bytes, else a utilisation from 0 to 1. Default process_resident_memory_bytes."`
	Cores       float64       `yaml:"cores" doc:"Processors that the upstream may use. Default those of this machine, or what its cgroup allows."`
	MemoryLimit Memory64      `yaml:"memory_limit" doc:"Memory that it may use, such as 2GiB. Default what its cgroup allows."`
	Every       time.Duration `yaml:"every" doc:"Between two readings. Default 2s."`
}

// A LoadClass is traffic that keeps a part of the places. A request belongs to
// it by any one of what it lists.
type LoadClass struct {
	Name       string   `yaml:"name" need:"1" doc:"Its name."`
	Floor      Fraction `yaml:"floor" need:"1" doc:"Part of the places that it keeps, such as 30%."`
	Operations []string `yaml:"operations" doc:"\"GET /items/{id}\" or operationIds."`
	Scopes     []string `yaml:"scopes" doc:"Scopes, one of which a caller has."`
	Principals []string `yaml:"principals" doc:"Callers: as shown on screen, as issuer#subject, or, where tokens of one issuer at most are taken, by subject alone."`
	Keys       []string `yaml:"keys" doc:"Ids of API keys or certificates, or client_ids of tokens."`
}

// A Fraction is a part of a whole, written "80%".
type Fraction float64

// UnmarshalText reads "80%".
func (f *Fraction) UnmarshalText(b []byte) error {
	text, ok := strings.CutSuffix(strings.TrimSpace(string(b)), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if !ok || err != nil || !(v >= 0 && v <= 1000) {
		return fmt.Errorf("%q: want a percentage such as 80%%", b)
	}
	*f = Fraction(v / 100)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f Fraction) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f Fraction) String() string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(math.Round(float64(f)*1e6)/1e4, 'f', -1, 64) + "%"
}

// A Memory64 is a size of memory in bytes, written "2GiB".
type Memory64 int64

// UnmarshalText reads "512MiB", "2GiB" or a number of bytes.
func (q *Memory64) UnmarshalText(b []byte) error {
	text, unit := strings.TrimSpace(string(b)), int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(rest), int64(1)<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<50)/unit {
		return fmt.Errorf("%q is not a size such as 512MiB or 2GiB", b)
	}
	*q = Memory64(n * unit)
	return nil
}

// Concurrency is "adaptive" or a number.
type Concurrency struct {
	Adaptive bool
	Limit    int
}

// UnmarshalText reads "adaptive" or a number.
func (c *Concurrency) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "adaptive" {
		*c = Concurrency{Adaptive: true}
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1_000_000 {
		return fmt.Errorf("%q: want adaptive, or a number from 1", b)
	}
	*c = Concurrency{Limit: n}
	return nil
}

func (c Concurrency) String() string {
	switch {
	case c.Adaptive:
		return "adaptive"
	case c.Limit > 0:
		return strconv.Itoa(c.Limit)
	}
	return ""
}

// Threshold reports whether l is a threshold of the upstream's load, which is
// not counted.
func (l Limit) Threshold() bool { return l.CPU.Share > 0 || l.Memory > 0 }

// counted are the limits that are counted.
func counted(ls []Limit) []Limit {
	out := make([]Limit, 0, len(ls))
	for _, l := range ls {
		if !l.Threshold() {
			out = append(out, l)
		}
	}
	return out
}

// Loaded is Load with the thresholds that stand among the limits.
func (a API) Loaded() Load {
	l := a.Load
	for _, x := range a.Limits {
		l.CPU, l.Memory = cmp.Or(l.CPU, x.CPU.Share), cmp.Or(l.Memory, x.Memory)
	}
	return l
}

// threshold checks a limit that is a threshold, and reports whether it is one.
func (m *Mistakes) threshold(path string, l Limit, operation bool) bool {
	for _, a := range []Amount{l.Bytes, l.Rows, l.Money, l.Units} {
		if a.Share > 0 {
			m.add(path, "a percentage is of the upstream's processors (cpu) or memory; want a quantity and a window, such as 1000/h")
			return true
		}
	}
	if !l.Threshold() {
		return false
	}
	if (l != Limit{CPU: Amount{Share: l.CPU.Share}}) && (l != Limit{Memory: l.Memory}) {
		m.add(path, "a threshold stands alone: {cpu: 80%%} or {memory: 85%%}")
	}
	if operation {
		m.add(path, "a threshold of the upstream's load belongs among the API's limits")
	}
	return true
}

func (m *Mistakes) load(a API, known []sallyport.Operation) {
	l := a.Loaded()
	for _, x := range a.Limits {
		if x.CPU.Share > 0 && x.CPU.Share != l.CPU || x.Memory > 0 && x.Memory != l.Memory {
			m.add("load", "a threshold of cpu or memory stands twice, in load and in limits; give it once")
			break
		}
	}
	for _, f := range []struct {
		name string
		v    Fraction
		most Fraction
	}{{"cpu", l.CPU, 10}, {"memory", l.Memory, 1}, {"pressure", l.Pressure, 1}, {"slot_share", l.SlotShare, 1}} {
		if f.v > f.most {
			m.add("load."+f.name, "%s is more than %s", f.v, f.most)
		}
	}
	if l.Min < 0 || l.Max < 0 || l.Max > 0 && l.Min > l.Max {
		m.add("load.min", "min %d and max %d leave nothing between them", l.Min, l.Max)
	}
	if l.Queue != nil && (*l.Queue < 0 || *l.Queue > 4096) {
		m.add("load.queue", "%d is not within 0 and 4096", *l.Queue)
	}
	if l.Wait < 0 || l.Wait > time.Minute {
		m.add("load.wait", "%s is more than a minute, for which nobody waits", l.Wait)
	}
	if !l.Enabled() && (len(l.Sources) > 0 || len(l.Classes) > 0 || l.Queue != nil || l.Wait > 0 || l.Min > 0 || l.Max > 0) {
		m.add("load", "nothing of it counts without a threshold (cpu, memory, pressure) or concurrency")
	}
	for i, s := range l.Sources {
		path := fmt.Sprintf("load.sources[%d]", i)
		set := 0
		for _, is := range []bool{s.Prometheus != "", s.Cgroup != "", s.Own} {
			if is {
				set++
			}
		}
		if set != 1 {
			m.add(path, "want one of prometheus, cgroup and own")
		}
		if s.Prometheus != "" {
			if u, err := url.Parse(s.Prometheus); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
				m.add(path+".prometheus", "want a URL such as http://10.0.0.11:9100/metrics")
			}
		} else if s.CPU != "" || s.Memory != "" {
			m.add(path, "cpu and memory name metrics of a prometheus page")
		}
		if s.Cgroup != "" && (!filepath.IsAbs(s.Cgroup) || filepath.Clean(s.Cgroup) != strings.TrimRight(s.Cgroup, "/")) {
			m.add(path+".cgroup", "want the folder's full path, such as /sys/fs/cgroup/system.slice/payments.service")
		}
		if s.Cores < 0 || s.Every < 0 || s.Every > 0 && s.Every < 100*time.Millisecond {
			m.add(path, "cores is negative, or every is below 100ms")
		}
		if l.CPU == 0 && l.Memory == 0 && l.Pressure == 0 {
			m.add(path, "it counts where a threshold is given: load.cpu, load.memory or load.pressure")
		}
	}
	var floors Fraction
	for i, c := range l.Classes {
		path := fmt.Sprintf("load.classes[%d]", i)
		if c.Name == "" || slices.ContainsFunc(l.Classes[:i], func(o LoadClass) bool { return o.Name == c.Name }) {
			m.add(path+".name", "%q is empty or stands twice", c.Name)
		}
		if c.Floor <= 0 || c.Floor > 1 {
			m.add(path+".floor", "want a percentage from above 0%% to 100%%")
		}
		floors += c.Floor
		if len(c.Operations)+len(c.Scopes)+len(c.Principals)+len(c.Keys) == 0 {
			m.add(path, "nothing belongs to it: name operations, scopes, principals or keys")
		}
		for j, p := range c.Principals {
			if len(a.Auth.OIDC) > 1 && bare(p) {
				m.add(fmt.Sprintf("%s.principals[%d]", path, j), "%q is a subject of more than one issuer: write it with its own, such as %s#%s", p, a.Auth.OIDC[0].Issuer, p)
			}
		}
		for j, o := range c.Operations {
			m.operation(fmt.Sprintf("%s.operations[%d]", path, j), o, known)
		}
	}
	if floors > 1 {
		m.add("load.classes", "the floors add up to %s", floors)
	}
}

// bare reports whether a caller is named by subject alone.
func bare(principal string) bool {
	kind, _, ok := strings.Cut(principal, ":")
	return !strings.Contains(principal, "#") && !(ok && slices.Contains([]string{"key", "certificate", "signature", "oidc"}, kind))
}

// words says l in a line; "" when it does nothing.
func (l Load) words() string {
	if !l.Enabled() {
		return ""
	}
	var out []string
	for _, f := range []struct{ name, v string }{{"cpu", l.CPU.String()}, {"memory", l.Memory.String()}, {"pressure", l.Pressure.String()}, {"concurrency", l.Concurrency.String()}} {
		if f.v != "" {
			out = append(out, f.name+" "+f.v)
		}
	}
	queue := 128
	if l.Queue != nil {
		queue = *l.Queue
	}
	out = append(out, fmt.Sprintf("queue %d for %s", queue, cmp.Or(l.Wait, 250*time.Millisecond)))
	for _, s := range l.Sources {
		out = append(out, fmt.Sprintf("source %s", cmp.Or(s.Prometheus, s.Cgroup, "own")))
	}
	for _, c := range l.Classes {
		out = append(out, fmt.Sprintf("%s keeps %s (%s)", c.Name, c.Floor, strings.Join(slices.Concat(c.Operations, c.Scopes, c.Principals, c.Keys), ", ")))
	}
	return strings.Join(out, ", ")
}
