// Command judge measures the conformance tests by the mutants: it starts each
// one, runs a profile against it and prints how many are found, by kind, those
// that are held out apart, and the findings on the correct servers over several
// seeds. It exits with 1 when a correct server has a finding.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev/conformance"
	"sallyport.dev/spec"
	"sallyport.dev/test/lab/mutants"
	"sallyport.dev/test/lab/mutants/rest"
)

func main() {
	profile := flag.String("profile", "full", "profile: safe, full or deep")
	seeds := flag.Int("seeds", 20, "seeds on the correct servers")
	only := flag.String("only", "", "a server, or part of the ID of mutants")
	held := flag.Bool("held", false, "run the mutants that are held out too; only their number is printed")
	checks := flag.Bool("checks", false, "print for each check the mutants that it finds")
	verbose := flag.Bool("v", false, "print what is missed and what correct servers are blamed for")
	flag.Parse()
	finders = *checks
	if measure(conformance.Profile(*profile), *seeds, *only, *held, *verbose) > 0 {
		os.Exit(1)
	}
}

// finders asks for the mutants that each check finds.
var finders bool

func measure(profile conformance.Profile, seeds int, only string, held, verbose bool) (wrong int) {
	for _, s := range mutants.Servers() {
		if only != "" && !strings.HasPrefix(only, s.Name) {
			continue
		}
		for seed := range seeds {
			r := run(s, "", profile, uint64(seed+1))
			wrong += len(r.Findings)
			if verbose {
				for _, f := range r.Findings {
					fmt.Printf("  %s seed %d: %s %s %s: %s\n    %s\n", s.Name, seed+1, f.Check, f.Operation, f.Place, f.Detail, f.Curl)
				}
				if seed == 0 {
					for _, n := range r.NotRun {
						fmt.Println("  not run:", n)
					}
					fmt.Println(" ", s.Name, r.Requests, "requests", r.Duration.Round(time.Millisecond), r.Coverage.Summary())
				}
			}
		}
	}
	fmt.Printf("correct servers: %d findings over %d seeds\n", wrong, seeds)
	type count struct{ found, all int }
	kinds, open, apart := map[string]*count{}, count{}, count{}
	by := map[string][]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, 8) // at a time: most of a run is waiting
	for _, s := range mutants.Servers() {
		blamed := map[string]bool{} // on the correct server too: finds nothing
		for _, f := range run(s, "", profile, 1).Findings {
			blamed[f.Check+f.Operation+f.Place] = true
		}
		for _, m := range s.Mutants() {
			if m.Held && !held || !strings.Contains(m.ID, only) {
				continue
			}
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				r := run(s, m.ID, profile, 1)
				found := slices.ContainsFunc(r.Findings, func(f conformance.Finding) bool {
					return f.Level != conformance.Note && !blamed[f.Check+f.Operation+f.Place]
				})
				mu.Lock()
				defer mu.Unlock()
				for _, f := range r.Findings {
					if !m.Held && !blamed[f.Check+f.Operation+f.Place] && !slices.Contains(by[f.Check], m.ID) {
						by[f.Check] = append(by[f.Check], m.ID)
					}
				}
				into := &open
				if m.Held {
					into = &apart
				} else {
					if kinds[m.Kind] == nil {
						kinds[m.Kind] = &count{}
					}
					kinds[m.Kind].all++
				}
				into.all++
				switch {
				case found:
					into.found++
					if !m.Held {
						kinds[m.Kind].found++
					}
				case verbose && !m.Held:
					fmt.Printf("  missed %s %s: %s\n", m.ID, m.Kind, m.Description)
				}
			})
		}
	}
	wg.Wait()
	names := make([]string, 0, len(kinds))
	for k := range kinds {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		fmt.Printf("%-40s %3d of %3d\n", k, kinds[k].found, kinds[k].all)
	}
	if finders {
		for _, c := range conformance.Checks() {
			fmt.Printf("%-32s %s\n", c.ID, strings.Join(by[c.ID], " "))
		}
	}
	fmt.Printf("%s: %d of %d found; held out: %d of %d\n", profile, open.found, open.all, apart.found, apart.all)
	return wrong
}

// run tests a server, with one defect or none.
func run(s mutants.Server, mutant string, profile conformance.Profile, seed uint64) *conformance.Report {
	key := make([]byte, 32)
	rand.Read(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go s.Serve(ctx, l, mutants.Options{Mutant: mutant, Key: key})
	set, err := spec.Load(context.Background(), []spec.Source{{Path: s.Name + ".yaml", Data: s.Document}}, spec.Options{Keep: true})
	if err != nil {
		panic(err)
	}
	p := conformance.Plan{API: s.Name, Spec: set, Target: "http://" + l.Addr().String(), Profile: profile, Seed: seed,
		Stop: func(context.Context) error { stop(); return nil }}
	for _, i := range s.Identities(key) {
		p.Identities = append(p.Identities, conformance.Identity{Name: i.Name, Role: i.Role, Token: i.Token})
	}
	now := time.Now()
	claims := rest.Claims{Subject: "alice", Role: "user", Audience: s.Audience, Issued: now.Add(-2 * time.Hour).Unix(), Expires: now.Add(-time.Hour).Unix()}
	p.Refused = append(p.Refused, conformance.Identity{Name: "expired", Token: rest.Mint(key, claims)})
	claims.Audience, claims.Issued, claims.Expires = "https://other.example", now.Unix(), now.Add(time.Hour).Unix()
	p.Refused = append(p.Refused, conformance.Identity{Name: "wrong-audience", Token: rest.Mint(key, claims)})
	r, err := conformance.Run(context.Background(), p)
	if err != nil {
		panic(err)
	}
	return r
}
