package incident_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/incident"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

func openStore(t *testing.T, dir, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(dir, "data"), Key: make([]byte, 32), DatabaseURL: database, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clock is a time that a test moves.
type clock struct {
	sync.Mutex
	t time.Time
}

func (c *clock) now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.Lock()
	c.t = c.t.Add(d)
	c.Unlock()
}

// inbox is a target that remembers.
type inbox struct {
	sync.Mutex
	got  []incident.Message
	fail error
}

func (x *inbox) Send(_ context.Context, m incident.Message) error {
	x.Lock()
	defer x.Unlock()
	if x.fail != nil {
		return x.fail
	}
	x.got = append(x.got, m)
	return nil
}

func (x *inbox) all() string {
	x.Lock()
	defer x.Unlock()
	var s []string
	for _, m := range x.got {
		s = append(s, m.Text)
	}
	return strings.Join(s, "\n")
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 400 {
		if f() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

var failure = incident.New{Kind: "conformance", API: "pets", Subject: "http://10.0.0.1:9000", Title: "3 of 40 checks failed", Severity: incident.High, Depth: 2,
	Evidence: []incident.Evidence{{Kind: "finding", Title: "status as declared", Body: "got 500, canary-value"}}, Reproduction: "curl http://10.0.0.1:9000/pets/canary-value", Source: "v1"}

func TestLifeOfAnIncident(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { life(t, "") })
	t.Run("postgres", func(t *testing.T) { life(t, postgres.Database(t)) })
}

func life(t *testing.T, database string) {
	s := openStore(t, t.TempDir(), database)
	defer s.Close()
	c, box, quiet := &clock{t: time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)}, &inbox{}, &inbox{}
	b, err := incident.Open(t.Context(), incident.Options{Store: s, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	every := []incident.Event{incident.EventOpened, incident.EventOverdue, incident.EventResolved}
	b.Configure(incident.Settings{Owner: func(api string) sallyport.Owner {
		return sallyport.Owner{Team: "Pets", Contact: "pets@example.test", Deputy: "vera@example.test"}
	}, Targets: []incident.Target{{Name: "chat", On: every, Severity: incident.Medium, Sender: box}, {Name: "pager", On: every, Severity: incident.Critical, Sender: quiet}},
		Link: func(id string) string { return "https://console.example.test/incidents/" + id }})
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	defer func() { end(); <-done }()

	b.Report(failure)
	b.Report(failure) // told twice: counts once
	var id string
	eventually(t, "opened", func() bool {
		list, err := b.List(t.Context(), incident.Filter{Current: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 {
			id = list[0].ID
		}
		return id != ""
	})
	eventually(t, "notified", func() bool {
		return strings.Contains(box.all(), "[opened] high incident of API pets: 3 of 40 checks failed")
	})
	if text := box.all(); strings.Contains(text, "canary-value") || !strings.Contains(text, "https://console.example.test/incidents/"+id) || !strings.Contains(text, "Pets pets@example.test") {
		t.Errorf("it said %q", text)
	}

	// The same subject joins; another subject does not.
	again := failure
	again.Source, again.At = "v2", c.now().Add(time.Minute)
	joined, err := b.Open(t.Context(), again)
	if err != nil || joined.ID != id || joined.Occurrences != 2 {
		t.Fatalf("joined %+v, %v; want occurrence 2 of %s", joined, err, id)
	}
	other := failure
	other.Source, other.Subject, other.Severity = "v3", "http://10.0.0.2:9000", incident.Low
	if i, err := b.Open(t.Context(), other); err != nil || i.ID == id {
		t.Fatalf("another subject: %+v, %v", i, err)
	}

	// People.
	for _, x := range []struct {
		name string
		do   func() error
		want sallyport.Kind
	}{
		{"acknowledge", func() error { _, err := b.Acknowledge(ctx, id, "anna"); return err }, ""},
		{"acknowledge twice", func() error { _, err := b.Acknowledge(ctx, id, "anna"); return err }, sallyport.Conflict},
		{"assign", func() error { _, err := b.Assign(ctx, id, "anna", "vera"); return err }, ""},
		{"comment", func() error { _, err := b.Comment(ctx, id, "vera", "the index is missing"); return err }, ""},
		{"empty comment", func() error { _, err := b.Comment(ctx, id, "vera", " "); return err }, sallyport.Invalid},
		{"exception without a reason", func() error { _, err := b.Except(ctx, id, "anna", "", c.now().Add(time.Hour)); return err }, sallyport.Invalid},
		{"exception in the past", func() error { _, err := b.Except(ctx, id, "anna", "known", c.now()); return err }, sallyport.Invalid},
		{"exception for ever", func() error { _, err := b.Except(ctx, id, "anna", "known", c.now().AddDate(2, 0, 0)); return err }, sallyport.Invalid},
		{"no such incident", func() error { _, err := b.Acknowledge(ctx, "i0", "anna"); return err }, sallyport.NotFound},
	} {
		if got := sallyport.KindOf(x.do()); got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}

	// Late: escalated once, to the deputy.
	c.move(25 * time.Hour)
	eventually(t, "escalated", func() bool { return strings.Contains(box.all(), "escalated to vera@example.test") })
	if list, err := b.List(ctx, incident.Filter{Overdue: true, Owner: "vera"}); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("overdue: %v, %v", list, err)
	}
	eventually(t, "counted", func() bool {
		n := b.Counts()
		return n.Overdue == 1 && n.Open[incident.High] == 1 && n.Open[incident.Low] == 1
	})

	// An exception rests, and comes back.
	if _, err := b.Except(ctx, id, "anna", "fixed in the next release", c.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.move(2 * time.Hour)
	eventually(t, "open again", func() bool { d, err := b.Incident(ctx, id); return err == nil && d.State == incident.Opened })

	// A pass that looked less deep, one of another subject and one from before end nothing.
	for _, p := range []incident.Proof{
		{Kind: "conformance", API: "pets", Subject: failure.Subject, Depth: 1, ID: "p1"},
		{Kind: "conformance", API: "pets", Subject: "http://10.0.0.9:9000", Depth: 3, ID: "p2"},
		{Kind: "conformance", API: "pets", Subject: failure.Subject, Depth: 3, ID: "p3", At: c.now().Add(-100 * time.Hour)},
	} {
		if err := b.Pass(ctx, p); err != nil {
			t.Fatal(err)
		}
		if d, err := b.Incident(ctx, id); err != nil || d.State != incident.Opened {
			t.Errorf("after %s: %s, %v", p.ID, d.State, err)
		}
	}
	b.ReportPass(incident.Proof{Kind: "conformance", API: "pets", Subject: failure.Subject, Depth: 2, ID: "p4", Summary: "40 of 40"})
	eventually(t, "resolved", func() bool { return strings.Contains(box.all(), "[resolved] high incident") })
	d, err := b.Incident(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range d.Timeline {
		told = append(told, e.Who+" "+e.What)
	}
	want := "sallyport resolved, sallyport exception ended, anna excepted, sallyport overdue, vera commented, anna assigned, anna acknowledged, sallyport failed again, sallyport opened"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("timeline\ngot  %s\nwant %s", got, want)
	}
	if len(d.Evidence) != 2 || d.Evidence[1].Source != "v1" || d.Deputy != "vera@example.test" {
		t.Errorf("evidence %+v", d.Evidence)
	}
	if _, err := b.Assign(ctx, id, "anna", "x"); sallyport.KindOf(err) != sallyport.Conflict {
		t.Errorf("assign after the end: %v", err)
	}
	// What fails later is a new one, and names the last pass.
	c.move(time.Minute)
	later := failure
	later.Source, later.At = "v9", c.now()
	i, err := b.Open(ctx, later)
	if err != nil || i.ID == id || !strings.Contains(i.Difference, "verdict p4") {
		t.Errorf("later: %+v, %v", i, err)
	}
	if quiet.all() != "" {
		t.Errorf("the pager was told of less than critical ones: %s", quiet.all())
	}
}

// TestNothingIsLost: what does not fit while the database is held, and what was
// not written before the process died, is found again from where it came; a
// pass that came in before the failure it follows ends it.
func TestNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, "")
	defer func() { s.Close() }()
	var results []incident.Result
	start := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	for k := range 1500 {
		n := failure
		n.Subject, n.Source, n.At, n.Evidence = fmt.Sprintf("http://10.0.0.1:%d", k), fmt.Sprintf("v%d", k), start.Add(time.Duration(k)*time.Millisecond), nil
		results = append(results, incident.Result{Failed: &n})
	}
	o := incident.Options{Store: s, Now: func() time.Time { return start.Add(time.Minute) }, Recover: func(context.Context, time.Time) ([]incident.Result, error) { return results, nil }}
	b, err := incident.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Out of order: the pass is known first.
	if err := b.Pass(t.Context(), incident.Proof{Kind: "conformance", API: "pets", Subject: "http://10.0.0.1:7", Depth: 2, ID: "p", At: start.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	for _, r := range results { // nobody takes them: more than fit, and it does not block
		b.Report(*r.Failed)
	}
	if n := b.Counts().Waiting; n != 1024 {
		t.Fatalf("%d wait, want the bound, 1024", n)
	}
	// That process is gone with all that waited.
	if b, err = incident.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	eventually(t, "all found again", func() bool { return b.Counts().Open[incident.High] == 1499 })
	end()
	<-done
	if list, err := b.List(t.Context(), incident.Filter{State: incident.Resolved}); err != nil || len(list) != 1 || list[0].Subject != "http://10.0.0.1:7" {
		t.Errorf("resolved: %v, %v", list, err)
	}
}

// TestManyAreOneDigest: a storm is few messages that name all of it, and a
// target that fails is tried again without delaying another.
func TestManyAreOneDigest(t *testing.T) {
	s := openStore(t, t.TempDir(), "")
	defer s.Close()
	b, err := incident.Open(t.Context(), incident.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	on := []incident.Event{incident.EventOpened}
	box, broken := &inbox{}, &inbox{fail: errors.New("no route")}
	b.Configure(incident.Settings{Targets: []incident.Target{{Name: "chat", On: on, Sender: box}, {Name: "broken", On: on, Sender: broken}}})
	for k := range 200 {
		n := failure
		n.Subject, n.Source = fmt.Sprintf("http://10.0.0.1:%d", k), fmt.Sprintf("v%d", k)
		if _, err := b.Open(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	defer func() { end(); <-done }()
	eventually(t, "a digest", func() bool { return strings.Contains(box.all(), "200 notifications together") })
	if len(box.got) != 1 || !strings.Contains(box.all(), "and 180 more") {
		t.Errorf("%d messages: %.300s", len(box.got), box.all())
	}
	eventually(t, "the failure is on record", func() bool {
		list, _ := b.List(ctx, incident.Filter{Limit: 1})
		d, err := b.Incident(ctx, list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]incident.Delivery{}
		for _, x := range d.Deliveries {
			states[x.Target] = x
		}
		return states["chat"].State == "sent" && states["broken"].State == "due" && states["broken"].Problem == "no route" && states["broken"].Attempts == 1
	})
}

// TestWebhookIsSigned: a receiver can prove who sent it and when; a failing one
// gets an error that names no more than its host.
func TestWebhookIsSigned(t *testing.T) {
	secret := []byte("a secret of the test, made here")
	var problem string
	status := 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); want != r.Header.Get("webhook-signature") {
			problem = "signature " + r.Header.Get("webhook-signature")
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil || m["event"] != "opened" {
			problem = fmt.Sprint(err, m)
		}
		if status == 302 {
			w.Header().Set("Location", "http://169.254.169.254/")
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	m := incident.Message{ID: "n1", Event: incident.EventOpened, Text: "x"}
	for _, c := range []struct {
		name, url string
		status    int
		ok        bool
	}{
		{"taken", srv.URL + "/hooks/path-secret", 200, true}, {"refused", srv.URL + "/hooks/path-secret", 403, false}, {"redirected", srv.URL + "/hooks/path-secret", 302, false},
		{"nobody there", "http://" + dead.Addr().String() + "/hooks/path-secret", 0, false}, {"no name", "http://nowhere.invalid/hooks/path-secret", 0, false},
	} {
		status = max(c.status, 200)
		err := (&incident.Webhook{URL: c.url, Secret: secret}).Send(t.Context(), m)
		if (err == nil) != c.ok || problem != "" {
			t.Errorf("%s: %v %s", c.name, err, problem)
		}
		if err != nil && (strings.Contains(err.Error(), "path-secret") || strings.Contains(err.Error(), string(secret))) {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
	}
}

// TestServicesTellNoSecret: chat and mail go out through shoutrrr; what it says
// of failures is not repeated.
func TestServicesTellNoSecret(t *testing.T) {
	mail, got := smtpServer(t)
	for _, c := range []struct {
		name, url string
		made, ok  bool
	}{
		{"mail", "smtp://" + mail + "/?from=sallyport@example.test&to=pets@example.test&encryption=None&usestarttls=No&auth=None", true, true},
		{"nobody there", "smtp://anna:the-password@127.0.0.1:1/?from=a@example.test&to=b@example.test", true, false},
		{"no service", "nosuch://the-password@host", false, false},
		{"no URL", "the-password", false, false},
		{"empty", "", false, false},
	} {
		s, err := incident.Service(c.url)
		if (err == nil) != c.made {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if err = s.Send(t.Context(), incident.Message{Text: "[opened] high incident", Incidents: []incident.Told{{Event: "opened", API: "pets", Severity: "high", Title: "3 of 40"}}}); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "the-password") {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
	}
	if text := <-got; !strings.Contains(text, "[opened] high incident") || !strings.Contains(text, "Subject: Sallyport: opened, high, API pets: 3 of 40") {
		t.Errorf("the mail was %q", text)
	}
}

// smtpServer takes one mail.
func smtpServer(t *testing.T) (addr string, got chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got = make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 test\r\n")
		var text strings.Builder
		buf, data := make([]byte, 4096), false
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			line := string(buf[:n])
			switch {
			case data:
				text.WriteString(line)
				if strings.HasSuffix(text.String(), "\r\n.\r\n") {
					data = false
					got <- text.String()
					fmt.Fprint(c, "250 ok\r\n")
				}
			case strings.HasPrefix(line, "DATA"):
				data = true
				fmt.Fprint(c, "354 go on\r\n")
			case strings.HasPrefix(line, "QUIT"):
				fmt.Fprint(c, "221 bye\r\n")
				return
			default:
				fmt.Fprint(c, "250 ok\r\n")
			}
		}
	}()
	return l.Addr().String(), got
}
