package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"
)

// An Entry is a certificate that something hangs from.
type Entry struct {
	Use     string // "served", "client_ca", "upstream", "upstream_ca", "upstream_client"
	Where   string // the file, the name it was obtained for, or the instance
	Cert    *x509.Certificate
	Managed bool  // it is renewed without anybody's doing
	OCSP    *OCSP // of one that is served and stapled
}

// Fingerprint is the SHA-256 of c in hexadecimal.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Ends says how long before its end a certificate is spoken of: the days asked
// for, but no more than a third of its life, and a fifteenth where it is
// renewed by itself, which happens before that.
func (e Entry) Ends(days int) time.Duration {
	part := time.Duration(3)
	if e.Managed {
		part = 15
	}
	return min(time.Duration(days)*24*time.Hour, e.Cert.NotAfter.Sub(e.Cert.NotBefore)/part)
}

// Soon reports whether e ends soon, or has ended.
func (e Entry) Soon(days int, now time.Time) bool {
	return days > 0 && now.After(e.Cert.NotAfter.Add(-e.Ends(days)))
}

// A Watch speaks of certificates that end soon, of each once a day.
type Watch struct {
	Days int // before the end; 0 = never
	Log  *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time
}

// Check logs what is due among all the entries there are. It may be called as
// often as one likes.
func (w *Watch) Check(all []Entry, now time.Time) {
	if w.Days <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	still := make(map[string]time.Time)
	for _, e := range all {
		if !e.Soon(w.Days, now) {
			continue
		}
		key := e.Use + "\x00" + e.Where + "\x00" + Fingerprint(e.Cert)
		if last, ok := w.said[key]; ok && now.Sub(last) < 24*time.Hour {
			still[key] = last
			continue
		}
		still[key] = now
		log := logger(w.Log).With("use", e.Use, "where", e.Where, "subject", e.Cert.Subject.String(), "until", e.Cert.NotAfter.UTC())
		if left := e.Cert.NotAfter.Sub(now); left > 0 {
			log.Warn("a certificate ends soon", "days", int(left.Hours()/24))
		} else {
			log.Error("a certificate has expired")
		}
	}
	w.said = still
}
