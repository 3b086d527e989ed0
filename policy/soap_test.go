package policy_test

import (
	"strings"
	"testing"

	"sallyport.dev/policy"
)

func TestSOAPMistakes(t *testing.T) {
	for _, c := range []struct {
		soap policy.SOAP
		want string
	}{
		{policy.SOAP{}, ""},
		{policy.SOAP{MustUnderstand: policy.RefuseIt, Headers: []string{"{urn:a}b", "{http://example.test/a#}*"}}, ""},
		{policy.SOAP{MustUnderstand: "check"}, "must_understand"},
		{policy.SOAP{Headers: []string{"Security"}}, "want {namespace}name"},
		{policy.SOAP{Headers: []string{"{}b"}}, "want {namespace}name"},
		{policy.SOAP{Headers: []string{"{urn:a}"}}, "want {namespace}name"},
		{policy.SOAP{Headers: []string{"{urn:a}b c"}}, "want {namespace}name"},
		{policy.SOAP{MustUnderstand: policy.PassIt, Headers: []string{"{urn:a}b"}}, "nothing to list"},
	} {
		got := ""
		for _, m := range (policy.API{SOAP: c.soap}).Check(nil) {
			got += m.Path + " " + m.Text
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.soap, got, c.want)
		}
	}
}
