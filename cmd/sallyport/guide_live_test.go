package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A guide is a page whose commands are run as written, beside the example that
// it speaks of.
type guide struct {
	page, example string
	service       string // address of the example's service
	gateway       string // addresses in its configuration
	console       string
	setup         []string // beginnings of lines that the commands need
	least         int      // commands that there are
	more          []string // further addresses that the example uses
}

func (g guide) run(t *testing.T) {
	t.Helper()
	t.Parallel()
	dir, door, service := t.TempDir(), freeAddr(t), freeAddr(t)
	put := strings.NewReplacer("go run ./examples/"+g.example+" \"$@\"", "./service \"$@\"", g.gateway, door, g.console, freeAddr(t), g.service, service)
	pairs := []string{}
	for _, addr := range g.more {
		pairs = append(pairs, addr, freeAddr(t))
	}
	also := strings.NewReplacer(pairs...)
	from := filepath.Join("../../examples", g.example)
	source := filepath.Join(dir, "source")
	if err := os.CopyFS(source, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(source + "/*")
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := also.Replace(put.Replace(string(b)))
		write(t, file, text)
		write(t, filepath.Join(dir, filepath.Base(file)), text)
	}
	// The module's own packages are at hand because the source is built in its tree.
	overlay := filepath.Join(dir, "overlay.json")
	abs, err := filepath.Abs(from)
	if err != nil {
		t.Fatal(err)
	}
	replaced := []string{}
	for _, file := range files {
		if strings.HasSuffix(file, ".go") {
			replaced = append(replaced, `"`+filepath.Join(abs, filepath.Base(file))+`": "`+file+`"`)
		}
	}
	write(t, overlay, `{"Replace": {`+strings.Join(replaced, ",")+`}}`)
	bin := filepath.Join(dir, "service")
	// A client of the example goes through the door at its new address as well.
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", bin, "./"+from).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(bin)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for range 500 {
		if conn, err := net.Dial("tcp", service); err == nil {
			conn.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p := (&site{dir: dir, gateway: door}).start(t)
	defer p.stop()
	page, err := os.ReadFile("../../docs/guides/" + g.page)
	if err != nil {
		t.Fatal(err)
	}
	text := also.Replace(put.Replace(string(page)))
	var setup strings.Builder
	for line := range strings.Lines(text) {
		for _, begin := range g.setup {
			if strings.HasPrefix(line, begin) {
				setup.WriteString(line)
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
			c := exec.Command("bash", "-c", setup.String()+command)
			c.Dir = dir
			out, _ := c.Output() // what it prints is what counts: grep fails when it finds nothing
			if got := strings.TrimSpace(string(out)); got != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s\nwant %s", command, got, want)
			}
			ran++
		}
	}
	if ran < g.least {
		t.Errorf("%d commands of the guide ran, want %d", ran, g.least)
	}
}

// The commands of the guide to answers print what it says.
func TestAnswersGuideRunsAsWritten(t *testing.T) {
	guide{page: "answers.md", example: "answers", service: "127.0.0.1:9004", gateway: "127.0.0.1:8089", console: "127.0.0.1:9449", setup: []string{"ask()"}, least: 8}.run(t)
}

// So do those of the guide to WebSockets.
func TestWebSocketGuideRunsAsWritten(t *testing.T) {
	guide{page: "websocket.md", example: "websocket", service: "127.0.0.1:9005", gateway: "127.0.0.1:8090", console: "127.0.0.1:9450", setup: []string{"say()"}, least: 6}.run(t)
}
