package reflection_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	serve "google.golang.org/grpc/reflection"
	v1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"sallyport.dev/spec/proto"
	"sallyport.dev/spec/proto/reflection"
)

// start starts a real server.
func start(t *testing.T, register func(*grpc.Server)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	desc := healthpb.Health_ServiceDesc
	s.RegisterService(&desc, health.NewServer())
	register(s)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

func TestFetch(t *testing.T) {
	for name, register := range map[string]func(*grpc.Server){
		"v1": func(s *grpc.Server) {
			v1.RegisterServerReflectionServer(s, serve.NewServerV1(serve.ServerOptions{Services: reflected{}}))
		},
		"v1alpha": func(s *grpc.Server) {
			grpc_reflection_v1alpha.RegisterServerReflectionServer(s, serve.NewServer(serve.ServerOptions{Services: reflected{}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t, register)
			set, err := reflection.Fetch(t.Context(), reflection.Server{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			again, err := reflection.Fetch(t.Context(), reflection.Server{URL: url})
			if err != nil || !slices.Equal(set, again) {
				t.Errorf("asked twice, two answers (%v)", err)
			}
			s, faults := proto.Load(t.Context(), []proto.Source{{Name: "set", Set: set}}, proto.Options{})
			if s == nil || !slices.ContainsFunc(s.Methods, func(m *proto.Method) bool { return m.Path == "/grpc.channelz.v1.Channelz/GetServers" }) {
				t.Errorf("%+v", faults)
			}
		})
	}
}

// reflected names a service that is described in this process.
type reflected struct{}

func (reflected) GetServiceInfo() map[string]grpc.ServiceInfo {
	return map[string]grpc.ServiceInfo{"grpc.channelz.v1.Channelz": {}, "grpc.reflection.v1.ServerReflection": {}}
}

// TestHostile: servers that answer with anything, or with nothing.
func TestHostile(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"not found":   func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", 302) },
		"empty":       func(w http.ResponseWriter, r *http.Request) {},
		"lying frame": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte{0, 255, 255, 255, 255, 1}) },
		"junk": func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte{0, 0, 0, 0, 4, 0x32, 0x02, 0x0a, 0x7f})
		},
		"huge": func(w http.ResponseWriter, r *http.Request) {
			b := make([]byte, 1<<20)
			for range 64 {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		},
		"silent": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(h)
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if set, err := reflection.Fetch(ctx, reflection.Server{URL: s.URL}); err == nil {
				t.Errorf("%d bytes were believed", len(set))
			}
		})
	}
}
