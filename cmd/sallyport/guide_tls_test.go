package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The commands of the guide, openssl's responder and server among them, print
// what the guide says.
func TestTLSGuideRunsAsWritten(t *testing.T) {
	dir, gateway, console, responder, service := t.TempDir(), freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	ports := strings.NewReplacer("8449", port(gateway), "9449", port(console), "9010", port(responder), "9011", port(service))
	text := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return ports.Replace(string(b))
	}
	write(t, filepath.Join(dir, "sallyport.yaml"), text("../../examples/tls/sallyport.yaml"))
	guide := text("../../docs/guides/tls.md")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bin, "sallyport"), "#!/bin/sh\n"+asCommand+"=1 exec "+self+" \"$@\"\n")
	os.Chmod(filepath.Join(bin, "sallyport"), 0o700)
	shell := func(script string) *exec.Cmd {
		c := exec.Command("bash", "-c", script)
		c.Dir = dir
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return c
	}
	setup, ran := "", 0
	var door *process
	for block := range strings.SplitSeq(guide, "\n```") {
		kind, block, _ := strings.Cut(block, "\n")
		switch {
		case kind == "sh" && strings.HasPrefix(block, "ask()"):
			setup = block + "\n"
		case kind == "sh":
			c := shell(strings.ReplaceAll(block, " &", " >/dev/null 2>&1 </dev/null &"))
			var said bytes.Buffer
			c.Stderr = &said
			if err := c.Run(); err != nil {
				t.Fatalf("%s\n%v\n%s", block, err, said.String())
			}
			group := c.Process.Pid // of the servers that it has left behind
			t.Cleanup(func() { syscall.Kill(-group, syscall.SIGKILL) })
		case kind == "" && strings.HasPrefix(block, "sallyport run"):
			await(t, service)
			for until := time.Now().Add(10 * time.Second); shell("openssl ocsp -issuer certs/ca.crt -cert certs/door.crt -noverify -url http://"+responder).Run() != nil; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("the responder does not answer")
				}
			}
			door = (&site{dir: dir, gateway: gateway}).start(t)
			defer door.stop()
			door.wait("OCSP answer stapled")
		case kind == "console":
			for step := range strings.SplitSeq(strings.TrimPrefix(block, "$ "), "\n$ ") {
				command, want, _ := strings.Cut(step, "\n")
				out, err := shell(setup + command).Output()
				if got := strings.TrimSpace(string(out)); err != nil || got != strings.TrimSpace(want) {
					t.Errorf("%s\ngot  %s (%v)\nwant %s", command, got, err, want)
				}
				ran++
			}
		}
	}
	if ran < 8 {
		t.Errorf("%d commands of the guide ran", ran)
	}
	if door != nil && t.Failed() {
		t.Log(door.output())
	}
}

// await waits until somebody listens.
func await(t *testing.T, addr string) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s", addr)
}
