package main

import (
	"context"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"sallyport.dev"
	"sallyport.dev/adapter/kubernetes"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/gateway"
)

// clusterService is a service of the cluster that serves an API.
type clusterService struct {
	Service   string `yaml:"service" need:"1" doc:"Name of the Service."`
	Namespace string `yaml:"namespace" need:"1" doc:"Its namespace."`
	Port      string `yaml:"port" doc:"Port of its endpoints, by name or number. Default the only one."`
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (s *clusterService) wrong() string {
	switch {
	case !dnsLabel.MatchString(s.Service) || !dnsLabel.MatchString(s.Namespace):
		return "service and namespace are names such as notes-v2"
	case s.Port != "" && !dnsLabel.MatchString(s.Port):
		return "port is a number, or the name of a port"
	}
	return ""
}

// name is what its upstream is called.
func (s *clusterService) name() string {
	port := s.Port
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = "80" // only a name: its addresses have ports of their own
	}
	return net.JoinHostPort(s.Service+"."+s.Namespace+".svc", port)
}

// memberBook keeps who knows the addresses of services over changes of the
// configuration.
type memberBook struct {
	mu   sync.Mutex
	list map[clusterService]*gateway.Members
}

func (b *memberBook) of(s clusterService) *gateway.Members {
	if b == nil {
		return &gateway.Members{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.list == nil {
		b.list = map[clusterService]*gateway.Members{}
	}
	if b.list[s] == nil {
		b.list[s] = &gateway.Members{}
	}
	return b.list[s]
}

// attach gives upstreams that are services of the cluster their members.
func (b *memberBook) attach(a *apiConfig, p *gateway.API) {
	for i, u := range a.Upstreams {
		if u.Kubernetes != nil {
			p.Upstreams[i].DNS, p.Upstreams[i].Members = u.Kubernetes.name(), b.of(*u.Kubernetes)
		}
	}
}

// A clusterDoor admits and holds at the gateway, and has the Pods hear of it.
type clusterDoor struct {
	gate.Own
	e *engine
}

// Admit is part of gate.Own.
func (d clusterDoor) Admit(ctx context.Context, in sallyport.Instance, reason string) error {
	defer d.e.cluster.nudge()
	return d.Own.Admit(ctx, in, reason)
}

// Hold is part of gate.Own.
func (d clusterDoor) Hold(ctx context.Context, in sallyport.Instance, reason string) error {
	defer d.e.cluster.nudge()
	return d.Own.Hold(ctx, in, reason)
}

// clusterRun runs what looks after the services of the configuration in force.
type clusterRun struct {
	mu      sync.Mutex
	running map[serviceOf]*servicing
	changed chan struct{}
}

// serviceOf is a service as an upstream of an API.
type serviceOf struct {
	api, scheme string
	clusterService
}

type servicing struct {
	*kubernetes.Service
	end   context.CancelFunc
	ended chan struct{}
}

func (r *clusterRun) nudge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.running {
		s.Nudge()
	}
}

// follow has run look at the configuration in force.
func (r *clusterRun) follow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{}, 1)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *clusterRun) run(ctx context.Context, e *engine) error {
	r.follow()
	defer func() {
		for _, s := range r.running {
			s.end()
			<-s.ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
		}
		c := e.standing()
		wanted := map[serviceOf]bool{}
		for _, a := range c.APIs {
			for _, u := range a.Upstreams {
				if u.Kubernetes != nil {
					wanted[serviceOf{a.Name, or(u.Scheme, "http"), *u.Kubernetes}] = true
				}
			}
		}
		for k, s := range r.running {
			if !wanted[k] {
				s.end()
				<-s.ended
				r.mu.Lock()
				delete(r.running, k)
				r.mu.Unlock()
			}
		}
		for k := range wanted {
			if r.running[k] != nil {
				continue
			}
			s, err := e.servicing(ctx, k)
			if err != nil {
				return err
			}
			r.mu.Lock()
			if r.running == nil {
				r.running = map[serviceOf]*servicing{}
			}
			r.running[k] = s
			r.mu.Unlock()
		}
	}
}

// servicing begins to look after one service.
func (e *engine) servicing(ctx context.Context, k serviceOf) (*servicing, error) {
	access, err := e.cfg.Kubernetes.access(e.cfg)
	if err != nil {
		return nil, err
	}
	members := e.lasting.members.of(k.clusterService)
	instance := func(at netip.AddrPort) sallyport.Instance {
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		return sallyport.Instance{API: k.api, URL: k.scheme + "://" + at.String()}
	}
	s := &servicing{ended: make(chan struct{}), Service: &kubernetes.Service{Access: access, Namespace: k.Namespace, Name: k.clusterService.Service, Port: k.Port, Log: e.log, Members: members.Set,
		Restarted: func(at netip.AddrPort) {
			in := instance(at)
			if v, ok := e.view(in); ok && v.Gated && v.Instance.Admission == sallyport.Admitted {
				in.Admission = sallyport.Held
				_ = e.gateway.Hold(ctx, in, "its containers were started again")
				e.gate.Nudge()
			}
		},
		Admitted: func(at netip.AddrPort) (bool, bool, string) {
			v, ok := e.view(instance(at))
			switch {
			case !ok:
				return false, false, "not among the instances yet"
			case v.Instance.Admission == sallyport.Admitted:
				return true, true, v.Instance.Reason
			case v.Gated && v.State.State == string(sallyport.Admitted) && v.Instance.Reason == gateway.Untested:
				return false, false, v.Instance.Reason // we were started again, and look whether it is the process that was tested
			}
			return false, true, string(v.Instance.Admission) + ": " + v.Instance.Reason
		}}}
	var own context.Context
	own, s.end = context.WithCancel(ctx)
	go func() {
		defer close(s.ended)
		_ = s.Run(own)
	}()
	return s, nil
}

// view is an instance as the gate sees it.
func (e *engine) view(in sallyport.Instance) (gate.View, bool) {
	for _, v := range e.gate.Fleet() {
		if v.Instance.API == in.API && v.Instance.URL == in.URL {
			return v, true
		}
	}
	return gate.View{}, false
}

// access is how the cluster's API server is reached.
func (k *clusterConfig) access(c *config) (kubernetes.Access, error) {
	token := ""
	if k.Token != "" {
		var err error
		if token, err = c.secret(k.Token); err != nil {
			return kubernetes.Access{}, err
		}
	}
	return catalogueConfig{At: k.At, CA: k.CA}.cluster(strings.TrimSpace(token))
}
