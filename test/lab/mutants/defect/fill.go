package defect

import (
	"context"
	"time"

	"sallyport.dev/test/lab/mutants/rest"
)

// Fill gives the fields that are not set their defaults.
func (o *Options) Fill() {
	if o.Key == nil {
		o.Key = rest.NewKey()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ID == nil {
		o.ID = rest.NewUUID
	}
	if o.Derive == nil {
		o.Derive = rest.Derive
	}
	if o.Sleep == nil {
		o.Sleep = func(ctx context.Context, d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		}
	}
}
