package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
	"sallyport.dev/gateway"
	"sallyport.dev/spec"
)

// Bounds on fetching a partner's document.
const (
	partnerSpecTime  = 15 * time.Second
	partnerSpecBytes = 16 << 20
	partnerSpecEvery = time.Hour
)

// onBreaking is what happens to a partner's document that breaks the one in force.
type onBreaking string

const (
	holdBreaking onBreaking = "hold"
	takeBreaking onBreaking = "take"
)

// A partnerDocs keeps the documents of one destination that are given by URL:
// fetched once, held on disk, and asked for again only by refresh. It is the
// transport through which the specification is loaded, so that a change of the
// configuration, or a start while the partner is down, goes by what was good last.
type partnerDocs struct {
	data string // data directory
	dir  string
	mu   sync.Mutex
	mem  []*partnerDoc // fetched before there was a data directory
	wire http.Client
	// next, when set, stands over what is kept: a change that is looked at.
	next map[string]*partnerDoc
}

type partnerDoc struct {
	URL      string    `json:"url"`
	ETag     string    `json:"etag,omitempty"`
	Modified string    `json:"modified,omitempty"`
	Fetched  time.Time `json:"fetched"`
	Body     []byte    `json:"body"`
}

// docs is how the documents of d are had; nil when none is given by URL.
func (d *destination) docs(data string) *partnerDocs {
	if !slices.ContainsFunc(d.Spec, isURL) {
		return nil
	}
	if d.kept != nil {
		return d.kept
	}
	p := &partnerDocs{data: data, dir: filepath.Join(data, "specs", d.Name)}
	d.kept = p
	t := &http.Transport{TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second, DisableKeepAlives: true, Proxy: nil}
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: gateway.Reaches(d.reach())}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && strings.EqualFold(host, d.Host) {
			if u, err := url.Parse(d.target()); err == nil && u.Port() != "" {
				address = u.Host
			} else if err == nil {
				address = net.JoinHostPort(u.Hostname(), "443")
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if d.CA != "" {
		if roots, err := pool509(d.CA); err == nil { // said with the mistakes of the configuration
			t.TLSClientConfig.RootCAs = roots
		}
	}
	p.wire = http.Client{Transport: t, Timeout: partnerSpecTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host || len(via) > 5 {
			return errors.New("it leads to another host, or too far")
		}
		return nil
	}}
	return p
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// client loads by what is kept.
func (p *partnerDocs) client() *http.Client { return &http.Client{Transport: p} }

// RoundTrip gives a document from disk, or fetches it the first time.
func (p *partnerDocs) RoundTrip(r *http.Request) (*http.Response, error) {
	at := r.URL.String()
	doc := p.next[at]
	if doc == nil {
		doc = p.kept(at)
	}
	if doc == nil {
		var err error
		if doc, err = p.fetch(r.Context(), &partnerDoc{URL: at}); err != nil {
			return nil, err
		}
		if p.next != nil {
			p.next[at] = doc
		} else {
			p.keep(doc)
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		ContentLength: int64(len(doc.Body)), Body: io.NopCloser(bytes.NewReader(doc.Body))}, nil
}

// fetch asks for a document anew; old itself is given when it has not changed.
func (p *partnerDocs) fetch(ctx context.Context, old *partnerDoc) (*partnerDoc, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, old.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.oai.openapi, application/json, application/yaml, */*;q=0.1")
	req.Header.Set("User-Agent", "sallyport-spec")
	if old.ETag != "" {
		req.Header.Set("If-None-Match", old.ETag)
	}
	if old.Modified != "" {
		req.Header.Set("If-Modified-Since", old.Modified)
	}
	res, err := p.wire.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && len(old.Body) > 0:
		return old, nil
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, partnerSpecBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer broke off: %w", err)
	case len(body) > partnerSpecBytes:
		return nil, fmt.Errorf("it is larger than %d MiB", partnerSpecBytes>>20)
	case len(body) == 0:
		return nil, errors.New("it is empty")
	case bytes.Equal(body, old.Body):
		return old, nil
	}
	return &partnerDoc{URL: old.URL, ETag: res.Header.Get("ETag"), Modified: res.Header.Get("Last-Modified"), Fetched: time.Now().UTC(), Body: body}, nil
}

func (p *partnerDocs) file(at string) string {
	sum := sha256.Sum256([]byte(at))
	return filepath.Join(p.dir, hex.EncodeToString(sum[:12])+".json")
}

func (p *partnerDocs) kept(at string) *partnerDoc {
	b, err := os.ReadFile(p.file(at))
	if err != nil {
		return nil
	}
	d := new(partnerDoc)
	if json.Unmarshal(b, d) != nil || d.URL != at || len(d.Body) == 0 { // half written, or not ours
		return nil
	}
	return d
}

// all are the documents that are kept.
func (p *partnerDocs) all() (list []*partnerDoc) {
	files, _ := filepath.Glob(filepath.Join(p.dir, "*.json"))
	for _, f := range files {
		d := new(partnerDoc)
		if b, err := os.ReadFile(f); err == nil && json.Unmarshal(b, d) == nil && p.file(d.URL) == f && len(d.Body) > 0 {
			list = append(list, d)
		}
	}
	return list
}

func (p *partnerDocs) keep(d *partnerDoc) error {
	if _, err := os.Stat(p.data); err != nil { // a check makes no data directory; a start does later
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mem = append(p.mem, d)
		return nil
	}
	b, err := json.Marshal(d)
	if err == nil {
		err = os.MkdirAll(p.dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(p.file(d.URL)+".next", b, 0o600)
	}
	if err == nil {
		err = os.Rename(p.file(d.URL)+".next", p.file(d.URL)) // what was kept before is whole until then
	}
	return err
}

// settle keeps what was fetched before there was a place for it.
func (p *partnerDocs) settle() (err error) {
	p.mu.Lock()
	mem := p.mem
	p.mem = nil
	p.mu.Unlock()
	for _, d := range mem {
		err = errors.Join(err, p.keep(d))
	}
	return err
}

// refresh asks for every document again. changed holds those that have: they are
// kept only by the caller.
func (p *partnerDocs) refresh(ctx context.Context) (changed map[string]*partnerDoc, err error) {
	changed = map[string]*partnerDoc{}
	for _, old := range p.all() {
		now, err := p.fetch(ctx, old)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", old.URL, err)
		}
		if now != old {
			changed[old.URL] = now
		}
	}
	return changed, nil
}

// partnerState is how asking for a destination's documents went.
type partnerState struct {
	outcomes map[string]int64 // unchanged, changed, held, failed
	good     time.Time        // when they were had last
}

// partnerStates are those of all destinations.
type partnerStates struct {
	mu sync.Mutex
	by map[string]*partnerState
}

func (s *partnerStates) note(name, outcome string, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]*partnerState{}
	}
	p := s.by[name]
	if p == nil {
		p = &partnerState{outcomes: map[string]int64{}}
		s.by[name] = p
	}
	p.outcomes[outcome]++
	if good {
		p.good = time.Now()
	}
}

var (
	partnerFetches = prometheus.NewDesc("sallyport_partner_spec_fetches_total", "Times that the documents of a destination were asked for again: unchanged, changed, held (a change that breaks what is in force), failed.", []string{"api", "outcome"}, nil)
	partnerGood    = prometheus.NewDesc("sallyport_partner_spec_good_timestamp_seconds", "When the documents of a destination were last seen to be those in force.", []string{"api"}, nil)
)

// Describe is part of prometheus.Collector.
func (s *partnerStates) Describe(to chan<- *prometheus.Desc) { to <- partnerFetches; to <- partnerGood }

// Collect is part of prometheus.Collector.
func (s *partnerStates) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.by {
		for outcome, n := range p.outcomes {
			to <- prometheus.MustNewConstMetric(partnerFetches, prometheus.CounterValue, float64(n), name, outcome)
		}
		if !p.good.IsZero() {
			to <- prometheus.MustNewConstMetric(partnerGood, prometheus.GaugeValue, float64(p.good.Unix()), name)
		}
	}
}

// watchPartnerSpecs asks for the documents of destinations again on a timer.
func (e *engine) watchPartnerSpecs(ctx context.Context) error {
	asked := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
		e.mu.Lock()
		now := e.current
		e.mu.Unlock()
		if now.Egress == nil {
			continue
		}
		for i := range now.Egress.Destinations {
			d := &now.Egress.Destinations[i]
			every := d.SpecEvery
			if every == 0 {
				every = partnerSpecEvery
			}
			if docs := d.docs(now.Data); docs != nil && time.Since(asked[d.Name]) >= every {
				asked[d.Name] = time.Now()
				e.refreshPartner(ctx, d, docs)
			}
		}
	}
}

// refreshPartner takes a changed document over, unless it breaks what is in
// force. Whatever becomes of it is a line of the log, a finding and a count.
func (e *engine) refreshPartner(ctx context.Context, d *destination, docs *partnerDocs) {
	changed, err := docs.refresh(ctx)
	if ctx.Err() != nil {
		return
	}
	broken := func(outcome, rule, title string, severity sallyport.Severity, evidence ...string) {
		e.partners.note(d.Name, outcome, false)
		e.log.Error(title, "destination", d.Name, "evidence", evidence)
		e.partnerFinding(ctx, d, rule, title, severity, evidence, false)
	}
	if err != nil {
		broken("failed", "partner.spec-fetch", "a partner's document cannot be fetched; the last good one stays in force", sallyport.Low, err.Error())
		return
	}
	e.partnerFinding(ctx, d, "partner.spec-fetch", "", sallyport.Low, nil, true)
	if len(changed) == 0 {
		e.partners.note(d.Name, "unchanged", true)
		e.partnerFinding(ctx, d, "partner.spec-breaking", "", sallyport.High, nil, true)
		return
	}
	was, err := d.load(ctx, docs)
	if err == nil {
		look := &partnerDocs{data: docs.data, dir: docs.dir, wire: docs.wire, next: changed}
		var is *spec.Set
		if is, err = d.load(ctx, look); err == nil {
			lost := removed(was, is)
			if len(lost) > 0 && d.SpecBreaking != takeBreaking {
				broken("held", "partner.spec-breaking", "a partner's document has changed in a way that breaks what is in force; the last good one stays", sallyport.High, lost...)
				return
			}
			for _, doc := range look.next {
				if err = docs.keep(doc); err != nil {
					break
				}
			}
			if err == nil {
				e.partners.note(d.Name, "changed", true)
				e.log.Warn("a partner's document has changed and is taken over", "destination", d.Name, "removed", lost, "operations", len(is.Operations()))
				e.partnerFinding(ctx, d, "partner.spec-breaking", "a partner's document has changed in a way that breaks what was in force, and was taken over", sallyport.High, lost, len(lost) == 0)
				e.reload(ctx, "the document of "+d.Name+" changed")
				return
			}
		}
	}
	broken("held", "partner.spec-breaking", "a partner's document has changed and cannot be used; the last good one stays", sallyport.High, firstLines(err.Error(), 5)...)
}

// load reads the specification of d.
func (d *destination) load(ctx context.Context, docs *partnerDocs) (*spec.Set, error) {
	var sources []spec.Source
	for _, s := range d.Spec {
		sources = append(sources, spec.Source{Path: s})
	}
	return spec.Load(ctx, sources, spec.Options{Client: docs.client()})
}

// removed names the operations of was that is has no more.
func removed(was, is *spec.Set) (list []string) {
	have := map[string]bool{}
	for _, o := range is.Operations() {
		have[o.Method+" "+o.Template] = true
	}
	for _, o := range was.Operations() {
		if key := o.Method + " " + o.Template; !have[key] && len(list) < 20 {
			list = append(list, key+" is gone")
		}
	}
	return list
}

func firstLines(s string, n int) []string {
	lines := strings.Split(s, "\n")
	return lines[:min(n, len(lines))]
}

func (e *engine) partnerFinding(ctx context.Context, d *destination, rule, title string, severity sallyport.Severity, evidence []string, gone bool) {
	if e.inventory == nil {
		return
	}
	f := sallyport.Finding{Rule: rule, Title: title, Severity: severity, Asset: sallyport.Asset{API: d.Name}, Evidence: evidence, Source: "egress", Time: time.Now(), Gone: gone,
		Fix: "compare the partner's document with the calls of your services; spec_breaking: take puts a change in force", Refs: []string{"OWASP API10:2023"}}
	if err := e.inventory.Find(ctx, []sallyport.Finding{f}); err != nil && ctx.Err() == nil {
		e.log.Error("note a finding", "rule", rule, "error", err)
	}
}
