package observe

import (
	"errors"

	"sallyport.dev"
)

// RedactOptions name what is kept and what is always replaced, beyond what is
// built in. Names compare without case.
type RedactOptions struct {
	KeepHeaders   []string // header fields whose values are kept
	SecretHeaders []string // header fields whose values are always replaced
	SecretNames   []string // parameters whose values are always replaced
}

// A Redactor takes secrets and personal data out of exchanges. It is immutable
// and safe for concurrent use.
type Redactor struct{}

// NewRedactor compiles o.
func NewRedactor(o RedactOptions) (*Redactor, error) {
	return nil, errors.New("redactor: not built")
}

// Redact replaces in place, in every part of x, what must not be written: the
// values of headers other than the kept ones, values of parameters with
// sensitive names, and path segments, values and names that are or look like
// secrets or personal data. Each is replaced by a mark that names its class:
// "‹token›". Bodies are dropped: Classes and Shape are filled from them first.
// Afterwards x.Redacted is true.
func (r *Redactor) Redact(x *sallyport.Exchange) {}
