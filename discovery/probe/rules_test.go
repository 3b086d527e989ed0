package probe_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev/discovery/probe"
)

func port(t testing.TB, u string) int {
	t.Helper()
	x, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(x.Port())
	return n
}

func noNames(context.Context, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host"}
}

// run scans with bounds that suit a test.
func run(t testing.TB, p probe.Plan) *probe.Report {
	t.Helper()
	if p.Rate == 0 {
		p.Rate = 20000
	}
	if p.Timeout == 0 {
		p.Timeout = 2 * time.Second
	}
	if p.Resolve == nil {
		p.Resolve = noNames
	}
	p.Text = func(context.Context, string) ([]string, error) { return nil, nil }
	p.Canonical = func(_ context.Context, n string) (string, error) { return n, nil }
	r, err := probe.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A page is what one path answers.
type page struct {
	status int
	header []string // "Name: value"
	body   string
}

type pages map[string]page // by path with query, else by path; "METHOD path" first

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := p[r.Method+" "+r.URL.Path]
	if !ok {
		x, ok = p[r.URL.RequestURI()]
	}
	if !ok {
		x, ok = p[r.URL.Path]
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	for _, h := range x.header {
		k, v, _ := strings.Cut(h, ": ")
		w.Header().Add(k, v)
	}
	if x.status == 0 {
		x.status = 200
	}
	w.WriteHeader(x.status)
	io.WriteString(w, x.body)
}

func one(path, body string, header ...string) pages { return pages{path: {body: body, header: header}} }

const (
	jsonType = "Content-Type: application/json"
	htmlType = "Content-Type: text/html"
	nosniff  = "X-Content-Type-Options: nosniff"
)

func reply(f func(r *http.Request, body string) (int, string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		status, text := f(r, string(b))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
}

// graphQL is a small server whose leniency is chosen.
func graphQL(introspects, batches, gets, suggests, aliases bool) http.Handler {
	return reply(func(r *http.Request, body string) (int, string) {
		q := r.URL.Query().Get("query")
		switch {
		case r.URL.Path != "/graphql":
			return 404, `{"error":"no"}`
		case r.Method == "GET" && gets && q != "":
			return 200, `{"data":{"__typename":"Query"}}`
		case r.Method != "POST":
			return 405, `{"error":"POST"}`
		case strings.HasPrefix(body, "[") && batches:
			return 200, `[{"data":{"__typename":"Query"}},{"data":{"__typename":"Query"}}]`
		case strings.Contains(body, "a199"):
			if aliases {
				return 200, `{"data":{"a0":"Query","a199":"Query"}}`
			}
			return 400, `{"errors":[{"message":"too many aliases in the query"}]}`
		case strings.Contains(body, "__schema") && introspects:
			return 200, `{"data":{"__schema":{"queryType":{"name":"Query","fields":[{"name":"orders"}]},"mutationType":null,"subscriptionType":null}}}`
		case strings.Contains(body, "{__typename}"):
			return 200, `{"data":{"__typename":"Query"}}`
		case strings.Contains(body, "__typenam}") && suggests:
			return 400, `{"errors":[{"message":"Cannot query field \"__typenam\". Did you mean \"__typename\"?","locations":[{"line":1}]}]}`
		}
		return 400, `{"errors":[{"message":"refused by the GraphQL server","locations":[{"line":1}]}]}`
	})
}

func mcp(tools bool) http.Handler {
	return reply(func(r *http.Request, body string) (int, string) {
		switch {
		case r.URL.Path != "/mcp" || r.Method != "POST":
			return 404, `{}`
		case strings.Contains(body, "initialize"):
			return 200, `{"jsonrpc":"2.0","id":"sp1","result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"shop","version":"1"}}}`
		case strings.Contains(body, "tools/list") && tools:
			return 200, `{"jsonrpc":"2.0","id":"sp2","result":{"tools":[{"name":"refund"}]}}`
		}
		return 401, `{"jsonrpc":"2.0","id":"sp2","error":{"code":-32001,"message":"credentials"}}`
	})
}

func cors(f func(origin string) (allow string, credentials bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, c := f(r.Header.Get("Origin")); o != "" {
			w.Header().Set("Access-Control-Allow-Origin", o)
			if c {
				w.Header().Set("Access-Control-Allow-Credentials", "true")
			}
		}
		io.WriteString(w, "x")
	})
}

const described = `{"openapi":"3.1.0","info":{"title":"Shop","version":"1"},"security":[{"key":[]}],"paths":{"/orders":{"get":{}}}}`

// fixtures are, for each rule, what it must find and a look-alike that it must not.
var fixtures = map[string][2]http.Handler{
	"http.plain": {one("/", "{}", jsonType), pages{"/": {status: 301, header: []string{"Location: https://127.0.0.1/"}}}},
	"http.trace": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, r.Header) }), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(405); fmt.Fprint(w, r.Method, r.Header) })},
	"http.open_redirect": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("next"))
		w.WriteHeader(302)
	}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/login?next="+url.QueryEscape(r.URL.Query().Get("next")))
		w.WriteHeader(302)
	})},
	"http.host_reflection": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<a href="https://%s/x">`, r.Header.Get("X-Forwarded-Host"))
	}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `<a href="https://%s/x">`, r.Host) })},
	"header.nosniff":        {one("/", "{}", jsonType), one("/", "{}", jsonType, nosniff)},
	"header.frame":          {one("/", "<html>", htmlType), one("/", "<html>", htmlType, "Content-Security-Policy: frame-ancestors 'none'")},
	"header.csp":            {one("/", "<html>", htmlType), one("/", "<html>", htmlType, "Content-Security-Policy: default-src 'self'")},
	"header.cache":          {one("/", "{}", "Set-Cookie: sid=1", "Cache-Control: public, max-age=60"), one("/", "{}", "Set-Cookie: sid=1", "Cache-Control: no-store")},
	"version.server":        {one("/", "x", "Server: shop/1.2.3"), one("/", "x", "Server: shop")},
	"version.powered_by":    {one("/", "x", "X-Powered-By: Express"), one("/", "x", "X-Power: 1")},
	"version.old":           {one("/", "x", "Server: nginx/1.14.2"), one("/", "x", "Server: nginx/1.29.3")},
	"cors.any_origin":       {cors(func(o string) (string, bool) { return o, true }), cors(func(o string) (string, bool) { return "https://shop.example", true })},
	"cors.star_credentials": {cors(func(string) (string, bool) { return "*", true }), cors(func(string) (string, bool) { return "*", false })},
	"cors.null":             {cors(func(o string) (string, bool) { return "null", true }), cors(func(o string) (string, bool) { return "", false })},
	"cors.prefix": {cors(func(o string) (string, bool) {
		if strings.HasPrefix(o, "https://127.0.0.1") {
			return o, true
		}
		return "", false
	}), cors(func(o string) (string, bool) {
		if strings.HasSuffix(o, ".shop.example") {
			return o, true
		}
		return "", false
	})},
	"cookie.httponly":       {one("/", "x", "Set-Cookie: session=1"), one("/", "x", "Set-Cookie: session=1; HttpOnly", "Set-Cookie: theme=dark")},
	"cookie.samesite":       {one("/", "x", "Set-Cookie: session=1; HttpOnly"), one("/", "x", "Set-Cookie: session=1; SameSite=Lax", "Set-Cookie: theme=dark")},
	"docs.openapi":          {one("/openapi.json", described, jsonType), one("/openapi.json", `{"openapi":"see the handbook"}`, jsonType)},
	"docs.asyncapi":         {one("/asyncapi.yaml", "asyncapi: 3.0.0\ninfo: {title: Events, version: '1'}\nchannels: {orders: {}}\n"), one("/asyncapi.yaml", "about: asyncapi\n")},
	"docs.wsdl":             {one("/soap?wsdl", `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><portType name="p"><operation name="Buy"/></portType></definitions>`), one("/soap?wsdl", `<html>definitions of our terms</html>`, htmlType)},
	"docs.odata":            {one("/odata/$metadata", `<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><EntitySet Name="Orders"/></edmx:Edmx>`), one("/odata/$metadata", `<meta/>`)},
	"docs.ui":               {one("/docs", `<div id="swagger-ui"></div>`, htmlType), one("/docs", `<h1>Documents</h1>`, htmlType)},
	"docs.graphiql":         {one("/graphiql", `<title>GraphiQL</title>`, htmlType), one("/graphiql", `<title>Graphs</title>`, htmlType)},
	"docs.no_security":      {one("/openapi.json", `{"openapi":"3.1.0","info":{"title":"Shop","version":"1"},"paths":{"/a":{"get":{}}}}`, jsonType), one("/openapi.json", described, jsonType)},
	"debug.pprof":           {one("/debug/pprof/", `<title>/debug/pprof/</title>full goroutine stack dump`), one("/debug/pprof/", "no")},
	"debug.expvar":          {one("/debug/vars", `{"cmdline": ["/bin/shop"]}`, jsonType), one("/debug/vars", `{"vars":[]}`, jsonType)},
	"debug.actuator":        {one("/actuator", `{"_links":{"self":{"href":"http://x/actuator"}}}`, jsonType), one("/actuator", `{"_links":{"self":{"href":"/valves"}}}`, jsonType)},
	"debug.actuator_env":    {one("/actuator/env", `{"activeProfiles":[],"propertySources":[]}`, jsonType), pages{"/actuator/env": {status: 401, body: `{"propertySources":[]}`}}},
	"debug.phpinfo":         {one("/phpinfo.php", `<title>PHP 8.2.1 - phpinfo()</title>`), one("/phpinfo.php", `how to switch phpinfo() off`)},
	"debug.server_status":   {one("/server-status", `<title>Apache Status</title>`), one("/server-status", `{"status":"ok"}`)},
	"debug.server_info":     {one("/server-info", `<title>Server Information</title>`), one("/server-info", `{"name":"x"}`)},
	"debug.nginx_status":    {one("/nginx_status", "Active connections: 3 \nserver accepts"), one("/nginx_status", "ok")},
	"debug.haproxy_stats":   {one("/stats", `<h1>Statistics Report for HAProxy</h1>`), one("/stats", `{"visits":3}`)},
	"debug.django":          {pages{"/sallyport-no-such-page": {status: 404, body: `You're seeing this error because you have <code>DEBUG = True</code>`}}, pages{"/sallyport-no-such-page": {status: 404, body: "Not Found"}}},
	"debug.werkzeug":        {one("/console", `var EVALEX = true, SECRET = "x"`), one("/console", `EVALEX = false`)},
	"debug.rails":           {one("/rails/info/routes", `<title>Routes</title><table><th>Helper</th>`), one("/rails/info/routes", `<title>Bus routes</title>`)},
	"debug.laravel":         {one("/_ignition/health-check", `{"can_execute_commands": true}`), one("/_ignition/health-check", `{"ok":true}`)},
	"debug.trace_axd":       {one("/trace.axd", `<h1>Application Trace</h1>`), one("/trace.axd", `<h1>Trace your parcel</h1>`)},
	"debug.jolokia":         {one("/jolokia/version", `{"value":{"agent":"1.7","protocol":"7.2"}}`), one("/jolokia/version", `{"version":1}`)},
	"admin.open":            {one("/admin", `{"users":[]}`, jsonType), pages{"/admin": {status: 403, header: []string{jsonType}, body: `{"users":[]}`}}},
	"admin.login":           {one("/admin/login", `<form><input type="password"></form>`, htmlType), one("/admin/login", `<form><input type="search"></form>`, htmlType)},
	"default.page":          {one("/", `<title>Welcome to nginx!</title>`), one("/", `<title>Welcome to the shop!</title>`)},
	"default.credentials":   {one("/", `<title>Grafana</title>`), one("/", `<title>Graphs</title>`)},
	"metrics.open":          {one("/metrics", "# HELP requests_total Requests.\n# TYPE requests_total counter\n"), pages{"/metrics": {status: 401, body: "# HELP requests_total"}}},
	"listing.directory":     {one("/files/", `<title>Index of /files/</title>`), one("/files/", `<title>Index of shares</title>`)},
	"file.git":              {one("/.git/HEAD", "ref: refs/heads/main\n"), one("/.git/HEAD", "<html>no such page</html>")},
	"file.env":              {one("/.env", "APP_KEY=base64\n"), one("/.env", "<html>APP KEY</html>")},
	"file.backup":           {one("/backup.zip", "PK\x03\x04xx"), one("/backup.zip", "<html>PK</html>")},
	"file.ds_store":         {one("/.DS_Store", "\x00\x00\x00\x01Bud1"), one("/.DS_Store", "Bud")},
	"file.svn":              {one("/.svn/entries", "10\n\ndir\n12 dir"), one("/.svn/entries", "entries")},
	"file.settings":         {one("/appsettings.json", `{"ConnectionStrings": {}}`, jsonType), one("/appsettings.json", `{"theme":"dark"}`, jsonType)},
	"error.stack_trace":     {pages{"/api/\"'": {status: 500, body: "Traceback (most recent call last):\n"}}, pages{"/api/\"'": {status: 500, body: "something went wrong"}}},
	"error.sql":             {pages{"/search": {status: 500, body: "You have an error in your SQL syntax near"}}, pages{"/search": {status: 400, body: "your search has a quote"}}},
	"error.path":            {pages{"/": {status: 500, body: "cannot open /var/www/shop/index.php"}}, pages{"/": {status: 500, body: "cannot open it"}}},
	"leak.metadata":         {one("/latest/meta-data/", "ami-id\nhostname\ninstance-id\n"), one("/latest/meta-data/", "metadata\n")},
	"leak.private_address":  {pages{"/": {status: 302, header: []string{"Location: http://10.1.2.3/login"}}}, pages{"/": {status: 302, header: []string{"Location: /login"}}}},
	"leak.key":              {one("/", "-----BEGIN PRIVATE KEY-----\nMII"), one("/", "-----BEGIN PUBLIC KEY-----\nMII")},
	"auth.missing":          {pages{"/openapi.json": {body: described, header: []string{jsonType}}, "/orders": {body: "[]", header: []string{jsonType}}}, pages{"/openapi.json": {body: described, header: []string{jsonType}}, "/orders": {status: 401, body: "{}", header: []string{jsonType}}}},
	"auth.basic_plain":      {pages{"/admin": {status: 401, header: []string{"WWW-Authenticate: Basic realm=x"}}}, pages{"/admin": {status: 401, header: []string{"WWW-Authenticate: Bearer"}}}},
	"graphql.introspection": {graphQL(true, false, false, false, false), graphQL(false, true, true, true, true)},
	"graphql.batching":      {graphQL(false, true, false, false, false), graphQL(true, false, true, true, true)},
	"graphql.get":           {graphQL(false, false, true, false, false), graphQL(true, true, false, true, true)},
	"graphql.suggestions":   {graphQL(false, false, false, true, false), graphQL(true, true, true, false, true)},
	"graphql.aliases":       {graphQL(false, false, false, false, true), graphQL(true, true, true, true, false)},
	"mcp.open":              {mcp(true), mcp(false)},
	"websocket.origin":      {socket(""), socket("origin")},
	"mqtt.open":             {socket("mqtt"), socket("mqtt-refuses")},
	"webdav.open":           {dav(true), dav(false)},
	"xmlrpc.methods": {reply(func(r *http.Request, b string) (int, string) {
		return 200, "<methodResponse><params><string>system.listMethods</string></params></methodResponse>"
	}), reply(func(r *http.Request, b string) (int, string) {
		return 200, "<methodResponse><fault><string>refused</string></fault></methodResponse>"
	})},
	"jsonrpc.discover":   {jsonrpc(true), jsonrpc(false)},
	"sse.open":           {one("/events", "data: {}\n\n", "Content-Type: text/event-stream"), pages{"/events": {status: 401, body: "data: {}\n\n", header: []string{"Content-Type: text/event-stream"}}}},
	"open.registry":      {one("/v2/_catalog", `{"repositories":["shop"]}`, jsonType), pages{"/v2/_catalog": {status: 401, body: `{"errors":[]}`}}},
	"open.etcd":          {one("/version", `{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}`, jsonType), one("/version", `{"version":"3.4.23"}`, jsonType)},
	"open.elasticsearch": {one("/", `{"cluster_name":"x","version":{"lucene_version":"9"}}`, jsonType), one("/", `{"cluster_name":"x"}`, jsonType)},
	"open.caddy_admin":   {one("/config/", `{"apps":{"http":{}}}`, jsonType), one("/config/", `{"theme":1}`, jsonType)},
	"open.prometheus":    {one("/api/v1/status/buildinfo", `{"status":"success","data":{"goVersion":"go1.19"}}`, jsonType), one("/api/v1/status/buildinfo", `{"status":"success"}`, jsonType)},
	"open.kubernetes":    {one("/api", `{"kind": "APIVersions","versions":["v1"]}`, jsonType), pages{"/api": {status: 401, body: `{"kind":"Status"}`}}},
	"open.consul":        {one("/v1/catalog/services", `{"consul":[]}`, jsonType), one("/v1/catalog/services", `{"services":[]}`, jsonType)},
	"open.couchdb":       {one("/", `{"couchdb":"Welcome"}`, jsonType), one("/", `{"db":"Welcome"}`, jsonType)},
}

func jsonrpc(describes bool) http.Handler {
	return reply(func(r *http.Request, body string) (int, string) {
		switch {
		case r.URL.Path != "/rpc" || r.Method != "POST":
			return 404, `{}`
		case describes && strings.Contains(body, "rpc.discover"):
			return 200, `{"jsonrpc":"2.0","id":"sp3","result":{"openrpc":"1.3.2","methods":[]}}`
		}
		return 200, `{"jsonrpc":"2.0","id":"sp1","error":{"code":-32601,"message":"Method not found"}}`
	})
}

// secured are fixtures that need TLS.
var secured = map[string][2]http.Handler{
	"http.no_hsts":   {one("/", "x"), one("/", "x", "Strict-Transport-Security: max-age=31536000")},
	"http.downgrade": {pages{"/": {status: 302, header: []string{"Location: http://127.0.0.1/"}}}, pages{"/": {status: 302, header: []string{"Location: https://127.0.0.1/"}}}},
	"cookie.secure":  {one("/", "x", "Set-Cookie: session=1"), one("/", "x", "Set-Cookie: session=1; Secure")},
}

func findings(r *probe.Report, rule string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Rule == rule {
			n++
		}
	}
	return n
}

func TestEachRuleHasAFixtureAndALookAlike(t *testing.T) {
	var all []string
	for _, r := range probe.Rules() {
		all = append(all, r.ID)
		if r.Title == "" || r.Why == "" || r.Fix == "" || len(r.Refs) == 0 || r.Severity == "" {
			t.Errorf("rule %s is not told whole: %+v", r.ID, r)
		}
	}
	if len(all) < 60 {
		t.Errorf("%d rules, want 60 or more", len(all))
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Error("two rules have one identifier")
	}
	check := func(id string, pair [2]http.Handler, start func(http.Handler) *httptest.Server) {
		t.Run(id, func(t *testing.T) {
			for i, h := range pair {
				srv := start(h)
				r := run(t, probe.Plan{Targets: []string{srv.Listener.Addr().String()}, Rules: []string{id}, NoGuess: true})
				if n := findings(r, id); (n > 0) != (i == 0) {
					t.Errorf("%s: %d findings at the %s fixture; %+v %+v", id, n, []string{"positive", "negative"}[i], r.APIs, r.Hosts)
				}
				srv.Close()
			}
		})
	}
	for id, pair := range fixtures {
		check(id, pair, httptest.NewServer)
	}
	for id, pair := range secured {
		check(id, pair, func(h http.Handler) *httptest.Server {
			srv := httptest.NewUnstartedServer(h)
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			return srv
		})
	}
	for _, id := range all {
		_, plain := fixtures[id]
		_, tls := secured[id]
		_, certificate := tlsFixtures[id]
		if !plain && !tls && !certificate && !strings.HasPrefix(id, "grpc.") {
			t.Errorf("rule %s has no fixture", id)
		}
	}
}

type tlsSetting struct {
	certificate func(*x509.Certificate) // changes the template
	config      *tls.Config
	small, sha1 bool
	selfSigned  bool
	name        string // scanned by
	trusted     bool
}

func template(f func(*x509.Certificate)) tlsSetting {
	return tlsSetting{certificate: f, trusted: true}
}

var good = tlsSetting{trusted: true, config: &tls.Config{MinVersion: tls.VersionTLS12}}

func suites(ids ...uint16) tlsSetting {
	return tlsSetting{trusted: true, config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: ids}}
}

var tlsFixtures = map[string][2]tlsSetting{
	"tls.1_0":                      {{trusted: true, config: &tls.Config{MinVersion: tls.VersionTLS10}}, good},
	"tls.1_1":                      {{trusted: true, config: &tls.Config{MinVersion: tls.VersionTLS11}}, good},
	"tls.no_1_3":                   {{trusted: true, config: &tls.Config{MaxVersion: tls.VersionTLS12}}, good},
	"tls.suite.rc4":                {suites(tls.TLS_RSA_WITH_RC4_128_SHA), good},
	"tls.suite.3des":               {suites(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), good},
	"tls.suite.no_forward_secrecy": {suites(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), good},
	"tls.suite.cbc":                {suites(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), suites(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)},
	"tls.certificate.expired":      {template(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), good},
	"tls.certificate.early":        {template(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), good},
	"tls.certificate.soon":         {template(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(48 * time.Hour) }), good},
	"tls.certificate.long":         {template(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(1000 * 24 * time.Hour) }), good},
	"tls.certificate.name":         {template(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }), good},
	"tls.certificate.no_names":     {template(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }), good},
	"tls.certificate.self_signed":  {{selfSigned: true}, good},
	"tls.certificate.untrusted":    {{trusted: false}, good},
	"tls.certificate.weak_key":     {{trusted: true, small: true}, good},
	"tls.certificate.sha1":         {{trusted: true, sha1: true}, good},
	"tls.certificate.authority":    {template(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), good},
	"tls.ssl3":                     {{}, good},
}

func TestTLSRules(t *testing.T) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(5000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := x509.ParseCertificate(raw)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	serve := func(t *testing.T, s tlsSetting) net.Listener {
		key := rsaKey
		if s.small {
			if key, err = rsa.GenerateKey(rand.Reader, 1024); err != nil {
				t.Fatal(err)
			}
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"shop.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if s.certificate != nil {
			s.certificate(c)
		}
		parent, signer := root, any(caKey)
		if s.selfSigned || s.sha1 {
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		if s.sha1 { // no library signs so any more: the algorithm's name is changed, which is what is looked at
			der = bytes.ReplaceAll(der, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5})
		}
		conf := &tls.Config{}
		if s.config != nil {
			conf = s.config.Clone()
		}
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: one("/", "x"), ErrorLog: log.New(io.Discard, "", 0)}
		go srv.Serve(ln)
		t.Cleanup(func() { srv.Close() })
		return ln
	}
	for id, pair := range tlsFixtures {
		t.Run(id, func(t *testing.T) {
			for i, s := range pair {
				var at string
				if id == "tls.ssl3" && i == 0 {
					at = oldServer(t)
				} else {
					at = serve(t, s).Addr().String()
				}
				_, p, _ := net.SplitHostPort(at)
				plan := probe.Plan{Targets: []string{"shop.test:" + p}, Rules: []string{id}, NoGuess: true, Roots: roots, Timeout: time.Second, Resolve: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				}}
				if !s.trusted {
					plan.Roots = x509.NewCertPool()
				}
				if r := run(t, plan); (findings(r, id) > 0) != (i == 0) {
					b, _ := json.Marshal(r.Hosts)
					t.Errorf("%s: %d findings at the %s fixture: %s", id, findings(r, id), []string{"positive", "negative"}[i], b)
				}
			}
		})
	}
}
