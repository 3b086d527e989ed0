package observe

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"

	"sallyport.dev"
	"sallyport.dev/classify"
)

// RedactOptions name what is kept and what is always replaced, beyond what is
// built in. Names compare without case.
type RedactOptions struct {
	KeepHeaders   []string // header fields whose values are kept
	SecretHeaders []string // header fields whose values are always replaced
	SecretNames   []string // parameters whose values are always replaced
}

// A Redactor takes secrets and personal data out of exchanges. It is safe for
// concurrent use.
type Redactor struct {
	headers map[string]headerRule // by lower-case name, and by the usual spelling
	names   map[string]bool       // sensitive parameter names, folded
	words   commons               // values that many share
	clean   memo                  // header values and parameters in which nothing was found
}

// A memo remembers texts that were looked through and need no change, so that a
// browser's name is not read again with every request. It is of fixed size: a
// text has two places, and now and then takes one from another. It never holds
// anything that was replaced.
type memo struct {
	seed  maphash.Seed
	slots [1 << 10]atomic.Pointer[string]
}

func (m *memo) places(h uint64) (a, b *atomic.Pointer[string]) {
	return &m.slots[h%uint64(len(m.slots))], &m.slots[(h>>32)%uint64(len(m.slots))]
}

// has reports whether s was added, and gives the hash to add it with.
func (m *memo) has(s string) (bool, uint64) {
	h := maphash.String(m.seed, s)
	a, b := m.places(h)
	if t := a.Load(); t != nil && *t == s {
		return true, h
	}
	t := b.Load()
	return t != nil && *t == s, h
}

// add takes s in where there is room, and else one time in sixteen: what comes
// often gets in soon, what comes once pushes little out.
func (m *memo) add(s string, h uint64) {
	a, b := m.places(h)
	slot := a
	if a.Load() != nil {
		slot = b
		if b.Load() != nil {
			dice := rand.Uint32()
			if dice&15 != 0 {
				return
			}
			if dice&16 != 0 {
				slot = a
			}
		}
	}
	s = strings.Clone(s)
	slot.Store(&s)
}

type headerRule uint8

const (
	headerKeep headerRule = iota + 1
	headerSecret
)

// Bounds of what is kept of one text; longer ones are cut.
const (
	keepPath   = 2048
	keepQuery  = 2048
	keepValue  = 256 // header values, names
	keepParams = 128 // parameters of a query
)

var keptHeaders = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	"Access-Control-Request-Headers", "Access-Control-Request-Method", "Age", "Allow", "Api-Version", "Cache-Control", "Connection", "Content-Disposition",
	"Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Security-Policy", "Content-Type", "Date", "Deprecation",
	"Dnt", "Expect", "Expires", "Host", "If-Modified-Since", "If-Unmodified-Since", "Last-Modified", "Max-Forwards", "Origin", "Pragma", "Prefer",
	"Range", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Referrer-Policy", "Retry-After", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile",
	"Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Server", "Server-Timing",
	"Strict-Transport-Security", "Sunset", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Vary", "Via",
	"Www-Authenticate", "X-Api-Version", "X-Content-Type-Options", "X-Frame-Options", "X-Powered-By", "X-Ratelimit-Limit", "X-Ratelimit-Remaining",
	"X-Ratelimit-Reset", "X-Requested-With", "X-Xss-Protection",
}

var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "Authentication-Info", "Cookie", "Set-Cookie", "Cookie2", "Set-Cookie2", "X-Api-Key", "Api-Key", "Apikey", "X-Apikey",
	"X-Auth-Token", "X-Auth", "X-Access-Token", "X-Token", "X-Csrf-Token", "X-Xsrf-Token", "X-Session-Id", "X-Session-Token", "X-Amz-Security-Token",
	"X-Vault-Token", "X-Gitlab-Token", "X-Goog-Api-Key", "X-Functions-Key", "Ocp-Apim-Subscription-Key", "X-Amzn-Oidc-Data", "X-Forwarded-Client-Cert",
	"X-Forwarded-Access-Token", "Dpop", "X-Hub-Signature", "X-Hub-Signature-256", "X-Signature", "Private-Token", "Job-Token", "Sec-Websocket-Key",
}

// sensitive names, folded: lower case, without separators.
var sensitiveNames = []string{
	"password", "passwd", "passphrase", "pass", "pwd", "newpassword", "oldpassword", "currentpassword", "confirmpassword", "secret", "clientsecret",
	"token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "resettoken", "csrftoken", "xsrftoken", "bearer", "bearertoken", "jwt",
	"apikey", "appkey", "key", "apitoken", "privatekey", "secretkey", "accesskey", "subscriptionkey", "auth", "authorization", "authentication",
	"session", "sessionid", "sid", "phpsessid", "jsessionid", "code", "authcode", "otp", "totp", "mfacode", "pin", "cvv", "cvc", "cvv2", "csc", "signature", "sig",
	"hmac", "assertion", "clientassertion", "samlresponse", "samlrequest", "credential", "credentials", "nonce", "codeverifier", "codechallenge", "sas", "ticket",
	"xamzsignature", "xamzsecuritytoken", "xamzcredential", "xgoogsignature", "xgoogcredential", "cardnumber", "pan", "iban", "ssn",
}

// sensitive path segments: what follows one is a secret if it can be one.
var sensitiveSegments = map[string]bool{
	"reset": true, "resetpassword": true, "passwordreset": true, "token": true, "tokens": true, "invite": true, "invitation": true, "invitations": true, "verify": true,
	"verification": true, "confirm": true, "confirmation": true, "activate": true, "activation": true, "unsubscribe": true, "magiclink": true, "session": true,
	"sessions": true, "apikey": true, "secret": true, "secrets": true, "share": true, "shared": true, "webhook": true, "webhooks": true, "hook": true, "hooks": true, "signature": true,
}

const (
	markOpen  = "‹"
	markClose = "›"
)

// mark is what stands in the place of a value of a class.
func mark(class string) string { return markOpen + class + markClose }

var (
	markSecret = mark("secret")
	markCut    = mark("cut")
)

// NewRedactor compiles o. A header field that is both kept and secret is an error.
func NewRedactor(o RedactOptions) (*Redactor, error) {
	r := &Redactor{headers: map[string]headerRule{}, names: map[string]bool{}}
	r.clean.seed = maphash.MakeSeed()
	r.words = commons{seed: maphash.MakeSeed(), places: map[uint64]*wordPlace{}}
	set := func(list []string, rule headerRule) {
		for _, name := range list {
			r.headers[name] = rule
			r.headers[strings.ToLower(name)] = rule
		}
	}
	set(keptHeaders, headerKeep)
	set(o.KeepHeaders, headerKeep)
	set(secretHeaders, headerSecret)
	set(o.SecretHeaders, headerSecret)
	for _, keep := range o.KeepHeaders {
		for _, never := range slices.Concat(secretHeaders, o.SecretHeaders) {
			if strings.EqualFold(keep, never) {
				return nil, fmt.Errorf("redact: the values of header field %s cannot be kept: it carries secrets", keep)
			}
		}
	}
	for _, name := range slices.Concat(sensitiveNames, o.SecretNames) {
		r.names[fold(name)] = true
	}
	return r, nil
}

var builtin = func() *Redactor {
	r, err := NewRedactor(RedactOptions{})
	if err != nil {
		panic(err)
	}
	return r
}()

// Redact is Redactor.Redact with nothing configured; adapters call it on entry.
func Redact(x *sallyport.Exchange) { builtin.Redact(x) }

// Redact replaces in place, in every part of x, what must not be written: the
// values of header fields other than the kept ones, the values of parameters
// with sensitive names, and path segments, values and names that are, or look
// like, secrets or personal data. Each is replaced by a mark that names its
// class: "‹jwt›". Texts are cut to bounds and hold neither control characters
// nor broken UTF-8 afterwards. Classes and Shape are filled from the bodies,
// which are dropped. Afterwards x.Redacted is true; a second call does nothing.
func (r *Redactor) Redact(x *sallyport.Exchange) {
	if x.Redacted {
		return
	}
	r.bodies(x)
	r.fields(x.RequestHeader)
	r.fields(x.ResponseHeader)
	x.Path = r.path(x.Path)
	x.Query = r.query(x.Query)
	x.ID = clean(x.ID, 64)
	x.Host = text(x.Host, keepValue)
	if strings.IndexByte(x.Instance, '@') >= 0 { // an address with credentials in it
		x.Instance = text(x.Instance, keepValue)
	}
	if len(x.Method) > 20 {
		x.Method = mark("method")
	}
	x.Method = text(x.Method, 20)
	x.Proto = text(x.Proto, 20)
	x.Template = clean(x.Template, keepPath)
	x.Call = text(x.Call, 64)
	x.Principal.Subject = clean(x.Principal.Subject, keepValue)
	x.Principal.Issuer = clean(x.Principal.Issuer, keepValue)
	x.Principal.Client = clean(x.Principal.Client, keepValue)
	x.Principal.Actor = clean(x.Principal.Actor, keepValue)
	r.places(x.Undocumented)
	for i := range x.Decision.Reasons {
		reason := &x.Decision.Reasons[i]
		reason.Place.Name = name(reason.Place.Name)
		reason.Detail = text(reason.Detail, keepValue)
		reason.Class = clean(reason.Class, keepValue)
	}
	for i, s := range x.Decision.NotInspected {
		x.Decision.NotInspected[i] = text(s, keepValue)
	}
	x.Redacted = true
}

func (r *Redactor) places(places []sallyport.Place) {
	for i := range places {
		places[i].Name = name(places[i].Name)
	}
}

func (r *Redactor) fields(fields []sallyport.Field) {
	for i := range fields {
		f := &fields[i]
		rule, known := r.headers[f.Name]
		if !known {
			var room [64]byte
			rule, known = r.headers[string(lower(room[:0], f.Name))]
		}
		switch rule {
		case headerKeep:
			if known, hash := r.clean.has(f.Value); !known {
				value := text(f.Value, keepValue)
				if value == f.Value {
					r.clean.add(value, hash)
				}
				f.Value = value
			}
		case headerSecret:
			f.Value = markSecret
		default:
			f.Value = ""
		}
		if !known {
			f.Name = name(f.Name)
		}
	}
}

// lower appends name in small letters.
func lower(b []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

// text is s as free text: secrets and personal data in it replaced where they
// stand.
func text(s string, limit int) string {
	if s == "" {
		return s
	}
	if len(s) > limit {
		s = cut(s, limit)
	}
	look := survey(s)
	if look == plain {
		return s
	}
	if look&dirty != 0 {
		s = scrub(s)
	}
	if look&suspect == 0 {
		return s
	}
	var room [8]classify.Match
	matches := classify.Append(room[:0], bytesIn(s), 0)
	var b strings.Builder
	at := 0
	for _, m := range matches {
		if address(m.Class) {
			continue // versions of programs look like addresses
		}
		b.WriteString(s[at:m.Start])
		b.WriteString(mark(string(m.Class)))
		at = m.End
	}
	if at > 0 {
		b.WriteString(s[at:])
		s = b.String()
	}
	// What no rule knows may still be a token.
	return words(s)
}

// words replaces every word of s that looks like a token.
func words(s string) string {
	var b strings.Builder
	at := 0
	for i := 0; i < len(s); {
		if !tokenByte[s[i]] {
			i++
			continue
		}
		j := i
		for j < len(s) && tokenByte[s[j]] {
			j++
		}
		if w := s[i:j]; len(w) >= 16 && random(w, false) {
			b.WriteString(s[at:i])
			b.WriteString(markSecret)
			at = j
		}
		i = j
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

func address(c classify.Class) bool {
	return c == classify.IPv4 || c == classify.IPv6 || c == classify.MAC || c == classify.Coordinates
}

// name is s as a name: of a parameter, a member, a place (a JSON pointer).
func name(s string) string {
	if s == "" {
		return s
	}
	if len(s) > keepValue {
		s = cut(s, keepValue)
	}
	look := survey(s)
	if look == plain {
		return s
	}
	if look&dirty != 0 {
		s = scrub(s)
	}
	if look&suspect == 0 {
		return s
	}
	if !strings.Contains(s, "/") {
		if class := secretIn("", s, true, true); class != "" {
			return mark(class)
		}
		return s
	}
	parts := strings.Split(s, "/")
	for i, p := range parts {
		if class := secretIn("", p, true, true); class != "" {
			parts[i] = mark(class)
		}
	}
	return strings.Join(parts, "/")
}

// path replaces the segments of an escaped path that are secret or personal.
func (r *Redactor) path(s string) string {
	if s == "" {
		return s
	}
	cutOff := len(s) > keepPath
	if cutOff {
		s = s[:keepPath]
		if i := strings.LastIndexByte(s, '/'); i > 0 {
			s = s[:i] // half a segment may be half a secret
		} else {
			s = ""
		}
	}
	var b strings.Builder
	at, before := 0, ""
	for i := 0; i < len(s); {
		if s[i] == '/' {
			i++
			continue
		}
		j := i
		for j < len(s) && s[j] != '/' {
			j++
		}
		seg := s[i:j]
		if m := r.segment(before, seg); m != "" {
			b.WriteString(s[at:i])
			b.WriteString(m)
			at = j
		}
		before = seg
		i = j
	}
	if at > 0 {
		b.WriteString(s[at:])
		s = b.String()
	}
	if cutOff {
		s += "/" + markCut
	}
	return s
}

// segment is what replaces seg, "" when it may stay. before is the segment
// before it, which names it.
func (r *Redactor) segment(before, seg string) string {
	look := survey(seg)
	if look == plain {
		return ""
	}
	// Matrix parameters: ;jsessionid=…
	if head, params, ok := strings.Cut(seg, ";"); ok && strings.Contains(params, "=") {
		if m := r.segment(before, head); m != "" {
			head = m
		}
		return head + ";" + r.pairs(params, ';')
	}
	decoded := seg
	if strings.IndexByte(seg, '%') >= 0 {
		if d, err := url.PathUnescape(seg); err == nil {
			decoded = d
		}
	}
	if look&suspect != 0 {
		if class := secretIn(before, decoded, true, true); class != "" {
			return mark(class)
		}
		if len(decoded) >= 16 && sensitiveSegments[fold(before)] && !uuid(decoded) && hasDigit(decoded) {
			return markSecret
		}
	}
	if look&dirty != 0 {
		return scrub(seg)
	}
	return ""
}

// query replaces the values of a raw query that are secret or personal.
func (r *Redactor) query(s string) string {
	if s == "" {
		return s
	}
	cutOff := len(s) > keepQuery
	if cutOff {
		s = s[:keepQuery]
		s = s[:strings.LastIndexByte(s, '&')+1]
	}
	s = r.pairs(s, '&')
	if cutOff {
		s += markCut
	}
	return s
}

func (r *Redactor) pairs(s string, separator byte) string {
	var b strings.Builder
	at := 0
	put := func(from, to int, with string) {
		b.WriteString(s[at:from])
		b.WriteString(with)
		at = to
	}
	n := 0
	for i := 0; i <= len(s); n++ {
		if n == keepParams {
			put(i, len(s), markCut)
			break
		}
		j, eq := i, -1
		for j < len(s) && s[j] != separator {
			if s[j] == '=' && eq < 0 {
				eq = j
			}
			j++
		}
		end := j
		if eq < 0 {
			eq = end
		}
		pair := s[i:end]
		known, hash := r.clean.has(pair)
		if known {
			i = end + 1
			continue
		}
		changed := false
		key := s[i:eq]
		if look := survey(key); look != plain {
			key = unescape(key)
			if clean := name(key); clean != key {
				put(i, eq, clean)
				changed = true
			}
		}
		if eq+1 < end {
			if m := r.value(key, s[eq+1:end]); m != "" {
				put(eq+1, end, m)
				changed = true
			}
		}
		if !changed {
			r.clean.add(pair, hash)
		}
		i = end + 1
	}
	if at == 0 && b.Len() == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

// value is what replaces a raw value of a parameter, "" when it may stay.
func (r *Redactor) value(key, raw string) string {
	if r.sensitive(key) {
		return markSecret
	}
	look := survey(raw)
	decoded := raw
	if look != plain {
		decoded = unescape(raw)
	}
	if class := secretIn(key, decoded, look&suspect != 0, false); class != "" {
		return mark(class)
	}
	if look&dirty != 0 {
		return scrub(raw)
	}
	return ""
}

// sensitive reports whether a parameter's name says that its value is a secret.
func (r *Redactor) sensitive(key string) bool {
	var room [32]byte
	if len(key) > len(room) {
		key = key[len(key)-len(room):]
	}
	folded := room[:0]
	upper := 0
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			folded = append(folded, c)
		case c >= 'A' && c <= 'Z':
			upper++
			folded = append(folded, c|0x20)
		}
	}
	if r.names[string(folded)] {
		return true
	}
	// user_password, X-Amz-Signature, shopToken …
	for _, tail := range [...]string{"password", "passwd", "secret", "token", "apikey", "signature", "privatekey", "accesskey", "credential", "sessionid"} {
		if len(folded) > len(tail) && string(folded[len(folded)-len(tail):]) == tail {
			return true
		}
	}
	return false
}

func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			return c
		case c >= 'A' && c <= 'Z':
			return c | 0x20
		}
		return -1
	}, name)
}

// secretIn is the class of what stands in the whole of value, or in a part of
// it: "" when it is harmless. key names the value and may speak against it;
// closely says whether to look for what no name announces, ids whether object
// ids may stand there.
func secretIn(key, value string, closely, ids bool) string {
	if value == "" {
		return ""
	}
	if key != "" {
		if class, sure := classify.Field(key, bytesIn(value)); class != "" && sure >= classify.Likely {
			return string(class)
		}
	}
	if !closely || uuid(value) {
		return ""
	}
	var room [4]classify.Match
	if matches := classify.Append(room[:0], bytesIn(value), 1); len(matches) > 0 {
		return string(matches[0].Class)
	}
	for i := 0; i < len(value); {
		j := i
		for j < len(value) && tokenByte[value[j]] {
			j++
		}
		if j-i >= 16 && random(value[i:j], ids) {
			return "secret"
		}
		i = j + 1
	}
	return ""
}

// bytesIn are the bytes of s itself, for functions that only read them.
func bytesIn(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// unescape decodes a component of a query as a framework would.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

// What survey says about a text.
const (
	plain   = 0
	suspect = 1 << iota // long words, many digits, or signs that secrets and personal data stand beside
	dirty               // control characters, or bytes that are not UTF-8
)

// kinds of bytes for survey and random.
const (
	bLower = 1 << iota
	bUpper
	bDigit
	bToken // may stand in a token besides letters and digits
	bSign  // @ % : = : something may be near
	bOther // not printable ASCII
)

var bytesOf = func() (k [256]uint8) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z':
			k[c] = bLower
		case c >= 'A' && c <= 'Z':
			k[c] = bUpper
		case c >= '0' && c <= '9':
			k[c] = bDigit
		case strings.IndexByte("-_+/.~", byte(c)) >= 0:
			k[c] = bToken
		case strings.IndexByte("@%:=", byte(c)) >= 0:
			k[c] = bSign
		case c < 0x20 || c >= 0x7f:
			k[c] = bOther
		}
	}
	return k
}()

var tokenByte = func() (t [256]bool) {
	for c := range 256 {
		t[c] = bytesOf[c]&(bLower|bUpper|bDigit) != 0 || strings.IndexByte("-_+/=~.", byte(c)) >= 0
	}
	t['.'], t['/'] = false, false // both join words far more often than they stand in tokens
	return t
}()

// survey is one cheap pass that clears most texts: short words, small numbers,
// dates. What it clears holds no long word, fewer than nine digits, and no sign.
func survey(s string) int {
	run, longest, digits, dots, signs := 0, 0, 0, 0, 0
	other := uint8(0)
	for i := 0; i < len(s); i++ {
		k := bytesOf[s[i]]
		if k&(bLower|bUpper|bDigit|bToken) != 0 {
			run++
			if k == bDigit {
				digits++
			} else if s[i] == '.' {
				dots++
			}
			continue
		}
		longest = max(longest, run)
		run = 0
		if k == bSign {
			signs++
		}
		other |= k
	}
	longest = max(longest, run)
	look := plain
	if longest >= 16 && (digits > 0 || longest >= 40) || digits >= 9 || signs > 0 || dots == 3 && digits >= 4 {
		look = suspect
	}
	if other&bOther != 0 {
		look |= dirty | suspect
	}
	return look
}

// random reports whether w, a word, looks as if a machine had drawn it: digits,
// capitals and small letters change places as often as they do by chance.
// Object ids in hexadecimal pass when ids are expected.
func random(w string, ids bool) bool {
	if len(w) < 16 || uuid(w) {
		return false
	}
	var kinds [256]bool
	digits, letters, changes, distinct := 0, 0, 0, 0
	upper, lower := false, false
	hexed := true
	before := uint8(0)
	parts := 0
	for i := 0; i < len(w); i++ {
		c := w[i]
		k := bytesOf[c]
		switch k {
		case bDigit:
			digits++
		case bLower, bUpper:
			letters++
			upper = upper || k == bUpper
			lower = lower || k == bLower
			if c|0x20 > 'f' {
				hexed = false
			}
		default:
			hexed = hexed && c == '-'
			parts++
			continue
		}
		if before != 0 && k != before {
			changes++
		}
		before = k
		if !kinds[c] {
			kinds[c] = true
			distinct++
		}
	}
	n := digits + letters
	if n < 16 || digits == 0 || letters == 0 || distinct < 8 {
		return false
	}
	if hexed {
		return !(ids && n <= 64) && n >= 32
	}
	if upper && lower {
		return changes*100 >= 42*n || n >= 40 && parts*12 <= n && changes*100 >= 25*n
	}
	return n >= 20 && digits >= 4 && changes*100 >= 28*n && parts*6 <= n
}

func uuid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := 0; i < 36; i++ {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return false
			}
		}
	}
	return true
}

func hasDigit(s string) bool {
	return strings.ContainsAny(s, "0123456789")
}

// clean is s within its bound and printable, without a look at what it means.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = cut(s, limit)
	}
	for i := 0; i < len(s); i++ {
		if bytesOf[s[i]] == bOther {
			return scrub(s)
		}
	}
	return s
}

// cut ends s at a boundary of characters and of words, so that half a secret
// does not pass for none.
func cut(s string, limit int) string {
	s = s[:limit]
	if i := strings.LastIndexAny(s, " /&;,"); i > 0 {
		s = s[:i]
	} else {
		s = ""
	}
	return s + markCut
}

// scrub makes control characters and broken UTF-8 visible as U+FFFD.
func scrub(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, control) < 0 {
		return s
	}
	return strings.Map(func(c rune) rune {
		if control(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

func control(c rune) bool { return c < 0x20 || c >= 0x7f && c < 0xa0 }
