package http1_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What this package refuses, net/http's server refuses too, or repairs and
// serves. The names below are of the second kind and stand for the grounds of
// a strict server; the rest of the list is in the log.
func TestWhereStandardReadsOn(t *testing.T) {
	var served atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			served.Add(1)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	defer s.Close()
	var lax []string
	refused := 0
	for _, c := range framingCases {
		if c.rule == "" || len(c.raw) > 64<<10 {
			continue
		}
		refused++
		served.Store(0)
		nc, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		go func() { io.WriteString(nc, c.raw); nc.(*net.TCPConn).CloseWrite() }()
		io.Copy(io.Discard, nc) // until it closes or resets
		nc.Close()
		if served.Load() > 0 {
			lax = append(lax, c.name)
		}
	}
	t.Logf("net/http serves %d of %d shapes that are refused here: %s", len(lax), refused, strings.Join(lax, "; "))
	for _, name := range []string{"te and cl", "two equal lengths", "bare LF everywhere", "folded line, tab", "absolute form, foreign host", "trailer with credentials", "connection names credentials"} {
		if !slices.Contains(lax, name) {
			t.Errorf("net/http refuses %q now: see whether the strict server is still needed for it", name)
		}
	}
}
