// Command silent-errors is a small service that says too much when it fails,
// for the guide on silent errors: an order, a search and a sign-in, kept in
// memory, on 127.0.0.1:9002.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"time"
)

func main() {
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Debug-Token", "3f9a1c")
		switch r.PathValue("id") {
		case "1":
			answer(w, http.StatusOK, map[string]any{"id": 1, "item": "lantern", "note": "packed on 10.1.2.3"})
		case "2":
			answer(w, http.StatusInternalServerError, map[string]string{"error": "index out of range", "stack": string(debug.Stack())})
		case "3":
			answer(w, http.StatusBadRequest, map[string]string{"error": `ERROR: relation "orders_2025" does not exist (SQLSTATE 42P01)`})
		default:
			answer(w, http.StatusNotFound, map[string]string{"error": "there is no such order"})
		}
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var who struct{ Name, Password string }
		switch err := json.NewDecoder(r.Body).Decode(&who); {
		case err != nil || who.Name != "ada":
			answer(w, http.StatusNotFound, map[string]string{"error": "no such user"})
		case who.Password != "lovelace":
			time.Sleep(80 * time.Millisecond) // as a password's hash takes
			answer(w, http.StatusUnauthorized, map[string]string{"error": "wrong password"})
		default:
			answer(w, http.StatusOK, map[string]string{"welcome": who.Name})
		}
	})
	fmt.Println("shop on http://127.0.0.1:9002")
	log.Fatal((&http.Server{Addr: "127.0.0.1:9002", Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe())
}
