package traefik

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"sallyport.dev"
)

// A Door is a service of Traefik in a file of its own that its file provider
// watches. The file is written whole and put in place in one step, and only when
// something changes; routers name the service NAME@file. With nobody admitted the
// service has no servers, and Traefik answers 503.
type Door struct {
	File    string // written; nobody else writes it
	Service string
	Scheme  string // of the instances' URLs; "" = as the gate has them
}

// Name tells it from all others.
func (d *Door) Name() string { return "traefik " + d.Service + " by " + d.File }

// Instances lists nothing: the file has what it is told.
func (d *Door) Instances(context.Context) ([]sallyport.Instance, error) { return nil, nil }

type doorFile struct {
	HTTP struct {
		Services map[string]doorService `yaml:"services"`
	} `yaml:"http"`
}

type doorService struct {
	LoadBalancer struct {
		PassHostHeader bool         `yaml:"passHostHeader"`
		Servers        []doorServer `yaml:"servers"`
	} `yaml:"loadBalancer"`
}

type doorServer struct {
	URL string `yaml:"url"`
}

// Apply has the service made of the instances that are admitted.
func (d *Door) Apply(_ context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	b, err := os.ReadFile(d.File)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read what was written: %w", err)
	}
	var was doorFile
	_ = yaml.Unmarshal(b, &was) // what cannot be read has nobody, and is written over
	has := map[string]bool{}
	for _, s := range was.HTTP.Services[d.Service].LoadBalancer.Servers {
		has[s.URL] = true
	}
	at := func(in sallyport.Instance) string {
		scheme := d.Scheme
		if u, err := url.Parse(in.URL); scheme == "" && err == nil {
			scheme = u.Scheme
		}
		return scheme + "://" + in.Address.String()
	}
	shut, open := map[netip.AddrPort]bool{}, map[string]netip.AddrPort{}
	for _, in := range list {
		switch {
		case !in.Address.IsValid():
		case in.Admission == sallyport.Admitted, in.Admission == "" && has[at(in)]:
			open[at(in)] = in.Address
		case in.Admission != "":
			shut[in.Address] = true
		}
	}
	var next doorFile
	s := doorService{}
	s.LoadBalancer.PassHostHeader = true // without any member Traefik takes the service for a mistake
	s.LoadBalancer.Servers = []doorServer{}
	for u, a := range open {
		if !shut[a] {
			s.LoadBalancer.Servers = append(s.LoadBalancer.Servers, doorServer{u})
		}
	}
	slices.SortFunc(s.LoadBalancer.Servers, func(x, y doorServer) int { return strings.Compare(x.URL, y.URL) })
	next.HTTP.Services = map[string]doorService{d.Service: s}
	body, err := yaml.Marshal(next)
	if err != nil {
		return nil, err
	}
	text := append([]byte("# Written by sallyport; what is changed here is written over.\n"), body...)
	if string(text) != string(b) {
		if err := replace(d.File, text); err != nil {
			return nil, fmt.Errorf("write the service: %w", err)
		}
	}
	var out []sallyport.Instance
	for _, in := range list {
		if in.Admission = sallyport.Held; slices.Contains(s.LoadBalancer.Servers, doorServer{at(in)}) {
			in.Admission = sallyport.Admitted
		}
		out = append(out, in)
	}
	return out, nil
}

// replace puts a file in place in one step.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sallyport-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
