package classify

// Info describes a class for people.
type Info struct {
	Class  Class
	Title  string
	Secret bool // a credential: whoever has it can act with it
}

// Classes lists every class that Scan and Field may report, by name.
func Classes() []Info { return nil }
