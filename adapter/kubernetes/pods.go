package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What the Pods of a service are marked with.
const (
	labelHeld     = "sallyport.dev/held"
	ConditionType = "sallyport.dev/tested" // readiness gate of a Pod
)

// A Service is what serves an API in a cluster. Run keeps Members told which
// addresses it has, and the Pods' readiness gates true only for those that
// Admitted says may serve. It reads EndpointSlices and Pods of one namespace and
// writes nothing but one condition of Pods' status. All functions are required.
type Service struct {
	Access    Access
	Namespace string
	Name      string
	Port      string // of the endpoints, by name or number; "" = the only one
	Log       *slog.Logger

	// Members is told the addresses whose containers are ready, whether or not
	// they are admitted; those of Pods that are held by a label are left out.
	Members func([]netip.AddrPort)
	// Restarted is told that containers of an address were started again.
	Restarted func(netip.AddrPort)
	// Admitted says whether an address may serve; settled false: nobody knows yet,
	// and what the Pod says stands.
	Admitted func(netip.AddrPort) (admitted, settled bool, why string)

	written, failed atomic.Uint64

	once sync.Once
	wake chan struct{}

	starts map[netip.AddrPort]string // by which start of its containers an address is known
}

type slice struct {
	Ports []struct {
		Name *string `json:"name"`
		Port *int    `json:"port"`
	} `json:"ports"`
	Endpoints []struct {
		Addresses  []string `json:"addresses"`
		Conditions struct {
			Ready       *bool `json:"ready"`
			Terminating *bool `json:"terminating"`
		} `json:"conditions"`
		Target *struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"targetRef"`
	} `json:"endpoints"`
}

type podObject struct {
	Metadata struct {
		Name    string            `json:"name"`
		UID     string            `json:"uid"`
		Labels  map[string]string `json:"labels"`
		Deleted *string           `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Gates []struct {
			Type string `json:"conditionType"`
		} `json:"readinessGates"`
	} `json:"spec"`
	Status struct {
		Conditions []condition       `json:"conditions"`
		Containers []containerStatus `json:"containerStatuses"`
	} `json:"status"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

type containerStatus struct {
	Name     string `json:"name"`
	ID       string `json:"containerID"`
	Restarts int    `json:"restartCount"`
	State    struct {
		Running *struct {
			Started string `json:"startedAt"`
		} `json:"running"`
	} `json:"state"`
}

// start names the start of a Pod's containers.
func (p *podObject) start() string {
	s := p.Metadata.UID
	for _, c := range p.Status.Containers {
		s += fmt.Sprintf(" %s %s %d", c.Name, c.ID, c.Restarts)
		if c.State.Running != nil {
			s += " " + c.State.Running.Started
		}
	}
	return s
}

func (p *podObject) condition(kind string) (condition, bool) {
	i := slices.IndexFunc(p.Status.Conditions, func(c condition) bool { return c.Type == kind })
	if i < 0 {
		return condition{}, false
	}
	return p.Status.Conditions[i], true
}

func (p *podObject) gated() bool {
	return slices.ContainsFunc(p.Spec.Gates, func(g struct {
		Type string `json:"conditionType"`
	}) bool {
		return g.Type == ConditionType
	})
}

// Counts says how many conditions were written, and how many looks or writings failed.
func (s *Service) Counts() (written, failed uint64) { return s.written.Load(), s.failed.Load() }

func (s *Service) init() {
	s.once.Do(func() { s.wake, s.starts = make(chan struct{}, 1), map[netip.AddrPort]string{} })
}

// Nudge has Run look now: who is admitted has changed. It never blocks.
func (s *Service) Nudge() {
	s.init()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Service) catalogue() *Catalogue { return &Catalogue{Access: s.Access} }

func (s *Service) slices() string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(s.Namespace) + "/endpointslices"
}

func (s *Service) pods() string { return "/api/v1/namespaces/" + url.PathEscape(s.Namespace) + "/pods" }

// Run looks after the service until ctx ends. What fails is tried again; what
// was told stands meanwhile.
func (s *Service) Run(ctx context.Context) error {
	s.init()
	for _, w := range []struct{ path, selector string }{{s.slices(), "kubernetes.io/service-name=" + s.Name}, {s.pods(), "sallyport.dev/api"}} {
		go s.watch(ctx, w.path, w.selector)
	}
	pause := time.Second
	for {
		err := s.look(ctx)
		wait := 30 * time.Second // a watch may have missed something
		if err != nil && ctx.Err() == nil {
			s.failed.Add(1)
			s.Log.Warn("kubernetes", "namespace", s.Namespace, "service", s.Name, "error", err)
			wait, pause = pause, min(2*pause, 30*time.Second)
		} else {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-time.After(wait):
		}
		select { // what changes together is looked at together
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// watch nudges whenever something of a collection changes.
func (s *Service) watch(ctx context.Context, path, selector string) {
	pause := time.Second
	for ctx.Err() == nil {
		body, err := s.catalogue().get(ctx, path, url.Values{"watch": {"1"}, "labelSelector": {selector}, "timeoutSeconds": {"300"}})
		if err == nil {
			b := make([]byte, 32<<10)
			for err == nil {
				var n int
				if n, err = body.Read(b); n > 0 { // what it says is read from the list
					pause = time.Second
					s.Nudge()
				}
			}
			body.Close()
		}
		if err != io.EOF {
			pause = min(2*pause, 30*time.Second)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// all reads a collection whole.
func (s *Service) all(ctx context.Context, path, selector string, item func(json.RawMessage) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	query := url.Values{"limit": {strconv.Itoa(pageSize)}, "labelSelector": {selector}}
	for n := 0; ; {
		body, err := s.catalogue().get(ctx, path, query)
		if err != nil {
			return err
		}
		var l struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []json.RawMessage `json:"items"`
		}
		err = json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&l)
		body.Close()
		if err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
		for _, x := range l.Items {
			if err := item(x); err != nil {
				return fmt.Errorf("list %s: %w", path, err)
			}
		}
		if n += len(l.Items); n > maxObjects {
			return fmt.Errorf("list %s: more than %d objects", path, maxObjects)
		}
		if l.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", l.Metadata.Continue)
	}
}

// port finds the port of a slice that is the service's.
func (s *Service) port(l *slice) (uint16, bool) {
	for _, p := range l.Ports {
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		if s.Port == strconv.Itoa(*p.Port) || s.Port == "" && len(l.Ports) == 1 || p.Name != nil && *p.Name != "" && *p.Name == s.Port {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

// look compares what there is with what should be.
func (s *Service) look(ctx context.Context) error {
	pods := map[string]*podObject{}
	err := s.all(ctx, s.pods(), "sallyport.dev/api", func(b json.RawMessage) error {
		p := &podObject{}
		err := json.Unmarshal(b, p)
		pods[p.Metadata.Name] = p
		return err
	})
	if err != nil {
		return err
	}
	var members []netip.AddrPort
	serves := map[netip.AddrPort]*podObject{}
	err = s.all(ctx, s.slices(), "kubernetes.io/service-name="+s.Name, func(b json.RawMessage) error {
		var l slice
		if err := json.Unmarshal(b, &l); err != nil {
			return err
		}
		port, ok := s.port(&l)
		if !ok {
			return nil
		}
		for _, e := range l.Endpoints {
			if len(e.Addresses) == 0 || e.Conditions.Terminating != nil && *e.Conditions.Terminating {
				continue
			}
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err != nil {
				continue
			}
			at := netip.AddrPortFrom(ip, port)
			var p *podObject
			if e.Target != nil && e.Target.Kind == "Pod" {
				p = pods[e.Target.Name]
			}
			if p == nil { // nothing else is known of it
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					members = append(members, at)
				}
				continue
			}
			serves[at] = p
			if c, _ := p.condition("ContainersReady"); c.Status == "True" && p.Metadata.Labels[labelHeld] != "true" && p.Metadata.Deleted == nil {
				members = append(members, at)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for at, p := range serves {
		if was, known := s.starts[at]; known && was != p.start() {
			s.Restarted(at)
		}
	}
	clear(s.starts)
	for at, p := range serves {
		s.starts[at] = p.start()
	}
	s.Members(members)
	var errs []error
	for at, p := range serves {
		if p.gated() && p.Metadata.Deleted == nil {
			errs = append(errs, s.judge(ctx, at, p, slices.Contains(members, at)))
		}
	}
	return errors.Join(errs...)
}

// judge writes a Pod's condition where it is not what it should be.
func (s *Service) judge(ctx context.Context, at netip.AddrPort, p *podObject, member bool) error {
	now, _ := p.condition(ConditionType)
	next := condition{ConditionType, "False", "NotReady", "its containers are not ready"}
	switch {
	case p.Metadata.Labels[labelHeld] == "true":
		next.Reason, next.Message = "Held", "held by the label "+labelHeld
	case member:
		admitted, settled, why := s.Admitted(at)
		if !settled && now.Status != "" {
			return nil
		}
		next.Reason, next.Message = "NotAdmitted", why
		if admitted {
			next.Status, next.Reason = "True", "Admitted"
		}
	}
	if len(next.Message) > 1000 {
		next.Message = strings.ToValidUTF8(next.Message[:1000], "") + "…"
	}
	if next == now {
		return nil
	}
	return s.patch(ctx, p, next, now.Status != next.Status)
}

func (s *Service) patch(ctx context.Context, p *podObject, c condition, turned bool) error {
	set := map[string]any{"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message}
	if turned {
		set["lastTransitionTime"] = time.Now().UTC().Format(time.RFC3339)
	}
	// The uid keeps the condition from a Pod of the same name that came after.
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.Metadata.UID}, "status": map[string]any{"conditions": []any{set}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	path := s.pods() + "/" + url.PathEscape(p.Metadata.Name) + "/status"
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, strings.TrimRight(s.Access.Server, "/")+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	if s.Access.Token != nil {
		token, err := s.Access.Token()
		if err != nil {
			return fmt.Errorf("token for kubernetes: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	client := s.Access.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("write the readiness of a Pod: %w", err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch res.StatusCode {
	case http.StatusOK:
		s.written.Add(1)
		s.Log.Info("readiness of a Pod", "namespace", s.Namespace, "pod", p.Metadata.Name, "tested", c.Status, "why", c.Message)
		return nil
	case http.StatusNotFound, http.StatusConflict: // it has gone, or is another
		return nil
	}
	var status struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(answer, &status)
	return &refusal{path, res.StatusCode, status.Message}
}
