// Command demo shows the guarded door at work on loopback: an upstream that
// answers as a real cloud provider's API did, Sallyport in front of it with that
// provider's own specification, a token issuer, and a player that sends the
// recorded requests of six principals with named attacks mixed in. In comes the
// sallyport binary; out goes a transcript that says where to look. It ends
// everything it started, and reaches no other machine.
package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sallyport.dev/test/lab/issuer"
	"sallyport.dev/test/lab/player"
	"sallyport.dev/test/lab/replay"
)

func main() {
	d := demo{out: os.Stdout}
	flag.StringVar(&d.binary, "sallyport", "bin/sallyport", "the binary to run")
	flag.StringVar(&d.dir, "dir", ".cache/run", "folder for configuration, key and data; kept between runs")
	flag.Float64Var(&d.pace, "pace", 25, "recorded requests a second")
	flag.IntVar(&d.passes, "passes", 0, "times to play the recording; 0 = until interrupted")
	flag.BoolVar(&d.verbose, "v", false, "print every recorded request that is not answered as recorded")
	flag.DurationVar(&d.between, "between", 1500*time.Millisecond, "time between two attacks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := d.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	binary, dir string
	pace        float64
	passes      int
	between     time.Duration
	verbose     bool
	out         io.Writer

	mu                        sync.Mutex
	sent, allowed, turnedAway int
	blocked, missed           map[string]string
}

const host = "api.linode.com"

// principals are the callers: what they may do and where they call from.
var principals = []struct{ id, source string }{
	{"terraform", "127.0.0.11"}, {"dashboard", "127.0.0.12"}, {"billing-export", "127.0.0.13"},
	{"ci-runner", "127.0.0.14"}, {"backup-job", "127.0.0.15"}, {"mobile-app", "127.0.0.16"},
}

func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	recorded, err := replay.Linode()
	if err != nil {
		return err
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	upstream, err := serve(ctx, replay.NewUpstream(recorded))
	if err != nil {
		return err
	}
	idp, tokenURL, err := d.issuer(ctx)
	if err != nil {
		return err
	}
	gateway, console := prefer("127.0.0.1:8443"), prefer("127.0.0.1:9443")
	if err := d.configure(gateway, console, upstream, idp.URL); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "upstream http://%s  %d recorded answers of a real cloud API\nissuer   %s  %d principals\n", upstream, len(recorded), idp.URL, len(principals))
	child := exec.Command(d.binary, "run", "--config", filepath.Join(d.dir, "sallyport.yaml"))
	child.Stdout, child.Stderr = d.out, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // Ctrl-C comes to us; we end it
	if err := child.Start(); err != nil {
		return fmt.Errorf("start sallyport: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- child.Wait() }()
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		err := <-exited
		exited <- err
		cancel(fmt.Errorf("sallyport ended: %v", err))
	}()
	defer func() {
		child.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(40 * time.Second):
			child.Process.Kill()
		}
	}()

	roots, err := d.roots(ctx, gateway)
	if err != nil {
		return err
	}
	p := &player.Player{Gateway: gateway, Host: host, Roots: roots, TokenURL: tokenURL}
	for i, who := range principals {
		p.Add(who.id, secretOf(who.id), who.source, i%2 == 1)
	}
	first, err := p.Replay(ctx, 0, &recorded[0])
	if err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	fmt.Fprintf(d.out, "first decision after %.1f s: request %s answered %d\n\n", time.Since(began).Seconds(), first.RequestID, first.Status)
	d.hints(gateway, tokenURL)
	d.blocked, d.missed = map[string]string{}, map[string]string{}
	attacker := &player.Attacker{Player: p, Issuer: idp, Client: "terraform", Reader: "auditor", Noisy: "noisy",
		Good: "/v4/regions", List: "/v4/linode/instances", Create: "/v4/support/tickets", Text: "description",
		CreateBody: `{"summary":"Disk is full","description":"Since this morning /var is at 100 %, please advise."}`, Forbidden: "/v4/linode/instances/12345"}
	var wg sync.WaitGroup
	wg.Go(func() { d.attack(ctx, attacker) })
	wg.Go(func() { d.report(ctx) })
	err = d.play(ctx, p, recorded)
	if d.passes > 0 {
		cancel(context.Canceled)
	}
	wg.Wait()
	d.summary()
	return errors.Join(err, failure(ctx, d))
}

// failure is what the demo exits with when it was asked for a number of passes
// and an attack came through.
func failure(ctx context.Context, d *demo) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if d.passes > 0 && len(d.missed) > 0 {
		return fmt.Errorf("%d attacks were not turned away as they should be", len(d.missed))
	}
	return nil
}

func serve(ctx context.Context, h http.Handler) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	return ln.Addr().String(), nil
}

// prefer gives addr when it is free, or a free port beside it.
func prefer(addr string) string {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		h, _, _ := net.SplitHostPort(addr)
		if ln, err = net.Listen("tcp", net.JoinHostPort(h, "0")); err != nil {
			return addr
		}
	}
	defer ln.Close()
	return ln.Addr().String()
}

func secretOf(id string) string { return "lab-secret-of-" + id }

func (d *demo) issuer(ctx context.Context) (*issuer.Issuer, string, error) {
	all := []string{"account", "domains", "events", "firewall", "images", "ips", "linodes", "lke", "longview", "nodebalancers", "object_storage",
		"stackscripts", "volumes", "vpc", "databases", "child_account", "placement"}
	var full, read []string
	for _, s := range all {
		full = append(full, s+":read_only", s+":read_write")
		read = append(read, s+":read_only")
	}
	full = append(full, "ips:read") // as the document spells it in one place
	clients := []issuer.Client{{ID: "auditor", Secret: secretOf("auditor"), Subject: "svc-auditor", Scopes: read}, {ID: "noisy", Secret: secretOf("noisy"), Subject: "svc-noisy", Scopes: full}}
	for _, p := range principals {
		clients = append(clients, issuer.Client{ID: p.id, Secret: secretOf(p.id), Subject: "svc-" + p.id, Scopes: full})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	iss, err := issuer.New("http://"+ln.Addr().String(), "linode", clients)
	if err != nil {
		return nil, "", err
	}
	srv := &http.Server{Handler: iss, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	return iss, iss.URL + "/token", nil
}

func (d *demo) configure(gateway, console, upstream, issuer string) error {
	spec, err := replay.LinodeSpec()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "linode.openapi.yaml"), spec, 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf(`# Written by make run. Put your own API in the place of this one: spec, match, upstreams, auth.
listen: {gateway: "%s", console: "%s"}
data: data
keys: file:master.key
log: warn
apis:
  - name: linode
    spec: linode.openapi.yaml
    match: {host: %s}
    upstreams: [{url: "http://%s"}]
    owner: {team: Compute platform, contact: compute@example.test, deputy: Platform on-call}
    department: Infrastructure
    exposure: external
    auth: {oidc: {issuer: "%s", audience: linode}}
    mode: enforce
    shadow: observe      # what the document does not know is recorded, and shows up in the inventory
    limits:
      - {rate: 3000/min, burst: 600, per: client}
      - {rate: 2400/min, burst: 500, per: principal}
    exceptions:
%s`, gateway, console, host, upstream, issuer, exceptions(time.Now().AddDate(1, 0, 0)))
	if err := d.keepEdited(); err != nil {
		return err
	}
	for _, name := range []string{"sallyport.yaml", written} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// written holds the configuration as the demo wrote it last.
const written = ".sallyport.yaml.written"

// keepEdited moves a configuration that was edited since it was written out of
// the way: the demo's upstream and issuer are elsewhere at each start, so it
// writes the file anew.
func (d *demo) keepEdited() error {
	file := filepath.Join(d.dir, "sallyport.yaml")
	now, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before, err := os.ReadFile(filepath.Join(d.dir, written)); err != nil || bytes.Equal(before, now) {
		return nil
	}
	kept := filepath.Join(d.dir, "sallyport.edited-"+time.Now().Format("20060102-150405")+".yaml")
	if err := os.Rename(file, kept); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "your edited configuration is kept in %s;\n  bin/sallyport run --config %s starts it without the demo\n", kept, kept)
	return nil
}

// roots waits for the gateway and reads the local CA.
func (d *demo) roots(ctx context.Context, gateway string) (*x509.CertPool, error) {
	deadline := time.Now().Add(60 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", gateway, time.Second)
		if err == nil {
			c.Close()
			break
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the gateway did not open %s within a minute", gateway)
		}
		time.Sleep(50 * time.Millisecond)
	}
	pem, err := os.ReadFile(d.ca())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", d.ca())
	}
	return pool, nil
}

func (d *demo) ca() string { return filepath.Join(d.dir, "data", "tls", "local-ca.crt") }

func (d *demo) hints(gateway, tokenURL string) {
	curl := fmt.Sprintf("curl --cacert %s --resolve %s:%s:127.0.0.1 https://%s:%s", d.ca(), host, port(gateway), host, port(gateway))
	fmt.Fprintf(d.out, `A request that passes (the token lasts ten minutes):
  TOKEN=$(curl -s -u terraform:%s -d grant_type=client_credentials %s | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  %s/v4beta/domains/3041961 -H "Authorization: Bearer $TOKEN"

The same with an injection, refused:
  %s/v4beta/domains/3041961 -H "Authorization: Bearer $TOKEN" -H "X-Filter: 1; DROP TABLE tenants--"

Your own API: edit spec, match, upstreams and auth in
  %s
(taken over when you save it; docs/guides/first-api.md walks you through). Ctrl-C ends everything.

`, secretOf("terraform"), tokenURL, curl, curl, filepath.Join(d.dir, "sallyport.yaml"))
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

// play sends the recording in its order, each scenario as one principal.
func (d *demo) play(ctx context.Context, p *player.Player, recorded []replay.Exchange) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / d.pace))
	defer tick.Stop()
	for pass := 0; d.passes == 0 || pass < d.passes; pass++ {
		scenario, n := "", 0
		for i := range recorded {
			x := &recorded[i]
			if x.Scenario != scenario {
				scenario, n = x.Scenario, n+1
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			s, err := p.Replay(ctx, n, x)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("%s %s: %w", x.Method, x.Target, err)
			}
			d.mu.Lock()
			d.sent++
			if s.Status == x.Status {
				d.allowed++
			} else {
				d.turnedAway++
				if d.verbose {
					fmt.Fprintf(d.out, "differs: %s %s recorded %d, now %s (%s)\n", x.Method, x.Target, x.Status, s.Problem(), s.RequestID)
				}
			}
			d.mu.Unlock()
		}
	}
	return nil
}

func (d *demo) attack(ctx context.Context, a *player.Attacker) {
	attacks := player.Attacks()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.between):
		}
		at := &attacks[i%len(attacks)]
		s, err := at.Send(ctx, a)
		if ctx.Err() != nil {
			return
		}
		answer := s.Problem()
		if err != nil {
			answer = err.Error()
		}
		ok := err == nil && at.Blocked(s)
		d.mu.Lock()
		if ok {
			d.blocked[at.Name] = answer
			delete(d.missed, at.Name)
		} else {
			d.missed[at.Name] = answer
			delete(d.blocked, at.Name)
		}
		d.mu.Unlock()
		if i < len(attacks) || !ok {
			verdict := "turned away"
			if !ok {
				verdict = "NOT turned away"
			}
			fmt.Fprintf(d.out, "attack %-28s %-13s %s: %s  %s\n", at.Name, at.Stage, verdict, answer, s.RequestID)
		}
	}
}

func (d *demo) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Second):
		}
		d.mu.Lock()
		fmt.Fprintf(d.out, "played %d recorded requests: %d answered as recorded, %d otherwise; attacks: %d turned away, %d not\n",
			d.sent, d.allowed, d.turnedAway, len(d.blocked), len(d.missed))
		d.mu.Unlock()
	}
}

func (d *demo) summary() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "%s\nplayed %d recorded requests: %d answered as recorded, %d otherwise; %d kinds of attack turned away, %d not\n",
		strings.Repeat("-", 72), d.sent, d.allowed, d.turnedAway, len(d.blocked), len(d.missed))
}
