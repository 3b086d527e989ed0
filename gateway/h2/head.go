package h2

import (
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// head judges the fields of one block (RFC 9113 section 8).
type head struct {
	left    int // bytes that may still come; -1: too many have
	trailer bool
	regular bool // a field that is no pseudo-header has come
	rule    string

	method, scheme, authority, path, protocol string
	seen                                      uint8 // pseudo-headers, by bit
}

func (h *head) begin(most int, trailer bool) { *h = head{left: most, trailer: trailer} }

// of says of which request r is.
func (h *head) of(r *Refusal) {
	r.Method, r.Scheme, r.Host, r.Target = h.method, h.scheme, h.authority, h.path
}

// rules of a field section, with what is said of them.
var rules = map[string]string{
	"h2.head.bytes":       "the header is larger than allowed",
	"h2.field.name":       "a field's name is not one in lower case",
	"h2.field.value":      "a field's value holds what none may",
	"h2.field.connection": "a field speaks of the connection, which HTTP/2 has none of",
	"h2.field.te":         "TE says more than trailers",
	"h2.pseudo.late":      "a pseudo-header comes behind a field",
	"h2.pseudo.unknown":   "a pseudo-header is none of a request",
	"h2.pseudo.twice":     "a pseudo-header comes twice",
	"h2.pseudo.trailer":   "a pseudo-header comes behind the body",
	"h2.pseudo.missing":   "a pseudo-header that each request has is missing",
	"h2.pseudo.connect":   "CONNECT has other pseudo-headers than it may",
	"h2.target":           "the target is not a path",
}

func (h *head) broke(rule string) {
	if h.rule == "" {
		h.rule = rule
	}
}

// field is called for each field of the block.
func (h *head) field(f hpack.HeaderField) {
	if h.left < 0 {
		return
	}
	if n := int(f.Size()); n > h.left {
		h.left = -1
		return
	} else {
		h.left -= n
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) {
		h.broke("h2.field.value")
	}
	if strings.HasPrefix(f.Name, ":") {
		h.pseudo(f)
		return
	}
	h.regular = true
	if !validName(f.Name) {
		h.broke("h2.field.name")
		return
	}
	switch f.Name { // RFC 9113 section 8.2.2
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		h.broke("h2.field.connection")
	case "te":
		if f.Value != "trailers" {
			h.broke("h2.field.te")
		}
	}
}

func (h *head) pseudo(f hpack.HeaderField) {
	switch {
	case h.trailer:
		h.broke("h2.pseudo.trailer")
		return
	case h.regular:
		h.broke("h2.pseudo.late")
		return
	}
	var to *string
	var bit uint8
	switch f.Name {
	case ":method":
		to, bit = &h.method, 1
	case ":scheme":
		to, bit = &h.scheme, 2
	case ":authority":
		to, bit = &h.authority, 4
	case ":path":
		to, bit = &h.path, 8
	case ":protocol":
		to, bit = &h.protocol, 16
	default:
		h.broke("h2.pseudo.unknown")
		return
	}
	if h.seen&bit != 0 {
		h.broke("h2.pseudo.twice")
		return
	}
	h.seen |= bit
	*to = f.Value
}

// judge says which rule the whole block breaks, "" if none.
func (h *head) judge() (rule, detail string) {
	if h.rule == "" && !h.trailer && h.left >= 0 {
		switch {
		case h.method == "CONNECT" && h.seen&16 == 0:
			if h.path != "" || h.scheme != "" || h.authority == "" {
				h.broke("h2.pseudo.connect")
			}
		case h.method == "" || h.path == "" || h.scheme != "https" && h.scheme != "http":
			h.broke("h2.pseudo.missing")
		case h.path == "*":
		case h.path[0] != '/':
			h.broke("h2.target")
		case strings.IndexByte(h.path, '%') >= 0 || strings.IndexFunc(h.path, control) >= 0:
			if _, err := url.ParseRequestURI(h.path); err != nil {
				h.broke("h2.target")
			}
		}
	}
	if h.rule == "" && h.left < 0 {
		return "h2.head.bytes", rules["h2.head.bytes"]
	}
	return h.rule, rules[h.rule]
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// validName says whether name is a token in lower case.
func validName(name string) bool {
	if name == "" {
		return false
	}
	for _, r := range name {
		if !httpguts.IsTokenRune(r) || 'A' <= r && r <= 'Z' {
			return false
		}
	}
	return true
}
