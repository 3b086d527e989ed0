// Package console is the desk at which people see and steer Sallyport: the
// management API under /api/v1 and the web interface around it. In come HTTP
// requests of signed-in administrators and what the rooms know (journal,
// inventory, the running engine); out go pages, JSON, live event streams and an
// OpenAPI 3.1 document complete enough to guard the console with.
//
// It owns the tables of accounts, sessions and the audit log. Sessions live on
// the server, passwords and setup links are kept only as hashes, and every
// change, sign-in and failed sign-in is a link of a keyed hash chain.
//
// It never decides about a user's request, never shows a value that the journal
// does not hold, and its pages load nothing from anywhere else.
package console

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"sallyport.dev/console/account"
	"sallyport.dev/console/api"
	"sallyport.dev/console/audit"
	"sallyport.dev/console/ui"
	"sallyport.dev/store"
)

// What the console needs of the rooms beside it; cmd satisfies Engine, and
// *observe.Journal, *observe.Recorder and *inventory.Inventory the others.
type (
	Engine = api.Engine
	// PoolKeeper is what an Engine may do besides.
	PoolKeeper = api.PoolKeeper
	// DoorKeeper is what an Engine may do besides.
	DoorKeeper = api.DoorKeeper
	// CatalogueKeeper is another thing that an Engine may do besides.
	CatalogueKeeper = api.CatalogueKeeper
	// A Catalogue is one source of claims, as people see it.
	Catalogue = api.Catalogue
	Journal   = api.Journal
	Originals = api.Originals
	Recorder  = api.Recorder
	Inventory = api.Inventory

	// Values that an Engine reports.
	Program      = api.Program
	ProgramAPI   = api.ProgramAPI
	Provider     = api.Provider
	Build        = api.Build
	Retention    = api.Retention
	Limit        = api.Limit
	LimitUser    = api.LimitUser
	Paces        = api.Paces
	Certificate  = api.Certificate
	OCSP         = api.OCSP
	Notice       = api.Notice
	Pool         = api.Pool
	Door         = api.Door
	PoolInstance = api.PoolInstance
	PoolLoad     = api.PoolLoad
	PoolSource   = api.PoolSource
	PoolClass    = api.PoolClass
	PoolCaller   = api.PoolCaller
)

// Options set a Console. Store, Key, Journal, Inventory, Recorder, Engine
// and Paces are required; zero values of the rest mean the defaults.
type Options struct {
	Store     *store.Store
	Key       []byte // master key; keys for the audit log are derived from it, it is not kept
	Journal   Journal
	Originals Originals     // sealed errors; nil: none are kept
	Sideloads api.Sideloads // rules by which related resources are put into answers; nil: none
	Gate      api.Gate      // nil: none
	Incidents api.Incidents // investigations; nil: none are kept
	Learning  api.Learning  // what traffic has taught; nil: nothing
	Inventory Inventory
	Recorder  Recorder
	Engine    Engine
	Paces     Paces
	Build     Build

	Idle     time.Duration // a session ends after this long without a request; default 30 min
	Lifetime time.Duration // and at the latest after this long; default 12 h
	AuditAge time.Duration // audit entries are kept this long; default 2 years
	Insecure bool          // the console is served without TLS (loopback only): cookies lose the __Host- prefix

	Retention []Retention // of the other rooms, to be shown beside the console's own

	// PasswordMemory is what hashing one password takes, in KiB; default 64 MiB.
	PasswordMemory uint32

	Logger *slog.Logger     // default slog.Default()
	Now    func() time.Time // default time.Now
}

// A Console serves the management API and the web interface. Its methods are
// safe for concurrent use.
type Console struct {
	options Options
	book    *account.Book
	audit   *audit.Log
	api     *api.API
	handler http.Handler
}

//go:embed migrations
var migrations embed.FS

// New migrates the console's tables and makes a Console.
func New(ctx context.Context, o Options) (*Console, error) {
	if o.Store == nil || o.Journal == nil || o.Inventory == nil || o.Recorder == nil || o.Engine == nil || o.Paces == nil {
		return nil, errors.New("console: Store, Journal, Inventory, Recorder, Engine and Paces are required")
	}
	o.Idle = cmp.Or(o.Idle, 30*time.Minute)
	o.Lifetime = cmp.Or(o.Lifetime, 12*time.Hour)
	o.AuditAge = cmp.Or(o.AuditAge, 2*365*24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if err := o.Store.Migrate(ctx, "console", files); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &Console{options: o, book: account.Open(o.Store.DB(), o.Store.Reader(), o.Now, o.PasswordMemory)}
	if c.audit, err = audit.Open(o.Store.DB(), o.Store.Reader(), o.Key, o.Logger, o.Now); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.options.Key = nil
	so := account.SessionOptions{Idle: o.Idle, Lifetime: o.Lifetime, Insecure: o.Insecure}
	sessions := c.book.Sessions(so)
	c.api, err = api.New(api.Options{
		Journal: o.Journal, Originals: o.Originals, Inventory: o.Inventory, Recorder: o.Recorder, Stream: o.Store.Stream(), Engine: o.Engine, Paces: o.Paces, Sideloads: o.Sideloads, Gate: o.Gate, Incidents: o.Incidents, Learning: o.Learning, Build: o.Build,
		Book: c.book, Sessions: sessions, Audit: c.audit, Cookie: so.CookieName(), Logger: o.Logger, Now: o.Now,
		Retention: append([]api.Retention{
			{What: "Audit log", Kept: fmt.Sprintf("%d days", int(o.AuditAge.Hours()/24))},
			{What: "Sessions", Kept: fmt.Sprintf("%s without a request, %s at most", o.Idle, o.Lifetime)},
		}, o.Retention...),
	})
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	pages, err := ui.New()
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", sessions.Handler(c.api, func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() != nil {
			api.Fail(w, api.StatusEnded, "the request was ended by its caller")
			return
		}
		o.Logger.ErrorContext(r.Context(), "console session", "error", err)
		api.Fail(w, http.StatusServiceUnavailable, "sessions cannot be read or written at present; the log says why")
	}))
	mux.Handle("/", pages)
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		api.Fail(w, http.StatusForbidden, "a page of another origin may not do this")
	}))
	c.handler = c.headers(c.catch(cross.Handler(mux)))
	return c, nil
}

// headers tells browsers what no answer of the console ever needs.
func (c *Console) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()")
		if host, _, err := net.SplitHostPort(r.Host); r.TLS != nil && host != "localhost" && (err == nil || r.Host != "localhost") {
			h.Set("Strict-Transport-Security", "max-age=31536000") // not for localhost, which is shared with whatever runs there
		}
		next.ServeHTTP(w, r)
	})
}

// catch keeps a mistake of ours from ending as a connection without an answer.
func (c *Console) catch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			c.options.Logger.ErrorContext(r.Context(), "console panic", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			api.Fail(w, http.StatusInternalServerError, "something went wrong; the log says what")
		}()
		next.ServeHTTP(w, r)
	})
}

// Handler serves everything: /api/openapi.json, /api/v1/…, and the pages.
func (c *Console) Handler() http.Handler { return c.handler }

// Document is the OpenAPI 3.1 document of the management API, the same bytes
// that /api/openapi.json serves.
func (c *Console) Document() []byte { return slices.Clone(c.api.Document()) }

// Setup makes a new setup link while no administrator exists and returns its
// path with the token, "/setup#…", to be printed behind the console's address.
// It is good once and for an hour, and an earlier link is void from now on.
// "" means that an administrator exists and there is nothing to set up.
func (c *Console) Setup(ctx context.Context) (path string, err error) {
	token, err := c.book.Setup(ctx)
	if err != nil || token == "" {
		return "", err
	}
	// Behind #, a browser sends it to no server and names it to no other page.
	return "/setup#" + token, nil
}

// Run ends expired sessions and trims tables until ctx ends; then it ends the
// live views, which would keep a server from shutting down.
func (c *Console) Run(ctx context.Context) error {
	defer c.api.Close()
	every := time.NewTicker(10 * time.Minute)
	defer every.Stop()
	for {
		if err := c.book.Trim(ctx); err != nil && ctx.Err() == nil {
			c.options.Logger.WarnContext(ctx, "console retention", "error", err)
		}
		if n, err := c.audit.Trim(ctx, c.options.Now().Add(-c.options.AuditAge)); err != nil && ctx.Err() == nil {
			c.options.Logger.ErrorContext(ctx, "console retention", "error", err)
		} else if n > 0 {
			c.options.Logger.InfoContext(ctx, "audit log trimmed", "entries", n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-every.C:
		}
	}
}

var _ http.Handler = (*api.API)(nil)
