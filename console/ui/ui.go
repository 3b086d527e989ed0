// Package ui is the web interface, built from the TypeScript beside it and
// embedded. In come GET requests; out go one page, which draws all the others
// in the browser, and its assets. Assets carry a hash in their names, are kept
// by browsers for good, and are held compressed; the page is never cached and
// carries a new style nonce each time.
//
// Pages load nothing from other hosts and run no script that is not a file of
// this package.
package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist is written by "npm run build"; SOURCES names the sources it was built
// from, which a test compares.
//
//go:embed all:dist
var dist embed.FS

// nonceMark stands in the page where the nonce goes.
const nonceMark = "__STYLE_NONCE__"

type asset struct {
	kind                string
	plain, gzip, brotli []byte
	immutable           bool
}

// Pages serves the interface. It is safe for concurrent use.
type Pages struct {
	index  []byte
	assets map[string]*asset // by path, "/assets/index-….js"
}

// New reads the embedded files.
func New() (*Pages, error) {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	p := &Pages{assets: map[string]*asset{}}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		encoding := ""
		for _, suffix := range []string{".gz", ".br"} {
			if rest, ok := strings.CutSuffix(name, suffix); ok {
				name, encoding = rest, suffix
			}
		}
		switch {
		case name == "SOURCES":
			return nil
		case name == "index.html":
			p.index = b
			return nil
		}
		a := p.assets["/"+name]
		if a == nil {
			a = &asset{kind: mime.TypeByExtension(path.Ext(name)), immutable: strings.HasPrefix(name, "assets/")}
			if k, ok := kinds[path.Ext(name)]; ok {
				a.kind = k
			}
			p.assets["/"+name] = a
		}
		switch encoding {
		case ".gz":
			a.gzip = b
		case ".br":
			a.brotli = b
		default:
			a.plain = b
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded pages: %w", err)
	}
	if !bytes.Contains(p.index, []byte(nonceMark)) {
		return nil, errors.New("read the embedded pages: index.html has no place for the style nonce")
	}
	return p, nil
}

// kinds are the media types of what the build writes, whatever the machine's
// own table says.
var kinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
	".txt": "text/plain; charset=utf-8", ".woff2": "font/woff2", ".png": "image/png",
}

func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	if a, ok := p.assets[r.URL.Path]; ok {
		a.serve(w, r)
		return
	}
	if strings.Contains(path.Base(r.URL.Path), ".") || strings.HasPrefix(r.URL.Path, "/assets/") {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	var raw [18]byte
	rand.Read(raw[:])
	nonce := base64.StdEncoding.EncodeToString(raw[:])
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+nonce+"'; img-src 'self'; font-src 'self'; "+
		"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.Write(bytes.ReplaceAll(p.index, []byte(nonceMark), []byte(nonce)))
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	if a.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "public, max-age=3600")
	}
	b := a.plain
	if a.gzip != nil || a.brotli != nil {
		h.Set("Vary", "Accept-Encoding")
		switch {
		case a.brotli != nil && accepts(r, "br"):
			h.Set("Content-Encoding", "br")
			b = a.brotli
		case a.gzip != nil && accepts(r, "gzip"):
			h.Set("Content-Encoding", "gzip")
			b = a.gzip
		case b == nil: // kept compressed only; callers who take neither are rare
			z, err := gzip.NewReader(bytes.NewReader(a.gzip))
			if err == nil {
				b, err = io.ReadAll(z)
			}
			if err != nil {
				http.Error(w, "this file is damaged", http.StatusInternalServerError)
				return
			}
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodGet {
		w.Write(b)
	}
}

// accepts reports whether r takes an encoding, by name and not with q=0.
func accepts(r *http.Request, encoding string) bool {
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, q, weighted := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		if !weighted {
			return true
		}
		v, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(q, " ", ""), "q="), 64)
		return err == nil && v > 0
	}
	return false
}
