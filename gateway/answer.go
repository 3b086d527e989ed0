package gateway

import (
	"net/http"
	"strconv"

	"sallyport.dev/guard"
)

// askPlain has a request ask for an answer that can be read as it is: whole,
// and without a content-encoding.
func askPlain(h http.Header) {
	delete(h, "Range")
	delete(h, "If-Range")
	h["Accept-Encoding"] = identity
}

var identity = []string{"identity"}

// replace puts the body that the guard wants in the place of the upstream's. It
// is called when all of that is in hand.
func (p *passage) replace(step guard.Step) {
	a := &p.up
	a.whole, p.changed = step.Replace, true
	editHead(a.header, step.Head)
	a.header["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
	p.g.count.stripped.Add(1)
}

// speaksOfBody are fields of a trailer that hold for the body as it came.
var speaksOfBody = map[string]bool{"Content-Digest": true, "Repr-Digest": true, "Digest": true, "Content-Md5": true, "Etag": true, "Signature": true, "Signature-Input": true}

// saysPlain takes out of a request what speaks of the bytes of a body that goes
// on decoded.
func saysPlain(h http.Header) {
	for _, name := range []string{"Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Content-Length"} {
		delete(h, name)
	}
}
