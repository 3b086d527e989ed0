// Package gitspecs finds specifications in git repositories, bare or with a
// working tree, and in plain folders: OpenAPI, AsyncAPI, Protocol Buffers
// services, GraphQL schemas and WSDL, by what is in them and not by their names.
// Out go claims with path, commit and author as evidence. It asks the git
// program to read objects, and writes nothing.
package gitspecs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev"
)

const (
	maxBytes = 8 << 20 // of a file
	maxFiles = 20_000  // looked into
	maxFound = 2000
)

// A Catalogue is one repository or folder.
type Catalogue struct {
	ID    string        // Name; by default "specs:" and Dir
	Dir   string        // working tree, bare repository or plain folder
	API   string        // the API that all of it describes; "" = by host, else by title
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "specs:"+c.Dir) }

// Watch tells what is described, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

// candidate tells files that can be a specification by their names.
func candidate(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".json", ".yaml", ".yml", ".proto", ".graphql", ".graphqls", ".gql", ".wsdl", ".xml":
		return !strings.Contains("/"+name, "/node_modules/") && !strings.Contains("/"+name, "/vendor/")
	}
	return false
}

// git runs one command of it with nothing of the repository's configuration
// that could run a program.
func (c *Catalogue) git(ctx context.Context, in io.Reader, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", c.Dir, "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks", "--literal-pathspecs"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C")
	cmd.Stdin = in
	return cmd
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	if info, err := os.Stat(c.Dir); err != nil {
		return nil, fmt.Errorf("read specifications: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("read specifications: %s is no folder", c.Dir)
	}
	head, err := c.git(ctx, nil, "rev-parse", "HEAD").Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return c.folder(ctx)
	}
	return c.repository(ctx, strings.TrimSpace(string(head)))
}

func (c *Catalogue) repository(ctx context.Context, head string) ([]sallyport.Claim, error) {
	tree, err := c.git(ctx, nil, "ls-tree", "-r", "-l", "-z", "--full-tree", head).Output()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", c.Dir, err)
	}
	var names, ids []string
	for entry := range strings.SplitSeq(string(tree), "\x00") {
		meta, name, ok := strings.Cut(entry, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 4 || f[1] != "blob" || f[0] == "120000" || !candidate(name) || len(names) >= maxFiles {
			continue
		}
		if n, err := strconv.Atoi(f[3]); err != nil || n > maxBytes {
			continue
		}
		names, ids = append(names, name), append(ids, f[2])
	}
	remote := ""
	if b, err := c.git(ctx, nil, "config", "--get", "remote.origin.url").Output(); err == nil {
		remote = plainRemote(strings.TrimSpace(string(b)))
	}
	batch := c.git(ctx, strings.NewReader(strings.Join(ids, "\n")+"\n"), "cat-file", "--batch")
	pipe, err := batch.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := batch.Start(); err != nil {
		return nil, err
	}
	var found []document
	r := bufio.NewReaderSize(pipe, 64<<10)
	for _, name := range names {
		line, err := r.ReadString('\n')
		f := strings.Fields(line)
		if err != nil || len(f) != 3 {
			break
		}
		n, err := strconv.Atoi(f[2])
		if err != nil || n > maxBytes {
			break
		}
		b := make([]byte, n+1)
		if _, err := io.ReadFull(r, b); err != nil {
			break
		}
		if d, ok := look(name, b[:n]); ok && len(found) < maxFound {
			found = append(found, d)
		}
	}
	io.Copy(io.Discard, r)
	if err := batch.Wait(); err != nil && len(names) > 0 {
		return nil, fmt.Errorf("read %s: %w", c.Dir, err)
	}
	for i := range found {
		d := &found[i]
		d.evidence = d.name + "@" + head[:12]
		b, err := c.git(ctx, nil, "log", "-1", "--format=%h%x00%an%x00%aI", head, "--", d.name).Output()
		if f := strings.Split(strings.TrimSpace(string(b)), "\x00"); err == nil && len(f) == 3 {
			d.evidence = fmt.Sprintf("%s@%s by %s at %s", d.name, f[0], f[1], f[2])
		}
	}
	return c.claims(found, remote), nil
}

// plainRemote is a remote without a password in it.
func plainRemote(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		u.User = nil
		u.RawQuery = ""
		return u.String()
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 && !strings.Contains(s, "://") {
		return s[at+1:] // git@host:path
	}
	return ""
}

func (c *Catalogue) folder(ctx context.Context) ([]sallyport.Claim, error) {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var found []document
	n := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !candidate(name):
			return nil
		}
		if n++; n > maxFiles || len(found) >= maxFound {
			return fs.SkipAll
		}
		f, err := root.Open(name)
		if err != nil {
			return nil
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
		if err != nil || len(b) > maxBytes {
			return nil
		}
		if x, ok := look(name, b); ok {
			x.evidence = filepath.Join(c.Dir, name)
			found = append(found, x)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, err
	}
	return c.claims(found, ""), nil
}

// A document is one specification.
type document struct {
	name, evidence string
	kind           string // of the API
	title, version string
	servers        []string
}

// look says what a file is by what is in it.
func look(name string, b []byte) (document, bool) {
	d := document{name: name}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	switch strings.ToLower(path.Ext(name)) {
	case ".json", ".yaml", ".yml":
		if !bytes.Contains(b, []byte("openapi")) && !bytes.Contains(b, []byte("swagger")) && !bytes.Contains(b, []byte("asyncapi")) {
			return d, false
		}
		var top struct {
			OpenAPI  string `yaml:"openapi"`
			Swagger  string `yaml:"swagger"`
			AsyncAPI string `yaml:"asyncapi"`
			Info     struct {
				Title   string `yaml:"title"`
				Version string `yaml:"version"`
			} `yaml:"info"`
			Servers  yaml.Node `yaml:"servers"`
			Host     string    `yaml:"host"`
			BasePath string    `yaml:"basePath"`
		}
		if err := yaml.Unmarshal(b, &top); err != nil {
			return d, false
		}
		switch {
		case top.OpenAPI != "" || top.Swagger != "":
			d.kind = "rest"
		case top.AsyncAPI != "":
			d.kind = "asyncapi"
		default:
			return d, false
		}
		d.title, d.version = top.Info.Title, top.Info.Version
		if top.Host != "" {
			d.servers = []string{"https://" + top.Host + top.BasePath}
		}
		if top.Servers.Kind == yaml.SequenceNode {
			for _, n := range top.Servers.Content {
				var s struct {
					URL string `yaml:"url"`
				}
				if n.Decode(&s) == nil && s.URL != "" && len(d.servers) < 100 {
					d.servers = append(d.servers, s.URL)
				}
			}
		}
		return d, true
	case ".proto":
		pkg, service := "", ""
		for line := range bytes.Lines(b) {
			w := strings.Fields(string(line))
			if len(w) >= 2 && w[0] == "package" {
				pkg = strings.TrimSuffix(w[1], ";")
			}
			if len(w) >= 2 && w[0] == "service" && service == "" {
				service = strings.TrimSuffix(w[1], "{")
			}
		}
		d.kind, d.title = "grpc", strings.TrimPrefix(pkg+"."+service, ".")
		return d, service != ""
	case ".graphql", ".graphqls", ".gql":
		d.kind, d.title = "graphql", strings.TrimSuffix(path.Base(name), path.Ext(name))
		return d, bytes.Contains(b, []byte("type Query")) || bytes.Contains(b, []byte("schema {")) || bytes.Contains(b, []byte("schema{"))
	case ".wsdl", ".xml":
		d.kind, d.title = "soap", strings.TrimSuffix(path.Base(name), path.Ext(name))
		return d, bytes.Contains(b, []byte("http://schemas.xmlsoap.org/wsdl/")) && bytes.Contains(b, []byte("definitions"))
	}
	return d, false
}

func (c *Catalogue) claims(found []document, remote string) []sallyport.Claim {
	now := time.Now()
	var out []sallyport.Claim
	for _, d := range found {
		asset := sallyport.Asset{API: c.API}
		var hosts []string
		for _, s := range d.servers {
			if u, err := url.Parse(s); err == nil && u.Host != "" && !strings.ContainsAny(u.Host, "{}") {
				hosts = append(hosts, strings.ToLower(u.Hostname()))
				if asset.API == "" && asset.Host == "" {
					asset.Host, asset.Path = strings.ToLower(u.Hostname()), strings.TrimRight(u.Path, "/")
				}
			}
		}
		if asset.API == "" && asset.Host == "" {
			asset.API = cmp.Or(d.title, d.name)
		}
		if len(asset.API) > 200 {
			asset.API = strings.ToValidUTF8(asset.API[:200], "")
		}
		say := func(field, value string) {
			if value != "" && len(value) <= 2048 {
				out = append(out, sallyport.Claim{Asset: asset, Field: field, Value: value, Source: c.Name(), Confidence: 0.85, Evidence: d.evidence, Time: now})
			}
		}
		say("spec", d.name)
		say("kind", d.kind)
		say("title", d.title)
		say("spec.version", d.version)
		say("repository", remote)
		for _, h := range hosts {
			say("hosts", h)
		}
	}
	return out
}
