// Command authorise is the service behind the guide to authorisation: it answers
// every request with what reached it about who calls, on 127.0.0.1:9004 or ADDR.
package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	srv := &http.Server{Addr: cmp.Or(os.Getenv("ADDR"), "127.0.0.1:9004"), ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, "the body broke off", http.StatusBadRequest)
				return
			}
			seen := map[string]any{}
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if scheme != "" {
				seen["authorization"] = scheme
			}
			if parts := strings.Split(token, "."); len(parts) == 3 { // whether to believe it is the gateway's matter
				var claims map[string]any
				if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &claims) == nil {
					for _, name := range []string{"aud", "client_id", "act"} {
						if v := claims[name]; v != nil {
							seen[name] = v
						}
					}
				}
			}
			if p := r.Header.Get("X-Sallyport-Principal"); p != "" {
				seen["principal"] = p
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(seen)
		})}
	log.Fatal(srv.ListenAndServe())
}
