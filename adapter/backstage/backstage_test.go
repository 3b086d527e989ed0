package backstage_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/backstage"
)

func read(t *testing.T, files map[string]string) ([]string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	err := (&backstage.Catalogue{ID: "b", Path: dir}).Watch(t.Context(), func(l []sallyport.Claim) error {
		for _, c := range l {
			out = append(out, c.Asset.API+" "+c.Field+"="+c.Value+" "+strings.TrimPrefix(c.Evidence, dir+"/"))
		}
		return nil
	})
	return out, err
}

func TestEntities(t *testing.T) {
	got, err := read(t, map[string]string{
		"pay/catalog-info.yaml": `apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: payments, title: Payments, tags: [money], annotations: {github.com/project-slug: org/pay}}
spec: {type: openapi, lifecycle: production, owner: group:default/pay-team, system: bank, definition: {$text: ./openapi.yaml}}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: pay-service}
spec: {type: service, lifecycle: production, owner: pay-team, providesApis: [payments, refunds], consumesApis: [ledger]}
---
apiVersion: v1
kind: Service
metadata: {name: not-ours}
`,
		"org/catalog-info.yaml": `apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: pay-team}
spec: {type: team, parent: retail, profile: {email: pay@example.test}}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: retail}
spec: {type: department, parent: pay-team, profile: {displayName: Retail banking}}
`,
		"broken/catalog-info.yaml": "apiVersion: [unclosed\n",
		"other.yaml":               "apiVersion: backstage.io/v1alpha1\nkind: API\nmetadata: {name: unread}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"payments owner.team=pay-team pay/catalog-info.yaml:1", "payments owner.contact=pay@example.test pay/catalog-info.yaml:1", "payments department=Retail banking pay/catalog-info.yaml:1",
		"payments lifecycle=active pay/catalog-info.yaml:1", "payments kind=rest pay/catalog-info.yaml:1", "payments repository=https://github.com/org/pay pay/catalog-info.yaml:1",
		"payments workload=pay-service pay/catalog-info.yaml:6", "payments upstreams=ledger pay/catalog-info.yaml:6", "ledger consumers=pay-service pay/catalog-info.yaml:6", "refunds owner.team=pay-team pay/catalog-info.yaml:6"} {
		if !slices.Contains(got, w) {
			t.Errorf("missed %s", w)
		}
	}
	for _, g := range got {
		if strings.Contains(g, "not-ours") || strings.Contains(g, "unread") {
			t.Errorf("claimed %s", g)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(got, "\n"))
	}
}

func TestBadFiles(t *testing.T) {
	ring := "apiVersion: backstage.io/v1\nkind: Group\nmetadata: {name: a}\nspec: {parent: b}\n---\napiVersion: backstage.io/v1\nkind: Group\nmetadata: {name: b}\nspec: {parent: a}\n---\napiVersion: backstage.io/v1\nkind: API\nmetadata: {name: x}\nspec: {owner: a}\n"
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\n"
	if got, err := read(t, map[string]string{"catalog-info.yaml": ring}); err != nil || len(got) != 2 {
		t.Errorf("groups in a ring: %v %v", got, err)
	}
	for name, text := range map[string]string{"bomb": bomb, "large": strings.Repeat("# x\n", 2<<20), "broken": "a: [", "wrong": "kind: [1, 2]\napiVersion: backstage.io/v1\n"} {
		if got, err := read(t, map[string]string{"catalog-info.yaml": text}); len(got) != 0 || err == nil && name != "bomb" {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}
