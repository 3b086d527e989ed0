package guard

import "time"

// BodyUnseen takes RequestBody's place at a door that cannot hand the body
// over: it never sees bodies, or has the beginning alone (cut). What the step
// before wanted of it stays undone, and the decision says so. A body that is cut
// is held for one that is larger than the bound: the policy says whether it
// passes. A signature that covers the body is not proven without it, and rules
// that read it find none.
func (s *Session) BodyUnseen(cut bool, now time.Time) Step {
	if s.refusal != nil {
		return s.refuse()
	}
	if s.early {
		s.early, s.plan = false, BodyNone
		s.raw, s.rawWhole = nil, false
		if step := s.authenticated(now); step.Verb != Proceed || s.plan != BodyWhole && s.plan != BodySample {
			return step
		}
	}
	if s.awaited {
		s.awaited = false
		s.plan = s.then
		s.judge(s.op.ofBody, now)
		if s.refusal != nil {
			return s.refuse()
		}
	}
	wanted := s.plan == BodyWhole || s.plan == BodySample || s.plan == BodyForm || s.plan == BodyMessages
	s.plan = BodyNone
	if wanted && cut {
		return s.oversize()
	}
	if wanted && s.entry != nil {
		s.miss("operations: the body names them, and was not seen")
	}
	return s.proceed(BodyNone, 0)
}
