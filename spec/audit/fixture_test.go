package audit_test

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport.dev/classify"
	"sallyport.dev/spec/audit"
)

// A fixture changes a document that nothing is wrong with: keys are JSON
// pointers, with the shortcuts below; null removes, "-" appends, "+" is text behind it.
type fixture struct {
	Base string         `yaml:"base"`
	Hit  map[string]any `yaml:"hit"`
	Miss map[string]any `yaml:"miss"`
}

var shortcuts = strings.NewReplacer("$LIST", "/paths/~1v1~1orders/get", "$POST", "/paths/~1v1~1orders/post", "$ONE", "/paths/~1v1~1orders~1{orderId}/get",
	"$BODY", "/paths/~1v1~1orders/post/requestBody/content/application~1json/schema", "$ORDER", "/components/schemas/Order", "$PROBLEM", "/components/schemas/Problem",
	"$SCHEMES", "/components/securitySchemes", "$PARAMS", "/paths/~1v1~1orders/get/parameters", "$ID", "/paths/~1v1~1orders~1{orderId}/get/parameters/0", "$PATHS", "/paths")

var options = audit.Options{Classify: func(name string) string { return string(classify.Name(name)) }, Most: 5}

func document(t *testing.T, base string, change map[string]any) []byte {
	t.Helper()
	if base == "" {
		base = "base"
	}
	raw, err := os.ReadFile("testdata/" + base + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := yaml.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	after := ""
	for pointer, value := range change {
		if pointer == "+" { // text behind the document
			after = value.(string)
			continue
		}
		root = put(t, root, strings.Split(strings.TrimPrefix(shortcuts.Replace(pointer), "/"), "/"), value)
	}
	var out bytes.Buffer
	if err := yaml.NewEncoder(&out).Encode(root); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), after...)
}

func put(t *testing.T, at any, path []string, value any) any {
	t.Helper()
	key := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch x := at.(type) {
	case nil:
		at = map[string]any{}
		return put(t, at, path, value)
	case map[string]any:
		switch {
		case len(path) > 1:
			x[key] = put(t, x[key], path[1:], value)
		case value == nil:
			delete(x, key)
		default:
			x[key] = value
		}
		return x
	case []any:
		if key == "-" {
			return append(x, value)
		}
		i, err := strconv.Atoi(key)
		if err != nil || i >= len(x) {
			t.Fatalf("no item %q", key)
		}
		if len(path) > 1 {
			x[i] = put(t, x[i], path[1:], value)
		} else {
			x[i] = value
		}
		return x
	}
	t.Fatalf("%v leads into a plain value", path)
	return nil
}

func audited(t *testing.T, data []byte) *audit.Report {
	t.Helper()
	r, err := audit.Audit("api.yaml", data, options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every check speaks on its hit, with a place, and is silent on its miss.
func TestChecks(t *testing.T) {
	raw, err := os.ReadFile("testdata/fixtures.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var fixtures map[string]fixture
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&fixtures); err != nil {
		t.Fatal(err)
	}
	if n := len(audit.Checks()); n < 150 {
		t.Errorf("%d checks", n)
	}
	seen := map[string]bool{}
	for _, c := range audit.Checks() {
		if seen[c.ID] || c.Title == "" || c.Why == "" || c.Fix == "" || len(c.Refs) < 2 {
			t.Errorf("check %s is not whole, or twice", c.ID)
		}
		seen[c.ID] = true
		f, ok := fixtures[c.ID]
		if !ok || len(f.Hit) == 0 {
			t.Errorf("check %s has no fixture", c.ID)
			continue
		}
		delete(fixtures, c.ID)
		found := false
		data := document(t, f.Base, f.Hit)
		lines := bytes.Count(data, []byte("\n"))
		for _, x := range audited(t, data).Findings {
			if x.ID == c.ID {
				found = true
				if x.Line < 1 || x.Line > lines || x.Column < 1 {
					t.Errorf("check %s: place %s", c.ID, x.Place())
				}
			}
		}
		if !found {
			t.Errorf("check %s is silent on its hit", c.ID)
		}
		if n := audited(t, document(t, f.Base, f.Miss)).Counts[c.ID]; n > 0 {
			t.Errorf("check %s speaks %d times on its miss", c.ID, n)
		}
	}
	for id := range fixtures {
		t.Errorf("a fixture for %s, which there is not", id)
	}
}

// A document that is written well has nothing to be said about it.
func TestNothing(t *testing.T) {
	for _, f := range audited(t, document(t, "base", nil)).Findings {
		t.Errorf("%s %s %s", f.Place(), f.ID, f.Detail)
	}
}
