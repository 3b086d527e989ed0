package main

import (
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
