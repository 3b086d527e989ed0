package rest

import (
	"encoding/json"
	"math"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Schema is the part of JSON Schema that the fixtures need. A constraint that
// is its zero value does not hold. Name compiles it.
type Schema struct {
	Type               string // object, array, string, integer, boolean
	Nullable           bool
	Fields             []Field // of an object; it has no others
	Items              *Schema // of an array
	MinItems, MaxItems int
	Unique             bool
	Min, Max           int64 // of an integer; both 0 = none
	MinLen, MaxLen     int
	Pattern            string
	Format             string // date, date-time, email, uri, uuid
	Enum               []string
	Default            any // of an absent field

	pattern                 *regexp.Regexp
	coerce, open, anyMember bool
	low, high               bool
}

// A Field is a member of an object or a parameter.
type Field struct {
	Name     string
	Required bool
	Schema   *Schema
}

// Object, String, Integer and so on make schemas.
func Object(fields ...Field) *Schema { return &Schema{Type: "object", Fields: fields} }

// Text is a string of so many characters.
func Text(least, most int) *Schema { return &Schema{Type: "string", MinLen: least, MaxLen: most} }

// Formatted is a string of a format.
func Formatted(format string) *Schema { return &Schema{Type: "string", Format: format, MaxLen: 200} }

// Matching is a string of a pattern.
func Matching(pattern string) *Schema { return &Schema{Type: "string", Pattern: pattern, MaxLen: 200} }

// OneOf is a string out of a list.
func OneOf(values ...string) *Schema { return &Schema{Type: "string", Enum: values} }

// Integer is a whole number within bounds.
func Integer(least, most int64) *Schema {
	return &Schema{Type: "integer", Min: least, Max: most, low: true, high: true}
}

// Boolean is true or false.
func Boolean() *Schema { return &Schema{Type: "boolean"} }

// Any is an object of any members, at most as deep as a body may be.
func Any() *Schema { return &Schema{Type: "object", anyMember: true} }

// List is an array of so many items.
func List(least, most int, items *Schema) *Schema {
	return &Schema{Type: "array", MinItems: least, MaxItems: most, Items: items}
}

// Null admits null too.
func (s *Schema) Null() *Schema { s.Nullable = true; return s }

// Or gives the value of an absent field.
func (s *Schema) Or(v any) *Schema { s.Default = v; return s }

// Distinct wants the items to differ.
func (s *Schema) Distinct() *Schema { s.Unique = true; return s }

// Needs is a required field.
func Needs(name string, s *Schema) Field { return Field{name, true, s} }

// May is an optional field.
func May(name string, s *Schema) Field { return Field{name, false, s} }

// Name compiles the schema under a name, without the one constraint that is to
// be skipped: NAME.FIELD.type, required, minimum, maximum, minLength, maxLength,
// pattern, format, enum, minItems, maxItems, uniqueItems, null,
// additionalProperties or default. Fields of an object and items of an array
// lengthen the name.
func (s *Schema) Name(name string, skip Skip) *Schema {
	on := func(constraint string) bool { return !skip.Skips(name + "." + constraint) }
	s.coerce = !on("type")
	s.open = !on("additionalProperties")
	s.low, s.high = s.low && on("minimum"), s.high && on("maximum")
	if !on("minLength") {
		s.MinLen = 0
	}
	if !on("maxLength") {
		s.MaxLen = 0
	}
	if s.Pattern != "" && on("pattern") {
		s.pattern = regexp.MustCompile(s.Pattern)
	}
	if !on("format") {
		s.Format = ""
	}
	if !on("enum") {
		s.Enum = nil
	}
	if !on("minItems") {
		s.MinItems = 0
	}
	if !on("maxItems") {
		s.MaxItems = math.MaxInt
	}
	s.Unique = s.Unique && on("uniqueItems")
	s.Nullable = s.Nullable || !on("null")
	if !on("default") {
		s.Default = nil
	}
	for i, f := range s.Fields {
		s.Fields[i].Required = f.Required && !skip.Skips(name+"."+f.Name+".required")
		f.Schema.Name(name+"."+f.Name, skip)
	}
	if s.Items != nil {
		s.Items.Name(name, skip)
	}
	return s
}

// Value checks one value and gives it as it is to be used.
func (s *Schema) Value(v any) (any, error) { return s.check("", v) }

func (s *Schema) check(at string, v any) (any, error) {
	if v == nil {
		if s.Nullable {
			return nil, nil
		}
		return nil, Invalid(at, "type")
	}
	switch s.Type {
	case "object":
		return s.object(at, v)
	case "array":
		return s.array(at, v)
	case "string":
		return s.text(at, v)
	case "integer":
		return s.integer(at, v)
	default:
		if _, ok := v.(bool); !ok {
			if text, is := v.(string); is && s.coerce {
				return text == "true", nil
			}
			return nil, Invalid(at, "type")
		}
		return v, nil
	}
}

func (s *Schema) object(at string, v any) (any, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, Invalid(at, "type")
	}
	if s.anyMember {
		return o, nil
	}
	for name := range o {
		if !slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Name == name }) {
			if !s.open {
				return nil, Invalid(at+"/"+name, "additionalProperties")
			}
			delete(o, name)
		}
	}
	for _, f := range s.Fields {
		x, given := o[f.Name]
		switch {
		case !given && f.Required:
			return nil, Invalid(at+"/"+f.Name, "required")
		case !given && f.Schema.Default != nil:
			o[f.Name] = f.Schema.Default
		case given:
			x, err := f.Schema.check(at+"/"+f.Name, x)
			if err != nil {
				return nil, err
			}
			o[f.Name] = x
		}
	}
	return o, nil
}

func (s *Schema) array(at string, v any) (any, error) {
	a, ok := v.([]any)
	if !ok {
		return nil, Invalid(at, "type")
	}
	switch {
	case len(a) < s.MinItems:
		return nil, Invalid(at, "minItems")
	case len(a) > s.MaxItems:
		return nil, Invalid(at, "maxItems")
	}
	seen := map[string]bool{}
	for i, x := range a {
		x, err := s.Items.check(at+"/"+strconv.Itoa(i), x)
		if err != nil {
			return nil, err
		}
		a[i] = x
		if s.Unique {
			key, _ := json.Marshal(x)
			if seen[string(key)] {
				return nil, Invalid(at, "uniqueItems")
			}
			seen[string(key)] = true
		}
	}
	return a, nil
}

func (s *Schema) text(at string, v any) (any, error) {
	t, ok := v.(string)
	if !ok {
		n, is := v.(json.Number)
		if !is || !s.coerce {
			return nil, Invalid(at, "type")
		}
		return n.String(), nil
	}
	n := utf8.RuneCountInString(t)
	switch {
	case n < s.MinLen:
		return nil, Invalid(at, "minLength")
	case s.MaxLen > 0 && n > s.MaxLen:
		return nil, Invalid(at, "maxLength")
	case s.pattern != nil && !s.pattern.MatchString(t):
		return nil, Invalid(at, "pattern")
	case s.Enum != nil && !slices.Contains(s.Enum, t):
		return nil, Invalid(at, "enum")
	case !formatted(s.Format, t):
		return nil, Invalid(at, "format")
	}
	return t, nil
}

func (s *Schema) integer(at string, v any) (any, error) {
	number, ok := v.(json.Number)
	if text, is := v.(string); is && s.coerce {
		number, ok = json.Number(text), true
	}
	if !ok {
		return nil, Invalid(at, "type")
	}
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil {
		f, ferr := number.Float64()
		if ferr != nil || !s.coerce && f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return nil, Invalid(at, "type")
		}
		n = int64(f)
	}
	switch {
	case s.low && n < s.Min:
		return nil, Invalid(at, "minimum")
	case s.high && n > s.Max:
		return nil, Invalid(at, "maximum")
	}
	return n, nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func formatted(format, t string) bool {
	switch format {
	case "date":
		_, err := time.Parse(time.DateOnly, t)
		return err == nil
	case "date-time":
		_, err := time.Parse(time.RFC3339, t)
		return err == nil
	case "email":
		a, err := mail.ParseAddress(t)
		return err == nil && a.Address == t && a.Name == "" && strings.IndexFunc(t, func(r rune) bool { return r > 126 || r <= ' ' }) < 0
	case "uri":
		u, err := url.Parse(t)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	case "uuid":
		return uuid.MatchString(t)
	}
	return true
}

// Params reads query parameters: those that the schema does not name are
// ignored, and none may come twice.
func (s *Schema) Params(r *http.Request, into any) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Fail(http.StatusBadRequest, "the query cannot be read")
	}
	o := map[string]any{}
	for _, f := range s.Fields {
		values, given := q[f.Name]
		switch {
		case !given:
			continue
		case len(values) > 1:
			return Invalid(f.Name, "given twice")
		case !utf8.ValidString(values[0]):
			return Invalid(f.Name, "encoding")
		}
		o[f.Name] = param(f.Schema.Type, values[0])
	}
	v, err := s.check("", o)
	if err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func param(kind, text string) any {
	switch kind {
	case "integer":
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return json.Number(text)
		}
	case "boolean":
		if text == "true" || text == "false" {
			return text == "true"
		}
	}
	return text
}

// PathID is the path parameter, which must be a UUID.
func PathID(r *http.Request, name string) (string, error) {
	id := r.PathValue(name)
	if !uuid.MatchString(id) {
		return "", Invalid(name, "format")
	}
	return id, nil
}
