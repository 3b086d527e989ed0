// Command storm starts, kills and replaces hundreds of instances of one API in
// random order while users ask, a tenth of the starts with a defect, and then
// counts: no user's request may have reached an instance with a defect, or one
// whose very start had not passed its tests, and while an instance was admitted
// the gateway must have answered. In comes a binary; out go the figures, and
// exit code 1 when one of them is not as promised. It never leaves loopback.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev/conformance/gate"
	"sallyport.dev/store"
	"sallyport.dev/test/lab/mutants"
	"sallyport.dev/test/lab/mutants/rest"
)

func main() {
	if os.Getenv(asInstance) != "" {
		instance()
		return
	}
	binary := flag.String("sallyport", "bin/sallyport", "the binary that guards")
	dir := flag.String("dir", ".cache/storm", "folder")
	count := flag.Int("instances", 200, "how many instances")
	last := flag.Duration("for", 5*time.Minute, "how long instances are killed and replaced once the first are admitted")
	every := flag.Duration("every", 700*time.Millisecond, "mean time between two of that")
	seed := flag.Uint64("seed", 1, "of the order")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *binary, *dir, *count, *last, *every, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// defects are mutants of the shop that the tests which admit an instance find.
var defects = []string{"shop-001", "shop-003", "shop-004", "shop-010", "shop-013", "shop-017", "shop-043", "shop-046", "shop-052", "shop-058", "shop-068", "shop-076", "shop-080"}

const (
	asInstance = "STORM_INSTANCE" // what the child serves, as JSON
	host       = "shop.example.test"
)

// A seat is an address that instances come and go at.
type seat struct {
	addr string

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{}
	boot   string
	mutant string
}

type child struct{ Addr, Boot, Mutant, Key string }

// instance serves the shop, says which start of it this is, and prints a line
// at the first request of a user. It ends with its standard input.
func instance() {
	var c child
	json.Unmarshal([]byte(os.Getenv(asInstance)), &c)
	key, _ := hex.DecodeString(c.Key)
	server, err := mutants.Find("shop")
	if err != nil {
		panic(err)
	}
	h := server.New(mutants.Options{Mutant: c.Mutant, Key: key})
	var once sync.Once
	ln, err := net.Listen("tcp", c.Addr)
	for range 200 { // of the one before
		if err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
		ln, err = net.Listen("tcp", c.Addr)
	}
	if err != nil {
		panic(err)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			w.Header().Set("X-Boot-Id", c.Boot)
			return
		}
		if r.Header.Get("X-Sallyport-Test") == "" {
			once.Do(func() { fmt.Println(time.Now().UnixMicro()) })
		}
		h.ServeHTTP(w, r)
	}))
}

// A first is the first request of a user at one start of an instance.
type first struct {
	boot, url, mutant string
	at                int64 // microseconds since 1970
}

type storm struct {
	key   string
	self  string
	seats []*seat

	mu     sync.Mutex
	firsts []first
	kills  []time.Time
	starts int
	ill    int // of those, with a defect
}

func (s *storm) start(at *seat, mutant string) error {
	b := make([]byte, 8)
	rand.Read(b)
	c := child{at.addr, hex.EncodeToString(b), mutant, s.key}
	say, err := json.Marshal(c)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.self)
	cmd.Env = append(os.Environ(), asInstance+"="+string(say), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f := first{boot: c.Boot, url: "http://" + at.addr, mutant: mutant}
			fmt.Sscan(lines.Text(), &f.at)
			s.mu.Lock()
			s.firsts = append(s.firsts, f)
			s.mu.Unlock()
		}
		cmd.Wait()
	}()
	at.mu.Lock()
	at.cmd, at.ended, at.boot, at.mutant = cmd, ended, c.Boot, mutant
	at.mu.Unlock()
	s.mu.Lock()
	s.starts++
	if mutant != "" {
		s.ill++
	}
	s.mu.Unlock()
	return nil
}

func (s *storm) kill(at *seat) {
	at.mu.Lock()
	cmd, ended := at.cmd, at.ended
	at.cmd = nil
	at.mu.Unlock()
	if cmd == nil {
		return
	}
	s.mu.Lock()
	s.kills = append(s.kills, time.Now())
	s.mu.Unlock()
	cmd.Process.Kill()
	<-ended
}

func (s *storm) mutant(r *mrand.Rand) string {
	if r.IntN(10) == 0 {
		return defects[r.IntN(len(defects))]
	}
	return ""
}

// A miss is an answer of 500 or more, or none.
type miss struct {
	began, ended time.Time
	what         string
}

type asked struct {
	n      atomic.Int64
	mu     sync.Mutex
	misses []miss
	took   []time.Duration
}

// users ask until ctx ends.
func (u *asked) users(ctx context.Context, gateway, token string) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				path := "/products"
				if n%2 == 0 {
					path = "/orders"
				}
				req, err := http.NewRequest(http.MethodGet, "http://"+gateway+path, nil)
				if err != nil {
					panic(err) // the address is our own
				}
				req.Host = host
				req.Header.Set("Authorization", "Bearer "+token)
				began := time.Now()
				res, err := client.Do(req)
				what := ""
				if err != nil {
					what = err.Error()
				} else {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode >= 500 {
						what = res.Status
					}
				}
				u.n.Add(1)
				u.mu.Lock()
				u.took = append(u.took, time.Since(began))
				if what != "" {
					u.misses = append(u.misses, miss{began, time.Now(), what})
				}
				u.mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func run(ctx context.Context, binary, dir string, count int, last, every time.Duration, seed uint64) error {
	server, err := mutants.Find("shop")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	key := rest.NewKey()
	s := &storm{key: hex.EncodeToString(key), self: self}
	for range count {
		s.seats = append(s.seats, &seat{addr: free()})
	}
	gateway, console := free(), free()
	if dir, err = filepath.Abs(dir); err == nil {
		err = errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
	}
	if err != nil {
		return err
	}
	var c strings.Builder
	fmt.Fprintf(&c, "listen: {gateway: %q, console: %q}\ntls: \"off\"\ndata: data\nkeys: file:master.key\nlog: warn\napis:\n  - name: shop\n    spec: shop.yaml\n    match: {host: %s}\n    mode: observe\n    gate:\n      admit: full\n      identity: {path: /version, header: X-Boot-Id}\n      recheck: safe\n      every: 24h\n      identities:\n", gateway, console, host)
	env, token := os.Environ(), ""
	for _, who := range server.Identities(key) {
		fmt.Fprintf(&c, "        - {name: %s, role: %s, token: env:STORM_%s}\n", who.Name, who.Role, strings.ToUpper(who.Name))
		env = append(env, "STORM_"+strings.ToUpper(who.Name)+"="+who.Token)
		if who.Name == "alice" {
			token = who.Token
		}
	}
	fmt.Fprint(&c, "    upstreams:\n")
	for _, at := range s.seats {
		fmt.Fprintf(&c, "      - {url: \"http://%s\"}\n", at.addr)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "sallyport.yaml"), []byte(c.String()), 0o600), os.WriteFile(filepath.Join(dir, "shop.yaml"), server.Document, 0o600)); err != nil {
		return err
	}

	r := mrand.New(mrand.NewPCG(seed, 7))
	defer func() {
		for _, at := range s.seats {
			s.kill(at)
		}
	}()
	log, err := os.Create(filepath.Join(dir, "sallyport.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	door := exec.Command(binary, "run", "--config", filepath.Join(dir, "sallyport.yaml"))
	door.Dir, door.Env, door.Stdout, door.Stderr = dir, env, log, log
	door.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := door.Start(); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() { gone <- door.Wait() }()
	fmt.Printf("%d instances start at once\n", count)
	began := time.Now()
	for _, at := range s.seats {
		if err := s.start(at, s.mutant(r)); err != nil {
			return err
		}
	}
	asking, enough := context.WithCancel(ctx)
	defer enough()
	var u asked
	var wg sync.WaitGroup
	wg.Go(func() { u.users(asking, gateway, token) })
	ready := func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.firsts) >= min(20, count/4) }
	for !ready() {
		select {
		case err := <-gone:
			return fmt.Errorf("sallyport ended: %v; see %s", err, log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("nothing serves after ten minutes; see %s", log.Name())
		}
	}
	open := time.Now()
	fmt.Printf("%d serve after %.1f s; now they are killed and replaced\n", min(20, count/4), open.Sub(began).Seconds())
	said := time.Now()
	for time.Since(open) < last && ctx.Err() == nil {
		at := s.seats[r.IntN(len(s.seats))]
		switch r.IntN(4) {
		case 0: // scaled in, and out again
			s.kill(at)
			next := s.mutant(r)
			back := time.Duration(r.IntN(8000)) * time.Millisecond
			wg.Go(func() {
				time.Sleep(back)
				at.mu.Lock()
				busy := at.cmd != nil
				at.mu.Unlock()
				if !busy && asking.Err() == nil {
					s.start(at, next)
				}
			})
		default: // started again at the same address
			at.mu.Lock()
			down := at.cmd == nil
			at.mu.Unlock()
			if !down {
				s.kill(at)
				if err := s.start(at, s.mutant(r)); err != nil {
					return err
				}
			}
		}
		select {
		case err := <-gone:
			return fmt.Errorf("sallyport ended: %v; see %s", err, log.Name())
		case <-time.After(time.Duration(r.ExpFloat64() * float64(every))):
		}
		if time.Since(said) > 15*time.Second {
			said = time.Now()
			s.mu.Lock()
			fmt.Printf("%4.0f s  %d starts, %d kills, %d starts have served, %d requests, %d not answered\n", time.Since(open).Seconds(), s.starts, len(s.kills), len(s.firsts), u.n.Load(), len(u.misses))
			s.mu.Unlock()
		}
	}
	enough()
	wg.Wait()
	door.Process.Signal(syscall.SIGTERM)
	select {
	case <-gone:
	case <-time.After(time.Minute):
		door.Process.Kill()
		<-gone
	}
	return s.judge(context.WithoutCancel(ctx), dir, &u, open)
}

// judge compares what instances saw with the verdicts that were kept.
func (s *storm) judge(ctx context.Context, dir string, u *asked, open time.Time) error {
	data := filepath.Join(dir, "data")
	key, err := store.LoadKey("file:"+filepath.Join(dir, "master.key"), data)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Options{Dir: data, Key: key})
	if err != nil {
		return err
	}
	defer db.Close()
	passed := map[string]int64{} // start → when it passed
	admitted := open             // the first of all
	var good, bad int
	var took []time.Duration
	var all []gate.Verdict
	if err := db.Reader().NewSelect().Model(&all).ExcludeColumn("report").Scan(ctx); err != nil {
		return err
	}
	for _, v := range all {
		took = append(took, time.Duration(v.Ended-v.Began)*time.Microsecond)
		if !v.Passed {
			bad++
			continue
		}
		good++
		if t := time.UnixMicro(v.Ended).Add(200 * time.Millisecond); t.Before(admitted) {
			admitted = t
		}
		if at, ok := passed[v.Boot]; !ok || v.Ended < at {
			passed[v.Boot] = v.Ended
		}
	}
	var ill, untested int
	kinds := map[string]int{}
	for _, f := range s.firsts {
		if f.mutant != "" {
			ill++
			kinds[f.mutant]++
		}
		if at, ok := passed[f.boot]; !ok || at > f.at {
			untested++
		}
	}
	var flight, refused int
	what := map[string]int{}
	for _, m := range u.misses {
		switch {
		case m.began.Before(admitted):
		case slices.ContainsFunc(s.kills, func(k time.Time) bool { return k.After(m.began.Add(-time.Millisecond)) && k.Before(m.ended) }):
			flight++
		default:
			refused++
			what[m.what]++
		}
	}
	slices.Sort(u.took)
	slices.Sort(took)
	row := func(what string, v any) { fmt.Printf("%-66s %10v\n", what, v) }
	fmt.Println()
	row("starts of instances", s.starts)
	row("  of them with a defect", s.ill)
	row("kills", len(s.kills))
	row("tests that passed", good)
	row("tests that failed", bad)
	row("time of a test, p50", at(took, .5).Round(time.Millisecond))
	row("time of a test, p95", at(took, .95).Round(time.Millisecond))
	row("requests of users", u.n.Load())
	row("their time, p99", at(u.took, .99).Round(time.Millisecond))
	row("starts that served users", len(s.firsts))
	row("  of them with a defect (promised: 0)", ill)
	row("  of them before they had passed (promised: 0)", untested)
	row("not answered, in flight on a process that was killed", flight)
	row("not answered otherwise, while one was admitted (promised: 0)", refused)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		row("    "+k, kinds[k])
	}
	for _, k := range slices.Sorted(maps.Keys(what)) {
		row("    "+k, what[k])
	}
	if ill+untested+refused > 0 {
		return errors.New("NOT as promised")
	}
	fmt.Println("as promised")
	return nil
}

func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

var next = 20000 + mrand.IntN(4000)

// free is an address that nobody listens at, below those that the system gives
// to outgoing connections: an instance must find it free again.
func free() string {
	for {
		next++
		addr := fmt.Sprintf("127.0.0.1:%d", next)
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
}
