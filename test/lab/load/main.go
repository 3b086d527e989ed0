// Command load measures what becomes of an upstream, and of those who behave,
// when more is asked than it can do. The upstream has a known number of slots
// and sleeps in them, so its capacity does not depend on the machine; what asks
// does so at random moments whether it is answered or not. In comes a binary;
// out go figures, and exit code 1 when one of them is not as promised:
//
//   - overload: five times the capacity; goodput, and what a class with a floor sees
//   - costly: one caller with fifty times the work per request and the same
//     number of requests as others; when it is limited, and what others see.
//     Once with load reports (ORCA), once by the time that its requests take.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	binary := flag.String("sallyport", "bin/sallyport", "the binary")
	dir := flag.String("dir", ".cache/load", "folder")
	overload := flag.Duration("overload", 2*time.Minute, "how long more is asked than can be done; 0: not at all")
	after := flag.Duration("after", time.Minute, "how long others are watched once the costly caller is limited; 0: not at all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	good := true
	check := func(ok bool, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		good = good && ok
	}
	if *overload > 0 {
		check(runOverload(ctx, *binary, *dir, *overload))
	}
	if *after > 0 {
		check(runCostly(ctx, *binary, *dir, *after, true))
		check(runCostly(ctx, *binary, *dir, *after, false))
	}
	if !good {
		os.Exit(1)
	}
}

const service = 50 * time.Millisecond

// runOverload offers five times the capacity, a fifth of the capacity by a class
// that keeps four tenths of the places.
func runOverload(ctx context.Context, binary, dir string, span time.Duration) (bool, error) {
	const n, clients = 10, 20
	capacity := float64(n) / service.Seconds()
	names := []string{"gold"}
	for i := range clients {
		names = append(names, fmt.Sprint("client-", i))
	}
	s, err := open(ctx, binary, dir, n, false, names, "load: {concurrency: adaptive, classes: [{name: gold, floor: 40%, keys: [gold]}]}")
	if err != nil {
		return false, err
	}
	defer s.close()
	gold := &caller{name: "gold", rate: capacity * .2, work: service}
	s.drive(ctx, 10*time.Second, gold)
	alone := gold.quantile(.99, 0, time.Hour)
	gold = &caller{name: "gold", rate: capacity * .2, work: service}
	all := []*caller{gold}
	for _, name := range names[1:] {
		all = append(all, &caller{name: name, rate: capacity * 4.8 / clients, work: service})
	}
	cpu, done, held, began := s.cpu(), s.up.Done.Load(), s.up.Held(), time.Now()
	s.drive(ctx, span, all...)
	took := time.Since(began)
	cores := (s.cpu() - cpu).Seconds() / took.Seconds()
	asked, good, first, last, least := 0, 0, 0, 0, 1<<30
	for _, c := range all {
		asked += c.asked
		good += c.count(200, 0, time.Hour)
		first += c.count(200, 0, span/4)
		last += c.count(200, span*3/4, span)
		if c != gold {
			least = min(least, c.count(200, 0, time.Hour))
		}
	}
	goodput := float64(good) / (capacity * span.Seconds())
	goldGood := float64(gold.count(200, 0, time.Hour)) / float64(gold.asked)
	fmt.Printf("== overload: %d slots of %v, %.0f requests/s asked for %v of %.0f possible\n", n, service, float64(asked)/span.Seconds(), span, capacity)
	fmt.Printf("goodput            %5.1f %% of capacity (first quarter %.1f, last %.1f)\n", 100*goodput,
		400*float64(first)/(capacity*span.Seconds()), 400*float64(last)/(capacity*span.Seconds()))
	busy, each := s.up.Held()-held, time.Duration(0)
	if n := s.up.Done.Load() - done; n > 0 {
		each = busy / time.Duration(n)
	}
	fmt.Printf("slots              %5.1f %% of their time held; each request for %.1f ms, so that %.1f %% of the capacity could be had on this machine\n",
		100*busy.Seconds()/(n*took.Seconds()), float64(each)/1e6, 100*float64(service)/float64(each))
	fmt.Printf("class with a floor %5.1f %% answered, p50 %v, p99 %v; alone p99 %v\n", 100*goldGood, ms(gold.quantile(.5, 0, time.Hour)), ms(gold.quantile(.99, 0, time.Hour)), ms(alone))
	fmt.Printf("others             p50 %v, p99 %v of those answered; the least served got %.0f %% of an equal share; refused by status %v\n",
		ms(quantile(.5, 0, time.Hour, all[1:]...)), ms(quantile(.99, 0, time.Hour, all[1:]...)), 100*float64(least)/((capacity-gold.rate)*span.Seconds()/clients), statuses(all[1:]...))
	fmt.Printf("gateway            %.2f cores, everything embedded running\n", cores)
	ok := goodput >= .9 && last*10 >= first*9 && goldGood >= .99 && cores <= .5
	return verdict(ok), nil
}

func runCostly(ctx context.Context, binary, dir string, after time.Duration, reports bool) (bool, error) {
	const n, clients, rate = 16, 20, 6.0
	names := []string{"costly"}
	for i := range clients {
		names = append(names, fmt.Sprint("client-", i))
	}
	policy, how := "load: {concurrency: adaptive}", "by the time that a request takes"
	if reports {
		policy, how = "limits: [{cpu: 80%}]\n    load: {concurrency: adaptive}", "by load reports"
	}
	s, err := open(ctx, binary, dir, n, reports, names, policy)
	if err != nil {
		return false, err
	}
	defer s.close()
	others := func() (all []*caller) {
		for _, name := range names[1:] {
			all = append(all, &caller{name: name, rate: rate, work: service})
		}
		return all
	}
	calm := others()
	quiet := s.drive(ctx, 30*time.Second, calm...).quantile(.99, 0, time.Hour)
	costly := &caller{name: "costly", rate: rate, work: 50 * service}
	now := others()
	machine := s.drive(ctx, after+6*time.Second, append(now, costly)...)
	limited := costly.firstRefusal()
	before, during := quantile(.99, 0, time.Hour, calm...), quantile(.99, limited, limited+after, now...)
	// Once limited, what the costly caller has in flight still takes its time.
	settled := quantile(.99, 5*time.Second, 5*time.Second+after, now...)
	busy := machine.quantile(.99, 5*time.Second, 5*time.Second+after)
	refused, early := 0, 0
	for _, c := range now {
		early += c.asked - c.count(200, 0, time.Hour)
		for _, r := range c.rows {
			if r.status != 200 && r.at > 5*time.Second {
				refused++
			}
		}
	}
	fmt.Printf("== costly: %d slots, %d callers at %.0f/s of %v, one at %.0f/s of %v; told %s\n", n, clients, rate, service, rate, 50*service, how)
	fmt.Printf("limited after      %.1f s; %d of its %d requests answered, refused by status %v\n", limited.Seconds(), costly.count(200, 0, time.Hour), costly.asked, statuses(costly))
	fmt.Printf("others, p99        calm %v; from its first refusal on %v (%.2f ×); from the fifth second on %v (%.2f ×), each for %v\n", ms(before),
		ms(during), float64(during)/float64(before), ms(settled), float64(settled)/float64(before), after)
	fmt.Printf("machine            p99 of a bare sleep of %v: calm %v, from the fifth second on %v; what is above it for others: calm %v, then %v\n", service,
		ms(quiet), ms(busy), ms(before-quiet), ms(settled-busy))
	fmt.Printf("others, refused    %d in the first five seconds, %d after\n", early-refused, refused)
	// What the machine adds by itself is not held against anybody.
	ok := limited > 0 && limited <= 5*time.Second && float64(settled) <= 1.2*float64(before)+float64(max(0, busy-quiet)) && costly.count(200, 0, time.Hour) > 0
	return verdict(ok), nil
}

func verdict(ok bool) bool {
	if !ok {
		fmt.Println("NOT as promised")
	}
	return ok
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }
