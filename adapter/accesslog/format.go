package accesslog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A kind is what a field of a line means.
type kind uint8

const (
	skip       kind = iota
	client          // address, or address:port
	clock           // any of the ways to write a time
	clockDay        // date alone (W3C)
	clockHour       // time of day alone (W3C)
	request         // METHOD target PROTOCOL
	method          //
	target          // path with query, or a URL
	query           //
	proto           //
	status          //
	origin          // status of the upstream
	sent            // bytes of the answer's body
	received        // bytes of the request's body
	seconds         // duration, with a fraction
	millis          //
	micros          //
	nanos           //
	lasted          // "1.2ms", as Go writes durations
	upSeconds       // time of the upstream, seconds
	upMillis        //
	instance        // who answered
	host            //
	scheme          // "https", "on", a TLS version
	user            //
	reqHeader       // with a name
	respHeader      //
	forwarded       // X-Forwarded-For
)

// A step of a pattern is a field and the literal that ends it.
type step struct {
	kind kind
	name string // of a header
	end  string // "" = the end of the line
}

// A Format reads lines. It is immutable and safe for concurrent use.
type Format struct {
	name   string
	first  string // before the first field
	steps  []step
	json   bool
	w3c    bool
	headed bool // a syslog header may stand before it
	loose  bool // what comes behind the last field does not matter
	zone   *time.Location
}

// Name is the format's name, or the beginning of what it was compiled from.
func (f *Format) Name() string { return f.name }

// named are the formats known by name, in the order in which they are tried.
var named = []struct{ name, pattern string }{
	{"apache-vhost", `%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`},
	{"traefik-clf", `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %{skip}i "%{skip}i" "%{instance}i" %{lasted}i`},
	{"combined", `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`},
	{"common", `%h %l %u %t "%r" %>s %b`},
	{"haproxy-http", haproxyHTTP},
	{"envoy-default", envoyDefault},
	{"aws-alb", albLine},
}

const (
	haproxyHTTP  = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr"%r"`
	envoyDefault = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"`
	// docs.aws.amazon.com/elasticloadbalancing: access log entries.
	albLine = `$scheme $time_iso8601 $skip $remote_addr $upstream_addr $request_seconds $upstream_seconds $skip $status $upstream_status $request_length $bytes_sent "$request" "$http_user_agent" $skip $ssl_protocol`
)

// Names lists the formats that Compile knows by name.
func Names() []string {
	out := []string{"json", "w3c"}
	for _, n := range named {
		out = append(out, n.name)
	}
	return out
}

// Compile makes a format of a name or of a format string of nginx, Apache,
// varnishncsa, HAProxy or Envoy. zone is where times without one were written;
// nil means UTC.
func Compile(text string, zone *time.Location) (*Format, error) {
	if zone == nil {
		zone = time.UTC
	}
	switch text {
	case "json":
		return &Format{name: text, json: true, zone: zone}, nil
	case "w3c":
		return &Format{name: text, w3c: true, zone: zone}, nil
	}
	name, loose := text[:min(len(text), 60)], false
	for _, n := range named {
		if n.name == text {
			text, loose = n.pattern, n.name == "aws-alb" || n.name == "combined"
		}
	}
	var f *Format
	var err error
	switch {
	case strings.Contains(text, "%REQ(") || strings.Contains(text, "%START_TIME"):
		f, err = compile(text, envoyField)
	case strings.Contains(text, "%ci") || strings.Contains(text, "%HM") || strings.Contains(text, "%ST"):
		if f, err = compile(text, haproxyField); f != nil {
			f.headed = true
		}
	case strings.Contains(text, "$"):
		f, err = compile(text, nginxField)
	case strings.Contains(text, "%"):
		f, err = compile(text, apacheField)
	default:
		return nil, fmt.Errorf("access log: %q is no format: want one of %s, or a format string", name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, err
	}
	f.name, f.zone, f.loose = name, zone, loose
	return f, nil
}

// compile splits text into literals and fields; field reads one that begins at
// text[0] and tells how long it is, 0 = it is none.
func compile(text string, field func(string) (kind, string, int)) (*Format, error) {
	f := &Format{}
	lit := &f.first
	has := map[kind]bool{}
	for len(text) > 0 {
		k, name, n := field(text)
		if n == 0 {
			c := text[0]
			if c == '\\' && len(text) > 1 { // as configuration files write a quote
				text = text[1:]
				c = text[0]
			}
			*lit += string(c)
			text = text[1:]
			continue
		}
		if len(f.steps) > 0 && *lit == "" {
			// Two fields without anything between cannot be told apart: one, then.
			last := &f.steps[len(f.steps)-1]
			if last.kind == skip {
				last.kind, last.name = k, name
			}
			text = text[n:]
			has[k] = true
			continue
		}
		f.steps = append(f.steps, step{kind: k, name: name})
		lit = &f.steps[len(f.steps)-1].end
		has[k] = true
		text = text[n:]
	}
	if !has[request] && !has[target] {
		return nil, fmt.Errorf("access log: the format has no request line and no path")
	}
	if !has[status] {
		return nil, fmt.Errorf("access log: the format has no status")
	}
	if strings.HasPrefix(strings.TrimSpace(f.first), "{") {
		return nil, fmt.Errorf("access log: lines in JSON are read by their members: use format json")
	}
	return f, nil
}

var nginxNames = map[string]kind{
	"remote_addr": client, "realip_remote_addr": skip, "time_local": clock, "time_iso8601": clock, "msec": clock, "request": request, "request_method": method,
	"request_uri": target, "uri": target, "document_uri": target, "args": query, "query_string": query, "server_protocol": proto, "status": status, "upstream_status": origin,
	"body_bytes_sent": sent, "bytes_sent": skip, "content_length": received, "request_time": seconds, "upstream_response_time": upSeconds, "upstream_addr": instance,
	"host": host, "http_host": host, "server_name": skip, "scheme": scheme, "https": scheme, "ssl_protocol": scheme, "remote_user": user, "proxy_protocol_addr": client,
	"http_x_forwarded_for": forwarded, "request_seconds": seconds, "upstream_seconds": upSeconds,
}

func nginxField(s string) (kind, string, int) {
	if s[0] != '$' {
		return 0, "", 0
	}
	braced := strings.HasPrefix(s, "${")
	i := 1
	if braced {
		i = 2
	}
	from := i
	for i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z') {
		i++
	}
	name := s[from:i]
	if braced && i < len(s) {
		i++
	}
	if name == "" {
		return 0, "", 0
	}
	if k, ok := nginxNames[name]; ok {
		return k, "", i
	}
	for prefix, k := range map[string]kind{"http_": reqHeader, "sent_http_": respHeader, "upstream_http_": respHeader} {
		if header, ok := strings.CutPrefix(name, prefix); ok {
			return k, headerName(header), i
		}
	}
	return skip, "", i
}

// headerName is "User-Agent" for "user_agent".
func headerName(s string) string {
	b := []byte(strings.ReplaceAll(strings.ToLower(s), "_", "-"))
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 32
		}
	}
	return string(b)
}

var apacheLetters = map[byte]kind{'h': client, 'a': client, 't': clock, 'r': request, 's': status, 'b': sent, 'B': sent, 'm': method, 'U': target, 'q': query, 'H': proto,
	'D': micros, 'T': seconds, 'v': host, 'V': host, 'u': user}

func apacheField(s string) (kind, string, int) {
	if s[0] != '%' || len(s) < 2 {
		return 0, "", 0
	}
	i := 1
	for i < len(s) && (s[i] == '>' || s[i] == '<' || s[i] == '!' || s[i] == ',' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	name := ""
	if i < len(s) && s[i] == '{' {
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			return 0, "", 0
		}
		name, i = s[i+1:i+j], i+j+1
	}
	if i >= len(s) {
		return 0, "", 0
	}
	c := s[i]
	i++
	switch {
	case c == '^' && i+1 < len(s): // %^FU, %^FB
		return skip, "", i + 2
	case name == "lasted" && c == 'i':
		return lasted, "", i
	case name == "instance" && c == 'i':
		return instance, "", i
	case name == "skip" && c == 'i':
		return skip, "", i
	case c == 'i' && strings.EqualFold(name, "X-Forwarded-For"):
		return forwarded, "", i
	case c == 'i' && strings.EqualFold(name, "Host"):
		return host, "", i
	case c == 'i':
		return reqHeader, headerName(name), i
	case c == 'o':
		return respHeader, headerName(name), i
	case c == 't':
		return clock, "", i
	case c == 'T' && name == "ms":
		return millis, "", i
	case c == 'T' && name == "us":
		return micros, "", i
	case c == 'h' && name != "":
		return skip, "", i
	}
	return apacheLetters[c], "", i
}

var haproxyNames = map[string]kind{"ci": client, "t": clock, "tr": clock, "T": clock, "Tl": clock, "trl": clock, "trg": clock, "s": instance, "Ta": millis, "Tt": millis, "Tr": upMillis, "ST": status, "B": sent,
	"r": request, "HM": method, "HP": target, "HPO": target, "HU": target, "HQ": query, "HV": proto, "U": received, "sslv": scheme, "hr": skip, "hs": skip}

func haproxyField(s string) (kind, string, int) {
	if s[0] != '%' || len(s) < 2 {
		return 0, "", 0
	}
	if strings.HasPrefix(s, "%ci:%cp") {
		return client, "", 7 // IPv6 has colons of its own
	}
	i := 1
	flags := false
	for i < len(s) && (s[i] == '{' || s[i] == '+' || s[i] == '-') {
		j := strings.IndexByte(s, '}')
		if s[i] != '{' || j < 0 {
			i++
			continue
		}
		i, flags = j+1, true
	}
	if i < len(s) && s[i] == '[' {
		j := strings.IndexByte(s[i:], ']')
		if j < 0 {
			return 0, "", 0
		}
		inner := s[i+1 : i+j]
		i += j + 1
		if h, ok := strings.CutPrefix(inner, "capture.req.hdr("); ok {
			_ = h
			return skip, "", i
		}
		switch {
		case strings.HasPrefix(inner, "var(txn.host)"), strings.HasPrefix(inner, "req.hdr(host)"), strings.HasPrefix(inner, "hdr(host)"):
			return host, "", i
		}
		return skip, "", i
	}
	j := i
	for j < len(s) && (s[j] >= 'a' && s[j] <= 'z' || s[j] >= 'A' && s[j] <= 'Z') {
		j++
	}
	name := s[i:j]
	if name == "" {
		if flags {
			return 0, "", i // "%{+Q}o" and the like
		}
		return 0, "", 0
	}
	return haproxyNames[name], "", j
}

var envoyNames = map[string]kind{"START_TIME": clock, "PROTOCOL": proto, "RESPONSE_CODE": status, "BYTES_RECEIVED": received, "BYTES_SENT": sent, "DURATION": millis,
	"UPSTREAM_HOST": instance, "DOWNSTREAM_REMOTE_ADDRESS": client, "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": client, "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": client, "DOWNSTREAM_TLS_VERSION": scheme}

func envoyField(s string) (kind, string, int) {
	if s[0] != '%' {
		return 0, "", 0
	}
	j := strings.IndexByte(s[1:], '%')
	if j <= 0 {
		return 0, "", 0
	}
	inner := s[1 : j+1]
	n := j + 2
	name, arg, called := strings.Cut(inner, "(")
	arg, _, _ = strings.Cut(strings.TrimSuffix(arg, ")"), ")")
	if !called {
		return envoyNames[name], "", n
	}
	first, other, _ := strings.Cut(arg, "?")
	switch name {
	case "START_TIME":
		return clock, "", n
	case "REQ":
		switch {
		case arg == ":METHOD":
			return method, "", n
		case first == ":PATH" || other == ":PATH":
			return target, "", n
		case first == ":AUTHORITY" || other == ":AUTHORITY":
			return host, "", n
		case strings.EqualFold(first, "X-FORWARDED-FOR"):
			return forwarded, "", n
		}
		return reqHeader, headerName(first), n
	case "RESP":
		if first == "X-ENVOY-UPSTREAM-SERVICE-TIME" {
			return upMillis, "", n
		}
		return respHeader, headerName(first), n
	}
	return skip, "", n
}

// header learns the fields of a W3C log from its #Fields line; it reports
// whether the line is a directive at all.
func (f *Format) header(line []byte) (next *Format, directive bool) {
	if len(line) == 0 || line[0] != '#' {
		return f, false
	}
	rest, ok := bytes.CutPrefix(line, []byte("#Fields:"))
	if !ok {
		return f, true
	}
	next = &Format{name: "w3c", w3c: true, zone: f.zone}
	names := strings.Fields(string(rest))
	for _, n := range names {
		s := step{end: "\t"}
		if k, ok := w3cNames[strings.ToLower(n)]; ok {
			s.kind = k
			if i := strings.IndexByte(n, '('); i > 0 && (k == reqHeader || k == respHeader) {
				s.name = headerName(strings.TrimSuffix(n[i+1:], ")"))
			}
		}
		next.steps = append(next.steps, s)
	}
	// CloudFront has two kinds of host: the one that was asked for counts.
	if slices.Contains(names, "x-host-header") {
		for i, n := range names {
			if n == "cs(Host)" {
				next.steps[i].kind = skip
			}
		}
	}
	// CloudFront counts seconds, IIS milliseconds.
	if slices.Contains(names, "sc-win32-status") || slices.Contains(names, "s-ip") {
		for i, n := range names {
			if n == "time-taken" {
				next.steps[i].kind = millis
			}
		}
	}
	return next, true
}

var w3cNames = map[string]kind{"date": clockDay, "time": clockHour, "c-ip": client, "cs-method": method, "cs-uri-stem": target, "cs-uri-query": query, "cs-uri": target, "sc-status": status,
	"sc-bytes": sent, "cs-bytes": skip, "time-taken": seconds, "cs-host": host, "cs(host)": host, "x-host-header": host, "cs-protocol": scheme, "cs-protocol-version": proto, "cs-version": proto,
	"cs(user-agent)": reqHeader, "cs(referer)": reqHeader, "cs-username": user, "x-forwarded-for": forwarded, "s-computername": instance}
