// Command formats is the service behind the guide to formats: it answers every
// request with the size of what reached it, on 127.0.0.1:9003.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"time"
)

func main() {
	srv := &http.Server{Addr: "127.0.0.1:9003", ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				http.Error(w, "the body broke off", http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "{\"bytes\": %d}\n", n)
		})}
	log.Fatal(srv.ListenAndServe())
}
