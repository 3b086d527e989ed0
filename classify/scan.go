package classify

import "bytes"

// Scan finds sensitive data in b, at most limit matches (all when limit ≤ 0), in
// the order in which they stand; matches do not overlap. b may be JSON, a form,
// a header, source code or prose.
func Scan(b []byte, limit int) []Match { return scan(nil, b, limit, 0) }

// Append is Scan into a slice of the caller's, which saves the allocation.
func Append(dst []Match, b []byte, limit int) []Match { return scan(dst, b, limit, 0) }

// Kinds of bytes, as bits.
const (
	kLower = 1 << iota
	kUpper
	kDigit
	kUnder // '_', which joins words of identifiers
	kWord  = kLower | kUpper | kDigit | kUnder
)

var kinds = func() (k [256]byte) {
	for c := '0'; c <= '9'; c++ {
		k[c] = kDigit
	}
	for c := 'a'; c <= 'z'; c++ {
		k[c] = kLower
		k[c-32] = kUpper
	}
	k['_'] = kUnder
	return k
}()

func isWord(c byte) bool  { return kinds[c] != 0 }
func isDigit(c byte) bool { return kinds[c] == kDigit }
func isAlnum(c byte) bool { return kinds[c]&(kLower|kUpper|kDigit) != 0 }

// scan is one pass. Runs of separators and plain words, which are nearly all of
// a body, cost a table look-up a byte; only words that hold a digit, very long
// ones, and the bytes @ : = start a closer look. given is added to the topics
// found beside each value.
func scan(dst []Match, b []byte, limit int, given topic) []Match {
	base := len(dst)
	floor := 0 // end of the last match: nothing starts before it
	add := func(c Class, start, end int, sure Confidence) int {
		dst = append(dst, Match{c, start, end, sure})
		floor = end
		return end
	}
	for i := 0; i < len(b); {
		if limit > 0 && len(dst)-base >= limit {
			break
		}
		c := b[i]
		k := kinds[c]
		if k == 0 {
			switch c {
			case '@':
				if start, end, ok := email(b, i, floor); ok {
					i = add(Email, start, end, Strong)
					continue
				}
				if start, end, ok := userinfo(b, i, floor); ok {
					add(Credential, start, end, Strong)
				}
			case ':', '=':
				if m, next, ok := member(b, i); ok {
					i = add(m.Class, m.Start, m.End, m.Confidence)
					i = next
					continue
				}
				if c == ':' && i+2 < len(b) && b[i+1] == ':' && (i == 0 || !isWord(b[i-1]) && b[i-1] != ':') {
					if end := addressSpan(b, i); end > i+4 {
						if class, n := ipv6(b[i:end]); class != "" {
							i = add(class, i, i+n, Strong)
							continue
						}
					}
				}
			case '-':
				if bytes.HasPrefix(b[i:], []byte("-----BEGIN ")) {
					if end, ok := pem(b, i); ok {
						i = add(PrivateKey, i, end, Certain)
						continue
					}
				}
			case '+', '(':
				if i+4 < len(b) && (isDigit(b[i+1]) || b[i+1] == '(') && (i == 0 || !isWord(b[i-1])) {
					if m, ok := numbers(b, i, given); ok {
						i = add(m.Class, m.Start, m.End, m.Confidence)
						continue
					}
				}
			}
			i++
			continue
		}
		// A word: b[i:j].
		j, seen := i+1, k
		for j < len(b) && kinds[b[j]] != 0 {
			seen |= kinds[b[j]]
			j++
		}
		n := j - i
		switch {
		case seen&kDigit == 0 && n < 16:
			// A plain word. Three of them announce a credential, and coordinates carry a minus sign.
			if j < len(b) && b[j] == ' ' && (n == 6 && bytes.EqualFold(b[i:j], []byte("bearer")) || n == 5 && bytes.EqualFold(b[i:j], []byte("basic"))) {
				if m, ok := scheme(b, i, j); ok {
					i = add(m.Class, m.Start, m.End, m.Confidence)
					continue
				}
			}
			if j < len(b) && b[j] == ':' && n <= 4 && hexOnly(b[i:j]) || n == 2 && j < len(b) && b[j] == '-' && hexOnly(b[i:j]) {
				if m, ok := colons(b, i); ok {
					i = add(m.Class, m.Start, m.End, m.Confidence)
					continue
				}
			}
			if n == 2 && j+1 < len(b) && b[j] == ' ' && isDigit(b[j+1]) {
				if m, ok := identifier(b, i, j, given); ok {
					i = add(m.Class, m.Start, m.End, m.Confidence)
					continue
				}
			}
			if n >= 2 && n <= 8 && j < len(b) && (b[j] == '-' || b[j] == '.') {
				if m, ok := token(b, i, j, seen, given); ok {
					i = add(m.Class, m.Start, m.End, m.Confidence)
					continue
				}
			}
		default:
			m, ok := Match{}, false
			if k == kDigit {
				m, ok = numbers(b, i, given)
			}
			if !ok && n <= 4 && j < len(b) && (b[j] == ':' || b[j] == '-') {
				m, ok = colons(b, i)
			}
			if !ok {
				m, ok = token(b, i, j, seen, given)
			}
			if ok && m.Start >= floor {
				i = add(m.Class, m.Start, m.End, m.Confidence)
				continue
			}
			if k == kDigit && seen == kDigit && j < len(b) && b[j] == '.' {
				// The rest of a dotted number that was looked at as a whole: 1.2.3.4 must not be read again as 2.3.4.
				for j < len(b) && (isDigit(b[j]) || b[j] == '.' && j+1 < len(b) && isDigit(b[j+1])) {
					j++
				}
			}
		}
		i = j
	}
	return dst
}

func hexOnly(w []byte) bool {
	for _, c := range w {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// email widens from the '@' at i.
func email(b []byte, i, floor int) (start, end int, ok bool) {
	start = i
	for start > floor && i-start < 64 {
		c := b[start-1]
		if isAlnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-' || c == '\'' && start-1 > floor && isAlnum(b[start-2]) || c >= 0x80 {
			start--
			continue
		}
		break
	}
	for start < i && (b[start] == '.' || b[start] == '-') {
		start++
	}
	if start == i || b[i-1] == '.' || start >= 3 && b[start-1] == ':' && userinfoBefore(b, start-1) {
		return 0, 0, false
	}
	end = i + 1
	dot := -1
	for end < len(b) && end-i < 254 {
		c := b[end]
		if isAlnum(c) || c == '-' || c >= 0x80 {
			end++
			continue
		}
		if c == '.' && end+1 < len(b) && (isAlnum(b[end+1]) || b[end+1] >= 0x80) && end > i+1 {
			dot = end
			end++
			continue
		}
		break
	}
	// The last label is a top-level domain: letters, two or more.
	if dot < 0 || end-dot < 3 {
		return 0, 0, false
	}
	for _, c := range b[dot+1 : end] {
		if isDigit(c) && !bytes.HasPrefix(b[dot+1:end], []byte("xn--")) {
			return 0, 0, false
		}
	}
	// app@2.png and the like are file names.
	if host := b[i+1 : end]; bytes.EqualFold(host, []byte("openssh.com")) || bytes.EqualFold(host, []byte("libssh.org")) {
		return 0, 0, false // chacha20-poly1305@openssh.com is an algorithm
	}
	for _, kind := range [...]string{"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "map", "json"} {
		if last := b[dot+1 : end]; len(last) == len(kind) && bytes.EqualFold(last, []byte(kind)) {
			return 0, 0, false
		}
	}
	return start, end, true
}

// userinfoBefore reports whether the ':' at i ends a user name of a URL.
func userinfoBefore(b []byte, i int) bool {
	for k := i - 1; k >= 2 && i-k < 64; k-- {
		if b[k] == '/' {
			return b[k-1] == '/' && b[k-2] == ':'
		}
		if b[k] <= ' ' || b[k] == '"' {
			return false
		}
	}
	return false
}

// userinfo finds scheme://user:password@ before the '@' at i; the match is the password.
func userinfo(b []byte, i, floor int) (start, end int, ok bool) {
	for k := i - 1; k > floor+2 && i-k < 160; k-- {
		switch c := b[k]; {
		case c == ':' && start == 0:
			start = k + 1
		case c == '/':
			return start, i, start > 0 && i-start >= 3 && b[k-1] == '/' && b[k-2] == ':' && held(b[start:i])
		case c <= ' ' || c == '"' || c == '<' || c == '@':
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// pem finds the end of a private key block that begins at i.
func pem(b []byte, i int) (int, bool) {
	head := b[i+11:]
	line := bytes.Index(head[:min(len(head), 48)], []byte("-----"))
	if line < 0 || !bytes.Contains(head[:line], []byte("PRIVATE KEY")) {
		return 0, false
	}
	tail := bytes.Index(head[line+5:], []byte("-----END "))
	if tail < 0 {
		return len(b), true // cut off: all that follows is the key
	}
	end := i + 11 + line + 5 + tail + 9
	if stop := bytes.Index(b[end:min(len(b), end+48)], []byte("-----")); stop >= 0 {
		end += stop + 5
	}
	return end, true
}

// member looks at name:value and name=value around the ':' or '=' at i.
func member(b []byte, i int) (m Match, next int, ok bool) {
	e := i
	for e > 0 && b[e-1] == ' ' && i-e < 4 {
		e--
	}
	quotedName := e > 0 && (b[e-1] == '"' || b[e-1] == '\'')
	if quotedName {
		e--
		if e > 0 && b[e-1] == '\\' { // JSON inside JSON
			e--
		}
	}
	s := e
	for s > 0 && e-s <= longestName && (isWord(b[s-1]) || b[s-1] == '-' || b[s-1] == '.') {
		s--
	}
	if e-s < 2 || e-s > longestName {
		return m, 0, false
	}
	meaning, known := meaningOf(b[s:e])
	if !known {
		return m, 0, false
	}
	v := i + 1
	for v < len(b) && (b[v] == ' ' || b[v] == '\t') && v-i < 8 {
		v++
	}
	if v >= len(b) {
		return m, 0, false
	}
	if b[v] == '\\' && v+1 < len(b) {
		v++
	}
	end := v
	quoted := b[v] == '"' || b[v] == '\''
	if quoted {
		q := b[v]
		v++
		end = v
		for end < len(b) && b[end] != q && end-v < maxValue {
			if b[end] == '\\' {
				if end+1 < len(b) && b[end+1] == q {
					if quotedName && s > 0 && b[s-1] == q && s > 1 && b[s-2] == '\\' {
						break
					}
					end++
				}
			}
			end++
		}
		end = min(end, len(b))
	} else {
		for end < len(b) && b[end] > ' ' && b[end] != ',' && b[end] != '}' && b[end] != ']' && b[end] != '&' && b[end] != ';' && b[end] != '"' && b[end] != '<' && end-v < maxValue {
			end++
		}
		if meaning.class == Bearer && end < len(b) && b[end] == ' ' && (bytes.EqualFold(b[v:end], []byte("bearer")) || bytes.EqualFold(b[v:end], []byte("basic"))) {
			return m, 0, false // the scheme's own rule finds it
		}
		if !quotedName && b[i] == ':' && (meaning.class != Password && !meaning.class.Secret()) {
			return m, 0, false // prose
		}
		if end < len(b) && b[end] == '[' || end == v {
			return m, 0, false
		}
	}
	if end <= v || !meaning.bare && !quoted && b[i] == ':' && meaning.class != Coordinates && meaning.class != PostalAddress {
		return m, 0, false
	}
	value := b[v:end]
	if bytes.HasPrefix(value, []byte("-----BEGIN")) || len(value) > 3 && string(value[:3]) == "eyJ" || !meaning.fits(value) {
		return m, 0, false // the value's own form says more, or it does not fit
	}
	if meaning.class == Bearer && (bytes.HasPrefix(value, []byte("Bearer ")) || bytes.HasPrefix(value, []byte("Basic "))) {
		return m, 0, false
	}
	if meaning.class == Secret || meaning.class == Bearer || meaning.class == AWSSecret {
		// A vendor's prefix names the token better than the field does.
		if class := vendor(value); class != "" {
			return Match{class, v, end, Certain}, end, true
		}
	}
	return Match{meaning.class, v, end, meaning.sure}, end, true
}
