package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	console "sallyport.dev/console/api"
	"sallyport.dev/policy"
	"sallyport.dev/store"
)

type keyCmd struct {
	New    newKeyCmd    `cmd:"" help:"Make an API key: prints the key, once, and the line for the configuration."`
	Public publicKeyCmd `cmd:"" help:"Print the public key (JWK Set) that tokens naming callers are signed with."`

	Verdicts verdictKeyCmd `cmd:"" help:"Print the public key (PEM) that verdicts on images are signed with."`
}

type verdictKeyCmd struct {
	Config string `short:"c" default:"sallyport.yaml" help:"Configuration file."`
}

type newKeyCmd struct {
	ID      string   `arg:"" help:"Name of the key, such as batch-2027."`
	Subject string   `help:"Who it stands for; two keys of one subject are one caller. Default the name."`
	Scopes  []string `help:"Scopes that it has."`
	Days    int      `default:"365" help:"Days until it ends; 0 = never."`
	Pepper  string   `placeholder:"REF" help:"key_pepper of the API, as env:NAME or file:PATH, where it has one."`
}

// Run makes a key of 256 random bits. It is written nowhere.
func (k newKeyCmd) Run(s streams) error {
	if strings.ContainsAny(k.ID+k.Subject+strings.Join(k.Scopes, ""), "\"\\\n\r\t") || strings.TrimSpace(k.ID) == "" || k.Days < 0 || k.Days > 36500 {
		return fmt.Errorf("%w: want a name without quotes, and 0 to 36500 days", errConfig)
	}
	key := "sp_" + rand.Text() + rand.Text()
	hash := "sha256:"
	var digest []byte
	if k.Pepper != "" {
		pepper, err := (&config{}).secret(k.Pepper)
		if err != nil {
			return err
		}
		m := hmac.New(sha256.New, []byte(pepper))
		m.Write([]byte(key))
		hash, digest = "hmac-sha256:", m.Sum(nil)
	} else {
		h := sha256.Sum256([]byte(key))
		digest = h[:]
	}
	line := fmt.Sprintf("{id: %q, hash: %q", k.ID, hash+hex.EncodeToString(digest))
	if k.Subject != "" {
		line += fmt.Sprintf(", subject: %q", k.Subject)
	}
	if len(k.Scopes) > 0 {
		quoted := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		line += ", scopes: [" + strings.Join(quoted, ", ") + "]"
	}
	if k.Days > 0 {
		line += ", expires: " + time.Now().UTC().AddDate(0, 0, k.Days).Format(time.DateOnly)
	}
	fmt.Fprintf(s.out, "key   %s\n", key)
	fmt.Fprintf(s.out, "line  - %s}\n", line)
	fmt.Fprintln(s.errs, "The key is shown this once. The line goes under auth.keys of the API; the older key of the same subject holds until its end.")
	return nil
}

type publicKeyCmd struct {
	Config string `short:"c" default:"sallyport.yaml" help:"Configuration file."`
}

// Run prints what /.well-known/sallyport/jwks.json answers.
func (k publicKeyCmd) Run(_ context.Context, s streams) error {
	cfg, err := readConfig(k.Config)
	if err != nil {
		return err
	}
	master, err := store.LoadKey(cfg.Keys, cfg.Data)
	if err != nil {
		return err
	}
	var sign signer
	if err := sign.derive(master); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s\n", sign.now.Load().Set())
	return nil
}

// keySoon is how long before its end a key is warned of.
const keySoon = 14 * 24 * time.Hour

// liveKeys counts the keys of each subject that hold at a time.
func liveKeys(keys []policy.Key, now time.Time) map[string]int {
	n := map[string]int{}
	for _, k := range keys {
		if k.Expires.IsZero() || now.Before(k.Expires) {
			n[subjectOf(k)]++
		}
	}
	return n
}

func subjectOf(k policy.Key) string {
	if k.Subject != "" {
		return k.Subject
	}
	return k.ID
}

// APIKeys lists the keys in force, for the console and the metrics.
func (e *engine) APIKeys() []console.APIKey {
	e.mu.Lock()
	current := e.current
	e.mu.Unlock()
	if current == nil {
		return nil
	}
	var out []console.APIKey
	for i := range current.APIs {
		a := &current.APIs[i]
		for _, k := range a.Auth.Keys {
			x := console.APIKey{API: a.Name, ID: k.ID, Subject: subjectOf(k), Expires: k.Expires}
			if _, digest, err := k.Digest(); err == nil {
				x.Used = e.lasting.tokens.KeyUsed(digest)
			}
			out = append(out, x)
		}
	}
	return out
}

// UpstreamTokens lists the ways in which tokens for upstreams are got.
func (e *engine) UpstreamTokens() []console.UpstreamToken {
	var out []console.UpstreamToken
	for _, s := range e.grants.Status() {
		out = append(out, console.UpstreamToken{Name: s.Name, Exchange: s.Exchange, Until: s.Until, Fetched: s.Fetched, Held: s.Held, Failing: s.Error})
	}
	return out
}

var _ console.Credentials = (*engine)(nil)

// keyWatch says once of each key that it will end soon, or has ended.
type keyWatch struct {
	log  *slog.Logger
	mu   sync.Mutex
	said map[string]bool
}

func (w *keyWatch) look(keys []console.APIKey, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said == nil {
		w.said = map[string]bool{}
	}
	for _, k := range keys {
		state := ""
		switch {
		case k.Expires.IsZero() || now.Add(keySoon).Before(k.Expires):
			continue
		case now.Before(k.Expires):
			state = "ends soon"
		default:
			state = "has ended"
		}
		id := k.API + "\x00" + k.ID + "\x00" + k.Expires.String() + state
		if w.said[id] {
			continue
		}
		w.said[id] = true
		w.log.Warn("API key "+state, "api", k.API, "key", k.ID, "subject", k.Subject, "expires", k.Expires.Format(time.DateOnly), "used", k.Used)
	}
}

// watchKeys looks at the keys in force every hour, and at first.
func (e *engine) watchKeys(ctx context.Context) error {
	w := &keyWatch{log: e.log}
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		w.look(e.APIKeys(), time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keyMetrics show ends and uses of API keys.
type keyMetrics struct{ *engine }

var (
	keyEnds = prometheus.NewDesc("sallyport_api_key_expires_seconds", "Time until an API key ends; negative once it has. Keys without an end are left out.", []string{"api", "key"}, nil)
	keyUsed = prometheus.NewDesc("sallyport_api_key_last_used_timestamp_seconds", "When an API key was last accepted, since the process started.", []string{"api", "key"}, nil)
)

// Describe is part of prometheus.Collector.
func (m keyMetrics) Describe(to chan<- *prometheus.Desc) { to <- keyEnds; to <- keyUsed }

// Collect is part of prometheus.Collector.
func (m keyMetrics) Collect(to chan<- prometheus.Metric) {
	for _, k := range m.APIKeys() {
		if !k.Expires.IsZero() {
			to <- prometheus.MustNewConstMetric(keyEnds, prometheus.GaugeValue, time.Until(k.Expires).Seconds(), k.API, k.ID)
		}
		if !k.Used.IsZero() {
			to <- prometheus.MustNewConstMetric(keyUsed, prometheus.GaugeValue, float64(k.Used.Unix()), k.API, k.ID)
		}
	}
}
