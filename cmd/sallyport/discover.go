package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sallyport.dev/discovery/probe"
)

type discoverCmd struct {
	Targets      []string      `arg:"" optional:"" name:"target" help:"Host, *.domain, address, range (10.0.0.0/24) or URL."`
	Yes          bool          `help:"You may scan these targets: needed outside of loopback and private ranges."`
	Exclude      []string      `help:"Targets that are never asked."`
	Ports        []int         `help:"Ports. Default some sixty that APIs use."`
	Rate         float64       `default:"100" help:"Most connections and requests a second, all hosts together."`
	Budget       int           `default:"4000" help:"Most requests to one address."`
	HostTime     time.Duration `default:"10m" help:"Longest time for one address."`
	Timeout      time.Duration `default:"5s" help:"Longest time for one answer."`
	Parallel     int           `default:"16" help:"Addresses looked at together."`
	IgnoreRobots bool          `help:"Ask what robots.txt disallows too. Opt-outs are honoured all the same."`
	Words        []string      `type:"path" help:"File with a path a line to try besides the built-in list, of any size."`
	NoGuess      bool          `help:"Try what is described and linked alone."`
	State        string        `type:"path" help:"File that the progress is kept in; the same command goes on from there."`
	Ranges       []string      `type:"path" help:"Files with address ranges of hosting providers, as they publish them."`
	Contact      string        `help:"Who scans, said in User-Agent."`
	Only         []string      `help:"Rules that are tried. Default all."`
	JSON         bool          `help:"Print the report as JSON."`
	List         bool          `help:"List the rules and end."`
}

func (d discoverCmd) Run(ctx context.Context, s streams) error {
	if d.List {
		for _, r := range probe.Rules() {
			fmt.Fprintf(s.out, "%-32s %-8s %s  [%s]\n", r.ID, r.Severity, r.Title, strings.Join(r.Refs, ", "))
		}
		return nil
	}
	p := probe.Plan{Targets: d.Targets, Exclude: d.Exclude, Ports: d.Ports, Consent: d.Yes, Rate: d.Rate, Budget: d.Budget, HostTime: d.HostTime, Timeout: d.Timeout, Parallel: d.Parallel,
		IgnoreRobots: d.IgnoreRobots, Words: d.Words, NoGuess: d.NoGuess, State: d.State, Ranges: d.Ranges, Contact: d.Contact, Rules: d.Only}
	p.Begin = func(st probe.Stated) error {
		out := s.out
		if d.JSON {
			out = s.errs
		}
		writeScope(out, st)
		return nil
	}
	terminal := false
	if f, ok := s.errs.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if terminal {
		p.Progress = func(g probe.Progress) {
			fmt.Fprintf(s.errs, "\r\x1b[K%d of %d hosts, %d ports open, %d requests, %d APIs, %d findings", g.Done, g.Hosts, g.Open, g.Requests, g.APIs, g.Findings)
		}
	}
	r, err := probe.Run(ctx, p)
	if terminal {
		fmt.Fprint(s.errs, "\r\x1b[K")
	}
	if errors.Is(err, probe.ErrConsent) {
		return fmt.Errorf("%w: %v (--yes)", errConfig, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", errConfig, err)
	}
	if d.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		writeScan(s.out, r)
	}
	if err == nil && r.Partial {
		err = errors.New("the scan was interrupted; what is above is what was found by then")
	}
	return err
}

// writeScope says what is about to be asked.
func writeScope(out io.Writer, st probe.Stated) {
	fmt.Fprintf(out, "scope    %s: %d addresses, %d ports each\n", strings.Join(st.Targets, ", "), st.Addresses, st.Ports)
	if len(st.Excluded) > 0 {
		fmt.Fprintf(out, "without  %s\n", strings.Join(st.Excluded, ", "))
	}
	if len(st.Outside) > 0 {
		fmt.Fprintf(out, "consent  given for %s\n", strings.Join(st.Outside, ", "))
	}
	robots := "robots.txt is respected"
	if !st.Robots {
		robots = "robots.txt is not respected"
	}
	fmt.Fprintf(out, "bounds   %g a second, %d requests and %s a host; %s; questions that change nothing\n", st.Rate, st.Budget, st.HostTime, robots)
}

// writeScan prints a report for people.
func writeScan(out io.Writer, r *probe.Report) {
	for _, h := range r.Hosts {
		name := h.Address
		if len(h.Names) > 0 {
			name += " (" + strings.Join(h.Names, ", ") + ")"
		}
		fmt.Fprintf(out, "\n%s\n", name)
		for _, x := range h.Services {
			fmt.Fprintf(out, "  port %-5d %s", x.Port, x.Protocol)
			if x.Server != "" {
				fmt.Fprintf(out, "  %s", x.Server)
			}
			if x.TLS != nil {
				fmt.Fprintf(out, "  %s", strings.Join(x.TLS.Versions, ", "))
			}
			fmt.Fprintln(out)
		}
		if g := h.Hosting; g != nil {
			fmt.Fprintf(out, "  hosting    %s\n", strings.Join(strings.Fields(strings.Join([]string{g.Provider, g.Region, g.Front}, " ")), " · ")+" ("+strings.Join(g.Evidence, "; ")+")")
		}
		for _, n := range h.Notes {
			fmt.Fprintf(out, "  note       %s\n", n)
		}
		for _, a := range r.APIs {
			if !strings.HasPrefix(a.Address, h.Address+":") && !strings.HasPrefix(a.Address, "["+h.Address+"]:") {
				continue
			}
			fmt.Fprintf(out, "  %-10s %s  %d operations", a.Kind, a.URL, len(a.Operations))
			if a.Title != "" {
				fmt.Fprintf(out, "  %q %s", a.Title, a.Version)
			}
			fmt.Fprintf(out, "\n             %s\n", strings.Join(a.Evidence[:min(2, len(a.Evidence))], "; "))
		}
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(out, "\nfindings")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(out, "  %-8s %-30s %s %s  %s\n", f.Severity, f.Rule, f.Asset.Address, f.Place, f.Title)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note  %s\n", n)
	}
	fmt.Fprintf(out, "\n%d hosts, %d APIs, %d findings, %d requests\n", len(r.Hosts), len(r.APIs), len(r.Findings), r.Requests)
}
