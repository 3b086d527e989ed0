package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

const formSpec = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/upload":{"post":{"requestBody":{"required":true,"content":{"multipart/form-data":{
"schema":{"type":"object","required":["title"],"properties":{"title":{"type":"string","maxLength":60},"note":{"type":"string"},"n":{"type":"integer"},"photo":{"type":"string","contentMediaType":"image/png"},"video":{}},"additionalProperties":false},
"encoding":{"photo":{"contentType":"image/png, image/gif"}}}}},"responses":{"200":{"description":"ok"}}}}}}`

// received is what an upstream got of a request.
type received struct {
	n     int64
	sum   string
	err   error
	begin []byte
	heap  uint64
}

type formUpstream struct {
	*httptest.Server
	got chan received
}

func newFormUpstream(t *testing.T) *formUpstream {
	u := &formUpstream{got: make(chan received, 16)}
	u.Server = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		var x received
		h := sha256.New()
		b := make([]byte, 64<<10)
		for x.err == nil {
			var n int
			n, x.err = r.Body.Read(b)
			h.Write(b[:n])
			if len(x.begin) < 64<<10 {
				x.begin = append(x.begin, b[:n]...)
			}
			if x.n += int64(n); x.n%(16<<20) < int64(n) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				x.heap = max(x.heap, m.HeapAlloc)
			}
		}
		if x.err == io.EOF {
			x.err = nil
		}
		x.sum = hex.EncodeToString(h.Sum(nil))
		u.got <- x
		io.WriteString(w, "stored")
	})
	return u
}

func formDoor(t *testing.T, u *formUpstream, mode sallyport.Mode, change func(*policy.API)) *door {
	set, err := spec.Load(t.Context(), []spec.Source{{Path: "openapi.json", Data: []byte(formSpec)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.API{Mode: mode, Files: policy.Files{Stream: policy.On, Size: 300 << 20, Count: 3}, Bounds: policy.Bounds{Body: 64 << 10}}
	if change != nil {
		change(&p)
	}
	return open(t, gateway.Options{Program: inspecting(t, guard.API{API: sallyport.API{Name: "shop"}, Spec: set, Policy: p}), APIs: to(u.URL)})
}

func formField(name, value string) string {
	return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func formFile(name, file, media, content string) string {
	return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"" + file + "\"\r\nContent-Type: " + media + "\r\n\r\n" + content + "\r\n"
}

// A form beyond the bound is judged as it passes. What is refused never looks
// complete to the upstream, and nothing of a part is there before it was judged.
func TestFormsStream(t *testing.T) {
	u := newFormUpstream(t)
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("pixels, and no boundary\r\n--", 20_000)
	title, photo := formField("title", "Holiday in O'Fallon"), formFile("photo", "me.png", "image/png", png)
	const end = "--b--\r\n"
	const attack = "1' OR '1'='1' UNION SELECT password FROM users--"
	d := formDoor(t, u, sallyport.Enforce, nil)
	small := formDoor(t, u, sallyport.Enforce, func(p *policy.API) { p.Files.Size = 100 << 10 })
	watch := formDoor(t, u, sallyport.Observe, nil)
	for _, tt := range []struct {
		name   string
		d      *door
		body   string
		status int
		rule   string
		absent string // never reaches the upstream
	}{
		{"honest", d, title + photo + end, 200, "", ""},
		{"file first", d, photo + title + end, 200, "", ""},
		{"a number, and a text that says select", d, photo + title + formField("n", "7") + formField("note", "Please select a union from the table") + end, 200, "", ""},
		{"an attack behind a file", d, photo + formField("title", attack) + end, 403, "", "UNION SELECT"},
		{"an attack before it", d, formField("title", attack) + photo + end, 403, "", "title"},
		{"an attack in a text that is sent as a file", d, photo + formFile("title", "t.txt", "text/plain", attack) + end, 403, "", "UNION SELECT"},
		{"no title", d, photo + end, 400, "schema.required", "--b--"},
		{"an undeclared field", d, photo + title + formField("admin", "1") + end, 400, "", "--b--"},
		{"no number", d, photo + title + formField("n", "seven") + end, 400, "", "--b--"},
		{"a program for an image", d, title + formFile("photo", "me.png", "image/png", "MZ"+png) + end, 400, "multipart.file-type", "MZ"},
		{"not of the declared types", d, title + formFile("photo", "me.jpg", "image/jpeg", "\xff\xd8\xff"+png) + end, 400, "multipart.file-type", "\xff\xd8"},
		{"a name that leads elsewhere", d, title + formFile("photo", "../../etc/me.png", "image/png", png) + end, 403, "file.name", "etc"},
		{"two extensions", d, title + formFile("photo", "a.php.png", "image/png", png) + end, 400, "file.extension", "php"},
		{"a program deep in an image", d, title + formFile("photo", "me.png", "image/png", png+"<?php system(1)"+png) + end, 403, "file.polyglot", "--b--"},
		{"too large a file", small, title + photo + end, 413, "file.size", "--b--"},
		{"too many files", d, title + photo + strings.Repeat(formFile("video", "v.mp4", "video/mp4", "x"), 3) + end, 400, "file.count", "--b--"},
		{"too long a field", d, photo + formField("title", strings.Repeat("x", 70<<10)) + end, 413, "multipart.field-size", "xxxx"},
		{"fields too long together", d, photo + strings.Repeat(formField("note", strings.Repeat("x", 30<<10)), 3) + end, 413, "multipart.field-size", "--b--"},
		{"text before the first boundary", d, "hello\r\n" + title + photo + end, 400, "multipart.syntax", "hello"},
		{"text behind the last", d, title + photo + end + attack, 400, "multipart.syntax", "--b--"},
		{"no end", d, title + photo, 400, "multipart.syntax", "--b--"},
		{"a header twice", d, photo + "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=title\r\n\r\n1\r\n" + end, 400, "multipart.syntax", "name=a"},
		{"line ends alone", d, photo + "--b\nContent-Disposition: form-data; name=a\n\n1\n" + end, 400, "multipart.syntax", "name=a"},
		{"a head without end", d, photo + "--b\r\nX: " + strings.Repeat("x", 9000), 400, "multipart.syntax", "X: "},
		{"another boundary within", d, title + photo + "--b--x\r\n" + end, 400, "multipart.syntax", "--b--"},
		{"observed", watch, photo + formField("title", attack) + end, 200, "", ""},
		{"observed, broken", watch, title + photo + "--b\nbroken" + png, 200, "multipart.syntax", ""},
	} {
		for _, way := range []string{"http1", "h2", "chunked"} {
			req, _ := http.NewRequest("POST", tt.d.url("/upload"), strings.NewReader(tt.body))
			if way == "chunked" {
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(tt.body)), -1
			}
			req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
			req.Header.Set("Expect", "100-continue")
			res, err := tt.d.client(way == "h2").Do(req)
			if err != nil {
				t.Errorf("%s (%s): %v", tt.name, way, err)
				continue
			}
			answer := read(t, res, err)
			x := tt.d.rec.find(t, res.Header.Get("X-Request-Id"))
			if res.StatusCode != tt.status {
				t.Errorf("%s (%s): %d %s, want %d; %+v", tt.name, way, res.StatusCode, answer, tt.status, x.Decision)
				continue
			}
			found := tt.rule == ""
			for _, r := range x.Decision.Reasons {
				found = found || r.Rule == tt.rule
			}
			if !found {
				t.Errorf("%s (%s): %+v, want %s", tt.name, way, x.Decision, tt.rule)
			}
			if tt.status == 200 {
				sum := sha256.Sum256([]byte(tt.body))
				if got := <-u.got; got.err != nil || got.sum != hex.EncodeToString(sum[:]) {
					t.Errorf("%s (%s): %d bytes of %d, %v", tt.name, way, got.n, len(tt.body), got.err)
				}
				continue
			}
			wantProblem(t, res, answer, tt.status)
			if x.Instance == "" { // it was not asked
				continue
			}
			if got := <-u.got; got.err == nil || bytes.Contains(got.begin, []byte(tt.absent)) {
				t.Errorf("%s (%s): the upstream got %d bytes, %v", tt.name, way, got.n, got.err)
			}
		}
	}
}

// A form of 256 MiB passes in bounded memory.
func TestLargeFormPasses(t *testing.T) {
	u := newFormUpstream(t)
	d := formDoor(t, u, sallyport.Enforce, nil)
	head := formField("title", "Film") + strings.TrimSuffix(formFile("video", "film.mp4", "video/mp4", "\x00\x00\x00\x18ftypmp42"), "\r\n")
	frame := bytes.Repeat([]byte("frames\r\n--"), 1<<15)
	const frames = 256 << 20 / (10 << 15)
	h := sha256.New()
	r, w := io.Pipe()
	go func() {
		to := io.MultiWriter(w, h)
		io.WriteString(to, head)
		for range frames {
			to.Write(frame)
		}
		io.WriteString(to, "\r\n--b--\r\n")
		w.Close()
	}()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := d.client(false).Post(d.url("/upload"), "multipart/form-data; boundary=b", r)
	if answer := read(t, res, err); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, answer)
	}
	got := <-u.got
	if got.err != nil || got.sum != hex.EncodeToString(h.Sum(nil)) || got.n < 250<<20 {
		t.Errorf("%d bytes, %v", got.n, got.err)
	}
	if grown := int64(got.heap) - int64(before.HeapAlloc); grown > 48<<20 {
		t.Errorf("the heap grew by %s", fmt.Sprint(grown))
	}
}
