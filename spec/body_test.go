package spec_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

const bodies = `
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /json:
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [name, made]
              properties:
                name: {type: string, maxLength: 10}
                made: {type: string, format: date, readOnly: true}
                secret: {type: string, writeOnly: true}
                size: {type: integer, nullable: true}
                pet: {$ref: "#/components/schemas/Pet"}
      responses:
        "200":
          description: ok
          headers:
            X-Left: {required: true, schema: {type: integer}}
          content:
            application/json:
              schema:
                type: object
                required: [name, secret]
                properties:
                  name: {type: string}
                  secret: {type: string, writeOnly: true}
        4XX: {description: no, content: {application/problem+json: {schema: {type: object, required: [status]}}}}
  /form:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              required: [n]
              properties:
                n: {type: integer}
                tags: {type: array, maxItems: 2, items: {type: string, pattern: "^[a-z]{1,5}$"}}
          multipart/form-data:
            schema:
              type: object
              required: [n, photo]
              properties:
                n: {type: integer}
                photo: {type: string, format: binary}
          text/plain: {schema: {type: string, maxLength: 5}}
          application/octet-stream: {}
          image/*: {}
      responses: {default: {description: ok}}
  /none:
    post:
      responses: {default: {description: ok}}
components:
  schemas:
    Pet:
      oneOf: [{$ref: "#/components/schemas/Cat"}, {$ref: "#/components/schemas/Dog"}]
      discriminator: {propertyName: kind, mapping: {cat: "#/components/schemas/Cat", hound: Dog}}
    Cat: {type: object, required: [kind, lives], properties: {kind: {type: string}, lives: {type: integer}}}
    Dog: {type: object, required: [kind, bark], properties: {kind: {type: string}, bark: {type: boolean}}}
`

func TestBodies(t *testing.T) {
	set := loadText(t, bodies)
	multipart := func(parts ...string) string {
		var b strings.Builder
		for i := 0; i < len(parts); i += 2 {
			b.WriteString("--xyz\r\nContent-Disposition: form-data; " + parts[i] + "\r\n\r\n" + parts[i+1] + "\r\n")
		}
		return b.String() + "--xyz--\r\n"
	}
	const form, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=xyz"
	for _, c := range []struct{ path, contentType, body, want, undocumented string }{
		{"/json", "application/json", `{"name":"a"}`, "", ""},
		{"/json", "application/json; charset=utf-8", `{"name":"a"}`, "", ""},
		{"/json", "APPLICATION/JSON;charset=\"UTF-8\"", `{"name":"a"}`, "", ""},
		{"/json", "application/json; charset=utf-16", `{"name":"a"}`, "body.charset@body", ""},
		{"/json", "application/json", `{"name":"a","made":"2026-01-01"}`, "schema.readOnly@body /made", ""},
		{"/json", "application/json", `{"name":"a","size":null}`, "", ""},
		{"/json", "application/json", `{"name":null}`, "schema.type@body /name", ""},
		{"/json", "application/json", `{}`, "schema.required@body", ""},
		{"/json", "application/json", `{"name":"a","size":1.5}`, "schema.type@body /size", ""},
		{"/json", "application/json", `{"name":"a","size":1.0}`, "", ""},
		{"/json", "application/json", `{"name":"a","name":"b"}`, "json.duplicate-key@body /name", ""},
		{"/json", "application/json", `{"name":"a",}`, "json.syntax@body", ""},
		{"/json", "application/json", ``, "json.empty@body", ""},
		{"/json", "", ``, "body.missing@body", ""},
		{"/json", "text/plain", `{"name":"a"}`, "body.media-type@body", ""},
		{"/json", "", `{"name":"a"}`, "body.media-type@body", ""},
		{"/json", "application/json", `{"name":"a","extra":1,"more":{"x":1}}`, "", "body /extra body /more"},
		{"/json", "application/json", `{"name":"a","pet":{"kind":"cat","lives":9}}`, "", ""},
		{"/json", "application/json", `{"name":"a","pet":{"kind":"hound","bark":true}}`, "", ""},
		{"/json", "application/json", `{"name":"a","pet":{"kind":"Dog","bark":true}}`, "", ""},
		{"/json", "application/json", `{"name":"a","pet":{"kind":"cat","bark":true}}`, "schema.required@body /pet", "body /pet/bark"},
		{"/json", "application/json", `{"name":"a","pet":{"kind":"cow","lives":9}}`, "schema.discriminator@body /pet/kind", ""},

		{"/form", form, `n=5&tags=ab&tags=cd`, "", ""},
		{"/form", form, `n=5&tags=a&tags=b&tags=c`, "schema.maxItems@body /tags", ""},
		{"/form", form, `n=5&n=6`, "parameter.duplicate@body n", ""},
		{"/form", form, `n=x`, "schema.type@body /n", ""},
		{"/form", form, `n=5&%6Eote=x`, "", "body note"},
		{"/form", form, `tags=a`, "schema.required@body", ""},
		{"/form", form, `n=%zz`, "parameter.encoding@body n schema.type@body /n", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name="photo"; filename="a.png"`, "\x89PNG\xff"), "", ""},
		{"/form", multi, multipart(`name="n"`, "x", `name="photo"; filename="a.png"`, "\x89PNG"), "schema.type@body /n", ""},
		{"/form", multi, multipart(`name="n"`, "5"), "schema.required@body", ""},
		{"/form", multi, "--xyz\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n5", "multipart.syntax@body", ""},
		{"/form", "multipart/form-data", "x", "multipart.boundary@body", ""},
		{"/form", "multipart/form-data; boundary*=utf-8''xyz", multipart(`name="n"`, "5", `name="photo"; filename="a.png"`, "x"), "multipart.boundary@body", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name="photo"; filename="a*=b.png"`, "x"), "", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name="photo"; filename*=utf-8''a.png`, "x"), "multipart.syntax@body", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name="photo"; filename=""; filename*=utf-8''a.png`, "x"), "multipart.syntax@body", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name="photo"; filename="a.png"; filename*=utf-8''a.png`, "x"), "", ""},
		{"/form", multi, multipart(`name="n"`, "5", `name*0="pho"; name*1="to"; filename="a"`, "x"), "multipart.syntax@body", ""},
		{"/form", multi, multipart("name=\"n\"\r\nContent-Transfer-Encoding: quoted-printable", "=35", `name="photo"; filename="a.png"`, "x"), "multipart.syntax@body", ""},
		{"/form", multi, multipart("name=\"n\"\r\nContent-Transfer-Encoding: 8bit", "5", `name="photo"; filename="a.png"`, "x"), "", ""},
		{"/form", multi, multipart("name=\"n\"\r\nContent-Type: text/plain; charset=utf-7", "5", `name="photo"; filename="a.png"`, "x"), "multipart.syntax@body", ""},
		{"/form", multi, multipart("name=\"n\"\r\nContent-Type: text/plain; charset=UTF-8", "5", "name=\"photo\"; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=iso-8859-1", "x"), "", ""},
		{"/form", "text/plain", "abc", "", ""},
		{"/form", "text/plain", "abcdefg", "schema.maxLength@body", ""},
		{"/form", "application/octet-stream", "\x00\xff", "", ""},
		{"/form", "image/png", "\x00\xff", "", ""},
		{"/form", "application/xml", "<a/>", "body.media-type@body", ""},
		{"/form", "", "", "", ""},
		{"/none", "", "", "", ""},
		{"/none", "application/json", `{"a":1}`, "", "body"},
	} {
		var m spec.Match
		var check spec.Check
		if set.Match("POST", c.path, &m) != spec.Found {
			t.Fatal(c.path)
		}
		m.Op.CheckBody(&check, c.contentType, []byte(c.body))
		var undocumented []string
		for _, p := range check.Undocumented {
			undocumented = append(undocumented, p.String())
		}
		if got := rules(&check); got != c.want || strings.Join(undocumented, " ") != c.undocumented {
			t.Errorf("%s %s %q: got %q and %q, want %q and %q", c.path, c.contentType, c.body, got, undocumented, c.want, c.undocumented)
		}
	}
	for _, c := range []struct {
		path, contentType string
		want              spec.BodyKind
	}{
		{"/json", "application/json", spec.JSON}, {"/json", "application/xml", spec.Undeclared}, {"/form", form, spec.Form}, {"/form", multi, spec.Multipart},
		{"/form", "text/plain", spec.Text}, {"/form", "image/gif", spec.Binary}, {"/none", "application/json", spec.None}, {"", "application/vnd.x+json", spec.JSON},
		{"", "application/zip", spec.Binary}, {"", "text/html", spec.Text},
	} {
		var m spec.Match
		set.Match("POST", c.path, &m)
		if got := m.Op.Body(c.contentType); got != c.want {
			t.Errorf("Body of %s %s: %d, want %d", c.path, c.contentType, got, c.want)
		}
	}
}

func TestResponses(t *testing.T) {
	set := loadText(t, bodies)
	var m spec.Match
	set.Match("POST", "/json", &m)
	ok := http.Header{"X-Left": {"5"}}
	for _, c := range []struct {
		status            int
		h                 http.Header
		contentType, body string
		want              string
		fresh             bool
	}{
		{200, ok, "application/json", `{"name":"a"}`, "", false},
		{200, ok, "application/json", `{"name":"a","secret":"x"}`, "schema.writeOnly@body /secret", false},
		{200, nil, "application/json", `{"name":"a"}`, "parameter.missing@header X-Left", false},
		{200, http.Header{"X-Left": {"x"}}, "application/json", `{"name":1}`, "schema.type@body /name schema.type@header X-Left", false},
		{200, ok, "text/html", `<p>`, "body.media-type@body", false},
		{404, nil, "application/problem+json", `{"status":404}`, "", false},
		{404, nil, "application/problem+json", `{}`, "schema.required@body", false},
		{500, nil, "application/json", `{}`, "", true},
	} {
		var check spec.Check
		m.Op.CheckResponse(&check, c.status, c.h)
		m.Op.CheckResponseBody(&check, c.status, c.contentType, []byte(c.body))
		if got := rules(&check); got != c.want || check.NewStatus != c.fresh {
			t.Errorf("%d %s %s: got %q, new %v; want %q, %v", c.status, c.contentType, c.body, got, check.NewStatus, c.want, c.fresh)
		}
	}
}

func TestMatch(t *testing.T) {
	set := loadText(t, `
openapi: 3.2.0
info: {title: t, version: "1"}
servers: [{url: "https://x.test/v1/"}, {url: "/{stage}", variables: {stage: {default: beta, enum: [beta, next]}}}]
paths:
  /users/{id}: {get: {parameters: [{$ref: "#/components/parameters/id"}]}, delete: {parameters: [{$ref: "#/components/parameters/id"}]}}
  /users/me: {get: {}, query: {}, additionalOperations: {LINK: {}}}
  /users/{id}/files/{name}.json: {get: {parameters: [{$ref: "#/components/parameters/id"}, {name: name, in: path, required: true, schema: {}}]}}
  /users/{id}/files/{name}: {get: {parameters: [{$ref: "#/components/parameters/id"}, {name: name, in: path, required: true, schema: {}}]}}
  /range/{from}-{to}: {get: {parameters: [{name: from, in: path, required: true, schema: {}}, {name: to, in: path, required: true, schema: {}}]}}
  /list/: {get: {}}
  /a b: {get: {}}
  /: {head: {}}
components: {parameters: {id: {name: id, in: path, required: true, schema: {type: string}}}}
`)
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/v1/users/7", "/v1/users/{id} id=7"},
		{"GET", "/beta/users/7", "/beta/users/{id} id=7"},
		{"GET", "/next/users/7", "/next/users/{id} id=7"},
		{"GET", "/other/users/7", "no path"},
		{"GET", "/v1/users/me", "/v1/users/me"},
		{"GET", "/v1/users/m%65", "/v1/users/me"},
		{"HEAD", "/v1/users/me", "/v1/users/me implied"},
		{"QUERY", "/v1/users/me", "/v1/users/me"},
		{"LINK", "/v1/users/me", "/v1/users/me"},
		{"DELETE", "/v1/users/me", "/v1/users/{id} id=me"},
		{"PUT", "/v1/users/me", "no method [GET HEAD LINK QUERY]"},
		{"PUT", "/v1/users/7", "no method [DELETE GET HEAD]"},
		{"GET", "/v1/users/7/", "no path"},
		{"GET", "/v1//users/7", "no path"},
		{"GET", "/v1/users/", "no path"},
		{"GET", "/v1/users/a%2Fb", "/v1/users/{id} id=a%2Fb"},
		{"GET", "/v1/users/..", "no path"},
		{"GET", "/v1/users/%2e%2E", "no path"},
		{"GET", "/v1/x/../users/7", "no path"},
		{"GET", "/v1/./users/7", "no path"},
		{"GET", "/v1/users/..;a=b", "no path"},
		{"GET", "/v1/users/...", "/v1/users/{id} id=..."},
		{"GET", "/v1/users/7/files/a.json", "/v1/users/{id}/files/{name}.json id=7 name=a"},
		{"GET", "/v1/users/7/files/a.xml", "/v1/users/{id}/files/{name} id=7 name=a.xml"},
		{"GET", "/v1/users/7/files/.json", "/v1/users/{id}/files/{name} id=7 name=.json"},
		{"GET", "/v1/range/1-20", "/v1/range/{from}-{to} from=1 to=20"},
		{"GET", "/v1/range/1", "no path"},
		{"GET", "/v1/list/", "/v1/list/"},
		{"GET", "/v1/list", "no path"},
		{"GET", "/v1/a%20b", "/v1/a b"},
		{"HEAD", "/v1/", "/v1/"},
		{"GET", "/v1/", "no method [HEAD]"},
		{"GET", "", "no path"},
		{"GET", "*", "no path"},
		{"GET", "/v1" + strings.Repeat("/x", 5000), "no path"},
	} {
		var m spec.Match
		got := ""
		switch set.Match(c.method, c.path, &m) {
		case spec.NoPath:
			got = "no path"
		case spec.NoMethod:
			got = fmt.Sprint("no method ", m.Allowed)
		case spec.Found:
			got = m.Op.Template
			for _, p := range m.Params[:m.N] {
				got += " " + p.Name + "=" + p.Raw
			}
			if m.Implied {
				got += " implied"
			}
		}
		if got != c.want {
			t.Errorf("%s %.60s: got %q, want %q", c.method, c.path, got, c.want)
		}
	}
}

// The four versions of one small API give the same verdicts.
func TestVersions(t *testing.T) {
	old := `swagger: "2.0"
info: {title: t, version: "1"}
basePath: /v1
consumes: [application/json]
securityDefinitions: {key: {type: apiKey, in: header, name: X-Key}, o: {type: oauth2, flow: implicit, authorizationUrl: "https://x.test", scopes: {read: r}}}
security: [{key: []}]
paths:
  /a/{id}:
    parameters: [{name: id, in: path, required: true, type: integer, format: int32}]
    put:
      operationId: put
      deprecated: true
      security: [{o: [read]}, {}]
      parameters:
        - {name: sort, in: query, type: string, enum: [up, down]}
        - {name: body, in: body, required: true, schema: {$ref: "#/definitions/A"}}
      responses: {"200": {description: ok, schema: {$ref: "#/definitions/A"}}}
    post:
      consumes: [application/x-www-form-urlencoded]
      security: []
      parameters: [{name: n, in: formData, required: true, type: integer, maximum: 5, exclusiveMaximum: true}]
      responses: {"200": {description: ok}}
definitions:
  A: {type: object, required: [n], properties: {n: {type: integer, minimum: 1, exclusiveMinimum: true}, s: {type: string, x-nullable: true}}}
`
	fresh := func(version, minimum, null, max string) string {
		return `openapi: ` + version + `
info: {title: t, version: "1"}
servers: [{url: "https://x.test/v1"}]
security: [{key: []}]
paths:
  /a/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer, format: int32}}]
    put:
      operationId: put
      deprecated: true
      security: [{o: [read]}, {}]
      parameters: [{name: sort, in: query, schema: {type: string, enum: [up, down]}}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/A"}}}}
      responses: {"200": {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/A"}}}}}
    post:
      security: []
      requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object, required: [n], properties: {n: {type: integer, ` + max + `}}}}}}
      responses: {"200": {description: ok}}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}, o: {type: oauth2, flows: {implicit: {authorizationUrl: "https://x.test", scopes: {read: r}}}}}
  schemas:
    A: {type: object, required: [n], properties: {n: {type: integer, ` + minimum + `}, s: {` + null + `}}}
`
	}
	for name, text := range map[string]string{
		"2.0": old,
		"3.0": fresh("3.0.4", "minimum: 1, exclusiveMinimum: true", "type: string, nullable: true", "maximum: 5, exclusiveMaximum: true"),
		"3.1": fresh("3.1.1", "exclusiveMinimum: 1", "type: [string, 'null']", "exclusiveMaximum: 5"),
		"3.2": fresh("3.2.0", "exclusiveMinimum: 1", "type: [string, 'null']", "exclusiveMaximum: 5"),
	} {
		set := loadText(t, text)
		for _, c := range []struct{ method, path, query, contentType, body, want string }{
			{"PUT", "/v1/a/5", "sort=up", "application/json", `{"n":2,"s":null}`, ""},
			{"PUT", "/v1/a/5", "sort=left", "application/json", `{"n":2}`, "schema.enum@query sort"},
			{"PUT", "/v1/a/3000000000", "", "application/json", `{"n":2}`, "schema.format@path id"},
			{"PUT", "/v1/a/5", "", "application/json", `{"n":1}`, "schema.exclusiveMinimum@body /n"},
			{"PUT", "/v1/a/5", "", "application/json", `{"n":2,"s":3}`, "schema.type@body /s"},
			{"POST", "/v1/a/5", "", "application/x-www-form-urlencoded", `n=4`, ""},
			{"POST", "/v1/a/5", "", "application/x-www-form-urlencoded", `n=5`, "schema.exclusiveMaximum@body /n"},
		} {
			var m spec.Match
			var check spec.Check
			if set.Match(c.method, c.path, &m) != spec.Found {
				t.Fatalf("%s: %s", name, c.path)
			}
			m.Op.CheckParams(&check, &m, c.query, nil)
			m.Op.CheckBody(&check, c.contentType, []byte(c.body))
			if got := rules(&check); got != c.want {
				t.Errorf("%s %s %s?%s %s: got %q, want %q", name, c.method, c.path, c.query, c.body, got, c.want)
			}
		}
		for _, op := range set.Operations() {
			if op.Method == "PUT" && (op.ID != "put" || !op.Deprecated || len(op.Security) != 2 || op.Security[0]["o"][0] != "read") ||
				op.Method == "POST" && (op.Security == nil || len(op.Security) != 0) {
				t.Errorf("%s %s: %q %v %v", name, op.Method, op.ID, op.Deprecated, op.Security)
			}
		}
	}
}
