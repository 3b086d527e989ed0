package guard_test

import (
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

// said is a source of keys that also keeps what the issuer has said about tokens.
type said struct {
	*keySource
	by map[string]string // "" is: not active
}

func (s *said) Answer(_, token string) ([]byte, bool) {
	text, known := s.by[token]
	if text == "" {
		return nil, known
	}
	return []byte(text), known
}

// Where an issuer is asked about its JWTs too, one passes while it is said to be
// active; a revoked one does not, nor one about which there is no answer. What is
// not verified is shown to nobody.
func TestRevokedJWT(t *testing.T) {
	source := &said{&keySource{}, map[string]string{}}
	c := config(sallyport.Enforce)
	c.Keys = source
	oidc := append([]policy.OIDC(nil), c.APIs[0].Policy.Auth.OIDC...)
	oidc[0].Introspection = policy.Introspection{ClientID: "door", Secret: "env:DOOR", JWT: policy.On}
	c.APIs[0].Policy.Auth.OIDC = oidc
	p := compile(t, c)
	good := token("alice", "items:read")
	begin := func(token string) (*guard.Session, guard.Step) {
		return p.Begin(request("GET", getTarget, token, 0), now)
	}
	end := func(s *guard.Session) *sallyport.Exchange { return s.End(guard.Outcome{}, now) }

	s, step := begin(good)
	if step.Verb != guard.Fetch || step.Fetch != (guard.FetchKey{Issuer: issuer, Token: good}) {
		t.Fatalf("nothing is known: %+v", step)
	}
	source.by[good] = `{"active":true}`
	if step = s.Resume(now); step.Verb != guard.Proceed {
		t.Errorf("active: %+v", step)
	}
	if x := end(s); x.Principal.Subject != "alice" {
		t.Errorf("active: %v", x.Principal)
	}
	if s, step = begin(good); step.Verb != guard.Proceed { // verified before, and the answer is held
		t.Errorf("active, again: %+v", step)
	}
	end(s)
	source.by[good] = ""
	if s, step = begin(good); step.Refusal == nil || step.Refusal.Status != 401 {
		t.Errorf("revoked: %+v", step)
	}
	if x := end(s); x.Decision.Reasons[0].Rule != "token.inactive" {
		t.Errorf("revoked: %+v", x.Decision)
	}
	delete(source.by, good)
	s, _ = begin(good)
	if step = s.Resume(now); step.Refusal == nil || step.Refusal.Status != 503 {
		t.Errorf("an issuer that cannot be asked: %+v", step)
	}
	if x := end(s); x.Decision.Reasons[0].Rule != "introspection.unavailable" {
		t.Errorf("an issuer that cannot be asked: %+v", x.Decision)
	}
	forged := good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86)
	s, step = begin(forged)
	if step.Verb == guard.Fetch || step.Refusal == nil || step.Refusal.Status != 401 {
		t.Errorf("a forged token is shown to the issuer: %+v", step)
	}
	end(s)
	// A key and an answer that are missing are fetched one after the other.
	source.missing = true
	bob := token("bob", "items:read")
	s, step = begin(bob)
	if step.Fetch.KeyID == "" {
		t.Errorf("no key: %+v", step)
	}
	source.missing = false
	if step = s.Resume(now); step.Fetch.Token != bob {
		t.Errorf("no answer: %+v", step)
	}
	source.by[bob] = `{"active":true}`
	if step = s.Resume(now); step.Verb != guard.Proceed {
		t.Errorf("both: %+v", step)
	}
	end(s)
}
