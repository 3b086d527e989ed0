package guard

import (
	"net/http"
	"time"

	sallyport "sallyport.dev"
)

// A Session is one exchange on its way through the guard. It belongs to one
// goroutine at a time and must not be touched after End.
type Session struct{}

// A Program is everything that was configured, compiled. It is immutable and
// safe for concurrent use.
type Program struct{}

// Compile checks and compiles the whole configuration. When anything is wrong
// the error holds every mistake that was found, and there is no program.
func Compile(c Config) (*Program, error) { return &Program{}, nil }

// Begin opens a session on a request's head. End must be called on it.
func (p *Program) Begin(r *Request, now time.Time) (*Session, Step) { return &Session{}, Step{} }

// Resume goes on after the door has tried to fetch what Step.Fetch named,
// whether or not it succeeded.
func (s *Session) Resume(now time.Time) Step { return Step{} }

// RequestBody hands over the request's body, whole or as a sample, as the last
// step's Body said. The session does not keep b.
func (s *Session) RequestBody(b []byte, now time.Time) Step { return Step{} }

// Response hands over the head of the upstream's answer.
func (s *Session) Response(status int, h http.Header, now time.Time) Step { return Step{} }

// ResponseBody hands over the answer's body, as the step of Response said.
func (s *Session) ResponseBody(b []byte, now time.Time) Step { return Step{} }

// End closes the session and gives the record of the exchange, which is the
// caller's. The session must not be used again.
func (s *Session) End(o Outcome, now time.Time) *sallyport.Exchange { return &sallyport.Exchange{} }

// API is the API that the request is for, nil when none matched. It is shared
// and must not be changed.
func (s *Session) API() *sallyport.API { return nil }

// Operation is the operation that the request is for; its Template is empty
// when no specification declares it.
func (s *Session) Operation() sallyport.Operation { return sallyport.Operation{} }

// Principal is who the request is made for, as far as it has been proven.
func (s *Session) Principal() sallyport.Principal { return sallyport.Principal{} }
