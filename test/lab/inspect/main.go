// Command inspect measures what the inspection engine catches and what it
// spares. In come two public collections of payloads, genuine values of the
// same and of recorded traffic, and look-alikes written for the purpose; each
// is placed in a query value, a JSON string and a header, and judged as the
// guard would judge it. Out go tables with Wilson 95 % intervals, beside Coraza
// with the OWASP Core Rule Set on the same placements, and a file that names
// every miss. It exits with 1 when a target is missed. It never sends anything.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"sallyport.dev"
	"sallyport.dev/guard/inspect"
)

// Targets, as shares.
const (
	wantRecall  = 0.97
	wantRefused = 0.005
	smallest    = 30 // classes with fewer samples are listed, not averaged
)

var positions = []sallyport.In{sallyport.InQuery, sallyport.InBody, sallyport.InHeader}

var positionNames = map[sallyport.In]string{sallyport.InQuery: "query value", sallyport.InBody: "JSON string", sallyport.InHeader: "header"}

// place sends v through the encoding of its position and the one decoding that
// a framework does. ok is false where v cannot stand.
func place(v string, in sallyport.In) (string, bool) {
	switch in {
	case sallyport.InQuery:
		q, err := url.ParseQuery("q=" + url.QueryEscape(v))
		return q.Get("q"), err == nil
	case sallyport.InBody:
		b, err := json.Marshal(strings.ToValidUTF8(v, "\ufffd"))
		if err != nil {
			return "", false
		}
		var s string
		return s, json.Unmarshal(b, &s) == nil
	}
	v = strings.Trim(v, " \t")
	return v, v != "" && !strings.ContainsAny(v, "\r\n\x00")
}

// A count is hits among tries.
type count struct{ hits, of int }

func (c count) share() float64 { return float64(c.hits) / float64(max(c.of, 1)) }

// wilson gives the 95 % interval of a share.
func (c count) wilson() (lo, hi float64) {
	if c.of == 0 {
		return 0, 1
	}
	const z = 1.959964
	n, p := float64(c.of), c.share()
	mid, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (mid-half)/(1+z*z/n)), min(1, (mid+half)/(1+z*z/n))
}

func (c count) String() string {
	if c.of == 0 {
		return "–"
	}
	lo, hi := c.wilson()
	return fmt.Sprintf("%.2f %% (%.2f–%.2f)", 100*c.share(), 100*lo, 100*hi)
}

type cell struct {
	from, class string
	held        bool
	in          sallyport.In
}

// A judge says whether a value at a position is refused, and why.
type judge func(v string, in sallyport.In) (bool, string)

type results map[cell]count

type miss struct {
	sample
	in  sallyport.In
	why string
}

func run(samples []sample, j judge) (results, []miss) {
	r := results{}
	var misses []miss
	for _, s := range samples {
		for _, in := range positions {
			v, ok := place(s.value, in)
			if !ok {
				continue
			}
			hit, why := j(v, in)
			k := cell{s.from, s.class, s.held(), in}
			c := r[k]
			c.of++
			if hit {
				c.hits++
			}
			r[k] = c
			if hit != (s.class != "") {
				misses = append(misses, miss{s, in, why})
			}
		}
	}
	return r, misses
}

func (r results) sum(match func(cell) bool) (c count) {
	for k, v := range r {
		if match(k) {
			c.hits += v.hits
			c.of += v.of
		}
	}
	return c
}

// groups lists the collections and classes in r.
func (r results) groups() [][2]string {
	var g [][2]string
	for k := range r {
		if p := [2]string{k.from, k.class}; !slices.Contains(g, p) {
			g = append(g, p)
		}
	}
	slices.SortFunc(g, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	return g
}

// macro averages recall over the classes that are large enough.
func (r results) macro(in sallyport.In, match func(cell) bool) (float64, int) {
	sum, n := 0.0, 0
	for _, g := range r.groups() {
		whole := r.sum(func(k cell) bool { return k.from == g[0] && k.class == g[1] && k.in == in })
		if g[1] == "" || whole.of < smallest {
			continue
		}
		c := r.sum(func(k cell) bool { return k.from == g[0] && k.class == g[1] && k.in == in && match(k) })
		sum += c.share()
		n++
	}
	return sum / float64(max(n, 1)), n
}

func main() {
	missFile := flag.String("misses", "", "write every miss and every false refusal to this `file`")
	beside := flag.Int("coraza", 400, "samples per class for Coraza with the Core Rule Set beside; 0 leaves it out, -1 takes all")
	flag.Parse()
	ok, err := report(os.Stdout, *missFile, *beside)
	if err != nil {
		fmt.Fprintln(os.Stderr, "inspect:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func report(w io.Writer, missFile string, beside int) (bool, error) {
	bad, err := attacks()
	if err != nil {
		return false, fmt.Errorf("read the payloads: %w", err)
	}
	good, err := genuine()
	if err != nil {
		return false, fmt.Errorf("read the genuine values: %w", err)
	}
	e, err := inspect.New(inspect.Options{})
	if err != nil {
		return false, err
	}
	ours := engine(e)
	caught, missed := run(bad, ours)
	refused, wrong := run(good, ours)
	var crsCaught, crsRefused results
	if beside != 0 {
		c, err := peer()
		if err != nil {
			return false, err
		}
		crsCaught, _ = run(thin(bad, beside), c)
		crsRefused, _ = run(thin(good, beside), c)
	}
	var harmless []sample
	real := slices.Clone(bad)
	real = slices.DeleteFunc(real, func(s sample) bool {
		if reason(s) == "" {
			return false
		}
		harmless = append(harmless, s)
		return true
	})
	caughtReal, _ := run(real, ours)
	ok := table(w, caught, refused, crsCaught, crsRefused, caughtReal, harmless)
	if err := reportPlaced(w, e, bad, good); err != nil {
		return false, err
	}
	if missFile != "" {
		if err := writeMisses(missFile, missed, wrong); err != nil {
			return false, err
		}
		fmt.Fprintf(w, "\n%d misses and %d false refusals in %s\n", len(missed), len(wrong), missFile)
	}
	return ok, nil
}

// engine judges with the product's engine.
func engine(e *inspect.Engine) judge {
	var s inspect.Scratch
	return func(v string, in sallyport.In) (bool, string) {
		s.Begin()
		f := e.CheckString(v, in, &s)
		return f.Hit(), strings.TrimSpace(fmt.Sprintf("%s %d %s", f.Rule, f.Score, f.Decoded))
	}
}

// thin keeps every nth sample of each group, so that about n remain.
func thin(all []sample, n int) []sample {
	if n < 0 {
		return all
	}
	size, seen := map[[2]string]int{}, map[[2]string]int{}
	for _, s := range all {
		size[[2]string{s.from, s.class}]++
	}
	var out []sample
	for _, s := range all {
		g := [2]string{s.from, s.class}
		if step := max(1, (size[g]+n-1)/n); seen[g]%step == 0 {
			out = append(out, s)
		}
		seen[g]++
	}
	return out
}

func table(w io.Writer, caught, refused, crsCaught, crsRefused, real results, harmless []sample) bool {
	ok := true
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RECALL by class\tsamples\tquery value\tJSON string\theader\ttuned on\theld out\tCoraza + CRS PL1, query value")
	for _, g := range caught.groups() {
		of := func(in sallyport.In) func(cell) bool {
			return func(k cell) bool { return k.from == g[0] && k.class == g[1] && k.in == in }
		}
		part := func(held bool) count {
			return caught.sum(func(k cell) bool { return k.from == g[0] && k.class == g[1] && k.held == held })
		}
		q := caught.sum(of(sallyport.InQuery))
		note := ""
		if q.of < smallest {
			note = " *"
		}
		fmt.Fprintf(tw, "%s %s%s\t%d\t%v\t%v\t%v\t%.2f %%\t%.2f %%\t%v\n", g[0], g[1], note, q.of, q, caught.sum(of(sallyport.InBody)), caught.sum(of(sallyport.InHeader)),
			100*part(false).share(), 100*part(true).share(), crsCaught.sum(of(sallyport.InQuery)))
	}
	any := func(cell) bool { return true }
	line := fmt.Sprintf("macro, classes ≥ %d\t", smallest)
	for _, in := range positions {
		m, _ := caught.macro(in, any)
		line += fmt.Sprintf("\t%.2f %%", 100*m)
		ok = ok && m >= wantRecall
	}
	for _, held := range []bool{false, true} {
		sum := 0.0
		for _, in := range positions {
			m, _ := caught.macro(in, func(k cell) bool { return k.held == held })
			sum += m / float64(len(positions))
		}
		line += fmt.Sprintf("\t%.2f %%", 100*sum)
	}
	m, _ := crsCaught.macro(sallyport.InQuery, any)
	fmt.Fprintf(tw, "%s\t%.2f %%\n", line, 100*m)
	line = fmt.Sprintf("the same without values that are no attack by themselves\t%d left out", len(harmless))
	for _, in := range positions {
		m, _ := real.macro(in, any)
		line += fmt.Sprintf("\t%.2f %%", 100*m)
	}
	fmt.Fprintln(tw, line)
	fmt.Fprintln(tw, "\nGENUINE REFUSED\tvalues\tquery value\tJSON string\theader\ttuned on\theld out\tCoraza + CRS PL1, query value")
	row := func(name string, match func(cell) bool) {
		of := func(r results, in sallyport.In) count {
			return r.sum(func(k cell) bool { return match(k) && k.in == in })
		}
		part := func(held bool) count { return refused.sum(func(k cell) bool { return match(k) && k.held == held }) }
		fmt.Fprintf(tw, "%s\t%d", name, of(refused, sallyport.InQuery).of)
		for _, in := range positions {
			fmt.Fprintf(tw, "\t%v", of(refused, in))
		}
		fmt.Fprintf(tw, "\t%.3f %%\t%.3f %%\t%v\n", 100*part(false).share(), 100*part(true).share(), of(crsRefused, sallyport.InQuery))
	}
	for _, g := range refused.groups() {
		row(g[0], func(k cell) bool { return k.from == g[0] })
	}
	row("all", any)
	tw.Flush()
	for _, in := range positions {
		c := refused.sum(func(k cell) bool { return k.in == in })
		ok = ok && c.share() <= wantRefused
	}
	if c := refused.sum(func(k cell) bool { return strings.HasSuffix(k.from, " requests") }); c.hits > 0 {
		ok = false
	}
	fmt.Fprintf(w, "\n* fewer than %d samples: listed, not in the average. Intervals are Wilson 95 %%. Target: recall ≥ %.0f %% in each position, ≤ %.1f %% refused, none of the recorded traffic: %s\n",
		smallest, 100*wantRecall, 100*wantRefused, map[bool]string{true: "met", false: "MISSED"}[ok])
	return ok
}

func writeMisses(name string, missed, wrong []miss) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the misses: %w", err)
	}
	defer f.Close()
	for _, m := range missed {
		part := "tuned"
		if m.held() {
			part = "held"
		}
		fmt.Fprintf(f, "missed\t%s %s\t%s\t%s\t%q\t%s\n", m.from, m.class, positionNames[m.in], part, m.value, reason(m.sample))
	}
	for _, m := range wrong {
		fmt.Fprintf(f, "refused\t%s\t%s\t\t%q\t%s\n", m.from, positionNames[m.in], m.value, m.why)
	}
	return nil
}

// reason says why a sample of a collection is no attack by itself, where that
// can be said of its shape. Nothing here changes a figure of the first table.
func reason(s sample) string {
	v := strings.ToLower(s.value)
	only := func(set string) bool { return strings.Trim(v, set) == "" }
	const word = "abcdefghijklmnopqrstuvwxyz0123456789"
	switch {
	case only(word + "-_"):
		return "a plain word or number"
	case only(word+"'\"`") && len(v) < 16:
		return "a word in quotes"
	case strings.HasSuffix(v, "{file}") && !strings.Contains(v, ".."):
		return "a path that ends in a placeholder and climbs nowhere"
	case s.class == "path-traversal" && !strings.ContainsAny(v, `/\\`):
		return "the separators were lost in the collection"
	case s.class == "xss" && !strings.ContainsAny(v, "<>") && !strings.ContainsAny(v, "(=;:"):
		return "a fragment without mark-up or code"
	}
	return ""
}
