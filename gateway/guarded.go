package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/guard"
)

// Guarded puts a guard session around a local handler, for example our own
// management API. door is its name in the records, program gives the current
// program, and rec may be nil. Keys that the program asks for are not fetched:
// a local handler's own sign-in stands behind it. Answers are held back only as
// far as the guard asks; until then the handler's flushes wait too.
func Guarded(next http.Handler, program func() *guard.Program, door string, rec Recorder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		l := &localPassage{w: w, r: r, id: newID(now), rec: rec}
		peer := peerOf(r.RemoteAddr)
		req := &guard.Request{
			ID: l.id, Door: door, Method: r.Method, Host: r.Host, Proto: r.Proto, TLS: r.TLS != nil, Header: r.Header.Clone(),
			Client: peer, Peer: peer, ContentLength: r.ContentLength, Upgrade: r.Header.Get("Upgrade") != "",
		}
		req.Path, req.RawQuery = cutTarget(r.URL.RequestURI())
		ses, step := program().Begin(req, now)
		l.ses = ses
		if step.Verb == guard.Fetch {
			step = ses.Resume(time.Now())
		}
		defer l.end()
		if l.refused(step) {
			return
		}
		if !l.receive(step) {
			return
		}
		r.Header.Set("X-Request-Id", l.id)
		next.ServeHTTP(l, r)
		l.close()
	})
}

// cutTarget parts a request target into path and query.
func cutTarget(target string) (path, query string) {
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

// A localPassage is one request on its way to a local handler, which it is the
// http.ResponseWriter of.
type localPassage struct {
	w   http.ResponseWriter
	r   *http.Request
	id  string
	ses *guard.Session
	rec Recorder
	out guard.Outcome

	body  []byte
	in    *countedBody
	step  guard.Step // of Response
	began bool       // the handler has named a status
	sent  bool       // the answer's head is out
	done  bool       // a refusal took the answer's place
	held  bytes.Buffer
	tail  []byte // sample of what has passed
}

const localSample = 64 << 10

type countedBody struct {
	io.ReadCloser
	n int64
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += int64(n)
	return n, err
}

func (l *localPassage) refused(s guard.Step) bool {
	if s.Verb == guard.Proceed {
		return false
	}
	if s.Verb == guard.Rewrite && s.Wait > 0 {
		wait(l.r.Context(), s.Wait)
	}
	if s.Refusal == nil {
		l.refuse(guard.KindUnauthenticated, nil, nil)
		return true
	}
	l.refuse(s.Refusal.Kind, s.Refusal.Header, nil)
	return true
}

func (l *localPassage) refuse(k guard.Kind, extra [][2]string, reason *sallyport.Reason) {
	l.done, l.sent = true, true
	l.out.Status, l.out.Reason = k.Status, reason
	l.out.ResponseBytes = writeProblem(l.w, l.r.Method, k, l.id, extra)
}

// receive hands the body to the guard as the step wants it, and puts it back
// for the handler.
func (l *localPassage) receive(step guard.Step) bool {
	if l.r.Body == nil {
		l.r.Body = http.NoBody
	}
	l.in = &countedBody{ReadCloser: l.r.Body}
	rest := io.Reader(l.in)
	if step.Body == guard.BodyWhole || step.Body == guard.BodySample {
		limit := step.BodyLimit
		if step.Body == guard.BodyWhole {
			limit++
		}
		b, err := io.ReadAll(io.LimitReader(l.in, limit))
		if err != nil {
			l.refuse(guard.KindBadRequest, nil, &sallyport.Reason{Stage: sallyport.StageRequest, Rule: "body.incomplete", Mode: sallyport.Enforce})
			return false
		}
		l.body = b
		next := l.ses.RequestBody(b, time.Now())
		if l.refused(next) {
			return false
		}
		if next.Replace != nil {
			b = next.Replace
			saysPlain(l.r.Header)
			l.r.ContentLength = int64(len(b))
		}
		rest = io.MultiReader(bytes.NewReader(b), l.in)
	}
	l.r.Body = struct {
		io.Reader
		io.Closer
	}{rest, l.in.ReadCloser}
	return true
}

// Header is the answer's header.
func (l *localPassage) Header() http.Header { return l.w.Header() }

// WriteHeader hands the head to the guard.
func (l *localPassage) WriteHeader(status int) {
	if l.began || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	l.began = true
	l.out.Status, l.out.Origin = status, status
	l.step = l.ses.Response(status, l.w.Header(), time.Now())
	if l.refused(l.step) {
		return
	}
	editHead(l.w.Header(), l.step.Head)
	if l.step.Body != guard.BodyWhole {
		l.head()
	}
}

func (l *localPassage) head() {
	l.sent = true
	l.w.Header().Set("X-Request-Id", l.id)
	l.w.WriteHeader(l.out.Status)
}

// Write passes on or holds back a part of the answer's body.
func (l *localPassage) Write(b []byte) (int, error) {
	if !l.began {
		if l.w.Header().Get("Content-Type") == "" {
			l.w.Header().Set("Content-Type", http.DetectContentType(b))
		}
		l.WriteHeader(http.StatusOK)
	}
	if l.done {
		return len(b), nil
	}
	if !l.sent {
		l.held.Write(b)
		if int64(l.held.Len()) > l.step.BodyLimit {
			l.release()
		}
		return len(b), nil
	}
	return l.pass(b)
}

func (l *localPassage) pass(b []byte) (int, error) {
	if room := max(localSample, int(l.sampleLimit())) - len(l.tail); room > 0 {
		l.tail = append(l.tail, b[:min(len(b), room)]...)
	}
	n, err := l.w.Write(b)
	l.out.ResponseBytes += int64(n)
	return n, err
}

func (l *localPassage) sampleLimit() int64 {
	if l.step.Body == guard.BodySample {
		return l.step.BodyLimit + 1
	}
	return 0
}

// release hands what is held to the guard and, unless it refuses, sends it.
func (l *localPassage) release() {
	b := l.held.Bytes()
	step := l.ses.ResponseBody(b[:min(int64(len(b)), l.step.BodyLimit+1)], time.Now())
	if l.refused(step) {
		return
	}
	if step.Replace != nil {
		b = step.Replace
		editHead(l.w.Header(), step.Head)
		l.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	l.head()
	l.pass(b)
	l.held = bytes.Buffer{}
}

// Flush sends what may be sent.
func (l *localPassage) Flush() {
	if l.sent && !l.done {
		http.NewResponseController(l.w).Flush()
	}
}

// Unwrap gives deadlines to http.ResponseController.
func (l *localPassage) Unwrap() http.ResponseWriter { return l.w }

// close ends the answer once the handler has returned.
func (l *localPassage) close() {
	if !l.began {
		l.WriteHeader(http.StatusOK)
	}
	if l.done {
		return
	}
	if !l.sent {
		if l.w.Header().Get("Content-Length") == "" && l.r.Method != http.MethodHead {
			l.w.Header().Set("Content-Length", strconv.Itoa(l.held.Len()))
		}
		l.release()
		return
	}
	if l.step.Body == guard.BodySample {
		l.ses.ResponseBody(l.tail[:min(int64(len(l.tail)), l.step.BodyLimit+1)], time.Now())
	}
}

// end hands the record over, also when the handler panicked.
func (l *localPassage) end() {
	if l.in != nil {
		l.out.RequestBytes = l.in.n
	}
	x := l.ses.End(l.out, time.Now())
	if l.rec == nil {
		return
	}
	if l.rec.Want(x) {
		x.RequestBody, x.ResponseBody = sampleOf(l.body, localSample), sampleOf(l.tail, localSample)
	}
	l.rec.Record(x)
}
