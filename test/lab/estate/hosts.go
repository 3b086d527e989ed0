package main

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// estate is the fifty hosts. What each offers follows from its product's own documentation
// and the configuration written here.
func estate() []host {
	var out []host
	add := func(product string, want string, start func(at, dir string) error) {
		out = append(out, host{product: product, want: strings.Fields(want), start: start})
	}
	web := func(at, dir, body string) string {
		return file(dir, "nginx.conf", fmt.Sprintf("daemon off; pid %[1]s/pid; error_log %[1]s/error.log; events {} http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; server { listen %[2]s:80; %[3]s } }", dir, at, body))
	}
	nginx := func(want, body string) {
		add("nginx", want, func(at, dir string) error {
			return spawn(at, 80, dir, "nginx", "-c", web(at, dir, body), "-p", dir)
		})
	}
	nginx("rest", `default_type application/json; location = /api/orders { return 200 '[]'; } location / { return 404; }`)
	nginx("rest", `default_type application/json; location = /v1/users { return 401 '{"error":"token"}'; } location / { return 404 '{"error":"none"}'; }`)
	nginx("", `autoindex on; root /usr/share;`)
	nginx("", `default_type text/html; location / { return 200 '<html><h1>Welcome</h1>'; }`)
	apache := func(want, body string) {
		add("Apache", want, func(at, dir string) error {
			conf := "ServerRoot /usr/lib/apache2\nPidFile " + dir + "/pid\nErrorLog " + dir + "/error.log\nServerName estate\nListen " + at + ":80\nMutex file:" + dir + "\nUser www-data\nGroup www-data\nDocumentRoot " + dir + "/www\n"
			for _, m := range []string{"mpm_event", "authz_core", "authz_host", "dir", "alias", "autoindex", "status", "dav", "dav_fs", "mime"} {
				conf += "LoadModule " + m + "_module modules/mod_" + m + ".so\n"
			}
			file(dir, "www/index.html", "<html><h1>Files</h1></html>")
			file(dir, "www/dav/a.txt", "x")
			return spawn(at, 80, dir, "apache2", "-X", "-f", file(dir, "apache.conf", conf+"DavLockDB "+dir+"/lock\nTypesConfig /etc/mime.types\n"+body))
		})
	}
	apache("webdav", "<Location /dav>\nDav On\n</Location>\n")
	apache("", "<Location /server-status>\nSetHandler server-status\n</Location>\n")
	for range 2 {
		add("Squid", "", func(at, dir string) error {
			return spawn(at, 3128, dir, "squid", "-N", "-f", file(dir, "squid.conf", "http_port "+at+":3128\nhttp_access deny all\npid_filename "+dir+"/pid\ncache_log "+dir+"/cache.log\naccess_log none\ncache deny all\ncoredump_dir "+dir+"\nvisible_hostname estate\nnetdb_filename none\npinger_enable off\n"))
		})
		add("etcd", "grpc rest", func(at, dir string) error {
			u := "http://" + at
			return spawn(at, 2379, dir, "etcd", "--data-dir", dir+"/data", "--listen-client-urls", u+":2379", "--advertise-client-urls", u+":2379", "--listen-peer-urls", u+":2380", "--initial-advertise-peer-urls", u+":2380", "--initial-cluster", "default="+u+":2380")
		})
		add("slapd", "", func(at, dir string) error {
			return spawn(at, 389, dir, "slapd", "-d", "none", "-h", "ldap://"+at+":389", "-f", file(dir, "slapd.conf", "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile "+dir+"/pid\ndatabase mdb\nsuffix \"dc=test\"\ndirectory "+dir+"\n"))
		})
		add("redis", "", func(at, dir string) error {
			return spawn(at, 6379, dir, "redis-server", "--bind", at, "--port", "6379", "--dir", dir, "--save", "")
		})
		add("HAProxy", "", func(at, dir string) error {
			return spawn(at, 8404, dir, "haproxy", "-db", "-f", file(dir, "haproxy.cfg", "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\nfrontend stats\n bind "+at+":8404\n stats enable\n stats uri /stats\n"))
		})
		add("Caddy", "rest rest", func(at, dir string) error {
			return spawn(at, 8080, dir, "caddy", "run", "--adapter", "caddyfile", "--config", file(dir, "Caddyfile", "{\n admin "+at+":2019 {\n  origins "+at+":2019 "+at+"\n }\n auto_https off\n}\nhttp://"+at+":8080 {\n bind "+at+"\n header /api/* Content-Type application/json\n respond /api/v1/items `[{\"id\":1}]`\n respond 404\n}\n"))
		})
		add("Prometheus", "rest", func(at, dir string) error {
			return spawn(at, 9090, dir, "prometheus", "--config.file", file(dir, "p.yml", "global: {scrape_interval: 60s}\n"), "--storage.tsdb.path", dir+"/data", "--web.listen-address", at+":9090")
		})
		add("Prometheus exporter", "", func(at, dir string) error {
			return spawn(at, 9100, dir, "prometheus-node-exporter", "--web.listen-address", at+":9100", "--collector.disable-defaults", "--collector.loadavg")
		})
		nginx("rest", `default_type application/json; location = /api/v1/invoices { return 200 '[{"id":1}]'; } location / { return 200 '{"error":"unknown path"}'; }`)
		add("lighttpd", "", func(at, dir string) error {
			file(dir, "www/index.html", "<html><h1>Static</h1></html>")
			return spawn(at, 8000, dir, "lighttpd", "-D", "-f", file(dir, "l.conf", "server.bind=\""+at+"\"\nserver.port=8000\nserver.document-root=\""+dir+"/www\"\nindex-file.names=(\"index.html\")\nserver.errorlog=\""+dir+"/error.log\"\n"))
		})
	}
	add("Docker Registry", "rest", func(at, dir string) error {
		return spawn(at, 5000, dir, "docker-registry", "serve", file(dir, "r.yml", "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+dir+"/data}}\nhttp: {addr: '"+at+":5000'}\n"))
	})
	add("Radicale", "webdav", func(at, dir string) error {
		return spawn(at, 5001, dir, "radicale", "--config", file(dir, "rad.conf", "[server]\nhosts = "+at+":5001\n[auth]\ntype = none\n[storage]\nfilesystem_folder = "+dir+"/data\n"))
	})
	for i := range 2 {
		add("grpc-go", "grpc", func(at, dir string) error {
			ln, err := net.Listen("tcp", at+":50051")
			if err != nil {
				return err
			}
			srv := grpc.NewServer()
			healthpb.RegisterHealthServer(srv, health.NewServer())
			if i == 0 {
				reflection.Register(srv)
			}
			go srv.Serve(ln)
			return nil
		})
	}
	for _, o := range ownHosts() {
		out = append(out, o)
	}
	return out
}

func answers(f func(r *http.Request, body string) (int, string, string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		status, media, text := f(r, string(b))
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
}

const (
	jsonType = "application/json"
	xmlType  = "text/xml"
)

// static answers some paths, and to all others what otherwise says.
func static(status int, otherwise string, pages map[string]string) http.Handler {
	return answers(func(r *http.Request, _ string) (int, string, string) {
		p, ok := pages[r.URL.RequestURI()]
		if !ok || r.Method != "GET" {
			return status, jsonType, otherwise
		}
		switch {
		case strings.HasPrefix(p, "<"):
			return 200, xmlType, p
		case strings.HasPrefix(p, "asyncapi"):
			return 200, "application/yaml", p
		}
		return 200, jsonType, p
	})
}

// at answers a POST to one path by what it holds.
func at(path, media, answer string) http.Handler {
	return answers(func(r *http.Request, body string) (int, string, string) {
		if r.URL.Path != path {
			return 404, "text/plain", "not found"
		}
		if r.Method != "POST" {
			return 405, "text/plain", "POST"
		}
		return 200, media, answer
	})
}

const none = `{"error":"not found"}`

func ownHosts() []host {
	var out []host
	add := func(port int, want, admin string, h http.Handler) {
		out = append(out, host{product: "own", want: strings.Fields(want), admin: admin, start: func(at, dir string) error {
			ln, err := net.Listen("tcp", fmt.Sprintf("%s:%d", at, port))
			if err != nil {
				return err
			}
			go http.Serve(ln, h)
			return nil
		}})
	}
	add(8080, "rest openapi", "", static(404, none, map[string]string{"/openapi.json": `{"openapi":"3.1.0","info":{"title":"Shop","version":"1"},"paths":{"/orders":{"get":{}}}}`, "/orders": "[]"}))
	add(8000, "rest openapi", "", static(404, none, map[string]string{"/v2/api-docs": `{"swagger":"2.0","info":{"title":"Old shop","version":"1"},"basePath":"/api","paths":{"/pets":{"get":{}}}}`, "/api/pets": "[]"}))
	add(3000, "rest", "/internal/admin/impersonate", static(404, none, map[string]string{"/api/v1/users": "[]", "/internal/admin/impersonate": `{"as":"anybody"}`}))
	add(8081, "rest", "/ops/tokens", static(404, none, map[string]string{"/v1/customers": "[]", "/ops/tokens": `{"ready":true}`}))
	add(9000, "rest", "/admin/flags", static(200, `{"status":"ok","message":"see the handbook"}`, map[string]string{"/api/products": `[{"sku":"a","price":1}]`, "/admin/flags": `{"flags":{"dark":true}}`}))
	add(8080, "graphql", "", answers(func(r *http.Request, body string) (int, string, string) {
		switch {
		case r.URL.Path != "/graphql":
			return 404, "text/plain", "not found"
		case r.Method != "POST":
			return 405, "text/plain", "POST"
		case strings.Contains(body, "__schema"):
			return 200, jsonType, `{"data":{"__schema":{"queryType":{"name":"Query","fields":[{"name":"orders"}]}}}}`
		}
		return 200, jsonType, `{"data":{"__typename":"Query"}}`
	}))
	add(4000, "graphql", "", at("/api/graphql", jsonType, `{"errors":[{"message":"introspection and meta fields of GraphQL are off","locations":[{"line":1,"column":1}]}]}`))
	add(8080, "soap", "", static(404, "none", map[string]string{"/service?wsdl": `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><operation name="Buy"/></definitions>`}))
	add(8545, "json-rpc", "", at("/rpc", jsonType, `{"jsonrpc":"2.0","id":"sp1","error":{"code":-32601,"message":"Method not found"}}`))
	add(8080, "xml-rpc", "", at("/RPC2", xmlType, "<methodResponse><params><string>system.listMethods</string></params></methodResponse>"))
	add(8080, "odata", "", static(404, "none", map[string]string{"/odata/$metadata": `<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><EntitySet Name="Orders"/></edmx:Edmx>`}))
	add(8080, "websocket", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" || r.Header.Get("Upgrade") == "" {
			http.NotFound(w, r)
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		io.Copy(io.Discard, rw)
	}))
	add(8080, "sse", "", answers(func(r *http.Request, _ string) (int, string, string) {
		if r.URL.Path == "/events" {
			return 200, "text/event-stream", "data: {}\n\n"
		}
		return 404, "text/plain", "not found"
	}))
	add(8080, "webhook", "", answers(func(r *http.Request, _ string) (int, string, string) {
		switch {
		case r.URL.Path != "/webhooks/github":
			return 404, "text/plain", "not found"
		case r.Method != "POST":
			return 405, "text/plain", "POST"
		}
		return 401, jsonType, `{"error":"the signature does not match"}`
	}))
	add(8080, "mcp", "", answers(func(r *http.Request, body string) (int, string, string) {
		switch {
		case r.URL.Path != "/mcp" || r.Method != "POST":
			return 404, "text/plain", "not found"
		case strings.Contains(body, "tools/list"):
			return 200, jsonType, `{"jsonrpc":"2.0","id":"sp2","result":{"tools":[{"name":"refund"}]}}`
		}
		return 200, jsonType, `{"jsonrpc":"2.0","id":"sp1","result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"desk","version":"1"}}}`
	}))
	add(8080, "asyncapi", "", static(404, "none", map[string]string{"/asyncapi.yaml": "asyncapi: 3.0.0\ninfo: {title: Events, version: '1'}\nchannels: {orders: {}}\n"}))
	add(8080, "grpc-web", "", answers(func(r *http.Request, _ string) (int, string, string) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc-web") {
			return 200, "application/grpc-web+proto", "\x80\x00\x00\x00\x0fgrpc-status:12\n"
		}
		return 415, "text/plain", "gRPC-Web alone"
	}))
	// Nothing is to be found at the rest: pages that change, walls, names alone.
	add(8080, "", "", answers(func(r *http.Request, _ string) (int, string, string) {
		return 200, "text/html", "<html><h1>Nothing at " + r.URL.Path + "</h1>" + strings.Repeat("<i>offer</i>", rand.N(9))
	}))
	add(8080, "", "", answers(func(r *http.Request, _ string) (int, string, string) {
		return 200, jsonType, fmt.Sprintf(`{"path":%q,"time":%d}`, r.URL.Path, rand.N(1<<30))
	}))
	add(8080, "", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, word := range []string{"admin", ".env", ".git", "graphql", "api"} {
			if strings.Contains(r.URL.Path, word) {
				http.Error(w, `{"blocked":true}`, 403)
				return
			}
		}
		http.NotFound(w, r)
	}))
	return out
}
