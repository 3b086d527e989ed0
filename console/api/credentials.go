package api

import (
	"context"
	"net/http"
	"time"
)

// keySoon is how long before its end a key counts as ending.
const keySoon = 14 * 24 * time.Hour

// KeyView is one API key, of which nobody here knows more than its name.
type KeyView struct {
	API     string     `json:"api" maxLength:"200"`
	ID      string     `json:"id" maxLength:"500"`
	Subject string     `json:"subject" maxLength:"500" doc:"Who it stands for"`
	State   string     `json:"state" enum:"live,ending,ended" doc:"ending: within 14 days"`
	Expires *time.Time `json:"expires,omitempty"`
	Used    *time.Time `json:"used,omitempty" doc:"Last accepted, since the process started"`
}

// UpstreamTokenView is one way in which the gateway gets tokens for upstreams.
type UpstreamTokenView struct {
	Name     string     `json:"name" maxLength:"2000"`
	Exchange bool       `json:"exchange" doc:"Callers' tokens are exchanged"`
	Until    *time.Time `json:"until,omitempty" doc:"End of the token in use"`
	Fetched  *time.Time `json:"fetched,omitempty"`
	Held     int        `json:"held" minimum:"0" doc:"Exchanged tokens held"`
	Failing  string     `json:"failing" maxLength:"1000" doc:"Why the last attempt failed; empty when it did not"`
}

// CredentialsView is what is known about API keys and tokens for upstreams.
type CredentialsView struct {
	Keys   []KeyView           `json:"keys" maxItems:"100000"`
	Tokens []UpstreamTokenView `json:"upstream_tokens" maxItems:"1000"`
}

func (a *API) credentialOperations() {
	add(a, spec{id: "listCredentials", method: http.MethodGet, path: "/credentials", summary: "API keys with their ends and last uses, and tokens for upstreams", tag: "overview", access: viewer},
		func(context.Context, *struct{}) (*body[CredentialsView], error) {
			out := CredentialsView{Keys: []KeyView{}, Tokens: []UpstreamTokenView{}}
			e, ok := a.Engine.(Credentials)
			if !ok {
				return &body[CredentialsView]{out}, nil
			}
			now := a.Now()
			for _, k := range e.APIKeys() {
				v := KeyView{API: k.API, ID: k.ID, Subject: k.Subject, State: "live", Expires: when(k.Expires), Used: when(k.Used)}
				switch {
				case k.Expires.IsZero():
				case !now.Before(k.Expires):
					v.State = "ended"
				case now.Add(keySoon).After(k.Expires):
					v.State = "ending"
				}
				out.Keys = append(out.Keys, v)
			}
			for _, t := range e.UpstreamTokens() {
				out.Tokens = append(out.Tokens, UpstreamTokenView{t.Name, t.Exchange, when(t.Until), when(t.Fetched), t.Held, t.Failing})
			}
			return &body[CredentialsView]{out}, nil
		})
}
