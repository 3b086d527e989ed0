package main

import (
	"sallyport.dev/console"
	"sallyport.dev/gateway/load"
	"sallyport.dev/policy"
)

// regulated is how a pool is kept from doing too much, as the gateway wants it.
func regulated(l policy.Load) load.Settings {
	s := load.Settings{
		CPU: float64(l.CPU), Memory: float64(l.Memory), Pressure: float64(l.Pressure),
		Adaptive: l.Concurrency.Adaptive, Limit: l.Concurrency.Limit, Min: l.Min, Max: l.Max, Wait: l.Wait, Share: float64(l.SlotShare),
	}
	if l.Queue != nil {
		if s.Queue = *l.Queue; s.Queue == 0 {
			s.Queue = -1
		}
	}
	for _, x := range l.Sources {
		s.Sources = append(s.Sources, load.Source{URL: x.Prometheus, Cgroup: x.Cgroup, Own: x.Own, CPU: x.CPU, Memory: x.Memory,
			Cores: x.Cores, MemoryLimit: float64(x.MemoryLimit), Every: x.Every})
	}
	for _, c := range l.Classes {
		s.Classes = append(s.Classes, load.Class{Name: c.Name, Floor: float64(c.Floor), Operations: c.Operations, Scopes: c.Scopes, Principals: c.Principals, Keys: c.Keys})
	}
	return s
}

// Pools tells how the pools stand.
func (e *engine) Pools() []console.Pool {
	if e.gateway == nil {
		return nil
	}
	var out []console.Pool
	for _, p := range e.gateway.Pools() {
		v := console.Pool{API: p.API}
		for _, in := range p.Instances {
			v.Instances = append(v.Instances, console.PoolInstance{URL: in.URL, Admission: string(in.Admission), Reason: in.Reason, Healthy: in.Healthy, Standby: in.Standby,
				InFlight: in.InFlight, Most: in.MaxConns, Answered: in.Answered, Failed: in.Failed, Left: in.Left.Seconds(), Warming: in.Warming})
		}
		if s := p.Load; s != nil {
			l := &console.PoolLoad{Limit: s.Limit, Adaptive: s.Adaptive, InFlight: s.InFlight, Queued: s.Queued, Slow: s.Slow, Callers: s.Callers, Fair: s.Fair, Cap: s.Cap,
				CPU: s.Load.CPU, Memory: s.Load.Memory, Pressure: s.Load.Pressure, Over: s.Over, What: s.What, Cut: s.Cut, Refused: s.Refused}
			for _, x := range s.Sources {
				view := console.PoolSource{Name: x.Name, CPU: x.Load.CPU, Memory: x.Load.Memory, Failed: x.Failed}
				if !x.At.IsZero() {
					at := x.At.UTC()
					view.Read = &at
				}
				l.Sources = append(l.Sources, view)
			}
			for _, c := range s.Classes {
				l.Classes = append(l.Classes, console.PoolClass(c))
			}
			for _, c := range s.Top {
				name := c.Caller.Name
				if name == "" {
					name = "client " + c.Caller.Addr.String()
				}
				l.Top = append(l.Top, console.PoolCaller{Caller: name, Places: c.Places, CPU: c.CPU})
			}
			v.Load = l
		}
		out = append(out, v)
	}
	return out
}

var _ console.PoolKeeper = (*engine)(nil)
