package store_test

import (
	"bufio"
	"io"
)

// lines reads what a child process says.
type lines struct{ s *bufio.Scanner }

func newLines(r io.Reader) lines { return lines{bufio.NewScanner(r)} }

func (l lines) next() (string, bool) {
	ok := l.s.Scan()
	return l.s.Text(), ok
}
