// Package codeowners reads CODEOWNERS files in the syntax of GitHub and GitLab.
// In comes the path of an API's code or specification in a repository; out go
// claims about who owns it: the first owner as the team, others as contacts.
package codeowners

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

const (
	maxBytes = 3 << 20 // GitHub's own bound
	maxFiles = 5000    // looked at below a folder
)

// A Catalogue tells the owners of one path.
type Catalogue struct {
	ID    string        // Name; by default "codeowners:" and Path
	Path  string        // folder or file in a working tree
	API   string        // the API that it is of
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "codeowners:"+c.Path) }

// Watch tells the owners, and what becomes of them, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

// A Rule gives the paths that a pattern matches to owners; with no owners it
// takes them from everybody.
type Rule struct {
	Pattern string
	Owners  []string
	Line    int
}

// Parse reads a file: of rules that match a path the last one counts. Sections
// of GitLab give their owners to rules that name none.
func Parse(text string) []Rule {
	var out []Rule
	var usual []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		w := fields(line)
		if len(w) == 0 {
			continue
		}
		if h := strings.TrimPrefix(w[0], "^"); strings.HasPrefix(h, "[") && strings.Contains(line, "]") {
			usual = nil
			_, rest, _ := strings.Cut(line, "]")
			if r := strings.TrimSpace(rest); strings.HasPrefix(r, "[") {
				_, rest, _ = strings.Cut(r, "]")
			}
			usual = owners(fields(rest))
			continue
		}
		r := Rule{Pattern: w[0], Owners: owners(w[1:]), Line: n}
		if len(r.Owners) == 0 {
			r.Owners = usual
		}
		out = append(out, r)
	}
	return out
}

func owners(w []string) []string {
	var out []string
	for _, x := range w {
		if strings.Contains(x, "@") {
			out = append(out, x)
		}
	}
	return out
}

// fields cuts a line at spaces that no backslash stands before; # begins a comment.
func fields(line string) []string {
	var out []string
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == '#':
			i = len(line)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if b.Len() > 0 {
				out = append(out, b.String())
				b.Reset()
			}
		default:
			b.WriteByte(c)
		}
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out
}

// Owners finds the rule that counts for a path with slashes, relative to the
// repository; nil when none does.
func Owners(rules []Rule, path string) *Rule {
	for i := len(rules) - 1; i >= 0; i-- {
		if matches(rules[i].Pattern, path) {
			return &rules[i]
		}
	}
	return nil
}

// matches reports whether pattern, as of gitignore, covers path.
func matches(pattern, path string) bool {
	folder := strings.HasSuffix(pattern, "/")
	p := strings.Trim(pattern, "/")
	anchored := strings.HasPrefix(pattern, "/") || strings.Contains(p, "/")
	if p == "" {
		return folder && pattern == "/"
	}
	want, have := strings.Split(p, "/"), strings.Split(path, "/")
	if len(want) > 64 || len(have) > 256 {
		return false
	}
	if !anchored {
		want = append([]string{"**"}, want...)
	}
	budget := 100_000
	return glob(want, have, folder, &budget)
}

func glob(want, have []string, folder bool, budget *int) bool {
	if *budget--; *budget < 0 {
		return false
	}
	if len(want) == 0 {
		return len(have) > 0 || !folder // what is below a folder that matches
	}
	if want[0] == "**" {
		if len(want) == 1 {
			return len(have) > 0
		}
		for i := 0; i <= len(have); i++ {
			if glob(want[1:], have[i:], folder, budget) {
				return true
			}
		}
		return false
	}
	if len(have) == 0 {
		return false
	}
	if ok, err := filepath.Match(want[0], have[0]); err != nil || !ok {
		return false
	}
	if len(want) == 1 && want[0] == "*" && !folder {
		return len(have) == 1 // docs/* covers no folder below docs
	}
	return glob(want[1:], have[1:], folder, budget)
}

// find gives the CODEOWNERS file that counts for path: the one nearest above it
// in the places that the two servers look in.
func find(path string) (root, file string, err error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return "", "", err
	}
	if info, err := os.Stat(dir); err != nil {
		return "", "", err
	} else if !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	for range 64 {
		for _, place := range []string{".github/CODEOWNERS", "CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS"} {
			name := filepath.Join(dir, place)
			if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
				return dir, name, nil
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil || dir == filepath.Dir(dir) {
			break // nothing above the repository is its own
		}
		dir = filepath.Dir(dir)
	}
	return "", "", errors.New("there is no CODEOWNERS file in the repository")
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	root, file, err := find(c.Path)
	if err != nil {
		return nil, fmt.Errorf("read owners of %s: %w", c.Path, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxBytes)
	}
	rules := Parse(string(b))
	// Of a folder: the rule that counts for most of its files.
	counts := map[*Rule]int{}
	total := 0
	start, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(start, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil
		case d.IsDir() && name != start && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		case total >= maxFiles:
			return fs.SkipAll
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return nil
		}
		total++
		if r := Owners(rules, filepath.ToSlash(rel)); r != nil {
			counts[r]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var best *Rule
	for r, n := range counts {
		if best == nil || n > counts[best] || n == counts[best] && r.Line > best.Line {
			best = r
		}
	}
	if best == nil || len(best.Owners) == 0 {
		return nil, nil
	}
	sure := 0.85 * float64(counts[best]) / float64(total)
	at := fmt.Sprintf("%s:%d", file, best.Line)
	var out []sallyport.Claim
	say := func(field, value string) {
		out = append(out, sallyport.Claim{Asset: sallyport.Asset{API: c.API}, Field: field, Value: value, Source: c.Name(), Confidence: sure, Evidence: at, Time: time.Now()})
	}
	team := slices.IndexFunc(best.Owners, func(o string) bool { return strings.HasPrefix(o, "@") })
	for i, o := range best.Owners {
		switch {
		case i == team:
			say("owner.team", strings.TrimPrefix(o, "@"))
		case !strings.HasPrefix(o, "@") && !slices.ContainsFunc(best.Owners[:i], func(x string) bool { return !strings.HasPrefix(x, "@") }):
			say("owner.contact", o)
		default:
			say("contacts", o)
		}
	}
	return out, nil
}
