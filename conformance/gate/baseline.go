package gate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// A Baseline is the contract that consumers of an API rely on: that of the last
// test that passed, as the tester writes it.
type Baseline struct {
	bun.BaseModel `bun:"table:gate_baseline"`

	API     string `bun:"api,pk"`
	Surface []byte `bun:"surface"`
	At      int64  `bun:"at"` // microseconds since 1970
}

// Baseline gives the contract that consumers of an API rely on; nil when no
// test of it has passed yet.
func (g *Gate) Baseline(ctx context.Context, api string) ([]byte, error) {
	var b Baseline
	err := g.o.Store.Reader().NewSelect().Model(&b).Where("api = ?", api).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the contract that consumers rely on: %w", err)
	}
	return b.Surface, nil
}

// Rely makes a contract the one that consumers rely on.
func (g *Gate) Rely(ctx context.Context, api string, surface []byte) error {
	b := Baseline{API: api, Surface: surface, At: g.o.Now().UnixMicro()}
	_, err := g.o.Store.DB().NewInsert().Model(&b).On("CONFLICT (api) DO UPDATE").Set("surface = EXCLUDED.surface, at = EXCLUDED.at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("keep the contract that consumers rely on: %w", err)
	}
	return nil
}
