package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/adapter/haproxy"
	"sallyport.dev/adapter/nginx"
	"sallyport.dev/adapter/skydns"
	"sallyport.dev/adapter/traefik"
	"sallyport.dev/adapter/xds"
	"sallyport.dev/conformance/gate"
)

// gateDoor is a door of somebody else's that the gate opens and closes; one of
// its members is given.
type gateDoor struct {
	HAProxy *haproxyDoor `yaml:"haproxy" doc:"A backend of HAProxy, by its runtime socket."`
	NGINX   *nginxDoor   `yaml:"nginx" doc:"An upstream of nginx, in a file that is written, with a reload."`
	Traefik *traefikDoor `yaml:"traefik" doc:"A service of Traefik, in a file that it watches."`
	XDS     *xdsDoor     `yaml:"xds" doc:"A cluster of Envoy or of gRPC's own clients, by ADS."`
	DNS     *dnsDoor     `yaml:"dns" doc:"A name that CoreDNS answers from etcd."`
}

type haproxyDoor struct {
	Socket  string `yaml:"socket" need:"1" doc:"unix:PATH, PATH or tcp://host:port of the runtime API, level admin."`
	Backend string `yaml:"backend" need:"1" doc:"Whose servers are the instances."`
	Slots   string `yaml:"slots" doc:"Beginning of the names of servers that stand free for instances HAProxy does not know (server-template). Default none."`
	Scheme  string `yaml:"scheme" enum:"http|https" doc:"How instances are reached that only the backend has. Default https where HAProxy speaks TLS to them."`
}

type nginxDoor struct {
	File     string     `yaml:"file" need:"1" doc:"Written, and included by nginx in its http block."`
	Upstream string     `yaml:"upstream" need:"1" doc:"Name of the upstream in it."`
	Lines    stringList `yaml:"lines" doc:"Further directives of the upstream, such as keepalive 32."`
	Binary   string     `yaml:"binary" doc:"Run as nginx -t and nginx -s reload. Default nginx."`
	Config   string     `yaml:"config" doc:"Configuration of nginx (its -c). Default its own."`
	Prefix   string     `yaml:"prefix" doc:"Folder of nginx (its -p). Default its own."`
}

type traefikDoor struct {
	File    string `yaml:"file" need:"1" doc:"Written, and watched by Traefik's file provider."`
	Service string `yaml:"service" need:"1" doc:"Name of the service in it; routers say NAME@file."`
	Scheme  string `yaml:"scheme" enum:"http|https" doc:"Of the instances, for Traefik. Default as ours."`
}

type xdsDoor struct {
	Listen  string  `yaml:"listen" need:"1" doc:"host:port where clients ask, by ADS; several clusters may have one."`
	Cluster string  `yaml:"cluster" need:"1" doc:"Name of the cluster whose endpoints are the instances."`
	Host    string  `yaml:"host" doc:"Name that gRPC's clients dial (xds:///NAME): a listener and a route of that name are told as well. Default none."`
	TLS     doorTLS `yaml:"tls" doc:"TLS towards clients; beyond this machine with client_ca."`
}

type dnsDoor struct {
	Etcd string `yaml:"etcd" need:"1" doc:"http:// or https://host:port of etcd."`
	Name string `yaml:"name" need:"1" doc:"Name that resolves to the instances. It is the gate's: other records at or below it are taken out."`
	Path string `yaml:"path" doc:"Where CoreDNS looks. Default /skydns."`
	TTL  int    `yaml:"ttl" doc:"Seconds for which resolvers may keep an answer. Default 5."`
	CA   string `yaml:"ca" doc:"PEM file with the authorities of etcd's certificate."`
	Cert string `yaml:"cert" doc:"PEM file with the certificate shown to etcd."`
	Key  string `yaml:"key" doc:"PEM file with its private key."`
}

// given names the kind of a door; "" when there is not exactly one.
func (d *gateDoor) given() string {
	kind, n := "", 0
	for k, there := range map[string]bool{"haproxy": d.HAProxy != nil, "nginx": d.NGINX != nil, "traefik": d.Traefik != nil, "xds": d.XDS != nil, "dns": d.DNS != nil} {
		if there {
			kind, n = k, n+1
		}
	}
	if n != 1 {
		return ""
	}
	return kind
}

// word reports whether s is a name without anything a configuration or a
// command of the product could take for more.
func word(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r))
	})
}

func (c *config) checkGateDoors(a *apiConfig, path string, bad func(string, string, ...any)) {
	g := a.Gate
	if g.Watch != 0 && (g.Watch < 100*time.Millisecond || g.Watch > time.Minute) {
		bad(path+".watch", "%s: between 100ms and 1m", g.Watch)
	}
	seen := map[string]bool{}
	for i := range g.Doors {
		d, p := &g.Doors[i], fmt.Sprintf("%s.doors[%d]", path, i)
		name := ""
		switch d.given() {
		case "haproxy":
			h := d.HAProxy
			p += ".haproxy"
			if tcp := strings.HasPrefix(h.Socket, "tcp://"); h.Socket == "" || strings.ContainsAny(h.Socket, "\x00\n") {
				bad(p+".socket", "where is the runtime socket? (unix:/run/haproxy.sock)")
			} else if !tcp {
				h.Socket = c.path(strings.TrimPrefix(h.Socket, "unix:"))
			}
			if !word(h.Backend) {
				bad(p+".backend", "%q is no name of a backend", h.Backend)
			}
			if h.Slots != "" && !word(h.Slots) {
				bad(p+".slots", "%q is no beginning of names of servers", h.Slots)
			}
			if !slices.Contains([]string{"", "http", "https"}, h.Scheme) {
				bad(p+".scheme", "%q is neither http nor https", h.Scheme)
			}
			name = "haproxy " + h.Socket + " " + h.Backend
		case "nginx":
			n := d.NGINX
			p += ".nginx"
			if n.File == "" {
				bad(p+".file", "which file is written?")
			}
			n.File, n.Config, n.Prefix = c.path(n.File), c.path(n.Config), c.path(n.Prefix)
			if !word(n.Upstream) {
				bad(p+".upstream", "%q is no name of an upstream", n.Upstream)
			}
			for j, l := range n.Lines {
				if first, _, _ := strings.Cut(strings.TrimSpace(l), " "); strings.ContainsAny(l, "{}\n#\"'") || strings.Contains(strings.TrimSuffix(l, ";"), ";") || first == "" || first == "server" || first == "include" {
					bad(fmt.Sprintf("%s.lines[%d]", p, j), "%q is not one directive of an upstream; servers are the gate's", l)
				}
			}
			name = "file " + n.File
		case "traefik":
			f := d.Traefik
			p += ".traefik"
			if f.File == "" {
				bad(p+".file", "which file is written?")
			}
			f.File = c.path(f.File)
			if !word(f.Service) {
				bad(p+".service", "%q is no name of a service", f.Service)
			}
			if !slices.Contains([]string{"", "http", "https"}, f.Scheme) {
				bad(p+".scheme", "%q is neither http nor https", f.Scheme)
			}
			name = "file " + f.File
		case "xds":
			x := d.XDS
			p += ".xds"
			for _, file := range []*string{&x.TLS.Cert, &x.TLS.Key, &x.TLS.ClientCA} {
				*file = c.path(*file)
			}
			if host, _, err := net.SplitHostPort(x.Listen); err != nil {
				bad(p+".listen", "%q is not host:port", x.Listen)
			} else if !loopback(host) && x.TLS.ClientCA == "" {
				bad(p, "listens beyond this machine: say by tls.client_ca who may ask")
			}
			if (x.TLS.Cert == "") != (x.TLS.Key == "") || x.TLS.ClientCA != "" && x.TLS.Cert == "" {
				bad(p+".tls", "cert and key go together, and client_ca needs them")
			}
			if !word(x.Cluster) || x.Host != "" && !word(x.Host) {
				bad(p, "want names of cluster and host in letters, digits, -, _, . and :")
			}
			name = "xds " + x.Listen + " " + x.Cluster
		case "dns":
			x := d.DNS
			p += ".dns"
			x.CA, x.Cert, x.Key = c.path(x.CA), c.path(x.Cert), c.path(x.Key)
			if u, err := url.Parse(x.Etcd); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
				bad(p+".etcd", "%q is not http(s)://host:port", x.Etcd)
			}
			if !word(x.Name) || strings.Contains(x.Name, ":") || strings.Count(strings.Trim(x.Name, "."), ".") < 1 || strings.Contains(x.Name, "..") {
				bad(p+".name", "%q is no name such as notes.svc.example.test", x.Name)
			}
			if x.Path != "" && (!strings.HasPrefix(x.Path, "/") || !word(strings.ReplaceAll(x.Path, "/", "-"))) {
				bad(p+".path", "%q is no path such as /skydns", x.Path)
			}
			if x.TTL < 0 || x.TTL > 3600 {
				bad(p+".ttl", "%d: between 1 and 3600 seconds", x.TTL)
			}
			if (x.Cert == "") != (x.Key == "") {
				bad(p, "cert and key go together")
			}
			if _, err := x.client(); err != nil {
				bad(p, "%v", err)
			}
			name = "dns " + x.Etcd + " " + x.Name
		default:
			bad(p, "a door is one product's: give one of haproxy, nginx, traefik, xds, dns")
		}
		if name != "" && seen[name] {
			bad(p, "this door stands twice")
		}
		seen[name] = true
	}
}

// client is how etcd is reached.
func (x *dnsDoor) client() (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if x.CA != "" {
		pem, err := os.ReadFile(x.CA)
		if err != nil {
			return nil, err
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", x.CA)
		}
	}
	if x.Cert != "" && x.Key != "" {
		pair, err := tls.LoadX509KeyPair(x.Cert, x.Key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t, IdleConnTimeout: time.Minute}, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// frontDoors are the doors of others that a configuration names. Servers that
// clients of xDS stay connected to outlive a change of the configuration.
type frontDoors struct {
	xds map[xdsAt]*xds.Server
}

type xdsAt struct {
	listen string
	tls    doorTLS
}

// of makes the doors of a configuration.
func (f *frontDoors) of(c *compiled, log *slog.Logger) (out []gate.DoorsOf) {
	servers := map[xdsAt]*xds.Server{}
	defer func() {
		for at, s := range f.xds {
			if servers[at] == nil {
				s.Close()
			}
		}
		f.xds = servers
	}()
	for i := range c.APIs {
		a := &c.APIs[i]
		if !a.gated() {
			continue
		}
		d := gate.DoorsOf{API: a.Name, Watch: a.Gate.Watch}
		for _, g := range a.Gate.Doors {
			if h := g.HAProxy; h != nil {
				d.Doors = append(d.Doors, &haproxy.Door{Socket: h.Socket, Backend: h.Backend, Slots: h.Slots, Scheme: h.Scheme, Log: log})
			}
			if n := g.NGINX; n != nil {
				d.Doors = append(d.Doors, &nginx.Door{File: n.File, Upstream: n.Upstream, Lines: n.Lines, Binary: n.Binary, Config: n.Config, Prefix: n.Prefix})
			}
			if x := g.Traefik; x != nil {
				d.Doors = append(d.Doors, &traefik.Door{File: x.File, Service: x.Service, Scheme: x.Scheme})
			}
			if x := g.XDS; x != nil {
				at := xdsAt{x.Listen, x.TLS}
				if servers[at] == nil {
					servers[at] = cmp.Or(f.xds[at], &xds.Server{Log: log, Listen: func(ctx context.Context) (net.Listener, error) {
						return (&engine{}).listenDoor(ctx, &doorConfig{Kind: doorEnvoy, Listen: at.listen, TLS: at.tls})
					}})
				}
				d.Doors = append(d.Doors, &xds.Door{Server: servers[at], Address: x.Listen, Cluster: x.Cluster, Host: x.Host})
			}
			if x := g.DNS; x != nil {
				client, err := x.client() // checked
				if err != nil {
					log.Error("reach etcd", "api", a.Name, "error", err)
					continue
				}
				d.Doors = append(d.Doors, &skydns.Door{Etcd: x.Etcd, DNS: x.Name, Path: x.Path, TTL: x.TTL, Client: client})
			}
		}
		out = append(out, d)
	}
	return out
}

// gateDoorMetrics are what an operator watches of doors of others.
type gateDoorMetrics struct{ e *engine }

var (
	gateDoorAddresses = prometheus.NewDesc("sallyport_gate_door_addresses", "Addresses at a door of others, by whether it sends requests there.", []string{"api", "door", "state"}, nil)
	gateDoorLooks     = prometheus.NewDesc("sallyport_gate_door_looks_total", "Looks at a door of others, by whether it was then as it is to be.", []string{"api", "door", "result"}, nil)
	gateDoorAge       = prometheus.NewDesc("sallyport_gate_door_age_seconds", "Time since a door of others was as it is to be.", []string{"api", "door"}, nil)
)

func (m gateDoorMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- gateDoorAddresses
	out <- gateDoorLooks
	out <- gateDoorAge
}

func (m gateDoorMetrics) Collect(out chan<- prometheus.Metric) {
	if m.e.front == nil {
		return
	}
	for _, d := range m.e.front.Others() {
		out <- prometheus.MustNewConstMetric(gateDoorAddresses, prometheus.GaugeValue, float64(d.Open), d.API, d.Door, "open")
		out <- prometheus.MustNewConstMetric(gateDoorAddresses, prometheus.GaugeValue, float64(d.Closed), d.API, d.Door, "closed")
		out <- prometheus.MustNewConstMetric(gateDoorLooks, prometheus.CounterValue, float64(d.Applied), d.API, d.Door, "right")
		out <- prometheus.MustNewConstMetric(gateDoorLooks, prometheus.CounterValue, float64(d.Failed), d.API, d.Door, "wrong")
		if !d.At.IsZero() {
			out <- prometheus.MustNewConstMetric(gateDoorAge, prometheus.GaugeValue, time.Since(d.At).Seconds(), d.API, d.Door)
		}
	}
}
