package gateway_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"sallyport.dev/spec/proto/frame"
)

// TestGRPCWeb speaks to a service that answers gRPC-Web itself, in both forms
// and over both versions of HTTP.
func TestGRPCWeb(t *testing.T) {
	o := ordersFile(t)
	asked := 0
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		b, _ := io.ReadAll(r.Body)
		text := strings.Contains(r.Header.Get("Content-Type"), "-text")
		if text {
			b, _ = frame.Decode(nil, b)
		}
		_, m, _, _ := frame.Next(b)
		in := o.message(t, "WatchRequest", "")
		if err := proto.Unmarshal(m, in); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("Access-Control-Allow-Origin", "https://shop.example.test")
		send := func(b []byte) {
			if text {
				b = []byte(base64.StdEncoding.EncodeToString(b))
			}
			w.Write(b)
			w.(http.Flusher).Flush()
		}
		out, _ := proto.Marshal(o.message(t, "Order", `{"id":"7"}`))
		send(framed(0, uint32(len(out)), out))
		end := "grpc-status: 0\r\n"
		if strings.Contains(in.String(), "lost") {
			end = "grpc-status: 13\r\ngrpc-message: pq: relation \"orders\" does not exist\r\n"
		}
		send(framed(frame.Trailer, uint32(len(end)), []byte(end)))
	})
	d := ordersDoor(t, strings.TrimPrefix(up.URL, "http://"), nil)
	d.SetAPIs(to(up.URL))
	for _, h2 := range []bool{false, true} {
		for _, form := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
			for _, c := range []struct{ id, want string }{
				{"7", "grpc-status: 0"}, {"O'Neil's order", "grpc-status: 0"}, {"lost", "grpc-status: 13"}, {"", "grpc-status: 3"},
				{"' OR 1=1 UNION SELECT password FROM users -- ", "grpc-status: 7"},
			} {
				m, _ := proto.Marshal(o.message(t, "WatchRequest", `{"id":"`+c.id+`"}`))
				b := framed(0, uint32(len(m)), m)
				text := strings.Contains(form, "-text")
				if text {
					b = []byte(base64.StdEncoding.EncodeToString(b[:4]) + base64.StdEncoding.EncodeToString(b[4:]))
				}
				before := asked
				r, _ := http.NewRequest("POST", d.url("/shop.v1.Orders/Watch"), bytes.NewReader(b))
				r.Header = http.Header{"Content-Type": {form}}
				res, err := d.client(h2).Do(r)
				body := []byte(read(t, res, err))
				if text {
					if body, err = frame.Decode(nil, body); err != nil {
						t.Fatalf("%s %q: %v", form, c.id, err)
					}
				}
				if got := string(body); res.StatusCode != 200 || !strings.Contains(got, c.want) || strings.Contains(got, "pq:") {
					t.Errorf("h2 %v, %s, %q: HTTP %d, %q, want %s", h2, form, c.id, res.StatusCode, got, c.want)
				}
				refused := c.want == "grpc-status: 3" || c.want == "grpc-status: 7"
				if refused != (asked == before) {
					t.Errorf("%q: asked %d times", c.id, asked-before)
				}
				if !refused && res.Header.Get("Access-Control-Allow-Origin") == "" {
					t.Error("CORS was touched")
				}
			}
		}
	}
}
