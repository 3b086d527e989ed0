// Command doors measures what the guard adds to the latency of each door: 2,000
// requests a second through the real proxy, asking `sallyport run`, beside the same
// proxy asking a decider that allows everything. In come a sallyport binary and a
// number of rounds; out comes, per door, the 99th percentile of both, and their
// difference as the median of the rounds with its spread. It opens no connection
// off loopback and ends every process it started.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sallyport.dev/test/integration/proxies"
)

func main() {
	binary := flag.String("sallyport", "bin/sallyport", "the binary to measure")
	rounds := flag.Int("rounds", 10, "rotated rounds")
	seconds := flag.Float64("seconds", 2, "load on each door, decider and round")
	rate := flag.Int("rate", 2000, "requests a second")
	most := flag.Float64("most", 2, "milliseconds that the median difference may be")
	only := flag.String("only", "", "comma-separated doors; empty = all")
	serve := flag.String("serve", "", "internal: run the decider that allows everything, or the upstream")
	addrs := flag.String("addr", "", "internal: its addresses")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *serve != "" {
		if err := serveAll(ctx, strings.Split(*addrs, ",")); err != nil {
			fmt.Fprintln(os.Stderr, "doors:", err)
			os.Exit(1)
		}
		return
	}
	l := &lab{binary: *binary, rounds: *rounds, span: time.Duration(*seconds * float64(time.Second)), rate: *rate, most: *most, only: *only}
	if err := l.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "doors:", err)
		os.Exit(1)
	}
}

type lab struct {
	binary string
	rounds int
	span   time.Duration
	rate   int
	most   float64
	only   string
	dir    string
}

// A way is a proxy with its two deciders.
type way struct {
	name           string
	guarded, plain string // addresses of the proxy
	diffs          []float64
	with, without  []float64
}

func free() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (l *lab) run(ctx context.Context) (err error) {
	if l.dir, err = os.MkdirTemp("", "doors"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	if l.binary, err = filepath.Abs(l.binary); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	up, door := free(), map[string]string{}
	for _, port := range []string{"8100", "9449", "9601", "9602", "9603", "9604", "9605", "9606"} {
		door[port] = free()
	}
	pairs := []string{}
	for port, addr := range door {
		pairs = append(pairs, "127.0.0.1:"+port, addr)
	}
	pairs = append(pairs, "127.0.0.1:9006", up)
	edit := strings.NewReplacer(pairs...)
	root := filepath.Join(l.dir, "sallyport")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"sallyport.yaml", "petstore.openapi.yaml", "nginx.token", "caddy.token", "envoy.token"} {
		b, err := os.ReadFile(filepath.Join("examples/doors", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(edit.Replace(string(b))), 0o600); err != nil {
			return err
		}
	}
	end, err := start(l.binary, []string{"run", "--config", filepath.Join(root, "sallyport.yaml")}, door["9601"], door["9602"], door["9604"])
	if err != nil {
		return err
	}
	defer end()
	allowHTTP, allowSPOE, allowICAP := free(), free(), free()
	end2, err := start(self, []string{"-serve", "all", "-addr", strings.Join([]string{up, allowHTTP, allowSPOE, allowICAP}, ",")}, up, allowHTTP, allowSPOE, allowICAP)
	if err != nil {
		return err
	}
	defer end2()
	var all []*way
	ways := map[string]*way{}
	for _, variant := range []string{"guarded", "plain"} {
		d := map[string]string{"9601": door["9601"], "9602": door["9602"], "9603": door["9603"], "9604": door["9604"]}
		if variant == "plain" {
			d = map[string]string{"9601": allowHTTP, "9602": allowSPOE, "9603": allowHTTP, "9604": allowICAP}
		}
		at := map[string]string{"nginx": free(), "njs": free(), "haproxy": free(), "caddy": free(), "squid": free()}
		edit := strings.NewReplacer("127.0.0.1:9006", up, "127.0.0.1:9601", d["9601"], "127.0.0.1:9602", d["9602"], "127.0.0.1:9603", d["9603"], "127.0.0.1:9604", d["9604"],
			"127.0.0.1:8101", at["nginx"], "127.0.0.1:8105", at["njs"], "127.0.0.1:8102", at["haproxy"], ":8103", at["caddy"][strings.LastIndexByte(at["caddy"], ':'):], "127.0.0.1:8104", at["squid"],
			"parent 9006", "parent "+up[strings.LastIndexByte(up, ':')+1:])
		for _, product := range []string{"nginx", "haproxy", "caddy", "squid"} {
			p, err := proxies.Start(product, filepath.Join(l.dir, variant), edit, at[product])
			if err != nil {
				return err
			}
			defer p.Stop()
		}
		for _, name := range []string{"nginx", "njs", "haproxy", "caddy", "squid"} {
			w := ways[name]
			if w == nil {
				w = &way{name: name}
				ways[name] = w
				if l.only == "" || slices.Contains(strings.Split(l.only, ","), name) {
					all = append(all, w)
				}
			}
			if variant == "plain" {
				w.plain = at[name]
			} else {
				w.guarded = at[name]
			}
		}
	}
	for _, w := range all { // warm
		for _, addr := range []string{w.guarded, w.plain} {
			if _, err := l.load(ctx, addr, 500*time.Millisecond); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	for round := range l.rounds {
		for i := range all {
			w := all[(i+round)%len(all)]
			both := []*[]float64{&w.with, &w.without}
			for j := range both {
				which := (j + round) % 2
				addr := w.guarded
				if which == 1 {
					addr = w.plain
				}
				p99, err := l.load(ctx, addr, l.span)
				if err != nil {
					return fmt.Errorf("%s: %w", w.name, err)
				}
				*both[which] = append(*both[which], p99)
			}
			w.diffs = append(w.diffs, w.with[round]-w.without[round])
		}
	}
	return l.report(all)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (l *lab) report(all []*way) error {
	fmt.Printf("%d requests/s, %d rounds of %v, half of them POST with a JSON body, %d processors; milliseconds\n", l.rate, l.rounds, l.span, runtime.NumCPU())
	fmt.Printf("%-8s %12s %12s %12s %18s\n", "door", "p99 guarded", "p99 allowing", "difference", "spread")
	var over []string
	for _, w := range all {
		d := median(w.diffs)
		fmt.Printf("%-8s %12.2f %12.2f %12.2f %8.2f … %6.2f\n", w.name, median(w.with), median(w.without), d, slices.Min(w.diffs), slices.Max(w.diffs))
		if d > l.most {
			over = append(over, w.name)
		}
	}
	if len(over) > 0 {
		return fmt.Errorf("more than %.1f ms: %s", l.most, strings.Join(over, ", "))
	}
	return nil
}

func start(binary string, args []string, ready ...string) (end func(), err error) {
	c := exec.Command(binary, args...)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { c.Wait(); close(done) }()
	end = func() {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			c.Process.Kill()
		}
	}
	for _, addr := range ready {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if conn, err := net.Dial("tcp", addr); err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				end()
				return nil, fmt.Errorf("%s does not listen at %s: %s", binary, addr, said.String())
			}
		}
	}
	return end, nil
}

var (
	get  = []byte("GET /pets/7 HTTP/1.1\r\nHost: pets.example.test\r\nX-API-Key: example-key-of-shop\r\nUser-Agent: lab\r\n\r\n")
	body = `{"name":"Tom","kind":"cat","note":"as the others"}`
	post = fmt.Appendf(nil, "POST /pets HTTP/1.1\r\nHost: pets.example.test\r\nX-API-Key: example-key-of-shop\r\nUser-Agent: lab\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
)

// load sends requests at a steady rate and gives the 99th percentile of their
// times, from the moment that each was due.
func (l *lab) load(ctx context.Context, addr string, span time.Duration) (p99 float64, err error) {
	const workers = 32
	total := int(float64(l.rate) * span.Seconds())
	took := make([]float64, total)
	errs := make(chan error, workers)
	began := time.Now().Add(20 * time.Millisecond)
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for i := k; i < total && ctx.Err() == nil; i += workers {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
				time.Sleep(time.Until(due))
				c.SetDeadline(time.Now().Add(5 * time.Second))
				text, want := get, http.StatusOK
				if i/workers%2 == 1 {
					text, want = post, http.StatusCreated
				}
				if _, err := c.Write(text); err != nil {
					errs <- err
					return
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					errs <- err
					return
				}
				io.Copy(io.Discard, res.Body)
				took[i] = float64(time.Since(due).Nanoseconds()) / 1e6
				if res.StatusCode != want {
					errs <- fmt.Errorf("status %d in place of %d", res.StatusCode, want)
					return
				}
				if res.Close { // some proxies end a connection now and then
					c.Close()
					if c, err = net.Dial("tcp", addr); err != nil {
						errs <- err
						return
					}
					r = bufio.NewReader(c)
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	slices.Sort(took)
	return took[int(float64(total)*.99)], ctx.Err()
}

// serveAll is the upstream and the decider that allows everything, by each protocol.
func serveAll(ctx context.Context, addrs []string) error {
	if len(addrs) != 4 {
		return errors.New("want four addresses")
	}
	var list []net.Listener
	for _, a := range addrs {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			return err
		}
		list = append(list, ln)
	}
	go http.Serve(list[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		io.WriteString(w, `{"id":7,"name":"Tom","kind":"cat"}`)
	}))
	go http.Serve(list[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	go each(list[2], allowSPOE)
	go each(list[3], allowICAP)
	<-ctx.Done()
	return nil
}

func each(ln net.Listener, serve func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

// allowSPOE sets action to allow for every message.
func allowSPOE(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	var n [4]byte
	for {
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(n[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		var out []byte
		switch b[0] {
		case 1:
			out = append([]byte{101, 0, 0, 0, 1, 0, 0}, "\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08\x10pipelining,async"...)
		case 3:
			at := 5
			for range 2 { // stream and frame
				if b[at] >= 240 {
					for at++; b[at] >= 128; at++ {
					}
				}
				at++
			}
			out = append([]byte{103, 0, 0, 0, 1}, b[5:at]...)
			out = append(out, "\x01\x03\x02\x06action\x08\x05allow"...)
		default:
			return
		}
		c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(out))), out...))
	}
}

// allowICAP answers everything with 204.
func allowICAP(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		head := map[string]string{}
		first := ""
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if l = strings.TrimSpace(l); l == "" {
				break
			}
			if first == "" {
				first = l
				continue
			}
			k, v, _ := strings.Cut(l, ":")
			head[strings.ToLower(k)] = strings.TrimSpace(v)
		}
		if strings.HasPrefix(first, "OPTIONS") {
			method := "REQMOD"
			if strings.Contains(first, "respmod") {
				method = "RESPMOD"
			}
			fmt.Fprintf(c, "ICAP/1.0 200 OK\r\nMethods: %s\r\nISTag: \"a\"\r\nAllow: 204\r\nPreview: 4096\r\nTransfer-Preview: *\r\nMax-Connections: 1000\r\nOptions-TTL: 60\r\nEncapsulated: null-body=0\r\n\r\n", method)
			continue
		}
		last := head["encapsulated"][strings.LastIndexByte(head["encapsulated"], ',')+1:]
		n := 0
		fmt.Sscanf(last[strings.IndexByte(last, '=')+1:], "%d", &n)
		if _, err := r.Discard(n); err != nil {
			return
		}
		for !strings.Contains(last, "null-body") {
			l, err := r.ReadString('\n')
			if err != nil {
				return
			}
			size := 0
			fmt.Sscanf(l, "%x", &size)
			if _, err := r.Discard(size + 2); err != nil {
				return
			}
			if size == 0 {
				break
			}
		}
		io.WriteString(c, "ICAP/1.0 204 No Content\r\nISTag: \"a\"\r\nEncapsulated: null-body=0\r\n\r\n")
	}
}
