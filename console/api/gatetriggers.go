package api

import (
	"context"
	"net/http"

	"sallyport.dev/conformance/gate"
	"sallyport.dev/console/audit"
)

// A Signed is a message with what proves who sent it, by the headers of Standard
// Webhooks.
type Signed struct {
	ID, Timestamp, Signature string
	Body                     []byte
}

// Triggers has instances tested when somebody who deploys says that they changed.
type Triggers interface {
	Triggered(ctx context.Context, s Signed, c gate.Change) (news []string, err error)
}

func (a *API) gateTriggers() {
	type deployed struct {
		API    string `json:"api" minLength:"1" maxLength:"64"`
		URL    string `json:"url,omitempty" maxLength:"500" doc:"Of an instance; empty for all of the API"`
		Image  string `json:"image_digest,omitempty" maxLength:"200"`
		Build  string `json:"build_id,omitempty" maxLength:"200"`
		Config string `json:"configuration,omitempty" maxLength:"200" doc:"Hash of the configuration that it runs with"`
		Spec   string `json:"spec,omitempty" maxLength:"200" doc:"Hash or version of its specification"`
	}
	type deployedNews struct {
		Changed []string `json:"changed" maxItems:"4" doc:"What was not known before; empty: nothing is tested"`
	}
	add(a, spec{id: "triggerGate", method: http.MethodPost, path: "/gate/triggers", summary: "Say that an API or an instance was changed, signed by the API's secret for triggers; what is new is tested", tag: "gate", access: public, status: 202},
		func(ctx context.Context, in *struct {
			ID        string `header:"Webhook-Id" required:"true" minLength:"1" maxLength:"200" doc:"Of the message"`
			Timestamp string `header:"Webhook-Timestamp" required:"true" pattern:"^[0-9]{1,12}$" doc:"Seconds since 1970, at most five minutes off"`
			Signature string `header:"Webhook-Signature" required:"true" maxLength:"500" doc:"v1, and the base64 of HMAC-SHA256 over ID.TIMESTAMP.BODY"`
			RawBody   []byte
			Body      deployed
		}) (*body[deployedNews], error) {
			t, ok := a.Gate.(Triggers)
			if !ok {
				return nil, errNoGate
			}
			c := gate.Change{API: in.Body.API, URL: in.Body.URL, ImageDigest: in.Body.Image, BuildID: in.Body.Build, Configuration: in.Body.Config, Spec: in.Body.Spec}
			news, err := t.Triggered(ctx, Signed{in.ID, in.Timestamp, in.Signature, in.RawBody}, c)
			if err != nil {
				return nil, err
			}
			if len(news) == 0 {
				return &body[deployedNews]{deployedNews{[]string{}}}, nil
			}
			return &body[deployedNews]{deployedNews{news}}, a.record(ctx, "gate.trigger", c.API+" "+c.URL, audit.Done, in.ID)
		})
}
