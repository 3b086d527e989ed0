package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/console/api"
)

var errUnsigned = sallyport.Errorf(sallyport.Unauthenticated, "the signature is not that of this API's secret for triggers, or it is over five minutes off")

// Triggered has instances tested when who deploys says, signed, that they changed.
func (d deskGate) Triggered(ctx context.Context, s api.Signed, change gate.Change) ([]string, error) {
	g := d.e.nudged.Load()
	if g == nil {
		return nil, errGateClosed
	}
	d.e.mu.Lock()
	c := d.e.current
	d.e.mu.Unlock()
	i := slices.IndexFunc(c.APIs, func(a apiConfig) bool { return a.Name == change.API })
	if i < 0 || !c.APIs[i].gated() || c.APIs[i].Gate.Triggers == "" {
		return nil, errUnsigned // who may not ask is not told which APIs there are
	}
	secret, err := c.secret(c.APIs[i].Gate.Triggers)
	if err != nil || len(secret) < 16 {
		d.e.log.Error("the secret for triggers of the gate cannot be had, or has less than 16 bytes", "api", change.API, "error", err)
		return nil, errUnsigned
	}
	stamp, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if off := time.Since(time.Unix(stamp, 0)); err != nil || off > 5*time.Minute || off < -5*time.Minute {
		return nil, errUnsigned
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", s.ID, s.Timestamp, s.Body)
	want := mac.Sum(nil)
	for sig := range strings.FieldsSeq(s.Signature) {
		if rest, ok := strings.CutPrefix(sig, "v1,"); ok {
			if got, err := base64.StdEncoding.DecodeString(rest); err == nil && hmac.Equal(got, want) {
				return g.Changed(ctx, change)
			}
		}
	}
	return nil, errUnsigned
}
