package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/uptrace/bun"

	"sallyport.dev"
)

type session struct {
	bun.BaseModel `bun:"table:console_session"`

	Token   string `bun:"token,pk"`
	Account string `bun:"account"`
	Data    []byte `bun:"data"`
	Created int64  `bun:"created"`
	Seen    int64  `bun:"seen"`
	Expires int64  `bun:"expires"`
	Client  string `bun:"client"`
	Agent   string `bun:"agent"`
}

// A Session is one signed-in browser. ID is not its cookie and opens nothing.
type Session struct {
	ID      string
	Account string
	Created time.Time
	Seen    time.Time
	Expires time.Time
	Client  string
	Agent   string
	Current bool
}

// Sessions keeps server-side sessions in the Book's database. It is safe for
// concurrent use.
type Sessions struct {
	book    *Book
	manager *scs.SessionManager
}

// SessionOptions set Sessions.
type SessionOptions struct {
	Idle, Lifetime time.Duration
	Insecure       bool // no TLS: the __Host- prefix would be refused by browsers
}

// Cookie is the name of the session's cookie over TLS.
const Cookie = "__Host-sallyport"

// CookieName is the name of the session's cookie.
func (o SessionOptions) CookieName() string {
	if o.Insecure {
		return "sallyport"
	}
	return Cookie
}

// Sessions makes the keeper of b's sessions.
func (b *Book) Sessions(o SessionOptions) *Sessions {
	m := scs.New()
	m.IdleTimeout, m.Lifetime = o.Idle, o.Lifetime
	m.HashTokenInStore = true
	m.Codec = codec{}
	m.Store = keeper{b}
	m.Cookie = scs.SessionCookie{Name: o.CookieName(), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode}
	return &Sessions{book: b, manager: m}
}

// visit travels with a request. Only a sign-in may add a row: a request that
// was on its way when its session was ended must not bring it back.
type visit struct {
	begin  bool
	client string
	agent  string
	now    time.Time
}

type visitKey struct{}

// Handler loads the session of each request and saves it. onError answers when
// the database cannot be asked.
func (s *Sessions) Handler(next http.Handler, onError func(http.ResponseWriter, *http.Request, error)) http.Handler {
	s.manager.ErrorFunc = onError
	inner := s.manager.LoadAndSave(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent := r.UserAgent()
		if len(agent) > 200 {
			agent = agent[:200]
		}
		v := &visit{client: Client(r).String(), agent: agent, now: s.book.now()}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

// Client is the address a request came from.
func Client(r *http.Request) netip.Addr {
	if p, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return p.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(r.RemoteAddr)
	return a
}

// Begin signs a in on the session of ctx under a new cookie.
func (s *Sessions) Begin(ctx context.Context, a *Account) error {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return errors.New("begin session: no session in this context")
	}
	if err := s.manager.RenewToken(ctx); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	v.begin = true
	s.manager.Put(ctx, "account", a.ID)
	return nil
}

// End ends the session of ctx.
func (s *Sessions) End(ctx context.Context) error {
	if err := s.manager.Destroy(ctx); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// Account gives who is signed in; sallyport.Unauthenticated when nobody is, or
// no longer may be.
func (s *Sessions) Account(ctx context.Context) (*Account, error) {
	id := s.manager.GetString(ctx, "account")
	if id == "" {
		return nil, sallyport.Errorf(sallyport.Unauthenticated, "sign in first")
	}
	a, err := s.book.ByID(ctx, id)
	if err != nil && !errors.Is(err, sallyport.NotFound) {
		return nil, err
	}
	if a == nil || a.Disabled != 0 || a.Hash == "" {
		return nil, sallyport.Errorf(sallyport.Unauthenticated, "sign in first")
	}
	return a, nil
}

// Alive reports whether the session of ctx still exists, for streams that
// outlive the check at their start.
func (s *Sessions) Alive(ctx context.Context) (bool, error) {
	row := new(session)
	err := s.book.read.NewSelect().Model(row).Column("account").Where("token = ? AND expires > ?", s.token(ctx), s.book.now().UnixMicro()).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read session: %w", err)
	}
	a, err := s.Account(ctx)
	if errors.Is(err, sallyport.Unauthenticated) {
		return false, nil
	}
	return err == nil && a.ID == row.Account, err
}

// Deadline is when the session of ctx ends whatever happens.
func (s *Sessions) Deadline(ctx context.Context) time.Time { return s.manager.Deadline(ctx) }

// Idle is how long a session lasts without a request.
func (s *Sessions) Idle() time.Duration { return s.manager.IdleTimeout }

// token is the stored form of the cookie of ctx.
func (s *Sessions) token(ctx context.Context) string {
	sum := sha256.Sum256([]byte(s.manager.Token(ctx)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Key is the stored form of the cookie of ctx, for Book.SetPassword to keep.
func (s *Sessions) Key(ctx context.Context) string { return s.token(ctx) }

func public(token string) string {
	sum := sha256.Sum256([]byte("session " + token))
	return hex.EncodeToString(sum[:12])
}

// List gives the sessions of an account, or of all for "", newest first.
func (s *Sessions) List(ctx context.Context, account string) ([]Session, error) {
	rows, err := s.rows(ctx, account)
	if err != nil {
		return nil, err
	}
	own := s.token(ctx)
	list := make([]Session, 0, len(rows))
	for _, r := range rows {
		list = append(list, Session{
			ID: public(r.Token), Account: r.Account, Created: time.UnixMicro(r.Created).UTC(), Seen: time.UnixMicro(r.Seen).UTC(),
			Expires: time.UnixMicro(r.Expires).UTC(), Client: r.Client, Agent: r.Agent, Current: r.Token == own,
		})
	}
	return list, nil
}

func (s *Sessions) rows(ctx context.Context, account string) ([]session, error) {
	rows := []session{}
	q := s.book.read.NewSelect().Model(&rows).Where("expires > ?", s.book.now().UnixMicro()).OrderExpr("created DESC").Limit(1000)
	if account != "" {
		q = q.Where("account = ?", account)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return rows, nil
}

// Revoke ends the session called id, of account only unless that is "", and
// gives whose it was.
func (s *Sessions) Revoke(ctx context.Context, account, id string) (owner string, err error) {
	rows, err := s.rows(ctx, account)
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if public(r.Token) == id {
			if _, err := s.book.write.NewDelete().Model(&r).WherePK().Exec(ctx); err != nil {
				return "", fmt.Errorf("end session: %w", err)
			}
			return r.Account, nil
		}
	}
	return "", sallyport.Errorf(sallyport.NotFound, "no such session")
}

// Trim deletes sessions and invitations that have ended.
func (b *Book) Trim(ctx context.Context) error {
	now := b.now().UnixMicro()
	if _, err := b.write.NewDelete().Model((*session)(nil)).Where("expires <= ?", now).Exec(ctx); err != nil {
		return fmt.Errorf("trim sessions: %w", err)
	}
	if _, err := b.write.NewDelete().Model((*invitation)(nil)).Where("expires <= ?", now).Exec(ctx); err != nil {
		return fmt.Errorf("trim invitations: %w", err)
	}
	return nil
}

// keeper is the scs store over the table.
type keeper struct{ book *Book }

var _ scs.CtxStore = keeper{}

func (k keeper) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	row := new(session)
	err := k.book.read.NewSelect().Model(row).Column("data").Where("token = ? AND expires > ?", token, k.book.now().UnixMicro()).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return row.Data, err == nil, err
}

// CommitCtx adds the row of a sign-in, or moves the end of one that exists; a
// minute's difference is not worth a write.
func (k keeper) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return errors.New("save session: no visit in this context")
	}
	_, values, err := codec{}.Decode(data)
	if err != nil {
		return err
	}
	account, _ := values["account"].(string)
	now := v.now.UnixMicro()
	expiry = expiry.Add(v.now.Sub(time.Now()).Round(time.Second)) // scs reads the system's clock, the table ours
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if v.begin {
		row := &session{Token: token, Account: account, Data: data, Created: now, Seen: now, Expires: expiry.UnixMicro(), Client: v.client, Agent: v.agent}
		_, err = k.book.write.NewInsert().Model(row).Exec(ctx)
		return err
	}
	var row session
	err = k.book.read.NewSelect().Model(&row).Column("expires", "seen", "client", "data").Where("token = ?", token).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	if now-row.Seen < time.Minute.Microseconds() && row.Client == v.client && bytes.Equal(row.Data, data) {
		return nil
	}
	_, err = k.book.write.NewUpdate().Model((*session)(nil)).Set("data = ?", data).Set("seen = ?", now).Set("expires = ?", expiry.UnixMicro()).
		Set("client = ?", v.client).Where("token = ?", token).Exec(ctx)
	return err
}

func (k keeper) DeleteCtx(ctx context.Context, token string) error {
	_, err := k.book.write.NewDelete().Model((*session)(nil)).Where("token = ?", token).Exec(ctx)
	return err
}

func (k keeper) Find(token string) ([]byte, bool, error) {
	return k.FindCtx(context.Background(), token)
}
func (k keeper) Delete(token string) error { return k.DeleteCtx(context.Background(), token) }
func (k keeper) Commit(string, []byte, time.Time) error {
	return errors.New("save session: no request")
}

// codec writes a session as JSON.
type codec struct{}

type coded struct {
	Deadline time.Time      `json:"deadline"`
	Values   map[string]any `json:"values"`
}

func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(coded{deadline, values})
}

func (codec) Decode(b []byte) (time.Time, map[string]any, error) {
	var c coded
	if err := json.Unmarshal(b, &c); err != nil {
		return time.Time{}, nil, fmt.Errorf("decode session: %w", err)
	}
	if c.Values == nil {
		c.Values = map[string]any{}
	}
	return c.Deadline, c.Values, nil
}

// Renew gives the session of ctx a new cookie, after its password changed.
func (s *Sessions) Renew(ctx context.Context) error {
	a, err := s.Account(ctx)
	if err != nil {
		return err
	}
	return s.Begin(ctx, a)
}
