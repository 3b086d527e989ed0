package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/account"
	"sallyport.dev/console/audit"
)

// Me is who is signed in.
type Me struct {
	ID       string     `json:"id" maxLength:"64"`
	Name     string     `json:"name" maxLength:"64"`
	Role     string     `json:"role" enum:"admin,viewer"`
	Changed  *time.Time `json:"password_changed,omitempty" doc:"When the password was last set"`
	Deadline time.Time  `json:"deadline" doc:"When this session ends whatever happens"`
	Idle     int        `json:"idle_seconds" minimum:"0" doc:"Seconds without a request after which it ends"`
}

func (a *API) me(ctx context.Context, who *account.Account) Me {
	return Me{ID: who.ID, Name: who.Name, Role: string(who.Role), Changed: micros(who.Changed),
		Deadline: a.Sessions.Deadline(ctx).UTC().Truncate(time.Second), Idle: int(a.Sessions.Idle().Seconds())}
}

// SessionView is one signed-in browser.
type SessionView struct {
	ID      string    `json:"id" maxLength:"64"`
	Account string    `json:"account" maxLength:"64" doc:"Id of the account"`
	Name    string    `json:"name" maxLength:"64" doc:"Name of the account"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen" doc:"Last request, to the minute"`
	Expires time.Time `json:"expires" doc:"When it ends if no request comes"`
	Client  string    `json:"client" maxLength:"64" doc:"Address it was last used from"`
	Agent   string    `json:"agent" maxLength:"200" doc:"Browser it was begun with"`
	Current bool      `json:"current" doc:"The session of this request"`
}

type body[T any] struct{ Body T }

type empty struct{}

func (a *API) sessionOperations() {
	type setupState struct {
		Needed bool `json:"needed" doc:"No administrator exists yet; the process printed a setup link when it started"`
	}
	add(a, spec{id: "getSetup", method: http.MethodGet, path: "/setup", summary: "Whether the first administrator is still missing", tag: "session", access: public},
		func(ctx context.Context, _ *struct{}) (*body[setupState], error) {
			need, err := a.Book.Needed(ctx)
			return &body[setupState]{setupState{need}}, err
		})

	type invitationToken struct {
		Token string `json:"token" minLength:"43" maxLength:"43" pattern:"^[A-Za-z0-9_-]{43}$" doc:"What stands behind # in the link"`
	}
	type invitee struct {
		Name string `json:"name" maxLength:"64" doc:"Name of the account; empty for the first administrator, who chooses one"`
	}
	add(a, spec{id: "checkInvitation", method: http.MethodPost, path: "/setup/invitation", summary: "Whom a setup link or invitation is for", tag: "session", access: public},
		func(ctx context.Context, in *body[invitationToken]) (*body[invitee], error) {
			name, err := a.Book.Invitee(ctx, in.Body.Token, client(ctx))
			if err != nil {
				return nil, a.noteInvitation(ctx, err)
			}
			return &body[invitee]{invitee{name}}, nil
		})

	type redemption struct {
		Token    string `json:"token" minLength:"43" maxLength:"43" pattern:"^[A-Za-z0-9_-]{43}$"`
		Name     string `json:"name,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._@+-]{1,63}$" doc:"Name of the first administrator; not for an invitation, which has one"`
		Password string `json:"password" minLength:"12" maxLength:"128" format:"password"`
	}
	add(a, spec{id: "takeInvitation", method: http.MethodPost, path: "/setup", summary: "Make the first administrator, or set the password of an invited account, and sign in", tag: "session", access: public, status: 201},
		func(ctx context.Context, in *body[redemption]) (*body[Me], error) {
			who, err := a.Book.Redeem(ctx, in.Body.Token, in.Body.Name, in.Body.Password, client(ctx))
			if err != nil {
				return nil, a.noteInvitation(ctx, err)
			}
			if err := a.recordAs(ctx, who, "invitation.take", who.Name, audit.Done, "role "+string(who.Role)); err != nil {
				return nil, err
			}
			return a.begin(ctx, who)
		})

	type credentials struct {
		Name     string `json:"name" minLength:"1" maxLength:"64"`
		Password string `json:"password" minLength:"1" maxLength:"128" format:"password"`
	}
	add(a, spec{id: "createSession", method: http.MethodPost, path: "/session", summary: "Sign in", tag: "session", access: public, status: 201},
		func(ctx context.Context, in *body[credentials]) (*body[Me], error) {
			who, known, err := a.Book.SignIn(ctx, in.Body.Name, in.Body.Password, client(ctx))
			var limited *account.Limited
			switch {
			case err == nil:
				return a.begin(ctx, who)
			case errors.As(err, &limited):
				if limited.Fresh { // once, not for each try: the log must not be floodable
					a.recordAs(ctx, nil, "session.create", "", audit.Refused, "too many attempts")
				}
			case errors.Is(err, account.Failed):
				// The name is recorded only if it is one: people type passwords into the wrong field.
				target := "unknown name"
				if known != nil {
					target = known.Name
				}
				a.recordAs(ctx, nil, "session.create", target, audit.Refused, "")
			}
			return nil, err
		})

	add(a, spec{id: "getSession", method: http.MethodGet, path: "/session", summary: "Who is signed in", tag: "session", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[Me], error) {
			return &body[Me]{a.me(ctx, caller(ctx))}, nil
		})

	add(a, spec{id: "deleteSession", method: http.MethodDelete, path: "/session", summary: "Sign out", tag: "session", access: viewer, status: 204},
		func(ctx context.Context, _ *struct{}) (*empty, error) {
			if err := a.record(ctx, "session.end", caller(ctx).Name, audit.Done, ""); err != nil {
				return nil, err
			}
			return &empty{}, a.Sessions.End(ctx)
		})

	type change struct {
		Current string `json:"current" minLength:"1" maxLength:"128" format:"password"`
		Next    string `json:"next" minLength:"12" maxLength:"128" format:"password"`
	}
	add(a, spec{id: "setPassword", method: http.MethodPut, path: "/session/password", summary: "Change one's own password and end one's other sessions", tag: "session", access: viewer, status: 204},
		func(ctx context.Context, in *body[change]) (*empty, error) {
			who := caller(ctx)
			err := a.Book.SetPassword(ctx, who.ID, in.Body.Current, in.Body.Next, a.Sessions.Key(ctx))
			if errors.Is(err, sallyport.Forbidden) {
				a.record(ctx, "password.change", who.Name, audit.Refused, "the current password was wrong")
			}
			if err != nil {
				return nil, err
			}
			if err := a.record(ctx, "password.change", who.Name, audit.Done, ""); err != nil {
				return nil, err
			}
			return &empty{}, a.Sessions.Renew(ctx)
		})

	type sessionList struct {
		Sessions []SessionView `json:"sessions" maxItems:"1000"`
	}
	add(a, spec{id: "listSessions", method: http.MethodGet, path: "/sessions", summary: "Signed-in browsers: one's own, or all for an administrator who asks", tag: "session", access: viewer},
		func(ctx context.Context, in *struct {
			All bool `query:"all" doc:"Of all accounts; needs the role admin"`
		}) (*body[sessionList], error) {
			who := caller(ctx)
			of := who.ID
			if in.All {
				if who.Role != account.Admin {
					return nil, sallyport.Errorf(sallyport.Forbidden, "this needs the role admin")
				}
				of = ""
			}
			sessions, err := a.Sessions.List(ctx, of)
			if err != nil {
				return nil, err
			}
			names := map[string]string{who.ID: who.Name}
			if in.All {
				accounts, err := a.Book.List(ctx)
				if err != nil {
					return nil, err
				}
				for _, p := range accounts {
					names[p.ID] = p.Name
				}
			}
			out := sessionList{Sessions: []SessionView{}}
			for _, s := range sessions {
				out.Sessions = append(out.Sessions, SessionView{s.ID, s.Account, names[s.Account], s.Created, s.Seen, s.Expires, s.Client, s.Agent, s.Current})
			}
			return &body[sessionList]{out}, nil
		})

	add(a, spec{id: "revokeSession", method: http.MethodDelete, path: "/sessions/{id}", summary: "End a session: one's own, or any for an administrator", tag: "session", access: viewer, status: 204},
		func(ctx context.Context, in *struct {
			ID string `path:"id" pattern:"^[0-9a-f]{24}$" maxLength:"24"`
		}) (*empty, error) {
			who := caller(ctx)
			of := who.ID
			if who.Role == account.Admin {
				of = ""
			}
			owner, err := a.Sessions.Revoke(ctx, of, in.ID)
			if err != nil {
				return nil, err
			}
			target := owner
			if p, err := a.Book.ByID(ctx, owner); err == nil {
				target = p.Name
			}
			return &empty{}, a.record(ctx, "session.revoke", target, audit.Done, in.ID)
		})
}

// begin signs who in and records it.
func (a *API) begin(ctx context.Context, who *account.Account) (*body[Me], error) {
	if err := a.recordAs(ctx, who, "session.create", who.Name, audit.Done, ""); err != nil {
		return nil, err
	}
	if err := a.Sessions.Begin(ctx, who); err != nil {
		return nil, err
	}
	return &body[Me]{a.me(ctx, who)}, nil
}

// noteInvitation records a link that did not count.
func (a *API) noteInvitation(ctx context.Context, err error) error {
	if errors.Is(err, account.Void) {
		a.recordAs(ctx, nil, "invitation.take", "", audit.Refused, "a link that is not good")
	}
	return err
}
