package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

// documents are where descriptions usually lie.
var documents = []string{
	"/openapi.json", "/openapi.yaml", "/swagger.json", "/swagger.yaml", "/v3/api-docs", "/v2/api-docs", "/api-docs", "/api/openapi.json", "/api/openapi.yaml",
	"/api/swagger.json", "/swagger/v1/swagger.json", "/swagger/doc.json", "/docs/openapi.json", "/api/v1/openapi.json", "/v1/openapi.json", "/api-docs.json", "/api/docs.json", "/openapi",
	"/swagger.v1.json", "/.well-known/openapi.json", "/asyncapi.json", "/asyncapi.yaml", "/asyncapi.yml", "/docs/asyncapi.yaml", "/api/asyncapi.json", "/openapi/v2", "/openapi/v3",
}

// outline is what is read of a description. References in it are not followed.
type outline struct {
	kind     Kind
	dialect  string
	title    string
	version  string
	base     []string
	ops      []Operation
	security bool // it declares a scheme and demands it for something
}

// describe looks for descriptions, where they usually lie and where this site links to.
func (s *site) describe(ctx context.Context) {
	paths := slices.Clone(documents)
	for _, l := range s.links {
		if slices.Contains([]string{".json", ".yaml", ".yml"}, extension(l)) && !slices.Contains(paths, l) {
			paths = append(paths, l)
		}
	}
	s.wellKnown(ctx)
	for _, p := range paths {
		s.document(ctx, p)
	}
}

// wellKnown reads the API catalogue (RFC 9727).
func (s *site) wellKnown(ctx context.Context) {
	a, err := s.fetch(ctx, ask{path: "/.well-known/api-catalog"})
	if err != nil || a.status != 200 || !a.json() {
		return
	}
	s.follow(&answer{path: "/", body: bytes.ReplaceAll(a.body, []byte(`"href"`), []byte(`"url"`))})
}

func (s *site) document(ctx context.Context, path string) {
	s.tried[path] = true
	q := ask{method: "GET", path: path, most: maxSpec}
	a, err := s.fetch(ctx, q)
	if err != nil || a.status != 200 || a.cut || a.html() {
		if err == nil && (a.status == 401 || a.status == 403) && s.exists(ctx, ask{method: "GET", path: path}, a) {
			s.keep(a)
		}
		return
	}
	o := readOutline(a.body)
	if o == nil {
		if s.exists(ctx, ask{method: "GET", path: path}, a) {
			s.keep(a)
			s.hits = append(s.hits, &answer{method: "GET", path: path, status: a.status, header: a.header, body: a.body[:min(len(a.body), maxKept)]})
		}
		return
	}
	s.keep(a)
	for _, x := range s.apis { // the same one at another place
		if x.Kind == o.kind && x.Title == o.title && x.Version == o.version && len(x.Operations) == len(o.ops) {
			return
		}
	}
	s.found(API{Kind: o.kind, Path: path, Title: o.title, Version: o.version, Operations: o.ops, Confidence: 1, Evidence: []string{"GET " + path + " answers a document of " + o.dialect}})
	if o.kind == OpenAPI {
		for _, op := range o.ops {
			if len(s.spec) < 5000 {
				s.spec = append(s.spec, op)
			}
		}
	}
}

// readOutline reads an OpenAPI, Swagger or AsyncAPI document; nil: it is none.
func readOutline(b []byte) *outline {
	var doc map[string]any
	if looksJSON(b) {
		if json.Unmarshal(b, &doc) != nil {
			return nil
		}
	} else {
		if !bytes.Contains(b, []byte("openapi")) && !bytes.Contains(b, []byte("swagger")) && !bytes.Contains(b, []byte("asyncapi")) || len(b) > 4<<20 {
			return nil
		}
		if yaml.Unmarshal(b, &doc) != nil {
			return nil
		}
	}
	text := func(v any) string { s, _ := v.(string); return clip(printable(s), 200) }
	info, _ := doc["info"].(map[string]any)
	if info == nil {
		return nil
	}
	o := &outline{title: text(info["title"]), version: text(info["version"])}
	switch {
	case text(doc["openapi"]) != "":
		o.kind, o.dialect = OpenAPI, "OpenAPI "+text(doc["openapi"])
	case text(doc["swagger"]) != "":
		o.kind, o.dialect = OpenAPI, "Swagger "+text(doc["swagger"])
	case text(doc["asyncapi"]) != "":
		o.kind, o.dialect = AsyncAPI, "AsyncAPI "+text(doc["asyncapi"])
		channels, _ := doc["channels"].(map[string]any)
		for name := range channels {
			if len(o.ops) < 5000 {
				o.ops = append(o.ops, Operation{Method: "CHANNEL", Template: clip(printable(name), 300), From: "description"})
			}
		}
		sortOperations(o.ops)
		return o
	default:
		return nil
	}
	base := ""
	if b := text(doc["basePath"]); b != "" {
		base = strings.TrimSuffix(b, "/")
	}
	if servers, _ := doc["servers"].([]any); len(servers) > 0 {
		first, _ := servers[0].(map[string]any)
		if u, err := url.Parse(text(first["url"])); err == nil { // its host is not believed, only its path
			base = strings.TrimSuffix(u.Path, "/")
		}
	}
	if base != "" && base[0] != '/' {
		base = "/" + base
	}
	demanded, _ := doc["security"].([]any)
	paths, _ := doc["paths"].(map[string]any)
	for template, item := range paths {
		methods, _ := item.(map[string]any)
		for m, v := range methods {
			if !slices.Contains([]string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}, strings.ToLower(m)) {
				continue
			}
			op, _ := v.(map[string]any)
			secured := len(demanded) > 0
			if own, ok := op["security"].([]any); ok {
				secured = len(own) > 0
			}
			o.security = o.security || secured
			if len(o.ops) < 5000 {
				o.ops = append(o.ops, Operation{Method: strings.ToUpper(m), Template: base + clip(printable(template), 300), From: "description", Secured: secured})
			}
		}
	}
	sortOperations(o.ops)
	return o
}

func sortOperations(ops []Operation) {
	slices.SortFunc(ops, func(a, b Operation) int { return strings.Compare(a.Template+" "+a.Method, b.Template+" "+b.Method) })
}
