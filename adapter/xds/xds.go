// Package xds tells Envoy, and gRPC's own clients, which instances of an API
// serve: by the aggregated discovery service (xDS v3), the state of the world
// and its changes. In come the instances as the gate has judged them; out go
// endpoints with a health (HEALTHY is admitted, DRAINING was and is not, UNHEALTHY
// never was or failed), and for clients that bring no configuration of their own a
// cluster, a route and a listener beside them. It never dials. A client that loses
// us goes on with what it was told last; a new one is told nothing, and so has
// nobody to send requests to.
package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sallyport.dev"
)

const (
	maxMessage = 1 << 20
	maxStreams = 1024 // of one connection
)

// A Server is one address at which clients ask; each of its doors is a cluster.
type Server struct {
	Listen func(ctx context.Context) (net.Listener, error)
	Log    *slog.Logger

	mu       sync.Mutex
	cache    cache.SnapshotCache
	grpc     *grpc.Server
	version  uint64
	clusters map[string]*state
	failed   error
}

type state struct {
	host   string
	health map[netip.AddrPort]core.HealthStatus
	told   bool
}

// oneNode: every client is told the same.
type oneNode struct{}

func (oneNode) ID(*core.Node) string { return "all" }

// start listens, once; what fails is tried again.
func (s *Server) start(ctx context.Context) error {
	if s.grpc != nil {
		return s.failed
	}
	ln, err := s.Listen(ctx)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	s.cache = cache.NewSnapshotCache(true, oneNode{}, nil)
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}))
	discovery.RegisterAggregatedDiscoveryServiceServer(s.grpc, server.NewServer(context.WithoutCancel(ctx), s.cache, nil))
	g := s.grpc
	go func() {
		err := g.Serve(ln)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.failed = err
		}
	}()
	return nil
}

// Close ends every stream; clients go on with what they were told last.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		s.grpc.Stop()
	}
}

// A Door is one cluster of a server.
type Door struct {
	Server  *Server
	Address string // for its name
	Cluster string
	Host    string // of the listener and route that gRPC's clients ask for (xds:///HOST); "" = endpoints and cluster only
}

// Name tells it from all others.
func (d *Door) Name() string { return "xds " + d.Cluster + " at " + d.Address }

// Instances lists nothing: clients know what they are told.
func (d *Door) Instances(context.Context) ([]sallyport.Instance, error) { return nil, nil }

// Apply publishes the health of each instance. One that is not decided is said to
// be as it was; after our own start as the record has it, admitted.
func (d *Door) Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	s := d.Server
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if s.clusters == nil {
		s.clusters = map[string]*state{}
	}
	was := s.clusters[d.Cluster]
	if was == nil {
		was = &state{}
	}
	next := &state{host: d.Host, told: true, health: map[netip.AddrPort]core.HealthStatus{}}
	for _, in := range list {
		if !in.Address.IsValid() {
			continue
		}
		before, known := was.health[in.Address]
		h := core.HealthStatus_UNHEALTHY
		switch {
		case in.Admission == sallyport.Admitted, in.Admission == "" && !known:
			h = core.HealthStatus_HEALTHY
		case in.Admission == "":
			h = before
		case known && before != core.HealthStatus_UNHEALTHY && in.Admission != sallyport.Quarantined:
			h = core.HealthStatus_DRAINING
		}
		if other, twice := next.health[in.Address]; twice && other != core.HealthStatus_HEALTHY {
			h = other
		}
		next.health[in.Address] = h
	}
	same := was.told && was.host == next.host && len(was.health) == len(next.health)
	for a, h := range next.health {
		same = same && was.health[a] == h
	}
	if !same {
		s.clusters[d.Cluster] = next
		if err := s.publish(ctx); err != nil {
			s.clusters[d.Cluster] = was
			return nil, err
		}
	}
	var out []sallyport.Instance
	for _, in := range list {
		if in.Admission = sallyport.Held; next.health[in.Address] == core.HealthStatus_HEALTHY {
			in.Admission = sallyport.Admitted
		}
		out = append(out, in)
	}
	return out, nil
}

// publish has every client told.
func (s *Server) publish(ctx context.Context) error {
	ads := &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
	all := map[resource.Type][]types.Resource{}
	add := func(t resource.Type, r types.Resource) { all[t] = append(all[t], r) }
	for name, c := range s.clusters {
		add(resource.ClusterType, &cluster.Cluster{Name: name, ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}, LbPolicy: cluster.Cluster_ROUND_ROBIN,
			EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: ads},
			// Envoy would ask everybody when too few are well: nobody is asked who is not admitted.
			CommonLbConfig: &cluster.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 0}}})
		group := &endpoint.LocalityLbEndpoints{Locality: &core.Locality{Zone: "all"}, LoadBalancingWeight: wrapperspb.UInt32(1)}
		var list []netip.AddrPort
		for a := range c.health {
			list = append(list, a)
		}
		slices.SortFunc(list, netip.AddrPort.Compare)
		for _, a := range list {
			group.LbEndpoints = append(group.LbEndpoints, &endpoint.LbEndpoint{HealthStatus: c.health[a], HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
				Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: a.Addr().String(), PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(a.Port())}}}}}}})
		}
		load := &endpoint.ClusterLoadAssignment{ClusterName: name}
		if len(list) > 0 {
			load.Endpoints = []*endpoint.LocalityLbEndpoints{group}
		}
		add(resource.EndpointType, load)
		if c.host == "" {
			continue
		}
		last, err := anypb.New(&router.Router{})
		if err != nil {
			return err
		}
		manager, err := anypb.New(&hcm.HttpConnectionManager{HttpFilters: []*hcm.HttpFilter{{Name: "router", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: last}}},
			RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: &route.RouteConfiguration{Name: name, VirtualHosts: []*route.VirtualHost{{Name: name, Domains: []string{"*"},
				Routes: []*route.Route{{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{}}, Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: name}}}}}}}}}})
		if err != nil {
			return err
		}
		add(resource.ListenerType, &listener.Listener{Name: c.host, ApiListener: &listener.ApiListener{ApiListener: manager}})
	}
	s.version++
	snapshot, err := cache.NewSnapshot(fmt.Sprintf("%d-%d", time.Now().UnixNano(), s.version), all)
	if err == nil {
		err = s.cache.SetSnapshot(ctx, "all", snapshot)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
