package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev"
	"sallyport.dev/gateway/cert"
	"sallyport.dev/policy"
)

// A config is the configuration file as written. Paths in it are relative to
// its folder.
type config struct {
	Listen         listen         `yaml:"listen" doc:"Addresses to listen on."`
	TLS            tlsChoice      `yaml:"tls" doc:"Certificates: {acme: …}, {cert: …, key: …}, nothing for a local CA, or \"off\" on loopback only."`
	Data           string         `yaml:"data" doc:"Data directory: database, event stream, certificates. Default ./data."`
	Keys           string         `yaml:"keys" doc:"Master key, file:PATH or env:NAME, outside the data directory. Made at first start. Default file:~/.config/sallyport/master.key."`
	Database       string         `yaml:"database" doc:"postgres://… for the system of record; empty = SQLite in the data directory."`
	Stream         string         `yaml:"stream" doc:"nats://… or tls://… for the event stream; empty = embedded."`
	Counters       countersChoice `yaml:"counters" doc:"redis://… or rediss://… that nodes count limits at together, or {url, password, ca}; empty = each node by itself."`
	Roles          []role         `yaml:"roles" doc:"Parts that this process runs. Default [gateway, control]."`
	Log            string         `yaml:"log" enum:"debug|info|warn|error" doc:"Least level that is logged. Default info."`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" doc:"Networks whose X-Forwarded-For is believed. Default none."`
	StripHeaders   stringList     `yaml:"strip_headers" doc:"Request headers that never pass to an upstream, besides the usual identity headers; a trailing * is a prefix."`
	Bounds         doorBounds     `yaml:"bounds" doc:"Sizes, times and numbers at the door; each has a stated answer."`
	Retention      retention      `yaml:"retention" doc:"How long and how much is kept."`
	Redact         redact         `yaml:"redact" doc:"What is taken out of records, besides what is always taken out."`
	APIs           []apiConfig    `yaml:"apis" doc:"The APIs behind this door."`
	Notify         []notifyTarget `yaml:"notify" doc:"Places that are notified of incidents. Default none: nothing is sent."`
	Incidents      incidentConfig `yaml:"incidents" doc:"When incidents are due, and how long they are kept."`
	Sources        []sourceConfig `yaml:"sources" doc:"Where other doors write down what they let through: access logs and the like."`
	Egress         *egressConfig  `yaml:"egress" doc:"The door of calls that our services make to APIs of others."`

	Doors      []doorConfig      `yaml:"doors" doc:"Doors at which proxies that run already ask for decisions."`
	Discover   []scanConfig      `yaml:"discover" doc:"Looks at APIs from outside, made again and again."`
	Catalogues []catalogueConfig `yaml:"catalogues" doc:"What already knows of APIs: clusters, proxies, registries, source code."`

	Verdicts   verdictConfig  `yaml:"verdicts" doc:"Verdicts on images, which pipelines report."`
	Kubernetes *clusterConfig `yaml:"kubernetes" doc:"The cluster whose workloads the gate looks after."`

	UpstreamPlaintext policy.Plaintext `yaml:"upstream_plaintext" enum:"warn|refuse|allow" doc:"What becomes of upstreams without TLS outside of this machine: a notice, a mistake, or nothing. Default warn."`

	file string
	read []string // files that specifications are made of, once they are compiled
	root *yaml.Node
}

type listen struct {
	Gateway string `yaml:"gateway" doc:"host:port for the APIs. Default :8443."`
	Console string `yaml:"console" doc:"host:port for console and management API. Default 127.0.0.1:9443."`
	HTTP3   bool   `yaml:"http3" doc:"Also answer HTTP/3 on the gateway's port."`
	PROXY   bool   `yaml:"proxy_protocol" doc:"Trusted proxies send a PROXY protocol header first."`
}

type role string

const (
	roleGateway role = "gateway"
	roleControl role = "control"
)

func (r *role) UnmarshalText(b []byte) error {
	*r = role(b)
	if *r != roleGateway && *r != roleControl {
		return fmt.Errorf("%q is neither gateway nor control", b)
	}
	return nil
}

// tlsChoice is "off" or a mapping.
type tlsChoice struct {
	Off bool
	tlsFiles
}

type tlsFiles struct {
	Cert     string     `yaml:"cert" doc:"PEM file with the certificate chain; read again when it changes."`
	Key      string     `yaml:"key" doc:"PEM file with the private key."`
	More     []certPair `yaml:"certificates" doc:"Further certificates: a client gets the first that is for the name it comes for, else the one of cert."`
	Names    stringList `yaml:"names" doc:"Names for the certificate of the local CA, or to obtain by ACME."`
	ClientCA string     `yaml:"client_ca" doc:"PEM file with the authorities that client certificates are verified against; read again when it changes. Clients are asked where an API wants a certificate."`
	ACME     *acme      `yaml:"acme" doc:"Obtain certificates by ACME (RFC 8555)."`

	policy.TLS `yaml:",inline"`
}

// certPair is one more certificate from files.
type certPair struct {
	Cert string `yaml:"cert" need:"1" doc:"PEM file with the certificate chain; read again when it changes."`
	Key  string `yaml:"key" need:"1" doc:"PEM file with the private key."`
}

type acme struct {
	Email     string `yaml:"email" doc:"Contact given to the certificate authority."`
	Directory string `yaml:"directory" doc:"ACME directory URL. Default Let's Encrypt."`
	Roots     string `yaml:"roots" doc:"PEM file with the roots that the ACME server itself is checked against."`
	Agree     bool   `yaml:"agree" doc:"Agree to the authority's terms of service."`
	HTTP      string `yaml:"http" doc:"host:port that answers HTTP-01 challenges; empty = TLS-ALPN-01 on the gateway's port alone."`
}

func (t *tlsChoice) fromNode(n *yaml.Node, m *mistakes) {
	if n.Kind == yaml.ScalarNode && (n.Value == "off" || n.Value == "false") {
		t.Off = true
		return
	}
	if n.Kind == yaml.ScalarNode {
		m.add(n, "tls: want {cert, key}, {acme}, {names} or \"off\", found %q", n.Value)
		return
	}
	m.decode(n, valueOf(&t.tlsFiles), "tls")
}

func (t *tlsChoice) schema() map[string]any {
	return map[string]any{"oneOf": []any{map[string]any{"const": "off"}, schemaOf(t.tlsFiles)}}
}

// stringList is one text or a list of them.
type stringList []string

func (s *stringList) fromNode(n *yaml.Node, m *mistakes) {
	if n.Kind == yaml.ScalarNode {
		*s = stringList{n.Value}
		return
	}
	var list []string
	m.decode(n, valueOf(&list), "list")
	*s = list
}

func (s *stringList) schema() map[string]any {
	text := map[string]any{"type": "string"}
	return map[string]any{"oneOf": []any{text, map[string]any{"type": "array", "items": text}}}
}

// size is a number of bytes, written 65536, 64KiB or 1MiB.
type size int64

func (s *size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	unit := int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(rest), u
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<50)/unit {
		return fmt.Errorf("%q is not a size such as 65536, 64KiB or 1MiB", b)
	}
	*s = size(n * unit)
	return nil
}

type doorBounds struct {
	Target            size          `yaml:"target" doc:"Bytes of the request target; 414 beyond. Default 8KiB."`
	Header            size          `yaml:"header" doc:"Bytes of all request headers; 431 beyond. Default 32KiB."`
	HeaderLines       int           `yaml:"header_lines" doc:"Request header lines; 431 beyond. Default 100."`
	Body              size          `yaml:"body" doc:"Bytes of a request body that streams through; 413 beyond. Default 1GiB."`
	HeadTime          time.Duration `yaml:"head_time" doc:"From a request's first byte to the end of its headers; 408. Default 10s."`
	BodyIdle          time.Duration `yaml:"body_idle" doc:"Between two reads of a request body; 408. Default 30s."`
	IdleTime          time.Duration `yaml:"idle_time" doc:"Between two requests of a connection; closed. Default 75s."`
	AnswerTime        time.Duration `yaml:"answer_time" doc:"Until an upstream's headers are there; 504. Default 60s."`
	Connections       int           `yaml:"connections" doc:"Open at once. Default 16384."`
	ClientConnections int           `yaml:"client_connections" doc:"Open at once from one client address. Default 512."`
	Requests          int           `yaml:"requests" doc:"In flight at once; 503 beyond. Default 8192."`
	ClientRequests    int           `yaml:"client_requests" doc:"In flight at once from one client; 429 beyond. Default 256."`
	Frames            int           `yaml:"frames" doc:"Frames of HTTP/2 that carry nothing (settings, pings, priorities, windows, empty ones), a second of one connection, ten times as many at once; closed beyond. Default 200."`
	Resets            int           `yaml:"resets" doc:"Requests by HTTP/2 that are broken off before their answer ends, a second of one connection, eight times as many at once; closed beyond. Default 50."`
	Buffered          size          `yaml:"buffered" doc:"Bytes of bodies held in memory at once; 503 beyond. Default 256MiB."`
	Cache             size          `yaml:"cache" doc:"Bytes of stored answers; those least asked for go. Default 64MiB."`
	Drain             time.Duration `yaml:"drain" doc:"For requests in flight once serving ends; cut off beyond. Default 30s."`
}

type retention struct {
	Events        time.Duration `yaml:"events" doc:"Age at which records leave the event stream. Default 168h."`
	EventBytes    size          `yaml:"event_bytes" doc:"Size of the event stream; the oldest records go first. Default 2GiB."`
	Decisions     time.Duration `yaml:"decisions" doc:"Age at which refused and flagged decisions leave the journal. Default 720h."`
	DecisionRows  int64         `yaml:"decision_rows" doc:"Decisions kept in the journal. Default 1000000."`
	SampleOneIn   int           `yaml:"sample_one_in" doc:"One in so many plainly allowed requests is kept in the journal. Default 100."`
	Originals     time.Duration `yaml:"originals" doc:"Age at which sealed originals of replaced errors are removed. Default 720h."`
	OriginalBytes size          `yaml:"original_bytes" doc:"Size of all sealed originals; the oldest go first. Default 256MiB."`
	Inventory     time.Duration `yaml:"inventory" doc:"Undeclared operations not seen for so long leave the inventory. Default 9600h."`
	Audit         time.Duration `yaml:"audit" doc:"Age at which entries leave the audit log. Default 17520h."`
	Verdicts      time.Duration `yaml:"verdicts" doc:"Age at which verdicts of the gate, and what triggered them, are removed. Default 9600h."`
	ReportBytes   size          `yaml:"report_bytes" doc:"Size of the reports of all verdicts, compressed; the oldest go first, their verdicts stay. Default 1GiB."`
	StreamSync    time.Duration `yaml:"stream_sync" doc:"Time between two fsyncs of the embedded stream: what a power cut may lose. Default 1s."`
	DatabaseFsync bool          `yaml:"database_fsync" doc:"SQLite: fsync at each commit in place of each checkpoint."`
}

type redact struct {
	KeepHeaders stringList `yaml:"keep_headers" doc:"Headers whose values are recorded, besides the harmless ones."`
	Headers     stringList `yaml:"headers" doc:"Headers whose values are never recorded, besides credentials."`
	Parameters  stringList `yaml:"parameters" doc:"Parameters whose values are never recorded, besides the usual secrets."`
}

type apiConfig struct {
	client *http.Client // through which its documents are had; nil: the usual one

	Name       string             `yaml:"name" need:"1" doc:"Identity of the API everywhere: letters, digits, - and _."`
	Spec       stringList         `yaml:"spec" doc:"OpenAPI documents, GraphQL schemas, WSDL documents (.wsdl), .proto files or binary descriptor sets (.binpb): files, folders or URLs."`
	Match      match              `yaml:"match" doc:"Which requests are this API's."`
	Upstreams  []upstream         `yaml:"upstreams" need:"1" doc:"Instances that serve it."`
	Health     health             `yaml:"health" doc:"How instances are watched."`
	Owner      ownerConfig        `yaml:"owner" doc:"Who answers for it."`
	Department string             `yaml:"department" doc:"Department that pays for it."`
	Exposure   sallyport.Exposure `yaml:"exposure" enum:"external|partner|internal" doc:"From where it is meant to be reached."`
	Gate       *gateConfig        `yaml:"gate" doc:"How instances are tested before they serve, and again while they do."`
	policy.API `yaml:",inline"`
}

type match struct {
	Host stringList `yaml:"host" doc:"Host names; none = any."`
	Path string     `yaml:"path" doc:"Path prefix; none = any."`
}

type ownerConfig struct {
	Team    string `yaml:"team" doc:"Team that owns the API."`
	Contact string `yaml:"contact" doc:"Where the owner is reached."`
	Deputy  string `yaml:"deputy" doc:"Who stands in."`
}

type upstream struct {
	URL      string        `yaml:"url" doc:"scheme://host:port of one instance."`
	DNS      string        `yaml:"dns" doc:"host:port whose addresses are the instances."`
	Scheme   string        `yaml:"scheme" enum:"http|https" doc:"Of a DNS upstream. Default http."`
	Refresh  time.Duration `yaml:"refresh" doc:"Time between two resolutions. Default 30s."`
	Protocol string        `yaml:"protocol" enum:"http1|h2" doc:"h2: HTTP/2 always, in plain text over http. Default HTTP/1.1, and HTTP/2 for gRPC."`
	Host     string        `yaml:"host" doc:"Host header sent. Default the client's."`
	CA       string        `yaml:"ca" doc:"The same as tls.ca."`
	Name     string        `yaml:"name" doc:"The same as tls.server_name."`
	Standby  bool          `yaml:"standby" doc:"Asked only when the others are full or too few of them are well."`
	MaxConns int           `yaml:"max_conns" doc:"Requests in flight at once to one instance. Default 1024."`

	Kubernetes *clusterService `yaml:"kubernetes" doc:"Service of the cluster whose Pods are the instances."`

	TLS policy.UpstreamTLS `yaml:"tls" doc:"How an https upstream is known, and what it is shown."`
}

type health struct {
	Path      string        `yaml:"path" doc:"Asked by GET; 2xx or 3xx is well. None = passive checks only."`
	Interval  time.Duration `yaml:"interval" doc:"Between two checks. Default 5s."`
	Timeout   time.Duration `yaml:"timeout" doc:"Of one check. Default 2s."`
	Failures  int           `yaml:"failures" doc:"In a row until an instance is left out. Default 5."`
	Recovered int           `yaml:"recovered" doc:"Checks in a row until it is taken back. Default 2."`
	// Of those that fail more often than the others half at most are left out.
	MaxEjected policy.Fraction `yaml:"max_ejected" doc:"Part of the instances that failures may leave out. Default 100%: then all are asked all the same."`
	SpillBelow policy.Fraction `yaml:"spill_below" doc:"When a smaller part of the instances is well, those with standby take over what is missing. Default 70%."`
	SlowStart  time.Duration   `yaml:"slow_start" doc:"Over which a new instance gets its full share. Default 10s."`
}

// readConfig reads and checks a configuration file; its error lists every
// mistake with file, line and column.
func readConfig(file string) (*config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w; `sallyport config schema` lists the settings and examples/ has files to start from", err)
	}
	return parseConfig(file, data)
}

func parseConfig(file string, data []byte) (*config, error) {
	c := &config{file: file}
	root, choices, err := decodeStrict(file, data, c)
	if err != nil {
		return nil, err
	}
	c.root = root
	m := &mistakes{File: file}
	c.defaults()
	c.check(m)
	m.unchosen(choices)
	return c, m.err()
}

func (c *config) defaults() {
	if c.Listen.Gateway == "" {
		c.Listen.Gateway = ":8443"
	}
	if c.Listen.Console == "" {
		c.Listen.Console = "127.0.0.1:9443"
	}
	if len(c.Roles) == 0 {
		c.Roles = []role{roleGateway, roleControl}
	}
	if c.Keys == "" {
		home, err := os.UserConfigDir()
		if err != nil {
			home = "."
		}
		c.Keys = "file:" + filepath.Join(home, "sallyport", "master.key")
	} else if path, ok := strings.CutPrefix(c.Keys, "file:"); ok {
		c.Keys = "file:" + c.path(path)
	}
	if c.Data == "" {
		c.Data = "data"
	}
	c.Data = c.path(c.Data)
	c.TLS.Cert, c.TLS.Key, c.TLS.ClientCA = c.path(c.TLS.Cert), c.path(c.TLS.Key), c.path(c.TLS.ClientCA)
	for i := range c.TLS.More {
		p := &c.TLS.More[i]
		p.Cert, p.Key = c.path(p.Cert), c.path(p.Key)
	}
	if c.TLS.ACME != nil {
		c.TLS.ACME.Roots = c.path(c.TLS.ACME.Roots)
	}
	for i := range c.APIs {
		a := &c.APIs[i]
		for j, s := range a.Spec {
			if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
				a.Spec[j] = c.path(s)
			}
		}
		for j, s := range a.GRPC.Imports {
			a.GRPC.Imports[j] = c.path(s)
		}
		a.GRPC.Reflection.CA = c.path(a.GRPC.Reflection.CA)
		for j := range a.Upstreams {
			u := &a.Upstreams[j]
			for _, file := range []*string{&u.CA, &u.TLS.CA, &u.TLS.Cert, &u.TLS.Key} {
				*file = c.path(*file)
			}
		}
	}
	for i := range c.Discover {
		c.Discover[i].defaults(c)
	}
	for i := range c.Catalogues {
		c.Catalogues[i].defaults(c)
	}
	if c.Egress != nil {
		for i := range c.Egress.Destinations {
			d := &c.Egress.Destinations[i]
			d.CA = c.path(d.CA)
			for j, s := range d.Spec {
				if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
					d.Spec[j] = c.path(s)
				}
			}
		}
	}
}

// path is p seen from the configuration file's folder.
func (c *config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	p = filepath.Join(filepath.Dir(c.file), p)
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

func (c *config) has(r role) bool { return slices.Contains(c.Roles, r) }

// at finds the node of a path such as apis[0].upstreams[1].url, or of as much
// of it as stands in the file.
func (c *config) at(path string) *yaml.Node {
	n := c.root
	for path != "" && n != nil {
		path = strings.TrimPrefix(path, ".")
		key, index := path, ""
		if i := strings.IndexAny(path, ".["); i == 0 {
			index, path, _ = strings.Cut(path[1:], "]")
			key = ""
		} else if i > 0 {
			key, path = path[:i], path[i:]
		} else {
			path = ""
		}
		next := child(n, key, index)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func child(n *yaml.Node, key, index string) *yaml.Node {
	if key == "" {
		i, err := strconv.Atoi(index)
		if n.Kind != yaml.SequenceNode && i == 0 {
			return n // one entry in place of a list
		}
		if err != nil || i < 0 || i >= len(n.Content) {
			return nil
		}
		return n.Content[i]
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (c *config) check(m *mistakes) {
	bad := func(path, format string, args ...any) {
		m.add(c.at(path), "%s: %s", path, fmt.Sprintf(format, args...))
	}
	for path, addr := range map[string]string{"listen.gateway": c.Listen.Gateway, "listen.console": c.Listen.Console} {
		host, port, err := net.SplitHostPort(addr)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			bad(path, "%q is not host:port", addr)
		} else if c.TLS.Off && !loopback(host) {
			bad(path, "tls is off, and %q is not a loopback address; give certificates or leave tls out for a local CA", addr)
		}
	}
	c.checkCatalogues(bad)
	c.checkScans(bad)
	if len(c.TLS.More) > 0 && (c.TLS.Cert == "" || c.TLS.ACME != nil) {
		bad("tls.certificates", "are further ones beside cert and key, which names of none are answered with; acme obtains its own")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("tls", "cert and key go together")
	}
	for _, x := range c.TLS.TLS.Check() {
		bad("tls."+x.Path, "%s", x.Text)
	}
	if c.TLS.OCSP == policy.On && c.TLS.Cert == "" {
		bad("tls.ocsp", "is for the certificate in cert; those of acme are stapled by themselves, and the local CA has no responder")
	}
	if c.TLS.ClientCA != "" {
		if _, err := cert.ReadRoots(c.TLS.ClientCA); err != nil {
			bad("tls.client_ca", "%v", err)
		}
	}
	for i, a := range c.APIs {
		if a.Auth.AsksCertificate() && (c.TLS.Off || c.TLS.ClientCA == "") {
			bad(fmt.Sprintf("apis[%d].auth", i), "asks for client certificates, which needs tls.client_ca (and TLS) to verify them")
		}
	}
	if c.TLS.ACME != nil {
		switch {
		case c.TLS.Cert != "":
			bad("tls.acme", "either acme or cert and key, not both")
		case !c.TLS.ACME.Agree:
			bad("tls.acme", "say `agree: true` once you have read the authority's terms of service")
		case len(c.TLS.Names) == 0 && len(c.hosts()) == 0:
			bad("tls.acme", "no names to obtain certificates for: give tls.names or match.host of an API")
		}
	}
	if c.Log != "" && !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log) {
		bad("log", "%q is not one of debug, info, warn, error", c.Log)
	}
	for i, name := range c.StripHeaders {
		if prefix, wide := strings.CutSuffix(name, "*"); prefix == "" || strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}*`, r) }) {
			if wide && prefix == "" {
				bad(fmt.Sprintf("strip_headers[%d]", i), "%q takes away every header, credentials and media types too", name)
			} else {
				bad(fmt.Sprintf("strip_headers[%d]", i), "%q is not the name of a header, with or without a * behind it", name)
			}
		}
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") && !strings.HasPrefix(c.Database, "env:") && !strings.HasPrefix(c.Database, "file:") {
		bad("database", "want postgres://…, or env:NAME or file:PATH that holds such a URL")
	}
	c.checkCounters(bad)
	if !c.has(roleControl) && c.Stream == "" {
		bad("roles", "a gateway without control publishes to a shared stream: give stream: nats://…")
	}
	if !c.has(roleGateway) && c.Stream == "" {
		bad("roles", "control without a gateway reads from a shared stream: give stream: nats://…")
	}
	seen := map[string]bool{}
	for i := range c.APIs {
		a := &c.APIs[i]
		c.checkAPI(a, fmt.Sprintf("apis[%d]", i), seen, bad)
		c.checkGate(a, fmt.Sprintf("apis[%d]", i), bad)
		if !slices.Contains([]sallyport.Exposure{"", sallyport.External, sallyport.Partner, sallyport.Internal}, a.Exposure) {
			bad(fmt.Sprintf("apis[%d].exposure", i), "%q is not one of external, partner, internal", a.Exposure)
		}
	}
	c.checkEgress(seen, bad)
	c.checkDoors(bad)
	c.checkSources(bad)
	c.checkIncidents(bad)
	c.checkVerdicts(bad)
	c.checkCluster(bad)
}

func (c *config) checkAPI(a *apiConfig, path string, seen map[string]bool, bad func(string, string, ...any)) {
	valid := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	switch {
	case a.Name == "":
		bad(path, "name is missing")
	case strings.ContainsFunc(a.Name, func(r rune) bool { return !valid(r) }) || len(a.Name) > 64:
		bad(path+".name", "%q: want letters, digits, - and _, at most 64", a.Name)
	case seen[a.Name]:
		bad(path+".name", "%q stands twice", a.Name)
	}
	seen[a.Name] = true
	if a.Match.Path != "" && !strings.HasPrefix(a.Match.Path, "/") {
		bad(path+".match.path", "%q does not begin with /", a.Match.Path)
	}
	for _, part := range []struct {
		name  string
		value policy.Fraction
	}{{"max_ejected", a.Health.MaxEjected}, {"spill_below", a.Health.SpillBelow}} {
		if part.value > 1 {
			bad(path+".health."+part.name, "more than 100%%")
		}
	}
	if len(a.Upstreams) == 0 {
		bad(path, "upstreams is missing: where do its requests go?")
	}
	for j, u := range a.Upstreams {
		p := fmt.Sprintf("%s.upstreams[%d]", path, j)
		switch {
		case u.Kubernetes != nil:
			if u.URL != "" || u.DNS != "" {
				bad(p, "want one of url, dns and kubernetes")
			}
		case (u.URL == "") == (u.DNS == ""):
			bad(p, "want one of url, dns and kubernetes")
		case u.URL != "":
			x, err := url.Parse(u.URL)
			if err != nil || x.Scheme != "http" && x.Scheme != "https" || x.Host == "" || x.Path != "" && x.Path != "/" || x.RawQuery != "" || x.User != nil {
				bad(p+".url", "%q: want http://host:port or https://host:port, nothing after it", u.URL)
			}
		default:
			if _, _, err := net.SplitHostPort(u.DNS); err != nil {
				bad(p+".dns", "%q: want host:port", u.DNS)
			}
		}
		if !slices.Contains([]string{"", "http1", "h2"}, u.Protocol) {
			bad(p+".protocol", "%q is neither http1 nor h2", u.Protocol)
		}
		if !slices.Contains([]string{"", "http", "https"}, u.Scheme) {
			bad(p+".scheme", "%q is neither http nor https", u.Scheme)
		}
		c.checkUpstreamTLS(&u, p, bad)
	}
}

func (c *config) hosts() []string {
	var all []string
	for _, a := range c.APIs {
		all = append(all, a.Match.Host...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// secret reads a setting that may stand elsewhere: env:NAME or file:PATH. A
// secret that stands in the configuration itself is used as it is.
func (c *config) secret(ref string) (string, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v, found := os.LookupEnv(name)
		if !found {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		return v, nil
	}
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		b, err := os.ReadFile(c.path(name))
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(b)), nil
	}
	return ref, nil
}
