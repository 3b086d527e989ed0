package policy

import (
	"cmp"
	"net/url"
	"time"
)

// WebSocket is what is asked of connections that become WebSockets. The zero
// value lets messages of undeclared channels pass unlooked at; a channel of an
// AsyncAPI document is always looked at.
type WebSocket struct {
	Messages Looked   `yaml:"messages" enum:"check|pass" doc:"check: every message is read and judged. pass: bytes pass as they are. Default check where an AsyncAPI document declares the channel or anything here is set."`
	Origins  []string `yaml:"origins" doc:"Origins (scheme://host[:port]) of the pages that may open connections, besides the API's own host. A client that sends no Origin is no browser, and passes."`
	Binary   Over     `yaml:"binary" enum:"refuse|pass" doc:"What happens to binary messages. Default refuse where the channel declares messages, else pass."`
	Size     int64    `yaml:"size" doc:"Bytes of one message. Default 1 MiB."`
	Rate     Rate     `yaml:"rate" doc:"Messages of one client's connection, such as 20/s. Default none."`
	Burst    int      `yaml:"burst" doc:"How many of them at once. Default the rate's count."`
	Count    int64    `yaml:"count" doc:"Messages of one client's connection in all. Default none."`
	// Idle and Life end a connection: without messages for so long, or after so long.
	Idle time.Duration `yaml:"idle" doc:"Time without a message after which a connection ends. Default 10m."`
	Life time.Duration `yaml:"life" doc:"Time after which a connection ends. Default: when the credential that it was opened with ends."`
}

// Looked says whether something is looked at.
type Looked string

// The two. The zero value leaves it to what is declared.
const (
	CheckThem Looked = "check"
	PassThem  Looked = "pass"
)

// Stated reports whether anything is set.
func (w WebSocket) Stated() bool {
	return w.Messages != "" || len(w.Origins) > 0 || w.Binary != "" || w.Size > 0 || w.Rate.Count > 0 || w.Count > 0 || w.Idle > 0 || w.Life > 0
}

// WithDefaults fills what is not given.
func (w WebSocket) WithDefaults() WebSocket {
	w.Size, w.Idle, w.Burst = cmp.Or(w.Size, 1<<20), cmp.Or(w.Idle, 10*time.Minute), cmp.Or(w.Burst, w.Rate.Count)
	return w
}

func (m *Mistakes) webSocket(w WebSocket) {
	oneOf(m, "websocket.messages", w.Messages, CheckThem, PassThem)
	oneOf(m, "websocket.binary", w.Binary, RefuseIt, PassIt)
	for _, o := range w.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			m.add("websocket.origins", "%q is no origin; want scheme://host or scheme://host:port", o)
		}
	}
	for _, x := range []struct {
		path string
		n    int64
	}{{"size", w.Size}, {"burst", int64(w.Burst)}, {"count", w.Count}, {"idle", int64(w.Idle)}, {"life", int64(w.Life)}} {
		if x.n < 0 {
			m.add("websocket."+x.path, "it is negative")
		}
	}
	if w.Burst > 0 && w.Rate.Count == 0 {
		m.add("websocket.burst", "a burst without a rate bounds nothing")
	}
	if w.Messages == PassThem && (w.Binary != "" || w.Size > 0 || w.Rate.Count > 0 || w.Count > 0) {
		m.add("websocket.messages", "messages pass unlooked at, and yet they have bounds")
	}
}
