package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/discovery/probe"
	"sallyport.dev/inventory"
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

// A running process makes the scans of its configuration and those asked for by
// hand, and what they find stands in the inventory.
func TestScansFeedTheInventory(t *testing.T) {
	s := newSite(t)
	address := shop(t)
	s.configure(t, "discover: [{name: the shop, targets: ["+address+"], rate: 20000}]")
	p := s.start(t)
	defer p.stop()
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this test")
	type scan struct{ ID, Name, State, Why string }
	var list struct {
		Scheduled []struct{ Name, Every string }
		Scans     []scan
	}
	wait := func(state string, n int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			d.do(http.MethodGet, "/scans", nil, http.StatusOK, &list)
			if len(list.Scans) == n && list.Scans[0].State == state {
				return
			}
		}
		t.Fatalf("want %d scans, the newest %s: %+v", n, state, list)
	}
	wait("done", 1)
	if len(list.Scheduled) != 1 || list.Scheduled[0].Every != "24h0m0s" || list.Scans[0].Name != "the shop" {
		t.Errorf("got %+v", list)
	}
	var detail struct {
		Scan   scan
		Report probe.Report
	}
	d.do(http.MethodGet, "/scans/"+list.Scans[0].ID, nil, http.StatusOK, &detail)
	if len(detail.Report.APIs) != 3 {
		t.Errorf("got %+v", detail.Report.APIs)
	}
	var begun scan
	d.do(http.MethodPost, "/scans", map[string]any{"targets": []string{"http://" + address + "/"}}, http.StatusAccepted, &begun)
	var progress struct{ State string }
	d.do(http.MethodGet, "/scans/"+begun.ID+"/progress", nil, http.StatusOK, &progress)
	d.do(http.MethodPost, "/scans/"+begun.ID+"/cancel", nil, http.StatusAccepted, nil)
	wait("cancelled", 2)
	d.do(http.MethodPost, "/scans/"+begun.ID+"/cancel", nil, http.StatusConflict, nil)
	d.do(http.MethodPost, "/scans", map[string]any{"targets": []string{"203.0.113.1"}}, http.StatusAccepted, &begun)
	wait("failed", 3) // nobody has consented
	if !strings.Contains(list.Scans[0].Why, "consent") {
		t.Errorf("got %+v", list.Scans[0])
	}
	for _, bad := range []map[string]any{{}, {"name": "nobody's"}, {"name": "the shop", "targets": []string{"127.0.0.1"}}, {"targets": []string{"not a host"}}, {"targets": []string{"http://a:b@127.0.0.1/"}}} {
		want := http.StatusUnprocessableEntity
		if bad["name"] == "nobody's" {
			want = http.StatusNotFound
		}
		d.do(http.MethodPost, "/scans", bad, want, nil)
	}
	for _, c := range detail.Report.Claims {
		if _, known := inventory.FieldNamed(c.Field); !known {
			t.Errorf("a scan speaks of %q, which the inventory does not have", c.Field)
		}
	}
}
