// Package backstage reads catalogue files of Backstage (catalog-info.yaml). In
// comes a file or a tree of them; out go claims about APIs: what they are, whose,
// in which department, who provides and who consumes them. References are
// followed within what was read; nothing is fetched.
package backstage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev"
)

const (
	maxBytes    = 4 << 20 // of a file
	maxFiles    = 5000
	maxEntities = 100_000
)

// A Catalogue is one file, or all catalog-info.yaml of a tree.
type Catalogue struct {
	ID    string        // Name; by default "backstage:" and Path
	Path  string        // file or folder
	Every time.Duration // between two readings; 0 = once

	said sallyport.Claims
}

// Name is how it is told from all other catalogues.
func (c *Catalogue) Name() string { return cmp.Or(c.ID, "backstage:"+c.Path) }

// Watch tells what the files say, and what becomes of it, until ctx ends.
func (c *Catalogue) Watch(ctx context.Context, claims func([]sallyport.Claim) error) error {
	return c.said.Poll(ctx, c.Every, c.read, claims)
}

type entity struct {
	Kind     string `yaml:"kind"`
	API      string `yaml:"apiVersion"`
	Metadata struct {
		Name        string            `yaml:"name"`
		Namespace   string            `yaml:"namespace"`
		Title       string            `yaml:"title"`
		Description string            `yaml:"description"`
		Tags        []string          `yaml:"tags"`
		Annotations map[string]string `yaml:"annotations"`
		Links       []struct {
			URL string `yaml:"url"`
		} `yaml:"links"`
	} `yaml:"metadata"`
	Spec struct {
		Type         string   `yaml:"type"`
		Lifecycle    string   `yaml:"lifecycle"`
		Owner        string   `yaml:"owner"`
		System       string   `yaml:"system"`
		Parent       string   `yaml:"parent"`
		ProvidesAPIs []string `yaml:"providesApis"`
		ConsumesAPIs []string `yaml:"consumesApis"`
		DependsOn    []string `yaml:"dependsOn"`
		Profile      struct {
			DisplayName string `yaml:"displayName"`
			Email       string `yaml:"email"`
		} `yaml:"profile"`
	} `yaml:"spec"`
	at string
}

func (c *Catalogue) read(ctx context.Context) ([]sallyport.Claim, error) {
	all := map[string]*entity{}
	var order []*entity
	var broken []error
	files := 0
	take := func(name string) error {
		if files++; files > maxFiles {
			return fs.SkipAll
		}
		list, err := parse(name)
		if err != nil {
			broken = append(broken, err)
		}
		for _, e := range list {
			if len(all) >= maxEntities {
				return fs.SkipAll
			}
			all[e.ref()] = e
			order = append(order, e)
		}
		return nil
	}
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, fmt.Errorf("read backstage: %w", err)
	}
	if !info.IsDir() {
		err = take(c.Path)
	} else {
		err = filepath.WalkDir(c.Path, func(name string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return nil
			case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
				return fs.SkipDir
			case d.Type().IsRegular() && (d.Name() == "catalog-info.yaml" || d.Name() == "catalog-info.yml"):
				return take(name)
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, err
	}
	if len(order) == 0 && len(broken) > 0 {
		return nil, errors.Join(broken[:min(len(broken), 10)]...)
	}
	return c.claims(order, all), nil
}

func parse(name string) ([]*entity, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxBytes)
	}
	var out []*entity
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	for {
		var n yaml.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		var e entity
		if err := n.Decode(&e); err != nil {
			return out, fmt.Errorf("%s:%d: %w", name, n.Line, err)
		}
		line := n.Line
		if len(n.Content) > 0 {
			line = n.Content[0].Line
		}
		if e.at = fmt.Sprintf("%s:%d", name, line); strings.HasPrefix(e.API, "backstage.io/") && e.Metadata.Name != "" && len(out) < maxEntities {
			out = append(out, &e)
		}
	}
}

func (e *entity) ref() string {
	return strings.ToLower(e.Kind + ":" + cmp.Or(e.Metadata.Namespace, "default") + "/" + e.Metadata.Name)
}

// resolve writes a reference out: [kind:][namespace/]name.
func resolve(ref, kind, namespace string) string {
	if k, rest, ok := strings.Cut(ref, ":"); ok {
		kind, ref = k, rest
	}
	if n, rest, ok := strings.Cut(ref, "/"); ok {
		namespace, ref = n, rest
	}
	return strings.ToLower(kind + ":" + cmp.Or(namespace, "default") + "/" + ref)
}

func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func (c *Catalogue) claims(order []*entity, all map[string]*entity) []sallyport.Claim {
	now := time.Now()
	var out []sallyport.Claim
	say := func(api string, e *entity, sure float64, field, value string) {
		if value = strings.TrimSpace(value); value != "" && len(value) <= 4096 {
			out = append(out, sallyport.Claim{Asset: sallyport.Asset{API: api}, Field: field, Value: value, Source: c.Name(), Confidence: sure, Evidence: e.at, Time: now})
		}
	}
	owner := func(api string, e *entity, sure float64) {
		if e.Spec.Owner == "" {
			return
		}
		ref := resolve(e.Spec.Owner, "group", e.Metadata.Namespace)
		o := all[ref]
		if o == nil {
			say(api, e, sure, "owner.team", last(ref))
			return
		}
		if strings.EqualFold(o.Kind, "user") {
			say(api, e, sure, "owner.contact", cmp.Or(o.Spec.Profile.Email, o.Spec.Profile.DisplayName, o.Metadata.Name))
			return
		}
		say(api, e, sure, "owner.team", o.Metadata.Name)
		say(api, e, sure, "owner.contact", o.Spec.Profile.Email)
		// The department is a group above.
		seen := map[*entity]bool{}
		for g := o; g != nil && !seen[g]; g = all[resolve(g.Spec.Parent, "group", g.Metadata.Namespace)] {
			seen[g] = true
			if t := strings.ToLower(g.Spec.Type); t == "department" || t == "business-unit" {
				say(api, e, sure, "department", cmp.Or(g.Spec.Profile.DisplayName, g.Metadata.Title, g.Metadata.Name))
				break
			}
			if g.Spec.Parent == "" {
				break
			}
		}
	}
	for _, e := range order {
		name := e.Metadata.Name
		switch strings.ToLower(e.Kind) {
		case "api":
			say(name, e, 0.9, "title", e.Metadata.Title)
			say(name, e, 0.9, "description", e.Metadata.Description)
			say(name, e, 0.9, "lifecycle", lifecycle(e.Spec.Lifecycle))
			say(name, e, 0.9, "kind", kindOf(e.Spec.Type))
			say(name, e, 0.9, "spec", e.at)
			for _, t := range e.Metadata.Tags {
				say(name, e, 0.9, "tags", t)
			}
			if e.Spec.System != "" {
				say(name, e, 0.9, "tags", "system:"+last(resolve(e.Spec.System, "system", e.Metadata.Namespace)))
			}
			for _, l := range e.Metadata.Links {
				say(name, e, 0.9, "documentation", l.URL)
			}
			say(name, e, 0.9, "repository", repository(e))
			owner(name, e, 0.9)
		case "component":
			for _, ref := range e.Spec.ProvidesAPIs {
				api := last(resolve(ref, "api", e.Metadata.Namespace))
				say(api, e, 0.8, "workload", name)
				say(api, e, 0.8, "repository", repository(e))
				// Its owner is the API's where the API has no entity of its own.
				if a := all[resolve(ref, "api", e.Metadata.Namespace)]; a == nil || a.Spec.Owner == "" {
					owner(api, e, 0.7)
				}
				for _, used := range e.Spec.ConsumesAPIs {
					say(api, e, 0.8, "upstreams", last(resolve(used, "api", e.Metadata.Namespace)))
				}
				for _, used := range e.Spec.DependsOn {
					say(api, e, 0.8, "upstreams", last(resolve(used, "component", e.Metadata.Namespace)))
				}
			}
			for _, ref := range e.Spec.ConsumesAPIs {
				say(last(resolve(ref, "api", e.Metadata.Namespace)), e, 0.8, "consumers", name)
			}
		}
	}
	return out
}

func repository(e *entity) string {
	if s := e.Metadata.Annotations["backstage.io/source-location"]; s != "" {
		return strings.TrimPrefix(s, "url:")
	}
	if s := e.Metadata.Annotations["github.com/project-slug"]; s != "" {
		return "https://github.com/" + s
	}
	return ""
}

func kindOf(t string) string {
	switch t = strings.ToLower(t); t {
	case "openapi":
		return "rest"
	case "asyncapi", "graphql", "grpc":
		return t
	case "":
		return ""
	}
	return "other"
}

func lifecycle(l string) string {
	switch strings.ToLower(l) {
	case "production":
		return "active"
	case "experimental":
		return "planned"
	case "deprecated":
		return "deprecated"
	}
	return ""
}
