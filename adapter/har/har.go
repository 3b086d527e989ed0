// Package har reads HTTP Archives (HAR 1.2). In comes a file of any size; out go
// its entries as exchanges, one after another. No more than one entry is in
// memory: one of more than 32 MiB ends reading. Bodies up to 1 MiB are reduced
// to their shape and to the kinds of data in them; longer ones are left out.
// The package writes nothing.
package har

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/observe"
)

const (
	maxEntry = 32 << 20
	maxBody  = 1 << 20
)

// A File is a source that reads one archive to its end.
type File struct {
	Path  string
	Entry observe.Entry

	tally observe.SourceTally
}

var _ observe.Source = (*File)(nil)

// Name is "har:" and the path.
func (f *File) Name() string { return "har:" + f.Path }

// Health implements observe.Source.
func (f *File) Health() observe.SourceHealth { return f.tally.Health() }

// Run implements observe.Source.
func (f *File) Run(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	f.tally.State("reading", nil)
	f.tally.Format("har")
	if err := f.read(ctx, emit); err != nil {
		f.tally.State("failed", err)
		return err
	}
	f.tally.State("done", nil)
	return nil
}

// Looks reports whether the beginning of a file looks like an archive.
func Looks(head []byte) bool {
	s := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	if !strings.HasPrefix(s, "{") {
		return false
	}
	s = strings.TrimLeft(s[1:], " \t\r\n")
	return strings.HasPrefix(s, `"log"`)
}

var (
	errLarge  = errors.New("an entry is larger than 32 MiB")
	errFormat = errors.New("it has no log.entries")
)

// bounded is a reader that gives so much and then fails.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLarge
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (f *File) read(ctx context.Context, emit func(*sallyport.Exchange) error) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	br := bufio.NewReaderSize(file, 64<<10)
	in := &bounded{br, maxEntry}
	if head, _ := br.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return err
		}
		in.r = z
	} else if head, _ := br.Peek(3); string(head) == "\ufeff" {
		_, _ = br.Discard(3)
	}
	d := json.NewDecoder(in)
	if err := descend(d, in, "log"); err != nil {
		return f.ended(err, 0)
	}
	if err := descend(d, in, "entries"); err != nil {
		return f.ended(err, 0)
	}
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return f.ended(errors.Join(errFormat, err), 0)
	}
	h := fnv.New64a()
	io.WriteString(h, f.Path)
	n := int64(0)
	for ; d.More(); n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		in.left = maxEntry
		var e entry
		err := d.Decode(&e)
		f.tally.Read(1)
		place := fmt.Sprintf("%s, entry %d", f.Path, n+1)
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			f.tally.Bad(place, wrong.Field+" is of the wrong type")
			continue
		}
		if err != nil {
			return f.ended(err, n+1)
		}
		x, err := e.exchange()
		if err != nil {
			f.tally.Bad(place, err.Error())
			continue
		}
		x.ID = observe.SourceID(h.Sum64(), n, x.Time)
		f.Entry.Take(f.Name(), x)
		f.tally.Emitted(x.Time)
		if err := emit(x); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return f.ended(err, n+1)
	}
	return nil
}

// ended says what reading stopped at: a file that was cut off is bad from there
// on, and what stood before is read.
func (f *File) ended(err error, entry int64) error {
	switch {
	case entry > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		f.tally.Bad(fmt.Sprintf("%s, entry %d", f.Path, entry), "the file ends in it")
		return nil
	case entry > 0:
		f.tally.Bad(fmt.Sprintf("%s, entry %d", f.Path, entry), "it cannot be read, nor anything behind it")
		return fmt.Errorf("%s: entry %d: %w", f.Path, entry, plain(err))
	}
	return fmt.Errorf("%s: %w", f.Path, plain(err))
}

// plain keeps an error from quoting the file.
func plain(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errLarge):
		return errLarge
	case errors.As(err, &syntax):
		return fmt.Errorf("byte %d is no JSON", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file ends before its end")
	}
	return err
}

// descend opens an object and stops behind the name of a member, having skipped
// those before it.
func descend(d *json.Decoder, in *bounded, name string) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errFormat, err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if t == name {
			return nil
		}
		in.left = maxEntry
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return err
		}
	}
	return errFormat
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type entry struct {
	Started string  `json:"startedDateTime"`
	Time    float64 `json:"time"`
	Server  string  `json:"serverIPAddress"`
	Request struct {
		Method  string   `json:"method"`
		URL     string   `json:"url"`
		Version string   `json:"httpVersion"`
		Headers []header `json:"headers"`
		Size    float64  `json:"bodySize"`
		Post    *struct {
			Text string `json:"text"`
		} `json:"postData"`
	} `json:"request"`
	Response struct {
		Status  int      `json:"status"`
		Headers []header `json:"headers"`
		Size    float64  `json:"bodySize"`
		Content struct {
			Text     string `json:"text"`
			Encoding string `json:"encoding"`
		} `json:"content"`
	} `json:"response"`
}

func (e *entry) exchange() (*sallyport.Exchange, error) {
	u, err := url.Parse(e.Request.URL)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("its URL cannot be read")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ws" && u.Scheme != "wss":
		return nil, errors.New("its URL is not one of HTTP")
	case e.Request.Method == "" || len(e.Request.Method) > 32:
		return nil, errors.New("it has no method")
	case e.Response.Status < 0 || e.Response.Status > 599 || e.Response.Status > 0 && e.Response.Status < 100:
		return nil, errors.New("its status is no status")
	}
	at, err := time.Parse(time.RFC3339Nano, e.Started)
	if err != nil {
		return nil, errors.New("its time cannot be read")
	}
	x := &sallyport.Exchange{Time: at, Duration: time.Duration(max(e.Time, 0) * float64(time.Millisecond)), Method: e.Request.Method, Host: strings.ToLower(u.Host),
		Path: u.EscapedPath(), Query: u.RawQuery, Proto: e.Request.Version, TLS: u.Scheme == "https" || u.Scheme == "wss", Status: e.Response.Status,
		RequestHeader: fields(e.Request.Headers), ResponseHeader: fields(e.Response.Headers), RequestBytes: int64(max(e.Request.Size, 0)), ResponseBytes: int64(max(e.Response.Size, 0))}
	if x.Path == "" {
		x.Path = "/"
	}
	if a, err := netip.ParseAddr(strings.Trim(e.Server, "[]")); err == nil {
		x.Instance = a.String()
	}
	if p := e.Request.Post; p != nil && len(p.Text) <= maxBody {
		x.RequestBody = []byte(p.Text)
	}
	if c := e.Response.Content; len(c.Text) <= maxBody {
		x.ResponseBody = []byte(c.Text)
		if c.Encoding == "base64" {
			if x.ResponseBody, err = base64.StdEncoding.DecodeString(c.Text); err != nil {
				x.ResponseBody = nil
			}
		}
	}
	return x, nil
}

// fields leaves out what HTTP/2 writes as header fields and are none.
func fields(list []header) []sallyport.Field {
	var out []sallyport.Field
	for _, h := range list[:min(len(list), 200)] {
		if !strings.HasPrefix(h.Name, ":") && !strings.EqualFold(h.Name, "content-encoding") { // bodies stand decoded
			out = append(out, sallyport.Field{Name: h.Name, Value: h.Value})
		}
	}
	return out
}
