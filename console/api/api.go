package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sallyport.dev"
	"sallyport.dev/console/account"
	"sallyport.dev/console/audit"
)

func init() {
	// An empty list is [], never null: clients need not tell the two apart.
	huma.DefaultArrayNullable = false
}

// Options are what an API answers from. All but Originals are required.
type Options struct {
	Journal   Journal
	Originals Originals // nil: none are kept
	Inventory Inventory
	Recorder  Recorder
	Stream    Stream
	Engine    Engine
	Sideloads Sideloads // nil: none
	Gate      Gate      // nil: none
	Learning  Learning  // nil: nothing is learned
	Incidents Incidents // nil: none are kept
	Paces     Paces
	Build     Build
	Book      *account.Book
	Sessions  *account.Sessions
	Audit     *audit.Log
	Cookie    string // name of the session's cookie, for the document
	Retention []Retention
	Logger    *slog.Logger
	Now       func() time.Time
}

// Retention says how long something is kept, for people.
type Retention struct {
	What string `json:"what" maxLength:"200" doc:"What is kept"`
	Kept string `json:"kept" maxLength:"200" doc:"For how long, or how much"`
}

// An API is the management API. It is safe for concurrent use.
type API struct {
	Options
	mux      *http.ServeMux
	huma     huma.API
	document []byte
	desk     desk

	limitDesk limitDesk
	streams   atomic.Int64
	closing   chan struct{}
	close     sync.Once
}

// Where the API lives.
const (
	Prefix       = "/api/v1"
	DocumentPath = "/api/openapi.json"
)

// maxStreams bounds the live streams of one process; each holds a goroutine
// and a small buffer.
const maxStreams = 256

// maxBody bounds a request's body; the largest the API takes is a few hundred
// bytes.
const maxBody = 16 << 10

// New registers every operation. Errors are mistakes of the registration.
func New(o Options) (*API, error) {
	a := &API{Options: o, mux: http.NewServeMux(), closing: make(chan struct{})}
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Sallyport management API",
				Description: "What the console sees and does. Answers that are not 2xx are problem documents (RFC 9457). Live streams are server-sent events.",
				Version:     "1",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "/"}},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{"session": {
					Type: "apiKey", In: "cookie", Name: o.Cookie,
					Description: "Server-side session, begun by createSession. HttpOnly, Secure, SameSite=Strict.",
				}, "reporter": {
					Type: "http", Scheme: "bearer", Description: "Token of a pipeline that reports verdicts on images; it opens nothing else.",
				}},
			},
			Tags: []*huma.Tag{
				{Name: "session", Description: "Signing in and out, the first administrator, one's own password and sessions"},
				{Name: "overview", Description: "What is going on now"},
				{Name: "inventory", Description: "APIs and their operations"},
				{Name: "decisions", Description: "What was decided about requests, and why"},
				{Name: "gate", Description: "Tests of instances before they serve, and what they found"},
				{Name: "relief", Description: "What spares upstreams work before anyone is turned away"},
				{Name: "limits", Description: "How often something may happen, how much of something may be used, and how often callers ask"},
				{Name: "incidents", Description: "Investigations: what failed, who deals with it, until when"},
				{Name: "administration", Description: "People, sessions and the audit log"},
			},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{withoutValues},
	})
	a.huma.UseMiddleware(a.admit)

	a.sessionOperations()
	a.administration()
	a.overviewOperations()
	a.cacheOperations()
	a.credentialOperations()
	a.certificateOperations()
	a.poolOperations()
	a.doorOperations()
	a.catalogueOperations()
	a.sourceOperations()
	a.inventoryOperations()
	a.deskOperations()
	a.decisionOperations()
	a.reliefOperations()
	a.gateOperations()
	a.gateTriggers()
	a.imageOperations()
	a.limitOperations()
	a.demandOperations()
	a.incidentOperations()
	a.scanOperations()
	a.learnedOperations()
	a.templateOperations()

	var err error
	if a.document, err = render(a.huma.OpenAPI()); err != nil {
		return nil, fmt.Errorf("render the OpenAPI document: %w", err)
	}
	a.mux.HandleFunc("GET "+DocumentPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(a.document)
	})
	return a, nil
}

// ServeHTTP answers one request whose session has been loaded.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if _, pattern := a.mux.Handler(r); pattern == "" {
		// No operation. The mux knows whether the path has another method, but its
		// own answers are no problem documents.
		probe := &headerOnly{header: http.Header{}}
		a.mux.ServeHTTP(probe, r)
		if allow := probe.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			Fail(w, http.StatusMethodNotAllowed, "this path does not know the method")
			return
		}
		Fail(w, http.StatusNotFound, "there is nothing at this path; "+DocumentPath+" describes what there is")
		return
	}
	a.mux.ServeHTTP(w, r)
}

type headerOnly struct{ header http.Header }

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h *headerOnly) WriteHeader(int)             {}

// Document is the OpenAPI document; it must not be changed.
func (a *API) Document() []byte { return a.document }

// Close ends all live streams, so that a server can shut down.
func (a *API) Close() { a.close.Do(func() { close(a.closing) }) }

// render writes o with sorted keys, completed by what the registration cannot
// say: the document itself, and that error bodies are closed too.
func render(o *huma.OpenAPI) ([]byte, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	doc["paths"].(map[string]any)[DocumentPath] = map[string]any{"get": map[string]any{
		"operationId": "getDocument",
		"summary":     "This document",
		"tags":        []string{"session"},
		"security":    []any{},
		"responses": map[string]any{"200": map[string]any{
			"description": "OpenAPI 3.1",
			"content":     map[string]any{"application/json": map[string]any{"schema": map[string]any{"type": "object"}}},
		}},
	}}
	return json.MarshalIndent(doc, "", " ")
}

// Fail answers with a problem document (RFC 9457).
func Fail(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}

// withoutValues keeps what a caller sent out of the errors about it: one of the
// values is a password.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		for _, d := range e.Errors {
			if d != nil {
				d.Value = nil
			}
		}
	}
	return v, nil
}

// access says who may call an operation.
type access string

const (
	public access = "public"
	viewer access = "viewer" // anyone who is signed in
	admin  access = "admin"
)

// spec is the part of an operation that differs between them.
type spec struct {
	id, method, path, summary, tag string
	access                         access
	status                         int   // of success; default 200
	errors                         []int // beside those that follow from the rest
	bytes                          int64 // most of a request's body; default maxBody
}

func (a *API) operation(s spec) huma.Operation {
	op := huma.Operation{
		OperationID: s.id, Method: s.method, Path: Prefix + s.path, Summary: s.summary, Tags: []string{s.tag},
		DefaultStatus: s.status, MaxBodyBytes: cmp.Or(s.bytes, maxBody), BodyReadTimeout: 10 * time.Second, RejectUnknownQueryParameters: true,
		Security: []map[string][]string{{"session": {}}},
		Errors:   []int{400, 401, 403, 404, 429, 503},
		Metadata: map[string]any{"access": s.access},
		Extensions: map[string]any{
			"x-access": string(s.access),
		},
	}
	switch s.access {
	case public:
		op.Security = []map[string][]string{}
	case reporter:
		op.Security = []map[string][]string{{"reporter": {}}}
	}
	if s.method != http.MethodGet {
		op.Errors = append(op.Errors, 408, 409, 413, 415)
	}
	op.Errors = append(op.Errors, s.errors...)
	return op
}

// add registers one operation whose errors are turned into answers here and
// nowhere else.
func add[I, O any](a *API, s spec, h func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, a.operation(s), func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.answer(ctx, s.id, err)
		}
		return out, nil
	})
}

// StatusEnded stands in records for a request that its caller ended, as a page
// does that is left while it loads. Nobody receives it, and it is no failure of
// the console.
const StatusEnded = 499

// answer is what a caller sees of err.
func (a *API) answer(ctx context.Context, doing string, err error) error {
	var status huma.StatusError
	if errors.As(err, &status) {
		return status
	}
	var limited *account.Limited
	if errors.As(err, &limited) {
		seconds := int(math.Ceil(limited.Wait.Seconds()))
		return huma.ErrorWithHeaders(huma.NewError(http.StatusTooManyRequests, fmt.Sprintf("too many attempts: wait %d s", seconds)),
			http.Header{"Retry-After": {strconv.Itoa(seconds)}})
	}
	code := map[sallyport.Kind]int{
		sallyport.Invalid: 422, sallyport.Unauthenticated: 401, sallyport.Forbidden: 403, sallyport.NotFound: 404,
		sallyport.Conflict: 409, sallyport.Limited: 429, sallyport.Unavailable: 503,
	}[sallyport.KindOf(err)]
	var e *sallyport.Error
	if code == 0 || !errors.As(err, &e) {
		if errors.Is(err, context.Canceled) {
			return huma.NewError(StatusEnded, "the request was ended by its caller")
		}
		a.Logger.ErrorContext(ctx, "console request failed", "operation", doing, "error", err)
		return huma.NewError(http.StatusInternalServerError, "something went wrong; the log says what")
	}
	if e.Cause != nil {
		a.Logger.WarnContext(ctx, "console request refused", "operation", doing, "error", err)
	}
	return huma.NewError(code, e.Message)
}

type (
	accountKey struct{}
	clientKey  struct{}
)

// admit lets a request through to its operation when its session allows it.
func (a *API) admit(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	ctx = huma.WithValue(ctx, clientKey{}, account.Client(r))
	need, _ := ctx.Operation().Metadata["access"].(access)
	who, err := a.Sessions.Account(ctx.Context())
	if err == nil {
		ctx = huma.WithValue(ctx, accountKey{}, who)
	}
	switch {
	case need == public:
	case need == reporter: // whose token the operation checks
		if ctx.Header("Authorization") == "" {
			a.refuse(ctx, sallyport.Errorf(sallyport.Unauthenticated, "this needs the token of a reporter"))
			return
		}
	case err != nil:
		a.refuse(ctx, err)
		return
	case need == admin && who.Role != account.Admin, need != admin && need != viewer:
		a.record(ctx.Context(), "access", ctx.Operation().OperationID, audit.Refused, "")
		a.refuse(ctx, sallyport.Errorf(sallyport.Forbidden, "this needs the role admin"))
		return
	}
	next(ctx)
}

func (a *API) refuse(ctx huma.Context, err error) {
	var status huma.StatusError
	errors.As(a.answer(ctx.Context(), ctx.Operation().OperationID, err), &status)
	huma.WriteErr(a.huma, ctx, status.GetStatus(), status.Error())
}

func caller(ctx context.Context) *account.Account {
	a, _ := ctx.Value(accountKey{}).(*account.Account)
	if a == nil {
		return &account.Account{}
	}
	return a
}

func client(ctx context.Context) netip.Addr {
	c, _ := ctx.Value(clientKey{}).(netip.Addr)
	return c
}

// record adds to the audit log what the caller of ctx did.
func (a *API) record(ctx context.Context, action, target, outcome, detail string) error {
	return a.recordAs(ctx, caller(ctx), action, target, outcome, detail)
}

func (a *API) recordAs(ctx context.Context, who *account.Account, action, target, outcome, detail string) error {
	e := audit.Entry{Client: client(ctx).String(), Action: action, Target: target, Outcome: outcome, Detail: detail}
	if who != nil {
		e.Account, e.Name = who.ID, who.Name
	}
	if err := a.Audit.Append(ctx, e); err != nil {
		// What cannot be recorded must not pass unnoticed: the caller gets an error too.
		a.Logger.ErrorContext(ctx, "audit log", "error", err, "action", action)
		return err
	}
	return nil
}

// when is t for the wire: absent when zero.
func when(t time.Time) *time.Time {
	if t.IsZero() || t.UnixMicro() == 0 {
		return nil
	}
	t = t.UTC()
	return &t
}

func micros(v int64) *time.Time {
	if v == 0 {
		return nil
	}
	return when(time.UnixMicro(v))
}

// full is s, never nil.
func full[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
