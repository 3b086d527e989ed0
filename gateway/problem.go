package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"sallyport.dev/guard"
)

// problemType is the prefix of the type member (RFC 9457 section 3.1.1), a tag
// URI (RFC 4151): it names the kind and is not meant to be fetched.
const problemType = "tag:sallyport.dev,2026:problem:"

// problemHeads holds, for each kind, the document up to the request id.
var problemHeads sync.Map // guard.Kind → []byte

func problemHead(k guard.Kind) []byte {
	if head, ok := problemHeads.Load(k); ok {
		return head.([]byte)
	}
	head, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
	}{problemType + k.Name, k.Title, k.Status})
	if err != nil {
		panic(err) // strings and a number
	}
	head = head[:len(head)-1]
	problemHeads.Store(k, head)
	return head
}

// appendProblem appends the problem document (RFC 9457) for a refusal. Two
// refusals of one kind differ in nothing but the request id, which leads to
// what exactly was wrong.
func appendProblem(b []byte, k guard.Kind, id string) []byte {
	b = append(b, problemHead(k)...)
	b = append(b, `,"instance":"urn:ulid:`...)
	b = append(b, id...)
	b = append(b, `","request_id":"`...)
	b = append(b, id...)
	return append(b, "\"}\n"...)
}

// problemHeaders are what each problem answer carries besides its length.
func problemHeaders(h http.Header, id string, extra [][2]string) {
	clear(h)
	for _, f := range extra {
		h[f[0]] = append(h[f[0]], f[1])
	}
	h["Content-Type"] = problemContentType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["X-Request-Id"] = []string{id}
}

// writeProblem answers with a problem document; HEAD gets the same headers
// without the body (RFC 9110 section 9.3.2). It returns the bytes of the body.
func writeProblem(w http.ResponseWriter, method string, k guard.Kind, id string, extra [][2]string) int64 {
	body := appendProblem(make([]byte, 0, 256), k, id)
	h := w.Header()
	problemHeaders(h, id, extra)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(k.Status)
	if method == http.MethodHead {
		return 0
	}
	n, _ := w.Write(body)
	return int64(n)
}

var (
	problemContentType = []string{"application/problem+json"}
	noStore            = []string{"no-store"}
	noSniff            = []string{"nosniff"}
	retrySoon          = [][2]string{{"Retry-After", "1"}}
)

// kindOf is the kind that answers with a status which a front has chosen.
func kindOf(status int) guard.Kind {
	for _, k := range guard.Kinds() {
		if k.Status == status {
			return k
		}
	}
	return guard.KindBadRequest
}
