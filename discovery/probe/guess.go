package probe

import (
	"bufio"
	"context"
	_ "embed"
	"net/url"
	"os"
	"slices"
	"strings"
)

// words.txt is our own list: lines with a slash are paths, others resources
// that are tried below each root that answers.
//
//go:embed words.txt
var wordsFile string

var (
	builtPaths     []string
	builtResources []string
)

func init() {
	for line := range strings.Lines(wordsFile) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '/':
			builtPaths = append(builtPaths, line)
		default:
			builtResources = append(builtResources, line)
		}
	}
}

// roots are where APIs usually begin.
var roots = []string{"/api", "/api/v1", "/v1", ""}

// adminRoots are where operations for a few usually begin, and adminWords what they are
// called; such routes are linked nowhere.
var (
	adminRoots = []string{"/admin", "/internal", "/internal/admin", "/api/admin", "/api/internal", "/api/v1/admin", "/v1/admin", "/_admin", "/private", "/ops"}
	adminWords = []string{"users", "accounts", "config", "settings", "export", "import", "backup", "logs", "audit", "debug", "jobs", "stats", "impersonate", "tokens", "keys", "flags", "health", "console"}
)

// guess tries, in this order, what a description names, what is linked, what is known
// from elsewhere, our own list, and the lists of the plan.
func (s *site) guess(ctx context.Context) {
	for _, o := range s.spec {
		if o.Method == "GET" && !strings.ContainsAny(o.Template, "{}") {
			if a := s.try(ctx, o.Template, "description"); a != nil {
				s.seen(o, a.status)
			}
		}
	}
	for _, l := range s.links {
		s.try(ctx, l, "link")
	}
	for _, p := range s.p.Vocabulary {
		if strings.HasPrefix(p, "/") && !strings.ContainsAny(p, "{}") {
			s.try(ctx, p, "vocabulary")
		}
	}
	if s.p.NoGuess {
		return
	}
	for _, p := range builtPaths {
		if s.dead || ctx.Err() != nil {
			return
		}
		if a := s.try(ctx, p, "guess"); a != nil && a.json() {
			s.follow(a)
		}
	}
	for _, r := range adminRoots {
		for _, w := range adminWords {
			s.try(ctx, r+"/"+w, "guess")
		}
	}
	resources := slices.Clone(builtResources)
	for _, p := range s.p.Vocabulary {
		if !strings.HasPrefix(p, "/") && !slices.Contains(resources, p) {
			resources = append(resources, p)
		}
	}
	// Roots at which something was found come beside the usual ones.
	below := slices.Clone(roots)
	for _, h := range s.hits {
		if r := apiRoot(h.path); r != "/" && !slices.Contains(below, r) && len(below) < 12 {
			below = append(below, r)
		}
		if p := strings.TrimSuffix(h.path, "/"); strings.Count(p, "/") == 1 && extension(p) == "" && (h.status == 401 || h.status == 403 || h.status >= 300 && h.status < 309) && !slices.Contains(below, p) && len(below) < 12 {
			below = append(below, p)
		}
	}
	for _, r := range below {
		for _, w := range resources {
			if s.dead || ctx.Err() != nil {
				return
			}
			if a := s.try(ctx, r+"/"+w, "guess"); a != nil && a.json() {
				s.follow(a)
			}
		}
	}
	for _, l := range s.links { // those that came since
		s.try(ctx, l, "link")
	}
	for _, file := range s.p.Words {
		s.list(ctx, file)
	}
}

// seen notes how a described operation answers.
func (s *site) seen(o Operation, status int) {
	for i := range s.spec {
		if s.spec[i].Method == o.Method && s.spec[i].Template == o.Template {
			s.spec[i].Status = status
		}
	}
}

// list tries each line of a file, of which one line at a time is held.
func (s *site) list(ctx context.Context, file string) {
	f, err := os.Open(file)
	if err != nil {
		s.note("word list: %v", err)
		return
	}
	defer f.Close()
	r := bufio.NewScanner(f)
	r.Buffer(make([]byte, 64<<10), 64<<10)
	for r.Scan() {
		if s.dead || ctx.Err() != nil || s.left <= 0 {
			return
		}
		p := strings.TrimSpace(r.Text())
		if p == "" || p[0] == '#' || len(p) > 1000 {
			continue
		}
		if p[0] != '/' {
			p = "/" + p
		}
		if u, err := url.Parse(p); err != nil || u.Host != "" {
			continue
		}
		if len(s.tried) > 50_000 {
			clear(s.tried) // what it saves is a second question, not memory
		}
		s.try(ctx, p, "guess")
	}
	if err := r.Err(); err != nil {
		s.note("word list %s: %v", file, err)
	}
}
