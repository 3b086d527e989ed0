package sallyport

import (
	"errors"
	"fmt"
)

// Kind is the machine's half of an error: a short closed list that a caller
// can act on. It is an error itself, so errors.Is(err, NotFound) works.
type Kind string

// The kinds of error.
const (
	Invalid         Kind = "invalid"
	Unauthenticated Kind = "unauthenticated"
	Forbidden       Kind = "forbidden"
	NotFound        Kind = "not found"
	Conflict        Kind = "conflict"
	Limited         Kind = "limited"
	Unavailable     Kind = "unavailable"
	Fault           Kind = "internal"
)

func (k Kind) Error() string { return string(k) }

// Error is a Kind with a message for people and, for the log only, its cause.
type Error struct {
	Kind    Kind
	Message string // may be shown to a caller
	Cause   error  // never shown to a caller
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Errorf makes an Error of kind k with a message that may be shown to a caller.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error of kind k around cause, whose text a caller never sees.
func Wrap(k Kind, cause error, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// KindOf is the kind of err: Internal when it has none, "" when err is nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Fault
}
