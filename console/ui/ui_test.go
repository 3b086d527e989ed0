package ui_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/console/ui"
)

// TestDistIsBuilt fails when a source changed after the build that is embedded:
// dist is in the repository so that building the program needs no Node.
func TestDistIsBuilt(t *testing.T) {
	f, err := os.Open("dist/SOURCES")
	if err != nil {
		t.Fatalf("%v: run make ui", err)
	}
	defer f.Close()
	built := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		sum, name, ok := strings.Cut(s.Text(), "  ")
		if !ok {
			t.Fatalf("dist/SOURCES: %q is not a hash and a name", s.Text())
		}
		built[name] = sum
	}
	var sources []string
	for _, name := range []string{"index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"} {
		sources = append(sources, name)
	}
	for _, dir := range []string{"src", "public", "scripts"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				sources = append(sources, filepath.ToSlash(path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if built[name] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is not what dist was built from: run make ui", name)
		}
		delete(built, name)
	}
	for name := range built {
		t.Errorf("dist was built from %s, which is gone: run make ui", name)
	}
}

// TestLockIsPublic keeps addresses of private registries out of the lockfile.
func TestLockIsPublic(t *testing.T) {
	b, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"resolved": "([^"]*)"`).FindAllSubmatch(b, -1) {
		if !bytes.HasPrefix(m[1], []byte("https://registry.npmjs.org/")) {
			t.Errorf("package-lock.json is bound to %s", m[1])
		}
	}
}

func get(t *testing.T, h http.Handler, path, encoding string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if encoding != "" {
		r.Header.Set("Accept-Encoding", encoding)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var nonceForm = regexp.MustCompile(`'nonce-([^']+)'`)

func TestPage(t *testing.T) {
	h, err := ui.New()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, path := range []string{"/", "/setup", "/inventory", "/decisions/01J0000000000000000000000", "/settings/audit"} {
		r := get(t, h, path, "")
		body := read(t, r)
		if r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d, Cache-Control %q", path, r.StatusCode, r.Header.Get("Cache-Control"))
		}
		policy := r.Header.Get("Content-Security-Policy")
		m := nonceForm.FindStringSubmatch(policy)
		if m == nil || seen[m[1]] {
			t.Fatalf("%s: no new nonce in %q", path, policy)
		}
		seen[m[1]] = true
		if !bytes.Contains(body, []byte(`content="`+m[1]+`"`)) {
			t.Errorf("%s: the page does not hold its nonce", path)
		}
		if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") {
			t.Errorf("%s: the policy is not strict: %s", path, policy)
		}
		if regexp.MustCompile(`(?i)<script>|<script[^>]*>[^<]|<style|https?://|\son[a-z]+=`).Match(body) {
			t.Errorf("%s: the page holds inline code or another host: %s", path, body)
		}
	}
}

func TestAssets(t *testing.T) {
	h, err := ui.New()
	if err != nil {
		t.Fatal(err)
	}
	page := read(t, get(t, h, "/", ""))
	names := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllSubmatch(page, -1)
	if len(names) < 3 {
		t.Fatalf("the page names %d files: %s", len(names), page)
	}
	for _, m := range names {
		path := string(m[1])
		plain := get(t, h, path, "")
		body := read(t, plain)
		if plain.StatusCode != 200 || len(body) == 0 || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: got %d with %d bytes", path, plain.StatusCode, len(body))
		}
		hashed := strings.HasPrefix(path, "/assets/")
		if got := strings.Contains(plain.Header.Get("Cache-Control"), "immutable"); got != hashed {
			t.Errorf("%s: Cache-Control %q", path, plain.Header.Get("Cache-Control"))
		}
		zipped := get(t, h, path, "zstd, gzip;q=0.5")
		if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Content-Encoding %q", path, zipped.Header.Get("Content-Encoding"))
			continue
		}
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s: gzip and plain differ (%v)", path, err)
		}
		if r := get(t, h, path, "gzip, br"); r.Header.Get("Content-Encoding") != "br" {
			t.Errorf("%s: brotli was asked for, got %q", path, r.Header.Get("Content-Encoding"))
		}
		if r := get(t, h, path, "br;q=0, gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: what was declined came all the same: %q", path, r.Header.Get("Content-Encoding"))
		}
	}
	for path, want := range map[string]int{"/assets/absent.js": 404, "/robots.txt": 404, "/assets/": 404, "/../ui.go": 404, "/SOURCES": 200} {
		r := get(t, h, path, "")
		if b := read(t, r); r.StatusCode != want || bytes.Contains(b, []byte("package.json")) {
			t.Errorf("%s: got %d, want %d", path, r.StatusCode, want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: got %d, want 405", w.Code)
	}
}
