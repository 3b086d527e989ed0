// Command egress is the partner behind the guide to calls that go out: an API
// over TLS on 127.0.0.1:9004, with a certificate of its own whose root it writes
// to /tmp/sallyport-egress/partner-ca.pem. In come requests of its document; one
// of its answers breaks that, and one leads to where clouds keep their secrets.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const dir = "/tmp/sallyport-egress"

func main() {
	cert, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	mux.Handle("POST /v1/charges", answer(http.StatusCreated, `{"id":"ch_1"}`))
	mux.Handle("GET /v1/balance", answer(http.StatusOK, `{"available":"plenty"}`)) // its document says a number
	mux.Handle("GET /v1/exports/{id}", http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	mux.Handle("GET /report.csv", answer(http.StatusOK, "day,amount\n"))
	srv := &http.Server{Addr: "127.0.0.1:9004", Handler: mux, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	log.Fatal(srv.ListenAndServeTLS("", ""))
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Example partner"},
		DNSNames: []string{"api.partner.test", "files.partner.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(filepath.Join(dir, "partner-ca.pem"), root, 0o600)
}
