package conformance_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/spec"
)

// The desk: notes with parts and shares, owned by who makes them, and what
// stands beside them in an API.
const deskSpec = `
openapi: 3.0.3
info: {title: desk, version: "1"}
security: [{bearer: []}]
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
  parameters:
    id: {name: id, in: path, required: true, schema: {type: string, format: uuid}}
    match: {name: If-Match, in: header, schema: {type: string}}
  schemas:
    Problem: {type: object, required: [status], properties: {status: {type: integer}}}
    New:
      type: object
      additionalProperties: false
      required: [title]
      properties:
        title: {type: string, minLength: 1, maxLength: 20, example: a title}
        code: {type: string, pattern: "^[A-Z]{3}$"}
        kind: {type: string, enum: [plain, todo]}
        size: {type: integer, minimum: 1, maximum: 100}
        step: {type: number, multipleOf: 0.5, minimum: 0, maximum: 10}
        due: {type: string, format: date}
        tags: {type: array, maxItems: 3, uniqueItems: true, items: {type: string, minLength: 1, maxLength: 8}}
        noteId: {type: string, format: uuid}
        target: {type: string, format: uri}
    Change:
      type: object
      additionalProperties: false
      properties:
        title: {type: string, minLength: 1, maxLength: 20}
        size: {type: integer, minimum: 1, maximum: 100}
        state: {type: string, enum: [open, closed]}
    Note:
      type: object
      required: [id, title, owner, state]
      properties:
        id: {type: string, format: uuid}
        title: {type: string}
        code: {type: string}
        kind: {type: string}
        size: {type: integer}
        step: {type: number}
        due: {type: string}
        tags: {type: array, items: {type: string}}
        noteId: {type: string}
        target: {type: string}
        owner: {type: string}
        state: {type: string, enum: [open, closed]}
  responses:
    Bad: {description: no, content: {application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}}
paths:
  /notes:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 50, default: 50}}
        - {name: offset, in: query, schema: {type: integer, minimum: 0, maximum: 1000}}
        - {name: kind, in: query, schema: {type: string, enum: [plain, todo]}}
        - {name: q, in: query, schema: {type: string, maxLength: 40}}
      responses:
        "200": {description: ok, headers: {X-Total: {required: true, schema: {type: integer}}}, content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Note"}}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "406": {$ref: "#/components/responses/Bad"}
    post:
      parameters: [{name: Idempotency-Key, in: header, schema: {type: string, format: uuid}}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/New"}, example: {title: an example}}}}
      responses:
        "201": {description: made, content: {application/json: {schema: {$ref: "#/components/schemas/Note"}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "413": {$ref: "#/components/responses/Bad"}
        "422": {$ref: "#/components/responses/Bad"}
  /notes/{id}:
    parameters: [{$ref: "#/components/parameters/id"}]
    get:
      description: Its owner and those it is shared with.
      responses:
        "200": {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/Note"}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
    put:
      parameters: [{$ref: "#/components/parameters/match"}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/New"}}}}
      responses: &changed
        "200": {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/Note"}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
        "409": {$ref: "#/components/responses/Bad"}
        "412": {$ref: "#/components/responses/Bad"}
        "428": {$ref: "#/components/responses/Bad"}
    patch:
      parameters: [{$ref: "#/components/parameters/match"}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Change"}}}}
      responses: *changed
    delete:
      responses:
        "204": {description: gone}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
  /notes/{id}/parts:
    parameters: [{$ref: "#/components/parameters/id"}]
    get:
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: array, items: {type: object}}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
    post:
      requestBody: {required: true, content: {application/json: {schema: {type: object, additionalProperties: false, required: [text], properties: {text: {type: string, maxLength: 9}}}}}}
      responses:
        "201": {description: made, content: {application/json: {schema: {type: object}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
  /notes/{id}/parts/{partId}:
    parameters: [{$ref: "#/components/parameters/id"}, {name: partId, in: path, required: true, schema: {type: string, format: uuid}}]
    get:
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: object}}}}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
  /notes/{id}/shares/{user}:
    parameters: [{$ref: "#/components/parameters/id"}, {name: user, in: path, required: true, schema: {type: string, enum: [ann, bob]}}]
    put:
      responses:
        "204": {description: shared}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
    delete:
      responses:
        "204": {description: shared no more}
        "400": {$ref: "#/components/responses/Bad"}
        "404": {$ref: "#/components/responses/Bad"}
  /users/{user}:
    parameters: [{name: user, in: path, required: true, schema: {type: string, enum: [ann, bob]}}]
    patch:
      summary: For administrators (admin).
      requestBody: {required: true, content: {application/json: {schema: {type: object, additionalProperties: false, required: [suspended], properties: {suspended: {type: boolean}}}}}}
      responses:
        "200": {description: ok, content: {application/json: {schema: {type: object}}}}
        "400": {$ref: "#/components/responses/Bad"}
  /admin/counts:
    get:
      responses: {"200": {description: ok, content: {application/json: {schema: {type: object}}}}}
  /session:
    post:
      summary: Sign in
      security: []
      requestBody: {required: true, content: {application/json: {schema: {type: object, additionalProperties: false, required: [user, password], properties: {user: {type: string, minLength: 1, maxLength: 40}, password: {type: string, minLength: 1, maxLength: 40}}}}}}
      responses:
        "200": {description: in}
        "400": {$ref: "#/components/responses/Bad"}
        "401": {$ref: "#/components/responses/Bad"}
        "429": {description: slower}
  /busy:
    get:
      deprecated: true
      security: []
      responses: {"200": {description: ok, headers: {Deprecation: {schema: {type: string}}}}, "429": {description: slower}}
`

type deskNote struct {
	data    map[string]any
	version int
	owner   string
	shared  map[string]bool
	parts   []map[string]any
}

// A desk is a correct server of the desk API; defect is the ID of the check
// that finds the one thing that it does wrong.
type desk struct {
	defect    string
	set       *spec.Set
	key       []byte
	mu        sync.Mutex
	notes     map[string]*deskNote
	order     []string
	gone      map[string]*deskNote
	keys      map[string]string // idempotency key and body, by caller
	suspended map[string]bool
	tries     map[string]int
	busy      int
	n         atomic.Int64
}

func newDesk(t testing.TB, defect string) *desk {
	d := &desk{defect: defect, set: load(t, deskSpec), key: make([]byte, 32), notes: map[string]*deskNote{}, gone: map[string]*deskNote{},
		keys: map[string]string{}, suspended: map[string]bool{}, tries: map[string]int{}}
	rand.Read(d.key)
	for i := range 6 {
		owner, id := []string{"ann", "bob"}[i%2], uuid()
		d.order = append(d.order, id)
		d.notes[id] = &deskNote{version: 1, owner: owner, shared: map[string]bool{}, data: map[string]any{"id": id, "title": "there before", "owner": owner, "state": "open", "kind": []string{"plain", "plain", "todo"}[i%3]}}
	}
	return d
}

func (d *desk) token(sub, aud string, expires time.Duration) string {
	enc := base64.RawURLEncoding
	claims, _ := json.Marshal(map[string]any{"sub": sub, "aud": aud, "exp": time.Now().Add(expires).Unix()})
	text := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString(claims)
	h := hmac.New(sha256.New, d.key)
	h.Write([]byte(text))
	return text + "." + enc.EncodeToString(h.Sum(nil))
}

// who is the caller of a request, "" when it does not say so truly.
func (d *desk) who(r *http.Request) string {
	text := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if text == "" && d.defect == "security.no-credentials" {
		return "ann"
	}
	p := strings.Split(text, ".")
	if len(p) != 3 {
		if text != "" && d.defect == "security.bad-credentials" {
			return "ann"
		}
		return ""
	}
	enc := base64.RawURLEncoding
	head, _ := enc.DecodeString(p[0])
	body, _ := enc.DecodeString(p[1])
	sum, _ := enc.DecodeString(p[2])
	h := hmac.New(sha256.New, d.key)
	h.Write([]byte(p[0] + "." + p[1]))
	good := hmac.Equal(sum, h.Sum(nil))
	none := bytes.Contains(bytes.ToLower(head), []byte(`"none"`))
	switch d.defect {
	case "security.alg-none":
		good = good || none
	case "security.stripped-signature":
		good = good || len(p[2]) == 0 && !none
	case "security.forged-token":
		good = good || len(p[2]) > 0
	}
	var c struct {
		Sub, Aud string
		Exp      int64
	}
	if json.Unmarshal(body, &c) != nil || !good ||
		time.Now().Unix() > c.Exp && d.defect != "security.expired-token" ||
		c.Aud != "desk" && d.defect != "security.wrong-audience" ||
		c.Sub == "mallory" && d.defect != "security.refused-credential" {
		return ""
	}
	return c.Sub
}

// rules are what the specification's validators say where a check looks.
var rules = map[string][]string{"reject.required": {"schema.required", "body.missing", "parameter.missing"}, "reject.type": {"schema.type"},
	"reject.range": {"schema.minimum", "schema.maximum"}, "reject.multiple": {"schema.multipleOf"}, "reject.length": {"schema.minLength", "schema.maxLength"},
	"reject.pattern": {"schema.pattern"}, "reject.format": {"schema.format"}, "reject.enum": {"schema.enum"}, "reject.items": {"schema.maxItems"},
	"reject.unique": {"schema.uniqueItems"}, "reject.additional": {"schema.additionalProperties", "schema.false"}}

func (d *desk) is(defect string) bool { return d.defect == defect }

func (d *desk) fail(w http.ResponseWriter, status int) {
	if status >= 500 {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	said := status
	if d.is("contract.problem-details") {
		said = 200
	}
	fmt.Fprintf(w, `{"status":%d`, said)
	if d.is("security.verbose-error") {
		fmt.Fprint(w, `,"detail":"panic: runtime error: index out of range main.go:12"`)
	}
	fmt.Fprint(w, "}")
}

func (d *desk) json(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if !d.is("security.headers") {
		h.Set("X-Content-Type-Options", "nosniff")
	}
	if !d.is("security.framing") {
		h.Set("Content-Security-Policy", "frame-ancestors 'none'")
	}
	h.Set("Cache-Control", map[string]string{"security.cache": "public, max-age=60", "security.no-store": "max-age=60"}[d.defect])
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if d.is("security.version-header") {
		h.Set("X-Powered-By", "Desk 1.2")
	}
	if r.TLS != nil && !d.is("security.hsts") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if o := r.Header.Get("Origin"); o != "" && d.is("security.cors") {
		h.Set("Access-Control-Allow-Origin", o)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if strings.HasPrefix(r.URL.Path, "/debug/") && d.is("security.debug-route") {
		fmt.Fprint(w, "heap")
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v0"); ok && d.is("security.old-version") {
		r.URL.Path = rest
	}
	if m := r.Header.Get("X-HTTP-Method-Override"); m == "DELETE" && d.is("security.method-override") {
		r.Method = m
	}
	if d.is("contract.answers") && r.URL.Path == "/busy" {
		panic(http.ErrAbortHandler)
	}
	if d.is("contract.server-error") && r.URL.Path == "/busy" {
		w.WriteHeader(500)
		return
	}
	if d.is("operations.concurrency") && r.URL.Path == "/busy" {
		defer d.n.Add(-1)
		if d.n.Add(1) > 3 {
			w.WriteHeader(500)
			return
		}
		time.Sleep(3 * time.Millisecond)
	}
	if d.is("operations.latency") && r.URL.Path == "/busy" {
		time.Sleep(30 * time.Millisecond)
	}
	var m spec.Match
	method := r.Method
	found := d.set.Match(method, r.URL.EscapedPath(), &m)
	if r.Method == http.MethodOptions && len(m.Allowed) > 0 {
		h.Set("Allow", strings.Join(m.Allowed, ", ")+", OPTIONS")
		if d.is("contract.options") {
			h.Set("Allow", "OPTIONS")
		}
		if o := r.Header.Get("Origin"); o != "" && d.is("security.preflight") {
			h.Set("Access-Control-Allow-Origin", o)
			h.Set("Access-Control-Allow-Methods", "POST, PUT, PATCH, DELETE, GET")
		}
		w.WriteHeader(204)
		return
	}
	if found != spec.Found {
		if len(m.Allowed) > 0 {
			if d.is("contract.method-undeclared") {
				w.WriteHeader(204)
				return
			}
			h.Set("Allow", strings.Join(m.Allowed, ", "))
			d.fail(w, 405)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/") || strings.Count(r.URL.Path, "/") > 5 {
			d.fail(w, 404)
			return
		}
		d.fail(w, 404)
		return
	}
	if r.Method == http.MethodHead && d.is("contract.head") {
		w.WriteHeader(204)
		return
	}
	who := d.who(r)
	if len(m.Op.Security) > 0 && (who == "" || d.suspended[who] && !d.is("security.suspended")) {
		d.fail(w, 401)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10<<20))
	if err != nil && !d.is("reject.oversize") {
		d.fail(w, 413)
		return
	}
	if why := d.objection(r, &m, body); why > 0 {
		if d.is("reject.trace") && (r.Method == "PATCH" || r.Method == "PUT") {
			d.mu.Lock()
			if n := d.notes[m.Params[0].Raw]; n != nil {
				n.data["title"] = fmt.Sprint("changed ", d.n.Add(1))
			}
			d.mu.Unlock()
		}
		d.fail(w, why)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serve(w, r, &m, who, body)
}

// objection is the status of what the specification has against a request, 0 for none.
func (d *desk) objection(r *http.Request, m *spec.Match, body []byte) int {
	var k spec.Check
	m.Op.CheckParams(&k, m, r.URL.RawQuery, r.Header)
	m.Op.CheckBody(&k, r.Header.Get("Content-Type"), body)
	for _, p := range k.Problems {
		over := slices.Contains(rules[d.defect], p.Rule)
		switch {
		case d.is("reject.null"):
			over = p.Rule == "schema.type" && bytes.Contains(body, []byte(":null"))
		case d.is("reject.type"):
			over = over && !bytes.Contains(body, []byte(":null"))
		case d.is("reject.media-type"):
			over = strings.Contains(p.Rule, "media-type")
		case d.is("reject.syntax") || d.is("reject.encoding") || d.is("reject.duplicate-key") || d.is("reject.depth") || d.is("reject.oversize"):
			over = strings.HasPrefix(p.Rule, "json.") || strings.HasPrefix(p.Rule, "body.") || strings.HasPrefix(p.Rule, "schema.")
		case d.is("security.mass-assignment"):
			over = (p.Rule == "schema.additionalProperties" || p.Rule == "schema.false") && bytes.Contains(body, []byte(`"owner"`))
		}
		if !over {
			return 400
		}
	}
	if d.is("contract.edge-refused") && bytes.Contains(body, []byte(`"size":100`)) || d.is("contract.example") && bytes.Contains(body, []byte("an example")) {
		return 400
	}
	return 0
}

// lenient reads the first JSON object of a body, whatever else is there.
func lenient(body []byte) map[string]any {
	v := map[string]any{}
	json.NewDecoder(bytes.NewReader(body)).Decode(&v)
	return v
}

func (d *desk) tag(n *deskNote) string {
	if d.is("state.etag-changes") {
		return `"same"`
	}
	return fmt.Sprintf("%q", strconv.Itoa(n.version))
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	b[6], b[8] = b[6]&15|64, b[8]&63|128
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// note is the one that a path names, nil when the caller must not know of it.
func (d *desk) note(m *spec.Match, who string, write bool) *deskNote {
	n := d.notes[m.Params[0].Raw]
	if n == nil {
		if n = d.gone[m.Params[0].Raw]; n == nil || !d.is("state.use-after-delete") {
			return nil
		}
	}
	if n.owner == who || n.shared[who] && !write || d.is("security.object-level") && strings.HasSuffix(m.Op.Template, "}") {
		return n
	}
	return nil
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request, m *spec.Match, who string, body []byte) {
	h := w.Header()
	switch m.Op.Template {
	case "/busy":
		d.busy++
		if !d.is("contract.deprecation") {
			h.Set("Deprecation", "@1767225600")
		}
		switch {
		case d.busy > 300 && !d.is("security.rate-limit"):
			if !d.is("security.retry-after") {
				h.Set("Retry-After", "0")
			}
			w.WriteHeader(429)
		case d.is("operations.stable") && d.busy%2 == 0:
			w.WriteHeader(204)
		case d.is("contract.status-undeclared"):
			w.WriteHeader(203)
		}
	case "/session":
		in := lenient(body)
		user := fmt.Sprint(in["user"])
		d.tries[user]++
		known := user == "ann" || user == "bob"
		if d.is("security.timing") && known {
			time.Sleep(25 * time.Millisecond)
		}
		switch {
		case d.tries[user] > 40 && !d.is("security.guessing"):
			h.Set("Retry-After", "0")
			w.WriteHeader(429)
		case d.is("security.enumeration") && !known:
			d.fail(w, 400)
		default:
			d.fail(w, 401)
		}
	case "/admin/counts":
		if who != "root" && !d.is("security.function-level") {
			d.fail(w, 403)
			return
		}
		d.json(w, 200, map[string]any{"notes": len(d.notes)})
	case "/users/{user}":
		if who != "root" {
			d.fail(w, 403)
			return
		}
		d.suspended[m.Params[0].Raw] = lenient(body)["suspended"] == true
		d.json(w, 200, map[string]any{})
	case "/notes":
		if r.Method == "POST" {
			d.make(w, r, who, body)
		} else {
			d.list(w, r, who)
		}
	case "/notes/{id}":
		d.one(w, r, m, who, body)
	case "/notes/{id}/shares/{user}":
		n := d.note(m, who, true)
		if n == nil || n.owner != who {
			d.fail(w, 404)
			return
		}
		if r.Method == "PUT" {
			n.shared[m.Params[1].Raw] = true
		} else if !d.is("security.revoked") {
			delete(n.shared, m.Params[1].Raw)
		}
		w.WriteHeader(204)
	default:
		n := d.note(m, who, r.Method == "POST")
		if n == nil {
			d.fail(w, 404)
			return
		}
		switch {
		case r.Method == "POST":
			p := map[string]any{"id": uuid(), "text": lenient(body)["text"]}
			n.parts = append(n.parts, p)
			d.json(w, 201, p)
		case strings.HasSuffix(m.Op.Template, "parts"):
			d.json(w, 200, append([]map[string]any{}, n.parts...))
		default:
			all := n.parts
			if d.is("state.foreign-parent") {
				for _, o := range d.notes {
					all = append(slices.Clone(all), o.parts...)
				}
			}
			for _, p := range all {
				if p["id"] == m.Params[1].Raw {
					d.json(w, 200, p)
					return
				}
			}
			d.fail(w, 404)
		}
	}
}

func (d *desk) make(w http.ResponseWriter, r *http.Request, who string, body []byte) {
	in := lenient(body)
	if to, ok := in["target"].(string); ok && d.is("security.ssrf") {
		if res, err := http.Get(to); err == nil {
			res.Body.Close()
		}
	}
	if ref, ok := in["noteId"].(string); ok && d.notes[ref] == nil && !d.is("state.unknown-reference") {
		d.fail(w, 422)
		return
	}
	if k := r.Header.Get("Idempotency-Key"); k != "" && !d.is("contract.idempotency-key") {
		name := who + k
		if was, ok := d.keys[name]; ok {
			id, text, _ := strings.Cut(was, " ")
			if text != string(body) {
				d.fail(w, 422)
				return
			}
			d.json(w, 201, d.notes[id].data)
			return
		}
		defer func() { d.keys[name] = d.order[len(d.order)-1] + " " + string(body) }()
	}
	n := &deskNote{data: map[string]any{}, version: 1, owner: who, shared: map[string]bool{}}
	for k, v := range in {
		n.data[k] = v
	}
	id := uuid()
	n.data["id"], n.data["state"] = id, "open"
	if _, told := in["owner"]; !told {
		n.data["owner"] = who
	}
	if d.is("state.kept") {
		n.data["title"] = "otherwise"
	}
	d.order = append(d.order, id)
	location := "/notes/" + id
	if d.is("contract.location") {
		location = "/notes/" + uuid()
	}
	if !d.is("state.read-after-create") {
		d.notes[id] = n
	}
	w.Header().Set("Location", location)
	d.json(w, 201, n.data)
}

func (d *desk) list(w http.ResponseWriter, r *http.Request, who string) {
	if a := r.Header.Get("Accept"); a != "" && !strings.Contains(a, "json") && !strings.Contains(a, "*") && !d.is("contract.negotiation") {
		d.fail(w, 406)
		return
	}
	q := r.URL.Query()
	if strings.Contains(q.Get("q"), "'") && d.is("security.injection") {
		w.WriteHeader(500)
		fmt.Fprint(w, "syntax error at or near")
		return
	}
	limit, offset := 50, 0
	if d.is("contract.default") {
		limit = 0
	}
	if q.Get("limit") != "" {
		limit, _ = strconv.Atoi(q.Get("limit"))
	}
	offset, _ = strconv.Atoi(q.Get("offset"))
	out := []map[string]any{}
	skipped := 0
	ids := slices.Clone(d.order)
	if d.is("operations.order") && d.n.Add(1)%2 == 0 {
		slices.Reverse(ids)
	}
	if d.is("contract.pagination") && offset > 0 {
		offset--
	}
	for i, id := range ids {
		n := d.notes[id]
		if n == nil && d.is("state.delisted") {
			n = d.gone[id]
		}
		if n == nil || n.owner != who || q.Get("kind") != "" && n.data["kind"] != q.Get("kind") && !d.is("contract.filter") || d.is("state.listed") && i > 5 {
			continue
		}
		if q.Get("q") != "" && !strings.Contains(fmt.Sprint(n.data["title"]), q.Get("q")) {
			continue
		}
		if skipped++; skipped > offset && (len(out) < limit || d.is("contract.page-size")) {
			out = append(out, n.data)
		}
	}
	if !d.is("contract.headers") {
		w.Header().Set("X-Total", strconv.Itoa(skipped))
	}
	if d.is("contract.media-type") {
		w.Header().Set("Content-Type", "text/html")
	}
	if d.is("contract.body") {
		d.json(w, 200, map[string]any{"notes": out})
		return
	}
	if r.Method == "HEAD" {
		w.Header().Set("Content-Type", "application/json")
		return
	}
	d.json(w, 200, out)
}

func (d *desk) one(w http.ResponseWriter, r *http.Request, m *spec.Match, who string, body []byte) {
	h := w.Header()
	n := d.note(m, who, r.Method != "GET" && r.Method != "HEAD")
	if n == nil {
		if d.is("contract.not-found") && r.Method == "GET" {
			d.json(w, 200, map[string]any{"id": m.Params[0].Raw, "title": "", "owner": who, "state": "open"})
			return
		}
		d.fail(w, 404)
		return
	}
	if r.Method == "GET" || r.Method == "HEAD" {
		h.Set("ETag", d.tag(n))
		if r.Header.Get("If-None-Match") == d.tag(n) && !d.is("contract.conditional") {
			w.WriteHeader(304)
			return
		}
		if r.Method == "HEAD" {
			h.Set("Content-Type", "application/json")
			return
		}
		d.json(w, 200, n.data)
		return
	}
	id := m.Params[0].Raw
	if r.Method == "DELETE" {
		if d.gone[id] != nil {
			w.WriteHeader(204)
			return
		}
		if !d.is("state.delete-idempotent") {
			delete(d.notes, id)
		} else if n.data["left"] != nil {
			d.fail(w, 500)
			return
		}
		d.gone[id] = n
		w.WriteHeader(204)
		return
	}
	match, version := r.Header.Get("If-Match"), n.version
	if d.is("state.lost-update") && match != "" { // it looks, waits, and writes
		d.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		d.mu.Lock()
	}
	switch {
	case match == "" && !d.is("state.precondition-required"):
		d.fail(w, 428)
		return
	case match != "" && match != "*" && match != fmt.Sprintf("%q", strconv.Itoa(version)) && !d.is("state.stale-etag") && !d.is("state.etag-changes"):
		d.fail(w, 412)
		return
	}
	in := lenient(body)
	if s, ok := in["state"]; ok && n.data["state"] == "closed" && s == "open" && !d.is("state.transition") {
		d.fail(w, 409)
		return
	}
	if r.Method == "PUT" {
		if d.is("state.put-idempotent") && n.data["put"] == string(body) {
			delete(d.notes, id)
		}
		kept := map[string]any{"id": id, "owner": n.data["owner"], "state": n.data["state"]}
		if d.is("state.put-idempotent") {
			kept["put"] = string(body)
		}
		n.data = kept
	} else if d.is("state.patch-only") {
		delete(n.data, "tags")
		delete(n.data, "code")
	}
	if !d.is("state.read-your-writes") {
		for k, v := range in {
			n.data[k] = v
		}
	}
	n.version++
	h.Set("ETag", d.tag(n))
	d.json(w, 200, n.data)
}

// Every kind of check has a pair here: the correct server, which it looks at and
// lets pass, and the same with one defect, which it finds. A check without a
// pair fails the test.
func TestEachCheckHasAPair(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, defect string) *conformance.Report {
		t.Helper()
		d := newDesk(t, defect)
		server := httptest.NewUnstartedServer(d)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if defect == "security.tls" {
			server.TLS.MinVersion = tls.VersionTLS10
		}
		server.StartTLS()
		t.Cleanup(server.Close)
		p := conformance.Plan{API: "desk", Spec: d.set, Target: server.URL, Transport: server.Client().Transport, Latency: 400 * time.Millisecond,
			Stop: func(context.Context) error {
				if defect == "operations.graceful-stop" {
					server.CloseClientConnections()
				}
				return nil
			}}
		if defect != "" {
			for _, c := range conformance.Checks() { // what is looked for alone; the correct server passes all
				if c.ID != defect && !(defect == "reject.trace" && strings.HasPrefix(c.ID, "reject.")) {
					p.Skip = append(p.Skip, c.ID)
				}
			}
		}
		if defect == "operations.latency" {
			p.Latency = 20 * time.Millisecond
		}
		for _, n := range []string{"ann", "bob", "root"} {
			role := ""
			if n == "root" {
				role = "admin"
			}
			p.Identities = append(p.Identities, conformance.Identity{Name: n, Role: role, Token: d.token(n, "desk", time.Hour)})
		}
		p.Refused = []conformance.Identity{{Name: "expired", Token: d.token("ann", "desk", -time.Hour)}, {Name: "wrong-audience", Token: d.token("ann", "other", time.Hour)},
			{Name: "mallory", Token: d.token("mallory", "desk", time.Hour)}}
		r, err := conformance.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	right := run(t, "")
	t.Logf("%d requests in %v, %v", right.Requests, right.Duration, right.NotRun)
	for _, f := range right.Findings {
		t.Errorf("the correct server: %s %s %s: %s\n%s", f.Check, f.Operation, f.Place, f.Detail, f.Curl)
	}
	elsewhere := map[string]string{ // pairs of the page API, and of two descriptions
		"contract.modified-since": "TestEachCheckFindsItsDefect", "contract.range": "TestEachCheckFindsItsDefect", "contract.sunset": "TestEachCheckFindsItsDefect",
		"contract.breaking-change": "changes_test.go"}
	places := make(chan struct{}, 4)
	for _, c := range conformance.Checks() {
		if elsewhere[c.ID] != "" {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			if right.Coverage.Checks[c.ID] == 0 {
				t.Errorf("%s has not looked at the correct server", c.ID)
			}
			var got []string
			for range 2 { // what is made meanwhile may stand in the way of a comparison
				for _, f := range run(t, c.ID).Findings {
					if got = append(got, f.Check); f.Check == c.ID {
						return
					}
				}
			}
			slices.Sort(got)
			t.Errorf("%s: found %v", c.ID, slices.Compact(got))
		})
	}
}
