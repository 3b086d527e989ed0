// Command gate is the service behind the guide to the gate: notes on
// 127.0.0.1:9007, and a second start of it with a defect on 127.0.0.1:9008. Each
// says at /version which start of it this is, and at /users how many requests
// of users it has had. POST /restart starts it again, with ?broken with the defect.
package main

import (
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

func main() {
	go run("127.0.0.1:9008", true)
	run("127.0.0.1:9007", false)
}

// run serves one start after the other.
func run(addr string, broken bool) {
	for {
		again := make(chan bool, 1)
		srv := &http.Server{Handler: service(broken, again), ReadHeaderTimeout: 5 * time.Second}
		ln, err := net.Listen("tcp", addr)
		for ; err != nil; ln, err = net.Listen("tcp", addr) {
			time.Sleep(20 * time.Millisecond)
		}
		go func() { log.Print(srv.Serve(ln)) }()
		broken = <-again
		time.Sleep(50 * time.Millisecond) // the answer leaves first
		srv.Close()
	}
}

func problem(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"title": %q, "status": %d}`, http.StatusText(status), status)
}

func service(broken bool, again chan<- bool) http.Handler {
	boot := rand.Text()
	var users atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"boot": %q}`, boot)
	})
	mux.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, users.Load()) })
	mux.HandleFunc("POST /restart", func(w http.ResponseWriter, r *http.Request) { again <- r.URL.Query().Has("broken") })
	mux.HandleFunc("GET /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Sallyport-Test") == "" {
			users.Add(1)
		}
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || strconv.Itoa(id) != r.PathValue("id") || id < 1 || id > 1000 {
			problem(w, http.StatusBadRequest)
			return
		}
		if id > 100 {
			problem(w, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if broken { // a column that nobody declared, and a number that has become a string
			fmt.Fprintf(w, `{"id": "%d", "text": "hello", "password_hash": "$2b$12$x"}`, id)
			return
		}
		fmt.Fprintf(w, `{"id": %d, "text": "hello"}`, id)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-store")
		if _, pattern := mux.Handler(r); pattern == "" {
			status := http.StatusNotFound
			if len(r.URL.Path) > len("/notes/") && r.URL.Path[:len("/notes/")] == "/notes/" || r.URL.Path == "/version" {
				status = http.StatusMethodNotAllowed
				w.Header().Set("Allow", "GET, HEAD")
			}
			problem(w, status)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
