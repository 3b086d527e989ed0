// Command bench measures what a fully guarded request costs beside plain nginx
// and other peers, interleaved in one run on loopback. In come a sallyport
// binary and a number of rounds; out comes a table of CPU time per request and
// its ratio to nginx in the same round. It opens no connection off loopback and
// ends every process it started.
package main

import (
	"context"
	"encoding/json"
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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"sallyport.dev/test/lab/issuer"
)

func main() {
	sallyport := flag.String("sallyport", "bin/sallyport", "the binary to measure")
	dir := flag.String("dir", ".cache/bench", "folder for configurations and data")
	rounds := flag.Int("rounds", 3, "interleaved rounds")
	seconds := flag.Int("seconds", 3, "load on each proxy, method and round")
	conns := flag.Int("conns", 32, "keep-alive connections")
	only := flag.String("only", "", "comma-separated names of rows; empty = all")
	profile := flag.Bool("profile", false, "also write processor profiles of sallyport into the folder")
	serve := flag.String("serve", "", "internal: origin, reverseproxy or coraza")
	addr := flag.String("addr", "", "internal: address to serve on")
	origin := flag.String("origin", "", "internal: the upstream")
	flag.Parse()
	var err error
	switch *serve {
	case "origin":
		err = serveOrigin(*addr)
	case "reverseproxy", "coraza":
		err = serveReverseProxy(*addr, *origin, *serve == "coraza")
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		b := &bench{sallyport: *sallyport, dir: *dir, rounds: *rounds, seconds: *seconds, conns: *conns, profile: *profile}
		if *only != "" {
			b.only = strings.Split(*only, ",")
		}
		err = b.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A row is one proxy under test.
type row struct {
	name, addr, console string
	cmd                 *exec.Cmd
	samples             map[string][]sample
}

type sample struct {
	round           int
	requests        float64
	seconds, cpu    float64
	p50, p99        float64 // milliseconds
	errors          int
	microsPerAnswer float64
}

type bench struct {
	sallyport, dir string
	rounds, conns  int
	seconds        int
	profile        bool
	only           []string
	origin         string
	rows           []*row
	token          string
}

var methods = []string{"GET", "POST"}

func (b *bench) run(ctx context.Context) error {
	var err error
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	for _, tool := range []string{"wrk", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: run test/setup.sh bench", tool)
		}
	}
	defer b.end()
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, r := range b.rows {
		if err := b.check(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if err := b.scripts(); err != nil {
		return err
	}
	for round := -1; round < b.rounds; round++ { // round -1 warms up
		turn := max(0, round) % len(b.rows)
		for _, r := range slices.Concat(b.rows[turn:], b.rows[:turn]) {
			for _, m := range methods {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				s, err := b.load(ctx, r, m, round)
				if err != nil {
					return fmt.Errorf("%s %s: %w", r.name, m, err)
				}
				if round >= 0 {
					r.samples[m] = append(r.samples[m], s)
				}
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d done\n", round+1, b.rounds)
	}
	b.print(os.Stdout)
	return nil
}

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (b *bench) spawn(name string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(b.dir, strings.ReplaceAll(filepath.Base(name)+"-"+strconv.Itoa(len(b.rows)), "/", "_")+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr, c.Dir = log, log, b.dir
	c.Env = append(os.Environ(), "GOMAXPROCS=2")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c, c.Start()
}

func (b *bench) add(name, addr, console string, cmd *exec.Cmd, err error) error {
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	b.rows = append(b.rows, &row{name: name, addr: addr, console: console, cmd: cmd, samples: map[string][]sample{}})
	return nil
}

func (b *bench) wants(name string) bool {
	return len(b.only) == 0 || slices.Contains(b.only, name) || name == "nginx"
}

func (b *bench) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(b.sallyport)
	if err != nil {
		return err
	}
	b.origin = freeAddr()
	cmd, err := b.spawn(self, "-serve", "origin", "-addr", b.origin)
	if err := b.add("origin, asked directly", b.origin, "", cmd, err); err != nil {
		return err
	}
	if b.wants("nginx") {
		addr := freeAddr()
		conf := filepath.Join(b.dir, "nginx.conf")
		if err := os.WriteFile(conf, []byte(nginxConf(b.dir, addr, b.origin)), 0o600); err != nil {
			return err
		}
		cmd, err := b.spawn("nginx", "-c", conf, "-p", b.dir)
		if err := b.add("nginx", addr, "", cmd, err); err != nil {
			return err
		}
	}
	for _, peer := range []string{"reverseproxy", "coraza"} {
		if !b.wants(peer) {
			continue
		}
		addr := freeAddr()
		cmd, err := b.spawn(self, "-serve", peer, "-addr", addr, "-origin", b.origin)
		if err := b.add(peer, addr, "", cmd, err); err != nil {
			return err
		}
	}
	idp, err := b.issuer()
	if err != nil {
		return err
	}
	nats, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: filepath.Join(b.dir, "nats"), NoSigs: true, NoLog: true})
	if err != nil {
		return fmt.Errorf("start a NATS server: %w", err)
	}
	go nats.Start()
	if !nats.ReadyForConnections(10 * time.Second) {
		return errors.New("start a NATS server: not ready within 10 s")
	}
	spec, err := filepath.Abs("test/bench/shop.openapi.yaml")
	if err != nil {
		return err
	}
	for _, v := range []struct{ name, roles, stream string }{
		{"sallyport-gateway", "[gateway]", nats.ClientURL()},
		{"sallyport-everything", "[gateway, control]", ""},
	} {
		if !b.wants(v.name) {
			continue
		}
		addr, console := freeAddr(), freeAddr()
		data := filepath.Join(b.dir, fmt.Sprintf("data-%d", len(b.rows)))
		conf := data + ".yaml"
		text := fmt.Sprintf(sallyportConf, addr, console, data, data+".key", v.roles, v.stream, spec, b.origin, idp)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return err
		}
		args := []string{"run", "--config", conf}
		if b.profile {
			args = append(args, "--cpu-profile", data+".pprof")
		}
		cmd, err := b.spawn(binary, args...)
		if err := b.add(v.name, addr, console, cmd, err); err != nil {
			return err
		}
	}
	return nil
}

const sallyportConf = `listen: {gateway: "%s", console: "%s"}
tls: "off"
data: %s
keys: file:%s
roles: %s
stream: "%s"
apis:
  - name: shop
    spec: %s
    match: {host: shop.example.test}
    upstreams: [{url: "http://%s"}]
    auth: {oidc: {issuer: "%s", audience: shop}}
    mode: enforce
    limits: [{rate: 100000000/min, per: client}, {rate: 100000000/min, per: principal}]
`

func nginxConf(dir, addr, origin string) string {
	return strings.NewReplacer("DIR", dir, "ADDR", addr, "ORIGIN", origin).Replace(`worker_processes 2;
daemon off;
pid DIR/nginx.pid;
error_log DIR/nginx.log crit;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_buffer_size 128k;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  upstream up { server ORIGIN; keepalive 128; keepalive_requests 100000000; }
  server {
    listen ADDR reuseport;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }
  }
}
`)
}

// issuer serves keys for the whole run and makes the one token of the load.
func (b *bench) issuer() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	iss, err := issuer.New("http://"+ln.Addr().String(), "shop", []issuer.Client{{ID: "mobile", Secret: "unused", Subject: "u-8412", Scopes: []string{"items"}}})
	if err != nil {
		return "", err
	}
	iss.Life = 6 * time.Hour
	go http.Serve(ln, iss)
	b.token, err = iss.Token("mobile", "RS256", nil)
	return iss.URL, err
}

func (b *bench) request(ctx context.Context, r *row, method, description string) (int, error) {
	target, body := "/v1/items/1234?limit=20&sort=name&q=blue%20jacket", ""
	if method == "POST" {
		target, body = "/v1/items", item(10, description)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.addr+target, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for k, v := range b.headers(method) {
		req.Header.Set(k, v)
	}
	req.Host = "shop.example.test"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK && description == calm {
		err = fmt.Errorf("answered %s: %s", res.Status, text)
	}
	return res.StatusCode, err
}

// check waits until the row answers, asks both requests of the load, and one
// attack whose status the table shows: a proxy that lets it pass is no peer.
func (b *bench) check(ctx context.Context, r *row) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		_, err := b.request(ctx, r, "GET", calm)
		if err == nil {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	if _, err := b.request(ctx, r, "POST", calm); err != nil {
		return err
	}
	status, err := b.request(ctx, r, "POST", "1' OR 1=1 UNION SELECT password FROM users-- ")
	fmt.Fprintf(os.Stderr, "%-24s answers; SQL injection in the body: %d\n", r.name, status)
	return err
}

const calm = "Lightweight waterproof jacket with a zipped chest pocket, adjustable hood and reflective seams. " +
	"Ships in two working days; please leave the parcel with the neighbour at number 16 if nobody is home."

// item is a JSON document of about 1 KiB (10 lines, 46 values) or more.
func item(lines int, description string) string {
	type line struct {
		SKU  string  `json:"sku"`
		Qty  int     `json:"qty"`
		Unit float64 `json:"unit"`
	}
	var all []line
	for i := range lines {
		all = append(all, line{fmt.Sprintf("KX-%04d-A", (2041+i)%10000), 1 + i%900, 12.5 + float64(i%7)})
	}
	v, _ := json.Marshal(map[string]any{"id": "3f2b8c1e-7d44-4a8e-9b1a-0c5d2e6f7a81", "sku": "KX-2041-BLU", "status": "active", "price": 129.95, "quantity": 42,
		"created": "2026-11-24T08:15:30.120Z", "express": true, "tags": []string{"outdoor", "summer-26", "new", "returns-30d"},
		"address": map[string]string{"street": "14 Rosewood Lane, Unit 3", "city": "Cape Town", "country": "ZA", "zip": "8001"},
		"lines":   all, "description": description})
	return string(v)
}

func (b *bench) headers(method string) map[string]string {
	h := map[string]string{"Host": "shop.example.test", "User-Agent": "shop-mobile/4.2.1 (Android 15; Pixel 8)", "Accept": "application/json",
		"Authorization": "Bearer " + b.token, "X-Correlation-Id": "5f0b7a52-2a31-4c0e-8f6f-5b2a0e0b6d11", "Accept-Encoding": "identity"}
	if method == "POST" {
		h["Content-Type"] = "application/json"
	}
	return h
}

func (b *bench) scripts() error {
	for _, m := range methods {
		var s strings.Builder
		path, body := "/v1/items/1234?limit=20&sort=name&q=blue%20jacket", ""
		if m == "POST" {
			path, body = "/v1/items", item(10, calm)
		}
		fmt.Fprintf(&s, "wrk.method = %q\nwrk.path = %q\n", m, path)
		for k, v := range b.headers(m) {
			fmt.Fprintf(&s, "wrk.headers[%q] = %q\n", k, v)
		}
		if body != "" {
			fmt.Fprintf(&s, "wrk.body = [==[%s]==]\n", body)
		}
		s.WriteString(`done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %.1f %.1f %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`)
		if err := os.WriteFile(filepath.Join(b.dir, m+".lua"), []byte(s.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) load(ctx context.Context, r *row, method string, round int) (sample, error) {
	seconds := b.seconds
	if round < 0 {
		seconds = 1
	}
	before, err := cpuSeconds(r.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(b.conns), fmt.Sprintf("-d%ds", seconds), "-s", filepath.Join(b.dir, method+".lua"), "http://"+r.addr).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	time.Sleep(300 * time.Millisecond) // what the request left to do is its cost too
	after, err := cpuSeconds(r.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	_, line, ok := strings.Cut(string(out), "RESULT ")
	if !ok {
		return sample{}, fmt.Errorf("wrk printed no result: %s", out)
	}
	s := sample{round: round, cpu: after - before}
	var micros float64
	if _, err := fmt.Sscan(line, &s.requests, &micros, &s.p50, &s.p99, &s.errors); err != nil || s.requests == 0 {
		return sample{}, fmt.Errorf("wrk result %q: %v", line, err)
	}
	s.seconds, s.p50, s.p99 = micros/1e6, s.p50/1e3, s.p99/1e3
	s.microsPerAnswer = s.cpu / s.requests * 1e6
	return s, nil
}

// cpuSeconds is user and system time of a process and its children, from /proc.
func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	total := (user + system) / 100
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, k := range strings.Fields(string(kids)) {
		if n, err := strconv.Atoi(k); err == nil {
			c, _ := cpuSeconds(n)
			total += c
		}
	}
	return total, nil
}

func residentMiB(pid int, field string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, ok := strings.Cut(string(text), field+":")
	if !ok {
		return 0
	}
	kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, k := range strings.Fields(string(kids)) {
		if n, err := strconv.Atoi(k); err == nil {
			kb += residentMiB(n, field) * 1024
		}
	}
	return kb / 1024
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func (b *bench) print(w io.Writer) {
	base := map[string][]float64{}
	for _, r := range b.rows {
		if r.name == "nginx" {
			for m, list := range r.samples {
				for _, s := range list {
					base[m] = append(base[m], s.microsPerAnswer)
				}
			}
		}
	}
	for _, m := range methods {
		fmt.Fprintf(w, "\n%s, medians of %d rounds of %d s, %d connections; × = CPU over nginx in the same round (least..most)\n", m, b.rounds, b.seconds, b.conns)
		fmt.Fprintf(w, "%-26s %10s %22s %10s %9s %9s %7s %9s\n", "", "CPU µs", "× nginx", "answers/s", "p50 ms", "p99 ms", "errors", "peak MiB")
		for _, r := range b.rows {
			var cpu, ratio, rate, p50, p99 []float64
			failed := 0
			for i, s := range r.samples[m] {
				cpu, rate, p50, p99 = append(cpu, s.microsPerAnswer), append(rate, s.requests/s.seconds), append(p50, s.p50), append(p99, s.p99)
				if i < len(base[m]) {
					ratio = append(ratio, s.microsPerAnswer/base[m][i])
				}
				failed += s.errors
			}
			span := ""
			if len(ratio) > 0 {
				span = fmt.Sprintf("%.2f (%.2f..%.2f)", median(ratio), slices.Min(ratio), slices.Max(ratio))
			}
			fmt.Fprintf(w, "%-26s %10.1f %22s %10.0f %9.2f %9.2f %7d %9.0f\n", r.name, median(cpu), span, median(rate), median(p50), median(p99), failed, residentMiB(r.cmd.Process.Pid, "VmHWM"))
		}
	}
}

func (b *bench) end() {
	for _, r := range b.rows {
		r.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, r := range b.rows {
		done := make(chan struct{})
		go func() { r.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			r.cmd.Process.Kill()
			<-done
		}
	}
}
