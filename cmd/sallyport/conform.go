package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport.dev/conformance"
	"sallyport.dev/spec"
)

type conformCmd struct {
	Of          string        `arg:"" name:"api|spec" help:"Name of an API in the configuration, or a description: file, folder or URL."`
	Config      string        `default:"sallyport.yaml" help:"Configuration that the name of an API is looked up in."`
	Target      string        `help:"Instance to test: http(s)://host[:port][/path]. Default: the only upstream of the API."`
	Profile     string        `enum:"safe,full,deep" default:"full" help:"safe reads, and changes only what it made itself; full is for an instance without users; deep is more of full."`
	Seeds       string        `help:"File with identities, refused credentials and example ids (YAML)."`
	Seed        uint64        `default:"1" help:"The same seed makes the same requests."`
	Skip        []string      `help:"Operations (\"DELETE /items/{id}\") and checks that are not run."`
	Format      string        `enum:"text,junit,sarif,json,html" default:"text" help:"Form of the report."`
	Output      string        `short:"o" help:"File that the report goes to. Default: standard output."`
	Requests    int           `help:"Most requests. Default 20000, safe 4000."`
	Rate        float64       `help:"Most requests a second. Default: as they come."`
	Time        time.Duration `help:"Longest time. Default 10m, safe 40s."`
	Latency     time.Duration `help:"Budget of an answer's time. Default 2s."`
	Header      []string      `sep:"none" help:"Header of every request, Name: value. Secrets as env: or file:."`
	Canary      string        `help:"Own address (host:port) that the target may reach, to catch server-side requests. Default 127.0.0.1, a free port."`
	Against     string        `help:"Older description: changes that break who keeps to it fail the check. Without --target only this is done."`
	StopCommand string        `help:"Shell command that tells the instance to stop, run last: what is in hand then must still be answered."`
	List        bool          `help:"List the kinds of check and end."`

	reportTo `embed:""`
}

// errFailed is a run that found something; its report has been written.
var errFailed = errors.New("the instance does not conform")

// seedsFile is what nobody can guess.
type seedsFile struct {
	Identities []identitySeed    `yaml:"identities"`
	Refused    []identitySeed    `yaml:"refused"`
	Examples   map[string]string `yaml:"examples"`
	Skip       []string          `yaml:"skip"`
}

type identitySeed struct {
	Name   string            `yaml:"name"`
	Role   string            `yaml:"role"`
	Token  string            `yaml:"token"`
	Tokens map[string]string `yaml:"tokens"`
	Scopes []string          `yaml:"scopes"`
}

func (k conformCmd) Run(ctx context.Context, s streams) error {
	if k.List {
		for _, c := range conformance.Checks() {
			fmt.Fprintf(s.out, "%-32s %-8s %-5s %-10s %-9s %s. %s\n", c.ID, c.Level, c.Profile(), c.OWASP, c.CWE, c.Title, c.Why)
		}
		return nil
	}
	p := conformance.Plan{API: k.Of, Target: k.Target, Profile: conformance.Profile(k.Profile), Seed: k.Seed, Skip: k.Skip, Latency: k.Latency, Canary: k.Canary,
		Budget: conformance.Budget{Requests: k.Requests, Rate: k.Rate, Time: k.Time}, Header: http.Header{}}
	api, image, err := k.reportTo.check(k.Of)
	if err != nil {
		return err
	}
	if image != "" {
		p.API = api
	}
	if err := k.seeds(&p); err != nil {
		return fmt.Errorf("%w: %v", errConfig, err)
	}
	for _, h := range k.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%w: --header wants Name: value", errConfig)
		}
		value, err := secretOr(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("%w: --header %s: %v", errConfig, name, err)
		}
		p.Header.Set(name, value)
	}
	if k.StopCommand != "" {
		p.Stop = func(ctx context.Context) error { return exec.CommandContext(ctx, "sh", "-c", k.StopCommand).Start() }
	}
	sources, o, err := k.sources(&p)
	if err != nil {
		return err
	}
	o.Keep = true
	if p.Spec, err = spec.Load(ctx, sources, o); err != nil {
		return &refused{err.Error()}
	}
	breaks, err := k.against(ctx, p.Spec)
	if err != nil {
		return err
	}
	if p.Target == "" && k.Against != "" && image == "" {
		r := &conformance.Report{API: k.Of, Profile: p.Profile, Seed: k.Seed, Passed: true, Started: time.Now(), NotRun: []string{"no instance was tested: give --target"}}
		r.Add(breaks)
		if err := k.write(r, s.out); err != nil {
			return err
		}
		if !r.Passed {
			return errFailed
		}
		return nil
	}
	if p.Target == "" {
		return fmt.Errorf("%w: %v", errConfig, errNoTarget)
	}
	terminal := false
	if f, ok := s.errs.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if terminal {
		p.Progress = func(stage string, requests, findings int) {
			fmt.Fprintf(s.errs, "\r%s: %d requests, %d findings ", stage, requests, findings)
		}
	}
	r, err := conformance.Run(ctx, p)
	if terminal {
		fmt.Fprint(s.errs, "\r\x1b[K")
	}
	if err != nil && r == nil {
		return fmt.Errorf("%w: %v", errConfig, err)
	}
	r.Add(breaks)
	if werr := k.write(r, s.out); werr != nil {
		return werr
	}
	if err == nil && image != "" {
		err = k.send(ctx, api, image, p.Spec, r, s.errs)
	}
	if err == nil && !r.Passed {
		err = errFailed
	}
	return err
}

func (k conformCmd) write(r *conformance.Report, out io.Writer) error {
	colour := false
	if f, ok := out.(*os.File); ok && k.Output == "" && os.Getenv("NO_COLOR") == "" {
		info, err := f.Stat()
		colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if k.Output == "" {
		return r.Write(out, k.Format, colour)
	}
	f, err := os.Create(k.Output)
	if err != nil {
		return err
	}
	if err := r.Write(f, k.Format, false); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// sources are the descriptions to test by: of a file, or of an API of the configuration.
func (k conformCmd) sources(p *conformance.Plan) ([]spec.Source, spec.Options, error) {
	if _, err := os.Stat(k.Of); err == nil || strings.Contains(k.Of, "://") {
		return []spec.Source{{Path: k.Of}}, spec.Options{}, nil
	}
	c, err := readConfig(k.Config)
	if c == nil || err != nil {
		if err == nil || os.IsNotExist(errors.Unwrap(err)) {
			err = fmt.Errorf("%w: %s is no file, and there is no configuration %s with an API of that name", errConfig, k.Of, k.Config)
		}
		return nil, spec.Options{}, err
	}
	for i := range c.APIs {
		a := &c.APIs[i]
		if a.Name != k.Of {
			continue
		}
		var out []spec.Source
		for _, s := range a.Spec {
			out = append(out, spec.Source{Path: s})
		}
		if len(out) == 0 {
			return nil, spec.Options{}, fmt.Errorf("%w: API %s has no specification to test by", errConfig, a.Name)
		}
		if p.Target == "" && len(a.Upstreams) == 1 {
			p.Target = a.Upstreams[0].URL
		}
		return out, spec.Options{Imports: a.GRPC.Imports}, nil
	}
	return nil, spec.Options{}, fmt.Errorf("%w: %s has no API %q", errConfig, k.Config, k.Of)
}

// seeds reads the file of what cannot be guessed.
func (k conformCmd) seeds(p *conformance.Plan) error {
	if k.Seeds == "" {
		return nil
	}
	file, err := os.Open(k.Seeds)
	if err != nil {
		return err
	}
	defer file.Close()
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return err
	}
	if len(b) > most {
		return fmt.Errorf("%s: larger than 1 MiB", k.Seeds)
	}
	var f seedsFile
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %v", k.Seeds, err)
	}
	identity := func(x identitySeed) (conformance.Identity, error) {
		out := conformance.Identity{Name: x.Name, Role: x.Role, Scopes: x.Scopes, Tokens: map[string]string{}}
		if x.Name == "" {
			return out, errors.New("an identity has no name")
		}
		var err error
		if out.Token, err = secretOnly(x.Token); err != nil {
			return out, fmt.Errorf("identity %s: %w", x.Name, err)
		}
		for scheme, t := range x.Tokens {
			if out.Tokens[scheme], err = secretOnly(t); err != nil {
				return out, fmt.Errorf("identity %s: %w", x.Name, err)
			}
		}
		return out, nil
	}
	for _, x := range f.Identities {
		i, err := identity(x)
		if err != nil {
			return fmt.Errorf("%s: %w", k.Seeds, err)
		}
		p.Identities = append(p.Identities, i)
	}
	for _, x := range f.Refused {
		i, err := identity(x)
		if err != nil {
			return fmt.Errorf("%s: %w", k.Seeds, err)
		}
		p.Refused = append(p.Refused, i)
	}
	p.Examples, p.Skip = f.Examples, append(p.Skip, f.Skip...)
	return nil
}

// secretOnly reads env:NAME or file:PATH; anything else would be a secret in a file.
func secretOnly(ref string) (string, error) {
	if ref != "" && !strings.HasPrefix(ref, "env:") && !strings.HasPrefix(ref, "file:") {
		return "", errors.New("write env:NAME or file:PATH for its token")
	}
	return secretOr(ref)
}

func secretOr(ref string) (string, error) {
	if strings.HasPrefix(ref, "env:") || strings.HasPrefix(ref, "file:") {
		return (&config{}).secret(ref)
	}
	return ref, nil
}
