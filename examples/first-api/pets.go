// Command first-api is the small service that the guide puts Sallyport in front
// of: three operations on pets, kept in memory, on 127.0.0.1:9001.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

type pet struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
	Note string `json:"note,omitempty"`
}

func main() {
	var mu sync.Mutex
	pets := []pet{{1, "Tom", "cat", ""}, {2, "Rex", "dog", "sleeps till noon"}}
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pets", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		found := []pet{}
		for _, p := range pets {
			if strings.Contains(p.Name, r.FormValue("name")) {
				found = append(found, p)
			}
		}
		answer(w, http.StatusOK, found)
	})
	mux.HandleFunc("POST /pets", func(w http.ResponseWriter, r *http.Request) {
		var p pet
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		p.ID = len(pets) + 1
		pets = append(pets, p)
		answer(w, http.StatusCreated, p)
	})
	mux.HandleFunc("GET /pets/{id}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if id, err := strconv.Atoi(r.PathValue("id")); err == nil && id > 0 && id <= len(pets) {
			answer(w, http.StatusOK, pets[id-1])
			return
		}
		answer(w, http.StatusNotFound, map[string]string{"error": "no such pet"})
	})
	fmt.Println("pets on http://127.0.0.1:9001")
	log.Fatal((&http.Server{Addr: "127.0.0.1:9001", Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe())
}
