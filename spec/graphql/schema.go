// Package graphql reads GraphQL schemas and checks requests against them. In
// come the schema as SDL or as the result of an introspection query, and then
// documents with their variables; out go, once per document, its operations
// with root fields, literals and cost, or the rules that it breaks. Documents
// are bounded before they are validated, so that hostile ones cost little more
// than reading them. It executes nothing, fetches nothing and keeps nothing
// between documents but what a Cache is asked to keep.
package graphql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
)

// A Source is one file of a schema.
type Source struct {
	Name string
	Data []byte
}

// A Fault is a mistake in a schema.
type Fault struct {
	File         string
	Line, Column int
	Message      string
}

// A Schema is immutable and safe for concurrent use.
type Schema struct {
	ast   *ast.Schema
	roots []Root
	enums map[string]map[string]bool
}

// A Root is a field of one of the root types: what is asked of the service.
type Root struct {
	Kind       string // query, mutation or subscription
	Name       string
	Summary    string
	Deprecated bool
	Arguments  []string
}

// Load reads a schema out of all sources together. SDL and introspection
// results (with or without the data member around them) may be mixed.
func Load(sources []Source) (*Schema, []Fault) {
	list := []*ast.Source{validator.Prelude}
	for _, s := range sources {
		text := string(s.Data)
		if Introspection(s.Data) {
			sdl, err := fromIntrospection(s.Data)
			if err != nil {
				return nil, []Fault{{File: s.Name, Line: 1, Column: 1, Message: err.Error()}}
			}
			text = sdl
		}
		list = append(list, &ast.Source{Name: s.Name, Input: text})
	}
	schema, err := validator.LoadSchema(list...)
	if err != nil {
		return nil, faults(err, sources)
	}
	if schema.Query == nil {
		return nil, []Fault{{File: sources[0].Name, Line: 1, Column: 1, Message: "schema has no query type"}}
	}
	s := &Schema{ast: schema, enums: map[string]map[string]bool{}}
	for name, d := range schema.Types {
		if d.Kind == ast.Enum {
			s.enums[name] = map[string]bool{}
			for _, v := range d.EnumValues {
				s.enums[name][v.Name] = true
			}
		}
	}
	for _, root := range []struct {
		kind string
		d    *ast.Definition
	}{{"query", schema.Query}, {"mutation", schema.Mutation}, {"subscription", schema.Subscription}} {
		if root.d == nil {
			continue
		}
		for _, f := range root.d.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			r := Root{Kind: root.kind, Name: f.Name, Summary: firstLine(f.Description), Deprecated: f.Directives.ForName("deprecated") != nil}
			for _, a := range f.Arguments {
				r.Arguments = append(r.Arguments, a.Name)
			}
			s.roots = append(s.roots, r)
		}
	}
	slices.SortFunc(s.roots, func(a, b Root) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s, nil
}

// Roots lists the fields of the root types by kind and name.
func (s *Schema) Roots() []Root { return s.roots }

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

func faults(err error, sources []Source) (out []Fault) {
	add := func(e *gqlerror.Error) {
		f := Fault{File: sources[0].Name, Line: 1, Column: 1, Message: e.Message}
		if name, ok := e.Extensions["file"].(string); ok && name != "" {
			f.File = name
		}
		if len(e.Locations) > 0 {
			f.Line, f.Column = e.Locations[0].Line, e.Locations[0].Column
		}
		out = append(out, f)
	}
	var list gqlerror.List
	var one *gqlerror.Error
	switch {
	case errors.As(err, &list):
		for _, e := range list {
			add(e)
		}
	case errors.As(err, &one):
		add(one)
	default:
		out = append(out, Fault{File: sources[0].Name, Line: 1, Column: 1, Message: err.Error()})
	}
	return out
}

// Introspection reports whether data looks like the result of an introspection
// query: a JSON object with __schema, in data or by itself.
func Introspection(data []byte) bool {
	t := bytes.TrimLeft(data, " \t\r\n\ufeff")
	return len(t) > 0 && t[0] == '{' && bytes.Contains(t[:min(len(t), 4096)], []byte(`"__schema"`))
}

type introspected struct {
	Data   *introspected `json:"data"`
	Schema *struct {
		QueryType, MutationType, SubscriptionType *struct {
			Name string `json:"name"`
		}
		Types      []introType
		Directives []struct {
			Name         string
			Locations    []string
			IsRepeatable bool
			Args         []introValue
		}
	} `json:"__schema"`
}

type introType struct {
	Kind, Name, Description string
	Fields                  []struct {
		Name, Description string
		Args              []introValue
		Type              introRef
		IsDeprecated      bool
		DeprecationReason *string
	}
	InputFields   []introValue
	Interfaces    []introRef
	PossibleTypes []introRef
	EnumValues    []struct {
		Name              string
		IsDeprecated      bool
		DeprecationReason *string
	}
	IsOneOf bool
}

type introValue struct {
	Name         string
	Type         introRef
	DefaultValue *string
}

type introRef struct {
	Kind, Name string
	OfType     *introRef
}

func (r *introRef) String() string {
	switch {
	case r == nil:
		return ""
	case r.Kind == "NON_NULL":
		return r.OfType.String() + "!"
	case r.Kind == "LIST":
		return "[" + r.OfType.String() + "]"
	}
	return r.Name
}

// fromIntrospection writes the result of an introspection query as SDL.
func fromIntrospection(data []byte) (string, error) {
	var in introspected
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &in); err != nil {
		return "", fmt.Errorf("read introspection result: %w", err)
	}
	if in.Schema == nil && in.Data != nil {
		in = *in.Data
	}
	s := in.Schema
	if s == nil || s.QueryType == nil {
		return "", errors.New("introspection result has no __schema with a queryType")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "schema {\n  query: %s\n", s.QueryType.Name)
	if s.MutationType != nil {
		fmt.Fprintf(&b, "  mutation: %s\n", s.MutationType.Name)
	}
	if s.SubscriptionType != nil {
		fmt.Fprintf(&b, "  subscription: %s\n", s.SubscriptionType.Name)
	}
	b.WriteString("}\n")
	for _, d := range s.Directives {
		switch d.Name {
		case "include", "skip", "deprecated", "specifiedBy", "oneOf", "defer":
			continue
		}
		fmt.Fprintf(&b, "directive @%s%s", d.Name, arguments(d.Args))
		if d.IsRepeatable {
			b.WriteString(" repeatable")
		}
		fmt.Fprintf(&b, " on %s\n", strings.Join(d.Locations, " | "))
	}
	for i := range s.Types {
		b.WriteString(s.Types[i].sdl())
	}
	return b.String(), nil
}

var builtIn = map[string]bool{"Int": true, "Float": true, "String": true, "Boolean": true, "ID": true}

func (t *introType) sdl() string {
	if strings.HasPrefix(t.Name, "__") || builtIn[t.Name] {
		return ""
	}
	var b strings.Builder
	if t.Description != "" {
		fmt.Fprintf(&b, "%s\n", quoted(t.Description))
	}
	names := func(refs []introRef, sep string) string {
		var list []string
		for i := range refs {
			list = append(list, refs[i].String())
		}
		return strings.Join(list, sep)
	}
	switch t.Kind {
	case "SCALAR":
		fmt.Fprintf(&b, "scalar %s\n", t.Name)
	case "UNION":
		fmt.Fprintf(&b, "union %s = %s\n", t.Name, names(t.PossibleTypes, " | "))
	case "ENUM":
		fmt.Fprintf(&b, "enum %s {\n", t.Name)
		for _, v := range t.EnumValues {
			fmt.Fprintf(&b, "  %s%s\n", v.Name, deprecated(v.IsDeprecated, v.DeprecationReason))
		}
		b.WriteString("}\n")
	case "INPUT_OBJECT":
		fmt.Fprintf(&b, "input %s", t.Name)
		if t.IsOneOf {
			b.WriteString(" @oneOf")
		}
		b.WriteString(" {\n")
		for i := range t.InputFields {
			fmt.Fprintf(&b, "  %s\n", t.InputFields[i].sdl())
		}
		b.WriteString("}\n")
	case "OBJECT", "INTERFACE":
		fmt.Fprintf(&b, "%s %s", map[string]string{"OBJECT": "type", "INTERFACE": "interface"}[t.Kind], t.Name)
		if len(t.Interfaces) > 0 {
			fmt.Fprintf(&b, " implements %s", names(t.Interfaces, " & "))
		}
		b.WriteString(" {\n")
		for i := range t.Fields {
			f := &t.Fields[i]
			if f.Description != "" {
				fmt.Fprintf(&b, "  %s\n", quoted(f.Description))
			}
			fmt.Fprintf(&b, "  %s%s: %s%s\n", f.Name, arguments(f.Args), f.Type.String(), deprecated(f.IsDeprecated, f.DeprecationReason))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (v *introValue) sdl() string {
	s := v.Name + ": " + v.Type.String()
	if v.DefaultValue != nil {
		s += " = " + *v.DefaultValue
	}
	return s
}

func arguments(args []introValue) string {
	if len(args) == 0 {
		return ""
	}
	list := make([]string, len(args))
	for i := range args {
		list[i] = args[i].sdl()
	}
	return "(" + strings.Join(list, ", ") + ")"
}

func deprecated(is bool, reason *string) string {
	switch {
	case !is:
		return ""
	case reason == nil:
		return " @deprecated"
	}
	return " @deprecated(reason: " + quoted(*reason) + ")"
}

// quoted is s as a string of the language, whose escapes are JSON's.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(b)
}
