package discovery

import (
	"strings"
)

// foldAt is the weight of evidence at which a literal becomes a value. The
// single weights below are whole judgements in tenths, and each says why.
const foldAt = 20

// evidence adds up what speaks for a value, and remembers the strongest reason.
type evidence struct {
	sum, best int
	why       string
}

func (e *evidence) add(n int, why string) {
	e.sum += n
	if n > e.best {
		e.best, e.why = n, why
	}
}

// score weighs whether c, a literal child of n, is a value.
func (t *tree) score(n, c *node) (int, string) {
	var e evidence
	f := formOf(c.seg)
	lower := strings.ToLower(c.seg)
	hyphens := strings.Count(c.seg, "-") + strings.Count(c.seg, "_")

	// The form.
	switch f {
	case formVersion, formTerm:
		e.add(-20, "")
	case formFile:
		e.add(-5, "")
	case formSlug:
		if longestDigits(c.seg) >= 3 {
			e.add(20, "the value holds a number")
		} else {
			e.add(12, "the value mixes letters and digits")
		}
	case formDotted:
		e.add(10, "the value is a dotted name")
	case formWord:
		if actions[lower] {
			e.add(-20, "")
		}
		if scattered(lower) {
			e.add(10, "the value is no word")
		}
	}
	if hyphens >= 3 {
		e.add(6, "the value is a long slug")
	}
	if len(c.seg) > 24 {
		e.add(7, "the value is long")
	}
	if _, known := t.values[hash(c.seg)]; known {
		e.add(15, "the same value stands elsewhere for a parameter")
	}
	if hyphens >= 2 && t.elsewhere(c) {
		e.add(15, "the same slug stands in another collection")
	}
	if n.front() {
		e.add(-15, "") // the first segment is seldom a value
	}
	if n.arg && n.up != nil {
		e.add(-10, "") // below a value stand its parts
	}
	if plural(n.seg) && !n.arg {
		e.add(5, "it follows a plural")
	}

	// How the server treats it.
	own := c.methods
	changed := own["DELETE"] != nil || own["PUT"] != nil || own["PATCH"] != nil
	if post := n.methods["POST"]; post != nil && post.success && changed {
		e.add(15, "members of its collection are created above and changed here")
	}
	if list := n.methods["GET"]; list != nil && list.success && own["DELETE"] != nil {
		e.add(10, "members of the collection above are removed here")
	}
	if len(own) == 1 && own["POST"] != nil && c.value == nil && len(c.literal) == 0 {
		e.add(-15, "") // an action
	}
	if get, list := own["GET"], n.methods["GET"]; get != nil && list != nil && len(list.element) >= 2 && len(get.object)+len(get.element) > 0 {
		switch one, many := alike(get.object, list.element), alike(get.element, list.element); {
		case one >= 0.6:
			e.add(25, "it answers with one element of the list above")
		case many >= 0.8:
			e.add(15, "it answers with a part of the list above")
		case one < 0.25 && many < 0.25:
			e.add(-10, "")
		}
	}

	// How it stands to the parameter already found beside it.
	if v := n.value; v != nil {
		if get, other := own["GET"], v.methods["GET"]; get != nil && other != nil && len(other.object) >= 2 && len(get.object)+len(get.element) > 0 {
			if alike(get.object, other.object) >= 0.6 {
				e.add(20, "it answers like the values beside it")
			} else {
				e.add(-10, "")
			}
		}
		if subset(own, v.methods) && changed {
			e.add(10, "it takes the methods of the values beside it")
		}
		if t.fits(c, v) > 0 {
			e.add(15, "it has the parts of the values beside it")
		}
	}

	// How it stands to its siblings.
	twins, twinsByShape, prefixed := 0, 0, 0
	for _, o := range n.literal {
		if o == c {
			continue
		}
		switch {
		case len(c.literal) > 0 || c.value != nil:
			if shared(c, o) > 0 {
				twins++
			}
		case len(own) > 0 && sameMethods(own, o.methods):
			twins++
			if a, b := own["GET"], o.methods["GET"]; a != nil && b != nil && alike(a.object, b.object) >= 0.8 {
				twinsByShape++
			}
		}
		if p := commonPrefix(c.seg, o.seg); p >= 5 && p < len(c.seg) {
			prefixed++
		}
	}
	if prefixed >= 2 && (changed || twins >= 2) {
		e.add(15, "its siblings begin alike")
	}
	if c.value != nil || len(c.literal) > 0 {
		switch {
		case twins >= 7:
			e.add(25, "many siblings have the same parts")
		case twins >= 3:
			e.add(15, "siblings have the same parts")
		case twins >= 2 && len(n.literal) >= 8:
			e.add(10, "siblings have the same parts")
		}
	}
	switch {
	case twinsByShape >= 4:
		e.add(20, "siblings answer alike")
	case twinsByShape >= 2:
		e.add(10, "siblings answer alike")
	}
	if changed && twins >= 4 {
		e.add(10, "siblings take the same methods")
	}
	switch {
	case len(n.literal) >= 50 && twins >= len(n.literal)/2:
		e.add(30, "it has many siblings of its kind")
	case len(n.literal) >= 25 && twins >= len(n.literal)/2:
		e.add(15, "it has many siblings of its kind")
	}
	return e.sum, e.why
}

// elsewhere reports whether c's slug is a literal under another plural too.
func (t *tree) elsewhere(c *node) bool {
	for _, n := range t.slugs[c.seg] {
		if n != c && n.up != nil && n.up != c.up && plural(n.up.seg) && plural(c.up.seg) && n.up.literal[c.seg] == n {
			return true
		}
	}
	return false
}

// front reports whether nothing but versions and "api" stand before n's children.
func (n *node) front() bool {
	for m := n; m.up != nil; m = m.up {
		if m.arg || m.seg != "api" && m.seg != "rest" && formOf(m.seg) != formVersion {
			return false
		}
	}
	return true
}

func longestDigits(s string) int {
	best, run := 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] >= '0' && s[i] <= '9' {
			run++
			best = max(best, run)
		} else {
			run = 0
		}
	}
	return best
}

// scattered reports whether s has a run of consonants that no word has.
func scattered(s string) bool {
	run := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y' || c < 'a' || c > 'z':
			run = 0
		default:
			if run++; run >= 6 {
				return true
			}
		}
	}
	return false
}

func subset(a, b map[string]*leaf) bool {
	for m := range a {
		if b[m] == nil {
			return false
		}
	}
	return len(a) > 0
}

func sameMethods(a, b map[string]*leaf) bool { return len(a) == len(b) && subset(a, b) }

// shared counts the literal parts that a and b both have.
func shared(a, b *node) int {
	n := 0
	for s := range a.literal {
		if b.literal[s] != nil {
			n++
		}
	}
	return n
}

// fits counts the parts of c that the parameter's node v has too, by name or
// because they are values known to stand for the parameter below v.
func (t *tree) fits(c, v *node) int {
	n := shared(c, v)
	if v.value != nil {
		for s := range c.literal {
			if _, known := t.values[hash(s)]; known && v.literal[s] == nil {
				n++
			}
		}
	}
	return n
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
