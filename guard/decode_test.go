package guard_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zstandard(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

// put sends a body of a kind and gives what goes on to the upstream, and the record.
func put(p *guard.Program, contentType, encoding, body string) (string, *sallyport.Exchange) {
	r := request("POST", "/up", "", len(body))
	r.Header["Content-Type"] = []string{contentType}
	if encoding != "" {
		r.Header["Content-Encoding"] = []string{encoding}
	}
	s, step := p.Begin(r, now)
	if step.Verb == guard.Proceed && step.Body == guard.BodyWhole {
		step = s.RequestBody([]byte(body), now)
	}
	out := body
	if step.Replace != nil {
		out = string(step.Replace)
	}
	if step.Verb != guard.Proceed {
		out = ""
	}
	return out, s.End(guard.Outcome{Status: 200}, now)
}

func uploads(t testing.TB, mode sallyport.Mode) *guard.Program {
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "up.yaml", Data: []byte(`openapi: 3.1.0
info: {title: up, version: "1"}
paths:
  /up:
    post:
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {a: {type: string}}}}
          multipart/form-data: {schema: {type: object, properties: {title: {type: string}, tags: {type: array, items: {type: string}}, photo: {type: string, format: binary}, doc: {}}}}
      responses: {"200": {description: ok}}
`)}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, guard.Config{Name: "test", Inspect: engine, APIs: []guard.API{{API: sallyport.API{Name: "up"}, Spec: set,
		Policy: policy.API{Mode: mode, Bounds: policy.Bounds{Body: 100_000, Encoded: policy.DecodeIt}}}}})
}

// Encoded bodies are read as what they stand for, within the bound, and go on
// plain; what two readers would read in two ways is refused.
func TestEncodedBodies(t *testing.T) {
	const clean, attack = `{"a":"O'Brien"}`, `{"a":"' OR '1'='1' -- "}`
	p, watching := uploads(t, sallyport.Enforce), uploads(t, sallyport.Observe)
	bomb := strings.Repeat("0", 20<<20)
	for _, c := range []struct{ name, encoding, body, want, rule string }{
		{"gzip", "gzip", gzipped(clean), clean, ""}, {"deflate", "deflate", deflated(clean), clean, ""}, {"zstd", "zstd", zstandard(clean), clean, ""},
		{"twice", "gzip, deflate", deflated(gzipped(clean)), clean, ""}, {"x-gzip", "X-GZIP", gzipped(clean), clean, ""}, {"identity", "identity", clean, clean, ""},
		{"attack in gzip", "gzip", gzipped(attack), "", "sqli"}, {"attack in zstd", "zstd", zstandard(attack), "", "sqli"}, {"attack in both", "deflate, gzip", gzipped(deflated(attack)), "", "sqli"},
		{"wrong type", "gzip", gzipped(`{"a":1}`), "", "schema.type"},
		{"three times", "gzip, gzip, gzip", gzipped(gzipped(gzipped(clean))), "", "body.content-encoding"},
		{"unknown", "br", clean, "", "body.content-encoding"}, {"no gzip", "gzip", clean, "", "body.content-encoding"},
		{"cut", "gzip", gzipped(clean)[:20], "", "body.content-encoding"}, {"two members", "gzip", gzipped(clean) + gzipped(attack), "", "body.content-encoding"},
		{"something behind", "gzip", gzipped(clean) + "x", "", "body.content-encoding"}, {"empty", "gzip", " ", "", "body.content-encoding"},
		{"bomb in gzip", "gzip", gzipped(bomb), "", "body.content-encoding"}, {"bomb in zstd", "zstd", zstandard(bomb), "", "body.content-encoding"},
		{"bomb in a bomb", "gzip, gzip", gzipped(gzipped(bomb)), "", "body.content-encoding"},
	} {
		if out, x := put(p, "application/json", c.encoding, c.body); out != c.want || c.rule != "" && !has(x, c.rule) {
			t.Errorf("%s: got %.80q, %+v", c.name, out, x.Decision.Reasons)
		}
		if out, x := put(watching, "application/json", c.encoding, c.body); out != c.body || c.rule != "" && !has(x, c.rule) {
			t.Errorf("%s, observed: got %.80q, %+v", c.name, out, x.Decision.Reasons)
		}
	}
}

func has(x *sallyport.Exchange, rule string) bool {
	return slices.ContainsFunc(x.Decision.Reasons, func(r sallyport.Reason) bool { return strings.HasPrefix(r.Rule, rule) })
}

// What a form says outside of its parts, or in a text that calls itself a file,
// is inspected like any of it.
func TestFormsAreInspectedWhole(t *testing.T) {
	const attack = "' OR '1'='1' -- "
	part := func(disposition, content string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n"
	}
	p := uploads(t, sallyport.Observe)
	for _, c := range []struct {
		name, body string
		hit        bool
	}{
		{"text", part(`name="title"`, attack) + "--b--\r\n", true},
		{"text as a file", part(`name="title"; filename="blob"`, attack) + "--b--\r\n", true},
		{"item as a file", part(`name="tags"; filename="blob"`, attack) + "--b--\r\n", true},
		{"behind the last part", part(`name="title"`, "x") + "--b--\r\n" + attack, true},
		{"a part behind the last", part(`name="title"`, "x") + "--b--\r\n" + part(`name="title"`, attack), true},
		{"before the first part", attack + "\r\n" + part(`name="title"`, "x") + "--b--\r\n", true},
		{"a photo", part(`name="photo"; filename="a.bin"`, attack) + "--b--\r\n", false},
		{"a harmless text as a file", part(`name="title"; filename="blob"`, "O'Brien") + "--b--\r\n", false},
		{"line ends behind", part(`name="title"`, "x") + "--b--\r\n\r\n", false},
	} {
		if _, x := put(p, "multipart/form-data; boundary=b", "", c.body); has(x, "sqli") != c.hit {
			t.Errorf("%s: %+v", c.name, x.Decision.Reasons)
		}
	}
}

func FuzzEncodedBodies(f *testing.F) {
	f.Add("gzip", []byte(gzipped("x")))
	f.Add("zstd, deflate", []byte(zstandard("x")))
	p := uploads(f, sallyport.Enforce)
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		if out, _ := put(p, "application/json", encoding, string(body)); len(out) > 100_000 && len(out) != len(body) {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
