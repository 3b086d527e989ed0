package policy

import "strings"

// SOAP is how calls of SOAP services are treated.
type SOAP struct {
	// MustUnderstand says what happens to header blocks that must be understood
	// and that neither a soap:header of the WSDL nor Headers names.
	MustUnderstand Over     `yaml:"must_understand" enum:"refuse|pass" doc:"What happens to header blocks with mustUnderstand that neither the WSDL's bindings nor headers name. Default refuse."`
	Headers        []string `yaml:"headers" doc:"Header blocks that the service understands besides those that the WSDL's bindings declare: {namespace}name, or {namespace}* for all of a namespace."`
}

func (m *Mistakes) soap(s SOAP) {
	oneOf(m, "soap.must_understand", s.MustUnderstand, RefuseIt, PassIt)
	for _, h := range s.Headers {
		space, local, ok := strings.Cut(strings.TrimPrefix(h, "{"), "}")
		if !ok || !strings.HasPrefix(h, "{") || space == "" || local == "" || strings.ContainsAny(local, "{}:/ ") {
			m.add("soap.headers", "%q: want {namespace}name or {namespace}*", h)
		}
	}
	if s.MustUnderstand == PassIt && len(s.Headers) > 0 {
		m.add("soap.headers", "all header blocks pass, so there is nothing to list")
	}
}
