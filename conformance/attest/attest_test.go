package attest_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/attest"
	"sallyport.dev/store"
)

var (
	image = "sha256:" + strings.Repeat("ab", 32)
	spec1 = attest.Digest([][]byte{[]byte("one"), []byte("two")})
	spec2 = attest.Digest([][]byte{[]byte("three")})
)

func report(at time.Time, edit func(*conformance.Report)) []byte {
	r := &conformance.Report{API: "shop", Target: "http://x", Profile: conformance.Full, Passed: true, Requests: 10, Started: at,
		Coverage: conformance.Coverage{Checks: map[string]int{"contract.body": 3}}}
	if edit != nil {
		edit(r)
	}
	b, _ := json.Marshal(r)
	return b
}

func open(t *testing.T, now *time.Time) (*attest.Book, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Key: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	key, err := attest.Key([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Open(t.Context(), attest.Options{Store: s, Key: key, Now: func() time.Time { return *now }, Good: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

// An image may run while its newest verdict against the specification in force
// passed, is deep enough and has not expired.
func TestJudge(t *testing.T) {
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	b, s := open(t, &now)
	judge := func(what, api, image, spec, profile string, want bool, say string) {
		t.Helper()
		ok, why, err := b.Judge(t.Context(), api, image, spec, profile)
		if err != nil || ok != want || !strings.Contains(why, say) {
			t.Errorf("%s: %v %q %v, want %v with %q", what, ok, why, err, want, say)
		}
	}
	add := func(spec string, edit func(*conformance.Report)) attest.Verdict {
		t.Helper()
		now = now.Add(time.Minute)
		v, err := b.Add(t.Context(), attest.New{API: "shop", Image: "registry.test/shop@" + image, Spec: spec, Policy: "p", Reporter: "ci", Report: report(now, edit)})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	judge("nothing known", "shop", image, spec1, "full", false, "no verdict")
	add(spec1, func(r *conformance.Report) { r.Profile = conformance.Safe })
	judge("too shallow", "shop", image, spec1, "full", false, "lesser profile")
	judge("shallow enough", "shop", image, spec1, "safe", true, "passed")
	v := add(spec1, nil)
	judge("passed", "shop", image, spec1, "full", true, v.ID)
	judge("deeper wanted", "shop", image, spec1, "deep", false, "lesser profile")
	judge("another API", "desk", image, spec1, "full", false, "no verdict")
	judge("another image", "shop", "sha256:"+strings.Repeat("cd", 32), spec1, "full", false, "no verdict")
	judge("another specification", "shop", image, spec2, "full", false, "another specification")

	st, err := attest.Verify(b.Public(), v.Envelope)
	if err != nil || st.Predicate.Spec != spec1 || st.Predicate.Policy != "p" || st.Predicate.Profile != "full" || !st.Predicate.Passed || "sha256:"+st.Subject[0].Digest["sha256"] != image {
		t.Errorf("statement %+v %v", st, err)
	}
	_, raw, err := b.Find(t.Context(), v.ID)
	if err != nil || !strings.Contains(string(raw), "contract.body") {
		t.Errorf("report %q %v", raw, err)
	}
	if l, err := b.List(t.Context(), "shop", image, 50); err != nil || len(l) != 2 {
		t.Errorf("%d verdicts %v", len(l), err)
	}

	now = now.Add(25 * time.Hour)
	judge("expired", "shop", image, spec1, "full", false, "expired")
	add(spec1, nil)
	judge("tested again", "shop", image, spec1, "full", true, "passed")
	// Passed is worked out, not believed.
	add(spec1, func(r *conformance.Report) {
		r.Findings = []conformance.Finding{{Check: "contract.body", Level: conformance.Error}}
	})
	judge("failed since", "shop", image, spec1, "full", false, "failed")
	last := add(spec1, nil)
	judge("repaired", "shop", image, spec1, "full", true, last.ID)
	if _, err := s.DB().ExecContext(t.Context(), "UPDATE attest_verdict SET envelope = ? WHERE id = ?", []byte(strings.Replace(string(last.Envelope), "A", "B", 1)), last.ID); err != nil {
		t.Fatal(err)
	}
	judge("changed in the database", "shop", image, spec1, "full", false, "not as it was signed")
}

func TestReportsThatAreRefused(t *testing.T) {
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	b, _ := open(t, &now)
	good := report(now, nil)
	for _, x := range []struct {
		what string
		n    attest.New
	}{
		{"a tag", attest.New{API: "shop", Image: "registry.test/shop:latest", Spec: spec1, Report: good}},
		{"a short digest", attest.New{API: "shop", Image: "sha256:abc", Spec: spec1, Report: good}},
		{"capitals", attest.New{API: "shop", Image: "sha256:" + strings.Repeat("AB", 32), Spec: spec1, Report: good}},
		{"no specification", attest.New{API: "shop", Image: image, Report: good}},
		{"another API", attest.New{API: "desk", Image: image, Spec: spec1, Report: good}},
		{"no report", attest.New{API: "shop", Image: image, Spec: spec1}},
		{"null", attest.New{API: "shop", Image: image, Spec: spec1, Report: []byte("null")}},
		{"truncated", attest.New{API: "shop", Image: image, Spec: spec1, Report: good[:len(good)/2]}},
		{"huge", attest.New{API: "shop", Image: image, Spec: spec1, Report: make([]byte, attest.MaxReport+1)}},
		{"nothing was run", attest.New{API: "shop", Image: image, Spec: spec1, Report: report(now, func(r *conformance.Report) { r.Requests = 0 })}},
		{"old", attest.New{API: "shop", Image: image, Spec: spec1, Report: report(now.Add(-72*time.Hour), nil)}},
		{"of the future", attest.New{API: "shop", Image: image, Spec: spec1, Report: report(now.Add(time.Hour), nil)}},
		{"made up profile", attest.New{API: "shop", Image: image, Spec: spec1, Report: report(now, func(r *conformance.Report) { r.Profile = "none" })}},
	} {
		if _, err := b.Add(t.Context(), x.n); !errors.Is(err, sallyport.Invalid) {
			t.Errorf("%s: %v, want invalid", x.what, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	good, err := attest.Sign(key, attest.Statement{Type: attest.StatementType, PredicateType: attest.PredicateType, Subject: []attest.Subject{{Digest: map[string]string{"sha256": image[7:]}}}})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := attest.Verify(pub, good); err != nil {
		f.Fatal(err)
	}
	f.Add(good[:10], byte(0))
	f.Add([]byte(`{"payloadType":"x","payload":"e30=","signatures":[{}]}`), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at byte) {
		if _, err := attest.Verify(pub, b); err == nil {
			t.Fatalf("%q is taken for signed", b)
		}
	})
}
