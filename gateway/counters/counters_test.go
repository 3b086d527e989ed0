package counters_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"sallyport.dev/gateway/counters"
	"sallyport.dev/guard/authn"
	"sallyport.dev/guard/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// redis starts a server of its own at addr; stop ends it.
func redis(t *testing.T, addr string, more ...string) (stop func()) {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--port", port}
	if len(more) > 0 && more[0] == "--tls-port" {
		args = []string{"--port", "0", "--tls-port", port}
		more = more[1:]
	}
	c := exec.Command("redis-server", append(append(args, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()), more...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("start redis-server (test/setup.sh installs it): %v", err)
	}
	ready := make(chan struct{})
	var said strings.Builder
	go func() {
		lines, open := bufio.NewScanner(out), true
		for lines.Scan() {
			if open && strings.Contains(lines.Text(), "Ready to accept connections") {
				open = false
				close(ready)
			}
			if open {
				said.WriteString(lines.Text() + "\n")
			}
		}
		if open {
			close(ready)
		}
	}()
	<-ready
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			c.Process.Kill()
			c.Wait()
		}
	}
	t.Cleanup(stop)
	if c.ProcessState != nil {
		t.Fatalf("redis-server: %s", said.String())
	}
	return stop
}

// node is one gateway's counters, running.
func node(t *testing.T, o counters.Options) *counters.Shared {
	t.Helper()
	s, err := counters.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; s.Close() })
	return s
}

// patient waits long, for a machine on which others work too.
const patient = 3 * time.Second

func nodes(t *testing.T, n int, addr string) []*counters.Shared {
	t.Helper()
	var out []*counters.Shared
	for range n {
		out = append(out, node(t, counters.Options{URL: "redis://" + addr, Patience: patient}))
	}
	for _, s := range out {
		until(t, "sharing", func() bool { return !s.Alone() })
	}
	return out
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// All nodes together never give out more than the limit and a lease of each:
// eight goroutines on three nodes ask as fast as they can.
func TestNodesTogetherKeepTheLimit(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	all := nodes(t, 3, addr)
	for _, l := range []limit.Limit{
		{Count: 10, Window: time.Hour}, // asked for one by one
		{Count: 400, Window: time.Hour},
		{Count: 1000, Window: time.Second, Burst: 64},
		{Count: 500, Window: time.Second, Burst: 400},
		{Count: 20000, Window: time.Second},
	} {
		k := limit.Key{Limit: fmt.Sprint(l), Subject: "alice"}
		var passed, tries atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for g := range 8 {
			wg.Go(func() {
				for time.Since(began) < 700*time.Millisecond {
					tries.Add(1)
					if ok, wait := all[g%len(all)].Take(k, l, 1, time.Now()); ok {
						passed.Add(1)
					} else if wait <= 0 {
						t.Errorf("%+v: refused without a wait", l)
						return
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		exact := l.Capacity() + int(float64(l.Count)*float64(took)/float64(l.Window))
		bound := exact + len(all)*counters.Lease(l)
		t.Logf("%d in %s burst %d: %d of %d tries passed in %s; limit %d, stated bound %d", l.Count, l.Window, l.Capacity(), passed.Load(), tries.Load(), took.Round(time.Millisecond), exact, bound)
		if n := int(passed.Load()); n > bound {
			t.Errorf("%+v: %d passed, the bound is %d", l, n, bound)
		} else if n < l.Capacity()-len(all)*counters.Lease(l) {
			t.Errorf("%+v: %d passed of %d that may at once", l, n, l.Capacity())
		}
	}
	for _, s := range all {
		if st := s.Stats(); st.Late+st.Failures > 0 {
			t.Errorf("%+v", st)
		}
	}
}

func TestNodesShareQuotas(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	all := nodes(t, 3, addr)
	l := limit.Limit{Count: 500, Every: &limit.Calendar{Zone: time.FixedZone("noon", noon())}}
	k := limit.Key{Limit: "daily", Subject: "alice"}
	passed := 0
	take := func() {
		for i := range 900 {
			if ok, _ := all[i%3].Take(k, l, 1, time.Now()); ok {
				passed++
			}
		}
	}
	if take(); passed > 500 || passed < 500-3*counters.Lease(l) {
		t.Errorf("%d passed of a quota of 500", passed)
	}
	// What a node has leased and does not use comes back.
	until(t, "all of the quota", func() bool { take(); time.Sleep(300 * time.Millisecond); return passed == 500 })
	if take(); passed != 500 {
		t.Errorf("%d passed of a quota of 500", passed)
	}
}

// noon is a zone's offset in which it is about noon now, so that no day ends
// while a test runs.
func noon() int { return 12*3600 - int(time.Now().UTC().Unix()%86400) }

// The hot path asks nobody: what is leased lasts for a while.
func TestLeasesSpareTheRoundTrip(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	s := nodes(t, 1, addr)[0]
	l := limit.Limit{Count: 10_000_000, Window: time.Second}
	before := s.Stats().Trips
	const takes = 200_000
	for range takes {
		if ok, _ := s.Take(limit.Key{Limit: "l"}, l, 1, time.Now()); !ok {
			t.Fatal("refused far below the limit")
		}
	}
	if trips := s.Stats().Trips - before; trips > takes/100 {
		t.Errorf("%d round trips for %d requests", trips, takes)
	} else {
		t.Logf("%d round trips for %d requests", trips, takes)
	}
}

func TestCostsAreKnownToAllNodesSoon(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	all := nodes(t, 2, addr)
	for _, l := range []limit.Limit{{Count: int(time.Second), Window: time.Hour}, {Count: int(time.Second), Every: &limit.Calendar{Zone: time.FixedZone("noon", noon())}}} {
		k := limit.Key{Limit: fmt.Sprint("cpu", l.Window), Subject: "dear"}
		cost := int(10 * time.Second)
		for _, s := range all {
			if ok, _ := s.Hold(k, l, 1, time.Now()); !ok {
				t.Fatal("refused before anything was used")
			}
			s.Settle(k, l, 1, 0, time.Now())
		}
		all[0].Settle(k, l, 0, cost, time.Now())
		if ok, wait := all[0].Hold(k, l, 1, time.Now()); ok || wait <= 0 {
			t.Errorf("the node that counted it: %v, %v", ok, wait)
		}
		until(t, "the other node's refusal", func() bool {
			ok, _ := all[1].Hold(k, l, 1, time.Now())
			if ok {
				all[1].Settle(k, l, 1, 0, time.Now())
			}
			return !ok
		})
		if st := all[1].Look(k, l, time.Now()); st.Remaining != 0 || st.Held != 0 {
			t.Errorf("the other node says %+v", st)
		}
	}
}

// Requests in flight are this node's own affair.
func TestConcurrencyIsPerNode(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	all := nodes(t, 2, addr)
	l, k := limit.Limit{Count: 2}, limit.Key{Limit: "slots"}
	for _, s := range all {
		for i := range 3 {
			if ok, _ := s.Hold(k, l, 1, time.Now()); ok != (i < 2) {
				t.Errorf("hold number %d: %t", i+1, ok)
			}
		}
		s.Settle(k, l, 1, 0, time.Now())
		if ok, _ := s.Hold(k, l, 1, time.Now()); !ok {
			t.Error("a place was not given back")
		}
	}
}

// logged is what a node logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

func TestRedisGoneAndBack(t *testing.T) {
	addr := freeAddr(t)
	stop := redis(t, addr)
	var log logged
	s := node(t, counters.Options{URL: "redis://" + addr, Patience: patient, Log: slog.New(slog.NewTextHandler(&log, nil))})
	until(t, "sharing", func() bool { return !s.Alone() })
	l, k := limit.Limit{Count: 20, Window: time.Hour}, limit.Key{Limit: "l", Subject: "a"}
	passed := 0
	take := func(n int) {
		for range n {
			if ok, _ := s.Take(k, l, 1, time.Now()); ok {
				passed++
			}
		}
	}
	if take(15); passed != 15 {
		t.Fatalf("%d of 15 passed", passed)
	}
	stop()
	// The local limit goes on where the shared one was: five are left.
	if take(30); passed != 20 {
		t.Errorf("%d passed with Redis gone half-way, want 20", passed)
	}
	until(t, "alone", s.Alone)
	if take(30); passed != 20 {
		t.Errorf("%d passed with Redis gone, want 20", passed)
	}
	time.Sleep(1200 * time.Millisecond) // two more probes
	if n := log.count("on this node alone"); n != 1 {
		t.Errorf("said %d times that it counts alone, want once", n)
	}
	redis(t, addr)
	until(t, "sharing again", func() bool { return !s.Alone() })
	if n := log.count("together with other nodes"); n != 2 {
		t.Errorf("said %d times that it shares, want twice", n)
	}
	if ok, _ := s.Take(limit.Key{Limit: "other"}, l, 1, time.Now()); !ok || s.Alone() {
		t.Error("refused, or alone, with Redis back")
	}
}

// liar is a server that accepts and answers with what it is made with.
func liar(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); answer(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// honest answers what a real server would until it is told to lie.
func honest(addr string, lying *atomic.Bool, lie string) func(net.Conn) {
	return func(c net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer up.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 4096)
			for {
				n, err := up.Read(b)
				if err != nil {
					return
				}
				out := b[:n]
				if lying.Load() {
					out = []byte(lie)
				}
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}()
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			if _, err := up.Write(b[:n]); err != nil {
				break
			}
		}
		up.Close()
		<-done
	}
}

func TestNonsenseAndSilenceStopNobody(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	l, k := limit.Limit{Count: 20, Window: time.Hour}, limit.Key{Limit: "l", Subject: "a"}
	for name, lie := range map[string]string{
		"no protocol":      "HTTP/1.1 200 OK\r\n\r\n",
		"a bare word":      "+OK\r\n",
		"more than wanted": "*2\r\n:1000000\r\n$1\r\n0\r\n",
		"less than none":   "*2\r\n:-5\r\n$1\r\n0\r\n",
		"no number":        "*2\r\n:1\r\n$3\r\nabc\r\n",
		"an absurd state":  "*2\r\n:1\r\n$20\r\n99999999999999999999\r\n",
		"too short a list": "*1\r\n:1\r\n",
		"an endless list":  "*2147483647\r\n:1\r\n",
		"an error":         "-ERR out of order\r\n",
		"silence":          "",
	} {
		t.Run(name, func(t *testing.T) {
			var lying atomic.Bool
			s := node(t, counters.Options{URL: "redis://" + liar(t, honest(addr, &lying, lie)), Prefix: name})
			until(t, "sharing", func() bool { return !s.Alone() })
			lying.Store(true)
			passed := 0
			for range 40 {
				if ok, _ := s.Take(k, l, 1, time.Now()); ok {
					passed++
				}
			}
			if passed != 20 {
				t.Errorf("%d of 40 passed, want the local limit's 20", passed)
			}
			until(t, "alone", s.Alone)
			lying.Store(false)
			until(t, "sharing again", func() bool { return !s.Alone() })
		})
	}
}

// The state that somebody else left at our key is not believed either.
func TestForeignKeysAreSurvived(t *testing.T) {
	addr := freeAddr(t)
	redis(t, addr)
	s := nodes(t, 1, addr)[0]
	l, k := limit.Limit{Count: 3, Window: time.Hour}, limit.Key{Limit: "l"}
	s.Take(k, l, 1, time.Now())
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "EVAL \"for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('SET', k, 'rubbish') end return 1\" 0\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != ":1\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	passed := 0
	for range 10 {
		if ok, _ := s.Take(k, l, 1, time.Now()); ok {
			passed++
		}
	}
	if passed != 3 || s.Alone() {
		t.Errorf("%d passed, alone %t; want a whole budget again", passed, s.Alone())
	}
}

func TestTLSAndPassword(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	pool := certificate(t, dir)
	redis(t, addr, "--tls-port", "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-auth-clients", "no", "--requirepass", "open sesame")
	good := node(t, counters.Options{URL: "rediss://" + addr, Password: "open sesame", TLS: &tls.Config{RootCAs: pool}, Patience: patient})
	until(t, "sharing", func() bool { return !good.Alone() })
	var log logged
	to := slog.New(slog.NewTextHandler(&log, nil))
	wrong := node(t, counters.Options{URL: "rediss://" + addr, Password: "wrong-word", TLS: &tls.Config{RootCAs: pool}, Log: to})
	strange := node(t, counters.Options{URL: "rediss://" + addr, Password: "open sesame", Log: to})
	until(t, "both refusals", func() bool { return log.count("on this node alone") == 2 })
	if !wrong.Alone() || !strange.Alone() {
		t.Error("shares with a wrong password, or with a server that nobody vouches for")
	}
	if log.count("wrong-word")+log.count("sesame") > 0 {
		t.Error("the log holds a password")
	}
}

func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func TestURLsThatAreNone(t *testing.T) {
	for _, url := range []string{"", "redis", "http://u:secret@h", "redis://u:secret@h:99999999", "redis://h/x"} {
		if _, err := counters.Open(counters.Options{URL: url}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestProofsAreUsedOnceAmongAllNodes(t *testing.T) {
	addr := freeAddr(t)
	stop := redis(t, addr)
	all := nodes(t, 2, addr)
	one, two := all[0].Replays(authn.NewReplayMemory(1000)), all[1].Replays(authn.NewReplayMemory(1000))
	now := time.Now().Unix()
	proof := func(b byte) [32]byte { return [32]byte{b} }
	if one.Once(proof(1), proof(9), now+60, now) != authn.Fresh || two.Once(proof(1), proof(9), now+60, now) != authn.Repeated {
		t.Error("a proof passed at two nodes")
	}
	if two.Once(proof(2), proof(9), now+60, now) != authn.Fresh {
		t.Error("another proof was refused")
	}
	stop()
	if two.Once(proof(3), proof(9), now+60, now) != authn.Fresh || two.Once(proof(3), proof(9), now+60, now) != authn.Repeated {
		t.Error("with Redis gone the node's own memory does not decide")
	}
}

func BenchmarkTake(b *testing.B) {
	s, err := counters.Open(counters.Options{URL: "redis://127.0.0.1:1"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	k, l, now := limit.Key{Limit: "payments limits[0]", Subject: "alice"}, limit.Limit{Count: 1e9, Window: time.Second}, time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s.Take(k, l, 1, now)
	}
}
