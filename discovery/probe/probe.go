// Package probe looks at APIs from outside. In come targets that somebody has
// consented to (names, domains, addresses, ranges, URLs) and bounds; out goes a
// report: what listens, how it speaks TLS, which APIs of which kind answer, by
// what evidence, and what is wrong with them, as claims and findings.
//
// A kind of API is told by what its protocol answers and never by a name alone.
// Every question is one that changes nothing. Names are resolved once; nothing
// is asked outside of the scope that was stated, redirects are read and not
// followed, and addresses of cloud metadata are never asked. What a server
// sends is bounded in size, number and time.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev"
)

// Source is the name under which claims and findings are made.
const Source = "scan"

// A Plan says what is looked at, and within which bounds. Zero values mean the
// defaults.
type Plan struct {
	Targets      []string      // host, *.domain, address, CIDR range, URL
	Exclude      []string      // the same forms; never asked
	Ports        []int         // default Ports
	Consent      bool          // needed for addresses that are neither loopback nor private
	Rate         float64       // connections and requests a second, all hosts together; default 100
	Budget       int           // requests to one address; default 4000
	HostTime     time.Duration // for one address; default 10 minutes
	Timeout      time.Duration // for one answer; default 5 s
	Parallel     int           // addresses looked at together; default 16
	IgnoreRobots bool          // ask what robots.txt disallows too
	Words        []string      // files with a path a line, besides the built-in list; read as a stream
	NoGuess      bool          // don't try the built-in list
	Vocabulary   []string      // paths and segments known from elsewhere
	Rules        []string      // identifiers of rules that are tried; none: all
	State        string        // file that the progress is kept in; an interrupted scan goes on from there
	Ranges       []string      // files with address ranges of providers
	Contact      string        // said to servers in User-Agent
	Roots        *x509.CertPool

	// Resolve gives the addresses of a name; default the system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	// Text gives the TXT records of a name; default the system's resolver.
	Text func(ctx context.Context, name string) ([]string, error)
	// Canonical gives the name that a name is an alias of.
	Canonical func(ctx context.Context, name string) (string, error)
	// Begin is told the scope before the first packet; an error ends the scan.
	Begin func(Stated) error
	// Progress is told how far the scan is, from one goroutine at a time.
	Progress func(Progress)
	Now      func() time.Time
}

// Ports are looked at by default.
var Ports = []int{80, 443, 389, 591, 636, 1080, 1883, 2019, 2379, 3000, 3001, 3128, 4000, 4200, 4443, 5000, 5001, 5601, 5984, 6379, 7001, 8000, 8001, 8008, 8080, 8081, 8082, 8083, 8084, 8086, 8088, 8090, 8181, 8200, 8222, 8404, 8443, 8500, 8545, 8800, 8880, 8888, 9000, 9001, 9080, 9090, 9091, 9093, 9100, 9200, 9411, 9443, 9999, 10000, 10250, 15672, 16686, 50051}

// Stated is what somebody consents to.
type Stated struct {
	Targets   []string      `json:"targets"`
	Addresses int           `json:"addresses"`
	First     []string      `json:"first,omitempty"` // the first of the addresses, with their names
	Excluded  []string      `json:"excluded,omitempty"`
	Outside   []string      `json:"outside,omitempty"` // neither loopback nor private
	Ports     int           `json:"ports"`
	Rate      float64       `json:"rate"`
	Budget    int           `json:"budget"`
	HostTime  time.Duration `json:"host_time"`
	Robots    bool          `json:"robots"`
}

// Progress says how far a scan is.
type Progress struct {
	Hosts    int    `json:"hosts"` // addresses in scope
	Done     int    `json:"done"`
	Open     int    `json:"open"` // ports
	Requests int64  `json:"requests"`
	APIs     int    `json:"apis"`
	Findings int    `json:"findings"`
	Now      string `json:"now,omitempty"` // what was begun last
}

// A Report is what was found.
type Report struct {
	Began    time.Time           `json:"began"`
	Ended    time.Time           `json:"ended"`
	Scope    Stated              `json:"scope"`
	Requests int64               `json:"requests"`
	Hosts    []Host              `json:"hosts"` // with something open, or with a note
	APIs     []API               `json:"apis"`
	Findings []sallyport.Finding `json:"findings"`
	Claims   []sallyport.Claim   `json:"claims"`
	Notes    []string            `json:"notes,omitempty"` // what was not looked at, and why
	Partial  bool                `json:"partial"`         // it was interrupted
}

// A Host is one address.
type Host struct {
	Address  string    `json:"address"`
	Names    []string  `json:"names,omitempty"`
	Services []Service `json:"services,omitempty"`
	Hosting  *Hosting  `json:"hosting,omitempty"`
	Requests int       `json:"requests"`
	Notes    []string  `json:"notes,omitempty"`
}

// A Service is what answers at one port.
type Service struct {
	Port     int      `json:"port"`
	Protocol string   `json:"protocol"` // http, https, h2c, redis, ldap, ssh, mqtt, … or unknown
	Banner   string   `json:"banner,omitempty"`
	Server   string   `json:"server,omitempty"`
	TLS      *TLS     `json:"tls,omitempty"`
	Sites    []string `json:"sites,omitempty"` // virtual hosts told apart
}

// A Kind is a kind of API.
type Kind string

// The kinds, each told by its protocol.
const (
	REST      Kind = "rest"
	OpenAPI   Kind = "openapi"
	GraphQL   Kind = "graphql"
	GRPC      Kind = "grpc"
	GRPCWeb   Kind = "grpc-web"
	SOAP      Kind = "soap"
	JSONRPC   Kind = "json-rpc"
	XMLRPC    Kind = "xml-rpc"
	OData     Kind = "odata"
	WebSocket Kind = "websocket"
	SSE       Kind = "sse"
	Webhook   Kind = "webhook"
	MCP       Kind = "mcp"
	WebDAV    Kind = "webdav"
	AsyncAPI  Kind = "asyncapi"
	MQTT      Kind = "mqtt"
)

// An API is one that answers.
type API struct {
	Kind       Kind        `json:"kind"`
	URL        string      `json:"url"` // where it begins
	Address    string      `json:"address"`
	Host       string      `json:"host"`
	Path       string      `json:"path"`
	Title      string      `json:"title,omitempty"`
	Version    string      `json:"version,omitempty"`
	Auth       string      `json:"auth,omitempty"` // none, or the scheme it asks for
	Evidence   []string    `json:"evidence"`
	Operations []Operation `json:"operations,omitempty"`
	Confidence float64     `json:"confidence"`
}

// An Operation is one that was seen to answer, or that a description names.
type Operation struct {
	Method   string `json:"method"`
	Template string `json:"template"`
	Status   int    `json:"status,omitempty"` // seen without credentials
	From     string `json:"from"`             // guess, link, description, reflection, introspection
	Secured  bool   `json:"secured,omitempty"`
}

// ErrConsent says that addresses outside of loopback and private ranges need it.
var ErrConsent = errors.New("the scope has addresses outside of loopback and private ranges; that needs consent")

type scan struct {
	p     Plan
	scope *scope
	pace  *pacer
	state *state
	rules []Rule
	hosts *ranges

	mu       sync.Mutex // guards what follows
	report   *Report
	progress Progress
	asked    map[netip.Addr]bool // begun, or done by an earlier run
	queue    []job
}

// A job is one address with the names it is known by.
type job struct {
	addr  netip.Addr
	names []string
	url   []target // URLs given for it
	ports []int
}

// Run looks at the plan's targets. When ctx ends, or the time or budget of a
// host does, what was found so far is returned, marked Partial in the first
// case. The error says what is wrong with the plan.
func Run(ctx context.Context, p Plan) (*Report, error) {
	if err := p.defaults(); err != nil {
		return nil, err
	}
	s := &scan{p: p, pace: newPacer(p.Rate), asked: map[netip.Addr]bool{}}
	var err error
	if s.rules, err = chosen(p.Rules); err != nil {
		return nil, err
	}
	if s.hosts, err = loadRanges(p.Ranges); err != nil {
		return nil, err
	}
	if s.scope, err = newScope(ctx, &s.p); err != nil {
		return nil, err
	}
	jobs := s.scope.jobs(s.p.Ports)
	stated := s.scope.stated(&s.p)
	if len(stated.Outside) > 0 && !p.Consent {
		return nil, fmt.Errorf("%w: %s", ErrConsent, strings.Join(stated.Outside, ", "))
	}
	if p.Begin != nil {
		if err := p.Begin(stated); err != nil {
			return nil, err
		}
	}
	s.report = &Report{Began: p.Now(), Scope: stated, Notes: s.scope.notes}
	if s.state, err = openState(p.State, s.planKey()); err != nil {
		return nil, err
	}
	defer s.state.close()
	for _, h := range s.state.done {
		s.keep(h)
	}
	s.progress.Hosts = len(jobs)
	if err := s.all(ctx, jobs); err != nil && ctx.Err() == nil {
		return nil, err
	}
	s.report.Partial = ctx.Err() != nil
	s.report.Ended = p.Now()
	s.order()
	if !s.report.Partial {
		s.state.finish()
	}
	return s.report, nil
}

func (p *Plan) defaults() error {
	if len(p.Targets) == 0 {
		return errors.New("no target is given")
	}
	if len(p.Ports) == 0 {
		p.Ports = Ports
	}
	for _, port := range p.Ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d: want 1 to 65535", port)
		}
	}
	if p.Rate < 0 || p.Budget < 0 || p.Parallel < 0 || p.Timeout < 0 || p.HostTime < 0 {
		return errors.New("rate, budget, parallel and times cannot be negative")
	}
	if p.Rate == 0 {
		p.Rate = 100
	}
	if p.Budget == 0 {
		p.Budget = 4000
	}
	if p.HostTime == 0 {
		p.HostTime = 10 * time.Minute
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	if p.Parallel == 0 {
		p.Parallel = 16
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	r := &net.Resolver{}
	if p.Resolve == nil {
		p.Resolve = func(ctx context.Context, name string) ([]netip.Addr, error) { return r.LookupNetIP(ctx, "ip", name) }
	}
	if p.Text == nil {
		p.Text = r.LookupTXT
	}
	if p.Canonical == nil {
		p.Canonical = r.LookupCNAME
	}
	return nil
}

// all looks at the jobs and at those that they lead to.
func (s *scan) all(ctx context.Context, jobs []job) error {
	s.queue = jobs
	var wg sync.WaitGroup
	sem := make(chan struct{}, s.p.Parallel)
	for {
		s.mu.Lock()
		var next *job
		for len(s.queue) > 0 && next == nil {
			j := s.queue[0]
			s.queue = s.queue[1:]
			if !s.asked[j.addr] {
				s.asked[j.addr] = true
				next = &j
			}
		}
		s.mu.Unlock()
		if next == nil {
			wg.Wait() // what is under way may lead to more
			s.mu.Lock()
			more := len(s.queue) > 0
			s.mu.Unlock()
			if !more || ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		select {
		case sem <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return ctx.Err()
		}
		wg.Go(func() {
			defer func() { <-sem }()
			r := s.host(ctx, *next)
			if ctx.Err() != nil {
				r.unfinished = true
			}
			s.keep(r)
			if !r.unfinished {
				s.state.add(r)
			}
		})
	}
}

// result is all that one address gave.
type result struct {
	Host     Host                `json:"host"`
	APIs     []API               `json:"apis"`
	Findings []sallyport.Finding `json:"findings"`
	Claims   []sallyport.Claim   `json:"claims"`

	unfinished bool
}

func (s *scan) keep(r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, err := netip.ParseAddr(r.Host.Address); err == nil {
		s.asked[a] = true
	}
	if len(r.Host.Services) > 0 || len(r.Host.Notes) > 0 {
		s.report.Hosts = append(s.report.Hosts, r.Host)
	}
	s.report.APIs = append(s.report.APIs, r.APIs...)
	s.report.Findings = append(s.report.Findings, r.Findings...)
	s.report.Claims = append(s.report.Claims, r.Claims...)
	s.report.Requests += int64(r.Host.Requests)
	s.progress.Done++
	s.progress.Open += len(r.Host.Services)
	s.progress.APIs, s.progress.Findings, s.progress.Requests = len(s.report.APIs), len(s.report.Findings), s.report.Requests
	s.tell(r.Host.Address)
}

// tell is called with mu held.
func (s *scan) tell(now string) {
	if s.p.Progress != nil {
		s.progress.Now = now
		s.p.Progress(s.progress)
	}
}

func (s *scan) order() {
	r := s.report
	slices.SortFunc(r.Hosts, func(a, b Host) int {
		x, _ := netip.ParseAddr(a.Address)
		y, _ := netip.ParseAddr(b.Address)
		return x.Compare(y)
	})
	slices.SortFunc(r.APIs, func(a, b API) int {
		return strings.Compare(a.Address+" "+a.Host+" "+string(a.Kind)+a.Path, b.Address+" "+b.Host+" "+string(b.Kind)+b.Path)
	})
	slices.SortStableFunc(r.Findings, func(a, b sallyport.Finding) int {
		if d := rank(b.Severity) - rank(a.Severity); d != 0 {
			return d
		}
		return strings.Compare(a.Rule+a.Asset.Address+a.Place, b.Rule+b.Asset.Address+b.Place)
	})
}

func rank(s sallyport.Severity) int {
	return slices.Index([]sallyport.Severity{sallyport.Info, sallyport.Low, sallyport.Medium, sallyport.High, sallyport.Critical}, s)
}

func (s *scan) planKey() string {
	return strings.Join(s.p.Targets, " ") + "|" + strings.Join(s.p.Exclude, " ") + "|" + fmt.Sprint(s.p.Ports) + "|" + strings.Join(s.p.Rules, " ") + "|" + strings.Join(s.p.Words, " ")
}

// visit is one address while it is looked at.
type visit struct {
	*scan
	job      job
	out      *result
	left     int // of the budget
	deadline time.Time
	spent    bool // the budget or the time came to its end, and that was noted
	optedOut bool
	names    []string // candidates for virtual hosts
	marked   []int    // of marks, by headers seen
}

// host looks at one address: its ports, and what answers there.
func (s *scan) host(ctx context.Context, j job) *result {
	v := &visit{scan: s, job: j, out: &result{Host: Host{Address: j.addr.String(), Names: j.names}}, left: s.p.Budget, deadline: time.Now().Add(s.p.HostTime), names: slices.Clone(j.names)}
	ctx, cancel := context.WithDeadline(ctx, v.deadline)
	defer cancel()
	for _, n := range j.names {
		if s.optOut(ctx, n) {
			v.note("%s opts out of scans by its TXT record", n)
			return v.out
		}
	}
	open := v.openPorts(ctx)
	for _, port := range open {
		if v.optedOut {
			break
		}
		v.service(ctx, port)
	}
	v.out.Host.Requests = s.p.Budget - v.left
	v.hosting(ctx)
	return v.out
}

func (v *visit) note(format string, args ...any) {
	if len(v.out.Host.Notes) < 50 {
		v.out.Host.Notes = append(v.out.Host.Notes, fmt.Sprintf(format, args...))
	}
}

// openPorts connects to each port once, a few at a time.
func (v *visit) openPorts(ctx context.Context) []int {
	var mu sync.Mutex
	var open []int
	var wg sync.WaitGroup
	sem := make(chan struct{}, 32)
	for _, port := range v.job.ports {
		if ctx.Err() != nil || v.pace.wait(ctx) != nil {
			break
		}
		sem <- struct{}{}
		wg.Go(func() {
			defer func() { <-sem }()
			c, err := v.dial(ctx, port)
			if err != nil {
				return
			}
			c.Close()
			mu.Lock()
			open = append(open, port)
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.Sort(open)
	if len(open) == len(v.job.ports) && len(open) > 40 {
		v.note("all %d ports are open: something answers for every port", len(open))
	}
	return open
}

// dial opens a connection to the address itself, which the scope has to allow.
func (v *visit) dial(ctx context.Context, port int) (net.Conn, error) {
	if err := v.scope.allows(v.job.addr); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: min(v.p.Timeout, 3*time.Second)}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(v.job.addr.String(), strconv.Itoa(port)))
}

// service finds out what speaks at an open port.
func (v *visit) service(ctx context.Context, port int) {
	if !v.spend(ctx) {
		return
	}
	s := Service{Port: port}
	state, banner := v.handshake(ctx, port)
	if state != nil {
		s.Protocol = "https"
		s.TLS = v.inspectTLS(ctx, port, state)
		for _, n := range s.TLS.Names {
			v.candidate(ctx, n)
		}
	} else if len(banner) == 0 && v.spend(ctx) && v.sslv3(ctx, port) {
		s.Protocol, s.TLS = "ssl", &TLS{Versions: []string{"SSL 3.0"}}
		x := v.newSite(&s, v.firstName())
		x.dead = true // nobody speaks it any more
		x.judge(ctx)
	} else {
		s.Protocol, s.Banner = v.plain(ctx, port, banner)
	}
	if s.Protocol == "https" || s.Protocol == "http" || s.Protocol == "h2c" {
		v.sites(ctx, &s)
	}
	v.out.Host.Services = append(v.out.Host.Services, s)
}

// candidate takes a name of a certificate up, where the scope has it.
func (v *visit) candidate(ctx context.Context, name string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if strings.HasPrefix(name, "*.") || slices.Contains(v.names, name) || !v.scope.named(name) || len(v.names) >= 64 {
		return
	}
	at := v.scope.derived(ctx, name)
	all, _ := v.scope.pin(ctx, name)
	if slices.Contains(at, v.job.addr) || len(all) == 0 { // the address presents the name, and no resolver takes it elsewhere
		v.names = append(v.names, name)
	}
	for _, a := range at {
		if a == v.job.addr {
			continue
		}
		v.mu.Lock()
		if !v.asked[a] && len(v.queue) < 65536 {
			v.queue = append(v.queue, job{addr: a, names: []string{name}, ports: v.p.Ports})
			v.progress.Hosts++
		}
		v.mu.Unlock()
	}
}

// handshake tries TLS; what came instead of it is returned.
func (v *visit) handshake(ctx context.Context, port int) (*tls.ConnectionState, []byte) {
	state, seen, _ := v.tryTLS(ctx, port, v.firstName(), &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: allSuites(), NextProtos: []string{"h2", "http/1.1"}})
	return state, seen
}

func (v *visit) firstName() string {
	if len(v.names) > 0 {
		return v.names[0]
	}
	return ""
}
