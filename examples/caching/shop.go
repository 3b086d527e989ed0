// Command caching is the service behind the guide to caching: a small shop on
// 127.0.0.1:9005 that says how its answers may be kept, and counts how often it
// was asked.
package main

import (
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"
)

func main() {
	var asked atomic.Int64
	answer := func(status int, head ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			if r.URL.Query().Get("page") == "7" {
				time.Sleep(300 * time.Millisecond) // it takes its time
			}
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(head); i += 2 {
				w.Header().Set(head[i], head[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, "{\"asked\": %d}\n", n)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", answer(200, "Cache-Control", "public, max-age=60", "ETag", `"v1"`, "Cache-Tag", "items"))
	mux.HandleFunc("POST /items", answer(201, "Location", "/items"))
	mux.HandleFunc("GET /account", answer(200, "Cache-Control", "private, max-age=60"))
	mux.HandleFunc("GET /stock/{id}", answer(200, "Cache-Control", "public, max-age=60"))
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `[{"order": 1, "customer_id": "ada"}, {"order": 2, "customer_id": "bob"}, {"order": 3, "customer_id": "ada"}]`)
	})
	mux.HandleFunc("GET /customers/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "{\"id\": %q, \"asked\": %d}\n", r.PathValue("id"), asked.Add(1))
	})
	mux.HandleFunc("GET /static/", answer(200, "Cache-Control", "public, max-age=3600", "Content-Type", "text/css"))
	srv := &http.Server{Addr: "127.0.0.1:9005", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(srv.ListenAndServe())
}
