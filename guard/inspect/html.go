package inspect

import "bytes"

// The HTML and JavaScript recogniser reads tags and attributes as a browser's
// tokeniser would, which forgives nearly everything, and asks whether any of
// them runs code. Text is folded to lower case before it comes here.

type wordSet map[string]bool

func words(list ...string) wordSet {
	m := wordSet{}
	for _, w := range list {
		m[w] = true
	}
	return m
}

func (m wordSet) has(w []byte) bool { return m[string(w)] }

var (
	// Elements that run, load or redirect by themselves.
	htmlActive = words("script", "iframe", "frame", "frameset", "object", "embed", "applet", "base", "meta", "link", "style", "xml", "import", "isindex", "layer", "ilayer", "bgsound", "svg", "math", "portal", "fencedframe", "vmlframe")
	// Elements of HTML, SVG and MathML that mark up.
	htmlKnown = words("a", "abbr", "acronym", "address", "animate", "animatetransform", "animatemotion", "area", "article", "aside", "audio", "b", "bdi", "bdo", "big", "blink", "blockquote", "body", "br", "button", "canvas", "caption", "center", "circle", "cite", "code", "col", "colgroup", "command", "content", "data", "datalist", "dd", "del", "desc", "details", "dfn", "dialog", "dir", "discard", "div", "dl", "dt", "element", "em", "event-source", "fieldset", "figcaption", "figure", "font", "footer", "foreignobject", "form", "g", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hgroup", "hr", "html", "i", "image", "img", "input", "ins", "kbd", "keygen", "label", "legend", "li", "line", "listing", "main", "map", "mark", "marquee", "menu", "menuitem", "meter", "mglyph", "mi", "mn", "mo", "multicol", "nav", "nextid", "nobr", "noembed", "noframes", "noscript", "ol", "optgroup", "option", "output", "p", "param", "path", "picture", "plaintext", "polygon", "pre", "progress", "q", "rb", "rect", "rp", "rt", "rtc", "ruby", "s", "samp", "section", "select", "set", "shadow", "slot", "small", "source", "spacer", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "template", "text", "textarea", "tfoot", "th", "thead", "time", "title", "tr", "track", "tt", "u", "ul", "use", "var", "video", "wbr", "xmp")
	// Attributes that hold an address.
	htmlAddress = words("href", "src", "action", "formaction", "data", "background", "poster", "xlink:href", "lowsrc", "dynsrc", "codebase", "cite", "longdesc", "manifest", "classid", "from", "to", "values", "content", "code", "value", "url", "by", "profile", "usemap", "ping", "srcset", "icon", "archive", "folder", "style", "implementation", "namespace")
	// Elements whose text is no mark-up: closing one that the value did not open leaves the page's.
	htmlRaw = words("title", "textarea", "script", "style", "noscript", "xmp", "iframe", "noembed", "noframes", "template", "select", "option")
	// What code calls to show that it runs, or to do harm.
	jsSinks   = words("alert", "confirm", "prompt", "eval", "settimeout", "setinterval", "setimmediate", "function", "fetch", "import", "print", "open", "execscript", "atob", "string.fromcharcode", "document.write", "document.writeln", "document.createelement", "document.queryselector", "document.getelementbyid", "location.assign", "location.replace", "window.open", "navigator.sendbeacon", "$.getscript", "xmlhttprequest", "postmessage", "importscripts", "window.alert", "self.alert", "top.alert", "parent.alert", "this.alert", "frames.alert", "globalthis.alert", "document.cookie.match", "queuemicrotask", "requestanimationframe")
	jsObjects = words("document.cookie", "document.domain", "document.location", "document.body", "document.url", "document.documenturi", "document.referrer", "document.title", "document.forms", "window.location", "location.href", "location.hash", "window.name", "localstorage", "sessionstorage", "document.head", "document.all", "document.documentelement", "document.defaultview", "parent.document", "self.location", "top.location", "location.search", "window.onerror")
	cssRuns   = [][]byte{[]byte("expression("), []byte("javascript:"), []byte("vbscript:"), []byte("-moz-binding"), []byte("behavior:"), []byte("behaviour:"), []byte("-o-link"), []byte("@import"), []byte("data:text")}
)

// html judges markup in s, which is in lower case.
func (j *judge) html(s []byte) {
	for i := 0; i < len(s); i++ {
		n := bytes.IndexByte(s[i:], '<')
		if n < 0 {
			return
		}
		i += n
		if j.steps++; j.steps > j.limit {
			return
		}
		i = j.tag(s, i)
		if j.sign[clXSS].score >= 5 {
			return
		}
	}
}

// tag reads one tag that begins at s[i] and returns the index of its last byte.
func (j *judge) tag(s []byte, i int) int {
	k := i + 1
	closing := false
	for k < len(s) && k < i+4 && (s[k] == '/' || s[k] == 0 || s[k] == '<' || s[k] == '%' && k+1 < len(s) && isAlpha(s[k+1])) {
		closing = closing || s[k] == '/'
		k++
	}
	if k >= len(s) {
		return i
	}
	if s[k] == '!' || s[k] == '?' {
		j.declaration(s, k)
		return i
	}
	from := k
	for k < len(s) && (isAlnum(s[k]) || s[k] == '-' || s[k] == ':' || s[k] == '_' || s[k] == 0) {
		k++
	}
	name := s[from:k]
	if len(name) == 0 || !isAlpha(name[0]) {
		return i
	}
	if c := bytes.LastIndexByte(name, ':'); c > 0 && len(name) > c+1 { // svg:script
		name = name[c+1:]
	}
	if bytes.IndexByte(name, 0) >= 0 {
		name = bytes.ReplaceAll(name, []byte{0}, nil)
	}
	active, known := htmlActive.has(name), htmlKnown.has(name)
	at := k
	attributes := 0
	s = s[:min(len(s), at+4096)]
	mark := k
	for k < len(s) && s[k] != '>' && s[k] != '<' {
		if j.steps += 1 + (k-mark)/16; j.steps > j.limit {
			return k
		}
		mark = k
		// Between attributes anything goes.
		if c := s[k]; isSpace(c) || c == '/' || c == '"' || c == '\'' || c == '=' || c == '`' || c == '+' || kinds[c]&bCtl != 0 {
			k++
			continue
		}
		an := k
		for k < len(s) && !isSpace(s[k]) && s[k] != '=' && s[k] != '>' && s[k] != '/' && s[k] != '<' {
			k++
		}
		attr := s[an:k]
		w := k
		for w < len(s) && (isSpace(s[w]) || kinds[s[w]]&bCtl != 0) {
			w++
		}
		if w >= len(s) || s[w] != '=' {
			continue
		}
		k = w + 1
		for k < len(s) && (isSpace(s[k]) || kinds[s[k]]&bCtl != 0) {
			k++
		}
		value := k
		if k < len(s) && (s[k] == '"' || s[k] == '\'' || s[k] == '`') {
			q := s[k]
			value = k + 1
			for k++; k < len(s) && s[k] != q; k++ {
			}
		} else {
			for k < len(s) && !isSpace(s[k]) && s[k] != '>' {
				k++
			}
		}
		attributes++
		j.attribute(attr, s[value:min(k, len(s))], known || active)
		if k < len(s) && s[k] != '>' && k > value {
			k++
		}
	}
	ended := k < len(s) && s[k] == '>'
	glued := at < len(s) && (isSpace(s[at]) || s[at] == '/' || s[at] == '>' || kinds[s[at]]&(bCtl|bPlus|bLess) != 0) || at == len(s)
	switch {
	case !glued:
	case closing && attributes == 0 && ended && htmlRaw.has(name) && (i < 8 || i > 0 && kinds[s[i-1]]&(bQuote|bDouble|bMore|bSlash) != 0) && !opened(s[:i], name):
		j.add(clXSS, "xss.close", 5)
	case closing && ended && (string(name) == "body" || string(name) == "html" || string(name) == "head") && !bytes.Contains(s[:min(i, 4096)], []byte("<html")) && !bytes.Contains(s[:min(i, 4096)], []byte("<body")):
		j.add(clXSS, "xss.close", 4)
	case string(name) == "script" && (ended || attributes > 0 || closing && ended || at < len(s) && s[at] != ' '):
		j.add(clXSS, "xss.script", 5)
	case active && !closing && attributes > 0:
		j.add(clXSS, "xss.element", 5)
	case active && ended && (string(name) == "iframe" || string(name) == "svg" || string(name) == "xml" || string(name) == "style" || string(name) == "embed" || string(name) == "applet"):
		j.add(clXSS, "xss.element", 4)
	case known && attributes > 0 && !ended:
		j.add(clXSS, "xss.open", 3)
	case known && (attributes > 0 || ended) || active && ended:
		j.add(clXSS, "xss.markup", 2)
	}
	return max(i, at-1)
}

// opened reports whether the text before a closing tag holds its opening one.
func opened(before, name []byte) bool {
	before = before[max(0, len(before)-4096):]
	for i := 0; i < len(before); i++ {
		n := bytes.Index(before[i:], name)
		if n < 0 {
			return false
		}
		if i += n; i > 0 && before[i-1] == '<' {
			return true
		}
	}
	return false
}

// declaration reads what follows "<!" or "<?".
func (j *judge) declaration(s []byte, k int) {
	rest := s[k:]
	switch {
	case bytes.HasPrefix(rest, []byte("!--#")):
		for _, d := range [...]string{"exec", "include", "echo", "printenv", "config", "set", "flastmod", "fsize"} {
			if bytes.HasPrefix(bytes.TrimLeft(rest[4:], " "), []byte(d)) {
				j.add(clSSI, "ssi.directive", 5)
			}
		}
	case bytes.HasPrefix(rest, []byte("![cdata[")):
		if w := 2; bytes.HasPrefix(rest, []byte("![cdata[<")) {
			j.add(clXSS, "xss.cdata", w+1)
		} else {
			j.add(clXSS, "xss.cdata", w)
		}
	case bytes.HasPrefix(rest, []byte("?import")), bytes.HasPrefix(rest, []byte("?xml:namespace")):
		j.add(clXSS, "xss.import", 5)
	case bytes.HasPrefix(rest, []byte("?php")), bytes.HasPrefix(rest, []byte("?=")), bytes.HasPrefix(rest, []byte("? ")), bytes.HasPrefix(rest, []byte("?\t")), bytes.HasPrefix(rest, []byte("?\n")):
		j.add(clCode, "code.php", 5)
	}
}

// attribute judges one attribute and its value.
func (j *judge) attribute(name, value []byte, known bool) {
	if c := bytes.LastIndexAny(name, "\x00\"'`"); c >= 0 {
		name = name[c+1:]
	}
	switch {
	case len(name) > 4 && name[0] == 'o' && name[1] == 'n' && (lettersOnly(name[2:]) || known && lettersOnly(name[2:5])):
		j.add(clXSS, "xss.handler", 5)
	case string(name) == "style":
		squeezed := j.squeeze(value)
		for _, c := range cssRuns {
			if bytes.Contains(squeezed, c) {
				j.add(clXSS, "xss.style", 5)
				return
			}
		}
		if bytes.Contains(squeezed, []byte("url(")) {
			j.add(clXSS, "xss.style", 3)
		}
	case string(name) == "datasrc", string(name) == "dataformatas", string(name) == "datafld":
		j.add(clXSS, "xss.binding", 5)
	case string(name) == "srcdoc":
		j.add(clXSS, "xss.srcdoc", 5)
	case htmlAddress.has(name) || known:
		if j.runs(value) {
			j.add(clXSS, "xss.url", 5)
		} else if bytes.HasPrefix(value, []byte("&{")) {
			j.add(clXSS, "xss.entity", 5)
		}
	}
}

func lettersOnly(s []byte) bool {
	for _, c := range s {
		if !isAlnum(c) {
			return false
		}
	}
	return len(s) > 0
}

// squeeze copies s without what browsers skip inside keywords: white space,
// control bytes, comments, backslashes.
func (j *judge) squeeze(s []byte) []byte {
	out, endless := j.tmp[:0], false
	for i := 0; i < len(s) && len(out) < 4096; i++ {
		c := s[i]
		if isSpace(c) || c == '\\' || kinds[c]&bCtl != 0 {
			continue
		}
		if c == '/' && i+1 < len(s) && s[i+1] == '*' && !endless {
			if e := bytes.Index(s[i+2:], []byte("*/")); e >= 0 {
				i += e + 3
				continue
			}
			endless = true
		}
		if c == '<' && i+3 < len(s) && s[i+1] == '!' && s[i+2] == '-' {
			if e := bytes.Index(s[i+3:], []byte("-->")); e >= 0 {
				i += e + 5
				continue
			}
		}
		out = append(out, c)
	}
	j.tmp = out
	return out
}

var schemes = [][]byte{[]byte("javascript:"), []byte("vbscript:"), []byte("livescript:"), []byte("mocha:"), []byte("data:text/html"), []byte("data:image/svg"), []byte("data:text/xml"), []byte("data:application/x"), []byte("data:,"), []byte("data:text/javascript"), []byte("view-source:"), []byte("feed:javascript"), []byte("jar:"), []byte("data:;base64"), []byte("data:text/plain;base64")}

// runs reports whether an address runs code when followed.
func (j *judge) runs(v []byte) bool {
	q := j.squeeze(v[:min(len(v), 256)])
	q = bytes.TrimLeft(q, "\"'`<>;!=(")
	for _, s := range schemes {
		if bytes.HasPrefix(q, s) {
			return true
		}
	}
	return bytes.Contains(q, []byte("javascript:"))
}

// script judges JavaScript and attributes outside a tag of the value's own: the
// value may stand inside one of the page's.
func (j *judge) script(s []byte) {
	// A scheme that runs code, followed by something to run.
	for _, scheme := range [...]string{"javascript:", "vbscript:", "livescript:"} {
		for i := 0; i < len(s); {
			n := bytes.Index(s[i:], []byte(scheme))
			if n < 0 {
				break
			}
			i += n + len(scheme)
			before := i - len(scheme) - 1
			if before >= 0 && isWord(s[before]) || i >= len(s) {
				continue
			}
			rest := bytes.TrimLeft(s[i:], " \t\r\n\x00")
			w := ident(rest)
			switch {
			case len(rest) > 0 && (kinds[rest[0]]&(bSlash|bOpen|bQuote|bDouble|bTick|bSquare|bCurly|bPct|bAmp|bBack|bPlus) != 0 || rest[0] == '!' || rest[0] == '~' || rest[0] == '-'):
				j.add(clXSS, "xss.url", 5)
			case len(w) > 0 && len(rest) > len(w) && (rest[len(w)] == '(' || rest[len(w)] == '`' || rest[len(w)] == '=' || rest[len(w)] == '.' || rest[len(w)] == '[' || rest[len(w)] == '/') && len(rest) == len(s[i:]):
				j.add(clXSS, "xss.url", 5)
			case before < 0:
				j.add(clXSS, "xss.url", 2)
			}
		}
	}
	if q := bytes.TrimLeft(s, " \t\r\n\"'"); bytes.HasPrefix(q, []byte("data:text/html")) || bytes.HasPrefix(q, []byte("data:image/svg+xml")) && bytes.Contains(q, []byte("script")) {
		j.add(clXSS, "xss.url", 5)
	}
	if j.kinds&(bLine|bCtl|bSpace|bStar) != 0 && j.kinds&bMild != 0 {
		// The same with what browsers skip inside it.
		if q := j.squeeze(s[:min(len(s), 256)]); len(q) > 14 && (bytes.HasPrefix(q, []byte("javascript:")) || bytes.HasPrefix(q, []byte("vbscript:"))) && !bytes.Contains(s, []byte("script:")) {
			j.add(clXSS, "xss.url", 5)
		} else if len(q) > 14 && bytes.HasPrefix(q, []byte("javascript:")) && j.kinds&(bLine|bCtl) != 0 && !bytes.HasPrefix(s, []byte("javascript:")) {
			j.add(clXSS, "xss.url", 5)
		}
	}
	if bytes.Contains(s, []byte("document")) && bytes.Contains(s, []byte("cookie")) && !bytes.Contains(s, []byte("document.cookie")) {
		if q := j.squeeze(s); bytes.Contains(q, []byte("document.cookie")) && j.kinds&bStar != 0 || bytes.Contains(q, []byte("document[\"cookie")) || bytes.Contains(q, []byte("document['cookie")) || bytes.Contains(q, []byte("(document)[")) {
			j.add(clXSS, "xss.object", 5)
		}
	}
	if bytes.HasPrefix(s, []byte("document.")) && bytes.Contains(s, []byte(").")) && (bytes.Contains(s, []byte(".textcontent=")) || bytes.Contains(s, []byte("html="))) {
		j.add(clXSS, "xss.object", 5)
	}
	if j.kinds&bTick != 0 {
		q := j.squeeze(s[:min(len(s), 512)])
		for _, w := range [...]string{".call`", ".apply`", ".map`", ".bind`", ".from`"} {
			if n := bytes.Index(s, []byte(w)); n >= 0 && bytes.Count(s[:n], []byte("`"))%2 == 0 || bytes.Contains(q, []byte(w)) && bytes.Contains(q, []byte("${")) {
				j.add(clXSS, "xss.indirect", 5)
			}
		}
	}
	// An event handler among attributes.
	for i := 0; i+4 < len(s); i++ {
		n := bytes.Index(s[i:], []byte("on"))
		if n < 0 {
			break
		}
		i += n
		if i > 0 && (isWord(s[i-1]) || s[i-1] == '-' || s[i-1] == '.' || s[i-1] == '$') {
			continue
		}
		e := i + 2
		for e < len(s) && isAlnum(s[e]) && e < i+32 {
			e++
		}
		if e-i < 5 {
			continue
		}
		w := e
		for w < len(s) && isSpace(s[w]) {
			w++
		}
		if w >= len(s) || s[w] != '=' || w+1 < len(s) && (s[w+1] == '=' || s[w+1] == '>') {
			continue
		}
		if j.steps += 64; j.steps > j.limit {
			return
		}
		code := bytes.TrimLeft(s[w+1:min(len(s), w+600)], " \t\r\n\"'`\\")
		weight := 0
		if j.calls(code) {
			weight = 5
		} else if len(code) > 0 && isDigit(code[0]) { // "OnBootSec=50"
			continue
		}
		if i > 0 && j.kinds&(bQuote|bDouble|bTick|bMore) != 0 && weight == 0 {
			// A quote or bracket before it closes what the page had open.
			before := bytes.TrimRight(s[:i], " \t\r\n/\x00")
			if c := before[max(len(before)-1, 0):]; len(c) == 1 && kinds[c[0]]&(bQuote|bDouble|bTick|bMore) != 0 {
				weight = 4
				if len(code) > 0 && (isAlpha(code[0]) && bytes.ContainsAny(code, "(=`")) {
					weight = 5
				}
			}
		}
		j.add(clXSS, "xss.handler", weight)
	}
	// CSS that runs code.
	if bytes.Contains(s, []byte("expr")) || bytes.Contains(s, []byte("binding")) || bytes.Contains(s, []byte("@import")) || bytes.Contains(s, []byte("behavio")) || bytes.Contains(s, []byte("script:")) {
		q := j.squeeze(s)
		switch {
		case bytes.Contains(q, []byte(":expression(")), bytes.Contains(q, []byte("-moz-binding:url(")), bytes.Contains(q, []byte("behavior:url(")), bytes.Contains(q, []byte("url(javascript:")), bytes.Contains(q, []byte("url('javascript:")), bytes.Contains(q, []byte("url(\"javascript:")):
			j.add(clXSS, "xss.style", 5)
		case bytes.Contains(q, []byte("@import'")), bytes.Contains(q, []byte("@import\"")), bytes.Contains(q, []byte("@importurl(")):
			if bytes.Contains(s, []byte("<style")) {
				j.add(clXSS, "xss.style", 5)
			}
			if bytes.Contains(q, []byte("//")) {
				j.add(clXSS, "xss.style", 3)
			}
		}
	}
	j.breakout(s)
}

func ident(s []byte) []byte {
	e := 0
	for e < len(s) && (isWord(s[e]) || s[e] == '$' || s[e] == '.') {
		e++
	}
	return s[:e]
}

// calls reports whether s begins with, or soon holds, a call or assignment that
// only a script makes.
func (j *judge) calls(s []byte) bool {
	limit := min(len(s), 512)
	for i := 0; i < limit; i++ {
		if !isAlpha(s[i]) || i > 0 && (isWord(s[i-1]) || s[i-1] == '$') {
			continue
		}
		w := ident(s[i:])
		if e := i + len(w); sink(w) {
			for e < len(s) && (isSpace(s[e]) || s[e] == ')' || s[e] == '\\') {
				e++
			}
			if e < len(s) && (s[e] == '(' || s[e] == '`' || s[e] == '&' || s[e] == '.') || bytes.HasPrefix(s[min(e, len(s)):], []byte("?.(")) {
				return true
			}
		}
		if jsObjects.has(w) {
			return true
		}
		i += len(w)
	}
	return false
}

// sink reports whether w names a function that injected scripts call, alone or
// as the last part of a path.
func sink(w []byte) bool {
	if jsSinks.has(w) {
		return true
	}
	if d := bytes.LastIndexByte(w, '.'); d > 0 {
		switch string(w[d+1:]) {
		case "alert", "confirm", "prompt", "eval", "constructor", "fromcharcode", "appendchild", "innerhtml", "setattribute":
			return true
		case "call", "apply":
			return sink(w[:d])
		}
	}
	return false
}

// bare judges code written with six bytes only.
func (j *judge) bare(s []byte) {
	if j.kinds&^(bSquare|bOpen|bClose|bMild|bPlus|bSpace|bDigit|bCurly) != 0 || len(s) < 24 {
		return
	}
	n := 0
	for _, c := range s {
		if kinds[c]&(bSquare|bOpen|bClose|bPlus) != 0 || c == '!' {
			n++
		}
	}
	if n*10 >= len(s)*9 || n > 20 && bytes.Contains(s, []byte("![]")) {
		j.add(clXSS, "xss.bare", 5)
	}
}

// breakout looks for code that closes what stood before it and calls something,
// and for values that are nothing but such a call.
func (j *judge) breakout(s []byte) {
	spoken := 0 // words seen since the last sign of code
	for i := 0; i < len(s); i++ {
		if !isAlpha(s[i]) || i > 0 && (isWord(s[i-1]) || s[i-1] == '$' || s[i-1] == '.') {
			continue
		}
		w := ident(s[i:])
		e := i + len(w)
		// What is left of a tag whose brackets a filter took out.
		if d := bytes.Index(w, []byte("document.")); d > 0 {
			w = w[d:]
		} else {
			w = bytes.TrimPrefix(w, []byte("script"))
		}
		call := e < len(s) && (s[e] == '(' || s[e] == '`' && bytes.Count(s[max(0, i-128):i], []byte("`"))%2 == 0)
		for x := e; !call && x < len(s) && x < e+12 && (isSpace(s[x]) || s[x] == '/' || s[x] == '*'); x++ {
			call = x+1 < len(s) && s[x+1] == '(' && (s[x] == '/' || s[x] == '*' || isSpace(s[x]) && (string(w) == "alert" || string(w) == "eval") && !isAlpha(next(s, x+2)))
		}
		if j.steps++; j.steps > j.limit {
			return
		}
		before := bytes.TrimRight(s[max(0, i-64):i], " \t\r\n\x00")
		edge := byte(0)
		if len(before) > 0 {
			edge = before[len(before)-1]
		}
		switch {
		case call && sink(w):
			args := s[min(e+1, len(s)):]
			harmless := len(w) > 4 && (string(w) == "function" || string(w) == "print" || string(w) == "import" || string(w) == "open" || string(w) == "fetch" || string(w) == "document.getelementbyid" || string(w) == "document.queryselector") || string(w) == "open" || string(w) == "function"
			switch {
			case edge == '`' && next(args, 0) == ')' && next(args, 1) == '`', harmless && len(before) == 0, harmless && !bytes.ContainsAny(before[max(0, len(before)-3):], "'\"`><};"):
				j.add(clXSS, "xss.call", 2)
			case len(before) == 0, edge == ';' && bytes.ContainsAny(before, "'\")}]"), kinds[edge]&(bQuote|bDouble|bTick|bMore|bPlus|bStar|bPipe|bAmp|bDash|bSquare|bEqual|bSlash|bPct|bOpen|bCurly|bClose) != 0 || edge == '^' || edge == '?' || edge == ':' || edge == '!' || edge == ',' || edge == '~':
				n := 5
				if spoken > 3 || edge == '(' && len(args) > 0 && args[0] == ')' || edge == '`' && len(before) > 1 && isSpace(s[max(0, len(before)-2)]) {
					n = 3 // a sentence about code
				}
				if harmless {
					n--
				}
				j.add(clXSS, "xss.call", n)
			case edge == ';' || spoken < 2:
				j.add(clXSS, "xss.call", 4)
			default:
				j.add(clXSS, "xss.call", 2)
			}
		case jsObjects.has(w):
			n := 2
			if edge == '`' && next(s, e) == '`' { // a name in a text about code
			} else if e < len(s) && (s[e] == '=' || s[e] == ';' || s[e] == ')' || s[e] == '[') && spoken < 3 || kinds[edge]&(bQuote|bDouble|bPlus|bEqual|bMore|bTick) != 0 || edge == '{' || edge == ';' {
				n = 4
				if len(before) == 0 || kinds[edge]&(bQuote|bDouble|bMore) != 0 || edge == '{' {
					n = 5
				}
			}
			j.add(clXSS, "xss.object", n)
		case isSpace(next(s, e)):
			spoken++
		}
		i = e - 1
	}
	if j.kinds&bStar != 0 && len(s) < 4096 && bytes.Contains(s, []byte("/*")) {
		s = j.squeeze(s)
	}
	// Indirect calls: top["al"+"ert"](1), self['alert'](1), [].constructor…
	for _, root := range [...]string{"top[", "self[", "window[", "this[", "parent[", "frames[", "globalthis[", "console[", "document[", "constructor[", "[].", "]["} {
		n := bytes.Index(s, []byte(root))
		if n < 0 {
			continue
		}
		rest := s[n+len(root):]
		if loose := root == "[]." || root == "]["; loose && (len(rest) == 0 || root == "][" && kinds[rest[0]]&(bQuote|bDouble|bOpen|bPlus|bMild|bSquare) == 0) {
			continue // links of Markdown, types of Go
		} else if c := bytes.Index(rest, []byte("](")); c >= 0 && c < 96 && !(loose && bytes.IndexByte(rest[:c], ' ') >= 0) || !loose && bytes.Contains(rest, []byte("]`")) {
			j.add(clXSS, "xss.indirect", 5)
		}
	}
	// A call through a computed name, "content[y](1)"; a link of Markdown has no word before its bracket.
	for i := 0; i < len(s); {
		n := bytes.Index(s[i:], []byte("]("))
		if n < 0 {
			break
		}
		i += n + 2
		if o := bytes.LastIndexByte(s[max(0, i-64):i], '['); o >= 0 {
			if o += max(0, i-64); o > 0 && isWord(s[o-1]) && i < len(s) && (isDigit(s[i]) || kinds[s[i]]&(bQuote|bDouble|bTick) != 0) {
				j.add(clXSS, "xss.indirect", 4)
			}
		}
		if j.steps++; j.steps > j.limit {
			return
		}
	}
	if bytes.Contains(s, []byte("constructor.constructor")) || bytes.Contains(s, []byte(".constructor(")) || bytes.Contains(s, []byte("fromcharcode(")) {
		j.add(clXSS, "xss.indirect", 5)
	}
	if n := bytes.Index(s, []byte("&{")); n >= 0 && bytes.Contains(s[n:], []byte("};")) {
		j.add(clXSS, "xss.entity", 4)
	} else if n > 0 && s[n-1] == '=' && j.kinds&bLess != 0 && j.kinds&(bQuote|bDouble) != 0 {
		j.add(clXSS, "xss.locator", 5)
	}
	if n := bytes.Index(s, []byte("onerror=")); n >= 0 && bytes.Contains(s[n:], []byte("throw")) {
		j.add(clXSS, "xss.indirect", 5)
	}
}

func next(s []byte, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return ' '
}
