package limit

import (
	"hash/maphash"
	"math"
	"sync"
)

// A Forecast learns what a thing costs from what it has cost: a mean that
// forgets (exponentially weighted, one eighth for the newest). It is bounded:
// where there is no room for one more key, a key picked at random goes. It is
// safe for concurrent use; use NewForecast.
type Forecast struct {
	seed    maphash.Seed
	perKeys int
	shard   [shards]struct {
		mu   sync.Mutex
		mean map[Key]float32
		_    [40]byte
	}
}

// NewForecast makes one for the given number of keys; zero or less means 65,536.
func NewForecast(keys int) *Forecast {
	if keys <= 0 {
		keys = 1 << 16
	}
	f := &Forecast{seed: maphash.MakeSeed(), perKeys: max(1, keys/shards)}
	for i := range f.shard {
		f.shard[i].mean = map[Key]float32{}
	}
	return f
}

// Learn adds what k has cost once.
func (f *Forecast) Learn(k Key, cost int) {
	s := &f.shard[maphash.Comparable(f.seed, k)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	mean, known := s.mean[k]
	if !known {
		if len(s.mean) >= f.perKeys {
			for other := range s.mean {
				delete(s.mean, other)
				break
			}
		}
		mean = float32(cost)
	}
	s.mean[k] = mean + (float32(cost)-mean)/8
}

// Expect is what k costs by what is known of it.
func (f *Forecast) Expect(k Key) (cost int, known bool) {
	s := &f.shard[maphash.Comparable(f.seed, k)%shards]
	s.mu.Lock()
	mean, known := s.mean[k]
	s.mu.Unlock()
	return int(math.Ceil(float64(mean))), known
}

// Len is how many keys it knows.
func (f *Forecast) Len() int {
	n := 0
	for i := range f.shard {
		f.shard[i].mu.Lock()
		n += len(f.shard[i].mean)
		f.shard[i].mu.Unlock()
	}
	return n
}
