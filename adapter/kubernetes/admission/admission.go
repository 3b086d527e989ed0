// Package admission answers a cluster that asks whether a workload may be made
// (a validating admission webhook, AdmissionReview v1). In come Pods and what
// makes Pods, as the API server sends them; out goes yes, or no with what to do.
//
// What names an API by sallyport.dev/api may only run images by digest that
// have a verdict on them. What is marked sallyport.dev/held may run any, and
// must wait at a readiness gate, so that no Service sends it traffic. Nothing is
// ever changed or remembered; a dry run is answered like any other. It never
// asks the cluster anything and never dials.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// What workloads are marked with.
const (
	API  = "sallyport.dev/api"    // label or annotation of a Pod: the API that it serves
	Held = "sallyport.dev/held"   // label of a Pod, "true": it gets no traffic
	Gate = "sallyport.dev/tested" // readiness gate of a Pod: true once its instance is admitted
)

// Bounds of one question.
const (
	MaxReview  = 8 << 20 // an object and the one before it, of at most 3 MiB each
	maxImages  = 200
	maxMessage = 2000
	within     = 8 * time.Second // the API server waits for 10 s by default
	most       = 64              // questions under way at once
)

// Verdicts say whether an image may run as an API.
type Verdicts interface {
	// Image gives false and what to do when it may not. Digest is sha256:…
	Image(ctx context.Context, api, digest string) (ok bool, why string, err error)
}

// A Hook answers reviews. It is safe for concurrent use.
type Hook struct {
	Verdicts   Verdicts
	Namespaces []string // not looked at
	Images     []string // repositories whose images need no verdict, by digest only: of sidecars
	RefuseBare bool     // Pods that name no API are refused
	Log        *slog.Logger

	asked, refused, exempt, strange, failed, busy, dry atomic.Uint64
	underway                                           atomic.Int64
}

// Counts are of reviews since the start.
type Counts struct {
	Asked, Refused, Exempt uint64 // Exempt: by namespace
	Strange                uint64 // not readable
	Failed                 uint64 // no verdict could be read, and so refused
	Busy                   uint64 // more under way than are taken
	DryRun                 uint64
}

// Counts says how the hook fares.
func (h *Hook) Counts() Counts {
	return Counts{h.asked.Load(), h.refused.Load(), h.exempt.Load(), h.strange.Load(), h.failed.Load(), h.busy.Load(), h.dry.Load()}
}

type review struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Request    *request `json:"request,omitempty"`
}

type request struct {
	UID         string          `json:"uid"`
	Resource    resource        `json:"resource"`
	SubResource string          `json:"subResource"`
	Name        string          `json:"name"`
	Namespace   string          `json:"namespace"`
	Operation   string          `json:"operation"`
	Object      json.RawMessage `json:"object"`
	OldObject   json.RawMessage `json:"oldObject"`
	DryRun      bool            `json:"dryRun"`
}

type resource struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
}

type answer struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Response   response `json:"response"`
}

type response struct {
	UID      string   `json:"uid"`
	Allowed  bool     `json:"allowed"`
	Status   *status  `json:"status,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

// ServeHTTP answers one review. What cannot be read is answered by 400, and by
// the API server then as failurePolicy says.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.underway.Add(1) > most {
		h.underway.Add(-1)
		h.busy.Add(1)
		http.Error(w, "too many reviews at once", http.StatusServiceUnavailable)
		return
	}
	defer h.underway.Add(-1)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "reviews come by POST", http.StatusMethodNotAllowed)
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxReview))
	var v review
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		h.strange.Add(1)
		http.Error(w, "larger than 8 MiB", http.StatusRequestEntityTooLarge)
		return
	case err != nil || v.Kind != "AdmissionReview" || v.APIVersion != "admission.k8s.io/v1" || v.Request == nil || v.Request.UID == "" || len(v.Request.UID) > 128:
		h.strange.Add(1)
		http.Error(w, "want an AdmissionReview of admission.k8s.io/v1 with a request", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	q := v.Request
	h.asked.Add(1)
	if q.DryRun {
		h.dry.Add(1)
	}
	out := answer{v.APIVersion, v.Kind, response{UID: q.UID, Allowed: true}}
	if no := h.judge(ctx, q); no != nil {
		if len(no.Message) > maxMessage {
			no.Message = strings.ToValidUTF8(no.Message[:maxMessage], "") + "…"
		}
		out.Response.Allowed, out.Response.Status = false, no
		if !q.DryRun {
			h.refused.Add(1)
			if h.Log != nil {
				h.Log.Warn("workload refused", "namespace", q.Namespace, "resource", q.Resource.Resource, "name", q.Name, "why", no.Message)
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(out)
}

// workload is what is looked at of a Pod, or of the template of Pods.
type workload struct {
	Metadata meta `json:"metadata"`
	Spec     pods `json:"spec"`
}

type meta struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type pods struct {
	Containers     []container `json:"containers"`
	Init           []container `json:"initContainers"`
	Ephemeral      []container `json:"ephemeralContainers"`
	ReadinessGates []struct {
		Type string `json:"conditionType"`
	} `json:"readinessGates"`
	Volumes []struct {
		Name  string `json:"name"`
		Image *struct {
			Reference string `json:"reference"`
		} `json:"image"`
	} `json:"volumes"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

func (m meta) api() string {
	if a := m.Labels[API]; a != "" {
		return a
	}
	return m.Annotations[API]
}

// images are all that run, with the place that they stand at.
func (p *pods) images() (out []container) {
	out = slices.Concat(p.Containers, p.Init, p.Ephemeral)
	for _, v := range p.Volumes {
		if v.Image != nil {
			out = append(out, container{"volume " + v.Name, v.Image.Reference})
		}
	}
	return out
}

// read finds the Pod, or the template of Pods, of an object; outer is the
// object's own metadata where that is not the Pod's. ok is false for kinds that
// make no Pods.
func read(kind resource, object json.RawMessage) (w *workload, outer meta, ok bool, err error) {
	if len(object) == 0 || string(object) == "null" {
		return nil, outer, true, nil
	}
	switch kind.Group + "/" + kind.Resource {
	case "/pods":
		w = &workload{}
		return w, outer, true, json.Unmarshal(object, w)
	case "apps/deployments", "apps/statefulsets", "apps/daemonsets", "apps/replicasets", "batch/jobs", "/replicationcontrollers":
		var o struct {
			Metadata meta `json:"metadata"`
			Spec     struct {
				Template workload `json:"template"`
			} `json:"spec"`
		}
		err = json.Unmarshal(object, &o)
		return &o.Spec.Template, o.Metadata, true, err
	case "batch/cronjobs":
		var o struct {
			Metadata meta `json:"metadata"`
			Spec     struct {
				Job struct {
					Spec struct {
						Template workload `json:"template"`
					} `json:"spec"`
				} `json:"jobTemplate"`
			} `json:"spec"`
		}
		err = json.Unmarshal(object, &o)
		return &o.Spec.Job.Spec.Template, o.Metadata, true, err
	}
	return nil, outer, false, nil
}

func forbidden(format string, args ...any) *status {
	return &status{http.StatusForbidden, "Forbidden", "sallyport: " + fmt.Sprintf(format, args...)}
}

// judge is nil when the object may be.
func (h *Hook) judge(ctx context.Context, q *request) *status {
	if slices.Contains(h.Namespaces, q.Namespace) {
		h.exempt.Add(1)
		return nil
	}
	if q.Operation != "CREATE" && q.Operation != "UPDATE" || q.SubResource != "" && q.SubResource != "ephemeralcontainers" {
		return nil
	}
	now, outer, known, err := read(q.Resource, q.Object)
	if !known {
		return nil
	}
	var before *workload
	if err == nil && q.Operation == "UPDATE" {
		before, _, _, err = read(q.Resource, q.OldObject)
	}
	if err != nil || now == nil {
		h.strange.Add(1)
		return &status{http.StatusBadRequest, "BadRequest", "sallyport: the object cannot be read"}
	}
	api, held := now.Metadata.api(), now.Metadata.Labels[Held] == "true"
	list := now.Spec.images()
	pod := q.Resource.Resource == "pods"
	switch {
	case before != nil && same(now, before):
		return nil // scaled, or its status or owner changed: each new Pod is asked about by itself
	case before != nil && pod && before.Metadata.api() != api && before.Metadata.api() != "":
		return forbidden("%s of a Pod cannot be taken away or changed; make a new Pod", API)
	case api == "" && outer.api() != "":
		return forbidden("%s stands on the %s, and not on its Pods: put it into the labels of the Pod template too, for Pods are what runs", API, singular(q.Resource.Resource))
	case api == "" && h.RefuseBare:
		return forbidden("this Pod does not say which API it serves: label it %s: NAME, or take its namespace out", API)
	case api == "":
		return nil
	case outer.api() != "" && outer.api() != api:
		return forbidden("%s is %q on the object and %q on its Pods", API, clip(outer.api()), clip(api))
	case len(list) > maxImages:
		return forbidden("more than %d containers", maxImages)
	case held && !gated(now):
		return forbidden("what is labelled %s needs the readiness gate that keeps traffic from it: readinessGates: [{conditionType: %s}]", Held, Gate)
	case held:
		return nil
	}
	for _, c := range list {
		if no := h.image(ctx, api, c); no != nil {
			return no
		}
	}
	return nil
}

var byDigest = regexp.MustCompile(`@(sha256:[0-9a-f]{64})$`)

// image is nil when a container may run.
func (h *Hook) image(ctx context.Context, api string, c container) *status {
	m := byDigest.FindStringSubmatch(c.Image)
	if m == nil {
		return forbidden("container %s of API %s runs %q, which names no digest: a tag can be another image tomorrow. Name what was tested, as repository@sha256:…", clip(c.Name), clip(api), clip(c.Image))
	}
	if h.sidecar(strings.TrimSuffix(c.Image, m[0])) {
		return nil
	}
	ok, why, err := h.Verdicts.Image(ctx, api, m[1])
	if err != nil {
		h.failed.Add(1)
		if h.Log != nil {
			h.Log.Error("no verdict can be read", "api", api, "error", err)
		}
		return &status{http.StatusServiceUnavailable, "ServiceUnavailable", "sallyport: verdicts cannot be read at present; its log says why"}
	}
	if !ok {
		return forbidden("container %s may not run %s as API %s: %s. For a first test without traffic label the Pods %s: \"true\"", clip(c.Name), m[1], clip(api), why, Held)
	}
	return nil
}

// sidecar reports whether a repository needs no verdict.
func (h *Hook) sidecar(repository string) bool {
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i] // a tag beside the digest
	}
	return slices.Contains(h.Images, repository)
}

func gated(w *workload) bool {
	for _, g := range w.Spec.ReadinessGates {
		if g.Type == Gate {
			return true
		}
	}
	return false
}

// same reports whether nothing that is judged by has changed.
func same(a, b *workload) bool {
	return a.Metadata.api() == b.Metadata.api() && a.Metadata.Labels[Held] == b.Metadata.Labels[Held] && gated(a) == gated(b) && slices.Equal(a.Spec.images(), b.Spec.images())
}

func singular(resource string) string { return strings.TrimSuffix(resource, "s") }

func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
