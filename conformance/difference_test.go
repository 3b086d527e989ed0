package conformance

import (
	"bytes"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	f := func(check, place string, l Level) Finding {
		return Finding{Check: check, Operation: "GET /a", Place: place, Level: l, Detail: "d"}
	}
	before := &Report{Findings: []Finding{f("contract.body", "/old", Error), f("contract.body", "/same", Warning), f("contract.body", "/hint", Note)},
		Coverage: Coverage{Operations: []OperationCoverage{{Operation: "GET /a"}, {Operation: "GET /b"}, {Operation: "GET /gone"}}}}
	now := &Report{Findings: []Finding{f("contract.body", "/same", Error), f("contract.body", "/new", Error), f("contract.body", "/hint2", Note)},
		Coverage: Coverage{Operations: []OperationCoverage{{Operation: "GET /a", Why: "answered 500"}, {Operation: "GET /b"}, {Operation: "GET /c"}}}}
	want := "+ contract.body at GET /a /new: d\n- contract.body at GET /a /old\n+ operation GET /c\n- operation GET /gone\n- no request of GET /a succeeds any more\n"
	if got := Diff(before, now).String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if d := Diff(now, now); !d.Empty() || d.String() != "" {
		t.Errorf("a report differs from itself: %s", d)
	}
	if d := Diff(&Report{}, &Report{}); !d.Empty() {
		t.Errorf("%s", d)
	}
}

// A report that an earlier release kept can name a check that is no more.
func TestReportWithACheckThatIsNoMore(t *testing.T) {
	r := &Report{API: "a", Findings: []Finding{{Check: "contract.retired", Operation: "GET /a", Level: Error, Detail: "<b>d</b>", Curl: "curl"}}}
	for _, format := range Formats {
		var b bytes.Buffer
		if err := r.Write(&b, format, false); err != nil || !strings.Contains(b.String(), "contract.retired") {
			t.Errorf("%s: %v\n%s", format, err, b.String())
		}
	}
}

// An allowed break is on record and fails nothing.
func TestAllowedBreak(t *testing.T) {
	r := &Report{Passed: true}
	r.Add([]Break{{Rule: "answer.removed", Operation: "GET /a", Detail: "name is gone", Consumers: []string{"billing"}, Exception: &Exception{Approver: "Head of APIs", Expires: "2030-12-31"}}})
	if !r.Passed || len(r.Findings) != 0 || len(r.Breaks) != 1 {
		t.Errorf("%+v", r)
	}
	r.Add([]Break{{Rule: "answer.removed", Operation: "GET /b", Detail: "name is gone", Consumers: []string{"billing"}}})
	if r.Passed || len(r.Findings) != 1 || len(r.Breaks) != 2 {
		t.Errorf("%+v", r)
	}
}
