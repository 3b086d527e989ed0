package inventory

import "sallyport.dev"

// counted are the fields of an exchange that the catalogue counts; the headers,
// which are most of it, are not read.
var counted = sallyport.KeysOf(2, 3, 6, 7, 8, 9, 12, 14, 15, 16, 17, 18, 23, 24, 25, 26, 27, 29, 30, 41, 42, 46)

type exchange = sallyport.Exchange

type event struct{ sallyport.Event }

// read decodes b into memory that e holds already.
func (e *event) read(b []byte) error { return e.UnmarshalTwo(b, counted, counted) }
