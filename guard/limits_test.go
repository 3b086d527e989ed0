package guard_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/guard"
	"sallyport.dev/policy"
)

func amount(s string) policy.Amount { return must(policy.ParseAmount(s)) }

// limited is the fixture with these limits and no others.
func limited(mode sallyport.Mode, limits ...policy.Limit) guard.Config {
	c := config(mode)
	c.APIs[0].Policy.Limits = limits
	return c
}

// ask begins a request; when it may proceed, end closes it with its cost.
func ask(p *guard.Program, r *guard.Request, at time.Time) (refusal *guard.Refusal, end func(guard.Cost, time.Time) *sallyport.Exchange) {
	s, step := p.Begin(r, at)
	if step.Verb == guard.Fetch {
		step = s.Resume(at)
	}
	return step.Refusal, func(c guard.Cost, at time.Time) *sallyport.Exchange {
		o := guard.Outcome{Status: 200, Origin: 200, Cost: c}
		if step.Refusal != nil {
			o = guard.Outcome{Status: step.Refusal.Status}
		}
		return s.End(o, at)
	}
}

// One caller of ten costs fifty times as much as each of the others, at the
// same number of requests: it is the one that is limited, and soon.
func TestTheDearCallerIsLimitedAndNobodyElse(t *testing.T) {
	p := compile(t, limited(sallyport.Enforce, policy.Limit{CPU: amount("200ms/s"), Burst: must(policy.ParseQuantity("400ms")), Per: policy.PerPrincipal}))
	tokens := map[string]string{}
	for i := range 10 {
		tokens[fmt.Sprint("u", i)] = token(fmt.Sprint("u", i), "items:read")
	}
	at, refused, first := now, map[string]int{}, time.Duration(0)
	for range 20 * 10 { // 20 seconds, ten requests a second each
		for who, tok := range tokens {
			cost := time.Millisecond
			if who == "u3" {
				cost *= 50
			}
			refusal, end := ask(p, request("GET", getTarget, tok, 0), at)
			x := end(guard.Cost{CPU: cost}, at.Add(cost))
			if refusal == nil {
				if x.Cost.CPU != cost {
					t.Fatalf("the record says %s, want %s", x.Cost.CPU, cost)
				}
				continue
			}
			refused[who]++
			if first == 0 {
				first = at.Sub(now)
			}
			if refusal.Status != 429 || x.Decision.Reasons[0].Rule != "limit.cpu.principal" || refusal.Header[0][0] != "Retry-After" {
				t.Fatalf("refused with %+v, %+v", refusal, x.Decision)
			}
		}
		at = at.Add(100 * time.Millisecond)
	}
	if len(refused) != 1 || refused["u3"] == 0 {
		t.Errorf("refused: %v, want u3 alone", refused)
	}
	if first > 5*time.Second {
		t.Errorf("limited after %s, want within 5s", first)
	}
	// What passes is what the limit allows: 400 ms at once, then 200 ms a second.
	if passed := 200 - refused["u3"]; passed > (400+20*200)/50+1 {
		t.Errorf("%d requests of 50 ms passed in 20 s", passed)
	}
}

// Dear calls that come at once do not pass on credit: what a caller's calls
// have cost is held for each in flight.
func TestABurstOfDearCallsDoesNotPassOnCredit(t *testing.T) {
	p := compile(t, limited(sallyport.Enforce, policy.Limit{CPU: amount("1s/s"), Per: policy.PerPrincipal}))
	dear := token("dear", "items:read")
	at := now
	for range 30 {
		_, end := ask(p, request("GET", getTarget, dear, 0), at)
		end(guard.Cost{CPU: 250 * time.Millisecond}, at)
		at = at.Add(time.Second)
	}
	passed := 0
	var ends []func(guard.Cost, time.Time) *sallyport.Exchange
	for range 100 {
		refusal, end := ask(p, request("GET", getTarget, dear, 0), at)
		ends = append(ends, end)
		if refusal == nil {
			passed++
		}
	}
	if passed != 4 {
		t.Errorf("%d calls of 250 ms passed at once, want 4 of a second's worth", passed)
	}
	for _, end := range ends {
		end(guard.Cost{CPU: 250 * time.Millisecond}, at)
	}
	if refusal, end := ask(p, request("GET", getTarget, dear, 0), at); refusal == nil {
		t.Error("a call passed although a second's worth was spent just now")
	} else {
		end(guard.Cost{}, at)
	}
	if refusal, end := ask(p, request("GET", getTarget, dear, 0), at.Add(time.Second)); refusal != nil {
		t.Error("nothing passes a second later")
	} else {
		end(guard.Cost{}, at)
	}
}

func TestDebtIsBounded(t *testing.T) {
	p := compile(t, limited(sallyport.Enforce, policy.Limit{Units: amount("10/s"), Per: policy.PerClient}))
	_, end := ask(p, request("GET", getTarget, token("a", "items:read"), 0), now)
	end(guard.Cost{Units: 1e9}, now)
	refusal, end := ask(p, request("GET", getTarget, token("a", "items:read"), 0), now)
	end(guard.Cost{}, now)
	if refusal == nil || refusal.Header[0][1] > "2" {
		t.Fatalf("after an absurd cost: %+v", refusal)
	}
	// As many as can be in flight may have been waited for besides; two seconds pay it all.
	if refusal, end := ask(p, request("GET", getTarget, token("a", "items:read"), 0), now.Add(2*time.Second)); refusal != nil {
		t.Errorf("still refused after twice the window: %+v", refusal)
	} else {
		end(guard.Cost{}, now)
	}
}

func TestConcurrencyIsGivenBack(t *testing.T) {
	p := compile(t, limited(sallyport.Enforce, policy.Limit{Concurrent: 2, Per: policy.PerPrincipal, Name: "slots"}))
	alice := token("alice", "items:read")
	_, one := ask(p, request("GET", getTarget, alice, 0), now)
	_, two := ask(p, request("GET", getTarget, alice, 0), now)
	refusal, three := ask(p, request("GET", getTarget, alice, 0), now)
	if refusal == nil {
		t.Fatal("a third in flight passed")
	}
	if got := fmt.Sprint(refusal.Header); got != `[[Retry-After 1] [Ratelimit-Policy "slots";q=2;qu="concurrent-requests"] [Ratelimit "slots";r=0]]` {
		t.Errorf("headers: %s", got)
	}
	three(guard.Cost{}, now) // the refused one held nothing
	if refusal, end := ask(p, request("GET", getTarget, alice, 0), now); refusal == nil {
		t.Error("the end of a refused request gave a place back")
	} else {
		end(guard.Cost{}, now)
	}
	if refusal, end := ask(p, request("GET", getTarget, token("bob", "items:read"), 0), now); refusal != nil {
		t.Error("another principal was refused")
	} else {
		end(guard.Cost{}, now)
	}
	one(guard.Cost{}, now)
	if refusal, end := ask(p, request("GET", getTarget, alice, 0), now); refusal != nil {
		t.Error("refused although one has ended")
	} else {
		end(guard.Cost{}, now)
	}
	two(guard.Cost{}, now)
	// What breaks half-way gives its place back too.
	for range 10 {
		s, _ := p.Begin(request("GET", getTarget, alice, 0), now)
		s.Abandon(now)
	}
	if refusal, end := ask(p, request("GET", getTarget, alice, 0), now); refusal != nil {
		t.Error("abandoned sessions hold places")
	} else {
		end(guard.Cost{}, now)
	}
}

func TestQuotasFollowTheCalendar(t *testing.T) {
	day := policy.Limit{Quota: must(policy.ParseQuota("3/day")), Zone: "America/New_York", Per: policy.PerClient}
	c := limited(sallyport.Enforce, day)
	c.APIs[0].Policy.Auth = policy.Auth{}
	p := compile(t, c)
	at := time.Date(2027, 3, 13, 23, 0, 0, 0, time.UTC) // 18:00 in New York; the night has 23 hours
	for i := range 5 {
		refusal, end := ask(p, request("GET", getTarget, "", 0), at)
		end(guard.Cost{}, at)
		if (refusal != nil) != (i >= 3) {
			t.Fatalf("number %d of the day: %+v", i+1, refusal)
		}
		if refusal != nil && refusal.Header[0][1] != "21600" {
			t.Errorf("Retry-After %s, want six hours", refusal.Header[0][1])
		}
	}
	midnight := time.Date(2027, 3, 14, 5, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at     time.Time
		passes bool
	}{{midnight.Add(-time.Nanosecond), false}, {midnight, true}} {
		refusal, end := ask(p, request("GET", getTarget, "", 0), c.at)
		end(guard.Cost{}, c.at)
		if (refusal == nil) != c.passes {
			t.Errorf("at %s: %+v", c.at, refusal)
		}
	}
}

func TestLimitsCountByWhatTheySay(t *testing.T) {
	rate := policy.Rate{Count: 1, Window: time.Hour}
	for _, c := range []struct {
		per          policy.Per
		other        func(*guard.Request)
		target       string
		shared       bool // with the second request
		bearer, then string
	}{
		{policy.PerClient, nil, getTarget, true, "alice", "bob"},
		{policy.PerClient, func(r *guard.Request) { r.Client = netip.MustParseAddr("192.0.2.8") }, getTarget, false, "alice", "alice"},
		{policy.PerPrincipal, nil, getTarget, false, "alice", "bob"},
		{policy.PerPrincipal, func(r *guard.Request) { r.Client = netip.MustParseAddr("192.0.2.8") }, getTarget, true, "alice", "alice"},
		{policy.PerOAuthClient, nil, getTarget, true, "alice", "bob"}, // one application
		{policy.PerOperation, nil, getTarget, true, "alice", "bob"},
		{policy.PerOperation, nil, "/v1/status", false, "alice", "alice"},
		{policy.PerAPI, nil, "/v1/status", true, "alice", "bob"},
	} {
		p := compile(t, limited(sallyport.Enforce, policy.Limit{Rate: rate, Per: c.per}))
		_, end := ask(p, request("GET", getTarget, token(c.bearer, "items:read"), 0), now)
		end(guard.Cost{}, now)
		r := request("GET", c.target, token(c.then, "items:read"), 0)
		if c.other != nil {
			c.other(r)
		}
		refusal, end := ask(p, r, now)
		end(guard.Cost{}, now)
		if (refusal != nil && refusal.Status == 429) != c.shared {
			t.Errorf("per %s, %s then %s at %s: %+v, want shared %t", c.per, c.bearer, c.then, c.target, refusal, c.shared)
		}
	}
}

// A limit that only observes charges as if it were enforced, and says what it
// would have done.
func TestObservedLimitsRefuseNobody(t *testing.T) {
	p := compile(t, limited(sallyport.Observe, policy.Limit{CPU: amount("10ms/s"), Per: policy.PerPrincipal}, policy.Limit{Concurrent: 1, Per: policy.PerPrincipal}))
	for i := range 5 {
		refusal, end := ask(p, request("GET", getTarget, token("a", "items:read"), 0), now)
		x := end(guard.Cost{CPU: time.Second}, now)
		if refusal != nil || (len(x.Decision.Reasons) > 0) != (i > 0) {
			t.Errorf("number %d: %+v, %+v", i+1, refusal, x.Decision)
		}
	}
}

func TestAnswersTellHowTheCallerStands(t *testing.T) {
	c := limited(sallyport.Enforce, policy.Limit{Rate: policy.Rate{Count: 100, Window: time.Minute}, Per: policy.PerClient, Name: "burst"},
		policy.Limit{Quota: must(policy.ParseQuota("1000/day")), Per: policy.PerPrincipal, Name: "daily"},
		policy.Limit{CPU: amount("1s/s"), Per: policy.PerPrincipal})
	c.APIs[0].Policy.LimitHeaders = policy.HeadersAlways
	p := compile(t, c)
	s, _ := p.Begin(request("GET", getTarget, token("a", "items:read"), 0), now)
	step := s.Response(200, answerHeader, now)
	s.End(guard.Outcome{Status: 200, Origin: 200}, now)
	var got []string
	for _, e := range step.Head {
		got = append(got, e.Name+": "+e.Value)
	}
	want := `Ratelimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400
Ratelimit: "burst";r=99;t=1, "daily";r=999;t=43200`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestLimitsAreListedOnce(t *testing.T) {
	c := config(sallyport.Enforce)
	c.APIs[0].Policy.Operations = []policy.OperationDemand{{Operation: "GET /v1/items/{id}", Limits: []policy.Limit{{Concurrent: 3, Per: policy.PerClient}}}}
	var got []string
	operations := 0
	for _, l := range compile(t, c).Limits() {
		if l.Text.Per == policy.PerOperation {
			operations++
			continue
		}
		got = append(got, l.Key+" = "+l.Text.String())
	}
	want := "items limits[0] = 1073741824/s per client; items limits[1] = 1073741824/s per principal; items GET /v1/items/{id} limits[0] = 3 at once per client"
	if strings.Join(got, "; ") != want || operations != len(items.Operations())+1 {
		t.Errorf("got %q and %d per operation, want %q", strings.Join(got, "; "), operations, want)
	}
}
