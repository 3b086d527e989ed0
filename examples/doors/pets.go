// Command doors is the API behind the guide to connecting the gateway you have:
// pets on 127.0.0.1:9006. In come requests that some proxy let pass; out go pets,
// with a header that repeats who the proxy said was calling. It believes that
// header, as services behind a gateway do, and checks nothing itself.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9006", "address to serve on")
	flag.Parse()
	srv := &http.Server{Addr: *listen, Handler: http.HandlerFunc(pet), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(srv.ListenAndServe())
}

func pet(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Caller", strings.Join(r.Header.Values("X-Auth-Subject"), ","))
	switch {
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":7,"name":"Tom","kind":"cat"}`)
	case r.URL.Path == "/pets":
		io.WriteString(w, `[{"id":7,"name":"Tom","kind":"cat"}]`)
	default:
		io.WriteString(w, `{"id":7,"name":"Tom","kind":"cat"}`)
	}
}
