package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	yaml "go.yaml.in/yaml/v4"
)

func TestEveryMistakeInOneGo(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"empty"}},
		{"not YAML", "apis: [", []string{"c.yaml"}},
		{"a list", "- a\n", []string{"c.yaml:1:1: the file: want keys with values, found a list"}},
		{"several", `listen: {gatway: ":8443", console: "here"}
tls: maybe
roles: [gateway, kitchen]
apis:
  - name: "pay ments"
    match: {path: payments}
    upstreams: [{url: "ftp://x"}, {}]
    limts: [{rate: 100/min}]
    limits: [{rate: often, per: client}]
    mode: enforced
    exposure: outside
  - name: b
`, []string{
			`c.yaml:1:10: unknown key "listen.gatway"; did you mean "gateway"?`,
			`c.yaml:2:6: tls: want {cert, key}`,
			`c.yaml:3:18: roles[1]: "kitchen" is neither gateway nor control`,
			`c.yaml:8:5: unknown key "apis[0].limts"; did you mean "limits"?`,
			`c.yaml:9:21: apis[0].limits[0].rate: rate "often": want a count`,
		}},
		{"meaning", `listen: {gateway: "0.0.0.0:8443", console: "here"}
tls: "off"
apis:
  - name: "pay ments"
    match: {path: payments}
    upstreams: [{url: "ftp://x"}, {}]
    exposure: outside
  - name: b
`, []string{
			`c.yaml:1:19: listen.gateway: tls is off`,
			`c.yaml:1:44: listen.console: "here" is not host:port`,
			`c.yaml:4:11: apis[0].name: "pay ments"`,
			`c.yaml:5:19: apis[0].match.path: "payments" does not begin with /`,
			`c.yaml:6:23: apis[0].upstreams[0].url: "ftp://x"`,
			`c.yaml:6:35: apis[0].upstreams[1]: want one of url, dns and kubernetes`,
			`c.yaml:7:15: apis[0].exposure: "outside"`,
			`c.yaml:8:5: apis[1]: upstreams is missing`,
		}},
		{"twice", "data: a\ndata: b\n", []string{`data`}},
		{"aliases", "data: &a x\nkeys: *a\n", []string{"anchors and aliases are not read"}},
	} {
		_, err := parseConfig("c.yaml", []byte(c.text))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no line with %q in\n%v", c.name, w, err)
			}
		}
	}
}

func TestPolicyMistakesHaveTheirLine(t *testing.T) {
	dir := t.TempDir()
	spec, err := os.ReadFile("../../examples/first-api/petstore.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pets.yaml"), string(spec))
	write(t, filepath.Join(dir, "c.yaml"), `apis:
  - name: pets
    spec: pets.yaml
    upstreams: [{url: "http://127.0.0.1:1"}]
    operations:
      - {operation: listPet, mode: observe}
    exceptions:
      - {id: E1, rule: sqli.*, owner: me}
`)
	var out, errs bytes.Buffer
	code := command(t.Context(), []string{"config", "check", filepath.Join(dir, "c.yaml")}, &out, &errs)
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, w := range []string{`c.yaml:6:21: apis[0].operations[0].operation: no operation "listPet" in the specification; did you mean "listPets"?`, `c.yaml:8:9: apis[0].exceptions[0].expires: missing`, `reason: missing`} {
		if !strings.Contains(errs.String(), w) {
			t.Errorf("no line with %q in\n%s", w, errs.String())
		}
	}
}

// What needs a running provider or comes from a later step must neither fail
// the check nor be hidden by an earlier mistake.
func TestCheckGoesToTheEnd(t *testing.T) {
	dir := t.TempDir()
	spec, err := os.ReadFile("../../examples/first-api/petstore.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pets.yaml"), string(spec))
	check := func(text string) (int, string) {
		write(t, filepath.Join(dir, "c.yaml"), text)
		var out, errs bytes.Buffer
		code := command(t.Context(), []string{"config", "check", filepath.Join(dir, "c.yaml")}, &out, &errs)
		return code, out.String() + errs.String()
	}
	good := `apis:
  - name: pets
    spec: pets.yaml
    upstreams: [{url: "http://127.0.0.1:1"}]
    auth: {oidc: {issuer: "https://idp.example.test", audience: pets}}
`
	if code, said := check(good); code != 0 {
		t.Errorf("an API with an issuer: exit code %d, %s", code, said)
	}
	code, said := check(good + `    mode: enforced
    match: {path: pets}
`)
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, w := range []string{"c.yaml:7:19: apis[0].match.path", "apis[0].mode"} {
		if !strings.Contains(said, w) {
			t.Errorf("no line with %q in\n%s", w, said)
		}
	}
}

func TestBrokenSpecificationsAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":   {"", "spec.yaml"},
		"broken":  {"openapi: 3.1.0\npaths: [", "spec.yaml:"},
		"no spec": {"hello: world\n", "spec.yaml"},
		"cyclic":  {"openapi: 3.1.0\ninfo: {title: a, version: '1'}\npaths: {/a: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/A'}}}}, responses: {'200': {description: ok}}}}}\ncomponents: {schemas: {A: {$ref: '#/components/schemas/A'}}}\n", "spec.yaml:"},
		"huge":    {"openapi: 3.1.0\n#" + strings.Repeat("x", 50<<20), "spec.yaml"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "spec.yaml"), c.text)
		write(t, filepath.Join(dir, "c.yaml"), "apis:\n  - {name: a, spec: spec.yaml, upstreams: [{url: 'http://127.0.0.1:1'}]}\n")
		var out, errs bytes.Buffer
		if code := command(t.Context(), []string{"config", "check", filepath.Join(dir, "c.yaml")}, &out, &errs); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d; %s", name, code, exitUsage, errs.String())
		}
		if !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: no %q in %s", name, c.want, errs.String())
		}
	}
}

func TestSchemaAcceptsTheExamples(t *testing.T) {
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"config", "schema"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	doc, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../../examples/full.yaml", "../../examples/first-api/sallyport.yaml", "../../examples/silent-errors/sallyport.yaml", "../../examples/formats/sallyport.yaml", "../../examples/answers/sallyport.yaml", "../../examples/limits/sallyport.yaml", "../../examples/websocket/sallyport.yaml", "../../examples/doors/sallyport.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseConfig(file, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		inst, _ := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err := schema.Validate(inst); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	inst, _ := jsonschema.UnmarshalJSON(strings.NewReader(`{"apis": [{"name": "a", "upstreams": [], "limts": []}]}`))
	if schema.Validate(inst) == nil {
		t.Error("the schema accepts an unknown key")
	}
}

func TestHelpSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"Exit codes", "config check", "run"}},
		{[]string{"run", "--help"}, []string{"--config"}},
		{[]string{"config", "check", "--help"}, []string{"file:line:column"}},
	} {
		var out, errs bytes.Buffer
		if code := command(t.Context(), c.args, &out, &errs); code != 0 {
			t.Errorf("%v: exit code %d, %s", c.args, code, errs.String())
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%v: no %q in\n%s", c.args, w, out.String())
			}
		}
	}
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"rnu"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "run") {
		t.Errorf("an unknown command: exit code %d, %s", code, errs.String())
	}
}

func FuzzConfig(f *testing.F) {
	for _, file := range []string{"../../examples/full.yaml", "../../examples/first-api/sallyport.yaml", "../../examples/silent-errors/sallyport.yaml", "../../examples/formats/sallyport.yaml", "../../examples/answers/sallyport.yaml", "../../examples/limits/sallyport.yaml", "../../examples/websocket/sallyport.yaml", "../../examples/doors/sallyport.yaml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("apis: {name: a, limits: {rate: 1/s}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseConfig("c.yaml", b); err == nil && c == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
