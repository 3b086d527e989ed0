package classify

// Name tells which class a value of this name usually is, by its name alone:
// what a specification declares has no values yet. "" means that the name says
// nothing. It is weaker than Field, which sees the value too.
func Name(name string) Class {
	var short [96]byte
	m, ok := meaningOf(append(short[:0], name[:min(len(name), len(short))]...))
	if !ok {
		return ""
	}
	return m.class
}
