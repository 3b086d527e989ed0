// Package catalogue measures the inventory with as many operations as one node
// is meant to hold. In comes a size; out go the 50th and 95th percentile of each
// kind of question a page asks, and the memory of the process. It measures and
// asserts nothing about time; it runs as a benchmark only.
package catalogue_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
	"sallyport.dev/test/integration/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// size is how many operations; CATALOGUE_OPERATIONS changes it.
func size() int {
	if n, err := strconv.Atoi(os.Getenv("CATALOGUE_OPERATIONS")); err == nil && n > 0 {
		return n
	}
	return 2_000_000
}

const apis = 400 // the last one holds a tenth of everything

var nouns = strings.Fields("account address agent alert album answer archive article asset badge balance batch bill board booking branch budget bundle campaign card cart case catalog category channel charge claim client comment contact contract coupon course credit customer dataset deal delivery deposit device discount document domain draft driver email employee entry event expense feature feed file filter flow folder form fund goal grant group guest hold hotel image import index invoice issue item job journal key label lead ledger lesson letter license limit line link list loan location lock log mandate map market member menu merchant message meter module note notice offer option order owner page parcel partner party pass patient payment payout person phone plan policy post price product profile project proof provider quote rate reader receipt record refund region report request reserve review reward role route rule sale sample schedule score seat segment session setting share shift shipment shop site slot source stage station step stock store stream subject supplier survey table tag target task tax team template tenant term ticket token topic tour trade transfer trip unit upload user vault vehicle vendor version visit voucher wallet warehouse webhook worker zone")

// fill declares n operations, and gives a third of them counts as traffic would
// leave them.
func fill(b *testing.B, s *store.Store, v *inventory.Inventory, n int) {
	ctx, begin := b.Context(), time.Now()
	methods := []string{"GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH"}
	left := n
	for a := range apis {
		share := n * 9 / 10 / (apis - 1)
		if a == apis-1 {
			share = left
		}
		left -= share
		name := fmt.Sprintf("api-%03d", a)
		ops := make([]sallyport.Operation, share)
		for i := range ops {
			m := methods[i%len(methods)]
			t := fmt.Sprintf("/%s/v%d/%s/{id}/%s/%x", name, i%3+1, nouns[(i/7)%len(nouns)], nouns[(i*31+a)%len(nouns)], i)
			ops[i] = sallyport.Operation{API: name, Method: m, Template: t, Name: fmt.Sprintf("%s%d", strings.ToLower(m), i), Declared: true}
		}
		if err := v.Declare(ctx, sallyport.API{Name: name, Hosts: []string{name + ".example.test"}, Owner: sallyport.Owner{Team: fmt.Sprint("team-", a%40)}}, ops); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("declared %d operations of %d APIs in %.0f s", n, apis, time.Since(begin).Seconds())
	begin = time.Now()
	for _, q := range []string{
		"UPDATE inventory_operation SET requests = (id * 7919) % 100000, status2 = (id * 7919) % 100000, errors = id % 97, p95 = (id * 31) % 900000, first_seen = 1700000000000000 + id * 1000, last_seen = 1790000000000000 + (id * 7919) % 86400000000, tier = 4 WHERE id % 3 = 0",
		"UPDATE inventory_operation SET declared = 0, tier = 3 WHERE id % 60 = 0",
		"UPDATE inventory_operation SET undocumented = 2 WHERE id % 150 = 0",
		"INSERT INTO inventory_class (operation, class, response, part, name, count, first_seen, last_seen) SELECT id, CASE WHEN id % 2 = 0 THEN 'email' ELSE 'payment-card' END, 1, 'body', '/x', 1, 1, 1 FROM inventory_operation WHERE id % 15 = 0",
	} {
		if _, err := s.DB().ExecContext(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
	if o := s.Dialect(); o == store.Postgres {
		if _, err := s.DB().ExecContext(ctx, "ANALYZE"); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("gave them counts in %.0f s", time.Since(begin).Seconds())
}

// rss is what the process holds now and held at most, in MiB.
func rss() (now, peak int) {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "VmRSS:":
			now = n / 1024
		case "VmHWM:":
			peak = n / 1024
		}
	}
	return now, peak
}

// BenchmarkCatalogue: go test ./test/lab/catalogue -run xxx -bench . -benchtime 1x -v
func BenchmarkCatalogue(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			o := store.Options{Dir: b.TempDir(), Key: make([]byte, store.KeySize), Logger: slog.New(slog.DiscardHandler)}
			rand.Read(o.Key)
			if kind == "postgres" {
				o.DatabaseURL = postgres.Database(b)
			}
			s, err := store.Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			v, err := inventory.Open(b.Context(), s, inventory.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			fill(b, s, v, size())
			for b.Loop() {
				ask(b, v)
			}
			now, peak := rss()
			b.Logf("memory of the process: %d MiB now, %d MiB at most", now, peak)
		})
	}
}

func ask(b *testing.B, v *inventory.Inventory) {
	ctx := b.Context()
	list := func(f inventory.Filter) func(int) error {
		return func(int) error {
			_, err := v.Operations(ctx, f)
			return err
		}
	}
	declared := true
	for _, q := range []struct {
		what string
		ask  func(i int) error
	}{
		{"first page", list(inventory.Filter{})},
		{"first page of the largest API", list(inventory.Filter{API: "api-399"})},
		{"by requests", list(inventory.Filter{Sort: inventory.ByRequests})},
		{"largest API by requests", list(inventory.Filter{API: "api-399", Sort: inventory.ByRequests})},
		{"small API by latency", list(inventory.Filter{API: "api-007", Sort: inventory.ByLatency})},
		{"last seen, reversed", list(inventory.Filter{Sort: inventory.ByLastSeen, Reverse: true})},
		{"shadow", list(inventory.Filter{Shadow: true})},
		{"shadow by errors", list(inventory.Filter{Shadow: true, Sort: inventory.ByErrors})},
		{"tier", list(inventory.Filter{Tiers: []inventory.Tier{inventory.Corroborated}})},
		{"method and declared", list(inventory.Filter{Method: "PATCH", Declared: &declared})},
		{"data class", list(inventory.Filter{Class: "payment-card"})},
		{"data class by requests", list(inventory.Filter{Class: "payment-card", Sort: inventory.ByRequests})},
		{"undocumented", list(inventory.Filter{Hint: "undocumented"})},
		{"text that is everywhere", list(inventory.Filter{Text: "invoice"})},
		{"text that is rare", func(i int) error {
			_, err := v.Operations(ctx, inventory.Filter{Text: fmt.Sprintf("/%x", 1000+i)})
			return err
		}},
		{"text that is nowhere", list(inventory.Filter{Text: "zeppelin"})},
		{"rare text in one API", func(i int) error {
			_, err := v.Operations(ctx, inventory.Filter{API: "api-399", Text: fmt.Sprintf("/%x", 70000+i)})
			return err
		}},
		{"deep page", deep(ctx, v)},
		{"APIs", func(i int) error { return relist(ctx, v, i) }},
	} {
		var took []time.Duration
		for i := range 20 {
			begin := time.Now()
			if err := q.ask(i); err != nil {
				b.Fatal(q.what, err)
			}
			took = append(took, time.Since(begin))
			if i >= 4 && begin.Add(5*time.Second).Before(time.Now()) {
				break
			}
		}
		slices.Sort(took)
		b.Logf("%-32s p50 %7.1f ms  p95 %7.1f ms", q.what, float64(took[len(took)/2].Microseconds())/1000, float64(took[(len(took)*95-1)/100].Microseconds())/1000)
	}
}

// deep asks for a page behind a hundred others.
func deep(ctx context.Context, v *inventory.Inventory) func(int) error {
	var f inventory.Filter
	f.Limit = 1000
	return func(int) error {
		p, err := v.Operations(ctx, f)
		f.After = p.Next
		return err
	}
}

// relist lists the APIs anew, after a change.
func relist(ctx context.Context, v *inventory.Inventory, i int) error {
	if err := v.Claim(ctx, []sallyport.Claim{{Asset: sallyport.Asset{API: "api-001"}, Field: "title", Value: fmt.Sprint("title ", i), Source: "lab", Confidence: 1}}); err != nil {
		return err
	}
	_, err := v.APIs(ctx)
	return err
}
