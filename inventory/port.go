package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"go.yaml.in/yaml/v4"

	"sallyport.dev"
)

// Formats are what Export writes and Parse reads.
var Formats = []string{"csv", "json", "cyclonedx", "backstage"}

// maxImport bounds the claims of one import.
const maxImport = 100_000

// cell keeps a spreadsheet from taking text for a formula (CWE-1236).
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// uncell takes cell back.
func uncell(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.ContainsRune("=+-@\t\r", rune(s[1])) {
		return s[1:]
	}
	return s
}

// Export writes the APIs that f chooses, all pages of them, in one of Formats.
func (v *Inventory) Export(ctx context.Context, w io.Writer, format string, f CardFilter) error {
	f.Offset, f.Limit, f.Facets = 0, 1000, nil
	var all []Card
	for {
		page, err := v.Search(ctx, f)
		if err != nil {
			return err
		}
		all = append(all, page.Cards...)
		if f.Offset += len(page.Cards); len(page.Cards) == 0 || f.Offset >= page.Total {
			break
		}
	}
	all = slices.DeleteFunc(all, func(c Card) bool { return c.Name == "" })
	switch format {
	case "csv":
		return exportCSV(w, all)
	case "json":
		return exportJSON(w, all)
	case "cyclonedx":
		return exportCycloneDX(w, all)
	case "backstage":
		return exportBackstage(w, all)
	}
	return sallyport.Errorf(sallyport.Invalid, "no format %q: %s", clean(format), strings.Join(Formats, ", "))
}

func exportCSV(w io.Writer, all []Card) error {
	out := csv.NewWriter(w)
	head := []string{"api"}
	for _, f := range fields {
		head = append(head, f.Name)
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for i := range all {
		row := []string{cell(all[i].Name)}
		for _, f := range fields {
			x := all[i].Values[f.Name]
			text := x.Text
			if len(x.List) > 0 {
				text = strings.Join(x.List, "\n")
			}
			if f.Type != NumberField {
				text = cell(text)
			}
			row = append(row, text)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

type portedField struct {
	Value      any     `json:"value"`
	Source     string  `json:"source"`
	Confidence float64 `json:"confidence"`
}

type ported struct {
	API    string                 `json:"api"`
	Fields map[string]portedField `json:"fields"`
}

func exportJSON(w io.Writer, all []Card) error {
	list := []ported{}
	for i := range all {
		p := ported{all[i].Name, map[string]portedField{}}
		for name, x := range all[i].Values {
			var value any = x.Text
			if x.List != nil {
				value = x.List
			}
			p.Fields[name] = portedField{value, x.Source, x.Confidence}
		}
		list = append(list, p)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(map[string]any{"apis": list})
}

// property is the name under which a field stands in CycloneDX.
const property = "sallyport:"

func exportCycloneDX(w io.Writer, all []Card) error {
	bom := cyclonedx.NewBOM()
	var services []cyclonedx.Service
	for i := range all {
		c := &all[i]
		s := cyclonedx.Service{BOMRef: "api:" + c.Name, Name: c.Name, Description: c.text("description"), Version: c.text("spec.version"), Group: c.text("department")}
		if team := c.text("owner.team"); team != "" {
			s.Provider = &cyclonedx.OrganizationalEntity{Name: team}
			if contact := c.text("owner.contact"); contact != "" {
				s.Provider.Contact = &[]cyclonedx.OrganizationalContact{{Email: contact}}
			}
		}
		var ends []string
		for _, h := range c.Values["hosts"].List {
			ends = append(ends, "https://"+h+c.text("path"))
		}
		if ends != nil {
			s.Endpoints = &ends
		}
		if kinds := c.Values["auth.observed"].List; kinds != nil {
			checked := !slices.Contains(kinds, "anonymous")
			s.Authenticated = &checked
		}
		if x := c.text("exposure.observed"); x != "" {
			crosses := x == "external"
			s.CrossesTrustBoundary = &crosses
		}
		var data []cyclonedx.DataClassification
		for _, class := range c.Values["data.classes"].List {
			data = append(data, cyclonedx.DataClassification{Flow: cyclonedx.DataFlowBidirectional, Classification: class})
		}
		if data != nil {
			s.Data = &data
		}
		var properties []cyclonedx.Property
		for _, name := range slices.Sorted(maps.Keys(c.Values)) {
			x := c.Values[name]
			values := x.List
			if values == nil {
				values = []string{x.Text}
			}
			for _, value := range values {
				properties = append(properties, cyclonedx.Property{Name: property + name, Value: value})
			}
		}
		s.Properties = &properties
		services = append(services, s)
	}
	bom.Services = &services
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

type entity struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Title       string            `yaml:"title,omitempty"`
		Description string            `yaml:"description,omitempty"`
		Annotations map[string]string `yaml:"annotations,omitempty"`
		Tags        []string          `yaml:"tags,omitempty"`
	} `yaml:"metadata"`
	Spec struct {
		Type       string `yaml:"type,omitempty"`
		Lifecycle  string `yaml:"lifecycle,omitempty"`
		Owner      string `yaml:"owner,omitempty"`
		System     string `yaml:"system,omitempty"`
		Definition string `yaml:"definition,omitempty"`
	} `yaml:"spec"`
}

// annotation is where an entity keeps the name in the inventory, as Backstage's
// own names have fewer characters.
const annotation = "sallyport.dev/api"

func entityName(s string) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, s), "-_.")
	return cmp.Or(s[:min(len(s), 63)], "api")
}

func exportBackstage(w io.Writer, all []Card) error {
	for i := range all {
		c := &all[i]
		var e entity
		e.APIVersion, e.Kind = "backstage.io/v1alpha1", "API"
		e.Metadata.Name, e.Metadata.Title, e.Metadata.Description = entityName(c.Name), c.text("title"), c.text("description")
		e.Metadata.Annotations = map[string]string{annotation: c.Name}
		e.Spec.Type = map[string]string{"graphql": "graphql", "grpc": "grpc", "asyncapi": "asyncapi"}[c.text("kind")]
		e.Spec.Type = cmp.Or(e.Spec.Type, "openapi")
		e.Spec.Lifecycle = map[string]string{"active": "production", "planned": "experimental"}[c.text("lifecycle")]
		e.Spec.Lifecycle = cmp.Or(e.Spec.Lifecycle, c.text("lifecycle"))
		e.Spec.Owner = cmp.Or(c.text("owner.team"), "unknown")
		e.Spec.Definition = "see " + cmp.Or(strings.Join(c.Values["spec"].List, " "), "the inventory")
		b, err := yaml.Marshal(&e)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "---\n%s", b); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads an export, or what another program wrote in the same format, as
// claims by source; computed fields in it are left out. Text that is not in the
// format is sallyport.Invalid.
func Parse(format, source string, data []byte) ([]sallyport.Claim, error) {
	var out []sallyport.Claim
	add := func(api, field, value string) {
		f := fieldByName[field]
		if value = strings.TrimSpace(value); value != "" && api != "" && f != nil && f.may(FromClaim) {
			out = append(out, sallyport.Claim{Asset: sallyport.Asset{API: api}, Field: field, Value: value, Source: source, Confidence: 0.8, Evidence: "import of " + format})
		}
	}
	var err error
	switch format {
	case "csv":
		err = parseCSV(data, add)
	case "json":
		var doc struct {
			APIs []ported `json:"apis"`
		}
		if err = json.Unmarshal(data, &doc); err == nil {
			for _, p := range doc.APIs {
				for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
					switch value := p.Fields[name].Value.(type) {
					case string:
						add(p.API, name, value)
					case []any:
						for _, e := range value {
							if s, ok := e.(string); ok {
								add(p.API, name, s)
							}
						}
					}
				}
			}
		}
	case "cyclonedx":
		err = parseCycloneDX(data, add)
	case "backstage":
		d := yaml.NewDecoder(bytes.NewReader(data))
		for err == nil {
			var e entity
			if err = d.Decode(&e); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				break
			}
			if e.Kind != "API" {
				continue
			}
			name := cmp.Or(e.Metadata.Annotations[annotation], e.Metadata.Name)
			add(name, "title", e.Metadata.Title)
			add(name, "description", e.Metadata.Description)
			add(name, "owner.team", strings.TrimPrefix(strings.TrimPrefix(e.Spec.Owner, "group:"), "default/"))
			if _, err := fieldByName["lifecycle"].normal(e.Spec.Lifecycle); err == nil {
				add(name, "lifecycle", e.Spec.Lifecycle)
			}
			if _, err := fieldByName["kind"].normal(e.Spec.Type); err == nil {
				add(name, "kind", e.Spec.Type)
			}
			for _, tag := range e.Metadata.Tags {
				add(name, "tags", tag)
			}
			if len(out) > maxImport {
				break
			}
		}
	default:
		return nil, sallyport.Errorf(sallyport.Invalid, "no format %q: %s", clean(format), strings.Join(Formats, ", "))
	}
	if err != nil {
		return nil, sallyport.Wrap(sallyport.Invalid, err, "this is not %s, or it is damaged", format)
	}
	if len(out) > maxImport {
		return nil, sallyport.Errorf(sallyport.Invalid, "more than %d values in one import", maxImport)
	}
	return out, nil
}

func parseCSV(data []byte, add func(api, field, value string)) error {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	head, err := r.Read()
	if err != nil {
		return err
	}
	if head[0] != "api" {
		return errors.New("the first column is not api")
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i, text := range row[1:] {
			values := []string{text}
			if f := fieldByName[head[i+1]]; f != nil && f.Type == ListField {
				values = strings.Split(uncell(text), "\n")
			}
			for _, value := range values {
				add(uncell(row[0]), head[i+1], uncell(value))
			}
		}
	}
}

func parseCycloneDX(data []byte, add func(api, field, value string)) error {
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(data), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return err
	}
	if bom.Services == nil {
		return nil
	}
	for _, s := range *bom.Services {
		ours := false
		if s.Properties != nil {
			for _, p := range *s.Properties {
				if name, ok := strings.CutPrefix(p.Name, property); ok {
					ours = true
					add(s.Name, name, p.Value)
				}
			}
		}
		if ours {
			continue
		}
		add(s.Name, "description", s.Description)
		add(s.Name, "versions", s.Version)
		if s.Provider != nil {
			add(s.Name, "vendor", s.Provider.Name)
		}
		if s.Endpoints != nil {
			for _, e := range *s.Endpoints {
				_, rest, ok := strings.Cut(e, "://")
				if host, _, _ := strings.Cut(rest, "/"); ok && host != "" {
					add(s.Name, "hosts", host)
				}
			}
		}
		if s.Data != nil {
			for _, d := range *s.Data {
				add(s.Name, "data.classes", d.Classification)
			}
		}
	}
	return nil
}

// ClaimDry tells what Claim would change, and changes nothing.
func (v *Inventory) ClaimDry(ctx context.Context, claims []sallyport.Claim) ([]Change, error) {
	var bad problems
	var out []Change
	if len(claims) > maxImport {
		return nil, sallyport.Errorf(sallyport.Invalid, "more than %d claims", maxImport)
	}
	err := v.change(ctx, "claims", func(w *writer) error {
		err := w.claims(claims, func(i int, err error) { bad.add("claim", i, err) })
		out = slices.Clone(w.changes)
		return cmp.Or(err, errDry)
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return out, cmp.Or(err, bad.err())
}
