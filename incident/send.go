package incident

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// A Webhook posts JSON, signed as Standard Webhooks has it: the header
// webhook-signature is "v1," and the base64 of HMAC-SHA256 over
// webhook-id "." webhook-timestamp "." body. A receiver refuses timestamps that
// are minutes old, and ids that it has seen.
type Webhook struct {
	URL    string
	Secret []byte
	Client *http.Client     // nil: one that follows no redirect and waits 10 s
	Now    func() time.Time // nil: time.Now
}

var plainClient = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// Send posts m; each answer but 2xx is an error. Errors name the host at most.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	if m.Incidents == nil {
		m.Incidents = []Told{}
	}
	body, err := json.Marshal(struct {
		Event     Event  `json:"event"`
		Text      string `json:"text"`
		Incidents []Told `json:"incidents"`
	}{m.Event, m.Text, m.Incidents})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's URL cannot be used")
	}
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	stamp := strconv.FormatInt(now().Unix(), 10)
	mac := hmac.New(sha256.New, w.Secret)
	fmt.Fprintf(mac, "%s.%s.%s", m.ID, stamp, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "sallyport")
	r.Header.Set("Webhook-Id", m.ID)
	r.Header.Set("Webhook-Timestamp", stamp)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	client := w.Client
	if client == nil {
		client = plainClient
	}
	resp, err := client.Do(r)
	if err != nil {
		return errors.New(r.URL.Host + ": " + why(err)) // the error itself holds the URL
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %d", r.URL.Host, resp.StatusCode)
	}
	return nil
}

// why is the reason of a failed request without its URL.
func why(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &dns):
		return "the name cannot be resolved"
	case errors.As(err, &op):
		return op.Op + " failed: " + op.Err.Error()
	}
	return "the connection failed"
}

// service sends through shoutrrr.
type service struct {
	sender interface {
		Send(message string, params *types.Params) []error
	}
	scheme string
	mail   bool
}

// Service makes a Sender of a shoutrrr URL: slack://, smtp://, teams://,
// discord://, ntfy:// and others. The URL may hold secrets, so that neither this
// error nor those of the Sender repeat it or what the service said.
func Service(address string) (Sender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("is no shoutrrr URL, such as slack://… or smtp://…")
	}
	s, err := shoutrrr.CreateSender(address)
	if err != nil {
		return nil, fmt.Errorf("shoutrrr does not take this %.20s:// URL", u.Scheme)
	}
	return &service{sender: s, scheme: u.Scheme, mail: u.Scheme == "smtp"}, nil
}

// Send hands the text over. The service has no context: a send that hangs is
// left behind when ctx ends, and counts as failed.
func (s *service) Send(ctx context.Context, m Message) error {
	params := &types.Params{}
	if s.mail {
		(*params)["subject"] = subject(m)
	}
	done := make(chan bool, 1)
	go func() {
		ok := true
		defer func() {
			if recover() != nil {
				ok = false
			}
			done <- ok
		}()
		for _, err := range s.sender.Send(m.Text, params) {
			ok = ok && err == nil
		}
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer in time", s.scheme)
	case ok := <-done:
		if !ok {
			return fmt.Errorf("%s: the service did not take the message", s.scheme)
		}
		return nil
	}
}

func subject(m Message) string {
	switch len(m.Incidents) {
	case 0:
		return "Sallyport: test"
	case 1:
		x := m.Incidents[0]
		return cut(fmt.Sprintf("Sallyport: %s, %s, API %s: %s", x.Event, x.Severity, x.API, x.Title), 150)
	}
	return fmt.Sprintf("Sallyport: %d incidents", len(m.Incidents))
}
