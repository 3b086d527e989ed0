package haproxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/haproxy"
)

// backend is an HAProxy with the servers of a backend, in its own folder.
func backend(t *testing.T, servers string) (d *haproxy.Door, front string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front = ln.Addr().String()
	ln.Close()
	sock := filepath.Join(dir, "s")
	cfg := fmt.Sprintf("global\n stats socket %s level admin\ndefaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 10s\nfrontend f\n bind %s\n default_backend api\nbackend api\n%s\n", sock, front, servers)
	if err := os.WriteFile(filepath.Join(dir, "c"), []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/usr/sbin/haproxy", "-db", "-f", filepath.Join(dir, "c"))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread()
	err = c.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v (test/setup.sh installs it)", err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	d = &haproxy.Door{Socket: "unix:" + sock, Backend: "api", Slots: "slot"}
	for range 500 {
		if _, err := d.Instances(t.Context()); err == nil {
			return d, front
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("HAProxy does not answer")
	return nil, ""
}

func at(addr string, a sallyport.Admission) sallyport.Instance {
	return sallyport.Instance{API: "shop", URL: "http://" + addr, Address: netip.MustParseAddrPort(addr), Admission: a}
}

func is(t *testing.T, d *haproxy.Door, want string, list ...sallyport.Instance) {
	t.Helper()
	has, err := d.Apply(t.Context(), list)
	var got []string
	for _, in := range has {
		got = append(got, strings.TrimPrefix(in.URL, "http://")+" "+string(in.Admission))
	}
	places, trouble, _ := strings.Cut(want, "; ")
	expect := strings.Split(places, ", ")
	slices.Sort(got)
	slices.Sort(expect)
	said := ""
	if err != nil {
		said = err.Error()
	}
	if !slices.Equal(got, expect) || said != trouble {
		t.Errorf("got  %v %s\nwant %v %s", got, said, expect, trouble)
	}
}

func TestDoorOfHAProxy(t *testing.T) {
	slow := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun ")
		w.(http.Flusher).Flush()
		<-slow
		io.WriteString(w, "done")
	}))
	defer srv.Close()
	up := srv.Listener.Addr().String()
	d, front := backend(t, " server a "+up+" disabled\n server b 127.0.0.1:2 disabled\n server c [::1]:3\n server-template slot 1-2 127.0.0.1:9 disabled")
	seen, err := d.Instances(t.Context())
	if err != nil || len(seen) != 3 || seen[2].URL != "http://[::1]:3" || seen[2].Admission != sallyport.Admitted || seen[0].Admission != sallyport.Held {
		t.Fatalf("%+v %v", seen, err)
	}
	// Nobody is named: everything is shut, also what the configuration left open.
	is(t, d, "127.0.0.1:2 held, "+up+" held, [::1]:3 held")
	// What is not decided stays.
	is(t, d, "127.0.0.1:2 held, "+up+" admitted, [::1]:3 held", at(up, sallyport.Admitted), at("127.0.0.1:2", ""), at("[::1]:3", sallyport.Testing))
	is(t, d, "127.0.0.1:2 held, "+up+" admitted, [::1]:3 held", at(up, ""))
	// A request in flight ends when its server is shut, and no new one begins.
	res, err := http.Get("http://" + front)
	if err != nil {
		t.Fatal(err)
	}
	is(t, d, "127.0.0.1:2 held, "+up+" held, [::1]:3 held", at(up, sallyport.Quarantined))
	if res, err := http.Get("http://" + front); err != nil || res.StatusCode != 503 {
		t.Errorf("%v %v", res, err)
	}
	close(slow)
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "begun done" {
		t.Errorf("in flight: %q %v", b, err)
	}
	// Addresses that it does not know take slots, as long as there are some; one address twice opens only if both may.
	is(t, d, "127.0.0.1:2 held, 127.0.0.1:4 admitted, 127.0.0.1:5 admitted, "+up+" held, [::1]:3 held; not as they are to be: 127.0.0.1:6 (no server has its address, and no slot is free)",
		at("127.0.0.1:4", sallyport.Admitted), at("127.0.0.1:5", sallyport.Admitted), at("127.0.0.1:6", sallyport.Admitted), at("127.0.0.1:2", sallyport.Admitted), at("127.0.0.1:2", sallyport.Held))
	is(t, d, "127.0.0.1:2 held, 127.0.0.1:5 admitted, 127.0.0.1:6 admitted, "+up+" held, [::1]:3 held", at("127.0.0.1:5", sallyport.Admitted), at("127.0.0.1:6", sallyport.Admitted))
	if seen, _ := d.Instances(t.Context()); len(seen) != 3 {
		t.Errorf("slots are no instances of their own: %+v", seen)
	}
	if d.Reloads != 0 {
		t.Errorf("%d reloads", d.Reloads)
	}
	// What somebody opens by hand is shut at the next look.
	if _, err := haproxy.Runtime(d.Socket).Ask(t.Context(), "set server api/b state ready"); err != nil {
		t.Fatal(err)
	}
	is(t, d, "127.0.0.1:2 held, "+up+" held, [::1]:3 held")
	none := &haproxy.Door{Socket: d.Socket, Backend: "other"}
	if _, err := none.Apply(t.Context(), []sallyport.Instance{at(up, sallyport.Admitted)}); err == nil {
		t.Error("there is no such backend")
	}
}

// A socket that answers what is not understood is told to open nothing.
func TestForeignAnswersOpenNothing(t *testing.T) {
	head := "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port\n"
	good := "1\n" + head + "3 api 1 s1 127.0.0.1 0 1 8080\n\n"
	info := "Name: HAProxy\nPid: 7\nUptime_sec: 9\n"
	cases := map[string][2]string{
		"good":          {info, good},
		"empty":         {"", ""},
		"html":          {"<html>Pid: 1", "<html>"},
		"cut":           {info, good[:len(good)-12]},
		"other version": {info, "2" + good[1:]},
		"other columns": {info, strings.Replace(good, "srv_admin_state", "srv_admin", 1)},
		"other backend": {info, strings.Replace(good, " api ", " apo ", 1)},
		"no number":     {info, strings.Replace(good, " 0 1 8080", " 0 x 8080", 1)},
		"below zero":    {info, strings.Replace(good, " 0 1 8080", " 0 -1 8080", 1)},
		"twice":         {info, "1\n" + head + "3 api 1 s1 127.0.0.1 0 1 8080\n3 api 1 s1 127.0.0.1 0 0 8080\n\n"},
		"huge":          {info, "1\n" + head + strings.Repeat("3 api 1 s1 127.0.0.1 0 1 8080 ", 600_000)},
		"nobody":        {"Name: HAProxy\n", good},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var mu sync.Mutex
			opened := false
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					line, _ := bufio.NewReader(conn).ReadString('\n')
					switch {
					case strings.HasPrefix(line, "show info"):
						io.WriteString(conn, c[0])
					case strings.HasPrefix(line, "show servers"):
						io.WriteString(conn, c[1])
					}
					mu.Lock()
					opened = opened || strings.Contains(line, "state ready")
					mu.Unlock()
					conn.Close()
				}
			}()
			d := &haproxy.Door{Socket: "tcp://" + ln.Addr().String(), Backend: "api"}
			_, err = d.Apply(t.Context(), []sallyport.Instance{at("127.0.0.1:8080", sallyport.Admitted)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil || opened != (name == "good") { // the good one is told, and does not do it
				t.Errorf("told to open: %v, %v", opened, err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	defer ln.Close()
	if _, err := haproxy.Runtime("tcp://"+ln.Addr().String()).Ask(ctx, "show info"); err == nil {
		t.Error("nobody answered")
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n3 api 1 s1 127.0.0.1 2 4 1 1 0 1 0 0 8 0 0 0 - 28992 - 0 0 - - 0\n3 api 2 s2 ::1 0 1 1 1 1 8 2 0 14 0 0 0 - 28993 - 0 0 - - 0\n\n")
	f.Add("1\n# be_name srv_name srv_addr srv_port srv_admin_state srv_op_state\napi s - 0 0 0\n")
	f.Add("Can't find backend.\n\n")
	f.Fuzz(func(t *testing.T, answer string) {
		list, err := haproxy.ParseServers(answer, "api")
		if err != nil && list != nil {
			t.Error("servers and an error")
		}
		seen := map[string]bool{}
		for _, s := range list {
			if s.Backend != "api" || seen[s.Name] || s.Admin < 0 {
				t.Errorf("%+v", s)
			}
			seen[s.Name] = true
		}
	})
}
