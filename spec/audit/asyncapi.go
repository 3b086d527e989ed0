package audit

import (
	"strings"

	"sallyport.dev/spec/source"
)

var plainProtocols = map[string]bool{"amqp": true, "mqtt": true, "ws": true, "http": true, "kafka": true, "stomp": true, "nats": true, "redis": true, "mqtt5": true}

// asyncAPI looks at channels and brokers, of versions 2 and 3.
func (a *auditor) asyncAPI() {
	for _, m := range a.root.Get("servers").Entries() {
		s := a.resolve(m.Value)
		if p := s.Get("protocol"); plainProtocols[strings.ToLower(p.String())] {
			a.hit("async.plain", p, nil, m.Key)
		}
		if len(s.Get("security").List()) == 0 {
			a.at("async.open", m.Line, m.Column, nil, m.Key)
		}
	}
	for _, m := range a.root.Get("components").Get("securitySchemes").Entries() {
		s := a.resolve(m.Value)
		switch t := s.Get("type").String(); t {
		case "userPassword", "plain":
			a.hit("async.password", s, nil, m.Key)
		}
	}
	for _, m := range a.root.Get("channels").Entries() {
		c := a.resolve(m.Value)
		address := m.Key
		if x := c.Get("address").String(); x != "" {
			address = x
		}
		if strings.ContainsAny(address, "#*") || strings.Contains(address, "/+") {
			a.at("async.wildcard", m.Line, m.Column, nil, address)
		}
		a.r.Operations++
		op := &operation{method: "CHANNEL", path: address, v: c, line: m.Line, column: m.Column, async: true, secured: true}
		for _, d := range []struct {
			key string
			dir direction
		}{{"publish", request}, {"subscribe", response}} {
			if x := a.resolve(c.Get(d.key)); x != nil {
				a.message(x.Get("message"), d.dir, op)
			}
		}
		for _, x := range c.Get("messages").Entries() {
			a.message(x.Value, request, op)
		}
	}
}

func (a *auditor) message(v *source.Value, dir direction, op *operation) {
	v = a.resolve(v)
	if v == nil {
		return
	}
	if list := v.Get("oneOf").List(); list != nil {
		for _, x := range list {
			if y := a.resolve(x); y != nil && y.Get("oneOf") == nil {
				a.message(y, dir, op)
			}
		}
		return
	}
	p := v.Get("payload")
	if p == nil {
		a.hit("async.no-payload", v, op, v.Get("name").String())
		return
	}
	if a.resolve(p).Get("schemaFormat") == nil && v.Get("schemaFormat") == nil {
		a.push(job{v: p, dir: dir, op: op, top: true})
	}
}
