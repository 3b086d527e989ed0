package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/attest"
	console "sallyport.dev/console/api"
	"sallyport.dev/guard"
	"sallyport.dev/guard/authn"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/store"
)

// verdictConfig says who reports verdicts on images, and how long they are good.
type verdictConfig struct {
	Good      time.Duration    `yaml:"good" doc:"How long a verdict lets an image run. Default 720h."`
	Keep      time.Duration    `yaml:"keep" doc:"How long verdicts and their reports are kept. Default 9600h."`
	Reporters []reporterConfig `yaml:"reporters" doc:"Pipelines that report tests of images, by sallyport check --report."`
}

type reporterConfig struct {
	Name    string     `yaml:"name" need:"1" doc:"Its name, as verdicts say it."`
	APIs    stringList `yaml:"apis" need:"1" doc:"APIs that it reports about."`
	Hash    string     `yaml:"hash" doc:"sha256:<hex> of its token; sallyport key new makes both."`
	Expires time.Time  `yaml:"expires" doc:"When the token ends."`

	Issuer   string `yaml:"issuer" doc:"In place of hash: issuer of the pipeline's own OpenID Connect tokens."`
	Audience string `yaml:"audience" doc:"Audience that they must be made for."`
	Subject  string `yaml:"subject" doc:"Subject that they must have, such as repo:acme/shop:ref:refs/heads/main."`
}

func (c *config) checkVerdicts(bad func(string, string, ...any)) {
	v := &c.Verdicts
	if v.Good < 0 || v.Keep < 0 || cmp.Or(v.Keep, 9600*time.Hour) < cmp.Or(v.Good, 720*time.Hour) {
		bad("verdicts", "keep is at least as long as good")
	}
	names, audiences, subjects := map[string]bool{}, map[string]string{}, map[string]bool{}
	for i, r := range v.Reporters {
		p := fmt.Sprintf("verdicts.reporters[%d]", i)
		if names[r.Name] {
			bad(p+".name", "%q stands twice", r.Name)
		}
		names[r.Name] = true
		for j, name := range r.APIs {
			if !slices.ContainsFunc(c.APIs, func(a apiConfig) bool { return a.Name == name }) {
				bad(fmt.Sprintf("%s.apis[%d]", p, j), "no API is called %q", name)
			}
		}
		switch {
		case (r.Hash == "") == (r.Issuer == ""):
			bad(p, "want either hash, of a token, or issuer")
		case r.Hash != "":
			if keyed, _, err := (policy.Key{Hash: r.Hash}).Digest(); err != nil || keyed {
				bad(p+".hash", "want sha256: and 64 hexadecimal digits, as sallyport key new prints them")
			}
		case r.Audience == "" || r.Subject == "":
			bad(p, "issuer needs audience and subject: anybody may have a token of a public issuer")
		case audiences[r.Issuer] != "" && audiences[r.Issuer] != r.Audience:
			bad(p+".audience", "one issuer, one audience")
		case subjects[r.Issuer+" "+r.Subject]:
			bad(p+".subject", "stands twice")
		}
		audiences[r.Issuer] = r.Audience
		subjects[r.Issuer+" "+r.Subject] = r.Issuer != ""
	}
}

// reporters prove who reports.
type reporters struct {
	list   []reporterConfig
	verify *authn.Verifier
}

func (c *compiled) compileReporters(l lasting) (err error) {
	a := policy.Auth{}
	for _, r := range c.Verdicts.Reporters {
		if r.Hash != "" {
			a.Keys = append(a.Keys, policy.Key{ID: r.Name, Hash: r.Hash, Expires: r.Expires})
		} else if !slices.ContainsFunc(a.OIDC, func(o policy.OIDC) bool { return o.Issuer == r.Issuer }) {
			a.OIDC = append(a.OIDC, policy.OIDC{Issuer: r.Issuer, Audience: r.Audience})
		}
	}
	if !a.Enabled() {
		return nil
	}
	c.reporters = &reporters{list: c.Verdicts.Reporters}
	c.reporters.verify, err = authn.New(a, l.keys, authn.NewCache(64), nil)
	return err
}

// who proves a token; nil when it is nobody's.
func (r *reporters) who(ctx context.Context, token string, resolve func(context.Context, string, string) error) *reporterConfig {
	if r == nil || token == "" {
		return nil
	}
	now := time.Now()
	id, rule := r.verify.APIKey(token, now)
	if rule != "" && r.verify.Tokens() && strings.Count(token, ".") == 2 {
		var s authn.Scratch
		if rule = r.verify.Open(token, &s, now); rule == "" {
			if id, rule = r.verify.Prove(&s, now); rule == authn.RuleKey || rule == authn.RuleNoKeys {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				if resolve(ctx, s.Issuer(), s.KeyID()) == nil {
					id, rule = r.verify.Prove(&s, now)
				}
			}
		}
		if rule == "" && !r.verify.Plain(id) {
			return nil // bound to a key that is not shown here
		}
	}
	if rule != "" {
		return nil
	}
	for i, x := range r.list {
		if x.Hash != "" && id.Principal.Kind == "key" && id.Principal.Client == x.Name ||
			x.Issuer != "" && id.Principal.Issuer == x.Issuer && id.Principal.Subject == x.Subject {
			return &r.list[i]
		}
	}
	return nil
}

func (e *engine) openVerdicts(ctx context.Context, master []byte) error {
	key, err := attest.Key(master)
	if err != nil {
		return err
	}
	e.images, err = attest.Open(ctx, attest.Options{Store: e.store, Key: key, Good: e.cfg.Verdicts.Good, Keep: e.cfg.Verdicts.Keep})
	if err != nil {
		return fmt.Errorf("open the verdicts: %w", err)
	}
	return nil
}

var errNoSpec = sallyport.Errorf(sallyport.Invalid, "the API has no specification in files, which verdicts could be bound to")

// specDigest names what a specification says: all files that it is made of.
func specDigest(set *spec.Set) (string, error) {
	if set == nil || len(set.Files()) == 0 {
		return "", errNoSpec
	}
	var all [][]byte
	for _, f := range set.Files() {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all = append(all, b)
	}
	return attest.Digest(all), nil
}

// digests name the specifications in force, as they were when they came in force.
func (c *compiled) digests() map[string]string {
	out := map[string]string{}
	for _, a := range c.apis {
		if d, err := specDigest(a.Spec); err == nil {
			out[a.Name] = d
		}
	}
	return out
}

// ReportVerdict is part of the console's ImageVerdicts.
func (e *engine) ReportVerdict(ctx context.Context, token string, n attest.New) (attest.Verdict, error) {
	c := e.standing()
	r := c.reporters.who(ctx, token, e.keys.Resolve)
	switch {
	case r == nil:
		return attest.Verdict{}, sallyport.Errorf(sallyport.Unauthenticated, "want the token of a reporter: verdicts.reporters names them")
	case !slices.Contains(r.APIs, n.API):
		return attest.Verdict{}, sallyport.Errorf(sallyport.Forbidden, "%s does not report about this API", r.Name)
	}
	raw, err := attest.Unpack(n.Report)
	if err != nil {
		return attest.Verdict{}, err
	}
	n.Report = raw
	i := slices.IndexFunc(c.APIs, func(a apiConfig) bool { return a.Name == n.API })
	n.Reporter, n.Policy = r.Name, c.contract(&c.APIs[i])
	v, err := e.images.Add(ctx, n)
	if err == nil {
		e.log.Info("verdict on an image", "api", v.API, "image", v.Image, "passed", v.Passed, "verdict", v.ID, "profile", v.Profile, "reporter", v.Reporter)
	}
	return v, err
}

// ImageVerdicts is part of the console's ImageVerdicts.
func (e *engine) ImageVerdicts(ctx context.Context, api, image string, limit int64) ([]attest.Verdict, error) {
	return e.images.List(ctx, api, image, limit)
}

// ImageVerdict is part of the console's ImageVerdicts.
func (e *engine) ImageVerdict(ctx context.Context, id string) (attest.Verdict, []byte, error) {
	return e.images.Find(ctx, id)
}

// VerdictKey is part of the console's ImageVerdicts.
func (e *engine) VerdictKey() string { return attest.PublicPEM(e.images.Public()) }

var _ console.ImageVerdicts = (*engine)(nil)

// Run prints the key that verdicts are verified with.
func (k verdictKeyCmd) Run(_ context.Context, s streams) error {
	cfg, err := readConfig(k.Config)
	if err != nil {
		return err
	}
	master, err := store.LoadKey(cfg.Keys, cfg.Data)
	if err != nil {
		return err
	}
	key, err := attest.Key(master)
	if err != nil {
		return err
	}
	fmt.Fprint(s.out, attest.PublicPEM(publicOf(key)))
	return nil
}

// reportTo is where and as whom check reports.
type reportTo struct {
	Image       string `placeholder:"DIGEST" help:"Image that the target runs, as sha256:… or repository@sha256:…."`
	Report      string `placeholder:"URL" help:"Console that the verdict on the image is reported to, which signs and keeps it."`
	As          string `placeholder:"API" help:"Name of the API there. Default: the name that was given."`
	ReportToken string `default:"env:SALLYPORT_TOKEN" placeholder:"REF" help:"Token of the reporter, as env:NAME or file:PATH."`
	ReportCA    string `type:"existingfile" placeholder:"FILE" help:"PEM file with the authorities that the console's certificate is checked against."`
}

func (r reportTo) check(of string) (api, image string, err error) {
	if r.Report == "" && r.Image == "" {
		return "", "", nil
	}
	u, err := url.Parse(r.Report)
	image, ok := attest.Image(r.Image)
	switch {
	case r.Report == "" || r.Image == "":
		return "", "", fmt.Errorf("%w: --image and --report go together", errConfig)
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return "", "", fmt.Errorf("%w: --report wants https://host[:port] (http on this machine only)", errConfig)
	case !ok:
		return "", "", fmt.Errorf("%w: --image wants a digest, sha256: and 64 hexadecimal digits; a tag can be another image tomorrow", errConfig)
	}
	return cmp.Or(r.As, of), image, nil
}

// send reports and says what became of it.
func (r reportTo) send(ctx context.Context, api, image string, set *spec.Set, report *conformance.Report, say io.Writer) error {
	token, err := secretOnly(r.ReportToken)
	if err != nil {
		return fmt.Errorf("%w: --report-token: %v", errConfig, err)
	}
	digest, err := specDigest(set)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(report)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"api": api, "image": image, "spec": digest, "report": attest.Pack(raw)})
	if err != nil {
		return err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if r.ReportCA != "" {
		pem, err := os.ReadFile(r.ReportCA)
		if err != nil {
			return err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%w: %s holds no certificate", errConfig, r.ReportCA)
		}
	}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(r.Report, "/")+"/api/v1/verdicts", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("report the verdict: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("report the verdict: %w", err)
	}
	if res.StatusCode != http.StatusCreated {
		var problem struct {
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(b, &problem)
		return fmt.Errorf("report the verdict: the console answers %d: %s", res.StatusCode, problem.Detail)
	}
	var kept struct {
		Verdict console.ImageVerdict `json:"verdict"`
	}
	if err := json.Unmarshal(b, &kept); err != nil || kept.Verdict.Image != image {
		return errors.New("report the verdict: the answer cannot be read")
	}
	word := "failed"
	if kept.Verdict.Passed {
		word = "passed"
	}
	fmt.Fprintf(say, "verdict %s: %s %s as %s, good until %s\n", kept.Verdict.ID, image, word, api, kept.Verdict.Expires.Format(time.DateOnly))
	return nil
}

// imageJudge answers for the admission webhook.
type imageJudge struct {
	e       *engine
	profile string
}

// Image is part of admission.Verdicts.
func (j imageJudge) Image(ctx context.Context, api, digest string) (bool, string, error) {
	c := j.e.standing()
	i := slices.IndexFunc(c.apis, func(a guard.API) bool { return a.Name == api })
	if i < 0 {
		return false, "no API of that name is configured", nil
	}
	d := c.specs[api]
	if d == "" {
		return false, errNoSpec.Error(), nil
	}
	return j.e.images.Judge(ctx, api, digest, d, j.profile)
}

// standing is the configuration in force.
func (e *engine) standing() *compiled {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}
