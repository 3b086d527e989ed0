package nginx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

// A Door is an upstream of nginx in a file of its own, which the configuration
// includes in its http block. The file is written whole and put in place in one
// step; `nginx -t` judges the configuration with it before nginx is told to read
// it again, and when it does not pass, the file from before is put back. The
// file is the record: an nginx that is started again, or before us, serves by
// the instances that were admitted last.
//
// Requests in flight end in the workers that they are in.
type Door struct {
	File     string        // written; nobody else writes it
	Upstream string        // name of the upstream
	Lines    []string      // further directives of the upstream, such as "keepalive 32"
	Binary   string        // default nginx
	Config   string        // -c of nginx; "" = its own
	Prefix   string        // -p of nginx; "" = its own
	Wait     time.Duration // between two reloads that only open, at least; what closes does not wait. Default 1 s

	loaded string // what nginx has read, as far as we know
	last   time.Time
	tried  string // what did not pass, and when
	failed time.Time
	why    error
}

// Name tells it from all others.
func (d *Door) Name() string { return "nginx " + d.Upstream + " by " + d.File }

// Instances lists nothing: the file has what it is told.
func (d *Door) Instances(context.Context) ([]sallyport.Instance, error) { return nil, nil }

// nobody stands in an upstream that has nobody: nginx refuses an empty one.
const nobody = "    server 127.0.0.1:9 down; # nobody is admitted\n"

func (d *Door) text(list []netip.AddrPort) string {
	var b strings.Builder
	b.WriteString("# Written by sallyport; what is changed here is written over.\nupstream " + d.Upstream + " {\n")
	for _, a := range list {
		b.WriteString("    server " + a.String() + ";\n")
	}
	if len(list) == 0 {
		b.WriteString(nobody)
	}
	for _, l := range d.Lines {
		b.WriteString("    " + strings.TrimSuffix(l, ";") + ";\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// named are the servers of a file that we wrote; of any other nothing.
func named(text string) map[netip.AddrPort]bool {
	out := map[netip.AddrPort]bool{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "    server "); ok {
			if a, err := netip.ParseAddrPort(strings.TrimSuffix(strings.TrimSpace(rest), ";")); err == nil {
				out[a] = true
			}
		}
	}
	return out
}

// Apply has the upstream made of the instances that are admitted.
func (d *Door) Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	b, err := os.ReadFile(d.File)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read what was written: %w", err)
	}
	there, was := err == nil, string(b)
	has := named(was)
	shut, open := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for _, in := range list {
		if !in.Address.IsValid() {
			continue
		}
		switch {
		case in.Admission == sallyport.Admitted, in.Admission == "" && has[in.Address]:
			open[in.Address] = true
		case in.Admission != "":
			shut[in.Address] = true
		}
	}
	var serve []netip.AddrPort
	for a := range open {
		if !shut[a] {
			serve = append(serve, a)
		}
	}
	slices.SortFunc(serve, netip.AddrPort.Compare)
	text := d.text(serve)
	state := func(text string) (out []sallyport.Instance) {
		at := named(text)
		for _, in := range list {
			if in.Admission = sallyport.Held; at[in.Address] {
				in.Admission = sallyport.Admitted
			}
			out = append(out, in)
		}
		return out
	}
	now := time.Now()
	closes := d.loaded == ""
	for a := range named(d.loaded) {
		closes = closes || !slices.Contains(serve, a)
	}
	wait := cmp.Or(d.Wait, time.Second)
	switch {
	case text == d.loaded && text == was:
		return state(text), nil
	case text == d.tried && now.Sub(d.failed) < 5*time.Second:
		return state(d.loaded), d.why
	case !closes && now.Sub(d.last) < wait:
		return state(d.loaded), nil // the next look has it, with what else is to be opened
	}
	fail := func(err error) ([]sallyport.Instance, error) {
		d.tried, d.failed, d.why = text, now, err
		return state(d.loaded), err
	}
	if text != was {
		if err := replace(d.File, []byte(text)); err != nil {
			return fail(fmt.Errorf("write the upstream: %w", err))
		}
	}
	if err := d.run(ctx, "-t", "-q"); err != nil {
		if text != was {
			back := os.Remove(d.File)
			if there {
				back = replace(d.File, b)
			}
			err = errors.Join(err, back)
		}
		return fail(fmt.Errorf("nginx does not take the configuration, which is put back: %w", err))
	}
	if err := d.run(ctx, "-s", "reload"); err != nil {
		return fail(fmt.Errorf("nginx is not told: %w", err))
	}
	d.loaded, d.last, d.tried = text, now, ""
	return state(text), nil
}

// run runs nginx and gives what it says when it fails.
func (d *Door) run(ctx context.Context, args ...string) error {
	bin := cmp.Or(d.Binary, "nginx")
	if d.Prefix != "" {
		args = append(args, "-p", d.Prefix)
	}
	if d.Config != "" {
		args = append(args, "-c", d.Config)
	}
	c := exec.CommandContext(ctx, bin, args...)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		if len(out) > 300 {
			out = out[:300]
		}
		return fmt.Errorf("%w: %s", err, bytes.Join(bytes.Fields(out), []byte(" ")))
	}
	return nil
}

// replace puts a file in place in one step.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sallyport-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
