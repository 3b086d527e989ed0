package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every rule that the vectors of the guard name is of a known family, and what
// only looks like one is told.
func TestFamiliesOfRules(t *testing.T) {
	files, err := filepath.Glob("../../guard/testdata/vectors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`- (?:enforce|observe) [a-z]+ ([a-z0-9-]+\.[a-z0-9.-]+)`)
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(b, -1) {
			n++
			if odd := strangeRule(string(m[1])); odd != "" {
				t.Errorf("%s: %s: %s", f, m[1], odd)
			}
		}
	}
	if n < 50 {
		t.Errorf("%d rules found in the vectors", n)
	}
	for rule, want := range map[string]string{"sqil.*": `no rule's name begins with sqil; did you mean "sqli"?`, "schmea.type": `no rule's name begins with schmea; did you mean "schema"?`, "sqli.*": "", "schema.type": ""} {
		if got := strangeRule(rule); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}
