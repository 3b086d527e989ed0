package spec_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/pb33f/libopenapi"

	"sallyport.dev/spec"
)

var update = flag.Bool("update", false, "rewrite the expected files")

type ecma struct{ re *regexp2.Regexp }

func (e ecma) MatchString(s string) bool { ok, _ := e.re.MatchString(s); return ok }

// judge is kin-openapi on the same document, with the servers of single
// operations taken out (they repeat the first path segment) and an ECMA pattern
// engine (Go's has no lookaround).
func judge(t *testing.T, data []byte) func(r recorded) (matched bool, complaint string) {
	router := routes(t, data)
	return func(r recorded) (bool, string) {
		var body []byte
		if r.Body != nil {
			body = []byte(*r.Body)
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(r.Method, u.RequestURI(), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header(r.Header)
		route, params, err := router.FindRoute(req)
		if err != nil {
			return false, err.Error()
		}
		err = openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options})
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return true, first
		}
		return true, ""
	}
}

var options = &openapi3filter.Options{
	AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	RegexCompiler: func(s string) (openapi3.RegexMatcher, error) {
		re, err := regexp2.Compile(s, regexp2.ECMAScript)
		return ecma{re}, err
	},
}

func routes(t *testing.T, data []byte) routers.Router {
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil
	for _, item := range doc.Paths.Map() {
		item.Servers = nil
		for _, op := range item.Operations() {
			op.Servers = nil
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// Verdicts on the recorded requests of a real API are those of kin-openapi,
// but for the kinds of case listed with a reason in testdata/judge.txt. Lines
// there: count, who refuses, operation, our rule, place, reason.
func TestJudge(t *testing.T) {
	data := unzip(t, lab+"openapi.yaml.gz")
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "openapi.yaml", Data: data}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(set.Operations()); n != 390 {
		t.Errorf("%d operations, want 390", n)
	}
	second := judge(t, data)
	cases, refused := map[string]int{}, map[string]int{}
	matched, valid, agree := 0, 0, 0
	var c spec.Check
	var m spec.Match
	for _, r := range traffic(t) {
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.Reset()
		found := set.Match(r.Method, u.EscapedPath(), &m) == spec.Found
		kinFound, complaint := second(r)
		if found != kinFound {
			cases[fmt.Sprintf("match %v kin %v %s %s", found, kinFound, r.Method, u.Path)]++
			continue
		}
		if !found {
			agree++
			continue
		}
		matched++
		m.Op.CheckParams(&c, &m, u.RawQuery, header(r.Header))
		if r.Body != nil {
			m.Op.CheckBody(&c, r.Header["Content-Type"], []byte(*r.Body))
		} else {
			m.Op.CheckBody(&c, "", nil)
		}
		ours := len(c.Problems) > 0
		if !ours {
			valid++
		}
		if ours == (complaint != "") {
			agree++
			if ours {
				refused[fmt.Sprintf("%s %s\t%s\t%s", r.Method, m.Op.Template, c.Problems[0].Rule, c.Problems[0].Place)]++
			}
			continue
		}
		who, what := "kin", complaint
		if ours {
			who, what = "sallyport", c.Problems[0].Rule+"\t"+c.Problems[0].Place.String()
		}
		cases[fmt.Sprintf("%s\t%s %s\t%s", who, r.Method, m.Op.Template, what)]++
	}
	t.Logf("%d matched, %d valid, %d verdicts agree, %d kinds of disagreement", matched, valid, agree, len(cases))
	if matched != 2209 {
		t.Errorf("%d requests match an operation, want 2209", matched)
	}
	compare(t, "testdata/judge.txt", cases)
	compare(t, "testdata/refused.txt", refused)
}

// compare holds counted cases against a file of "count<tab>case<tab># reason".
func compare(t *testing.T, file string, got map[string]int) {
	reasons := map[string]string{}
	want := map[string]int{}
	old, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	head := ""
	for line := range strings.Lines(string(old)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			head += line + "\n"
			continue
		}
		line, reason, _ := strings.Cut(line, "\t# ")
		count, key, _ := strings.Cut(line, "\t")
		n := 0
		fmt.Sscan(count, &n)
		want[key], reasons[key] = n, reason
	}
	if *update {
		var out []string
		for k, n := range got {
			out = append(out, fmt.Sprintf("%d\t%s\t# %s", n, k, reasons[k]))
		}
		slices.SortFunc(out, func(a, b string) int {
			_, a, _ = strings.Cut(a, "\t")
			_, b, _ = strings.Cut(b, "\t")
			return strings.Compare(a, b)
		})
		if err := os.WriteFile(file, []byte(head+strings.Join(out, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for k, n := range got {
		if want[k] != n {
			t.Errorf("%s: %d × %s, want %d", file, n, k, want[k])
		} else if reasons[k] == "" {
			t.Errorf("%s: no reason for %s", file, k)
		}
	}
	for k, n := range want {
		if got[k] == 0 {
			t.Errorf("%s: %d × %s no longer happens", file, n, k)
		}
	}
}

// Verdicts on the recorded answers are kin-openapi's, but for the kinds listed
// in testdata/answers.txt. Most answers break the document: it drifted.
func TestAnswers(t *testing.T) {
	data := unzip(t, lab+"openapi.yaml.gz")
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "openapi.yaml", Data: data}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	route := routes(t, data)
	cases := map[string]int{}
	compared, broken, fresh := 0, 0, 0
	var c spec.Check
	var m spec.Match
	for _, r := range traffic(t) {
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		if set.Match(r.Method, u.EscapedPath(), &m) != spec.Found || r.RBody == nil {
			continue
		}
		req, err := http.NewRequest(r.Method, u.RequestURI(), nil)
		if err != nil {
			t.Fatal(err)
		}
		found, params, err := route.FindRoute(req)
		if err != nil {
			t.Fatal(err)
		}
		h := header(r.RHeader)
		in := &openapi3filter.ResponseValidationInput{RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: found},
			Status: r.Status, Header: h, Options: options}
		in.SetBodyBytes([]byte(*r.RBody))
		kin := openapi3filter.ValidateResponse(context.Background(), in)
		c.Reset()
		m.Op.CheckResponse(&c, r.Status, h)
		m.Op.CheckResponseBody(&c, r.Status, h.Get("Content-Type"), []byte(*r.RBody))
		compared++
		if c.NewStatus {
			fresh++
		}
		ours := len(c.Problems) > 0
		if ours {
			broken++
		}
		switch {
		case ours && kin == nil:
			cases[fmt.Sprintf("sallyport\t%s %s\t%s\t%s", r.Method, m.Op.Template, c.Problems[0].Rule, c.Problems[0].Place)]++
		case !ours && kin != nil:
			first, _, _ := strings.Cut(kin.Error(), "\n")
			cases[fmt.Sprintf("kin\t%s %s\t%s", r.Method, m.Op.Template, first)]++
		}
	}
	t.Logf("%d answers compared, %d break the document, %d have a status that it lacks, %d kinds of disagreement", compared, broken, fresh, len(cases))
	compare(t, "testdata/answers.txt", cases)
}

// A third reader finds the same operations.
func TestOperations(t *testing.T) {
	data := unzip(t, lab+"openapi.yaml.gz")
	set, err := spec.Load(context.Background(), []spec.Source{{Path: "openapi.yaml", Data: data}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			want[strings.ToUpper(method)+" "+path] = fmt.Sprint(op.OperationId, op.Deprecated != nil && *op.Deprecated)
		}
	}
	for _, op := range set.Operations() {
		key := op.Method + " " + op.Template
		if got := fmt.Sprint(op.ID, op.Deprecated); want[key] != got {
			t.Errorf("%s: %s, want %s", key, got, want[key])
		}
		delete(want, key)
		if op.Position.Line == 0 || op.Position.Column == 0 {
			t.Errorf("%s has no position", key)
		}
	}
	for key := range want {
		t.Errorf("%s is not found", key)
	}
}
