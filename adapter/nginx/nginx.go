// Package nginx reads configurations of nginx: the files, with what they
// include, or one dump of `nginx -T`. Out go claims about what is served under
// which host and path, and by which instances. A Catalogue runs nothing, and what it
// can't resolve (patterns, variables that a request sets) it leaves out.
//
// A Door writes one upstream file, by the instances of an API that the gate has
// admitted, and runs nginx to have it judged and read.
package nginx

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

// Bounds of one configuration.
const (
	maxFileBytes  = 8 << 20
	maxTotalBytes = 64 << 20
	maxFiles      = 2000
	maxDepth      = 32
	maxClaims     = 100_000
)

// A Catalogue is one configuration.
type Catalogue struct {
	ID    string        // Name; by default "nginx:" and File
	File  string        // nginx.conf, or a dump
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "nginx:"+c.File) }

// Watch tells what is served, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

// A directive with where it stands; block is nil when it has none.
type directive struct {
	name  string
	args  []string
	block []directive
	at    string
}

func (c *Catalogue) read(context.Context) ([]sallyport.Claim, error) {
	p := &parser{dir: filepath.Dir(c.File), dump: map[string]string{}}
	text, err := p.file(c.File)
	if err != nil {
		return nil, fmt.Errorf("read nginx: %w", err)
	}
	name := c.File
	if strings.Contains(text, "# configuration file ") {
		name, text = p.split(text, c.File)
	}
	tree, err := p.parse(name, text, 0)
	if err != nil {
		return nil, fmt.Errorf("read nginx: %w", err)
	}
	r := &reader{source: c.Name(), now: time.Now(), vars: map[string][]string{}, upstreams: map[string][]string{}}
	r.http(tree)
	return r.out, nil
}

type parser struct {
	dir   string
	dump  map[string]string // of nginx -T: the files in it
	stack []string
	files int
	bytes int
}

func (p *parser) file(name string) (string, error) {
	if text, ok := p.dump[name]; ok {
		return text, nil
	}
	if len(p.dump) > 0 {
		return "", fmt.Errorf("%s is not in the dump", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxFileBytes {
		return "", fmt.Errorf("%s: larger than %d bytes", name, maxFileBytes)
	}
	if p.bytes += len(b); p.bytes > maxTotalBytes {
		return "", fmt.Errorf("%s: all files together are larger than %d bytes", name, maxTotalBytes)
	}
	return string(b), nil
}

// split takes a dump apart into the files it is made of.
func (p *parser) split(text, file string) (first, body string) {
	for part := range strings.SplitSeq("\n"+text, "\n# configuration file ") {
		name, body, ok := strings.Cut(part, ":\n")
		if !ok || strings.ContainsAny(name, "\n;{") {
			continue
		}
		if first == "" {
			first, p.dir = name, filepath.Dir(name)
		}
		p.dump[name] = body
	}
	if first == "" {
		return file, text
	}
	return first, p.dump[first]
}

// word is a part of a directive, "" with end set where a sign stands.
type scanner struct {
	s    string
	i    int
	line int
}

func (s *scanner) next() (text string, sign byte, ok bool) {
	for s.i < len(s.s) {
		switch c := s.s[s.i]; c {
		case '\n':
			s.line++
			s.i++
		case ' ', '\t', '\r':
			s.i++
		case '#':
			for s.i < len(s.s) && s.s[s.i] != '\n' {
				s.i++
			}
		case ';', '{', '}':
			s.i++
			return "", c, true
		case '"', '\'':
			var b strings.Builder
			for s.i++; s.i < len(s.s) && s.s[s.i] != c; s.i++ {
				if s.s[s.i] == '\\' && s.i+1 < len(s.s) {
					s.i++
				}
				if s.s[s.i] == '\n' {
					s.line++
				}
				b.WriteByte(s.s[s.i])
			}
			s.i++
			return b.String(), 0, true
		default:
			start := s.i
			for s.i < len(s.s) && !strings.ContainsRune(" \t\r\n;{}", rune(s.s[s.i])) {
				if s.s[s.i] == '\\' {
					s.i++
				} else if s.s[s.i] == '$' && s.i+1 < len(s.s) && s.s[s.i+1] == '{' {
					for s.i < len(s.s) && s.s[s.i] != '}' {
						s.i++
					}
				}
				s.i++
			}
			s.i = min(s.i, len(s.s))
			return s.s[start:s.i], 0, true
		}
	}
	return "", 0, false
}

func (p *parser) parse(name, text string, depth int) ([]directive, error) {
	if p.files++; p.files > maxFiles || depth > maxDepth {
		return nil, fmt.Errorf("%s: more than %d files, or included more than %d deep", name, maxFiles, maxDepth)
	}
	if slices.Contains(p.stack, name) {
		return nil, fmt.Errorf("%s includes itself", name)
	}
	p.stack = append(p.stack, name)
	defer func() { p.stack = p.stack[:len(p.stack)-1] }()
	s := &scanner{s: text, line: 1}
	list, closed, err := p.block(s, name, depth, 0)
	if err == nil && closed {
		err = fmt.Errorf("%s:%d: } without {", name, s.line)
	}
	return list, err
}

func (p *parser) block(s *scanner, name string, depth, nest int) (list []directive, closed bool, err error) {
	if nest > maxDepth {
		return nil, false, fmt.Errorf("%s:%d: blocks more than %d deep", name, s.line, maxDepth)
	}
	var words []string
	line := 0
	for {
		text, sign, ok := s.next()
		if !ok {
			if len(words) > 0 || nest > 0 {
				return nil, false, fmt.Errorf("%s:%d: ends in the middle of a directive or block", name, s.line)
			}
			return list, false, nil
		}
		if sign == 0 {
			if len(words) == 0 {
				line = s.line
			}
			words = append(words, text)
			continue
		}
		if sign == '}' {
			if len(words) > 0 {
				return nil, false, fmt.Errorf("%s:%d: } in the middle of a directive", name, s.line)
			}
			return list, true, nil
		}
		if len(words) == 0 {
			if sign == ';' {
				continue
			}
			words, line = []string{""}, s.line
		}
		d := directive{name: words[0], args: words[1:], at: fmt.Sprintf("%s:%d", name, line)}
		words = nil
		if sign == '{' {
			if strings.HasSuffix(d.name, "_by_lua_block") { // another language
				s.lua()
				continue
			}
			var closed bool
			if d.block, closed, err = p.block(s, name, depth, nest+1); err != nil {
				return nil, false, err
			}
			if !closed {
				return nil, false, fmt.Errorf("%s: block is not closed", d.at)
			}
			if d.block == nil {
				d.block = []directive{}
			}
		} else if d.name == "include" && len(d.args) == 1 {
			more, err := p.include(d, depth)
			if err != nil {
				return nil, false, err
			}
			list = append(list, more...)
			continue
		}
		list = append(list, d)
	}
}

func (s *scanner) lua() {
	for depth := 1; s.i < len(s.s) && depth > 0; s.i++ {
		switch s.s[s.i] {
		case '{':
			depth++
		case '}':
			depth--
		case '\n':
			s.line++
		}
	}
}

func (p *parser) include(d directive, depth int) ([]directive, error) {
	pattern := d.args[0]
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(p.dir, pattern)
	}
	var names []string
	if len(p.dump) > 0 {
		for name := range p.dump {
			if ok, _ := filepath.Match(pattern, name); ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	} else {
		var err error
		if names, err = filepath.Glob(pattern); err != nil {
			return nil, fmt.Errorf("%s: %w", d.at, err)
		}
	}
	if len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
		return nil, fmt.Errorf("%s: there is no %s", d.at, pattern)
	}
	var out []directive
	for _, name := range names {
		text, err := p.file(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.at, err)
		}
		more, err := p.parse(name, text, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

type reader struct {
	source    string
	now       time.Time
	upstreams map[string][]string // name → servers that are not down
	vars      map[string][]string // what a variable may be, by map and set
	out       []sallyport.Claim
}

func (r *reader) http(tree []directive) {
	for _, d := range tree { // names may be used before they are defined
		switch d.name {
		case "upstream":
			if len(d.args) == 1 {
				for _, s := range d.block {
					if s.name == "server" && len(s.args) > 0 && !slices.Contains(s.args, "down") {
						r.upstreams[d.args[0]] = append(r.upstreams[d.args[0]], port(s.args[0], "80"))
					}
				}
			}
		case "map":
			if len(d.args) == 2 {
				for _, v := range d.block {
					if len(v.args) == 1 && v.name != "include" && v.name != "hostnames" {
						r.vars[d.args[1]] = append(r.vars[d.args[1]], v.args[0])
					}
				}
			}
		}
	}
	for _, d := range tree {
		switch d.name {
		case "http":
			r.http(d.block)
		case "server":
			r.server(d)
		}
	}
}

// A place is what a location inherits.
type place struct {
	hosts   []string
	path    string
	tls     []string
	auth    []string
	mtls    bool
	pattern bool
}

func (r *reader) server(d directive) {
	p := place{}
	tls := false
	for _, x := range d.block {
		switch x.name {
		case "server_name":
			for _, h := range x.args {
				h = strings.ToLower(strings.TrimPrefix(h, "."))
				if h != "" && h != "_" && h[0] != '~' && !strings.Contains(h, "$") {
					p.hosts = append(p.hosts, h)
				}
			}
		case "listen":
			tls = tls || slices.Contains(x.args, "ssl") || slices.Contains(x.args, "quic")
		case "ssl_protocols":
			p.tls = x.args
		}
	}
	if !tls {
		p.tls = nil
	}
	r.location(d, p)
}

func (r *reader) location(d directive, p place) {
	vars := r.vars
	for _, x := range d.block {
		switch x.name {
		case "auth_basic":
			p.auth = nil
			if len(x.args) == 1 && x.args[0] != "off" {
				p.auth = []string{"basic"}
			}
		case "auth_jwt":
			p.auth = []string{"oidc"}
		case "ssl_verify_client":
			p.mtls = len(x.args) == 1 && x.args[0] == "on"
		case "set":
			if len(x.args) == 2 {
				next := make(map[string][]string, len(vars)+1)
				for k, v := range vars {
					next[k] = v
				}
				next[x.args[0]] = []string{x.args[1]}
				vars = next
			}
		}
	}
	keep := r.vars
	r.vars = vars
	defer func() { r.vars = keep }()
	for _, x := range d.block {
		switch x.name {
		case "proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass":
			if len(x.args) == 1 {
				r.pass(x, p)
			}
		case "location":
			in := p
			switch {
			case len(x.args) == 1 && !strings.HasPrefix(x.args[0], "@"):
				in.path = x.args[0]
			case len(x.args) == 2 && (x.args[0] == "=" || x.args[0] == "^~"):
				in.path = x.args[1]
			case len(x.args) == 2: // a pattern: what begins it, as far as it is plain
				in.path, in.pattern = beginning(x.args[1]), true
			default:
				continue
			}
			r.location(x, in)
		case "if", "limit_except":
			r.location(x, p)
		}
	}
}

// beginning is the plain path that a pattern begins with.
func beginning(pattern string) string {
	s, ok := strings.CutPrefix(pattern, "^")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(s, `\.[(*+?{|$`); i >= 0 {
		s = s[:i]
		s = s[:strings.LastIndexByte(s, '/')+1]
	}
	return s
}

func (r *reader) pass(d directive, p place) {
	sure := 0.9
	if p.pattern {
		sure = 0.6
	}
	var servers []string
	for _, target := range r.expand(d.args[0], 0) {
		servers = append(servers, r.servers(target, d.name)...)
	}
	hosts := p.hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, host := range hosts {
		asset := sallyport.Asset{Host: host, Path: strings.TrimRight(p.path, "/")}
		if host == "" && asset.Path == "" {
			if len(servers) == 0 {
				continue
			}
			asset.Address = servers[0]
		}
		say := func(field, value string) {
			if len(r.out) < maxClaims {
				r.out = append(r.out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: r.source, Confidence: sure, Evidence: d.at, Time: r.now})
			}
		}
		say("gateways", "nginx")
		if host != "" {
			say("hosts", host)
		}
		for _, s := range servers {
			say("instances", s)
		}
		for _, v := range p.tls {
			say("tls.versions", v)
		}
		for _, a := range p.auth {
			say("auth.declared", a)
		}
		if p.mtls {
			say("mtls", "true")
		}
		if d.name == "grpc_pass" {
			say("kind", "grpc")
		}
	}
}

// expand puts the values of variables in; what stays unknown gives nothing.
func (r *reader) expand(s string, depth int) []string {
	i := strings.IndexByte(s, '$')
	if i < 0 {
		return []string{s}
	}
	if depth > 4 {
		return nil
	}
	j := i + 1
	if j < len(s) && s[j] == '{' {
		j++
	}
	k := j
	for k < len(s) && (s[k] == '_' || s[k] >= '0' && s[k] <= '9' || s[k] >= 'a' && s[k] <= 'z' || s[k] >= 'A' && s[k] <= 'Z') {
		k++
	}
	name, rest := "$"+s[j:k], s[k:]
	rest = strings.TrimPrefix(rest, "}")
	if name == "$request_uri" || name == "$uri" || name == "$is_args" || name == "$args" {
		return r.expand(s[:i]+rest, depth+1)
	}
	var out []string
	for _, v := range r.vars[name] {
		if len(out) < 100 {
			out = append(out, r.expand(s[:i]+v+rest, depth+1)...)
		}
	}
	return out
}

func (r *reader) servers(target, how string) []string {
	usual := "80"
	if rest, ok := strings.CutPrefix(target, "unix:"); ok {
		return []string{"unix:" + rest}
	}
	host := target
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		host = u.Host
		if u.Scheme == "https" || u.Scheme == "grpcs" {
			usual = "443"
		}
	} else if strings.Contains(target, "://") {
		return nil
	}
	host, _, _ = strings.Cut(host, "/")
	if list, ok := r.upstreams[host]; ok {
		return list
	}
	if host == "" {
		return nil
	}
	return []string{port(host, usual)}
}

// port puts a port behind an address that has none.
func port(addr, usual string) string {
	if strings.HasPrefix(addr, "unix:") {
		return addr
	}
	if i := strings.LastIndexByte(addr, ':'); i > strings.LastIndexByte(addr, ']') {
		if _, err := strconv.Atoi(addr[i+1:]); err == nil {
			return addr
		}
	}
	return addr + ":" + usual
}
