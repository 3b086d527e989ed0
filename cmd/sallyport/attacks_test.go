package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/test/lab/issuer"
	"sallyport.dev/test/lab/player"
	"sallyport.dev/test/lab/replay"
)

// Every attack of the demonstration is turned away by the stage that it names,
// as the console's record says, and its benign neighbour passes.
func TestAttacksEndAtTheirStage(t *testing.T) {
	s := newSite(t)
	recorded, err := replay.Linode()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := replay.LinodeSpec()
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(replay.NewUpstream(recorded))
	t.Cleanup(upstream.Close)
	srv := httptest.NewUnstartedServer(nil)
	all := []string{"account:read_only", "domains:read_only", "linodes:read_write", "support:read_write", "account:read_write", "images:read_only", "linodes:read_only"}
	idp, err := issuer.New("http://"+srv.Listener.Addr().String(), "linode", []issuer.Client{
		{ID: "app", Secret: "s", Subject: "svc-app", Scopes: all},
		{ID: "auditor", Secret: "s", Subject: "svc-auditor", Scopes: []string{"linodes:read_only"}},
		{ID: "noisy", Secret: "s", Subject: "svc-noisy", Scopes: all}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = idp
	srv.Start()
	t.Cleanup(srv.Close)
	write(t, filepath.Join(s.dir, "linode.yaml"), string(spec))
	write(t, filepath.Join(s.dir, "sallyport.yaml"), fmt.Sprintf(`listen: {gateway: "%s", console: "%s"}
tls: "off"
data: data
keys: file:keys/master.key
apis:
  - name: linode
    spec: linode.yaml
    match: {host: api.linode.com}
    upstreams: [{url: "%s"}]
    owner: {team: Compute, contact: compute@example.test}
    mode: enforce
    auth: {oidc: {issuer: "%s", audience: linode}}
    limits:
      - {rate: 120/min, burst: 120, per: client}
      - {rate: 100/min, burst: 80, per: principal}
`, s.gateway, s.console, upstream.URL, idp.URL))
	p := s.start(t)
	d := p.signIn(p.wait(`/setup#([A-Za-z0-9_-]{43})`)[1], password)

	a := &player.Attacker{Player: &player.Player{Gateway: s.gateway, Host: "api.linode.com"}, Issuer: idp, Client: "app", Reader: "auditor", Noisy: "noisy",
		Good: "/v4/regions", List: "/v4/linode/instances", Create: "/v4/support/tickets", Text: "description",
		CreateBody: `{"summary":"Disk is full","description":"Since this morning /var is at 100 %, please advise."}`, Forbidden: "/v4/linode/instances/12345"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	attacks := player.Attacks()
	ids := make([]string, len(attacks))
	for i := range attacks {
		at := &attacks[i]
		seen, err := at.Send(ctx, a)
		if err != nil {
			t.Errorf("%s: %v", at.Name, err)
			continue
		}
		if !at.Blocked(seen) {
			t.Errorf("%s: answered %s, want one of %v", at.Name, seen.Problem(), at.Want)
		}
		if seen.RequestID == "" {
			t.Errorf("%s: the refusal carries no request id", at.Name)
		}
		ids[i] = seen.RequestID
	}
	for i, id := range ids {
		if id == "" {
			continue
		}
		at := &attacks[i]
		eventually(t, 5*time.Second, func() string {
			var got struct {
				Decision struct {
					Stage, Action string
					Reasons       []struct{ Stage, Rule string }
				}
			}
			res, err := d.http.Get(d.base + "/decisions/" + id)
			if err != nil {
				return err.Error()
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				return fmt.Sprintf("%s: decision %s: %s", at.Name, id, res.Status)
			}
			d.do("GET", "/decisions/"+id, nil, 200, &got)
			if got.Decision.Stage != string(at.Stage) {
				t.Errorf("%s: refused by %q, want %q: %+v", at.Name, got.Decision.Stage, at.Stage, got.Decision.Reasons)
			}
			return ""
		})
	}
	p.stop()
}
