package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// protocols asks the questions that only a server of a protocol answers, where
// such servers usually are and where something was found.
func (s *site) protocols(ctx context.Context) {
	var found []string // paths that may take another method or another kind of body
	for _, h := range s.hits {
		path, _, _ := strings.Cut(h.path, "?")
		if e := extension(path); (e == "" || e == ".php" || e == ".asmx" || e == ".svc" || e == ".ashx") && !isDocument(h) && len(found) < 60 {
			found = append(found, path)
		}
	}
	at := func(usual ...string) []string {
		out := slices.Clone(usual)
		for _, p := range found {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
		return out
	}
	s.grpc(ctx)
	// A POST makes something of a resource that is none of these protocols, so it
	// goes only where the name speaks for one, and never where a GET reads data.
	post := func(names *regexp.Regexp, probe func(context.Context, string), usual ...string) {
		for _, p := range at(usual...) {
			if (slices.Contains(usual, p) || names.MatchString(p)) && !s.reads(ctx, p) {
				probe(ctx, p)
			}
		}
	}
	post(mcpNames, s.mcp, "/mcp", "/", "/api/mcp", "/sse")
	post(graphQLNames, s.graphql, "/graphql", "/api/graphql", "/v1/graphql", "/query", "/gql", "/")
	post(rpcNames, s.jsonrpc, "/rpc", "/jsonrpc", "/api/rpc", "/")
	post(rpcNames, s.xmlrpc, "/xmlrpc", "/xmlrpc.php", "/RPC2", "/", "/rpc")
	post(soapNames, s.soap, "/soap", "/ws", "/services", "/service", "/Service.asmx", "/Service.svc", "/")
	post(hookNames, s.webhook, "/webhook", "/webhooks", "/hooks", "/webhooks/github", "/api/webhooks")
	for _, p := range at("/odata", "/odata/v4", "/api/odata", "/") {
		s.odata(ctx, p)
	}
	for _, p := range at("/ws", "/websocket", "/socket", "/mqtt", "/", "/api/ws", "/graphql") {
		s.websocket(ctx, p)
	}
	for _, p := range at("/events", "/stream", "/sse", "/api/events", "/api/stream") {
		s.sse(ctx, p)
	}
	for _, p := range at("/", "/dav/", "/webdav/", "/remote.php/dav/") {
		s.webdav(ctx, p)
	}
}

// Where a POST may go: what such endpoints are called. The name is leave to ask,
// and no evidence.
var (
	mcpNames     = regexp.MustCompile(`(?i)(?:^|[/_\-])(?:mcp|sse|messages?)/?$`)
	graphQLNames = regexp.MustCompile(`(?i)(?:^|[/_\-])(?:graphql|graphiql|graph|gql|query|playground)/?$`)
	rpcNames     = regexp.MustCompile(`(?i)(?:rpc|rpc2)(?:\.php)?/?$`)
	soapNames    = regexp.MustCompile(`(?i)(?:soap|/ws|service|services)/?$|\.(?:asmx|svc)$`)
	hookNames    = regexp.MustCompile(`(?i)hooks?(?:/[\w\-]+)?/?$|/callbacks?/?$`)
)

// reads says whether a GET of a path gives data: then it is a resource.
func (s *site) reads(ctx context.Context, path string) bool {
	if path == "/" && s.root != nil {
		return s.root.status < 300 && s.root.json()
	}
	if known, ok := s.readable[path]; ok {
		return known
	}
	a, err := s.fetch(ctx, ask{method: http.MethodGet, path: path})
	if s.readable == nil {
		s.readable = map[string]bool{}
	}
	s.readable[path] = err == nil && a.status < 300 && a.json()
	return s.readable[path]
}

// send asks and leaves redirects and what is not there alone.
func (s *site) send(ctx context.Context, q ask) *answer {
	a, err := s.fetch(ctx, q)
	if err != nil || a.status == 404 || a.status >= 300 && a.status < 400 {
		return nil
	}
	return a
}

// generic says whether any path would have answered in the same way.
func (s *site) generic(ctx context.Context, q ask, a *answer) bool {
	b := s.calibrate(ctx, q)
	return b.absent(shapeOf(a))
}

func post(path, media, body string) ask {
	return ask{method: http.MethodPost, path: path, body: body, header: map[string]string{"Content-Type": media}}
}

func object(b []byte) map[string]any {
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	return m
}

// last gives the data of the last server-sent event, or the body itself.
func last(a *answer) []byte {
	if a.mediaType() != "text/event-stream" {
		return a.body
	}
	var out []byte
	for line := range bytes.Lines(a.body) {
		if d, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			out = bytes.TrimSpace(d)
		}
	}
	return out
}

func (s *site) graphql(ctx context.Context, path string) {
	q := post(path, "application/json", `{"query":"query{__typename}"}`)
	a := s.send(ctx, q)
	if a == nil {
		return
	}
	m := object(a.body)
	data, _ := m["data"].(map[string]any)
	name, _ := data["__typename"].(string)
	evidence := ""
	if name != "" {
		evidence = "POST {__typename} answers " + clip(printable(name), 60)
	} else if isGraphQLError(m) {
		evidence = "POST {__typename} answers GraphQL errors"
	} else {
		return
	}
	if s.generic(ctx, q, a) && path != "/" {
		return
	}
	s.keep(a)
	api := API{Kind: GraphQL, Path: path, Auth: "none", Evidence: []string{evidence}}
	if name == "" {
		api.Auth = ""
	}
	x := s.send(ctx, post(path, "application/json", `{"query":"query{__schema{queryType{name fields{name}} mutationType{name fields{name}} subscriptionType{name fields{name}}}}"}`))
	if x != nil {
		if d, ok := object(x.body)["data"].(map[string]any); ok {
			if schema, ok := d["__schema"].(map[string]any); ok {
				api.Evidence = append(api.Evidence, "introspection is answered")
				for kind, method := range map[string]string{"queryType": "QUERY", "mutationType": "MUTATION", "subscriptionType": "SUBSCRIPTION"} {
					t, _ := schema[kind].(map[string]any)
					fields, _ := t["fields"].([]any)
					for _, f := range fields {
						f, _ := f.(map[string]any)
						n, _ := f["name"].(string)
						if n != "" && len(api.Operations) < 2000 {
							api.Operations = append(api.Operations, Operation{Method: method, Template: clip(printable(n), 200), From: "introspection"})
						}
					}
				}
				sortOperations(api.Operations)
			}
		}
	}
	s.found(api)
}

// isGraphQLError knows the errors of the GraphQL specification, §7.1.2: a list of objects with a message, and
// nothing at the top but data, errors and extensions.
func isGraphQLError(m map[string]any) bool {
	list, ok := m["errors"].([]any)
	if !ok || len(list) == 0 {
		return false
	}
	for k := range m {
		if k != "errors" && k != "data" && k != "extensions" {
			return false
		}
	}
	e, _ := list[0].(map[string]any)
	text, _ := e["message"].(string)
	_, located := e["locations"]
	_, extended := e["extensions"]
	lower := strings.ToLower(text)
	return text != "" && (located || extended || strings.Contains(lower, "graphql") || strings.Contains(lower, "query"))
}

func (s *site) mcp(ctx context.Context, path string) {
	q := post(path, "application/json", `{"jsonrpc":"2.0","id":"sp1","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"sallyport-discover","version":"1"}}}`)
	q.header["Accept"] = "application/json, text/event-stream"
	a := s.send(ctx, q)
	if a == nil {
		return
	}
	m := object(last(a))
	result, _ := m["result"].(map[string]any)
	version, _ := result["protocolVersion"].(string)
	info, ok := result["serverInfo"].(map[string]any)
	if m["jsonrpc"] != "2.0" || version == "" || !ok {
		return
	}
	s.keep(a)
	title, _ := info["name"].(string)
	api := API{Kind: MCP, Path: path, Title: clip(printable(title), 100), Version: clip(printable(version), 40), Auth: "none", Evidence: []string{"initialize answers protocolVersion " + clip(printable(version), 40)}}
	list := post(path, "application/json", `{"jsonrpc":"2.0","id":"sp2","method":"tools/list"}`)
	list.header["Accept"] = q.header["Accept"]
	list.header["Mcp-Protocol-Version"] = "2025-06-18"
	if id := a.header.Get("Mcp-Session-Id"); id != "" {
		list.header["Mcp-Session-Id"] = id
	}
	if t := s.send(ctx, list); t != nil {
		r, _ := object(last(t))["result"].(map[string]any)
		tools, _ := r["tools"].([]any)
		for _, x := range tools {
			x, _ := x.(map[string]any)
			if n, _ := x["name"].(string); n != "" && len(api.Operations) < 2000 {
				api.Operations = append(api.Operations, Operation{Method: "TOOL", Template: clip(printable(n), 200), From: "introspection"})
			}
		}
	}
	s.found(api)
}

func (s *site) jsonrpc(ctx context.Context, path string) {
	if s.has(MCP, path) {
		return
	}
	a := s.send(ctx, post(path, "application/json", `{"jsonrpc":"2.0","id":"sp1","method":"sallyport.none","params":[]}`))
	if a == nil {
		return
	}
	m := object(a.body)
	_, failed := m["error"]
	_, result := m["result"]
	if m["jsonrpc"] != "2.0" || !failed && !result || m["id"] != "sp1" && m["id"] != nil {
		return
	}
	s.keep(a)
	evidence := "an unknown method answers a JSON-RPC 2.0 response"
	if e, _ := m["error"].(map[string]any); e != nil {
		if code, ok := e["code"].(float64); ok {
			evidence = "an unknown method answers JSON-RPC 2.0 error " + itoa(int(code))
		}
	}
	s.found(API{Kind: JSONRPC, Path: path, Evidence: []string{evidence}})
}

func (s *site) xmlrpc(ctx context.Context, path string) {
	a := s.send(ctx, post(path, "text/xml", `<?xml version="1.0"?><methodCall><methodName>system.listMethods</methodName><params/></methodCall>`))
	if a == nil || !bytes.Contains(a.body, []byte("<methodResponse")) {
		return
	}
	s.keep(a)
	api := API{Kind: XMLRPC, Path: path, Evidence: []string{"system.listMethods answers a methodResponse"}}
	if !bytes.Contains(a.body, []byte("<fault>")) {
		for _, m := range methodPattern.FindAllSubmatch(a.body, 500) {
			api.Operations = append(api.Operations, Operation{Method: "CALL", Template: printable(string(m[1])), From: "introspection"})
		}
	}
	s.found(api)
}

var (
	methodPattern   = regexp.MustCompile(`<string>([\w.:\-]{1,120})</string>`)
	wsdlOperation   = regexp.MustCompile(`<(?:\w+:)?operation\s[^>]*name="([\w.\-]{1,120})"`)
	envelopePattern = regexp.MustCompile(`<(?:[\w\-]+:)?Envelope[^>]+(?:http://schemas\.xmlsoap\.org/soap/envelope/|http://www\.w3\.org/2003/05/soap-envelope)`)
)

func (s *site) soap(ctx context.Context, path string) {
	api := API{Kind: SOAP, Path: path}
	if a := s.send(ctx, ask{method: "GET", path: path + "?wsdl", most: 1 << 20}); a != nil && a.status == 200 && bytes.Contains(a.body, []byte("definitions")) && bytes.Contains(a.body, []byte("http://schemas.xmlsoap.org/wsdl/")) {
		api.Evidence = append(api.Evidence, "?wsdl answers a WSDL 1.1 document")
		s.keep(a)
		for _, m := range wsdlOperation.FindAllSubmatch(a.body, 2000) {
			o := Operation{Method: "POST", Template: string(m[1]), From: "description"}
			if !slices.Contains(api.Operations, o) {
				api.Operations = append(api.Operations, o)
			}
		}
	}
	if a := s.send(ctx, post(path, "text/xml; charset=utf-8", `<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body/></soap:Envelope>`)); a != nil && envelopePattern.Match(a.body) && bytes.Contains(a.body, []byte("Fault")) {
		api.Evidence = append(api.Evidence, "an empty envelope answers a SOAP fault")
		s.keep(a)
	}
	if len(api.Evidence) > 0 {
		s.found(api)
	}
}

func (s *site) odata(ctx context.Context, path string) {
	base := strings.TrimSuffix(path, "/")
	if s.has(OData, base) || s.has(OData, directory(path)) || base != "" && s.has(OData, strings.TrimSuffix(directory(base), "/")) {
		return
	}
	a := s.send(ctx, ask{method: "GET", path: base + "/$metadata"})
	if a == nil || a.status != 200 || !bytes.Contains(a.body, []byte("Edmx")) && !bytes.Contains(a.body, []byte(`"$Version"`)) {
		a = s.send(ctx, ask{method: "GET", path: base + "/"})
		if a == nil || a.header.Get("OData-Version") == "" && !bytes.Contains(a.body, []byte(`"@odata.context"`)) {
			return
		}
	}
	s.keep(a)
	if base == "" {
		base = "/"
	}
	api := API{Kind: OData, Path: base, Version: clip(printable(a.header.Get("OData-Version")), 10), Evidence: []string{"GET " + a.path + " answers an OData document"}}
	for _, m := range entityPattern.FindAllSubmatch(a.body, 500) {
		api.Operations = append(api.Operations, Operation{Method: "GET", Template: strings.TrimSuffix(base, "/") + "/" + string(m[1]), From: "description"})
	}
	s.found(api)
}

var entityPattern = regexp.MustCompile(`<EntitySet\s[^>]*Name="(\w{1,100})"`)

func (s *site) sse(ctx context.Context, path string) {
	a := s.send(ctx, ask{method: "GET", path: path, header: map[string]string{"Accept": "text/event-stream"}})
	if a == nil || a.status != 200 || a.mediaType() != "text/event-stream" || s.has(MCP, path) {
		return
	}
	for line := range bytes.Lines(a.body) {
		name, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !slices.Contains([]string{"", "data", "event", "id", "retry"}, string(name)) {
			return
		}
		break
	}
	s.keep(a)
	s.found(API{Kind: SSE, Path: path, Auth: "none", Evidence: []string{"GET answers text/event-stream"}})
}

func (s *site) websocket(ctx context.Context, path string) {
	if s.anyUpgrade || s.has(WebSocket, path) || s.has(MQTT, path) {
		return
	}
	if s.upgrade(ctx, path, "", "", nil) == nil && s.upgrade(ctx, path, "mqtt", "", nil) == nil {
		return
	}
	// A server that speaks nothing else takes the handshake at any path.
	if other := "/" + random(); s.upgrade(ctx, other, "mqtt", "", nil) != nil {
		s.anyUpgrade, path = true, "/"
	}
	if a := s.upgrade(ctx, path, "mqtt", "", nil); a != nil && a.header.Get("Sec-WebSocket-Protocol") == "mqtt" {
		code := -1
		s.upgrade(ctx, path, "mqtt", "", func(c io.ReadWriter) { code = mqttOver(c) })
		if code >= 0 {
			auth := "none"
			if code != 0 {
				auth = "mqtt"
			}
			s.found(API{Kind: MQTT, Path: path, Auth: auth, Evidence: []string{"a WebSocket with the protocol mqtt answers CONNACK code " + itoa(code)}})
			return
		}
	}
	s.found(API{Kind: WebSocket, Path: path, Evidence: []string{"the opening handshake is completed (RFC 6455, accept key right)"}})
}

// upgrade makes the opening handshake and checks the key; then runs talk.
func (s *site) upgrade(ctx context.Context, path, protocol, origin string, talk func(io.ReadWriter)) *answer {
	if s.dead || !s.robots.allows(path) || !s.spend(ctx) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(s.p.Timeout, 3*time.Second))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base()+path, nil)
	if err != nil {
		return nil
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	key := base64.StdEncoding.EncodeToString(raw[:])
	for k, v := range map[string]string{"User-Agent": s.agent(), "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": protocol, "Origin": origin} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	resp, err := s.client.RoundTrip(r)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil
	}
	if c, ok := resp.Body.(io.ReadWriter); ok && talk != nil {
		done := make(chan struct{})
		go func() { defer close(done); talk(c) }()
		select {
		case <-done:
		case <-ctx.Done():
			resp.Body.Close()
			<-done
		}
	}
	return &answer{method: "GET", path: path, status: resp.StatusCode, header: resp.Header}
}

// mqttOver sends CONNECT in one masked frame; -1: no CONNACK came.
func mqttOver(c io.ReadWriter) int {
	frame := append([]byte{0x82, 0x80 | byte(len(mqttConnect)), 0, 0, 0, 0}, mqttConnect...) // a mask of zeros leaves it as it is
	if _, err := c.Write(frame); err != nil {
		return -1
	}
	var head [6]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || head[0]&0x0f != 2 || head[2] != 0x20 || head[3] != 2 {
		return -1
	}
	return int(head[5])
}

func (s *site) webdav(ctx context.Context, path string) {
	for _, a := range s.apis {
		if a.Kind == WebDAV && strings.HasPrefix(path, a.Path) {
			return
		}
	}
	o := s.send(ctx, ask{method: http.MethodOptions, path: path})
	if o == nil || !davClass.MatchString(o.header.Get("DAV")) {
		return
	}
	s.keep(o)
	api := API{Kind: WebDAV, Path: path, Evidence: []string{"OPTIONS answers DAV: " + clip(printable(o.header.Get("DAV")), 80)}}
	q := ask{method: "PROPFIND", path: path, header: map[string]string{"Depth": "0", "Content-Type": "application/xml"}}
	if p, err := s.fetch(ctx, q); err == nil {
		switch {
		case p.status == 207 && bytes.Contains(p.body, []byte("multistatus")):
			api.Evidence = append(api.Evidence, "PROPFIND answers 207 multistatus")
			api.Auth = "none"
			s.keep(p)
		case p.status == 401:
			api.Auth = s.authOf([]*answer{p})
		}
	}
	s.found(api)
}

var davClass = regexp.MustCompile(`(?:^|[\s,])[123](?:[\s,]|$)`)

// webhook tells receivers by what the conventions of webhooks answer: the
// abuse-protection handshake of CloudEvents, the echo of a WebSub challenge, or a
// refusal that names the missing signature.
func (s *site) webhook(ctx context.Context, path string) {
	if slices.ContainsFunc(s.apis, func(a API) bool { return a.Path == path && a.Kind != REST }) {
		return
	}
	q := ask{method: http.MethodOptions, path: path, header: map[string]string{"WebHook-Request-Origin": "sallyport.invalid"}}
	if a := s.send(ctx, q); a != nil && (a.header.Get("WebHook-Allowed-Origin") != "" || a.header.Get("WebHook-Allowed-Rate") != "") {
		s.found(API{Kind: Webhook, Path: path, Evidence: []string{"OPTIONS answers WebHook-Allowed-Origin (CloudEvents handshake)"}})
		return
	}
	ping := ask{method: http.MethodPost, path: path, body: "{}", header: map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "ping", "X-Hub-Signature-256": "sha256=" + strings.Repeat("0", 64),
		"Webhook-Id": "sallyport", "Webhook-Timestamp": "0", "Webhook-Signature": "v1,AAAA", "Stripe-Signature": "t=0,v1=0"}}
	a := s.send(ctx, ping)
	if a == nil || a.status != 400 && a.status != 401 && a.status != 403 && a.status != 422 || !signaturePattern.Match(a.body) || s.generic(ctx, ping, a) {
		return
	}
	s.keep(a)
	s.found(API{Kind: Webhook, Path: path, Auth: "signature", Evidence: []string{"a ping with a wrong signature is refused for its signature (" + itoa(a.status) + ")"}})
}

var signaturePattern = regexp.MustCompile(`(?i)signature|hmac|x-hub|webhook secret`)

// grpc asks for a method that no server has; only gRPC answers with a status of its own.
func (s *site) grpc(ctx context.Context) {
	if s.scheme == "https" && s.service.TLS != nil && s.service.TLS.ALPN != "h2" {
		s.grpcWeb(ctx)
		return
	}
	h2 := s.service.Protocol != "h2c" // the first client speaks HTTP/2 there already
	unary := func(method string, message []byte) *answer {
		body := append([]byte{0, 0, 0, 0, 0}, message...)
		binary.BigEndian.PutUint32(body[1:], uint32(len(message)))
		a, err := s.fetch(ctx, ask{method: "POST", path: method, h2: h2, most: 4 << 20, body: string(body), wait: s.p.Timeout, header: map[string]string{"Content-Type": "application/grpc", "TE": "trailers"}})
		if err != nil || !strings.HasPrefix(a.mediaType(), "application/grpc") || a.header.Get("Grpc-Status") == "" {
			return nil
		}
		return a
	}
	if a := unary("/sallyport.none.Service/None", nil); a != nil {
		api := API{Kind: GRPC, Path: "/", Evidence: []string{"an unknown method answers grpc-status " + clip(printable(a.header.Get("Grpc-Status")), 4)}}
		for _, version := range []string{"v1", "v1alpha"} {
			method := "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"
			r := unary(method, protowire.AppendString(protowire.AppendTag(nil, 7, protowire.BytesType), "*"))
			if r == nil || r.header.Get("Grpc-Status") != "0" {
				continue
			}
			api.Evidence = append(api.Evidence, "reflection ("+version+") lists its services")
			for _, name := range messages(messages1(unframe(r.body), 6), 1) {
				service := clip(printable(string(messages1(name, 1))), 200)
				if service == "" || strings.HasPrefix(service, "grpc.reflection.") || len(api.Operations) > 2000 {
					continue
				}
				n := len(api.Operations)
				if d := unary(method, protowire.AppendString(protowire.AppendTag(nil, 4, protowire.BytesType), service)); d != nil {
					for _, file := range messages(messages1(unframe(d.body), 4), 1) {
						var f descriptorpb.FileDescriptorProto
						if proto.Unmarshal(file, &f) != nil {
							continue
						}
						for _, x := range f.Service {
							full := x.GetName()
							if f.GetPackage() != "" {
								full = f.GetPackage() + "." + full
							}
							for _, m := range x.Method {
								if full == service && len(api.Operations) < 5000 {
									api.Operations = append(api.Operations, Operation{Method: "POST", Template: "/" + full + "/" + clip(printable(m.GetName()), 200), From: "reflection"})
								}
							}
						}
					}
				}
				if len(api.Operations) == n {
					api.Operations = append(api.Operations, Operation{Method: "POST", Template: "/" + service + "/*", From: "reflection"})
				}
			}
			break
		}
		s.found(api)
	}
	s.failed, s.dead = 0, false
	if s.service.Protocol != "h2c" {
		s.grpcWeb(ctx)
	}
}

func (s *site) grpcWeb(ctx context.Context) {
	q := post("/sallyport.none.Service/None", "application/grpc-web+proto", "\x00\x00\x00\x00\x00")
	q.header["X-Grpc-Web"] = "1"
	a, err := s.fetch(ctx, q)
	if err != nil || !strings.HasPrefix(a.mediaType(), "application/grpc-web") {
		return
	}
	trailer := bytes.Contains(bytes.ToLower(a.body), []byte("grpc-status:"))
	if a.header.Get("Grpc-Status") == "" && !trailer {
		return
	}
	s.found(API{Kind: GRPCWeb, Path: "/", Evidence: []string{"an unknown method answers application/grpc-web with a grpc-status"}})
}

// unframe takes the first message of a gRPC body.
func unframe(b []byte) []byte {
	if len(b) < 5 || b[0] != 0 {
		return nil
	}
	n := binary.BigEndian.Uint32(b[1:])
	if int64(n) > int64(len(b)-5) {
		return nil
	}
	return b[5 : 5+n]
}

// messages gives every length-delimited field n of a protobuf message.
func messages(b []byte, n protowire.Number) (out [][]byte) {
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return out
		}
		b = b[k:]
		k = protowire.ConsumeFieldValue(num, typ, b)
		if k < 0 {
			return out
		}
		if num == n && typ == protowire.BytesType {
			if v, m := protowire.ConsumeBytes(b); m >= 0 {
				out = append(out, v)
			}
		}
		b = b[k:]
	}
	return out
}

func messages1(b []byte, n protowire.Number) []byte {
	if all := messages(b, n); len(all) > 0 {
		return all[0]
	}
	return nil
}
