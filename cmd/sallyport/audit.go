package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/classify"
	"sallyport.dev/spec/audit"
)

type auditCmd struct {
	Specs  []string `arg:"" optional:"" name:"spec" help:"Descriptions: files, folders or URLs."`
	Format string   `enum:"text,json,sarif,junit" default:"text" help:"Form of the report."`
	Output string   `short:"o" help:"File that the report goes to. Default: standard output."`
	FailOn string   `enum:"info,low,medium,high,critical,never" default:"high" help:"Exit 1 when a finding is this severe or worse."`
	Ignore []string `sep:"none" help:"check@place=reason: a finding that does not count. The place is a path, an operation, file:line, or *."`
	Most   int      `default:"100" help:"Findings listed of one check; more are counted."`
	Rules  bool     `help:"List the checks and end."`
}

// Help says what no flag says.
func (auditCmd) Help() string {
	return `Reads OpenAPI 2.0 to 3.2 and AsyncAPI documents as a reviewer of security would.
Nothing is called, and references to other documents are not followed.`
}

var errAudit = errors.New("the audit found what it fails on")

// classOf is what a name speaks of.
func classOf(name string) string { return string(classify.Name(name)) }

func (k auditCmd) Run(ctx context.Context, s streams) error {
	if k.Rules {
		for _, c := range audit.Checks() {
			fmt.Fprintf(s.out, "%-32s %-8s %-28s %s\n", c.ID, c.Severity, strings.Join(c.Refs, " "), c.Title)
		}
		return nil
	}
	if len(k.Specs) == 0 {
		return fmt.Errorf("%w: name a description", errConfig)
	}
	var ignore []audit.Ignore
	for _, x := range k.Ignore {
		ig, err := audit.ParseIgnore(x)
		if err != nil {
			return fmt.Errorf("%w: --ignore: %v", errConfig, err)
		}
		ignore = append(ignore, ig)
	}
	files, err := descriptions(k.Specs)
	if err != nil {
		return fmt.Errorf("%w: %v", errConfig, err)
	}
	unused := map[audit.Ignore]int{}
	var reports []*audit.Report
	for _, f := range files {
		data, err := readDescription(ctx, f)
		if err != nil {
			return fmt.Errorf("%w: %v", errConfig, err)
		}
		r, err := audit.Audit(f, data, audit.Options{Classify: classOf, Most: k.Most})
		if err != nil {
			return fmt.Errorf("%w: %v", errConfig, err)
		}
		for _, ig := range r.Ignore(ignore) {
			unused[ig]++
		}
		reports = append(reports, r)
	}
	for ig, n := range unused {
		if n == len(reports) {
			fmt.Fprintf(s.errs, "sallyport: --ignore %s@%s speaks of nothing\n", ig.ID, ig.At)
		}
	}
	out := s.out
	if k.Output != "" {
		f, err := os.Create(k.Output)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	if err := audit.Write(out, k.Format, reports); err != nil {
		return err
	}
	for _, r := range reports {
		if w := r.Worst(); k.FailOn != "never" && w != "" && audit.AtLeast(w, sallyport.Severity(k.FailOn)) {
			return errAudit
		}
	}
	return nil
}

// descriptions lists the documents among files, folders and URLs.
func descriptions(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		info, err := os.Stat(n)
		if strings.HasPrefix(n, "http://") || strings.HasPrefix(n, "https://") || err == nil && !info.IsDir() {
			out = append(out, n)
			continue
		}
		if err != nil {
			return nil, err
		}
		before := len(out)
		err = filepath.WalkDir(n, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && p != n && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			if ext := filepath.Ext(p); d.Type().IsRegular() && (ext == ".yaml" || ext == ".yml" || ext == ".json") && describes(p) {
				if out = append(out, p); len(out)-before > 2000 {
					return fmt.Errorf("%s holds more than 2000 documents", n)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s holds no OpenAPI or AsyncAPI document", n)
		}
	}
	return out, nil
}

// describes reports whether a file looks like a description by how it begins.
func describes(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, 4<<10))
	return strings.Contains(string(head), "openapi") || strings.Contains(string(head), "swagger") || strings.Contains(string(head), "asyncapi")
}

const maxDescription = 64 << 20

func readDescription(ctx context.Context, name string) ([]byte, error) {
	var from io.ReadCloser
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
		if err != nil {
			return nil, err
		}
		answer, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
		if err != nil {
			return nil, err
		}
		if from = answer.Body; answer.StatusCode != http.StatusOK {
			from.Close()
			return nil, fmt.Errorf("%s answers %s", name, answer.Status)
		}
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		from = f
	}
	defer from.Close()
	data, err := io.ReadAll(io.LimitReader(from, maxDescription+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDescription {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxDescription>>20)
	}
	return data, nil
}
