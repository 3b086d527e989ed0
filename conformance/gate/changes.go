package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"sallyport.dev"
)

// A Change is what somebody who deploys says of an API, or of one instance of
// it. Empty members are not spoken of.
type Change struct {
	API, URL      string // URL "" = all instances
	ImageDigest   string
	BuildID       string
	Configuration string // its hash
	Spec          string // hash or version of the specification
}

type fact struct {
	bun.BaseModel `bun:"table:gate_fact"`

	API   string `bun:"api,pk"`
	URL   string `bun:"url,pk"`
	Kind  string `bun:"kind,pk"`
	Value string `bun:"value"`
	At    int64  `bun:"at"`
}

// Changed has those instances tested of which something is said that was not
// known before, and gives what that is. What is known already tests nothing, so
// that a message that comes twice costs nothing. An instance goes on serving while
// it is tested; a restart is found by itself. It is an error of kind not found when
// there is no such instance.
func (g *Gate) Changed(ctx context.Context, c Change) (news []string, err error) {
	var list []sallyport.Instance
	for _, in := range g.o.Doors.Instances() {
		if in.API == c.API && (c.URL == "" || in.URL == c.URL) {
			list = append(list, in)
		}
	}
	g.mu.Lock()
	_, gated := g.apis[c.API]
	g.mu.Unlock()
	if !gated || len(list) == 0 {
		return nil, sallyport.Errorf(sallyport.NotFound, "no gated instance %s of API %s", c.URL, c.API)
	}
	var known []fact
	if err := g.o.Store.DB().NewSelect().Model(&known).Where("api = ? AND url = ?", c.API, c.URL).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read what was said before: %w", err)
	}
	for _, f := range []fact{{Kind: "image digest", Value: c.ImageDigest}, {Kind: "build id", Value: c.BuildID}, {Kind: "configuration", Value: c.Configuration}, {Kind: "specification", Value: c.Spec}} {
		if f.Value == "" || slices.ContainsFunc(known, func(k fact) bool { return k.Kind == f.Kind && k.Value == f.Value }) {
			continue
		}
		f.API, f.URL, f.At = c.API, c.URL, g.o.Now().UnixMicro()
		if _, err := g.o.Store.DB().NewInsert().Model(&f).On("CONFLICT (api, url, kind) DO UPDATE").Set("value = EXCLUDED.value, at = EXCLUDED.at").Exec(ctx); err != nil {
			return nil, fmt.Errorf("keep what was said: %w", err)
		}
		news = append(news, f.Kind)
	}
	if len(news) > 0 {
		for _, in := range list {
			g.ask(in, strings.Join(news, ", ")+" changed")
		}
	}
	return news, nil
}
