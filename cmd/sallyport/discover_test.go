package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/discovery/probe"
)

// shop starts the example that the guide scans.
func shop(t *testing.T) (address string) {
	t.Helper()
	address = freeAddr(t)
	_, port, _ := strings.Cut(address, ":")
	c := exec.Command("node", "../../examples/discover/shop.mjs", port)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the shop said %q: %v", line, err)
	}
	return address
}

// The commands of the guide print what the guide says.
func TestDiscoverGuideRunsAsWritten(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "sallyport")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(asCommand, "1")
	address := shop(t)
	_, port, _ := strings.Cut(address, ":")
	runGuide(t, "discover.md", dir, 4, strings.NewReplacer("127.0.0.1:9020", address, "port 9020  ", fmt.Sprintf("port %-5s ", port)))
}

func TestDiscoverCommand(t *testing.T) {
	address := shop(t)
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"discover", address, "--rate", "20000", "--json"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	var r probe.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.APIs) != 3 || len(r.Claims) == 0 || len(r.Findings) == 0 || r.Partial {
		t.Errorf("APIs %+v", r.APIs)
	}
	for _, x := range []struct {
		args []string
		say  string
	}{
		{[]string{"discover", "203.0.113.9"}, "--yes"}, {[]string{"discover"}, "no target"}, {[]string{"discover", "10.0.0.0/8"}, "divide"}, {[]string{"discover", "127.0.0.1", "--ports", "0"}, "port 0"},
		{[]string{"discover", "127.0.0.1", "--only", "no.such"}, "no.such"}, {[]string{"discover", "http://me:pass@127.0.0.1/"}, "credentials"}, {[]string{"discover", "127.0.0.1", "--rate=-1"}, "negative"},
	} {
		out.Reset()
		errs.Reset()
		if code := command(t.Context(), x.args, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), x.say) || strings.Contains(errs.String(), "pass@") {
			t.Errorf("%v: exit %d, %s", x.args, code, &errs)
		}
	}
}
