// Package orca reads load reports that an upstream sends with an answer: Open
// Request Cost Aggregation (gRFC A51 and A64, the message OrcaLoadReport of
// xds.data.orca.v3, and Envoy's forms of it in a header).
//
// In comes the value of one header or trailer field; out comes a Report whose
// numbers are finite, not negative and bounded, or an error. What a report says
// is believed of an upstream only: it never sends, stores or logs anything, and
// whoever calls it must not hand it what a client sent.
package orca

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The header and trailer fields that carry a report, in canonical form. The
// second one is gRPC's: the message in base64 (gRFC A51).
const (
	Header       = "Endpoint-Load-Metrics"
	HeaderBinary = "Endpoint-Load-Metrics-Bin"
)

// Bounds of a report; one beyond them is refused whole.
const (
	MaxBytes = 4 << 10 // of the field's value
	MaxNames = 32      // in each of the three maps
	MaxName  = 128     // bytes of one name
)

// A Report is what an upstream says about itself and about one request.
type Report struct {
	CPU         float64 // utilisation; 1 = all that it has, more when it bursts
	Memory      float64 // utilisation, 0 to 1
	Application float64 // utilisation as the application defines it
	RPS         float64 // requests a second
	EPS         float64 // errors a second

	RequestCost map[string]float64 // of this request, absolute
	Utilization map[string]float64 // of other resources, 0 to 1
	Named       map[string]float64 // whatever else
}

// A Cost is what a report's request_cost says in units that limits know.
type Cost struct {
	CPU   time.Duration // cpu_seconds, cpu_ms, cpu_us or cpu_ns
	Bytes int64         // bytes
	Rows  int64         // rows
	Money int64         // money, in millionths
	Units float64       // the sum of all others
}

// Errors that Parse and ParseBinary wrap.
var (
	ErrForm   = errors.New("not a load report")
	ErrBounds = errors.New("load report beyond its bounds")
)

// Parse reads the field Endpoint-Load-Metrics: "TEXT name=value,…",
// "JSON {…}" or "BIN base64". A value without such a word in front is TEXT,
// as gRPC servers that report over plain HTTP write it. A name that stands
// twice, one that is not known, a number that is negative or not finite:
// the whole report is refused.
func Parse(value string) (Report, error) {
	if len(value) > MaxBytes {
		return Report{}, ErrBounds
	}
	switch form, rest, found := strings.Cut(value, " "); {
	case found && form == "TEXT":
		return parseText(rest)
	case found && form == "JSON":
		return parseJSON(rest)
	case found && form == "BIN":
		return ParseBinary(rest)
	case strings.IndexByte(value, '=') > 0:
		return parseText(value)
	}
	return Report{}, ErrForm
}

// ParseBinary reads the field Endpoint-Load-Metrics-Bin: the serialised message
// in base64, padded or not. Fields that OrcaLoadReport does not have are passed
// over, as protobuf demands.
func ParseBinary(value string) (Report, error) {
	if len(value) > MaxBytes {
		return Report{}, ErrBounds
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return Report{}, fmt.Errorf("%w: base64", ErrForm)
	}
	return parseProto(b)
}

// Cost adds up the report's request_cost.
func (r *Report) Cost() Cost {
	var c Cost
	var cpu, bytes, rows, money float64
	for name, v := range r.RequestCost {
		switch name {
		case "cpu_seconds":
			cpu += v * 1e9
		case "cpu_ms":
			cpu += v * 1e6
		case "cpu_us":
			cpu += v * 1e3
		case "cpu_ns":
			cpu += v
		case "bytes":
			bytes += v
		case "rows":
			rows += v
		case "money":
			money += v * 1e6
		default:
			c.Units += v
		}
	}
	c.CPU, c.Bytes, c.Rows, c.Money = time.Duration(whole(cpu)), whole(bytes), whole(rows), whole(money)
	return c
}

// whole is v as an integer that sums of many of its kind can't overflow.
func whole(v float64) int64 { return int64(min(v, 1<<52)) }

// set files one number under its name in the message.
func (r *Report) set(name string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%w: %s is negative or not finite", ErrForm, known(name))
	}
	var at *float64
	switch name {
	case "cpu_utilization":
		at = &r.CPU
	case "mem_utilization":
		at = &r.Memory
	case "application_utilization":
		at = &r.Application
	case "rps", "rps_fractional":
		at = &r.RPS
	case "eps":
		at = &r.EPS
	default:
		return fmt.Errorf("%w: unknown field", ErrForm)
	}
	if at == &r.Memory && v > 1 {
		return fmt.Errorf("%w: mem_utilization is more than 1", ErrForm)
	}
	*at = v
	return nil
}

// put files one entry of a map.
func (r *Report) put(group, name string, v float64) error {
	var at *map[string]float64
	switch group {
	case "request_cost":
		at = &r.RequestCost
	case "utilization":
		at = &r.Utilization
	case "named_metrics":
		at = &r.Named
	default:
		return fmt.Errorf("%w: unknown field", ErrForm)
	}
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("%w: a name in %s", ErrBounds, group)
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Errorf("%w: %s is not finite", ErrForm, group)
	case v < 0 && group != "named_metrics", v > 1 && group == "utilization":
		return fmt.Errorf("%w: %s is out of range", ErrForm, group)
	case *at == nil:
		*at = map[string]float64{}
	case len(*at) >= MaxNames:
		return fmt.Errorf("%w: names in %s", ErrBounds, group)
	}
	if _, twice := (*at)[name]; twice {
		return fmt.Errorf("%w: a name of %s stands twice", ErrForm, group)
	}
	(*at)[name] = v
	return nil
}

// known keeps what an upstream made up out of errors.
func known(name string) string {
	switch name {
	case "cpu_utilization", "mem_utilization", "application_utilization", "rps", "rps_fractional", "eps":
		return name
	}
	return "a field"
}

func parseText(s string) (Report, error) {
	var r Report
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		name, text, found := strings.Cut(part, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		if !found || name == "" {
			return Report{}, fmt.Errorf("%w: want name=value", ErrForm)
		}
		v, err := number(text)
		if err != nil {
			return Report{}, err
		}
		group, inner, grouped := strings.Cut(name, ".")
		if grouped {
			err = r.put(group, inner, v)
		} else if seen[name] {
			err = fmt.Errorf("%w: %s stands twice", ErrForm, known(name))
		} else {
			seen[name] = true
			err = r.set(name, v)
		}
		if err != nil {
			return Report{}, err
		}
	}
	return r, nil
}

// number reads a decimal number: no hexadecimal, no underscores, no names.
func number(s string) (float64, error) {
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, fmt.Errorf("%w: not a number", ErrForm)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: not a number", ErrForm)
	}
	return v, nil
}

// snake is the field's name in the message for the lowerCamelCase that
// protobuf's JSON mapping writes.
var snake = map[string]string{
	"cpuUtilization": "cpu_utilization", "memUtilization": "mem_utilization", "applicationUtilization": "application_utilization",
	"rpsFractional": "rps_fractional", "requestCost": "request_cost", "namedMetrics": "named_metrics",
}

func parseJSON(s string) (Report, error) {
	var r Report
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return Report{}, fmt.Errorf("%w: not a JSON object", ErrForm)
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := word(d)
		if err != nil {
			return Report{}, err
		}
		if s, ok := snake[name]; ok {
			name = s
		}
		if seen[name] {
			return Report{}, fmt.Errorf("%w: a field stands twice", ErrForm)
		}
		seen[name] = true
		switch t, err := d.Token(); {
		case err != nil:
			return Report{}, fmt.Errorf("%w: JSON", ErrForm)
		case t == json.Delim('{'):
			if err := r.group(d, name); err != nil {
				return Report{}, err
			}
		default:
			v, err := jsonNumber(t)
			if err == nil {
				err = r.set(name, v)
			}
			if err != nil {
				return Report{}, err
			}
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return Report{}, fmt.Errorf("%w: JSON", ErrForm)
	}
	if _, err := d.Token(); err != io.EOF {
		return Report{}, fmt.Errorf("%w: something behind the JSON object", ErrForm)
	}
	return r, nil
}

// group reads the rest of an object that is one of the maps.
func (r *Report) group(d *json.Decoder, group string) error {
	for d.More() {
		name, err := word(d)
		if err != nil {
			return err
		}
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: JSON", ErrForm)
		}
		v, err := jsonNumber(t)
		if err == nil {
			err = r.put(group, name, v)
		}
		if err != nil {
			return err
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return fmt.Errorf("%w: JSON", ErrForm)
	}
	return nil
}

func word(d *json.Decoder) (string, error) {
	t, err := d.Token()
	s, ok := t.(string)
	if err != nil || !ok {
		return "", fmt.Errorf("%w: JSON", ErrForm)
	}
	return s, nil
}

// jsonNumber takes a number, also as a string, as protobuf's JSON mapping may
// write it.
func jsonNumber(t json.Token) (float64, error) {
	switch v := t.(type) {
	case json.Number:
		return number(v.String())
	case string:
		return number(v)
	}
	return 0, fmt.Errorf("%w: not a number", ErrForm)
}

// The fields of OrcaLoadReport.
var protoFields = map[protowire.Number]string{
	1: "cpu_utilization", 2: "mem_utilization", 3: "rps", 4: "request_cost", 5: "utilization", 6: "rps_fractional", 7: "eps",
	8: "named_metrics", 9: "application_utilization",
}

func parseProto(b []byte) (Report, error) {
	var r Report
	broken := fmt.Errorf("%w: protobuf", ErrForm)
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Report{}, broken
		}
		b = b[n:]
		name := protoFields[field]
		switch {
		case name == "":
			n = protowire.ConsumeFieldValue(field, typ, b)
		case field == 3 && typ == protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 && r.RPS == 0 { // rps_fractional takes its place
				r.RPS = float64(v)
			}
		case (field == 4 || field == 5 || field == 8) && typ == protowire.BytesType:
			var entry []byte
			if entry, n = protowire.ConsumeBytes(b); n >= 0 {
				key, v, ok := parseEntry(entry)
				if !ok {
					return Report{}, broken
				}
				if err := r.put(name, key, v); err != nil {
					return Report{}, err
				}
			}
		case typ == protowire.Fixed64Type && field != 3 && field != 4 && field != 5 && field != 8:
			var v uint64
			if v, n = protowire.ConsumeFixed64(b); n >= 0 {
				if err := r.set(name, math.Float64frombits(v)); err != nil {
					return Report{}, err
				}
			}
		default:
			return Report{}, broken
		}
		if n < 0 {
			return Report{}, broken
		}
		b = b[n:]
	}
	return r, nil
}

// parseEntry reads one entry of a map<string, double>.
func parseEntry(b []byte) (key string, v float64, ok bool) {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", 0, false
		}
		b = b[n:]
		switch {
		case field == 1 && typ == protowire.BytesType:
			var k []byte
			if k, n = protowire.ConsumeBytes(b); n >= 0 {
				key = string(k)
			}
		case field == 2 && typ == protowire.Fixed64Type:
			var bits uint64
			if bits, n = protowire.ConsumeFixed64(b); n >= 0 {
				v = math.Float64frombits(bits)
			}
		default:
			n = protowire.ConsumeFieldValue(field, typ, b)
		}
		if n < 0 {
			return "", 0, false
		}
		b = b[n:]
	}
	return key, v, true
}
