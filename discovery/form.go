package discovery

import (
	"strings"
)

// A form is what a path segment looks like by itself.
type form uint8

// The forms. A decisive one makes the segment a value wherever it stands.
const (
	formWord    form = iota // letters, perhaps parted by - or _
	formVersion             // v4, v2.1, v4beta, 2024-01-01 at the front
	formTerm                // a word with digits that is a name: oauth2, ipv4, s3
	formSlug                // letters and digits mixed: us-east-1
	formNumber              // 1.29
	formFile                // a name with an ending that is a file's
	formDotted              // another name with dots
	// decisive from here on
	formInteger
	formUUID
	formHash
	formDate
	formAddress
	formEscaped
	formEmail
	formMasked
	formToken
	formLong
	formSpecial
)

func (f form) decisive() bool { return f >= formInteger }

var formNames = [...]string{"word", "version", "term", "slug", "number", "file", "dotted name", "integer", "uuid", "hash", "date", "address", "escaped value", "e-mail address", "redacted value", "token", "long value", "punctuated value"}

func (f form) String() string { return formNames[f] }

// terms are words with digits that name things.
var terms = map[string]bool{
	"oauth2": true, "oauth1": true, "ipv4": true, "ipv6": true, "s3": true, "ec2": true, "k8s": true, "i18n": true, "l10n": true, "a11y": true, "mp3": true, "mp4": true,
	"base64": true, "base32": true, "sha1": true, "sha256": true, "sha512": true, "md5": true, "2fa": true, "tfa": true, "mfa": true, "u2f": true, "x509": true, "h264": true, "web3": true,
	"utf8": true, "p2p": true, "b2b": true, "b2c": true, "c2c": true, "e2e": true, "o365": true, "m365": true, "d3": true, "gen2": true, "log4j": true, "fido2": true, "webp": true, "saml2": true,
	"http2": true, "http3": true, "sse2": true, "tier1": true, "tier2": true, "level3": true, "3ds": true, "3d": true, "2d": true, "4k": true, "5g": true, "4g": true, "ga4": true, "pop3": true, "imap4": true, "neo4j": true, "auth0": true, "route53": true, "r2": true, "b2": true, "0auth": true, "grade1": true, "covid19": true, "iso8601": true, "iso3166": true, "w3c": true, "e911": true,
}

var fileEndings = map[string]bool{"json": true, "xml": true, "html": true, "htm": true, "yaml": true, "yml": true, "txt": true, "js": true, "css": true, "php": true, "asp": true, "aspx": true, "jsp": true, "do": true, "action": true, "ico": true, "csv": true, "pdf": true, "png": true, "svg": true, "cgi": true, "wsdl": true, "ashx": true, "svc": true, "asmx": true, "rss": true, "atom": true, "map": true}

// formOf judges s, an escaped path segment, by itself.
func formOf(s string) form {
	var lower, upper, digits, hyphens, under, dots, other, hexLetters, colons, escapes, at int
	maxRun, run := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' {
			digits++
			run++
			maxRun = max(maxRun, run)
			continue
		}
		run = 0
		switch {
		case c >= 'a' && c <= 'z':
			lower++
			if c <= 'f' {
				hexLetters++
			}
		case c >= 'A' && c <= 'Z':
			upper++
			if c <= 'F' {
				hexLetters++
			}
		case c == '-':
			hyphens++
		case c == '_':
			under++
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c == '%':
			escapes++
		case c == '@':
			at++
		default:
			other++
		}
	}
	letters := lower + upper
	switch {
	case strings.Contains(s, "\xe2\x80\xb9") || strings.Contains(s, "%E2%80%B9"):
		return formMasked
	case len(s) > 120:
		return formLong
	case at == 1 && dots > 0 && s[0] != '@':
		return formEmail
	case digits > 0 && letters == 0 && other+escapes+under+at == 0 && colons == 0:
		switch {
		case dots == 0 && hyphens == 0, hyphens == 1 && s[0] == '-' && dots == 0:
			return formInteger
		case dots == 3 && hyphens == 0:
			return formAddress
		case dots <= 2 && hyphens == 0 && dots > 0:
			return formNumber
		case hyphens == 2 && dots == 0 && isDate(s):
			return formDate
		case hyphens > 0 && digits >= 6:
			return formToken
		}
		return formNumber
	case colons >= 2 && letters == hexLetters && other+under+at == 0:
		return formAddress
	case digits >= 12 && len(s) >= 19 && (s[10] == 'T' || s[10] == 't') && isDate(s[:10]):
		return formDate
	case escapes > 0:
		return formEscaped
	case other > 0 || colons > 0 || at > 0:
		return formSpecial
	case version(s):
		if dots >= 2 {
			return formNumber // v1.0.0 names a release and not an interface
		}
		return formVersion
	}
	allHex := letters == hexLetters && dots+under == 0
	if allHex && digits > 0 {
		switch {
		case hyphens == 4 && len(s) >= 34 && len(s) <= 38, hyphens == 0 && len(s) == 32, hyphens >= 3 && digits+letters >= 24:
			return formUUID
		case hyphens == 0 && len(s) >= 12 && digits >= 3, hyphens == 0 && len(s) >= 7 && digits >= 3 && letters >= 1 && lower*upper == 0 && digits*4 >= len(s):
			return formHash
		case hyphens >= 1 && digits+letters >= 12 && digits >= 6:
			return formToken
		}
	}
	if digits > 0 && letters > 0 && dots == 0 {
		if terms[strings.ToLower(s)] {
			return formTerm
		}
		// Random letters and digits: case and digits change often.
		if n := changes(s); hyphens+under == 0 && len(s) >= 10 && n >= 4 || len(s) >= 16 && n >= 6 && lower > 0 && (upper > 0 || digits >= 5) || len(s) >= 20 && upper > 0 && digits > 0 && n >= 5 {
			return formToken
		}
		if hyphens+under == 0 && len(s) <= 6 && maxRun <= 1 && s[0] > '9' {
			return formTerm
		}
		return formSlug
	}
	if letters >= 22 && hyphens+under+dots == 0 && lower > 0 && upper > 0 && changes(s) >= 8 {
		return formToken
	}
	if dots > 0 {
		if fileEndings[strings.ToLower(s[strings.LastIndexByte(s, '.')+1:])] {
			return formFile
		}
		return formDotted
	}
	return formWord
}

// changes counts where s turns between letters and digits or between cases, but for a capital after a small letter or at the front.
func changes(s string) int {
	kind := func(c byte) int {
		switch {
		case c >= '0' && c <= '9':
			return 1
		case c >= 'a' && c <= 'z':
			return 2
		case c >= 'A' && c <= 'Z':
			return 3
		}
		return 0
	}
	n := 0
	for i := 1; i < len(s); i++ {
		a, b := kind(s[i-1]), kind(s[i])
		if a != b && a != 0 && b != 0 && !(a == 3 && b == 2) {
			n++
		}
	}
	return n
}

// version reports whether s is a version: v4, v4beta, v2.1, v1alpha1.
func version(s string) bool {
	if len(s) < 2 || len(s) > 12 || s[0] != 'v' && s[0] != 'V' || s[1] < '0' || s[1] > '9' {
		return false
	}
	rest := strings.TrimLeft(s[1:], "0123456789.")
	rest = strings.TrimRight(rest, "0123456789")
	switch strings.ToLower(strings.Trim(rest, "-_.")) {
	case "", "alpha", "beta", "rc", "preview", "pre", "dev":
		return true
	}
	return false
}

func isDate(s string) bool {
	p := strings.Split(s, "-")
	return len(p) == 3 && (len(p[0]) == 4 && (s[0] == '1' || s[0] == '2') && len(p[1]) == 2 && len(p[2]) == 2 || len(p[2]) == 4 && len(p[0]) == 2 && len(p[1]) == 2)
}

// actions are last segments that name what is done or a view, and seldom a value.
var actions = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`me self current mine own all any none new latest search find query count stats status health healthz ready
		ping info version versions config settings preferences profile login logout signin signup signout register token tokens refresh verify validate
		confirm reset cancel enable disable activate deactivate start stop restart reboot resume pause close open lock unlock archive unarchive publish
		unpublish approve reject accept decline assign unassign attach detach add remove delete create update edit copy clone move rename merge split
		sync import export upload download preview batch bulk history audit logs events metrics report reports summary details list items types
		categories tags labels comments notes files images photos attachments members users groups roles permissions access keys password share
		subscribe unsubscribe send receive resend retry run execute trigger test check apply order orders cart checkout pay payments invoice invoices refund
		transfer balance usage quota limits default schema schemas docs swagger openapi graphql rest api admin internal public private auth oauth
		webhook webhooks callback callbacks notifications messages messages feed home dashboard feedback help support about terms legal
		v1 v2 ips ip dns ssl tls cert certs certificate certificates rules policies policy backups backup snapshots volumes disks nodes pools clusters regions
		zones devices interfaces networks subnets firewalls instances services service jobs tasks queue queues topics channels threads`) {
		m[w] = true
	}
	return m
}()

func plural(s string) bool {
	if s == "ips" || s == "ids" || s == "vms" {
		return true
	}
	return len(s) > 3 && s[len(s)-1] == 's' && s[len(s)-2] != 's' && s != "status" && !strings.HasSuffix(s, "access")
}

// argument names a parameter after the literal before it: instances → instanceId.
func argument(before string) string {
	s := before
	switch {
	case s == "":
		s = "value"
	case strings.HasSuffix(s, "ies") && len(s) > 4:
		s = s[:len(s)-3] + "y"
	case strings.HasSuffix(s, "sses"), strings.HasSuffix(s, "xes"), strings.HasSuffix(s, "ches"), strings.HasSuffix(s, "shes"):
		s = s[:len(s)-2]
	case plural(s):
		s = s[:len(s)-1]
	}
	var b strings.Builder
	up := false
	for i := 0; i < len(s) && b.Len() < 32; i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && b.Len() > 0:
			if up && c >= 'a' && c <= 'z' {
				c -= 32
			}
			b.WriteByte(c)
			up = false
		default:
			up = b.Len() > 0
		}
	}
	if b.Len() == 0 {
		return "valueId"
	}
	return b.String() + "Id"
}
