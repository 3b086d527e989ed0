package xds_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	_ "google.golang.org/grpc/xds"

	"sallyport.dev"
	"sallyport.dev/adapter/xds"
)

// A process of its own is gRPC's client: it reads its bootstrap when it starts.
// For each line with a number it makes so many calls, and says who answered.
func TestMain(m *testing.M) {
	target := os.Getenv("SALLYPORT_TEST_XDS")
	if target == "" {
		os.Exit(m.Run())
	}
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, _ := strconv.Atoi(in.Text())
		who := map[string]int{}
		for range n {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			var p peer.Peer
			if _, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&p)); err != nil {
				who["nobody"]++
			} else {
				who[p.Addr.String()]++
			}
			cancel()
		}
		fmt.Println(strings.Join(slices.Sorted(maps.Keys(who)), " "))
	}
}

type client struct {
	in  io.Writer
	out *bufio.Scanner
}

func startClient(t *testing.T, server string) *client {
	t.Helper()
	boot := filepath.Join(t.TempDir(), "bootstrap.json")
	text := fmt.Sprintf(`{"xds_servers":[{"server_uri":%q,"channel_creds":[{"type":"insecure"}],"server_features":["xds_v3"]}],"node":{"id":"n"}}`, server)
	if err := os.WriteFile(boot, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GRPC_XDS_BOOTSTRAP="+boot, "SALLYPORT_TEST_XDS=xds:///notes.example.test")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	return &client{in, bufio.NewScanner(out)}
}

func (c *client) ask(n int) string {
	fmt.Fprintln(c.in, n)
	c.out.Scan()
	return c.out.Text()
}

// becomes asks until exactly those answer.
func (c *client) becomes(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = c.ask(12); got == strings.Join(want, " ") {
			return
		}
	}
	t.Fatalf("answered by %s, want %s", got, want)
}

func backend(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(ln)
	t.Cleanup(s.Stop)
	return ln.Addr().String()
}

func at(addr string, a sallyport.Admission) sallyport.Instance {
	return sallyport.Instance{URL: "http://" + addr, Address: netip.MustParseAddrPort(addr), Admission: a}
}

func TestClientsOfGRPCAskWhoIsAdmitted(t *testing.T) {
	one, two := backend(t), backend(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	begin := func() (*xds.Server, *xds.Door) {
		s := &xds.Server{Listen: func(ctx context.Context) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(ctx, "tcp", addr)
		}}
		return s, &xds.Door{Server: s, Address: addr, Cluster: "notes", Host: "notes.example.test"}
	}
	s, d := begin()
	apply := func(list ...sallyport.Instance) {
		t.Helper()
		has, err := d.Apply(t.Context(), list)
		if err != nil || len(has) != len(list) {
			t.Fatal(has, err)
		}
	}
	apply(at(one, sallyport.Held), at(two, sallyport.Testing))
	c := startClient(t, addr)
	if got := c.ask(3); got != "nobody" {
		t.Errorf("nobody is admitted, and %s answers", got)
	}
	apply(at(one, sallyport.Admitted), at(two, sallyport.Held))
	c.becomes(t, one)
	apply(at(one, sallyport.Admitted), at(two, sallyport.Admitted))
	c.becomes(t, one, two)
	apply(at(one, sallyport.Held), at(two, sallyport.Admitted)) // DRAINING
	c.becomes(t, two)
	apply(at(one, sallyport.Quarantined), at(two, sallyport.Admitted)) // UNHEALTHY
	c.becomes(t, two)
	apply(at(one, sallyport.Admitted), at(two, "")) // HEALTHY again; the other stays
	c.becomes(t, one, two)
	apply(at(one, sallyport.Admitted)) // the other is no instance any more
	c.becomes(t, one)
	// We are away: clients go on as they were told. Back again, what is not decided is as the record has it.
	s.Close()
	if got := c.ask(12); got != one {
		t.Errorf("while we are away %s answers", got)
	}
	s, d = begin()
	defer s.Close()
	apply(at(one, ""), at(two, sallyport.Held))
	c.becomes(t, one)
	apply(at(one, sallyport.Held), at(two, sallyport.Held))
	c.becomes(t, "nobody")
	// Its address is taken: an error, tried again.
	other := &xds.Door{Server: &xds.Server{Listen: s.Listen}, Address: addr, Cluster: "x"}
	if _, err := other.Apply(t.Context(), nil); err == nil {
		t.Error("two listen at one address")
	}
}
