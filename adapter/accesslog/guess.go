package accesslog

import (
	"time"

	"sallyport.dev"
)

// A Guess reads lines of whatever formats come, as they do from a syslog server
// that several doors write to. It is for one goroutine.
type Guess struct {
	Format *Format // nil = found by looking at each line
	Zone   *time.Location
	known  []*Parser
}

// maxKnown bounds the formats that one Guess tells apart.
const maxKnown = 8

// Parse is Parser.Parse. The format that read the last line is tried first.
func (g *Guess) Parse(line []byte) (*sallyport.Exchange, error) {
	if g.Format != nil && len(g.known) == 0 {
		g.known = append(g.known, NewParser(g.Format))
	}
	var first error
	for i, p := range g.known {
		x, err := p.Parse(line)
		if err == nil {
			g.known[0], g.known[i] = g.known[i], g.known[0]
			return x, nil
		}
		if first == nil {
			first = err
		}
	}
	if g.Format != nil {
		return nil, first
	}
	f := Find(line, g.Zone)
	if f == nil {
		if first == nil {
			first = errShape
		}
		return nil, first
	}
	p := NewParser(f)
	if len(g.known) < maxKnown {
		g.known = append(g.known, p)
	}
	return p.Parse(line)
}

// Name is the format of the line read last, "" before the first.
func (g *Guess) Name() string {
	if len(g.known) == 0 {
		return ""
	}
	return g.known[0].f.name
}
