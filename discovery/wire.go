package discovery

import "sallyport.dev"

// folded are the fields of an exchange that folding needs; the headers, which
// are most of it, are not read.
var folded = sallyport.KeysOf(1, 2, 3, 6, 7, 8, 9, 11, 12, 14, 16, 17, 18, 23, 24, 25, 29, 30)

// known are those of an exchange that a specification declares: folding needs
// its template and no more.
var known = sallyport.KeysOf(6, 7, 8)

type exchange = sallyport.Exchange

type event struct{ sallyport.Event }

func (e *event) read(b []byte) error { return e.UnmarshalTwo(b, folded, known) }
