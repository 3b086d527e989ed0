package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/adapter/haproxy"
	"sallyport.dev/conformance/gate"
)

// gateDoor is a door of somebody else's that the gate opens and closes; one of
// its members is given.
type gateDoor struct {
	HAProxy *haproxyDoor `yaml:"haproxy" doc:"A backend of HAProxy, by its runtime socket."`
}

type haproxyDoor struct {
	Socket  string `yaml:"socket" need:"1" doc:"unix:PATH, PATH or tcp://host:port of the runtime API, level admin."`
	Backend string `yaml:"backend" need:"1" doc:"Whose servers are the instances."`
	Slots   string `yaml:"slots" doc:"Beginning of the names of servers that stand free for instances HAProxy does not know (server-template). Default none."`
	Scheme  string `yaml:"scheme" enum:"http|https" doc:"How instances are reached that only the backend has. Default https where HAProxy speaks TLS to them."`
}

// given names the kind of a door; "" when there is not exactly one.
func (d *gateDoor) given() string {
	kind, n := "", 0
	for k, there := range map[string]bool{"haproxy": d.HAProxy != nil} {
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
		default:
			bad(p, "a door is one product's: give one of haproxy")
		}
		if name != "" && seen[name] {
			bad(p, "this door stands twice")
		}
		seen[name] = true
	}
}

// frontDoors are the doors of others that a configuration names.
type frontDoors struct{}

// of makes the doors of a configuration.
func (f *frontDoors) of(c *compiled, log *slog.Logger) (out []gate.DoorsOf) {
	for i := range c.APIs {
		a := &c.APIs[i]
		if !a.gated() {
			continue
		}
		d := gate.DoorsOf{API: a.Name, Watch: a.Gate.Watch}
		for _, g := range a.Gate.Doors {
			switch h := g.HAProxy; {
			case h != nil:
				d.Doors = append(d.Doors, &haproxy.Door{Socket: h.Socket, Backend: h.Backend, Slots: h.Slots, Scheme: h.Scheme, Log: log})
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
