package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/adapter/kubernetes/admission"
	"sallyport.dev/gateway/cert"
)

// clusterConfig is the cluster whose workloads the gate looks after.
type clusterConfig struct {
	At    string `yaml:"at" doc:"Where its API server is, for upstreams that are services of it: in-cluster, a kubeconfig file, or https://host:port."`
	Token string `yaml:"token" doc:"Bearer token for https://host:port, as env:NAME or file:PATH."`
	CA    string `yaml:"ca" doc:"PEM file with the authorities that its certificate is checked against."`

	Webhook *webhookConfig `yaml:"webhook" doc:"Validating admission webhook: which images may run. Default none."`
}

type webhookConfig struct {
	Listen     string     `yaml:"listen" need:"1" doc:"host:port that the API server asks at, over TLS."`
	TLS        doorTLS    `yaml:"tls" doc:"Certificate for the name that the cluster asks by; client_ca: the API server's own is demanded."`
	Profile    string     `yaml:"profile" enum:"safe|full|deep" doc:"Least profile of a verdict that lets an image run. Default full."`
	Namespaces stringList `yaml:"exempt_namespaces" doc:"Namespaces that are not looked at."`
	Images     stringList `yaml:"exempt_images" doc:"Repositories whose images need no verdict, by digest all the same: those of sidecars."`
	Unlabelled string     `yaml:"unlabelled" enum:"allow|refuse" doc:"What becomes of Pods that name no API. Default allow."`
}

func (c *config) checkCluster(bad func(string, string, ...any)) {
	k := c.Kubernetes
	for i, a := range c.APIs {
		for j, u := range a.Upstreams {
			if u.Kubernetes == nil {
				continue
			}
			p := fmt.Sprintf("apis[%d].upstreams[%d].kubernetes", i, j)
			if k == nil || k.At == "" {
				bad(p, "kubernetes.at is missing: where is the cluster's API server?")
			}
			if why := u.Kubernetes.wrong(); why != "" {
				bad(p, "%s", why)
			}
			if !c.has(roleControl) {
				bad(p, "the cluster is watched where control is")
			}
		}
	}
	if k == nil {
		return
	}
	if k.At != "" && k.At != inCluster && !strings.Contains(k.At, "://") {
		k.At = c.path(k.At)
	}
	k.CA = c.path(k.CA)
	if strings.Contains(k.At, "://") && !strings.HasPrefix(k.At, "https://") && !strings.HasPrefix(k.At, "http://127.0.0.1:") {
		bad("kubernetes.at", "%q: want in-cluster, a kubeconfig file, or https://host:port", k.At)
	}
	if k.Token != "" && !strings.HasPrefix(k.Token, "env:") && !strings.HasPrefix(k.Token, "file:") {
		bad("kubernetes.token", "write env:NAME or file:PATH")
	}
	if w := k.Webhook; w != nil {
		w.TLS.Cert, w.TLS.Key, w.TLS.ClientCA = c.path(w.TLS.Cert), c.path(w.TLS.Key), c.path(w.TLS.ClientCA)
		p := "kubernetes.webhook"
		if _, port, err := net.SplitHostPort(w.Listen); err != nil || port == "" {
			bad(p+".listen", "%q is not host:port", w.Listen)
		}
		if w.TLS.Cert == "" || w.TLS.Key == "" {
			bad(p+".tls", "API servers ask over TLS alone: give cert and key")
		}
		if w.Profile != "" && !slices.Contains([]string{"safe", "full", "deep"}, w.Profile) {
			bad(p+".profile", "%q is not one of safe, full, deep", w.Profile)
		}
		if w.Unlabelled != "" && w.Unlabelled != "allow" && w.Unlabelled != "refuse" {
			bad(p+".unlabelled", "%q is neither allow nor refuse", w.Unlabelled)
		}
		for i, r := range w.Images {
			if strings.ContainsAny(r, "*@ ") || !strings.Contains(r, "/") {
				bad(fmt.Sprintf("%s.exempt_images[%d]", p, i), "%q: want a whole repository such as registry.example.test/mesh/proxy", r)
			}
		}
		if !c.has(roleControl) {
			bad(p, "verdicts are kept where control is")
		}
	}
}

// openWebhook listens for the API server's questions; nil: none is configured.
func (e *engine) openWebhook(ctx context.Context) (func(context.Context) error, error) {
	if e.cfg.Kubernetes == nil || e.cfg.Kubernetes.Webhook == nil {
		return nil, nil
	}
	w := e.cfg.Kubernetes.Webhook
	keeper := &cert.Keeper{CertFile: w.TLS.Cert, KeyFile: w.TLS.Key, Log: e.log}
	if err := keeper.Load(); err != nil {
		return nil, fmt.Errorf("kubernetes.webhook.tls: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: keeper.GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	if w.TLS.ClientCA != "" {
		pem, err := os.ReadFile(w.TLS.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("kubernetes.webhook.tls: %w", err)
		}
		if t.ClientCAs = x509.NewCertPool(); !t.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kubernetes.webhook.tls: %s holds no certificate", w.TLS.ClientCA)
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", w.Listen)
	if err != nil {
		return nil, fmt.Errorf("kubernetes.webhook.listen: %w", err)
	}
	e.hook = &admission.Hook{Verdicts: imageJudge{e, cmp.Or(w.Profile, "full")}, Namespaces: w.Namespaces, Images: w.Images, RefuseBare: w.Unlabelled == "refuse", Log: e.log}
	mux := http.NewServeMux()
	mux.Handle("/admit", e.hook)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	srv := &http.Server{Handler: mux, TLSConfig: t, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug)}
	fmt.Fprintf(e.out, "webhook  https://%s/admit\n", ln.Addr())
	return func(ctx context.Context) error {
		end := context.AfterFunc(ctx, func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			srv.Shutdown(closing)
		})
		defer end()
		if err := srv.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, nil
}

// clusterMetrics are the webhook's counters for Prometheus.
type clusterMetrics struct{ e *engine }

var hookCount = prometheus.NewDesc("sallyport_admission_reviews_total", "Reviews of the admission webhook: asked, refused, exempt (by namespace), strange (not readable), failed (no verdict could be read), busy (more than are taken), dry_run.", []string{"what"}, nil)

var readyCount = prometheus.NewDesc("sallyport_cluster_readiness_total", "Conditions of Pods that were written, and looks at the cluster or writings that failed.", []string{"api", "namespace", "service", "what"}, nil)

// Describe is part of prometheus.Collector.
func (m clusterMetrics) Describe(to chan<- *prometheus.Desc) { to <- hookCount; to <- readyCount }

// Collect is part of prometheus.Collector.
func (m clusterMetrics) Collect(to chan<- prometheus.Metric) {
	type service struct{ api, namespace, name string }
	written, failed := map[service]uint64{}, map[service]uint64{}
	m.e.cluster.mu.Lock()
	for k, s := range m.e.cluster.running {
		w, f := s.Counts()
		x := service{k.api, k.Namespace, k.clusterService.Service}
		written[x] += w
		failed[x] += f
	}
	m.e.cluster.mu.Unlock()
	for k, n := range written {
		to <- prometheus.MustNewConstMetric(readyCount, prometheus.CounterValue, float64(n), k.api, k.namespace, k.name, "written")
		to <- prometheus.MustNewConstMetric(readyCount, prometheus.CounterValue, float64(failed[k]), k.api, k.namespace, k.name, "failed")
	}
	if m.e.hook == nil {
		return
	}
	c := m.e.hook.Counts()
	for what, n := range map[string]uint64{"asked": c.Asked, "refused": c.Refused, "exempt": c.Exempt, "strange": c.Strange, "failed": c.Failed, "busy": c.Busy, "dry_run": c.DryRun} {
		to <- prometheus.MustNewConstMetric(hookCount, prometheus.CounterValue, float64(n), what)
	}
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }
