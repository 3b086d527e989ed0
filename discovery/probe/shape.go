package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strings"
)

// A shape is what stays of an answer when everything that changes from one to
// the next is taken out: status, kind of content, where it sends to, and the
// set of the words and keys of its body.
type shape struct {
	status   int
	media    string
	location string
	words    map[string]bool
}

// shapeOf takes the path, which error pages like to repeat, out of the body.
func shapeOf(a *answer) *shape {
	if a.shape != nil {
		return a.shape
	}
	s := &shape{status: a.status, media: a.mediaType(), words: map[string]bool{}}
	path, _, _ := strings.Cut(a.path, "?")
	if l := a.header.Get("Location"); l != "" {
		s.location = shapeOfLocation(l, path)
	}
	body := a.body
	if len(body) > 32<<10 {
		body = body[:32<<10]
	}
	if a.json() {
		var v any
		if json.Unmarshal(body, &v) == nil {
			jsonWords("", v, s.words, 0)
			a.shape = s
			return s
		}
	}
	text := string(body)
	if len(path) > 1 {
		text = strings.ReplaceAll(text, path, " ")
		for seg := range strings.SplitSeq(path, "/") {
			if len(seg) > 3 {
				text = strings.ReplaceAll(text, seg, " ")
			}
		}
	}
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) {
		// Words with digits are numbers, times, ids: noise.
		if len(w) < 2 || len(w) > 40 || strings.ContainsAny(w, "0123456789") {
			continue
		}
		s.words[strings.ToLower(w)] = true
		if len(s.words) >= 4000 {
			break
		}
	}
	a.shape = s
	return s
}

// jsonWords are the key paths with their types, the number of array elements
// aside.
func jsonWords(at string, v any, out map[string]bool, depth int) {
	if depth > 6 || len(out) > 2000 {
		return
	}
	switch x := v.(type) {
	case map[string]any:
		out[at+"{}"] = true
		for k, y := range x {
			if len(k) > 24 && strings.ContainsAny(k, "0123456789") {
				k = "?"
			}
			jsonWords(at+"."+k, y, out, depth+1)
		}
	case []any:
		out[at+"[]"] = true
		for i, y := range x {
			if i > 20 {
				break
			}
			jsonWords(at+"[]", y, out, depth+1)
		}
	case string:
		out[at+":s"] = true
	case float64:
		out[at+":n"] = true
	case bool:
		out[at+":b"] = true
	default:
		out[at+":0"] = true
	}
}

func shapeOfLocation(l, path string) string {
	u, err := url.Parse(l)
	if err != nil {
		return "?"
	}
	p := u.Path
	if len(path) > 1 {
		p = strings.ReplaceAll(p, path, "@")
		if p == u.Path {
			p = strings.ReplaceAll(p, path[strings.LastIndexByte(path, '/'):], "/@")
		}
	}
	return u.Host + p
}

// alike is how much two bodies have in common: 1 the same, 0 nothing.
func alike(a, b *shape) float64 {
	if len(a.words) == 0 && len(b.words) == 0 {
		return 1
	}
	both := 0
	for w := range a.words {
		if b.words[w] {
			both++
		}
	}
	return float64(both) / float64(len(a.words)+len(b.words)-both)
}

// A base is how a directory answers to what it cannot know.
type base struct {
	samples []*shape
	noise   float64 // least likeness between two samples of one status
	failed  bool
}

// absent says whether an answer is what the directory gives to anything.
func (b *base) absent(s *shape) bool {
	for _, x := range b.samples {
		if x.status != s.status || x.media != s.media || x.location != s.location {
			continue
		}
		if l := alike(x, s); l >= math.Min(0.92, b.noise*0.9) {
			return true
		}
	}
	return false
}

// fickle says that names which nobody gave anything are answered now so, now
// otherwise: nothing can be concluded from an answer there.
func (b *base) fickle() bool {
	for _, x := range b.samples {
		if (x.status < 300) != (b.samples[0].status < 300) {
			return true
		}
	}
	return false
}

func (b *base) add(s *shape) {
	for _, x := range b.samples {
		if x.status == s.status && x.media == s.media {
			b.noise = math.Min(b.noise, alike(x, s))
		}
	}
	if len(b.samples) < 12 {
		b.samples = append(b.samples, s)
	}
}

func random() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return "q" + hex.EncodeToString(b[:])
}

func extension(path string) string {
	path, _, _ = strings.Cut(path, "?")
	last := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.LastIndexByte(last, '.'); i > 0 {
		return last[i:]
	}
	if strings.HasPrefix(last, ".") {
		return "."
	}
	return ""
}

func directory(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return "/"
	}
	return path[:strings.LastIndexByte(path, '/')+1]
}

// calibrate learns how the directory of a path answers to names that nobody
// gave anything, with the same method, extension and question.
func (s *site) calibrate(ctx context.Context, q ask) *base {
	dir, ext := directory(q.path), extension(q.path)
	slash := ""
	if strings.HasSuffix(q.path, "/") && len(q.path) > 1 {
		slash = "/"
	}
	key := q.method + " " + dir + "*" + ext + slash + " " + q.header["Content-Type"] + q.header["Accept"] + q.header["Upgrade"]
	if b := s.bases[key]; b != nil {
		return b
	}
	b := &base{noise: 1}
	if len(s.bases) < 500 {
		s.bases[key] = b
	}
	if ext == "." {
		ext = ""
	}
	for i := range 3 {
		name := random()
		if q.path != "" && extension(q.path) == "." {
			name = "." + name
		}
		if i == 2 && ext == "" {
			name = name[:7] + "-" + name[7:]
		}
		r := q
		r.path = dir + name + ext + slash
		a, err := s.fetch(ctx, r)
		if err != nil {
			b.failed = len(b.samples) == 0
			continue
		}
		b.add(shapeOf(a))
		// Where the first two say plainly that there is nothing, a third says no more.
		if i == 1 && a.status == 404 && b.samples[0].status == 404 {
			break
		}
	}
	return b
}

// exists says whether there is something at the path of an answer, and not only
// an answer. What looks like something is asked again beside a name that
// begins in the same way: rules by prefix, walls that refuse by a word, and
// servers that answer by the dice give themselves away.
func (s *site) exists(ctx context.Context, q ask, a *answer) bool {
	switch a.status {
	case 404, 410, 429, 503, 502, 504, 501:
		return false
	}
	b := s.calibrate(ctx, q)
	if b.failed || b.absent(shapeOf(a)) || b.fickle() {
		return false
	}
	path := strings.TrimSuffix(q.path, "/")
	if ext := extension(path); ext != "" && ext != "." {
		path = strings.TrimSuffix(path, ext) + random()[:5] + ext
	} else {
		path += random()[:5]
	}
	if strings.HasSuffix(q.path, "/") && len(q.path) > 1 {
		path += "/"
	}
	r := q
	r.path = path
	sibling, err := s.fetch(ctx, r)
	if err != nil {
		return false
	}
	x := shapeOf(sibling)
	if x.status == a.status && (x.media == a.mediaType() && alike(x, shapeOf(a)) > 0.9 || sibling.status == a.status && sibling.header.Get("Location") != "" && x.location == shapeOf(a).location) {
		return false
	}
	again, err := s.fetch(ctx, q)
	if err != nil || again.status != a.status || alike(shapeOf(again), shapeOf(a)) < 0.4 {
		return false
	}
	return true
}

// settle looks once more at the directories in which something was found, for
// servers whose answers change.
func (s *site) settle(ctx context.Context) {
	dirs := map[string]bool{}
	for _, h := range s.hits {
		dirs[directory(h.path)] = true
	}
	for dir := range dirs {
		q := ask{method: "GET", path: dir + random()}
		b := s.calibrate(ctx, q)
		for range 5 {
			q.path = dir + random()
			if a, err := s.fetch(ctx, q); err == nil && !b.absent(shapeOf(a)) {
				b.add(shapeOf(a))
			}
		}
		s.hits = slices.DeleteFunc(s.hits, func(h *answer) bool {
			return directory(h.path) == dir && (b.fickle() || extension(h.path) == "" && b.absent(shapeOf(h)))
		})
	}
}
