package accesslog

import (
	"encoding/json"
	"strings"

	"sallyport.dev"
)

// members are the names, joined by dots and in small letters, that JSON access
// logs give to what they say.
var members = map[string]kind{
	// nginx, as most configurations name them
	"remote_addr": client, "client": client, "client_ip": client, "clientip": client, "ip": client, "time_local": clock, "time_iso8601": clock, "time": clock, "timestamp": clock, "@timestamp": clock, "msec": clock, "ts": clock,
	"request": request, "method": method, "request_method": method, "uri": target, "request_uri": target, "path": target, "url": target, "args": query, "query_string": query, "query": query,
	"server_protocol": proto, "protocol": proto, "status": status, "status_code": status, "upstream_status": origin, "body_bytes_sent": sent, "bytes_sent": sent, "bytes": sent, "request_time": seconds,
	"upstream_response_time": upSeconds, "upstream_addr": instance, "host": host, "http_host": host, "scheme": scheme, "ssl_protocol": scheme, "remote_user": user, "user_agent": reqHeader, "http_user_agent": reqHeader,
	"http_referer": reqHeader, "referer": reqHeader, "http_authorization": reqHeader, "http_cookie": reqHeader, "http_x_forwarded_for": forwarded, "x_forwarded_for": forwarded, "content_length": received, "duration_ms": millis,
	// Caddy
	"request.remote_ip": client, "request.client_ip": client, "request.method": method, "request.uri": target, "request.host": host, "request.proto": proto, "size": sent, "bytes_read": received, "user_id": user, "request.tls.proto": scheme,
	// Traefik
	"clienthost": client, "startutc": clock, "requestmethod": method, "requestpath": target, "requesthost": host, "requestprotocol": proto, "requestscheme": scheme, "downstreamstatus": status, "originstatus": origin,
	"downstreamcontentsize": sent, "requestcontentsize": received, "serviceaddr": instance, "clientusername": user, "originduration": skip,
	// Envoy
	"start_time": clock, "response_code": status, "bytes_received": received, "authority": host, ":authority": host, "x-envoy-original-path": target, "upstream_host": instance, "downstream_remote_address": client, "upstream_service_time": upMillis, "user-agent": reqHeader,
	// API Gateway
	"sourceip": client, "requesttime": clock, "requesttimeepoch": clock, "httpmethod": method, "routekey": skip, "resourcepath": skip, "responselength": sent, "domainname": host, "identity.sourceip": client, "responselatency": millis, "integrationlatency": upMillis, "integrationstatus": origin,
	// HAProxy
	"ci": client, "hm": method, "hp": target, "hpo": target, "hq": query, "hv": proto, "st": status, "ta": millis, "tr": skip, "bytes_uploaded": skip, "server": skip, "client_addr": client, "http_method": method, "http_uri": target, "http_path": target,
}

// scanner walks one JSON object and gives its scalar members.
type scanner struct {
	s     string
	at    int
	path  []byte
	count int
}

const (
	maxMembers = 512
	maxDepth   = 8
)

func (p *Parser) parseJSON(line []byte) (*sallyport.Exchange, error) {
	s := string(line)
	if len(s) < 2 || s[0] != '{' {
		if i := strings.IndexByte(s, '{'); i > 0 && i < 256 && s[len(s)-1] == '}' { // behind a syslog header
			s = s[i:]
		} else {
			return nil, errJSON
		}
	}
	d := draft{x: &sallyport.Exchange{}}
	p.json = scanner{s: s, path: p.json.path[:0]}
	seenDuration := false
	err := p.json.object(0, func(name, v string) error {
		k := members[name]
		header := ""
		switch {
		case k == reqHeader:
			header = headerName(strings.TrimPrefix(name, "http_"))
		case name == "duration": // Caddy: seconds with a fraction; Traefik has its own member, Envoy milliseconds
			switch {
			case strings.Contains(v, "."), strings.ContainsAny(v, "eE"):
				k = seconds
			case len(v) > 7:
				k = nanos
			default:
				k = millis
			}
			if strings.HasSuffix(v, "s") {
				k = lasted
			}
		case strings.HasPrefix(name, "request_") && k == skip && len(name) > 8 && name[8] >= 'a':
			if h := name[8:]; strings.EqualFold(h, "user-agent") || strings.EqualFold(h, "authorization") || strings.EqualFold(h, "cookie") || strings.EqualFold(h, "content-type") {
				k, header = reqHeader, headerName(h) // Traefik's kept headers
			}
		case strings.HasPrefix(name, "request.headers."):
			k, header = reqHeader, headerName(strings.TrimSuffix(name[16:], ".0"))
		case strings.HasPrefix(name, "resp_headers."):
			k, header = respHeader, headerName(strings.TrimSuffix(name[13:], ".0"))
		case name == "startlocal" && d.marks&sawTime == 0:
			k = clock
		}
		if (k == target || k == clock || k == method) && v == "" || k == skip {
			return nil
		}
		if k == target && d.marks&sawTarget != 0 && strings.IndexByte(v, '?') < 0 && strings.HasPrefix(v, "/") {
			return nil // the path besides the whole
		}
		if k == seconds || k == millis || k == nanos || k == lasted {
			if seenDuration {
				return nil
			}
			seenDuration = true
		}
		if k == request && !strings.Contains(v, " ") {
			k = target
		}
		if k == clock && d.marks&sawTime != 0 {
			return nil
		}
		return p.set(&d, k, header, v)
	})
	if err != nil {
		return nil, err
	}
	return p.finish(&d)
}

func (c *scanner) object(depth int, each func(name, v string) error) error {
	if depth > maxDepth {
		return errJSON
	}
	c.at++ // {
	base := len(c.path)
	for first := true; ; first = false {
		switch c.next() {
		case '}':
			c.at++
			return nil
		case ',':
			if first {
				return errJSON
			}
			c.at++
			if c.next() != '"' {
				return errJSON
			}
		case '"':
			if !first {
				return errJSON
			}
		default:
			if c.at >= len(c.s) {
				return errCut
			}
			return errJSON
		}
		name, err := c.text()
		if err != nil {
			return err
		}
		if c.next() != ':' {
			return errCut
		}
		c.at++
		c.path = c.path[:base]
		if base > 0 {
			c.path = append(c.path, '.')
		}
		for i := 0; i < len(name) && i < 64; i++ {
			b := name[i]
			if b >= 'A' && b <= 'Z' {
				b |= 0x20
			}
			c.path = append(c.path, b)
		}
		if err := c.value(depth, each); err != nil {
			return err
		}
		c.path = c.path[:base]
	}
}

func (c *scanner) value(depth int, each func(name, v string) error) error {
	if c.count++; c.count > maxMembers {
		return errShape
	}
	switch b := c.next(); {
	case b == '{':
		return c.object(depth+1, each)
	case b == '[':
		if depth >= maxDepth {
			return errJSON
		}
		c.at++
		base := len(c.path)
		for i := 0; ; i++ {
			switch c.next() {
			case ']':
				c.at++
				return nil
			case ',':
				c.at++
			case 0:
				return errCut
			}
			c.path = append(c.path[:base], '.', '0')
			if i > 0 {
				c.path[base+1] = 'n'
			}
			if err := c.value(depth+1, each); err != nil {
				return err
			}
			c.path = c.path[:base]
		}
	case b == '"':
		v, err := c.text()
		if err != nil {
			return err
		}
		return each(string(c.path), v)
	case b == 0:
		return errCut
	default:
		from := c.at
		for c.at < len(c.s) && !strings.ContainsRune(",}] \t", rune(c.s[c.at])) {
			c.at++
		}
		v := c.s[from:c.at]
		if v == "" {
			return errJSON
		}
		if v == "null" || v == "true" || v == "false" {
			return nil
		}
		if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
			return errJSON
		}
		return each(string(c.path), v)
	}
}

func (c *scanner) next() byte {
	for c.at < len(c.s) {
		switch b := c.s[c.at]; b {
		case ' ', '\t':
			c.at++
		default:
			return b
		}
	}
	return 0
}

// text reads a string; one without escapes is a part of the line.
func (c *scanner) text() (string, error) {
	c.at++
	from, escaped := c.at, false
	for c.at < len(c.s) {
		switch c.s[c.at] {
		case '\\':
			escaped = true
			c.at++
		case '"':
			raw := c.s[from:c.at]
			c.at++
			if !escaped {
				return raw, nil
			}
			var out string
			if json.Unmarshal([]byte(c.s[from-1:c.at]), &out) != nil {
				return strings.ReplaceAll(raw, `\x`, `%`), nil // nginx's escape=default
			}
			return out, nil
		}
		c.at++
	}
	return "", errCut
}
