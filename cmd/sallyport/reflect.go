package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/spec"
	"sallyport.dev/spec/proto/reflection"
)

// reflected asks an API's server for its descriptors. When it cannot be
// reached, what it said last is used, if that was kept.
func (c *config) reflected(ctx context.Context, a *apiConfig) (spec.Source, error) {
	kept := c.reflectedFile(a)
	set, err := fetchReflection(ctx, a)
	if err == nil {
		c.keepReflection(kept, set)
	} else if set, _ = os.ReadFile(kept); len(set) == 0 {
		return spec.Source{}, fmt.Errorf("ask %s for its services: %w; and no earlier answer is kept", a.GRPC.Reflection.URL, err)
	}
	return spec.Source{Path: a.GRPC.Reflection.URL + "/reflection.binpb", Data: set}, nil
}

func fetchReflection(ctx context.Context, a *apiConfig) ([]byte, error) {
	r := a.GRPC.WithDefaults().Reflection
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var roots *x509.CertPool
	if r.CA != "" {
		var err error
		if roots, err = pool509(r.CA); err != nil {
			return nil, err
		}
	}
	return reflection.Fetch(ctx, reflection.Server{URL: r.URL, Roots: roots})
}

// reflectedFile is where the last good answer is kept.
func (c *config) reflectedFile(a *apiConfig) string {
	return filepath.Join(c.Data, "reflection", a.Name+".binpb")
}

// keepReflection keeps an answer for a start at which the server is down. Where
// there is no data directory yet nothing is kept: a check makes none.
func (c *config) keepReflection(file string, set []byte) {
	if _, err := os.Stat(c.Data); err != nil {
		return
	}
	if before, err := os.ReadFile(file); err == nil && bytes.Equal(before, set) {
		return
	}
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	next := file + ".next"
	if os.WriteFile(next, set, 0o600) == nil {
		_ = os.Rename(next, file) // what was kept before is still whole
	}
}

// watchReflection asks again on a timer, and has the configuration taken over
// anew when a server's services have changed.
func (e *engine) watchReflection(ctx context.Context) error {
	asked := map[string]time.Time{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		e.mu.Lock()
		now := e.current
		e.mu.Unlock()
		for i := range now.APIs {
			a := &now.APIs[i]
			if a.GRPC.Reflection.URL == "" {
				continue
			}
			at := time.Now()
			if last, ok := asked[a.Name]; !ok {
				asked[a.Name] = at
				continue
			} else if at.Sub(last) < a.GRPC.WithDefaults().Reflection.Every {
				continue
			}
			asked[a.Name] = at
			set, err := fetchReflection(ctx, a)
			if err != nil {
				e.log.Warn("reflection: what was known stays in force", "api", a.Name, "error", err)
				continue
			}
			if before, err := os.ReadFile(now.reflectedFile(a)); err != nil || !bytes.Equal(before, set) {
				e.reload(ctx, "the services of "+a.Name+" changed")
			}
		}
	}
}
