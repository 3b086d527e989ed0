package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ordersServer builds and starts the service of the guide.
func ordersServer(t *testing.T, addr string) (stop func()) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "orders")
	if out, err := exec.Command("go", "build", "-o", bin, "../../examples/grpc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(bin, "-listen", addr, "-proto", "../../examples/grpc")
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			c.Process.Kill()
			c.Wait()
		}
	}
	t.Cleanup(stop)
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return stop
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("the service did not start")
	return nil
}

// The commands of the guide print what the guide says. Then the service is
// asked for its description instead, and is gone when the gateway starts again.
func TestGRPCGuideRunsAsWritten(t *testing.T) {
	dir, gateway, upstream := t.TempDir(), freeAddr(t), freeAddr(t)
	stop := ordersServer(t, upstream)
	replace := strings.NewReplacer("127.0.0.1:8090", gateway, "127.0.0.1:9450", freeAddr(t), "127.0.0.1:9006", upstream)
	for _, name := range []string{"sallyport.yaml", "orders.proto"} {
		b, err := os.ReadFile("../../examples/grpc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), replace.Replace(string(b)))
	}
	guide, err := os.ReadFile("../../docs/guides/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	text := replace.Replace(string(guide))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	setup := fmt.Sprintf("sallyport() { %s=1 %q \"$@\"; }\n", asCommand, self)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "call()") || strings.HasPrefix(line, "post()") || strings.HasPrefix(line, "at=") {
			setup += line
		}
	}
	run := func(command string) string {
		c := exec.Command("bash", "-c", setup+command)
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			return fmt.Sprintf("%s(%v)", out, err)
		}
		return strings.TrimSpace(string(out))
	}
	p := (&site{dir: dir, gateway: gateway}).start(t)
	ran := 0
	for block := range strings.SplitSeq(text, "```console\n") {
		block, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for step := range strings.SplitSeq(block[2:], "\n$ ") {
			command, want, _ := strings.Cut(step, "\n")
			got := run(command)
			if strings.HasSuffix(got, "\n0(exit status 1)") { // grep -c of nothing
				got = strings.TrimSuffix(got, "(exit status 1)")
			}
			if strings.TrimSpace(got) != strings.TrimSpace(want) && strings.ReplaceAll(got, "\n(exit status 1)", "") != strings.TrimSpace(want) {
				t.Errorf("%s\ngot  %s\nwant %s", command, got, want)
			}
			ran++
		}
	}
	p.stop()
	if ran < 9 {
		t.Errorf("%d commands ran", ran)
	}

	config := filepath.Join(dir, "sallyport.yaml")
	b, _ := os.ReadFile(config)
	write(t, config, strings.NewReplacer("    spec: orders.proto\n", "", "grpc: {", `grpc: {reflection: {url: "http://`+upstream+`"}, `).Replace(string(b)))
	for _, gone := range []bool{false, true} {
		if gone {
			stop()
		}
		p := (&site{dir: dir, gateway: gateway}).start(t)
		if got := run("call Watch ''"); got != "grpc-status: 3" {
			t.Errorf("by reflection, server gone %v: %s", gone, got)
		}
		p.stop()
	}
	os.RemoveAll(filepath.Join(dir, "data", "reflection"))
	if got := run("sallyport config check sallyport.yaml 2>&1"); !strings.Contains(got, "no earlier answer is kept") {
		t.Errorf("nobody to ask, nothing kept: %s", got)
	}
}
