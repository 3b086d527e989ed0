package sallyport

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Claims is what one source says at present. It turns whole readings into what
// a catalogue tells: everything at first, then what changed, with Withdrawn for
// what is no longer said. The zero value has said nothing. Not for concurrent use.
type Claims struct{ said map[Claim]Claim }

// Tell calls tell with what sets now apart from what was told before, unless
// that is nothing. What tell has refused counts as not told. The order is by
// asset, field and value, withdrawals first, so that a value that took another's
// place stands. Of two equal claims the surer is told.
func (c *Claims) Tell(now []Claim, tell func([]Claim) error) error {
	next := make(map[Claim]Claim, len(now))
	for _, x := range now {
		k := x.key()
		if have, twice := next[k]; twice && have.Confidence >= x.Confidence {
			continue
		}
		next[k] = x
	}
	var out, gone []Claim
	for k, x := range next {
		if have, ok := c.said[k]; !ok || have.Confidence != x.Confidence || have.Evidence != x.Evidence {
			out = append(out, x)
		}
	}
	at := time.Now()
	for k, x := range c.said {
		if _, still := next[k]; !still {
			x.Withdrawn, x.Time = true, at
			gone = append(gone, x)
		}
	}
	sortClaims(out)
	sortClaims(gone)
	if out = append(gone, out...); len(out) > 0 {
		if err := tell(out); err != nil {
			return err
		}
	}
	c.said = next
	return nil
}

// Len is the number of claims that stand.
func (c *Claims) Len() int { return len(c.said) }

// Poll reads at once and then every so often until ctx ends, and tells what
// changed. With every = 0 it reads once. It ends with the error of a reading,
// so that whoever watches knows; what was told before stands, and the next Poll
// goes on from there.
func (c *Claims) Poll(ctx context.Context, every time.Duration, read func(context.Context) ([]Claim, error), tell func([]Claim) error) error {
	for {
		now, err := read(ctx)
		if err != nil {
			return err
		}
		if err := c.Tell(now, tell); err != nil {
			return err
		}
		if every <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// key is what makes two claims the same one.
func (c Claim) key() Claim {
	return Claim{Asset: c.Asset, Field: c.Field, Value: c.Value, Source: c.Source}
}

func sortClaims(list []Claim) {
	slices.SortFunc(list, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Asset.API, b.Asset.API), cmp.Compare(a.Asset.Host, b.Asset.Host), cmp.Compare(a.Asset.Path, b.Asset.Path), cmp.Compare(a.Asset.Address, b.Asset.Address),
			cmp.Compare(a.Asset.Template, b.Asset.Template), cmp.Compare(a.Asset.Method, b.Asset.Method), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Value, b.Value))
	})
}
