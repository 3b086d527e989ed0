// Command answers is the service behind the guide to answers: it says more
// than its specification does.
package main

import (
	"io"
	"log"
	"net/http"
)

func main() {
	answers := map[string]string{
		"/people/1": `{"id": 1, "name": "Ada", "password_hash": "$2b$12$abc", "team": {"id": 7, "budget": 120000}}`,
		"/people/2": `{"id": 2, "name": "Grace", "email": "grace@example.com"}`,
		"/people/3": `{"id": "three", "name": "Alan"}`,
		"/people/4": `{"id": 4, "name": "Edsger", "note": "pays with 4111111111111111"}`,
		"/people/5": `{"id": 5, "name": "Barbara", "labels": {"any": "thing"}}`,
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:9004", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"`+r.URL.Path[len("/people/"):]+`"`)
		io.WriteString(w, answer)
	})))
}
