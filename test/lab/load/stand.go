package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/test/lab/slots"
)

// A stand is an upstream, a gateway in front of it, and keys for callers.
type stand struct {
	up     *slots.Upstream
	server *http.Server
	proc   *exec.Cmd
	addr   string
	keys   map[string]string
	client *http.Client
}

func open(ctx context.Context, binary, dir string, n int, reports bool, names []string, policy string) (*stand, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &stand{up: slots.New(n), keys: map[string]string{}}
	s.up.Reports = reports
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.server = &http.Server{Handler: s.up, ReadHeaderTimeout: 10 * time.Second}
	go s.server.Serve(ln)
	var keys strings.Builder
	for _, name := range names {
		s.keys[name] = rand.Text()
		sum := sha256.Sum256([]byte(s.keys[name]))
		fmt.Fprintf(&keys, "\n        - {id: %s, subject: %s, hash: \"sha256:%s\"}", name, name, hex.EncodeToString(sum[:]))
	}
	var console string
	if s.addr, err = free(); err == nil {
		console, err = free()
	}
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: off
data: ./data
keys: file:./master.key
log: error
bounds: {client_requests: 4096, client_connections: 4096}
apis:
  - name: work
    mode: enforce
    upstreams: [{url: "http://%s"}]
    auth:
      anonymous: never
      keys:%s
    %s
`, s.addr, console, ln.Addr(), keys.String(), policy)
	file := filepath.Join(dir, "sallyport.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.proc = exec.CommandContext(ctx, binary, "run", "--config", file)
	s.proc.Stderr = os.Stderr
	if err := s.proc.Start(); err != nil {
		return nil, err
	}
	s.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConns: 2048, MaxIdleConnsPerHost: 2048, DisableCompression: true}}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		status, err := s.ask(ctx, "", 0)
		if err == nil && status == http.StatusUnauthorized {
			return s, nil
		}
		if time.Since(began) > 30*time.Second {
			s.close()
			return nil, fmt.Errorf("the gateway did not start: %d, %v", status, err)
		}
	}
}

func free() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (s *stand) close() {
	s.client.CloseIdleConnections()
	s.proc.Process.Signal(os.Interrupt)
	s.proc.Wait()
	s.server.Close()
}

// cpu is the processor time that the gateway has taken.
func (s *stand) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.proc.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func (s *stand) ask(ctx context.Context, key string, work time.Duration) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/work?ms=%d", s.addr, work.Milliseconds()), nil)
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("X-Api-Key", key)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// A caller asks at a rate, at random moments, whether it is answered or not.
type caller struct {
	name  string
	rate  float64
	work  time.Duration
	asked int

	mu   sync.Mutex
	rows []row
}

type row struct {
	at, took time.Duration
	status   int // 0: no answer
}

// drive has callers ask for span. It gives how long sleeps of the service's time
// took meanwhile, with nothing in between: what the machine itself adds.
func (s *stand) drive(ctx context.Context, span time.Duration, callers ...*caller) (machine *caller) {
	began := time.Now()
	var all sync.WaitGroup
	machine = &caller{}
	all.Go(func() {
		for time.Since(began) < span && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			at := time.Now()
			all.Go(func() {
				time.Sleep(service)
				machine.mu.Lock()
				defer machine.mu.Unlock()
				machine.rows = append(machine.rows, row{at.Sub(began), time.Since(at), 200})
			})
		}
	})
	for i, c := range callers {
		all.Go(func() {
			rnd := mathrand.New(mathrand.NewPCG(uint64(i), 11))
			for at := time.Duration(0); ; {
				at += time.Duration(rnd.ExpFloat64() / c.rate * float64(time.Second))
				if at > span || ctx.Err() != nil {
					return
				}
				time.Sleep(time.Until(began.Add(at)))
				c.asked++
				asked := time.Now()
				all.Go(func() {
					status, err := s.ask(ctx, s.keys[c.name], c.work)
					if err != nil {
						status = 0
					}
					c.mu.Lock()
					defer c.mu.Unlock()
					c.rows = append(c.rows, row{asked.Sub(began), time.Since(asked), status})
				})
			}
		})
	}
	all.Wait()
	return machine
}

func (c *caller) count(status int, from, to time.Duration) (n int) {
	for _, r := range c.rows {
		if r.status == status && r.at >= from && r.at < to {
			n++
		}
	}
	return n
}

func (c *caller) firstRefusal() time.Duration {
	first := time.Duration(0)
	for _, r := range c.rows {
		if (r.status == 429 || r.status == 503) && (first == 0 || r.at < first) {
			first = r.at
		}
	}
	return first
}

func (c *caller) quantile(q float64, from, to time.Duration) time.Duration {
	return quantile(q, from, to, c)
}

// quantile is of the time that requests took which were answered.
func quantile(q float64, from, to time.Duration, callers ...*caller) time.Duration {
	var all []time.Duration
	for _, c := range callers {
		for _, r := range c.rows {
			if r.status == 200 && r.at >= from && r.at < to {
				all = append(all, r.took)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(math.Ceil(q*float64(len(all)))))]
}

func statuses(callers ...*caller) map[int]int {
	out := map[int]int{}
	for _, c := range callers {
		for _, r := range c.rows {
			if r.status != 200 {
				out[r.status]++
			}
		}
	}
	return out
}
