package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/push"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/observe"
)

func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

const token = "made for this test"

func post(t *testing.T, s *push.Server, bearer, body string) (int, string) {
	t.Helper()
	for s.Health().State != "reading" {
		time.Sleep(5 * time.Millisecond)
	}
	for range 300 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Address+"/v1/exchanges", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	t.Fatal("nobody listens")
	return 0, ""
}

func lines(list []sourcetest.Sent) string {
	var b strings.Builder
	for _, s := range list {
		j, _ := json.Marshal(map[string]any{"time": s.Time, "method": s.Method, "url": "https://" + s.Host + s.Path + "?" + s.Query, "status": s.Status,
			"request_headers": map[string]string{"Authorization": "Bearer " + sourcetest.Secret}, "response_headers": map[string]string{"Content-Type": "application/json"}, "response_body": `{"token":"` + sourcetest.Secret + `"}`})
		b.Write(append(j, '\n'))
	}
	return b.String()
}

func TestSource(t *testing.T) {
	sourcetest.Run(t, sourcetest.Subject{New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
		s := &push.Server{Address: free(t), Token: token}
		return s, func(list []sourcetest.Sent, bad bool) {
			text := lines(list)
			if bad {
				text = "{\"method\":\"" + sourcetest.Secret + "\"\n" + text
			}
			if code, answer := post(t, s, token, text); code != 202 || !strings.Contains(answer, fmt.Sprintf(`"accepted":%d`, len(list))) || strings.Contains(answer, sourcetest.Secret) {
				t.Errorf("%d %s", code, answer)
			}
		}
	}})
}

func started(t *testing.T, s *push.Server) func() []*sallyport.Exchange {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	var got []*sallyport.Exchange
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(x *sallyport.Exchange) error { got = append(got, x); return nil })
	}()
	return func() []*sallyport.Exchange { end(); <-done; return got }
}

func TestWhoMayPush(t *testing.T) {
	s := &push.Server{Address: free(t), Token: token}
	stop := started(t, s)
	one := lines(sourcetest.Traffic(1))
	for _, c := range []struct {
		bearer, body string
		code         int
	}{
		{"another", one, 401}, {"", one, 401}, {token, one, 202}, {token, "", 202}, {token, "[]\n{}\nnull\n7\n", 202},
		{token, `{"method":"GET","path":"/` + strings.Repeat("a", 4<<20) + `"}`, 413}, {token, strings.Repeat(`{"method":"GET","path":"x"}`+"\n", 100), 202},
		{token, strings.Repeat("[", 100000) + "\n", 202},
	} {
		if code, answer := post(t, s, c.bearer, c.body); code != c.code {
			t.Errorf("%.40s with %q: %d %.200s, want %d", c.body, c.bearer, code, answer, c.code)
		}
	}
	if got := stop(); len(got) != 1 {
		t.Errorf("%d exchanges, want 1", len(got))
	}
}

// Copies of requests keep method, host, path and the shape of the body, and no credential.
func TestMirror(t *testing.T) {
	s := &push.Server{Address: free(t), Mirror: true, Token: token}
	stop := started(t, s)
	for s.Health().State != "reading" {
		time.Sleep(5 * time.Millisecond)
	}
	for _, c := range []struct {
		token, body string
		code        int
	}{{token, `{"id":7,"note":"x"}`, 204}, {token, strings.Repeat("a", 3<<20), 204}, {"", "{}", 401}} {
		r, _ := http.NewRequest("PUT", "http://"+s.Address+"/v1/items/7?access_token="+sourcetest.Secret, strings.NewReader(c.body))
		r.Host = "shop.example.test"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+sourcetest.Secret)
		r.Header.Set(push.TokenHeader, c.token)
		var res *http.Response
		var err error
		for range 300 {
			if res, err = http.DefaultClient.Do(r); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
			r.Body = io.NopCloser(strings.NewReader(c.body))
		}
		if err != nil || res.StatusCode != c.code {
			t.Fatalf("%v %v, want %d", res, err, c.code)
		}
		res.Body.Close()
	}
	got := stop()
	if len(got) != 2 {
		t.Fatalf("%d copies, want 2", len(got))
	}
	x := got[0]
	sourcetest.Check(t, x)
	sourcetest.Check(t, got[1])
	if x.Method != "PUT" || x.Host != "shop.example.test" || x.Path != "/v1/items/7" || x.Status != 0 || !x.Unseen || x.Shape == nil || got[1].RequestBytes != 3<<20 {
		t.Errorf("%+v; the second has %d bytes", x, got[1].RequestBytes)
	}
}
