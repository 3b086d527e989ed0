package observe_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev"
	"sallyport.dev/observe"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func openStore(t testing.TB, set ...func(*store.Options)) *store.Store {
	t.Helper()
	key := make([]byte, store.KeySize)
	rand.Read(key)
	o := store.Options{Dir: t.TempDir(), Key: key, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range set {
		f(&o)
	}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var serial int

// exchange is a common request and its answer.
func exchange(change ...func(*sallyport.Exchange)) *sallyport.Exchange {
	serial++
	now := time.Now()
	x := &sallyport.Exchange{
		ID: fmt.Sprintf("%013d%013d", now.UnixMilli(), serial), Time: now, Duration: 3 * time.Millisecond, Upstream: 2 * time.Millisecond,
		Door: "gateway", API: "payments", Template: "/payments/{id}/refunds", Declared: true, Method: "GET", Host: "api.example.test",
		Path: "/payments/8412/refunds", Query: "limit=25&order=desc&state=open", Proto: "HTTP/1.1", TLS: true, Client: netip.MustParseAddr("192.0.2.17"),
		Principal: sallyport.Principal{Kind: "oidc", Issuer: "https://idp.example.test", Subject: "u-1042", Client: "web"},
		Status:    200, Origin: 200, Instance: "http://10.0.0.11:9001", ResponseBytes: 1024,
		RequestHeader: []sallyport.Field{
			{Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "gzip, deflate, br"}, {Name: "Authorization", Value: "Bearer x.y.z"},
			{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36"},
			{Name: "X-Request-Id", Value: "abc"}, {Name: "Cookie", Value: "a=b"}, {Name: "Accept-Language", Value: "en-GB,en;q=0.9"},
		},
		ResponseHeader: []sallyport.Field{
			{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Length", Value: "1024"}, {Name: "Cache-Control", Value: "no-store"},
			{Name: "Date", Value: "Tue, 24 Nov 2026 11:00:00 GMT"}, {Name: "Server", Value: "nginx"},
		},
		Decision: sallyport.Decision{Action: sallyport.ActionAllow, Program: "p1"},
	}
	for _, f := range change {
		f(x)
	}
	return x
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func newRecorder(t testing.TB, o observe.RecorderOptions) *observe.Recorder {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := observe.NewRecorder(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}
