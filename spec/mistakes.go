package spec

import (
	"fmt"
	"strings"
)

// A Position is where something stands in a source.
type Position struct {
	File         string
	Line, Column int // from 1; 0 = the file as a whole
}

// String gives "file:line:column".
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A Mistake is one thing wrong in a source, and what to do about it.
type Mistake struct {
	Position Position
	Message  string
	Hint     string // may be empty
}

// String gives "file:line:column: message (hint)".
func (m Mistake) String() string {
	s := m.Position.String() + ": " + m.Message
	if m.Hint != "" {
		s += " (" + m.Hint + ")"
	}
	return s
}

// Mistakes is the error of Load: everything found, in the order of the files.
type Mistakes struct {
	List  []Mistake
	Files []string // that were asked for, absolute: where a repair is to be expected
}

// Error gives one mistake a line.
func (m *Mistakes) Error() string {
	var b strings.Builder
	for i, x := range m.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(x.String())
	}
	return b.String()
}
