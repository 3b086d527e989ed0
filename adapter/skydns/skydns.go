// Package skydns writes DNS records of an API's instances into etcd, as CoreDNS's
// etcd plugin and SkyDNS read them: one key for each address below the reversed
// name. In come the instances as the gate has judged them; out go the records of
// those that are admitted. The name is the gate's: any other record at or below
// it is taken out, for whoever is named there would be asked untested. It speaks to
// etcd's JSON gateway (/v3/kv), and never answers DNS itself.
package skydns

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev"
)

const maxAnswer = 8 << 20

// A Door is one name.
type Door struct {
	Etcd   string // http://host:port
	DNS    string // such as notes.svc.example.test
	Path   string // where CoreDNS looks; default /skydns
	TTL    int    // seconds for which resolvers may keep an answer; default 5
	Client *http.Client
}

// Name tells it from all others.
func (d *Door) Name() string { return "dns " + d.DNS + " at " + d.Etcd }

// Instances lists nothing: the name has what it is told.
func (d *Door) Instances(context.Context) ([]sallyport.Instance, error) { return nil, nil }

// base is the key of the name itself.
func (d *Door) base() string {
	labels := strings.Split(strings.ToLower(strings.Trim(d.DNS, ".")), ".")
	slices.Reverse(labels)
	return strings.TrimRight(cmp.Or(d.Path, "/skydns"), "/") + "/" + strings.Join(labels, "/")
}

// key is where the record of an address stands; it is a DNS label.
func (d *Door) key(a netip.AddrPort) string {
	return d.base() + "/sp-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.Addr().String()) + fmt.Sprintf("-%d", a.Port())
}

type record struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	TTL  int    `json:"ttl"`
}

func (d *Door) value(a netip.AddrPort) string {
	b, _ := json.Marshal(record{a.Addr().String(), int(a.Port()), cmp.Or(d.TTL, 5)})
	return string(b)
}

// Apply has the name resolve to the instances that are admitted.
func (d *Door) Apply(ctx context.Context, list []sallyport.Instance) ([]sallyport.Instance, error) {
	has, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read its records: %w", err)
	}
	shut, open := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for _, in := range list {
		switch {
		case !in.Address.IsValid():
		case in.Admission == sallyport.Admitted, in.Admission == "" && has[d.key(in.Address)] == d.value(in.Address):
			open[in.Address] = true
		case in.Admission != "":
			shut[in.Address] = true
		}
	}
	want := map[string]string{}
	for a := range open {
		if !shut[a] {
			want[d.key(a)] = d.value(a)
		}
	}
	var ops []any
	for k := range has { // what closes comes first
		if _, stays := want[k]; !stays {
			ops = append(ops, map[string]any{"requestDeleteRange": map[string]any{"key": b64(k)}})
		}
	}
	for k, v := range want {
		if has[k] != v {
			ops = append(ops, map[string]any{"requestPut": map[string]any{"key": b64(k), "value": b64(v)}})
		}
	}
	for part := range slices.Chunk(ops, 100) { // etcd takes 128 in one
		var done struct{ Succeeded bool }
		if err := d.ask(ctx, "txn", map[string]any{"success": part}, &done); err != nil || !done.Succeeded {
			return nil, fmt.Errorf("write its records: %w", cmp.Or(err, errors.New("etcd did not do it")))
		}
	}
	var out []sallyport.Instance
	for _, in := range list {
		if in.Address.IsValid() {
			if in.Admission = sallyport.Held; want[d.key(in.Address)] != "" {
				in.Admission = sallyport.Admitted
			}
			out = append(out, in)
		}
	}
	return out, nil
}

// read gives the records at and below the name.
func (d *Door) read(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, q := range []map[string]any{{"key": b64(d.base())}, {"key": b64(d.base() + "/"), "range_end": b64(d.base() + "0")}} {
		var got struct {
			Header *struct{}
			Kvs    []struct{ Key, Value string }
			More   bool
		}
		if err := d.ask(ctx, "range", q, &got); err != nil {
			return nil, err
		}
		if got.Header == nil || got.More {
			return nil, errors.New("the answer is not etcd's, or is cut")
		}
		for _, kv := range got.Kvs {
			k, err := base64.StdEncoding.DecodeString(kv.Key)
			v, err2 := base64.StdEncoding.DecodeString(kv.Value)
			if err := errors.Join(err, err2); err != nil {
				return nil, err
			}
			if s := string(k); s != d.base() && !strings.HasPrefix(s, d.base()+"/") {
				return nil, errors.New("etcd answers with other keys")
			}
			out[string(k)] = string(v)
		}
	}
	return out, nil
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// ask makes one call of etcd's JSON gateway.
func (d *Door) ask(ctx context.Context, what string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(d.Etcd, "/")+"/v3/kv/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := cmp.Or(d.Client, http.DefaultClient).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("etcd answers %d", res.StatusCode)
	case len(b) > maxAnswer:
		return errors.New("the answer is too large")
	}
	return json.Unmarshal(b, out)
}
