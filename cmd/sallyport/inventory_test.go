package main

import (
	"strings"
	"testing"
)

// The commands of the guide print what the guide says.
func TestInventoryGuideRunsAsWritten(t *testing.T) {
	s := newSite(t)
	s.configure(t, "")
	p := s.start(t)
	defer p.stop()
	p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], "a long password for this guide")
	runGuide(t, "inventory.md", s.dir, 15, strings.NewReplacer("127.0.0.1:9443", s.console), "ask()", "at=", "pick()")
}
