package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/learn"
	"sallyport.dev/observe"
	"sallyport.dev/spec"
)

// learning is what the console shows of what traffic has taught.
type learning struct{ e *engine }

func (l learning) Learned(api string) []learn.Named { return l.e.discovery.Learned(api) }

func (l learning) Drift(api string) ([]learn.Difference, bool) {
	v, _ := l.e.declared.Load(api)
	set, _ := v.(*spec.Set)
	var ops []*spec.Operation
	if set != nil {
		ops = set.Operations()
	}
	return learn.Compare(ops, l.e.discovery.Learned(api)), set != nil
}

func (e *engine) learnedMetrics(gauge, counter func(name, help string, f func() float64)) {
	if e.discovery == nil {
		return
	}
	gauge("learned_operations", "Operations of which traffic has taught a schema.", func() float64 { return float64(e.discovery.Stats().Lessons) })
	gauge("learned_tentative", "Of them, those seen fifty times or more.", func() float64 { return float64(e.discovery.Stats().Tentative) })
	gauge("learned_places", "Places of bodies held in learned schemas, which memory goes by.", func() float64 { return float64(e.discovery.Stats().Places) })
	counter("learned_exchanges_total", "Exchanges that were learned from.", func() float64 { return float64(e.discovery.Stats().Taught) })
	counter("learned_overflow_total", "Exchanges that no bound of discovery had room for.", func() float64 { return float64(e.discovery.Stats().Overflow) })
}

type learnCmd struct {
	Files   []string `arg:"" help:"Recorded traffic: HAR files, or JSON lines with method, url, status, req_headers, req_body, resp_headers, resp_body."`
	API     string   `help:"Name of the API, for the title." default:"api"`
	Out     string   `help:"Where the document goes; standard output when absent." short:"o"`
	JSON    bool     `help:"Print JSON instead of YAML."`
	Against string   `help:"Print how traffic differs from this specification instead."`
	Exclude []string `help:"Leave out requests to these hosts."`
}

func (c learnCmd) Run(ctx context.Context, s streams) error {
	redactor, err := observe.NewRedactor(observe.RedactOptions{})
	if err != nil {
		return err
	}
	d := discovery.New(discovery.Options{})
	var set *spec.Set
	if c.Against != "" {
		if set, err = spec.Load(ctx, []spec.Source{{Path: c.Against}}, spec.Options{}); err != nil {
			return err
		}
	}
	n := 0
	for _, name := range c.Files {
		err := readTraffic(name, func(x *sallyport.Exchange) error {
			for _, h := range c.Exclude {
				if strings.EqualFold(h, x.Host) {
					return nil
				}
			}
			x.API = c.API
			var m spec.Match
			if set != nil && set.Match(x.Method, x.Path, &m) == spec.Found {
				x.Template, x.Declared = m.Op.Template, true
			}
			redactor.Redact(x)
			d.Add(x)
			n++
			return ctx.Err()
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if n == 0 {
		return errors.New("no exchange in these files")
	}
	list := d.Learned(c.API)
	var out []byte
	switch {
	case set != nil:
		out = printDrift(learn.Compare(set.Operations(), list))
	case c.JSON:
		out, err = learn.Describe(c.API, list).JSON()
	default:
		out, err = learn.Describe(c.API, list).YAML()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.errs, "%d exchanges, %d operations\n", n, len(list))
	if c.Out != "" {
		return os.WriteFile(c.Out, out, 0o644)
	}
	_, err = s.out.Write(out)
	return err
}

// printDrift lists differences by operation: + beyond the specification, - never used.
func printDrift(list []learn.Difference) []byte {
	var b bytes.Buffer
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].Template != list[j].Template {
			return list[i].Template < list[j].Template
		}
		return list[i].Method < list[j].Method
	})
	at := ""
	for _, d := range list {
		if key := d.Method + " " + d.Template; key != at {
			at = key
			fmt.Fprintln(&b, key)
		}
		sign := "-"
		if d.Beyond() {
			sign = "+"
		}
		place := d.Place
		if place != "" {
			place += ": "
		}
		fmt.Fprintf(&b, "  %s %s: %s%s\n", sign, d.Kind, place, d.Text)
	}
	if len(list) == 0 {
		fmt.Fprintln(&b, "no difference")
	}
	return b.Bytes()
}

// maxTraffic bounds one file of recorded traffic, and maxTrafficLine one line of it.
const (
	maxTraffic     = 2 << 30
	maxTrafficLine = 16 << 20
)

// readTraffic reads a HAR file or JSON lines, an exchange at a time.
func readTraffic(name string, emit func(*sallyport.Exchange) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.LimitReader(f, maxTraffic), 64<<10)
	head, _ := r.Peek(4096)
	if i := bytes.Index(head, []byte(`"log"`)); i >= 0 && len(bytes.Trim(head[:i], " \t\r\n{\xef\xbb\xbf")) == 0 {
		return readHAR(r, emit)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxTrafficLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l struct {
			Method, URL string
			Status      int
			Request     any            `json:"req_body"`
			Answer      any            `json:"resp_body"`
			Header      map[string]any `json:"req_headers"`
			Fields      map[string]any `json:"resp_headers"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		x, err := exchangeOf(l.Method, l.URL, l.Status)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		x.RequestHeader, x.ResponseHeader = fieldsOf(l.Header), fieldsOf(l.Fields)
		x.RequestBody, x.ResponseBody = bodyOf(l.Request), bodyOf(l.Answer)
		if err := hand(x, emit); err != nil {
			return err
		}
	}
	return lines.Err()
}

func hand(x *sallyport.Exchange, emit func(*sallyport.Exchange) error) error {
	x.RequestBytes, x.ResponseBytes = int64(len(x.RequestBody)), int64(len(x.ResponseBody))
	return emit(x)
}

func exchangeOf(method, address string, status int) (*sallyport.Exchange, error) {
	u, err := url.Parse(address)
	if err != nil || method == "" {
		return nil, errors.New("no method, or no URL")
	}
	return &sallyport.Exchange{Time: time.Now().UTC(), Door: "file", Method: method, Host: strings.ToLower(u.Hostname()), Path: u.EscapedPath(), Query: u.RawQuery, Status: status, Origin: status, TLS: u.Scheme == "https",
		Decision: sallyport.Decision{Action: sallyport.ActionAllow}}, nil
}

func fieldsOf(m map[string]any) []sallyport.Field {
	var out []sallyport.Field
	for k, v := range m {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, one := range list {
			out = append(out, sallyport.Field{Name: http.CanonicalHeaderKey(k), Value: fmt.Sprint(one)})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func bodyOf(v any) []byte {
	if s, ok := v.(string); ok || v == nil {
		return []byte(s)
	}
	b, _ := json.Marshal(v)
	return b
}

// readHAR reads the entries of an HTTP Archive 1.2 one by one.
func readHAR(r io.Reader, emit func(*sallyport.Exchange) error) error {
	type field struct{ Name, Value string }
	type entry struct {
		StartedDateTime string
		Request         struct {
			Method, URL string
			Headers     []field
			PostData    struct{ MimeType, Text string }
		}
		Response struct {
			Status  int
			Headers []field
			Content struct{ MimeType, Text, Encoding string }
		}
	}
	d := json.NewDecoder(r)
	for { // to the list of entries, wherever it stands in log
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("no entries: %w", err)
		}
		if token != "entries" {
			continue
		}
		if token, err = d.Token(); err != nil || token != json.Delim('[') {
			return errors.New("entries is no list")
		}
		break
	}
	for n := 1; d.More(); n++ {
		var e entry
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		x, err := exchangeOf(e.Request.Method, e.Request.URL, e.Response.Status)
		if err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		if at, err := time.Parse(time.RFC3339, e.StartedDateTime); err == nil {
			x.Time = at.UTC()
		}
		for _, f := range e.Request.Headers {
			x.RequestHeader = append(x.RequestHeader, sallyport.Field{Name: http.CanonicalHeaderKey(f.Name), Value: f.Value})
		}
		for _, f := range e.Response.Headers { // what HAR shows is decoded
			if !strings.EqualFold(f.Name, "Content-Encoding") {
				x.ResponseHeader = append(x.ResponseHeader, sallyport.Field{Name: http.CanonicalHeaderKey(f.Name), Value: f.Value})
			}
		}
		x.RequestBody, x.ResponseBody = []byte(e.Request.PostData.Text), []byte(e.Response.Content.Text)
		if e.Response.Content.Encoding == "base64" {
			x.ResponseBody, _ = base64.StdEncoding.DecodeString(e.Response.Content.Text)
		}
		if err := hand(x, emit); err != nil {
			return err
		}
	}
	return nil
}
