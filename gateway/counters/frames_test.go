package counters

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestFrames(t *testing.T) {
	for text, good := range map[string]bool{
		"+OK\r\n": true, "-ERR x\r\n": true, ":5\r\n": true, "$-1\r\n": true, "*-1\r\n": true, "*0\r\n": true, "$0\r\n\r\n": true,
		"*2\r\n:1\r\n$3\r\nabc\r\n+OK\r\n":                 true,
		"*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n*4096\r\n":          true,
		"%1\r\n+a\r\n:1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n": true,
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n":             false,
		"*2147483647\r\n":                                  false,
		"$999999999999999999999\r\n":                       false,
		"$70000\r\n":                                       false,
		"*4097\r\n":                                        false,
		"*?\r\n":                                           false,
		"HTTP/1.1 200 OK\r\n":                              false,
		"$4\r\n*9\r\n\r\n+OK\r\n":                          true, // the first is text
		"$\r\n":                                            false,
		"+" + string(bytes.Repeat([]byte("x"), 70000)) + "\r\n": false,
	} {
		for _, step := range []int{1, 3, 1 << 20} {
			var f frames
			var err error
			for b := []byte(text); len(b) > 0 && err == nil; {
				n := min(step, len(b))
				err = f.pass(b[:n])
				b = b[n:]
			}
			if (err == nil) != good {
				t.Errorf("%.60q in steps of %d: %v", text, step, err)
			}
		}
	}
}

// FuzzFrames gives the library what a server might send: what frames let
// through is read in bounded memory, without a crash.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{"*2\r\n:1\r\n$1\r\n0\r\n", "*2147483647\r\n:1\r\n", "-NOSCRIPT\r\n", "%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n", "|1\r\n+a\r\n:1\r\n:2\r\n", "$5\r\nab"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 1024)
			server.Read(buf)
			server.SetDeadline(time.Now().Add(50 * time.Millisecond))
			server.Write(b)
			server.Close()
		}()
		first := true
		c := redis.NewClient(&redis.Options{Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1, DialerRetries: 1,
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				if !first {
					return nil, net.ErrClosed
				}
				first = false
				return &framed{Conn: client}, nil
			}})
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		cmd := c.EvalSha(ctx, scriptSHA, []string{"k"}, "g")
		q := &question{want: 1, cmd: cmd}
		if granted, state, err := q.answer(); err == nil && (granted < 0 || granted > 1 || state < 0) {
			t.Errorf("%q is taken for %d, %d", b, granted, state)
		}
	})
}
