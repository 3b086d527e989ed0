package discovery

import "sallyport.dev"

// folded are the fields of an exchange that folding and learning need.
var folded = sallyport.KeysOf(1, 2, 3, 6, 7, 8, 9, 11, 12, 14, 16, 17, 18, 21, 22, 23, 24, 25, 29, 30, 45, 46)

// known are those of an exchange that a specification declares: nothing is
// folded, and what is learned is compared with what is declared.
var known = sallyport.KeysOf(2, 6, 7, 8, 9, 11, 12, 14, 16, 17, 18, 21, 22, 23, 24, 25, 30, 41, 45)

type exchange = sallyport.Exchange

type event struct{ sallyport.Event }

func (e *event) read(b []byte) error { return e.UnmarshalTwo(b, folded, known) }
