package policy_test

import (
	"slices"
	"strings"
	"testing"

	"sallyport.dev/policy"
)

func TestLoadIsReadAndSaid(t *testing.T) {
	a := read(t, `{limits: [{rate: 5/s, per: client}, {cpu: 80%}, {memory: 85%}], load: {pressure: 40%, concurrency: adaptive, queue: 0, wait: 100ms, slot_share: 50%,
		sources: [{prometheus: "http://10.0.0.1:9100/metrics", cores: 4, memory_limit: 2GiB}, {cgroup: /sys/fs/cgroup/a.service}, {own: true}],
		classes: [{name: gold, floor: 30%, scopes: [gold], operations: [getItem]}]}}`)
	if m := a.Check(known); len(m) > 0 {
		t.Fatal(m)
	}
	l := a.Loaded()
	if l.CPU != .8 || l.Memory != .85 || l.Pressure != .4 || !l.Concurrency.Adaptive || *l.Queue != 0 || l.Sources[0].MemoryLimit != 2<<30 || l.Classes[0].Floor != .3 {
		t.Errorf("got %+v", l)
	}
	if d := a.For(known[0]); len(d.Limits) != 1 {
		t.Errorf("thresholds are counted: %v", d.Limits)
	}
	want := []string{"limit added: 5/s per client", "load: now cpu 80%, memory 85%, pressure 40%, concurrency adaptive, queue 0 for 100ms, source http://10.0.0.1:9100/metrics, source /sys/fs/cgroup/a.service, source own, gold keeps 30% (getItem, gold)"}
	if got := policy.Diff(policy.API{}, a); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLoadMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{load: {memory: 120%}}":                                                                                      "load.memory",
		"{load: {cpu: 80%, min: 9, max: 3}}":                                                                          "load.min",
		"{load: {concurrency: 3, queue: 99999}}":                                                                      "load.queue",
		"{load: {concurrency: 3, wait: 1h}}":                                                                          "load.wait",
		"{load: {queue: 3}}":                                                                                          "without a threshold",
		"{load: {cpu: 80%, sources: [{}]}}":                                                                           "load.sources[0]: want one of",
		"{load: {cpu: 80%, sources: [{own: true, cgroup: /a}]}}":                                                      "load.sources[0]: want one of",
		`{load: {cpu: 80%, sources: [{prometheus: "file:///etc/passwd"}]}}`:                                           "load.sources[0].prometheus",
		`{load: {cpu: 80%, sources: [{prometheus: "http://user:secret@a/metrics"}]}}`:                                 "load.sources[0].prometheus",
		"{load: {cpu: 80%, sources: [{cgroup: ../etc}]}}":                                                             "load.sources[0].cgroup",
		"{load: {cpu: 80%, sources: [{cgroup: /sys/fs/cgroup/../../etc}]}}":                                           "load.sources[0].cgroup",
		"{load: {cpu: 80%, sources: [{own: true, cpu: busy}]}}":                                                       "name metrics of a prometheus page",
		"{load: {concurrency: 3, sources: [{own: true}]}}":                                                            "it counts where a threshold is given",
		"{load: {concurrency: 3, classes: [{floor: 3%, scopes: [a]}]}}":                                               "load.classes[0].name",
		"{load: {concurrency: 3, classes: [{name: a, scopes: [a]}]}}":                                                 "load.classes[0].floor",
		"{load: {concurrency: 3, classes: [{name: a, floor: 3%}]}}":                                                   "nothing belongs to it",
		"{load: {concurrency: 3, classes: [{name: a, floor: 3%, operations: [getItems]}]}}":                           `did you mean "getItem"?`,
		"{load: {concurrency: 3, classes: [{name: a, floor: 60%, scopes: [a]}, {name: b, floor: 50%, scopes: [b]}]}}": "add up to 110%",
		`{auth: {oidc: [{issuer: "https://a.test", audience: x}, {issuer: "https://b.test", audience: x}]}, load: {concurrency: 3, classes: [{name: a, floor: 3%, principals: [alice]}]}}`: "load.classes[0].principals[0]: \"alice\" is a subject of more than one issuer",
		"{limits: [{cpu: 80%, per: client}]}":                           "a threshold stands alone",
		"{limits: [{rows: 80%, per: client}]}":                          "a percentage is of",
		"{limits: [{cpu: 80%}], load: {cpu: 70%}}":                      "stands twice",
		"{operations: [{operation: getItem, limits: [{memory: 80%}]}]}": "belongs among the API's limits",
	} {
		if got := read(t, text).Check(known).Error(); !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
	for _, names := range []string{`alice`, `"https://a.test#alice"`, `"oidc:https://a.test#alice", "key:gold"`} {
		other := `, {issuer: "https://b.test", audience: x}`
		if names == "alice" {
			other = ""
		}
		text := `{auth: {oidc: [{issuer: "https://a.test", audience: x}` + other + `]}, load: {concurrency: 3, classes: [{name: a, floor: 3%, principals: [` + names + `]}]}}`
		if m := read(t, text).Check(known); len(m) > 0 {
			t.Errorf("%s: %v", text, m)
		}
	}
	for _, text := range []string{"80", "x%", "-1%", "NaN%", "5000%", ""} {
		var f policy.Fraction
		if err := f.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, f)
		}
	}
	for _, text := range []string{"0", "-1", "many", "1.5", "9999999"} {
		var c policy.Concurrency
		if err := c.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, c)
		}
	}
}
