package spec

// Declares reports whether the operation declares an answer with this status
// and media type: one for the status, its class or the default, with that type
// among its content, or with no content and no type.
func (o *Operation) Declares(status int, contentType string) bool {
	if o == nil {
		return false
	}
	r := o.response(status)
	if r == nil {
		return false
	}
	if len(r.media) == 0 {
		return contentType == ""
	}
	return pick(r.media, contentType) != nil
}

// KeyHeaders are the names of the request headers that the operation declares as
// parameters.
func (o *Operation) KeyHeaders() (names []string) {
	if o == nil {
		return nil
	}
	for _, p := range o.header {
		names = append(names, p.name)
	}
	return names
}
