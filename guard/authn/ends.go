package authn

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Ends is when the credential ends that proved the identity: exp of a token, or
// the end of an API key; zero when it does not say. A certificate says it itself.
func (id *Identity) Ends() time.Time {
	if id.said == nil {
		return id.until
	}
	text := id.said.answer
	if text == nil {
		if parts := strings.Split(id.said.token, "."); len(parts) == 3 {
			text, _ = base64.RawURLEncoding.DecodeString(parts[1])
		}
	}
	var c struct {
		Exp json.Number `json:"exp"`
	}
	if json.Unmarshal(text, &c) != nil {
		return time.Time{}
	}
	if f, err := c.Exp.Float64(); err == nil && f > 0 && f < 1<<40 {
		return time.Unix(int64(f), 0)
	}
	return time.Time{}
}
