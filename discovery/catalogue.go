package discovery

import (
	"context"

	"sallyport.dev"
)

// A Catalogue is a controller, a registry or a tree of files that says things
// about APIs.
type Catalogue interface {
	// Name tells this catalogue from all others: "kubernetes:prod".
	Name() string
	// Watch calls claims with what the catalogue says, whole at first and then
	// what changed, until ctx ends. A catalogue that can't be watched is read
	// once, and Watch returns nil. One call at a time.
	Watch(ctx context.Context, claims func([]sallyport.Claim) error) error
}
