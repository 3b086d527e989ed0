package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/test/lab/slots"
)

// The commands of the guide print what the guide says.
func TestLoadGuideRunsAsWritten(t *testing.T) {
	four := slots.New(4)
	four.Reports = true
	up := httptest.NewServer(four)
	t.Cleanup(up.Close)
	dir, gateway, desk := t.TempDir(), freeAddr(t), freeAddr(t)
	places := strings.NewReplacer("127.0.0.1:8091", gateway, "127.0.0.1:9451", desk, "http://127.0.0.1:9006", up.URL)
	b, err := os.ReadFile("../../examples/load/sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sallyport.yaml"), places.Replace(string(b)))
	p := (&site{dir: dir, gateway: gateway}).start(t)
	defer p.stop()
	guide, err := os.ReadFile("../../docs/guides/load.md")
	if err != nil {
		t.Fatal(err)
	}
	text := places.Replace(string(guide))
	var setup strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ask()") || strings.HasPrefix(line, "metric()") {
			setup.WriteString(line)
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
			out, _ := c.Output() // grep -c answers 1 when it counts none
			if got := strings.TrimSpace(string(out)); got != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s\nwant %s", command, got, want)
			}
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("%d commands of the guide ran", ran)
	}
}
