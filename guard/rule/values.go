package rule

import (
	"net/textproto"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"sallyport.dev/spec/jsondoc"
)

// texts are named texts of the request as a map of CEL. A name that stands twice,
// or whose escapes are broken, has two readings: asking for it in any way, even
// whether it is there, spoils the evaluation.
type texts struct {
	v   *View
	get func(v *View, name string) (text string, n int)
}

const broken = 2 // a count that says: more than one reading

func (v *View) fromPath(name string) (text string, n int) {
	if v.Path == nil {
		return "", 0
	}
	v.Path(func(param, raw string) bool {
		if param != name {
			return true
		}
		var err error
		if text, err = url.PathUnescape(raw); err != nil {
			n = broken
		}
		n++
		return true
	})
	return text, n
}

func (v *View) fromQuery(name string) (text string, n int) {
	for rest := v.Query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		if strings.IndexByte(pair, 0x3b) >= 0 && strings.Contains(pair, name) { // some servers end a pair at a semicolon
			n = broken
		}
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		var err error
		if text, err = url.QueryUnescape(value); err != nil {
			n = broken
		}
		n++
	}
	return text, n
}

func (v *View) fromHeader(name string) (text string, n int) {
	list := v.Header[textproto.CanonicalMIMEHeaderKey(name)]
	if len(list) == 0 {
		return "", 0
	}
	return list[0], len(list)
}

// Find, Get, Contains, Size, Iterator and the rest make texts a traits.Mapper.
func (t *texts) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	text, n := t.get(t.v, string(name))
	if n > 1 {
		t.v.spoiled = true
	}
	return types.String(text), n > 0
}

// Get gives the text, or an error when there is none.
func (t *texts) Get(key ref.Val) ref.Val {
	if text, ok := t.Find(key); ok {
		return text
	}
	return types.NewErr("no such name")
}

// Contains reports whether there is such a name.
func (t *texts) Contains(key ref.Val) ref.Val {
	_, ok := t.Find(key)
	return types.Bool(ok)
}

// Size spoils the evaluation: names that a caller makes up are not counted.
func (t *texts) Size() ref.Val {
	t.v.spoiled = true
	return types.IntZero
}

// Iterator spoils the evaluation as Size does.
func (t *texts) Iterator() traits.Iterator {
	t.v.spoiled = true
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, nil).Iterator()
}

// ConvertToNative is not offered.
func (t *texts) ConvertToNative(reflect.Type) (any, error) { return nil, ErrValue }

// ConvertToType knows only the map's own type.
func (t *texts) ConvertToType(to ref.Type) ref.Val {
	if to == types.MapType {
		return t
	}
	return types.NewErr("no such conversion")
}

// Equal spoils the evaluation: the names are not compared as a whole.
func (t *texts) Equal(ref.Val) ref.Val {
	t.v.spoiled = true
	return types.False
}

// Type is that of maps.
func (t *texts) Type() ref.Type { return types.MapType }

// Value is the map itself.
func (t *texts) Value() any { return t }

var _ traits.Mapper = (*texts)(nil)

// Decode makes a document's values such as CEL works with: whole numbers that
// fit are int64, others float64. ok is false when an object holds a key twice,
// for then the document has two readings.
func Decode(d *jsondoc.Doc) (value any, ok bool) {
	if d.Duplicates || len(d.Nodes) == 0 {
		return nil, false
	}
	return decode(d, 0), true
}

// decode recurses as deep as the document, whose bound is jsondoc's.
func decode(d *jsondoc.Doc, i int32) any {
	n := &d.Nodes[i]
	switch n.Kind {
	case jsondoc.Object:
		m := make(map[string]any, n.Count)
		for k := i + 1; k < n.Next; k = d.Nodes[k].Next {
			c := &d.Nodes[k]
			m[string(d.Key(int(k), make([]byte, c.KeyEnd-c.KeyStart)))] = decode(d, k)
		}
		return m
	case jsondoc.Array:
		list := make([]any, 0, n.Count)
		for k := i + 1; k < n.Next; k = d.Nodes[k].Next {
			list = append(list, decode(d, k))
		}
		return list
	case jsondoc.String:
		if !n.Escaped {
			return string(d.Raw(int(i)))
		}
		return string(d.Text(int(i), make([]byte, n.End-n.Start)))
	case jsondoc.Number:
		if n.Integer {
			if whole, err := strconv.ParseInt(string(d.Raw(int(i))), 10, 64); err == nil {
				return whole
			}
		}
		f, err := strconv.ParseFloat(string(d.Raw(int(i))), 64)
		if err != nil {
			return types.NullValue // beyond what a double can hold: compares with nothing
		}
		return f
	case jsondoc.True:
		return true
	case jsondoc.False:
		return false
	}
	return types.NullValue
}
