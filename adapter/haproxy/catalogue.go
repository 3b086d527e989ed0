package haproxy

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
)

const maxBytes = 16 << 20

// A Catalogue is a configuration file, or a runtime socket.
type Catalogue struct {
	ID    string        // Name; by default "haproxy:" and At
	At    string        // file, unix:PATH or tcp://host:port of a runtime socket
	API   string        // what is behind it; "" = by hosts and addresses
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "haproxy:"+c.At) }

// Watch tells what is served, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	if strings.HasPrefix(c.At, "unix:") || strings.HasPrefix(c.At, "tcp://") {
		return c.runtime(ctx)
	}
	f, err := os.Open(c.At)
	if err != nil {
		return nil, fmt.Errorf("read haproxy: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read haproxy: %w", err)
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("read haproxy: %s: larger than %d bytes", c.At, maxBytes)
	}
	return c.file(string(b)), nil
}

type section struct {
	kind, name string
	acls       map[string][]condition
	uses       []use
	servers    []string
	tls        bool
	mtls       bool
}

type condition struct {
	host, path string
}

type use struct {
	backend string
	names   []string // of ACLs, all of which must hold
	line    int
}

// words cuts a line, quotes and comments understood.
func words(line string) []string {
	var out []string
	var b strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			in = true
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == '#':
			i = len(line)
		case c == ' ' || c == '\t':
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		out = append(out, b.String())
	}
	return out
}

func (c *Catalogue) file(text string) []sallyport.Claim {
	var list []*section
	byName := map[string]*section{}
	var s *section
	n := 0
	for line := range strings.Lines(text) {
		n++
		w := words(strings.TrimRight(line, "\r\n"))
		if len(w) == 0 {
			continue
		}
		switch w[0] {
		case "frontend", "backend", "listen", "global", "defaults", "userlist", "peers", "resolvers", "cache", "program", "mailers", "ring", "http-errors":
			s = &section{kind: w[0], acls: map[string][]condition{}}
			if len(w) > 1 {
				s.name = w[1]
			}
			list = append(list, s)
			if w[0] == "backend" || w[0] == "listen" {
				byName[s.name] = s
			}
			continue
		}
		if s == nil {
			continue
		}
		switch w[0] {
		case "bind":
			s.tls = s.tls || slices.Contains(w, "ssl")
			if i := slices.Index(w, "verify"); i >= 0 && i+1 < len(w) && w[i+1] == "required" {
				s.mtls = true
			}
		case "acl":
			if len(w) >= 4 {
				s.acls[w[1]] = append(s.acls[w[1]], conditions(w[2], w[3:])...)
			}
		case "use_backend":
			if len(w) >= 2 {
				u := use{backend: w[1], line: n}
				if i := slices.Index(w, "if"); i >= 0 {
					for i++; i < len(w); i++ {
						if w[i] == "{" { // written in place
							j := i + 1
							for j < len(w) && w[j] != "}" {
								j++
							}
							if j-i >= 3 {
								name := fmt.Sprintf("\x00%d.%d", n, i)
								s.acls[name] = conditions(w[i+1], w[i+2:j])
								u.names = append(u.names, name)
							}
							i = j
							continue
						}
						u.names = append(u.names, w[i])
					}
				}
				s.uses = append(s.uses, u)
			}
		case "default_backend":
			if len(w) == 2 {
				s.uses = append(s.uses, use{backend: w[1], line: n})
			}
		case "server":
			if len(w) >= 3 && !slices.Contains(w, "disabled") {
				s.servers = append(s.servers, w[2])
			}
		}
		if s.kind == "listen" && w[0] == "server" && !slices.ContainsFunc(s.uses, func(u use) bool { return u.backend == s.name }) {
			s.uses = append(s.uses, use{backend: s.name, line: n})
		}
	}
	var out []sallyport.Claim
	now := time.Now()
	for _, f := range list {
		if f.kind != "frontend" && f.kind != "listen" {
			continue
		}
		for _, u := range f.uses {
			b := byName[u.backend]
			if b == nil || len(out) > 100_000 {
				continue
			}
			for _, where := range f.places(u) {
				asset := sallyport.Asset{API: c.API, Host: where.host, Path: strings.TrimRight(where.path, "/")}
				if c.API == "" && asset.Host == "" && asset.Path == "" {
					if len(b.servers) == 0 {
						continue
					}
					asset.Address = b.servers[0]
				}
				say := func(field, value string) {
					out = append(out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: c.Name(), Confidence: 0.9, Evidence: fmt.Sprintf("%s:%d", c.At, u.line), Time: now})
				}
				say("gateways", "haproxy")
				if asset.Host != "" {
					say("hosts", asset.Host)
				}
				for _, x := range b.servers {
					say("instances", x)
				}
				if f.mtls {
					say("mtls", "true")
				}
			}
		}
	}
	return out
}

// conditions are what an ACL says of host and path; of others nothing.
func conditions(fetch string, args []string) []condition {
	var values []string
	for i := 0; i < len(args); i++ {
		if a := args[i]; strings.HasPrefix(a, "-") {
			if a == "-f" || a == "-m" || a == "-M" {
				i++
			}
			continue
		}
		values = append(values, args[i])
	}
	name, _, _ := strings.Cut(fetch, ",")
	var out []condition
	for _, v := range values {
		switch name = strings.ReplaceAll(name, " ", ""); name {
		case "hdr(host)", "hdr_dom(host)", "req.hdr(host)", "hdr_beg(host)", "ssl_fc_sni", "req.ssl_sni":
			host, _, _ := strings.Cut(strings.ToLower(v), ":")
			out = append(out, condition{host: host})
		case "hdr_end(host)":
			out = append(out, condition{host: "*." + strings.TrimPrefix(strings.ToLower(v), ".")})
		case "path", "path_beg", "path_dir":
			if !strings.HasPrefix(v, "/") {
				v = "/" + v
			}
			out = append(out, condition{path: v})
		}
	}
	return out
}

// places are the hosts and paths under which a backend is used.
func (s *section) places(u use) []condition {
	hosts, paths := []string{}, []string{}
	for _, name := range u.names {
		if name == "or" || name == "||" || strings.HasPrefix(name, "!") {
			continue
		}
		for _, x := range s.acls[name] {
			if x.host != "" {
				hosts = append(hosts, x.host)
			}
			if x.path != "" {
				paths = append(paths, x.path)
			}
		}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(paths) == 0 {
		paths = []string{""}
	}
	var out []condition
	for _, h := range hosts {
		for _, p := range paths {
			if len(out) < 1000 {
				out = append(out, condition{h, p})
			}
		}
	}
	return out
}

func (c *Catalogue) runtime(ctx context.Context) ([]sallyport.Claim, error) {
	state, err := Runtime(c.At).Ask(ctx, "show servers state")
	if err != nil {
		return nil, fmt.Errorf("ask haproxy for servers: %w", err)
	}
	stat, err := Runtime(c.At).Ask(ctx, "show stat")
	if err != nil {
		return nil, fmt.Errorf("ask haproxy for statistics: %w", err)
	}
	status := map[string]string{}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(stat, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("ask haproxy for statistics: no table was answered")
	}
	column := slices.Index(rows[0], "status")
	for _, r := range rows[1:] {
		if column > 1 {
			status[r[0]+"/"+r[1]] = r[column]
		}
	}
	var names []string
	var out []sallyport.Claim
	now := time.Now()
	lines := bufio.NewScanner(strings.NewReader(state))
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			names = strings.Fields(rest)
			continue
		}
		f := strings.Fields(line)
		if len(f) < 6 || len(names) == 0 {
			continue
		}
		get := func(name string) string {
			if i := slices.Index(names, name); i >= 0 && i < len(f) {
				return f[i]
			}
			return ""
		}
		addr, server := get("srv_addr"), get("be_name")+"/"+get("srv_name")
		if addr == "" || addr == "-" || get("srv_port") == "0" {
			continue
		}
		addr = net.JoinHostPort(addr, get("srv_port"))
		asset := sallyport.Asset{API: c.API, Address: addr}
		say := func(field, value string) {
			out = append(out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: c.Name(), Confidence: 0.95, Evidence: server + " " + status[server], Time: now})
		}
		say("gateways", "haproxy")
		say("workload", server)
		say("addresses", addr)
		if s := status[server]; strings.HasPrefix(s, "UP") || s == "no check" {
			say("instances", addr)
		}
	}
	if names == nil {
		return nil, errors.New("ask haproxy for servers: no table was answered")
	}
	return out, nil
}
