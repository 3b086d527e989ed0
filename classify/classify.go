// Package classify recognises sensitive data: payment cards, bank accounts,
// identity numbers, contact data, places, health ids, credentials and keys.
//
// In come bytes (a body, a header value, a file) or one named field; out go
// matches: the class, where it stands and how sure we are. A match rests on
// structure that can be checked (check digits, issuer ranges, country lengths,
// prefixes that a vendor reserves) or on words that stand next to it, never on
// the look of the digits alone.
//
// The package keeps no state, does no I/O, reads no clock and holds on to none
// of the bytes it is given. All functions are safe for concurrent use.
package classify

// A Class names one kind of sensitive data, for example "payment-card".
type Class string

// Confidence says how sure a match is, from 0 to 1. Matches below Likely are
// not reported.
type Confidence float32

// The three levels in use.
const (
	Likely  Confidence = 0.6  // the form fits and something beside it speaks for it
	Strong  Confidence = 0.85 // check digits, or a form plus the words around it
	Certain Confidence = 0.98 // a form that nothing else has
)

// A Match is one finding in a scanned text: text[Start:End] is of Class.
type Match struct {
	Class      Class
	Start, End int
	Confidence Confidence
}
