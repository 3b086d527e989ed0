package gateway_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/gateway"
)

// Requests over HTTP/2 that would be two once they are written as HTTP/1.1
// reach no upstream (RFC 9113 section 8.2 and 10.3).
func TestDowngradeSmuggling(t *testing.T) {
	type field = hpack.HeaderField
	for _, tt := range []struct {
		name   string
		path   string
		fields []field
		body   string
		passes bool
	}{
		{"plain", "/a", nil, "hi", true},
		{"with its length", "/a", []field{{Name: "content-length", Value: "2"}}, "hi", true},
		{"length too long", "/a", []field{{Name: "content-length", Value: "40"}}, "hi", false},
		{"length too short", "/a", []field{{Name: "content-length", Value: "0"}}, "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"two lengths", "/a", []field{{Name: "content-length", Value: "2"}, {Name: "content-length", Value: "0"}}, "hi", false},
		{"host against authority", "/a", []field{{Name: "host", Value: "b"}}, "hi", false},
		{"two credentials", "/a", []field{{Name: "authorization", Value: "Bearer a"}, {Name: "authorization", Value: "Bearer b"}}, "hi", false},
		{"transfer-encoding", "/a", []field{{Name: "transfer-encoding", Value: "chunked"}}, "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"connection", "/a", []field{{Name: "connection", Value: "authorization"}}, "hi", false},
		{"line break in a value", "/a", []field{{Name: "x-a", Value: "b\r\nTransfer-Encoding: chunked"}}, "hi", false},
		{"line break in a name", "/a", []field{{Name: "x-a: b\r\nx-c", Value: "d"}}, "hi", false},
		{"colon in a name", "/a", []field{{Name: "transfer-encoding: chunked", Value: "x"}}, "hi", false},
		{"line break in the path", "/a HTTP/1.1\r\nHost: b\r\n\r\nGET /admin", nil, "hi", false},
		{"space in the path", "/a HTTP/1.1", nil, "hi", false},
		{"a URL for a path", "http://b/a", nil, "hi", false},
		{"fragment in the path", "/a#b", nil, "hi", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &liar{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
			d := open(t, gateway.Options{APIs: to(l.start(t))})
			c, err := net.Dial("tcp", d.plain)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			c.Write([]byte(http2.ClientPreface))
			f := http2.NewFramer(c, c)
			f.AllowIllegalWrites = true
			f.WriteSettings()
			var head bytes.Buffer
			e := hpack.NewEncoder(&head)
			for _, h := range append([]field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: tt.path}}, tt.fields...) {
				e.WriteField(h)
			}
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true})
			f.WriteData(1, true, []byte(tt.body))
			dec := hpack.NewDecoder(4096, nil)
			status := ""
			for status == "" {
				fr, err := f.ReadFrame()
				if err != nil {
					break
				}
				switch fr := fr.(type) {
				case *http2.HeadersFrame:
					fields, _ := dec.DecodeFull(fr.HeaderBlockFragment())
					for _, h := range fields {
						if h.Name == ":status" {
							status = h.Value
						}
					}
				case *http2.RSTStreamFrame, *http2.GoAwayFrame:
					status = "reset"
				}
			}
			got := strings.Join(l.requests(), " | ")
			if status == "502" {
				t.Errorf("the client's fault was put down to the upstream")
			}
			if !tt.passes && got == "POST /a " { // it had gone on, and perhaps been answered, before the body that it must not have came
				got, status = "", "reset"
			}
			if tt.passes && (status != "200" || got != "POST /a hi") || !tt.passes && (status == "200" || got != "") {
				t.Errorf("answered %q; the upstream saw %q", status, got)
			}
		})
	}
}
