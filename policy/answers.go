package policy

import (
	"cmp"
	"strings"

	sallyport "sallyport.dev"
)

// Answers is what is demanded of what the upstream answers. Written as one
// word it is its Mode. The zero value observes.
type Answers struct {
	Mode sallyport.Mode `yaml:"mode" enum:"observe|enforce|off" doc:"Mode of the checks of answers. Default observe, which records what enforce would do."`
	// Undeclared is what happens to members that no schema for their object names.
	Undeclared Treatment `yaml:"undeclared" enum:"report|strip|refuse" doc:"What happens to properties that no schema names: recorded, taken out, or the answer refused. Default: only what a schema forbids counts, as one of types."`
	Types      Treatment `yaml:"types" enum:"report|refuse" doc:"What happens to an answer that breaks its schema otherwise. Default refuse."`
	Sensitive  Treatment `yaml:"sensitive" enum:"report|strip|refuse" doc:"What happens to sensitive data of kinds that the operation does not declare: recorded, taken out or masked, or the answer refused. Default: nobody looks."`
	Oversize   Treatment `yaml:"oversize" enum:"report|refuse" doc:"What happens to an answer that cannot be looked at whole: longer than bounds.answer, or in an unknown encoding. Default report."`
	// Kinds are those that Sensitive looks for, and Declared those that any answer may hold.
	Kinds    []string `yaml:"kinds" doc:"Kinds of sensitive data that are looked for. Default all."`
	Declared []string `yaml:"declared" doc:"Kinds of sensitive data that any answer of the API may hold, besides x-sensitive in its specification."`
}

// UnmarshalText reads the short form, a mode. Whether it is one is for Check to say.
func (a *Answers) UnmarshalText(b []byte) error {
	*a = Answers{Mode: sallyport.Mode(b)}
	return nil
}

// Acts reports whether anything is said beside the mode.
func (a Answers) Acts() bool {
	return a.Undeclared != "" || a.Types != "" || a.Sensitive != "" || a.Oversize != ""
}

func (a Answers) String() string {
	words := []string{orObserve(a.Mode)}
	for _, w := range []struct {
		what string
		t    Treatment
	}{{"undeclared", a.Undeclared}, {"types", a.Types}, {"sensitive", a.Sensitive}, {"oversize", a.Oversize}} {
		if w.t != "" {
			words = append(words, w.what+" "+string(w.t))
		}
	}
	if len(a.Kinds) > 0 {
		words = append(words, "kinds "+strings.Join(a.Kinds, " "))
	}
	if len(a.Declared) > 0 {
		words = append(words, "declared "+strings.Join(a.Declared, " "))
	}
	return strings.Join(words, ", ")
}

// Treatment is what happens to a finding in an answer.
type Treatment string

// The treatments.
const (
	ReportOnly Treatment = "report"
	StripIt    Treatment = "strip"
	RefuseAll  Treatment = "refuse"
)

// WithDefaults fills what is not given, but for Undeclared and Sensitive.
func (a Answers) WithDefaults() Answers {
	a.Mode = cmp.Or(a.Mode, sallyport.Observe)
	a.Types, a.Oversize = cmp.Or(a.Types, RefuseAll), cmp.Or(a.Oversize, ReportOnly)
	return a
}

func (m *Mistakes) answers(a Answers) {
	m.mode("answers.mode", a.Mode)
	oneOf(m, "answers.undeclared", a.Undeclared, ReportOnly, StripIt, RefuseAll)
	oneOf(m, "answers.types", a.Types, ReportOnly, RefuseAll)
	oneOf(m, "answers.sensitive", a.Sensitive, ReportOnly, StripIt, RefuseAll)
	oneOf(m, "answers.oversize", a.Oversize, ReportOnly, RefuseAll)
	if a.Sensitive == "" && (len(a.Kinds) > 0 || len(a.Declared) > 0) {
		m.add("answers", "kinds or declared are given, but sensitive does not say what happens")
	}
	if a.Mode == sallyport.Off && a.Acts() {
		m.add("answers.mode", "the checks are off, and yet it is said what they do")
	}
}
