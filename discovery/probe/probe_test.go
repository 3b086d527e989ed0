package probe_test

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"testing"
)

// socket completes the opening handshake at /ws or, for mqtt, /mqtt.
func socket(mode string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := "/ws"
		if mode == "mqtt" || mode == "mqtt-refuses" {
			path = "/mqtt"
		}
		if r.URL.Path != path || r.Header.Get("Upgrade") != "websocket" || mode == "origin" && r.Header.Get("Origin") != "" {
			http.NotFound(w, r)
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n")
		if path == "/mqtt" && r.Header.Get("Sec-WebSocket-Protocol") == "mqtt" {
			io.WriteString(c, "Sec-WebSocket-Protocol: mqtt\r\n\r\n")
			var frame [28]byte
			if _, err := io.ReadFull(rw, frame[:]); err != nil {
				return
			}
			code := byte(0)
			if mode == "mqtt-refuses" {
				code = 5
			}
			c.Write([]byte{0x82, 4, 0x20, 2, 0, code})
			return
		}
		io.WriteString(c, "\r\n")
		io.Copy(io.Discard, rw)
	})
}

func dav(open bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "OPTIONS":
			w.Header().Set("DAV", "1, 2")
		case r.Method == "PROPFIND" && open:
			w.WriteHeader(207)
			io.WriteString(w, `<D:multistatus xmlns:D="DAV:"/>`)
		case r.Method == "PROPFIND":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
		default:
			http.NotFound(w, r)
		}
	})
}

// oldServer agrees to SSL 3.0, and to nothing else.
func oldServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var head [16]byte
				if _, err := io.ReadFull(c, head[:]); err == nil && head[0] == 22 && head[9] == 3 && head[10] == 0 {
					c.Write(append([]byte{22, 3, 0, 0, 42, 2, 0, 0, 38, 3, 0}, make([]byte, 36)...))
				}
			}()
		}
	}()
	return ln.Addr().String()
}
