package policy

import (
	"fmt"
	"mime"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// A Switch is a setting that the API makes and an operation may change.
type Switch string

// The positions of a Switch. The zero value is what stands further out.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// Cache says which answers may be given again without asking the upstream (RFC
// 9111). The zero value is: none.
type Cache struct {
	Mode Switch `yaml:"mode" enum:"on|off" doc:"Whether answers are stored and used again. Default off."`
	// Per says whose answers one stored answer may become.
	Per CachePer `yaml:"per" enum:"everyone|principal" doc:"Whom a stored answer may be given to. principal: answers to proven callers, private ones too, are kept and given to the same caller only; those that say public or s-maxage go to everyone. Default everyone."`
	// Paths are the parts of an API, in no specification, whose answers may be
	// stored. Only the API's own Cache has them.
	Paths []CachePath `yaml:"paths" doc:"Paths that no specification declares whose answers may be stored all the same."`
	Types []string    `yaml:"types" doc:"Media types that may be stored, such as application/json or image/*. Default those that the specification declares for the status."`
	// Statuses may be stored; others never are, whatever they say.
	Statuses []int    `yaml:"statuses" doc:"Statuses that may be stored. Default 200, 203, 204, 300, 301, 308, 404 and 410."`
	Headers  []string `yaml:"key_headers" doc:"Request headers that are part of the key, besides those that Vary names."`
	// Lifetime is that of answers that state none themselves.
	Lifetime  time.Duration `yaml:"lifetime" doc:"How long an answer is fresh that does not say so. Default: it is not stored."`
	Heuristic Switch        `yaml:"heuristic" enum:"on|off" doc:"Take a tenth of the time since Last-Modified, at most a day, for answers that state no lifetime (RFC 9111 section 4.2.2). Default off."`
	Longest   time.Duration `yaml:"longest" doc:"Longest time that an answer is taken for fresh, whatever it says. Default 24h."`
	Stale     CacheStale    `yaml:"stale" doc:"When an answer may be used although it is no longer fresh."`
	SetCookie Switch        `yaml:"set_cookie" enum:"on|off" doc:"Store answers with Set-Cookie, cookie and all. Default off: they are not stored."`
	Client    Switch        `yaml:"client_control" enum:"on|off" doc:"Follow Cache-Control of requests, which lets every caller go past the cache. Default off."`
	Targeted  []string      `yaml:"targeted" doc:"Answer headers that take the place of Cache-Control for this cache, first one first (RFC 9213). Default CDN-Cache-Control."`
	Tags      []string      `yaml:"tag_headers" doc:"Answer headers whose words are the tags by which answers are invalidated. Default Cache-Tag and Surrogate-Key."`
	Entry     int64         `yaml:"entry" doc:"Bytes of the longest body that is stored. Default 1048576."`
	Coalesce  Switch        `yaml:"coalesce" enum:"on|off" doc:"Of requests for the same answer at the same time, send one. Default on."`
	Wait      time.Duration `yaml:"wait" doc:"How long a request waits for another one's answer before it is sent itself. Default 5s."`
	Report    Switch        `yaml:"status_header" enum:"on|off" doc:"Say in Cache-Status what the cache did (RFC 9211). Default off."`
}

// CachePer is whom a stored answer may be given to.
type CachePer string

// The readers of a stored answer. The zero value is PerEveryone.
const (
	PerEveryone CachePer = "everyone"
	PerCaller   CachePer = "principal"
)

// A CachePath is a part of an API that no specification declares.
type CachePath struct {
	Path  string   `yaml:"path" need:"1" doc:"Path prefix, whole segments."`
	Types []string `yaml:"types" need:"1" doc:"Media types that may be stored."`
}

// CacheStale is when an answer may be used although it is stale (RFC 5861).
// The zero durations leave it to what the answer says.
type CacheStale struct {
	Revalidate time.Duration `yaml:"while_revalidate" doc:"While it is asked for anew, for answers that do not say. Default never."`
	Error      time.Duration `yaml:"if_error" doc:"When the upstream fails, for answers that do not say. Default never."`
}

// DefaultCache fills the fields that nothing sets.
var DefaultCache = Cache{
	Mode: Off, Per: PerEveryone, Statuses: []int{200, 203, 204, 300, 301, 308, 404, 410}, Heuristic: Off, Longest: 24 * time.Hour, SetCookie: Off, Client: Off,
	Targeted: []string{"Cdn-Cache-Control"}, Tags: []string{"Cache-Tag", "Surrogate-Key"}, Entry: 1 << 20, Coalesce: On, Wait: 5 * time.Second, Report: Off,
}

// Over gives c with what it leaves open taken from below.
func (c Cache) Over(below Cache) Cache {
	or(&c.Mode, below.Mode)
	or(&c.Per, below.Per)
	or(&c.Lifetime, below.Lifetime)
	or(&c.Heuristic, below.Heuristic)
	or(&c.Longest, below.Longest)
	or(&c.Stale.Revalidate, below.Stale.Revalidate)
	or(&c.Stale.Error, below.Stale.Error)
	or(&c.SetCookie, below.SetCookie)
	or(&c.Client, below.Client)
	or(&c.Entry, below.Entry)
	or(&c.Coalesce, below.Coalesce)
	or(&c.Wait, below.Wait)
	or(&c.Report, below.Report)
	orList(&c.Paths, below.Paths)
	orList(&c.Types, below.Types)
	orList(&c.Statuses, below.Statuses)
	orList(&c.Headers, below.Headers)
	orList(&c.Targeted, below.Targeted)
	orList(&c.Tags, below.Tags)
	return c
}

func or[T comparable](v *T, below T) {
	var zero T
	if *v == zero {
		*v = below
	}
}

func orList[T any](v *[]T, below []T) {
	if *v == nil {
		*v = below
	}
}

// canonical gives c with the names of its headers as net/http writes them.
func (c Cache) canonical() Cache {
	for _, list := range []*[]string{&c.Headers, &c.Targeted, &c.Tags} {
		*list = slices.Clone(*list)
		for i, name := range *list {
			(*list)[i] = textproto.CanonicalMIMEHeaderKey(name)
		}
	}
	return c
}

// Holds reports whether contentType is one of the media types in list, where
// type/* and */* stand for all of them.
func Holds(list []string, contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	if t == "" {
		return false
	}
	for _, want := range list {
		want = strings.ToLower(want)
		if prefix, ok := strings.CutSuffix(want, "*"); want == t || want == "*/*" || ok && strings.HasPrefix(t, prefix) {
			return true
		}
	}
	return false
}

// Under gives the media types that may be stored of an undeclared path, which
// is to be in canonical form; nil: none.
func (c *Cache) Under(path string) []string {
	var best *CachePath
	for i := range c.Paths {
		p := &c.Paths[i]
		prefix := strings.TrimRight(p.Path, "/")
		if strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/') && (best == nil || len(p.Path) > len(best.Path)) {
			best = p
		}
	}
	if best == nil {
		return nil
	}
	return best.Types
}

func (m *Mistakes) cache(path string, c Cache, inner bool) {
	oneOf(m, path+".mode", c.Mode, On, Off)
	oneOf(m, path+".per", c.Per, PerEveryone, PerCaller)
	oneOf(m, path+".heuristic", c.Heuristic, On, Off)
	oneOf(m, path+".set_cookie", c.SetCookie, On, Off)
	oneOf(m, path+".client_control", c.Client, On, Off)
	oneOf(m, path+".coalesce", c.Coalesce, On, Off)
	oneOf(m, path+".status_header", c.Report, On, Off)
	m.mediaTypes(path+".types", c.Types)
	if inner && len(c.Paths) > 0 {
		m.add(path+".paths", "an operation has a path already; paths stand under the API's cache")
	}
	for i, p := range c.Paths {
		at := fmt.Sprintf("%s.paths[%d]", path, i)
		if !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, "?#;\\ ") {
			m.add(at+".path", "%q is not a path such as /static", p.Path)
		}
		if len(p.Types) == 0 {
			m.add(at+".types", "name the media types that may be stored there")
		}
		m.mediaTypes(at+".types", p.Types)
	}
	for i, s := range c.Statuses {
		switch {
		case s < 200 || s > 599:
			m.add(fmt.Sprintf("%s.statuses[%d]", path, i), "%d is not a final status", s)
		case s == 206 || s == 304:
			m.add(fmt.Sprintf("%s.statuses[%d]", path, i), "%d is no answer of its own, and is never stored", s)
		}
	}
	headers := func(name string, list []string) {
		for i, h := range list {
			if !token(h) {
				m.add(fmt.Sprintf("%s.%s[%d]", path, name, i), "%q is not the name of a header", h)
			}
		}
	}
	headers("key_headers", c.Headers)
	headers("targeted", c.Targeted)
	headers("tag_headers", c.Tags)
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"lifetime", c.Lifetime}, {"longest", c.Longest}, {"wait", c.Wait}, {"stale.while_revalidate", c.Stale.Revalidate}, {"stale.if_error", c.Stale.Error}} {
		if d.d < 0 {
			m.add(path+"."+d.name, "%s is less than nothing", d.d)
		}
	}
	if c.Wait > time.Minute {
		m.add(path+".wait", "%s; at most a minute", c.Wait)
	}
	if c.Entry < 0 || c.Entry > 64<<20 {
		m.add(path+".entry", "%d; want at most %d", c.Entry, 64<<20)
	}
}

func (m *Mistakes) mediaTypes(path string, list []string) {
	for i, t := range list {
		if _, params, err := mime.ParseMediaType(t); err != nil || len(params) > 0 || strings.Count(t, "/") != 1 {
			m.add(fmt.Sprintf("%s[%d]", path, i), "%q is not a media type such as application/json or image/*", t)
		}
	}
}

// token reports whether s is a header's name (RFC 9110 section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}
