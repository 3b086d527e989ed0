// Command websocket is the service behind the guide to WebSockets, and its
// client: without arguments it serves, with messages as arguments it sends them
// through the door and prints what comes back.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
)

func main() {
	if len(os.Args) > 1 {
		say(os.Args[1], os.Args[2:])
		return
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:9005", http.HandlerFunc(serve)))
}

// serve answers each message.
func serve(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the door looks at the Origin
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		_, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, `{"type":"heard","bytes":%d}`, len(b)))
	}
}

// say opens a connection as a page of origin would, and sends messages.
func say(origin string, messages []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://127.0.0.1:8090/rooms/lobby", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
	if err != nil {
		if res != nil {
			fmt.Println("refused:", res.StatusCode)
			return
		}
		log.Fatal(err)
	}
	defer c.CloseNow()
	for _, m := range messages {
		c.Write(ctx, websocket.MessageText, []byte(m))
		_, b, err := c.Read(ctx)
		if err != nil {
			fmt.Println("closed:", int(websocket.CloseStatus(err)))
			return
		}
		fmt.Println(string(b))
	}
	c.Close(websocket.StatusNormalClosure, "")
}
