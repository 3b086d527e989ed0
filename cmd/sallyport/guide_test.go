package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The commands of the guide print what the guide says.
func TestFormatsGuideRunsAsWritten(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("{}")) }))
	t.Cleanup(upstream.Close)
	dir, gateway := t.TempDir(), freeAddr(t)
	files, err := filepath.Glob("../../examples/formats/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("127.0.0.1:8088", gateway, "127.0.0.1:9448", freeAddr(t), "http://127.0.0.1:9003", upstream.URL).Replace(string(b))
		write(t, filepath.Join(dir, filepath.Base(file)), text)
	}
	p := (&site{dir: dir, gateway: gateway}).start(t)
	defer p.stop()
	runGuide(t, "formats.md", dir, 10, strings.NewReplacer("127.0.0.1:8088", gateway), "ask()", "json=", "invoice()", "soap()", "header()")
}

// runGuide runs the commands of a guide in dir and compares what they print;
// setup are the beginnings of the lines that every command needs before it.
func runGuide(t *testing.T, name, dir string, least int, edit *strings.Replacer, setup ...string) {
	t.Helper()
	guide, err := os.ReadFile("../../docs/guides/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := edit.Replace(string(guide))
	var before strings.Builder
	for line := range strings.Lines(text) {
		for _, s := range setup {
			if strings.HasPrefix(line, s) {
				before.WriteString(line)
			}
		}
	}
	ran := 0
	for block := range strings.SplitSeq(text, "```console\n") {
		block, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for step := range strings.SplitSeq(block[2:], "\n$ ") {
			command, want, _ := strings.Cut(step, "\n")
			c := exec.Command("bash", "-c", before.String()+command)
			c.Dir = dir
			out, err := c.Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s (%v)\nwant %s", command, got, err, want)
			}
			ran++
		}
	}
	if ran < least {
		t.Errorf("%d commands of the guide ran, want %d", ran, least)
	}
}
