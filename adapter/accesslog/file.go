package accesslog

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// Bounds of what is read at once.
const (
	maxLine   = 64 << 10
	sampleLen = 256 << 10
	printLen  = 256 // bytes at its beginning that a file is known by
	ahead     = 5 * time.Minute
)

// A File is a source that reads one access log: to its end, or on and on.
type File struct {
	Path   string
	Format *Format        // nil = found by looking
	Zone   *time.Location // of times without one; nil = UTC
	Host   string         // of lines that name none
	TLS    bool           // for lines that do not say
	Follow bool           // wait for more at the end, over rotations
	Poll   time.Duration  // between two looks at the end; default 250 ms
	Entry  observe.Entry
	// Progress, when not nil, is told now and then how many bytes of the file are read.
	Progress func(bytes int64)

	tally observe.SourceTally
	at    mark
	from  *mark
}

var _ observe.Resumer = (*File)(nil)

// mark is a place in a file that is known by its number and its beginning.
type mark struct {
	Inode  uint64 `json:"inode"`
	Print  uint64 `json:"print"` // of the first Length bytes
	Length int    `json:"length"`
	Offset int64  `json:"offset"`
	Line   int64  `json:"line"`
}

// Name is "log:" and the path.
func (f *File) Name() string { return "log:" + f.Path }

// Health implements observe.Source.
func (f *File) Health() observe.SourceHealth { return f.tally.Health() }

// Resume implements observe.Resumer.
func (f *File) Resume(position string) {
	var m mark
	if position == "" {
		return
	}
	if err := json.Unmarshal([]byte(position), &m); err != nil {
		f.tally.Notice("its place cannot be read; it is read from the start")
		return
	}
	f.from = &m
}

// Position implements observe.Resumer.
func (f *File) Position() string {
	if f.at == (mark{}) {
		return ""
	}
	return fmt.Sprintf(`{"inode":%d,"print":%d,"length":%d,"offset":%d,"line":%d}`, f.at.Inode, f.at.Print, f.at.Length, f.at.Offset, f.at.Line)
}

// Run implements observe.Source. A file that is not there is waited for when the
// source follows, and an error otherwise.
func (f *File) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	err := f.run(ctx, emit)
	if err != nil && ctx.Err() == nil {
		f.tally.State("failed", err)
		return err
	}
	f.tally.State("done", nil)
	return nil
}

func (f *File) run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	if f.Poll <= 0 {
		f.Poll = 250 * time.Millisecond
	}
	if f.from != nil {
		if err := f.older(ctx, emit); err != nil {
			return err
		}
	}
	for {
		file, err := os.Open(f.Path)
		if errors.Is(err, os.ErrNotExist) && f.Follow {
			f.tally.State("waiting", nil)
			if !rest(ctx, f.Poll) {
				return ctx.Err()
			}
			continue
		}
		if err != nil {
			return err
		}
		again, err := f.read(ctx, file, emit, f.Follow)
		file.Close()
		if err != nil || !again {
			return err
		}
	}
}

// older finishes a file that was renamed while nobody read it.
func (f *File) older(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	now, err := os.Open(f.Path)
	if err == nil {
		m, err := look(now, f.from.Length)
		now.Close()
		if err == nil && m.Inode == f.from.Inode {
			return nil // it is where it was
		}
	}
	others, _ := filepath.Glob(escape(f.Path) + "*")
	for _, name := range others {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		m, err := look(file, f.from.Length)
		if err == nil && m.Inode == f.from.Inode && m.Print == f.from.Print {
			_, err = f.read(ctx, file, emit, false)
			file.Close()
			f.from = nil
			return err
		}
		file.Close()
	}
	f.tally.Notice("the file that was read last is gone; what stood behind line %d of it is missing", f.from.Line)
	f.from = nil
	return nil
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// look identifies a file by its number and its first n bytes.
func look(file *os.File, n int) (mark, error) {
	info, err := file.Stat()
	if err != nil {
		return mark{}, err
	}
	m := mark{Length: n}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		m.Inode = st.Ino
	}
	b := make([]byte, n)
	k, err := file.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return m, err
	}
	h := fnv.New64a()
	h.Write(b[:k])
	m.Print, m.Length = h.Sum64(), k
	return m, nil
}

// read reads one file. again: it was rotated, and its successor waits.
func (f *File) read(ctx context.Context, file *os.File, emit func(*sallyport.Exchange) error, follow bool) (again bool, err error) {
	if info, err := file.Stat(); err != nil {
		return false, err
	} else if info.IsDir() {
		return false, fmt.Errorf("%s is a directory", f.Path)
	}
	f.tally.State("reading", nil)
	if f.at, err = look(file, printLen); err != nil {
		return false, err
	}
	if f.from != nil {
		if same, err := look(file, f.from.Length); err == nil && same.Inode == f.from.Inode && same.Print == f.from.Print && same.Length == f.from.Length {
			f.at.Offset, f.at.Line = f.from.Offset, f.from.Line
		}
		f.from = nil
	}
	var in io.Reader = file
	var magic [2]byte
	if n, _ := file.ReadAt(magic[:], 0); n == 2 && magic == [2]byte{0x1f, 0x8b} {
		z, err := gzip.NewReader(bufio.NewReaderSize(file, 64<<10))
		if err != nil {
			return false, fmt.Errorf("read %s: %w", f.Path, err)
		}
		in, follow = z, false
		if _, err := io.CopyN(io.Discard, z, f.at.Offset); err != nil {
			return false, nil // nothing behind the place
		}
	} else {
		info, err := file.Stat()
		if err != nil {
			return false, err
		}
		if f.at.Offset > info.Size() { // cut since: what is there is new
			f.at.Offset, f.at.Line = 0, 0
		}
		if _, err := file.Seek(f.at.Offset, io.SeekStart); err != nil {
			return false, err
		}
	}
	r := &lines{f: f, in: bufio.NewReaderSize(in, 256<<10), emit: emit}
	for {
		err := r.all(ctx, !follow)
		if err != nil {
			if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
				f.tally.Bad(fmt.Sprintf("%s:%d", f.Path, f.at.Line+1), "the compressed file ends before its end")
				return false, nil
			}
			return false, err
		}
		if !follow {
			return false, nil
		}
		f.tally.Lag(0)
		if !rest(ctx, f.Poll) {
			return false, ctx.Err()
		}
		switch changed, err := f.changed(file); {
		case err != nil:
			return false, err
		case changed == truncated:
			f.at.Offset, f.at.Line = 0, 0
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return false, err
			}
			if f.at, err = look(file, printLen); err != nil {
				return false, err
			}
			r.in.Reset(file)
			r.part = r.part[:0]
		case changed == renamed:
			// Its writer may hold it for a moment longer.
			if err := r.all(ctx, true); err != nil {
				return false, err
			}
			return true, nil
		}
	}
}

type change int

const (
	unchanged change = iota
	truncated
	renamed
)

// changed says whether the file was rotated since.
func (f *File) changed(file *os.File) (change, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() < f.at.Offset {
		return truncated, nil
	}
	if m, err := look(file, f.at.Length); err == nil && (m.Length < f.at.Length || m.Print != f.at.Print) {
		return truncated, nil // and filled again beyond the place, in between
	}
	if f.at.Length < printLen {
		if m, err := look(file, printLen); err == nil {
			f.at.Print, f.at.Length = m.Print, m.Length
		}
	}
	now, err := os.Stat(f.Path)
	if err == nil && !os.SameFile(info, now) {
		return renamed, nil
	}
	return unchanged, nil
}

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lines reads lines and makes exchanges of them.
type lines struct {
	f      *File
	in     *bufio.Reader
	emit   func(*sallyport.Exchange) error
	parser *Parser
	part   []byte // of a line whose end is not there yet
	long   bool   // the rest of the line is passed over
	told   int64
}

// all reads until nothing is left; last: what has no end is a line too.
func (r *lines) all(ctx context.Context, last bool) error {
	f := r.f
	if r.parser == nil {
		format := f.Format
		if format == nil {
			for {
				sample, err := r.in.Peek(sampleLen)
				if format = Find(sample, f.Zone); format != nil || last || err == nil {
					break
				}
				if err != io.EOF || len(sample) > 0 {
					break
				}
				return nil // nothing there yet
			}
			if format == nil {
				sample, _ := r.in.Peek(1)
				if len(sample) == 0 {
					return nil
				}
				if !last {
					return nil // perhaps half a line
				}
				return fmt.Errorf("%s: no line of it is of a known access log format; give format", f.Path)
			}
		}
		f.tally.Format(format.Name())
		r.parser = NewParser(format)
	}
	source := f.at.Print ^ f.at.Inode<<1
	for n := 0; ; n++ {
		if n%256 == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if f.Progress != nil && f.at.Offset-r.told > 1<<20 {
				r.told = f.at.Offset
				f.Progress(f.at.Offset)
			}
		}
		chunk, err := r.in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		whole := err == nil
		if !whole || len(r.part) > 0 || r.long {
			if len(r.part)+len(chunk) > maxLine {
				r.long = true
			}
			if r.long {
				f.at.Offset += int64(len(chunk)) + int64(len(r.part))
				r.part = r.part[:0]
			} else {
				r.part = append(r.part, chunk...)
				chunk = r.part
			}
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF && (!last || len(r.part) == 0 && !r.long) {
			return nil
		}
		f.tally.Read(1)
		f.at.Line++
		offset := f.at.Offset
		switch {
		case r.long || len(chunk) > maxLine:
			if !r.long {
				f.at.Offset += int64(len(chunk))
			}
			f.tally.Bad(fmt.Sprintf("%s:%d", f.Path, f.at.Line), "the line "+errLong.Error())
		default:
			f.at.Offset += int64(len(chunk))
			x, bad := r.parser.Parse(chunk)
			switch {
			case bad != nil && !whole:
				f.tally.Bad(fmt.Sprintf("%s:%d", f.Path, f.at.Line), "the last line "+errCut.Error())
			case bad != nil:
				f.tally.Bad(fmt.Sprintf("%s:%d", f.Path, f.at.Line), "the line "+bad.Error())
			case x != nil:
				x.ID = observe.SourceID(source, offset, x.Time)
				if err := f.give(x, r.emit); err != nil {
					return err
				}
			}
		}
		r.part, r.long = r.part[:0], false
		if !whole {
			return nil
		}
	}
}

func (f *File) give(x *sallyport.Exchange, emit func(*sallyport.Exchange) error) error {
	if x.Host == "" {
		x.Host = f.Host
	}
	x.TLS = x.TLS || f.TLS
	if late := time.Since(x.Time); late < -ahead {
		f.tally.Notice("times are %s ahead of the clock here: is the zone right? They are taken as now", (-late).Round(time.Minute))
		x.Time = time.Now()
	} else {
		f.tally.Lag(late)
	}
	f.Entry.Take(f.Name(), x)
	f.tally.Emitted(x.Time)
	return emit(x)
}
