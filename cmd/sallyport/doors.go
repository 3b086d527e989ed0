package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/adapter/extauthz"
	"sallyport.dev/adapter/forwardauth"
	"sallyport.dev/adapter/icap"
	"sallyport.dev/adapter/spoe"
	"sallyport.dev/console"
	"sallyport.dev/gateway"
	"sallyport.dev/guard"
	"sallyport.dev/guard/door"
)

// doorConfig is one place where proxies ask.
type doorConfig struct {
	Name    string         `yaml:"name" need:"1" doc:"Name in records: letters, digits, - and _."`
	Kind    doorKind       `yaml:"kind" need:"1" enum:"forward_auth|spoe|icap|envoy" doc:"How it is asked: forward_auth (nginx, Caddy, Traefik), spoe (HAProxy), icap (Squid) or envoy (ext_authz and ext_proc by gRPC)."`
	Listen  string         `yaml:"listen" need:"1" doc:"host:port, or unix:PATH of a socket."`
	Mode    string         `yaml:"mode" doc:"Mode of the Unix socket, in octal: who may open it may ask. Default 0600."`
	Peers   []netip.Prefix `yaml:"peers" doc:"Networks whose hosts may ask. Default this machine."`
	Token   string         `yaml:"token" doc:"Secret that the proxy sends, env:NAME or file:PATH (forward_auth, envoy). Default none."`
	TLS     doorTLS        `yaml:"tls" doc:"TLS towards the proxy."`
	Fail    doorFail       `yaml:"fail" need:"1" enum:"open|closed" doc:"What becomes of a request that could not be decided in time. The proxy needs the same setting for the time when we are not there."`
	Within  time.Duration  `yaml:"within" doc:"Bound of a decision, keys that must be fetched included. Default 200ms."`
	Unseen  doorUnseen     `yaml:"unseen" enum:"pass|refuse" doc:"What becomes of a request whose body the policy wants to look at and this proxy does not show. Default pass, and the record says so."`
	Answers bool           `yaml:"answers" doc:"The proxy shows answers too (spoe, icap)."`
	Most    int            `yaml:"most" doc:"Questions under way at once. Default 8192."`
}

type doorTLS struct {
	Cert     string `yaml:"cert" doc:"PEM file with the certificate chain."`
	Key      string `yaml:"key" doc:"PEM file with the private key."`
	ClientCA string `yaml:"client_ca" doc:"PEM file with the authorities of the proxies' certificates; given, each needs one."`
}

type (
	doorKind   string
	doorFail   string
	doorUnseen string
)

const (
	doorForward doorKind = "forward_auth"
	doorSPOE    doorKind = "spoe"
	doorICAP    doorKind = "icap"
	doorEnvoy   doorKind = "envoy"
)

func (c *config) checkDoors(bad func(string, string, ...any)) {
	names, places := map[string]bool{"gateway": true, "egress": true, "console": true}, map[string]bool{}
	for i := range c.Doors {
		d, path := &c.Doors[i], fmt.Sprintf("doors[%d]", i)
		for _, file := range []*string{&d.TLS.Cert, &d.TLS.Key, &d.TLS.ClientCA} {
			*file = c.path(*file)
		}
		if strings.ContainsFunc(d.Name, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}) || len(d.Name) > 64 {
			bad(path+".name", "%q: want letters, digits, - and _, at most 64", d.Name)
		}
		if names[d.Name] {
			bad(path+".name", "%q stands twice, or is a door of ours", d.Name)
		}
		if places[d.Listen] {
			bad(path+".listen", "%q stands twice", d.Listen)
		}
		names[d.Name], places[d.Listen] = true, true
		if !slices.Contains([]doorKind{doorForward, doorSPOE, doorICAP, doorEnvoy}, d.Kind) {
			bad(path+".kind", "%q is not a kind of door", d.Kind)
		}
		if d.Fail != "open" && d.Fail != "closed" {
			bad(path+".fail", "want open or closed: what becomes of a request that could not be decided?")
		}
		if !slices.Contains([]doorUnseen{"", "pass", "refuse"}, d.Unseen) {
			bad(path+".unseen", "%q is neither pass nor refuse", d.Unseen)
		}
		if d.Within < 0 || d.Within > time.Minute || d.Most < 0 {
			bad(path, "within is between 0 and 1m, and most is no negative number")
		}
		if d.Token != "" && d.Kind != doorForward && d.Kind != doorEnvoy {
			bad(path+".token", "this protocol has no place for one: use peers, a Unix socket or tls.client_ca")
		}
		if d.Answers && d.Kind != doorSPOE && d.Kind != doorICAP {
			bad(path+".answers", "is for spoe and icap: forward_auth does not tell of answers, and ext_proc tells of them by itself")
		}
		if (d.TLS.Cert == "") != (d.TLS.Key == "") || d.TLS.ClientCA != "" && d.TLS.Cert == "" {
			bad(path+".tls", "cert and key go together, and client_ca needs them")
		}
		if _, unix := strings.CutPrefix(d.Listen, "unix:"); unix {
			if m, err := strconv.ParseUint(or(d.Mode, "0600"), 8, 12); err != nil || m&0o111 != 0 {
				bad(path+".mode", "%q is not a mode such as 0660", d.Mode)
			}
			if d.TLS.Cert != "" || len(d.Peers) > 0 {
				bad(path, "a Unix socket has neither peers nor TLS: its mode says who may ask")
			}
			continue
		}
		host, port, err := net.SplitHostPort(d.Listen)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			bad(path+".listen", "%q is neither host:port nor unix:PATH", d.Listen)
		} else if !loopback(host) && len(d.Peers) == 0 && d.TLS.ClientCA == "" {
			bad(path, "listens beyond this machine: say by peers or tls.client_ca who may ask")
		}
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// A sideDoor is a door that runs.
type sideDoor struct {
	doorConfig
	addr string
	desk *door.Desk
}

type server interface {
	Serve(ctx context.Context, ln net.Listener) error
}

// openDoors listens at every door and gives what is to be run.
func (e *engine) openDoors(ctx context.Context) (map[string]func(context.Context) error, error) {
	run := map[string]func(context.Context) error{}
	if !e.cfg.has(roleGateway) {
		return run, nil
	}
	for i := range e.cfg.Doors {
		c := e.cfg.Doors[i]
		desk := &door.Desk{Name: c.Name, Program: func() *guard.Program { return e.gateway.Program() }, Resolver: e.keys, Recorder: e.recorder, Within: c.Within, FailOpen: c.Fail == "open",
			RefuseUnseen: c.Unseen == "refuse", Answers: c.Answers, Most: c.Most, Strip: slices.Concat(gateway.IdentityHeaders, e.cfg.StripHeaders)}
		ln, err := e.listenDoor(ctx, &c)
		if err != nil {
			return nil, fmt.Errorf("door %s: %w", c.Name, err)
		}
		token, err := e.cfg.secret(c.Token)
		if err != nil {
			return nil, fmt.Errorf("door %s: token: %w", c.Name, err)
		}
		peers := door.Peers{Networks: c.Peers, Token: token}
		if len(c.Peers) == 0 && c.TLS.ClientCA != "" { // known by its certificate
			peers.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		}
		var s server
		switch c.Kind {
		case doorForward:
			s = &forwardauth.Server{Desk: desk, Peers: peers}
		case doorSPOE:
			s = &spoe.Server{Desk: desk, Peers: peers}
		case doorICAP:
			s = &icap.Server{Desk: desk, Peers: peers}
		case doorEnvoy:
			s = &extauthz.Server{Desk: desk, Peers: peers}
		}
		e.doors = append(e.doors, &sideDoor{c, ln.Addr().String(), desk})
		run["door "+c.Name] = func(ctx context.Context) error {
			defer func() { desk.Sweep(time.Now().Add(time.Hour)) }()
			return s.Serve(ctx, ln)
		}
	}
	return run, nil
}

func (e *engine) listenDoor(ctx context.Context, c *doorConfig) (net.Listener, error) {
	var lc net.ListenConfig
	if path, unix := strings.CutPrefix(c.Listen, "unix:"); unix {
		path = e.cfg.path(path)
		if _, err := net.Dial("unix", path); err != nil { // nobody is there: what is left of an earlier run
			if info, serr := os.Lstat(path); serr == nil && info.Mode().Type() == os.ModeSocket {
				os.Remove(path)
			}
		}
		ln, err := lc.Listen(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		mode, _ := strconv.ParseUint(or(c.Mode, "0600"), 8, 12) // checked
		if err := os.Chmod(path, os.FileMode(mode)); err != nil {
			ln.Close()
			return nil, err
		}
		return ln, nil
	}
	ln, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil || c.TLS.Cert == "" {
		return ln, err
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		ln.Close()
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.Kind == doorEnvoy {
		t.NextProtos = []string{"h2"}
	}
	if c.TLS.ClientCA != "" {
		pem, err := os.ReadFile(c.TLS.ClientCA)
		if err != nil {
			ln.Close()
			return nil, err
		}
		if t.ClientCAs = x509.NewCertPool(); !t.ClientCAs.AppendCertsFromPEM(pem) {
			ln.Close()
			return nil, fmt.Errorf("%s holds no certificate", c.TLS.ClientCA)
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return tls.NewListener(ln, t), nil
}

// Doors tells how the doors fare.
func (e *engine) Doors() []console.Door {
	out := make([]console.Door, 0, len(e.doors))
	for _, d := range e.doors {
		c := d.desk.Counts()
		x := console.Door{Name: d.Name, Kind: string(d.Kind), Address: d.addr, Fail: string(d.Fail), WithinMS: float64(d.Within.Microseconds()) / 1000, Unseen: or(string(d.Unseen), "pass"), Answers: d.Answers,
			Asked: c.Asked, Refused: c.Refused, NotShown: c.Unseen, Failed: c.Failed, Strange: c.Strange, Lost: c.Lost, Waiting: c.Waiting}
		if x.WithinMS == 0 {
			x.WithinMS = 200
		}
		if c.Asked > 0 {
			x.MeanMicros = float64(c.TookSum.Microseconds()) / float64(c.Asked)
		}
		if !c.Last.IsZero() {
			last := c.Last.UTC()
			x.Last = &last
		}
		out = append(out, x)
	}
	return out
}

// doorMetrics are the doors' counters for Prometheus.
type doorMetrics struct{ e *engine }

var (
	doorCount = prometheus.NewDesc("sallyport_door_questions_total", "Questions of proxies: asked, refused, unseen (a body wanted and not shown), failed (not decided in time), strange (not readable, or from a stranger), lost (answers that never came).", []string{"door", "kind", "what"}, nil)
	doorTime  = prometheus.NewDesc("sallyport_door_decision_seconds", "From a question to its decision.", []string{"door", "kind"}, nil)
	doorWait  = prometheus.NewDesc("sallyport_door_waiting", "Sessions that wait for their answer.", []string{"door", "kind"}, nil)
)

func (m doorMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- doorCount
	ch <- doorTime
	ch <- doorWait
}

func (m doorMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, d := range m.e.doors {
		c, kind := d.desk.Counts(), string(d.Kind)
		for what, n := range map[string]uint64{"asked": c.Asked, "refused": c.Refused, "unseen": c.Unseen, "failed": c.Failed, "strange": c.Strange, "lost": c.Lost} {
			ch <- prometheus.MustNewConstMetric(doorCount, prometheus.CounterValue, float64(n), d.Name, kind, what)
		}
		buckets, sum := map[float64]uint64{}, uint64(0)
		for i, bound := range door.Buckets {
			sum += c.Took[i]
			buckets[bound] = sum
		}
		sum += c.Took[len(door.Buckets)]
		ch <- prometheus.MustNewConstHistogram(doorTime, sum, c.TookSum.Seconds(), buckets, d.Name, kind)
		ch <- prometheus.MustNewConstMetric(doorWait, prometheus.GaugeValue, float64(c.Waiting), d.Name, kind)
	}
}

var _ console.DoorKeeper = (*engine)(nil)
