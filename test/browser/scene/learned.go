package scene

import (
	"context"
	"encoding/json"
	"strings"

	"sallyport.dev"
	"sallyport.dev/discovery"
	"sallyport.dev/discovery/learn"
	"sallyport.dev/spec"
)

// Lessons is what the estate's traffic has taught, compared with the
// specifications of APIs.
type Lessons struct {
	finder   *discovery.Discovery
	declared map[string]*spec.Set
}

// NewLessons reads the specifications of the estate.
func NewLessons(ctx context.Context, finder *discovery.Discovery) (*Lessons, error) {
	l := &Lessons{finder, map[string]*spec.Set{}}
	for _, a := range APIs() {
		set, err := spec.Load(ctx, []spec.Source{{Path: a.Name + ".json", Data: document(a)}}, spec.Options{})
		if err != nil {
			return nil, err
		}
		l.declared[a.Name] = set
	}
	return l, nil
}

// Learned lists what was learned of an API.
func (l *Lessons) Learned(api string) []learn.Named { return l.finder.Learned(api) }

// Drift compares it with the specification.
func (l *Lessons) Drift(api string) ([]learn.Difference, bool) {
	set := l.declared[api]
	if set == nil {
		return learn.Compare(nil, l.finder.Learned(api)), false
	}
	return learn.Compare(set.Operations(), l.finder.Learned(api)), true
}

// document writes the contracts of an API as OpenAPI.
func document(a API) []byte {
	type object = map[string]any
	paths := object{}
	for _, c := range a.Contracts {
		parameters := []any{}
		request, response := object{}, object{}
		for _, p := range c.Places {
			schema := object{"type": p.Type}
			if p.Format != "" {
				schema["format"] = p.Format
			}
			switch {
			case p.Place.In == sallyport.InBody && p.Response:
				put(response, p.Place.Name, schema)
			case p.Place.In == sallyport.InBody:
				put(request, p.Place.Name, schema)
			default:
				parameters = append(parameters, object{"name": p.Place.Name, "in": string(p.Place.In), "required": p.Required, "schema": schema})
			}
		}
		answers := object{}
		for _, status := range c.Statuses {
			answer := object{"description": status}
			if strings.HasPrefix(status, "2") && len(response) > 0 {
				answer["content"] = object{"application/json": object{"schema": object{"type": "object", "properties": response}}}
			}
			answers[status] = answer
		}
		op := object{"operationId": c.Name, "summary": c.Summary, "parameters": parameters, "responses": answers}
		if len(request) > 0 {
			op["requestBody"] = object{"content": object{"application/json": object{"schema": object{"type": "object", "properties": request}}}}
		}
		path, _ := paths[c.Template].(object)
		if path == nil {
			path = object{}
			paths[c.Template] = path
		}
		path[strings.ToLower(c.Method)] = op
	}
	b, err := json.Marshal(object{"openapi": "3.1.0", "info": object{"title": a.Name, "version": "1"}, "paths": paths})
	if err != nil {
		panic(err) // it holds texts only
	}
	return b
}

// put adds a schema at a pointer below the properties of an object; "*" stands
// for the elements of a list.
func put(properties map[string]any, pointer string, schema map[string]any) {
	first, rest, more := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
	if !more {
		properties[first] = schema
		return
	}
	list := strings.HasPrefix(rest, "*/")
	rest = strings.TrimPrefix(rest, "*/")
	at, _ := properties[first].(map[string]any)
	if at == nil {
		at = map[string]any{"type": "object", "properties": map[string]any{}}
		if list {
			at = map[string]any{"type": "array", "items": at}
		}
		properties[first] = at
	}
	if list {
		at = at["items"].(map[string]any)
	}
	put(at["properties"].(map[string]any), rest, schema)
}
