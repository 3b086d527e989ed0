package spec_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/spec"
)

func load(t testing.TB, file string) *spec.Set {
	t.Helper()
	set, err := spec.Load(context.Background(), []spec.Source{{Path: file}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// good is a body for POST /v1/goods with the given number of lines.
func good(lines int) []byte {
	var b strings.Builder
	b.WriteString(`{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "sku": "TN-3000-GRN", "status": "active", "price": 84.5, "quantity": 17, ` +
		`"created": "2026-03-02T10:40:05.250Z", "express": false, "tags": ["camping", "two-person", "light", "spring-26"], ` +
		`"address": {"street": "3 Harbour Walk, Flat 9", "city": "Port Elizabeth", "country": "ZA", "zip": "6001"}, "lines": [`)
	for i := range lines {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"sku": "TN-%04d-B", "qty": %d, "unit": %d.5}`, i, 1+i%900, 3+i%50)
	}
	b.WriteString(`], "description": "Two person tent with a sewn-in floor, fibre glass poles and a vestibule for the luggage. ` +
		`Packs small; the pegs are in the side pocket of the bag, please count them before you leave the camp site again."}`)
	return []byte(b.String())
}

const (
	getPath  = "/v1/goods/1234"
	getQuery = "limit=20&sort=name&q=blue%20jacket"
)

var getHeader = http.Header{"User-Agent": {"shop-mobile/4.2.1 (Android 15; Pixel 8)"}, "Accept": {"application/json"}, "Host": {"shop.example.test"}}

func get(t testing.TB, set *spec.Set, m *spec.Match, c *spec.Check) {
	c.Reset()
	if set.Match(http.MethodGet, getPath, m) != spec.Found {
		t.Fatal("no match")
	}
	m.Op.CheckParams(c, m, getQuery, getHeader)
	if len(c.Problems) > 0 || len(c.Params) != 6 {
		t.Fatal(c.Problems, c.Params)
	}
}

func post(t testing.TB, set *spec.Set, m *spec.Match, c *spec.Check, body []byte) {
	c.Reset()
	if set.Match(http.MethodPost, "/v1/goods", m) != spec.Found {
		t.Fatal("no match")
	}
	m.Op.CheckBody(c, "application/json", body)
	if len(c.Problems) > 0 || !c.HasDoc {
		t.Fatal(c.Problems)
	}
}

func TestNoAllocation(t *testing.T) {
	set := load(t, "testdata/shop.yaml")
	var m spec.Match
	var c spec.Check
	small := good(10)
	for name, f := range map[string]func(){
		"GET with parameters": func() { get(t, set, &m, &c) },
		"POST of 1 KiB":       func() { post(t, set, &m, &c, small) },
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	set := load(b, "testdata/shop.yaml")
	var m spec.Match
	var c spec.Check
	b.ReportAllocs()
	for b.Loop() {
		get(b, set, &m, &c)
	}
}

func BenchmarkMatch(b *testing.B) {
	set := load(b, "testdata/shop.yaml")
	var m spec.Match
	b.ReportAllocs()
	for b.Loop() {
		set.Match(http.MethodGet, getPath, &m)
	}
}

func BenchmarkPost(b *testing.B) {
	set := load(b, "testdata/shop.yaml")
	for _, lines := range []int{10, 260} {
		body := good(lines)
		b.Run(fmt.Sprintf("%dB", len(body)), func(b *testing.B) {
			var m spec.Match
			var c spec.Check
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				post(b, set, &m, &c, body)
			}
			leaves := 0
			for i := range c.Doc.Nodes {
				if c.Doc.Nodes[i].Count == 0 {
					leaves++
				}
			}
			b.ReportMetric(float64(leaves), "leaves")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	data := unzip(b, lab+"openapi.yaml.gz")
	for b.Loop() {
		if _, err := spec.Load(context.Background(), []spec.Source{{Path: "openapi.yaml", Data: data}}, spec.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
