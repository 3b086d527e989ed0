package policy

import (
	"cmp"
	"net/url"
	"strings"
	"time"
)

// GRPC is how gRPC and gRPC-Web calls are treated. Zero bounds take defaults.
type GRPC struct {
	// Imports are where imports of .proto files begin.
	Imports    []string      `yaml:"imports" doc:"Folders that imports of .proto files begin at. Default the folder of each file."`
	Reflection Reflection    `yaml:"reflection" doc:"Ask a server what its services are (server reflection)."`
	Message    int64         `yaml:"message" doc:"Bytes of one message, inflated. Default 4194304."`
	Messages   int           `yaml:"messages" doc:"Messages of one call in one direction. Default 1000000."`
	Depth      int           `yaml:"depth" doc:"Messages inside of messages. Default 64."`
	Elements   int           `yaml:"elements" doc:"Values of one message. Default 100000."`
	Deadline   time.Duration `yaml:"deadline" doc:"Time that a call may take; a longer grpc-timeout is shortened. Default no bound."`
	// Opaque are fields of type bytes whose content is no text to anybody.
	Opaque []string `yaml:"opaque" doc:"Fields of type bytes (package.Message.field) that are not inspected, because nobody reads them as text."`
}

// Reflection is which server is asked for its descriptors, and how.
type Reflection struct {
	URL     string        `yaml:"url" doc:"http(s)://host:port of the server that is asked; http is HTTP/2 in plain text."`
	CA      string        `yaml:"ca" doc:"PEM file with the roots that an https server is checked against."`
	Every   time.Duration `yaml:"every" doc:"Time between two askings. Default 5m, at least 10s."`
	Timeout time.Duration `yaml:"timeout" doc:"Of one asking. Default 10s."`
}

// WithDefaults fills what is not given.
func (g GRPC) WithDefaults() GRPC {
	g.Message = cmp.Or(g.Message, 4<<20)
	g.Messages = cmp.Or(g.Messages, 1_000_000)
	g.Depth = cmp.Or(g.Depth, 64)
	g.Elements = cmp.Or(g.Elements, 100_000)
	g.Reflection.Every = cmp.Or(g.Reflection.Every, 5*time.Minute)
	g.Reflection.Timeout = cmp.Or(g.Reflection.Timeout, 10*time.Second)
	return g
}

func (m *Mistakes) grpc(g GRPC) {
	for name, v := range map[string]int64{"message": g.Message, "messages": int64(g.Messages), "depth": int64(g.Depth), "elements": int64(g.Elements), "deadline": int64(g.Deadline)} {
		if v < 0 {
			m.add("grpc."+name, "must not be negative")
		}
	}
	if g.Message > 1<<30 {
		m.add("grpc.message", "a message of more than a gibibyte is too much to hold")
	}
	if g.Depth > 1000 {
		m.add("grpc.depth", "want at most 1000")
	}
	for _, name := range g.Opaque {
		if strings.Count(name, ".") < 1 {
			m.add("grpc.opaque", "%q: want package.Message.field", name)
		}
	}
	r := g.Reflection
	if r.URL != "" {
		if u, err := url.Parse(r.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			m.add("grpc.reflection.url", "%q: want http://host:port or https://host:port, nothing after it", r.URL)
		}
	} else if r != (Reflection{}) {
		m.add("grpc.reflection.url", "is missing: which server is asked?")
	}
	if r.Every < 0 || r.Every > 0 && r.Every < 10*time.Second {
		m.add("grpc.reflection.every", "want 10s or more")
	}
	if r.Timeout < 0 || r.Timeout > 5*time.Minute {
		m.add("grpc.reflection.timeout", "want at most 5m")
	}
}
