package signed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/policy"
)

// hmac checks the signature of a webhook: HMAC-SHA-256 (RFC 2104) of a text made
// of the raw body and, where the style has one, the time.
func (s *signer) hmac(m *Message, now time.Time) (p Proof, rule string) {
	values := m.Header[s.header()]
	if len(values) != 1 || len(values[0]) > maxHeader {
		return p, RuleMalformed
	}
	signatures, stamp := []string{values[0]}, ""
	switch {
	case s.Style == policy.Stripe:
		var ok bool
		if stamp, signatures, ok = stripe(values[0]); !ok {
			return p, RuleMalformed
		}
	case s.TimestampHeader != "":
		stamps := m.Header[canonical(s.TimestampHeader)]
		if len(stamps) != 1 {
			return p, RuleTime
		}
		stamp = stamps[0]
	}
	if strings.Contains(s.Text, "{timestamp}") {
		at, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || strings.ContainsAny(stamp, "+-") {
			return p, RuleTime
		}
		if !within(at, s.Window, now) {
			return p, RuleTime
		}
		p.Until = time.Unix(at, 0).Add(s.Window)
	} else {
		p.Until = now.Add(s.Window)
	}
	before, after, _ := strings.Cut(s.Text, "{body}")
	before, after = strings.ReplaceAll(before, "{timestamp}", stamp), strings.ReplaceAll(after, "{timestamp}", stamp)
	rule = RuleMalformed
	for _, text := range signatures {
		text, ok := strings.CutPrefix(text, s.Prefix)
		if !ok {
			continue
		}
		var given []byte
		var err error
		if s.Encoding == policy.Base64 {
			given, err = base64.StdEncoding.Strict().DecodeString(text)
		} else {
			given, err = hex.DecodeString(text)
		}
		if err != nil || len(given) != sha256.Size {
			continue
		}
		rule = RuleWrong
		for _, k := range s.keys {
			if hmac.Equal(sum(sha256.New, k.secret, []byte(before), m.Body, []byte(after)), given) {
				if s.Once {
					p.Unique = string(given)
				}
				return p, ""
			}
		}
	}
	return p, rule
}

// stripe reads "t=1492774577,v1=5257…,v1=…": one time and some signatures, of
// which those of other versions do not count.
func stripe(value string) (stamp string, signatures []string, ok bool) {
	for part := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			if stamp != "" {
				return "", nil, false // two times: which one was signed?
			}
			stamp = v
		case "v1":
			signatures = append(signatures, v)
		}
	}
	return stamp, signatures, stamp != "" && len(signatures) > 0 && len(signatures) <= maxLabels
}

// canonical is a header's name as net/http writes it.
func canonical(name string) string {
	b := []byte(name)
	upper := true
	for i, c := range b {
		switch {
		case upper && c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		case !upper && c >= 'A' && c <= 'Z':
			b[i] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	return string(b)
}
