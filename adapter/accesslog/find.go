package accesslog

import (
	"bytes"
	"time"
)

// Find says which format the lines of sample have: the one that reads most of
// them, of those alike the most specific. nil = it is no access log. The last
// line may be cut off.
func Find(sample []byte, zone *time.Location) *Format {
	if zone == nil {
		zone = time.UTC
	}
	var lines [][]byte
	for len(sample) > 0 && len(lines) < 64 {
		line, rest, whole := bytes.Cut(sample, []byte("\n"))
		if !whole && len(lines) > 0 {
			break
		}
		sample = rest
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if bytes.HasPrefix(lines[0], []byte("#Version:")) || bytes.HasPrefix(lines[0], []byte("#Fields:")) || bytes.HasPrefix(lines[0], []byte("#Software:")) {
		return &Format{name: "w3c", w3c: true, zone: zone}
	}
	var best *Format
	most := 0
	for _, name := range append([]string{"json"}, patterns()...) {
		f, err := Compile(name, zone)
		if err != nil {
			continue
		}
		n, p := 0, NewParser(f)
		for _, line := range lines {
			if x, err := p.Parse(line); err == nil && x != nil {
				n++
			}
		}
		if n > most {
			best, most = f, n
		}
	}
	return best
}

func patterns() []string {
	var out []string
	for _, n := range named {
		out = append(out, n.name)
	}
	return out
}
