package traefik_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/adapter/traefik"
)

func TestDoorOfTraefik(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.yaml")
	d := &traefik.Door{File: file, Service: "notes"}
	at := func(addr string, a sallyport.Admission) sallyport.Instance {
		return sallyport.Instance{URL: "http://" + addr, Address: netip.MustParseAddrPort(addr), Admission: a}
	}
	const head = "# Written by sallyport; what is changed here is written over.\nhttp:\n    services:\n        notes:\n            loadBalancer:\n                passHostHeader: true\n                servers:"
	for _, c := range []struct {
		name string
		list []sallyport.Instance
		want string
	}{
		{"nobody", nil, " []\n"},
		{"not decided, and not there", []sallyport.Instance{at("10.0.0.1:80", "")}, " []\n"},
		{"admitted", []sallyport.Instance{at("[fd00::1]:80", sallyport.Admitted), at("10.0.0.1:80", sallyport.Admitted), at("10.0.0.2:80", sallyport.Held)}, "\n                    - url: http://10.0.0.1:80\n                    - url: http://[fd00::1]:80\n"},
		{"not decided, and there", []sallyport.Instance{at("10.0.0.1:80", ""), at("[fd00::1]:80", sallyport.Quarantined)}, "\n                    - url: http://10.0.0.1:80\n"},
		{"one address twice", []sallyport.Instance{at("10.0.0.1:80", sallyport.Admitted), at("10.0.0.1:80", sallyport.Held)}, " []\n"},
	} {
		has, err := d.Apply(t.Context(), c.list)
		if err != nil || len(has) != len(c.list) {
			t.Fatal(has, err)
		}
		got, _ := os.ReadFile(file)
		if string(got) != head+c.want {
			t.Errorf("%s: %s", c.name, got)
		}
		for _, in := range has {
			if open := strings.Contains(string(got), in.URL+"\n"); open != (in.Admission == sallyport.Admitted) {
				t.Errorf("%s: %+v", c.name, in)
			}
		}
	}
	// What is there is no file of ours: nobody is in it, and it is written over.
	if err := os.WriteFile(file, []byte("{{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), []sallyport.Instance{at("10.0.0.1:80", "")}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != head+" []\n" {
		t.Errorf("%s", got)
	}
	if _, err := (&traefik.Door{File: filepath.Join(t.TempDir(), "none", "x.yaml"), Service: "notes"}).Apply(t.Context(), nil); err == nil {
		t.Error("there is no such folder")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".sallyport-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
