// Package pcap reads exchanges off the wire. In come packets, from files (pcap and
// pcapng) or from an interface of Linux (AF_PACKET), also mirrored ones behind tags
// of 802.1Q, in VXLAN or in GENEVE; out go the requests and answers of HTTP/1 in
// plain text as exchanges.
//
// TCP is put together again: segments out of order wait, what was sent twice is
// read once, and holes that nothing fills are counted and passed over: within a
// body only the body is given up, elsewhere the message. Connections, segments
// that wait and bodies are bounded together; beyond that what was quiet longest is
// given up and counted. Bodies up to 1 MiB are reduced to their shape and the
// kinds of data in them. What is encrypted, HTTP/2 and other protocols are counted,
// never decoded. The package sends nothing and writes nothing.
package pcap

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport.dev"
	"sallyport.dev/observe"
)

// A File is a source that reads one capture to its end.
type File struct {
	Path  string
	Ports []int // of servers; none = every connection that speaks HTTP
	Entry observe.Entry

	tally observe.SourceTally
}

var _ observe.Source = (*File)(nil)

// Name is "pcap:" and the path.
func (f *File) Name() string { return "pcap:" + f.Path }

// Health implements observe.Source.
func (f *File) Health() observe.SourceHealth { return f.tally.Health() }

// Looks reports whether a file that begins so is a capture.
func Looks(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch string(head[:4]) {
	case "\xa1\xb2\xc3\xd4", "\xd4\xc3\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x4d\x3c\xb2\xa1", "\x0a\x0d\x0d\x0a":
		return true
	}
	return false
}

// Run implements observe.Source.
func (f *File) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	f.tally.State("reading", nil)
	if err := f.read(ctx, emit); err != nil {
		f.tally.State("failed", err)
		return err
	}
	f.tally.State("done", nil)
	return nil
}

func (f *File) read(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 256<<10)
	if head, _ := in.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		in = bufio.NewReaderSize(z, 256<<10)
	}
	next, format, err := open(in)
	if err != nil {
		return fmt.Errorf("%s is no capture: %w", f.Path, err)
	}
	f.tally.Format(format)
	h := fnv.New64a()
	_, _ = io.WriteString(h, f.Path)
	t := newTap(&f.tally, f.Name(), h.Sum64(), f.Ports, f.Entry, emit)
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, at, link, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.tally.Read(1)
			f.tally.Bad(fmt.Sprintf("%s, packet %d", f.Path, n), "it cannot be read, nor anything behind it")
			break
		}
		if err := t.packet(link, b, at, func() string { return fmt.Sprintf("%s, packet %d", f.Path, n) }); err != nil {
			return err
		}
	}
	err = t.a.flush(time.Time{})
	t.say()
	return err
}

// open gives what reads one packet after another; the bytes are valid until the
// next call.
func open(in *bufio.Reader) (func() ([]byte, time.Time, int, error), string, error) {
	if head, _ := in.Peek(4); string(head) == "\x0a\x0d\x0d\x0a" {
		r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, "", err
		}
		return func() ([]byte, time.Time, int, error) {
			b, ci, err := r.ZeroCopyReadPacketData()
			return b, ci.Timestamp, linkOf(ci), err
		}, "pcapng", nil
	}
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, "", err
	}
	link := int(r.LinkType())
	return func() ([]byte, time.Time, int, error) {
		b, ci, err := r.ZeroCopyReadPacketData()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends in it")
		}
		return b, ci.Timestamp, link, err
	}, "pcap", nil
}

func linkOf(ci gopacket.CaptureInfo) int {
	for _, d := range ci.AncillaryData {
		if l, ok := d.(layers.LinkType); ok {
			return int(l)
		}
	}
	return linkEthernet
}

// tap is what files and interfaces share.
type tap struct {
	a     *assembler
	tally *observe.SourceTally
	p     packet
	lost  int
}

func newTap(tally *observe.SourceTally, name string, id uint64, ports []int, entry observe.Entry, emit func(*sallyport.Exchange) error) *tap {
	t := &tap{a: newAssembler(), tally: tally}
	if len(ports) > 0 {
		t.a.ports = map[uint16]bool{}
		for _, p := range ports {
			t.a.ports[uint16(p)] = true
		}
	}
	n := int64(0)
	t.a.wrong = tally.Bad
	t.a.emit = func(req, resp *message, client, server netip.AddrPort, seen bool) error {
		n++
		x := exchange(req, resp, client, server, seen)
		x.ID = observe.SourceID(id, n, x.Time)
		entry.Take(name, x)
		at := x.Time
		if err := emit(x); err != nil {
			return err
		}
		tally.Emitted(at)
		return nil
	}
	return t
}

func (t *tap) packet(link int, b []byte, at time.Time, where func() string) error {
	t.tally.Read(1)
	switch err := t.p.decode(link, b); {
	case err == nil:
		if err := t.a.take(&t.p, at); err != nil {
			return err
		}
	case errors.Is(err, errBroken):
		t.tally.Bad(where(), err.Error())
	case errors.Is(err, errFragment):
		t.a.fragments++
	}
	if n := t.a.lost - t.lost; n > 0 {
		t.tally.Lost(n)
		t.lost = t.a.lost
	}
	return nil
}

func (t *tap) say() {
	t.tally.Lost(t.a.lost - t.lost)
	t.lost = t.a.lost
	if s := t.a.notice(); s != "" {
		t.tally.Notice("%s", s)
	}
}

// A Live is a source that listens at an interface.
type Live struct {
	Interface string
	Ports     []int // of servers
	Entry     observe.Entry

	tally observe.SourceTally
}

var _ observe.Source = (*Live)(nil)

// Name is "capture:" and the interface.
func (l *Live) Name() string { return "capture:" + l.Interface }

// Health implements observe.Source.
func (l *Live) Health() observe.SourceHealth { return l.tally.Health() }

// Run implements observe.Source.
func (l *Live) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	l.tally.Format("http/1")
	err := l.listen(ctx, emit)
	if ctx.Err() != nil {
		err = nil
	}
	if err != nil {
		l.tally.State("failed", err)
		return err
	}
	l.tally.State("done", nil)
	return nil
}

// frame is a packet with its time.
type frame struct {
	b  []byte
	at time.Time
}

func (l *Live) listen(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	w, err := watch(l.Interface)
	if err != nil {
		return fmt.Errorf("interface %s (it takes the capability CAP_NET_RAW): %w", l.Interface, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frames, failed := make(chan frame, 256), make(chan error, 1)
	go func() {
		defer close(frames)
		for {
			b, at, err := w.read()
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- frame{b, at}:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		w.close()
		for range frames { // the reader ends
		}
	}()
	t := newTap(&l.tally, l.Name(), rand.Uint64(), l.Ports, l.Entry, emit)
	l.tally.State("reading", nil)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	where := func() string { return "a packet at " + l.Interface }
	for {
		select {
		case <-ctx.Done():
			err := t.a.flush(time.Time{})
			t.say()
			return err
		case f, ok := <-frames:
			if !ok {
				return <-failed
			}
			if err := t.packet(linkEthernet, f.b, f.at, where); err != nil {
				return err
			}
		case now := <-tick.C:
			if n := w.dropped(); n > 0 {
				l.tally.Lost(n)
			}
			if err := errors.Join(t.a.fill(now.Add(-time.Second)), t.a.flush(now.Add(-idle))); err != nil {
				return err
			}
			t.say()
		}
	}
}
