package inventory

import (
	"testing"
	"time"
)

// A request whose answer nobody saw counts as a request, and neither as good nor
// as failed.
func TestUnseenAnswersAreNoErrors(t *testing.T) {
	var s sums
	at := time.Now().UnixMicro()
	for _, r := range []record{{at: at, status: 200}, {at: at, unseen: true}, {at: at, unseen: true}, {at: at}} {
		s.see(&r)
	}
	if s.count != 4 || s.status[0] != 1 || s.status[2] != 1 {
		t.Errorf("%+v", s)
	}
	c := Counts{Requests: 4, Status2xx: s.status[2], None: s.status[0]}
	if c.ErrorRate() != 0.5 {
		t.Errorf("the error rate is %v", c.ErrorRate())
	}
	var o opTally
	o.details(&record{at: at, unseen: true}, nil, nil)
	if o.answered != 0 || len(o.statuses) != 0 || o.hours[at/(3600*1e6)].errors != 0 {
		t.Errorf("%+v", o)
	}
}
