package har_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/har"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/observe"
)

func entry(s sourcetest.Sent, body string) string {
	return fmt.Sprintf(`{"startedDateTime":%q,"time":3.5,"request":{"method":%q,"url":"https://%s%s?%s","httpVersion":"HTTP/2","headers":[{"name":"Authorization","value":"Bearer %s"},{"name":"Cookie","value":"s=%s"}],"bodySize":-1},"response":{"status":%d,"headers":[{"name":"Content-Type","value":"application/json"}],"bodySize":9,"content":{"text":%q}}}`,
		s.Time.Format(time.RFC3339Nano), s.Method, s.Host, s.Path, s.Query, sourcetest.Secret, sourcetest.Secret, s.Status, body)
}

func archive(entries ...string) string {
	return `{"log":{"version":"1.2","pages":[{"id":"p"}],"entries":[` + strings.Join(entries, ",\n") + `]}}`
}

func TestSource(t *testing.T) {
	sourcetest.Run(t, sourcetest.Subject{Ends: true, New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
		path := filepath.Join(t.TempDir(), "a.har")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return &har.File{Path: path}, func(list []sourcetest.Sent, bad bool) {
			var entries []string
			for i, s := range list {
				if bad && i == 1 {
					entries = append(entries, `{"startedDateTime":7}`)
				}
				entries = append(entries, entry(s, `{"id":7,"mail":"anna@example.org"}`))
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the reader
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString(archive(entries...)); err != nil {
				t.Error(err)
			}
		}
	}})
}

func TestHostileArchives(t *testing.T) {
	good := entry(sourcetest.Traffic(1)[0], `{"a":1}`)
	for _, c := range []struct {
		name, text   string
		emitted, bad uint64
		fails        bool
	}{
		{"good", archive(good, good), 2, 0, false},
		{"none", archive(), 0, 0, false},
		{"empty", "", 0, 0, true},
		{"cut in an entry", archive(good, good)[:len(archive(good))+40], 1, 1, false},
		{"no JSON inside", archive(good, "}{"), 1, 1, true},
		{"another document", `{"openapi":"3.1.0"}`, 0, 0, true},
		{"entries that are no list", `{"log":{"entries":{}}}`, 0, 0, true},
		{"a URL that is none", archive(strings.Replace(good, "https://", "::", 1), good), 1, 1, false},
		{"a status that is none", archive(strings.Replace(good, `"status":200`, `"status":9999`, 1), good), 1, 1, false},
		{"wrong types", archive(strings.Replace(good, `"status":200`, `"status":"x"`, 1), good), 1, 1, false},
		{"deep", `{"log":` + strings.Repeat("[", 100000), 0, 0, true},
		{"an entry of 40 MB", archive(entry(sourcetest.Traffic(1)[0], strings.Repeat("a", 40<<20))), 0, 1, true},
		{"a body of 2 MB", archive(entry(sourcetest.Traffic(1)[0], strings.Repeat("a", 2<<20))), 1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.har")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &har.File{Path: path}
			err := f.Run(t.Context(), func(x *sallyport.Exchange) error { sourcetest.Check(t, x); return nil })
			if h := f.Health(); (err != nil) != c.fails || h.Emitted != c.emitted || h.Bad != c.bad {
				t.Errorf("%v; health %+v", err, h)
			}
			if err != nil && strings.Contains(err.Error(), sourcetest.Secret) {
				t.Error(err)
			}
		})
	}
}

// A large archive takes no more memory than a small one.
func TestLargeArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.har")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	w.WriteString(`{"log":{"entries":[`)
	e := entry(sourcetest.Traffic(1)[0], `{"text":"`+strings.Repeat("a ", 600<<10)+`"}`)
	const n = 40
	for i := range n {
		if i > 0 {
			w.WriteString(",")
		}
		w.WriteString(e)
	}
	w.WriteString("]}}")
	w.Flush()
	size, _ := file.Seek(0, 1)
	file.Close()
	most := uint64(0)
	f := &har.File{Path: path}
	i := 0
	if err := f.Run(t.Context(), func(*sallyport.Exchange) error {
		if i++; i%8 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if h := f.Health(); h.Emitted != n || size < 30<<20 || most > 16<<20 {
		t.Errorf("%d exchanges of %d MiB, with %d MiB in memory", h.Emitted, size>>20, most>>20)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(archive(entry(sourcetest.Traffic(1)[0], "{}")))
	f.Add(`{"log":{"entries":[{"request":{"url":"http://a/%zz"}}]}}`)
	path := filepath.Join(f.TempDir(), "a.har")
	f.Fuzz(func(t *testing.T, s string) {
		os.WriteFile(path, []byte(s), 0o600)
		_ = (&har.File{Path: path}).Run(t.Context(), func(*sallyport.Exchange) error { return nil })
	})
}
