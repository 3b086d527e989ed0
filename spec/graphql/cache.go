package graphql

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// A Cache keeps documents that were valid, by their text and by the SHA-256 of
// it, within bounds: what was not asked for since the last turn goes first. The
// zero value keeps nothing; it is safe for concurrent use.
type Cache struct {
	Documents int // at most, in each of two generations
	Bytes     int // of their texts, in each of two generations

	mu         sync.Mutex
	young, old generation
}

type generation struct {
	byText map[string]*Document
	byHash map[string]*Document
	bytes  int
}

// Find gives the document of this text, nil if it is not kept.
func (c *Cache) Find(text []byte) *Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.young.byText[string(text)]; d != nil {
		return d
	}
	d := c.old.byText[string(text)]
	if d != nil {
		c.put(d)
	}
	return d
}

// Hashed gives the document whose text has this SHA-256 in lower case hex.
func (c *Cache) Hashed(sum []byte) *Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.young.byHash[string(sum)]; d != nil {
		return d
	}
	d := c.old.byHash[string(sum)]
	if d != nil {
		c.put(d)
	}
	return d
}

// Keep adds a document.
func (c *Cache) Keep(d *Document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(d)
}

func (c *Cache) put(d *Document) {
	if len(d.Text) > c.Bytes || c.Documents == 0 {
		return
	}
	if len(c.young.byText) >= c.Documents || c.young.bytes+len(d.Text) > c.Bytes {
		c.old, c.young = c.young, generation{}
	}
	if c.young.byText == nil {
		c.young = generation{byText: map[string]*Document{}, byHash: map[string]*Document{}}
	}
	if c.young.byText[d.Text] == nil {
		c.young.bytes += len(d.Text)
	}
	c.young.byText[d.Text], c.young.byHash[d.hash] = d, d
}

// Hash is the SHA-256 of a document's text in lower case hex, as persisted
// queries are named by.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
