package orca_test

import (
	"encoding/base64"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sallyport.dev/gateway/orca"
)

// message is an OrcaLoadReport: cpu 0.75, memory 0.5, rps_fractional 12.5, and
// a request_cost of 0.25 cpu_seconds and 40 rows.
func message() []byte {
	double := func(b []byte, field protowire.Number, v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
	}
	entry := func(b []byte, field protowire.Number, key string, v float64) []byte {
		e := double(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key), 2, v)
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), e)
	}
	b := double(double(double(nil, 1, .75), 2, .5), 6, 12.5)
	return entry(entry(b, 4, "cpu_seconds", .25), 4, "rows", 40)
}

func TestParse(t *testing.T) {
	want := orca.Report{CPU: .75, Memory: .5, RPS: 12.5, RequestCost: map[string]float64{"cpu_seconds": .25, "rows": 40}}
	for _, value := range []string{
		"TEXT cpu_utilization=0.75,mem_utilization=0.5, rps_fractional=12.5,request_cost.cpu_seconds=0.25,request_cost.rows=4e1",
		"cpu_utilization=0.75, mem_utilization=0.5, rps=12.5, request_cost.cpu_seconds=0.25, request_cost.rows=40",
		`JSON {"cpu_utilization": 0.75, "mem_utilization": 0.5, "rps_fractional": 12.5, "request_cost": {"cpu_seconds": 0.25, "rows": 40}}`,
		`JSON {"cpuUtilization":0.75,"memUtilization":"0.5","rpsFractional":12.5,"requestCost":{"cpu_seconds":0.25,"rows":40}}`,
		"BIN " + base64.StdEncoding.EncodeToString(message()),
		"BIN " + base64.RawStdEncoding.EncodeToString(message()),
	} {
		if got, err := orca.Parse(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.40s…: got %+v, %v; want %+v", value, got, err, want)
		}
	}
	got, err := orca.ParseBinary(base64.StdEncoding.EncodeToString(message()))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("binary: got %+v, %v; want %+v", got, err, want)
	}
	if c := got.Cost(); c != (orca.Cost{CPU: 250 * time.Millisecond, Rows: 40}) {
		t.Errorf("cost: got %+v", c)
	}
}

func TestParseRefuses(t *testing.T) {
	many := "TEXT "
	for i := range orca.MaxNames + 1 {
		many += "named_metrics.n" + strings.Repeat("x", i) + "=1,"
	}
	for name, value := range map[string]string{
		"empty": "", "word": "hello", "text without value": "TEXT cpu_utilization", "negative": "TEXT cpu_utilization=-1",
		"not a number": "TEXT cpu_utilization=NaN", "infinite": "TEXT cpu_utilization=1e999", "hexadecimal": "TEXT cpu_utilization=0x1p4",
		"unknown": "TEXT cpu=1", "twice": "TEXT eps=1,eps=2", "entry twice": "TEXT request_cost.a=1,request_cost.a=2",
		"memory beyond": "TEXT mem_utilization=1.5", "utilisation beyond": "TEXT utilization.disk=2", "no name": "TEXT request_cost.=1",
		"trailing comma": "TEXT eps=1,", "too long": "TEXT eps=" + strings.Repeat("1", orca.MaxBytes), "too many": strings.TrimSuffix(many, ","),
		"array": "JSON []", "twice in JSON": `JSON {"eps":1,"eps":1}`, "both spellings": `JSON {"cpuUtilization":1,"cpu_utilization":1}`,
		"behind": `JSON {"eps":1} {}`, "cut": `JSON {"eps":`, "deep": `JSON {"request_cost":{"a":{"b":1}}}`, "null": `JSON {"eps":null}`,
		"base64": "BIN !!!!", "cut message": "BIN " + base64.StdEncoding.EncodeToString(message()[:20]),
		"wrong type": "BIN " + base64.StdEncoding.EncodeToString([]byte{0x08, 1}),
	} {
		if got, err := orca.Parse(value); err == nil {
			t.Errorf("%s: %.60q was read as %+v", name, value, got)
		} else if !reflect.DeepEqual(got, orca.Report{}) {
			t.Errorf("%s: an error with a report beside it: %+v", name, got)
		}
	}
}

// TestCostBounded: sums of what an upstream says can't overflow what limits count in.
func TestCostBounded(t *testing.T) {
	r, err := orca.Parse("TEXT request_cost.cpu_seconds=1e300,request_cost.rows=1e300,request_cost.money=1e300,request_cost.bytes=1e300")
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Cost(); c.CPU <= 0 || c.CPU > 1<<52 || c.Rows > 1<<52 || c.Money > 1<<52 || c.Bytes > 1<<52 {
		t.Errorf("got %+v", c)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("TEXT cpu_utilization=0.3,named_metrics.queue=0.4")
	f.Add(`JSON {"cpu_utilization":0.3,"request_cost":{"rows":2}}`)
	f.Add("BIN " + base64.StdEncoding.EncodeToString(message()))
	f.Add("TEXT request_cost.=")
	f.Fuzz(func(t *testing.T, value string) {
		r, err := orca.Parse(value)
		if err != nil {
			return
		}
		for _, v := range []float64{r.CPU, r.Memory, r.Application, r.RPS, r.EPS} {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("%q: %+v", value, r)
			}
		}
		for _, m := range []map[string]float64{r.RequestCost, r.Utilization, r.Named} {
			if len(m) > orca.MaxNames {
				t.Fatalf("%d names", len(m))
			}
		}
		if c := r.Cost(); c.CPU < 0 || c.Rows < 0 || c.Bytes < 0 || c.Money < 0 {
			t.Fatalf("%q: cost %+v", value, c)
		}
	})
}
