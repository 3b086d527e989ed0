package counters

import (
	"context"
	"encoding/hex"
	"time"

	"sallyport.dev/guard/authn"
)

// Replays makes the memory of used proofs one that all nodes share: a proof
// that one node has seen is refused by the others. This node's own memory is
// asked first; as long as Redis cannot be asked, it alone decides, and a proof
// may be used once at each node.
func (s *Shared) Replays(local authn.Replays) authn.Replays { return &replays{s, local} }

type replays struct {
	s     *Shared
	local authn.Replays
}

// Once implements authn.Replays.
func (r *replays) Once(id, owner [32]byte, until, now int64) authn.Seen {
	seen := r.local.Once(id, owner, until, now)
	if seen != authn.Fresh || r.s.alone.Load() {
		return seen
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.s.o.Patience)
	defer cancel()
	fresh, err := r.s.client.SetNX(ctx, r.s.o.Prefix+"proof:"+hex.EncodeToString(id[:16]), 1, time.Duration(max(1, until-now+1))*time.Second).Result()
	switch {
	case err != nil:
		r.s.late.Add(1)
	case !fresh:
		return authn.Repeated
	}
	return seen
}
