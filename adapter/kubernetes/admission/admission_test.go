package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/adapter/kubernetes/admission"
)

var (
	tested   = "sha256:" + strings.Repeat("a", 64)
	untested = "sha256:" + strings.Repeat("b", 64)
)

type verdicts struct{ fail bool }

func (v verdicts) Image(_ context.Context, api, digest string) (bool, string, error) {
	if v.fail {
		return false, "", errors.New("disk on fire at /secret/path")
	}
	if api == "shop" && digest == tested {
		return true, "", nil
	}
	return false, "there is no verdict on it; test it", nil
}

func pod(labels, spec string) string {
	return fmt.Sprintf(`{"metadata":{"name":"p","labels":{%s}},"spec":{%s}}`, labels, spec)
}

func runs(images ...string) string {
	var l []string
	for i, x := range images {
		l = append(l, fmt.Sprintf(`{"name":"c%d","image":%q}`, i, x))
	}
	return `"containers":[` + strings.Join(l, ",") + `]`
}

const shop = `"sallyport.dev/api":"shop"`

func deployment(own, labels, spec string) string {
	return fmt.Sprintf(`{"metadata":{"labels":{%s}},"spec":{"replicas":2,"template":%s}}`, own, pod(labels, spec))
}

func ask(t *testing.T, h *admission.Hook, group, resource, sub, op, ns, object, old string, dry bool) (bool, int, string) {
	t.Helper()
	if old == "" {
		old = "null"
	}
	if object == "" {
		object = "null"
	}
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","resource":{"group":%q,"version":"v1","resource":%q},"subResource":%q,"namespace":%q,"operation":%q,"object":%s,"oldObject":%s,"dryRun":%v}}`,
		group, resource, sub, ns, op, object, old, dry)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
	var a struct {
		APIVersion, Kind string
		Response         struct {
			UID     string
			Allowed bool
			Status  struct {
				Code    int
				Message string
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || a.Response.UID != "u1" || a.Kind != "AdmissionReview" || a.APIVersion != "admission.k8s.io/v1" {
		t.Fatalf("%s: %d %s", body, w.Code, w.Body)
	}
	return a.Response.Allowed, a.Response.Status.Code, a.Response.Status.Message
}

func TestReview(t *testing.T) {
	good, bad := "r.test/shop@"+tested, "r.test/shop@"+untested
	gate := `,"readinessGates":[{"conditionType":"sallyport.dev/tested"}]`
	held := shop + `,"sallyport.dev/held":"true"`
	for _, x := range []struct {
		what, group, resource, sub, op, ns, object, old string
		code                                            int // 0 = may be
		say                                             string
	}{
		{"tested", "", "pods", "", "CREATE", "retail", pod(shop, runs(good)), "", 0, ""},
		{"tested, with a tag too", "", "pods", "", "CREATE", "retail", pod(shop, runs("r.test:5000/shop:1.2@"+tested)), "", 0, ""},
		{"untested", "", "pods", "", "CREATE", "retail", pod(shop, runs(bad)), "", 403, "no verdict"},
		{"one of two", "", "pods", "", "CREATE", "retail", pod(shop, runs(good, bad)), "", 403, "c1"},
		{"a tag", "", "pods", "", "CREATE", "retail", pod(shop, runs("r.test/shop:1.2")), "", 403, "names no digest"},
		{"no tag", "", "pods", "", "CREATE", "retail", pod(shop, runs("shop")), "", 403, "names no digest"},
		{"half a digest", "", "pods", "", "CREATE", "retail", pod(shop, runs("shop@sha256:abc")), "", 403, "names no digest"},
		{"a digest in the middle", "", "pods", "", "CREATE", "retail", pod(shop, runs("shop@"+tested+"/evil")), "", 403, "names no digest"},
		{"a digest of another kind", "", "pods", "", "CREATE", "retail", pod(shop, runs("shop@sha512:"+strings.Repeat("a", 128))), "", 403, "names no digest"},
		{"init container", "", "pods", "", "CREATE", "retail", pod(shop, runs(good)+`,"initContainers":[{"name":"i","image":"x:1"}]`), "", 403, "container i"},
		{"image volume", "", "pods", "", "CREATE", "retail", pod(shop, runs(good)+`,"volumes":[{"name":"v","image":{"reference":"x:1"}}]`), "", 403, "volume v"},
		{"other volumes", "", "pods", "", "CREATE", "retail", pod(shop, runs(good)+`,"volumes":[{"name":"v","emptyDir":{}}]`), "", 0, ""},
		{"debug container", "", "pods", "ephemeralcontainers", "UPDATE", "retail", pod(shop, runs(good)+`,"ephemeralContainers":[{"name":"d","image":"busybox"}]`), pod(shop, runs(good)), 403, "container d"},
		{"sidecar", "", "pods", "", "CREATE", "retail", pod(shop, runs(good, "mesh.test/proxy:1@"+untested)), "", 0, ""},
		{"sidecar by tag", "", "pods", "", "CREATE", "retail", pod(shop, runs(good, "mesh.test/proxy:1")), "", 403, "names no digest"},
		{"like a sidecar", "", "pods", "", "CREATE", "retail", pod(shop, runs(good, "mesh.test/proxy/x@"+untested)), "", 403, "no verdict"},
		{"by annotation", "", "pods", "", "CREATE", "retail", `{"metadata":{"annotations":{` + shop + `}},"spec":{` + runs(bad) + `}}`, "", 403, "no verdict"},
		{"another API", "", "pods", "", "CREATE", "retail", pod(`"sallyport.dev/api":"desk"`, runs(good)), "", 403, "API desk"},
		{"no API", "", "pods", "", "CREATE", "retail", pod(`"app":"x"`, runs("x:latest")), "", 0, ""},
		{"exempt namespace", "", "pods", "", "CREATE", "kube-system", pod(shop, runs(bad)), "", 0, ""},

		{"held", "", "pods", "", "CREATE", "retail", pod(held, runs("shop:new")+gate), "", 0, ""},
		{"held, but traffic may come", "", "pods", "", "CREATE", "retail", pod(held, runs("shop:new")), "", 403, "readinessGates"},
		{"held: false", "", "pods", "", "CREATE", "retail", pod(shop+`,"sallyport.dev/held":"false"`, runs(bad)+gate), "", 403, "no verdict"},
		{"let go untested", "", "pods", "", "UPDATE", "retail", pod(shop, runs(bad)+gate), pod(held, runs(bad)+gate), 403, "no verdict"},
		{"let go tested", "", "pods", "", "UPDATE", "retail", pod(shop, runs(good)+gate), pod(held, runs(good)+gate), 0, ""},
		{"label taken away", "", "pods", "", "UPDATE", "retail", pod(`"a":"b"`, runs(bad)), pod(shop, runs(bad)), 403, "cannot be taken away"},
		{"finaliser of an old Pod", "", "pods", "", "UPDATE", "retail", pod(shop+`,"x":"y"`, runs(bad)), pod(shop, runs(bad)), 0, ""},
		{"image of a Pod changed", "", "pods", "", "UPDATE", "retail", pod(shop, runs(bad)), pod(shop, runs(good)), 403, "no verdict"},
		{"status", "", "pods", "status", "UPDATE", "retail", pod(shop, runs(bad)), "", 0, ""},

		{"deployment", "apps", "deployments", "", "CREATE", "retail", deployment(shop, shop, runs(good)), "", 0, ""},
		{"deployment untested", "apps", "deployments", "", "CREATE", "retail", deployment("", shop, runs(bad)), "", 403, "no verdict"},
		{"deployment whose Pods are not named", "apps", "deployments", "", "CREATE", "retail", deployment(shop, "", runs(bad)), "", 403, "Pod template"},
		{"deployment of two minds", "apps", "deployments", "", "CREATE", "retail", deployment(`"sallyport.dev/api":"desk"`, shop, runs(good)), "", 403, "on its Pods"},
		{"scaled", "apps", "deployments", "", "UPDATE", "retail", strings.Replace(deployment("", shop, runs(bad)), `"replicas":2`, `"replicas":9`, 1), deployment("", shop, runs(bad)), 0, ""},
		{"rolled out", "apps", "deployments", "", "UPDATE", "retail", deployment("", shop, runs(bad)), deployment("", shop, runs(good)), 403, "no verdict"},
		{"stateful set", "apps", "statefulsets", "", "CREATE", "retail", deployment("", shop, runs(bad)), "", 403, "no verdict"},
		{"daemon set", "apps", "daemonsets", "", "CREATE", "retail", deployment("", shop, runs(bad)), "", 403, "no verdict"},
		{"job", "batch", "jobs", "", "CREATE", "retail", deployment("", shop, runs(bad)), "", 403, "no verdict"},
		{"cron job", "batch", "cronjobs", "", "CREATE", "retail", `{"spec":{"jobTemplate":{"spec":{"template":` + pod(shop, runs(bad)) + `}}}}`, "", 403, "no verdict"},
		{"deleted", "apps", "deployments", "", "DELETE", "retail", "", deployment("", shop, runs(bad)), 0, ""},
		{"a kind that runs nothing", "", "secrets", "", "CREATE", "retail", `{"metadata":{"labels":{` + shop + `}}}`, "", 0, ""},
		{"pods of another group", "example.test", "pods", "", "CREATE", "retail", `[]`, "", 0, ""},
		{"no object", "", "pods", "", "CREATE", "retail", "", "", 400, "cannot be read"},
		{"object of another shape", "", "pods", "", "CREATE", "retail", `{"metadata":{"labels":[1]}}`, "", 400, "cannot be read"},
		{"too many", "", "pods", "", "CREATE", "retail", pod(shop, runs(make([]string, 300)...)), "", 403, "more than"},
	} {
		h := &admission.Hook{Verdicts: verdicts{}, Namespaces: []string{"kube-system"}, Images: []string{"mesh.test/proxy"}}
		for _, dry := range []bool{false, true} {
			allowed, code, message := ask(t, h, x.group, x.resource, x.sub, x.op, x.ns, x.object, x.old, dry)
			if allowed != (x.code == 0) || code != x.code || !strings.Contains(message, x.say) {
				t.Errorf("%s (dry run %v): %v %d %q, want %d with %q", x.what, dry, allowed, code, message, x.code, x.say)
			}
		}
		if c := h.Counts(); c.Refused > 1 || c.DryRun != 1 {
			t.Errorf("%s: counted %+v: a dry run leaves no trace but that it was one", x.what, c)
		}
	}
	bare := &admission.Hook{Verdicts: verdicts{}, RefuseBare: true}
	if ok, _, m := ask(t, bare, "", "pods", "", "CREATE", "retail", pod("", runs("x")), "", false); ok || !strings.Contains(m, "does not say which API") {
		t.Errorf("a Pod of no API: %v %q", ok, m)
	}
	// Without verdicts nothing opens, and nobody learns why.
	if ok, code, m := ask(t, &admission.Hook{Verdicts: verdicts{fail: true}}, "", "pods", "", "CREATE", "retail", pod(shop, runs(good)), "", false); ok || code != 503 || strings.Contains(m, "fire") {
		t.Errorf("verdicts that cannot be read: %v %d %q", ok, code, m)
	}
}

func TestWhatIsNoReview(t *testing.T) {
	h := &admission.Hook{Verdicts: verdicts{}}
	for _, x := range []struct {
		method, body string
		code         int
	}{
		{"GET", "", 405},
		{"POST", "", 400},
		{"POST", "null", 400},
		{"POST", "{", 400},
		{"POST", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, 400},
		{"POST", `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}`, 400},
		{"POST", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":""}}`, 400},
		{"POST", strings.Repeat("[", 1<<20), 400},
		{"POST", `{"apiVersion":"` + strings.Repeat("x", admission.MaxReview), 413},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(x.method, "/", strings.NewReader(x.body)))
		if w.Code != x.code {
			t.Errorf("%s %.80s: %d, want %d", x.method, x.body, w.Code, x.code)
		}
	}
}

func FuzzReview(f *testing.F) {
	f.Add([]byte(`{"metadata":{"labels":{"sallyport.dev/api":"shop"}},"spec":{"containers":[{"name":"c","image":"x@sha256:00"}]}}`))
	f.Add([]byte(`{"spec":{"template":null}}`))
	f.Add([]byte(`{"metadata":null,"spec":{"volumes":[{"image":null}]}}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		for _, kind := range []string{"pods", "deployments"} {
			group := map[string]string{"deployments": "apps"}[kind]
			q, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
				"uid": "u", "operation": "UPDATE", "resource": map[string]any{"group": group, "resource": kind}, "object": json.RawMessage(object), "oldObject": json.RawMessage(object)}})
			if err != nil {
				return
			}
			w := httptest.NewRecorder()
			(&admission.Hook{Verdicts: verdicts{}}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(q)))
			if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) && w.Code == 200 {
				t.Fatalf("%s: %d %s", q, w.Code, w.Body)
			}
		}
	})
}
