package schema_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"sallyport.dev/spec/jsondoc"
	"sallyport.dev/spec/schema"
	"sallyport.dev/spec/source"
)

type suiteGroup struct {
	Description string
	Schema      json.RawMessage
	Tests       []struct {
		Description string
		Data        json.RawMessage
		Valid       bool
	}
}

func readSuite(t testing.TB) (files map[string][]byte) {
	z, err := zip.OpenReader("testdata/suite.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files = map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	return files
}

func suiteLoader(files map[string][]byte) func(string) (*source.Value, error) {
	return func(uri string) (*source.Value, error) {
		name, ok := strings.CutPrefix(uri, "http://localhost:1234/")
		data := files["remotes/"+name]
		if !ok || data == nil {
			return nil, fmt.Errorf("no such document")
		}
		v, faults := source.Parse(data, false)
		if len(faults) > 0 {
			return nil, fmt.Errorf("%v", faults)
		}
		return v, nil
	}
}

// Every required case of the published suite holds.
func TestSuite(t *testing.T) {
	files := readSuite(t)
	total := 0
	for dir, dialect := range map[string]schema.Dialect{"draft4": schema.Draft4, "draft7": schema.Draft7, "draft2020-12": schema.Draft2020} {
		for name, data := range files {
			if path.Dir(name) != "tests/"+dir {
				continue
			}
			var groups []suiteGroup
			if err := json.Unmarshal(data, &groups); err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				s, err := schema.Compile(g.Schema, schema.Options{Dialect: dialect, Load: suiteLoader(files)})
				if err != nil {
					t.Errorf("%s: %s: %v", name, g.Description, err)
					continue
				}
				for _, c := range g.Tests {
					total++
					var d jsondoc.Doc
					if err := d.Parse(c.Data, jsondoc.Limits{}); err != nil {
						t.Errorf("%s: %s: %v", name, c.Description, err)
						continue
					}
					var problems []schema.Problem
					if got := s.Validate(&d, 0, &problems, 5); got != c.Valid || got != (len(problems) == 0) {
						t.Errorf("%s: %s: %s\nschema %s\ndata %s\ngot %v, want %v, problems %v", name, g.Description, c.Description, g.Schema, c.Data, got, c.Valid, problems)
					}
				}
			}
		}
	}
	if total < 2800 {
		t.Errorf("only %d cases", total)
	}
}
