// Package replay reads recorded exchanges and serves their answers again. In
// comes a gzipped file of JSON lines; out come the requests for a player and an
// http.Handler that answers each method and URL with its recorded answers in
// the order in which they were recorded. It never reaches the network.
package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"sallyport.dev/test/lab/linode"
)

// An Exchange is one recorded request with its answer.
type Exchange struct {
	Scenario       string            `json:"scenario"`
	Seq            int               `json:"seq"`
	Method         string            `json:"method"`
	URL            string            `json:"url"`
	RequestHeader  map[string]string `json:"req_headers"`
	RequestBody    *string           `json:"req_body"`
	Status         int               `json:"status"`
	ResponseHeader map[string]string `json:"resp_headers"`
	ResponseBody   *string           `json:"resp_body"`
	Host           string            `json:"-"`
	Target         string            `json:"-"` // path and query, as recorded
}

// Read decodes a gzipped file of JSON lines.
func Read(r io.Reader) ([]Exchange, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read recorded traffic: %w", err)
	}
	var all []Exchange
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var x Exchange
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("read recorded traffic, line %d: %w", len(all)+1, err)
		}
		u, err := url.Parse(x.URL)
		if err != nil {
			return nil, fmt.Errorf("read recorded traffic, line %d: %w", len(all)+1, err)
		}
		x.Host, x.Target = u.Host, u.RequestURI()
		all = append(all, x)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read recorded traffic: %w", err)
	}
	return all, nil
}

// Linode is the recorded traffic of a cloud provider's API that comes with the
// repository, without the few calls to other hosts.
func Linode() ([]Exchange, error) {
	all, err := Read(bytes.NewReader(linode.Traffic))
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, x := range all {
		if x.Host == "api.linode.com" {
			kept = append(kept, x)
		}
	}
	return kept, nil
}

// LinodeSpec is the same provider's own OpenAPI document.
func LinodeSpec() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(linode.Spec))
	if err != nil {
		return nil, fmt.Errorf("unpack the recorded API's specification: %w", err)
	}
	return io.ReadAll(z)
}

// Upstream answers as the recorded API did. Answers to one method and URL come
// in recorded order and begin again when they run out. It is safe for
// concurrent use.
type Upstream struct {
	mu      sync.Mutex
	answers map[string][]*Exchange
	next    map[string]int
}

var _ http.Handler = (*Upstream)(nil)

// NewUpstream serves the answers of the exchanges given.
func NewUpstream(recorded []Exchange) *Upstream {
	u := &Upstream{answers: map[string][]*Exchange{}, next: map[string]int{}}
	for i := range recorded {
		x := &recorded[i]
		k := x.Method + " " + x.Target
		u.answers[k] = append(u.answers[k], x)
	}
	return u
}

func (u *Upstream) take(method, target string) *Exchange {
	k := method + " " + target
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.answers[k]
	if len(list) == 0 {
		return nil
	}
	x := list[u.next[k]%len(list)]
	u.next[k]++
	return x
}

// skipped are answer headers that belong to the recorded connection.
var skipped = map[string]bool{"Connection": true, "Content-Length": true, "Transfer-Encoding": true, "Date": true, "Keep-Alive": true}

// ServeHTTP answers one request from the recording, or 404 in the API's own
// manner when it holds none.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, io.LimitReader(r.Body, 16<<20))
	x := u.take(r.Method, r.URL.RequestURI())
	if x == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"errors": [{"reason": "Not found"}]}`)
		return
	}
	for k, v := range x.ResponseHeader {
		if !skipped[http.CanonicalHeaderKey(k)] {
			w.Header().Set(k, v)
		}
	}
	var body string
	if x.ResponseBody != nil {
		body = *x.ResponseBody
	}
	if x.Status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(x.Status)
	if x.Status != http.StatusNoContent && !strings.EqualFold(r.Method, http.MethodHead) {
		io.WriteString(w, body)
	}
}
