package mutants_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/test/lab/mutants"
)

// half tells a server to stop while half of a request is there, then sends the
// rest and gives the status of the answer, 0 when the connection broke.
func half(t *testing.T, s mutants.Server, mutant string) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	key := []byte(strings.Repeat("k", 32))
	reading := make(chan struct{}, 1)
	stopped := make(chan error, 1)
	o := mutants.Options{Mutant: mutant, Key: key, Now: func() time.Time {
		select {
		case reading <- struct{}{}: // the handler reads the clock for the token
		default:
		}
		return time.Now()
	}}
	go func() { stopped <- s.Serve(ctx, l, o) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := `{"amount":"12.50","currency":"EUR","reference":"Invoice","card":"4242424242424242"}`
	token := s.Identities(key)[0].Token
	fmt.Fprintf(c, "POST /payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body[:10])
	<-reading
	stop()
	// A server that cuts off has ended now; one that waits ends after the answer.
	if mutant != "" {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
	_, _ = io.WriteString(c, body[10:])
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	if mutant == "" {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
	return res.StatusCode
}

// TestStop shows that correct servers finish what is in flight and that the
// mutants of stopping do not.
func TestStop(t *testing.T) {
	s, err := mutants.Find("payments")
	if err != nil {
		t.Fatal(err)
	}
	if got := half(t, s, ""); got != http.StatusCreated {
		t.Errorf("the correct server answers %d to a request in flight, want 201", got)
	}
	found := 0
	for _, m := range s.Mutants() {
		if m.CutsOff() {
			found++
			if got := half(t, s, m.ID); got != 0 {
				t.Errorf("%s answers %d to a request in flight, want none", m.ID, got)
			}
		}
	}
	if found == 0 {
		t.Error("no mutant stops at once")
	}
}

// TestList prints how many mutants there are of each kind and holds the list to
// what the README says of it.
func TestList(t *testing.T) {
	seen := map[string]bool{}
	held := 0
	fine := map[string]int{}
	for _, m := range mutants.Mutants() {
		if seen[m.ID] || m.Server == "" || m.Operator == "" || m.Description == "" || !strings.Contains(m.Kind, "/") {
			t.Errorf("%+v: not complete or not the only one", m)
		}
		seen[m.ID] = true
		fine[m.Kind]++
		if m.Held {
			held++
		}
	}
	kinds := mutants.Kinds(mutants.Mutants())
	for _, kind := range []string{"contract", "rejection", "state", "security", "operations"} {
		if kinds[kind] < 5 {
			t.Errorf("%d mutants of kind %s, want 5 at least", kinds[kind], kind)
		}
	}
	t.Logf("%d mutants, %d held, by kind %v, in %d finer ones: %v", len(seen), held, kinds, len(fine), fine)
	if held*100 < 28*len(seen) || held*100 > 39*len(seen) {
		t.Errorf("%d of %d are held, want about a third", held, len(seen))
	}
	if _, err := mutants.Find("shop-000"); err == nil {
		t.Error("a mutant that is not there is found")
	}
}
