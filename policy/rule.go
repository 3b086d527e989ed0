package policy

import (
	"fmt"
	"strings"

	sallyport "sallyport.dev"
)

// A Rule is a predicate that must be true for a request to be authorised. Its
// language is CEL; package guard/rule says what it may speak of.
type Rule struct {
	Name    string         `yaml:"name" need:"1" doc:"Its name; decisions call it rule.<name>."`
	Require string         `yaml:"require" need:"1" doc:"Predicate in CEL that must be true, such as claims.sub == path.userId. It knows claims, path, query, header, body, now, request.{method,path,host,tls}, operation.{api,method,template,id,declared}, principal.{authenticated,kind,issuer,subject,client,actor,scopes} and client.address."`
	Mode    sallyport.Mode `yaml:"mode" enum:"observe|enforce|off" doc:"Mode of this rule. Default: the mode of the stage authorise."`
}

func (r Rule) words() string {
	s := r.Name + ": " + strings.Join(strings.Fields(r.Require), " ")
	if r.Mode != "" {
		s += " (" + string(r.Mode) + ")"
	}
	return s
}

func ruleWords(rs []Rule) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.words())
	}
	return out
}

// rules checks all but the predicates themselves.
func (m *Mistakes) rules(a API) {
	names := map[string]bool{}
	each := func(path string, rs []Rule) {
		for i, r := range rs {
			p := fmt.Sprintf("%s[%d]", path, i)
			switch {
			case r.Name == "":
				m.add(p+".name", "missing")
			case len(r.Name) > 64 || strings.ContainsFunc(r.Name, func(c rune) bool {
				return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
			}):
				m.add(p+".name", "%q: want letters, digits, -, _ and ., at most 64", r.Name)
			case names[r.Name]:
				m.add(p+".name", "%q stands twice in this API", r.Name)
			}
			names[r.Name] = true
			if strings.TrimSpace(r.Require) == "" {
				m.add(p+".require", "missing; want a predicate in CEL")
			}
			m.mode(p+".mode", r.Mode)
		}
	}
	each("rules", a.Rules)
	for i, o := range a.Operations {
		each(fmt.Sprintf("operations[%d].rules", i), o.Rules)
	}
}
