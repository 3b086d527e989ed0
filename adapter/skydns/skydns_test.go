package skydns_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev"
	"sallyport.dev/adapter/skydns"
)

// etcd runs Debian's etcd until the test ends.
func etcd(t *testing.T) string {
	t.Helper()
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return "http://" + ln.Addr().String()
	}
	url, peer := free(), free()
	c := exec.Command("/usr/bin/etcd", "--data-dir", t.TempDir(), "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--log-level", "error", "--unsafe-no-fsync")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread()
	err := c.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v (test/setup.sh installs it)", err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for range 1000 {
		if res, err := http.Get(url + "/health"); err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				return url
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("etcd does not answer")
	return ""
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func post(t *testing.T, url, body string, out any) {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || out != nil && json.Unmarshal(b, out) != nil {
		t.Fatalf("%d %s", res.StatusCode, b)
	}
}

func at(addr string, a sallyport.Admission) sallyport.Instance {
	return sallyport.Instance{URL: "http://" + addr, Address: netip.MustParseAddrPort(addr), Admission: a}
}

func TestRecordsAreThoseOfWhoIsAdmitted(t *testing.T) {
	url := etcd(t)
	d := &skydns.Door{Etcd: url, DNS: "Notes.svc.test."}
	put := func(key, value string) {
		post(t, url+"/v3/kv/put", `{"key":"`+b64(key)+`","value":"`+b64(value)+`"}`, nil)
	}
	is := func(want ...string) {
		t.Helper()
		var got struct{ Kvs []struct{ Key, Value string } }
		post(t, url+"/v3/kv/range", `{"key":"`+b64("/skydns/")+`","range_end":"`+b64("/skydns0")+`"}`, &got)
		var list []string
		for _, kv := range got.Kvs {
			k, _ := base64.StdEncoding.DecodeString(kv.Key)
			v, _ := base64.StdEncoding.DecodeString(kv.Value)
			list = append(list, string(k)+" "+string(v))
		}
		slices.Sort(want)
		if slices.Sort(list); !slices.Equal(list, want) {
			t.Errorf("got  %q\nwant %q", list, want)
		}
	}
	const other = `/skydns/test/svc/notesbook/x {"host":"10.9.9.9"}`
	put("/skydns/test/svc/notesbook/x", `{"host":"10.9.9.9"}`) // another name
	put("/skydns/test/svc/notes", `{"host":"10.0.0.7"}`)       // of somebody who was never tested
	put("/skydns/test/svc/notes/mine", `{"host":"10.0.0.8"}`)
	apply := func(d *skydns.Door, list ...sallyport.Instance) []sallyport.Instance {
		t.Helper()
		has, err := d.Apply(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	one, six := `/skydns/test/svc/notes/sp-10-0-0-1-80 {"host":"10.0.0.1","port":80,"ttl":5}`, `/skydns/test/svc/notes/sp-fd00--1-80 {"host":"fd00::1","port":80,"ttl":5}`
	apply(d, at("10.0.0.2:80", sallyport.Held))
	is(other)
	apply(d, at("10.0.0.1:80", sallyport.Admitted), at("[fd00::1]:80", sallyport.Admitted), at("10.0.0.2:80", ""))
	is(other, one, six)
	has := apply(&skydns.Door{Etcd: url, DNS: d.DNS}, at("10.0.0.1:80", ""), at("[fd00::1]:80", sallyport.Quarantined))
	if is(other, one); has[0].Admission != sallyport.Admitted || has[1].Admission != sallyport.Held {
		t.Errorf("%+v", has)
	}
	apply(d)
	is(other)
	var many []sallyport.Instance
	for i := range 250 {
		many = append(many, sallyport.Instance{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 80), Admission: sallyport.Admitted})
	}
	if has := apply(d, many...); len(has) != 250 {
		t.Error(len(has))
	}
	apply(d)
	is(other)
}

func TestForeignAnswersWriteNothing(t *testing.T) {
	for name, answer := range map[string]string{"empty": "", "html": "<html>", "another": `{"kvs":[]}`, "cut": `{"header":{},"more":true}`, "other keys": `{"header":{},"kvs":[{"key":"` + b64("/x") + `","value":""}]}`, "no base64": `{"header":{},"kvs":[{"key":"%"}]}`, "huge": strings.Repeat(" ", 9<<20)} {
		t.Run(name, func(t *testing.T) {
			wrote := false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				wrote = wrote || strings.HasSuffix(r.URL.Path, "/txn")
				io.WriteString(w, answer)
			}))
			defer srv.Close()
			_, err := (&skydns.Door{Etcd: srv.URL, DNS: "notes.test"}).Apply(t.Context(), []sallyport.Instance{at("10.0.0.1:80", sallyport.Admitted)})
			if err == nil || wrote {
				t.Errorf("%v, wrote %v", err, wrote)
			}
		})
	}
}
