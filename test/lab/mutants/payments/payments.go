// Package payments is a correct fixture API, card payments that are authorised,
// captured, refunded and voided, and its mutants. In come requests as
// openapi.yaml describes them; out go the answers described there. No money
// moves; everything is in memory and nothing outlives the handler.
package payments

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/rest"
)

// Document is the OpenAPI description of the API.
//
//go:embed openapi.yaml
var Document []byte

// Audience is what tokens for the API are made for.
const Audience = "payments"

// cents is an amount of money; callers see a decimal string.
type cents int64

// MarshalText gives "12.50".
func (c cents) MarshalText() ([]byte, error) {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Appendf(nil, "%s%d.%02d", sign, c/100, c%100), nil
}

// UnmarshalText reads what the schema has let through.
func (c *cents) UnmarshalText(b []byte) error {
	whole, part, _ := strings.Cut(string(b), ".")
	n, err := strconv.ParseInt(whole+(part + "00")[:2], 10, 64)
	if err != nil {
		return rest.Invalid("/amount", "pattern")
	}
	*c = cents(n)
	return nil
}

type refund struct {
	ID      string `json:"id"`
	Amount  cents  `json:"amount"`
	Created string `json:"created"`
}

type payment struct {
	Owner, State, Currency, Reference string
	Card                              string // last four digits
	Amount, Captured                  cents
	Refunds                           []refund
	Created                           time.Time
}

func (p payment) refunded() (sum cents) {
	for _, r := range p.Refunds {
		sum += r.Amount
	}
	return sum
}

type paymentView struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Amount    cents  `json:"amount"`
	Captured  cents  `json:"captured"`
	Refunded  cents  `json:"refunded"`
	Currency  string `json:"currency"`
	Reference string `json:"reference"`
	Card      string `json:"card"`
	Created   string `json:"created"`
}

func view(r rest.Row[payment]) paymentView {
	p := r.Value
	return paymentView{r.ID, p.State, p.Amount, p.Captured, p.refunded(), p.Currency, p.Reference, p.Card, stamp(p.Created)}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type api struct {
	defect.Options
	skip     rest.Skip
	tokens   *rest.Tokens
	bodies   *rest.Bodies
	replays  rest.Replays
	limit    rest.Limit
	payments *rest.Table[payment]

	newPayment, amount, query *rest.Schema
}

// New starts the API with a captured payment of alice and an authorised one of
// bob.
func New(o defect.Options) http.Handler {
	o.Fill()
	m := defect.Select(mutants, o.Mutant)
	skip := rest.Skip(m.Check())
	a := &api{Options: o, skip: skip, bodies: rest.NewBodies(skip), replays: rest.Replays{Skip: skip},
		tokens:   &rest.Tokens{Key: o.Key, Audience: Audience, Now: o.Now, Skip: skip},
		limit:    rest.Limit{Burst: 200, Every: 10 * time.Millisecond, Now: o.Now},
		payments: rest.NewTable[payment]("payments", skip)}
	a.compile()
	a.seed()
	return m.Wrap(rest.Routes(
		rest.On("GET", "/payments", a.list),
		rest.On("POST", "/payments", a.authorise),
		rest.On("GET", "/payments/{paymentId}", a.read),
		rest.On("POST", "/payments/{paymentId}/capture", a.capture),
		rest.On("POST", "/payments/{paymentId}/void", a.void),
		rest.On("GET", "/payments/{paymentId}/refunds", a.listRefunds),
		rest.On("POST", "/payments/{paymentId}/refunds", a.refund),
		rest.On("GET", "/settlements", a.settlements),
	), &a.Options)
}

const decimal = `^(0\.[0-9][1-9]|0\.[1-9]0|[1-9][0-9]{0,5}\.[0-9]{2})$`

func (a *api) compile() {
	a.newPayment = rest.Object(
		rest.Needs("amount", rest.Matching(decimal)),
		rest.Needs("currency", rest.OneOf("CHF", "EUR", "USD")),
		rest.Needs("reference", rest.Text(1, 40)),
		rest.Needs("card", rest.Matching(`^[0-9]{12,19}$`)),
	).Name("payment", a.skip)
	if a.skip.Skips("payment.state") { // the caller may choose the state
		a.newPayment.Fields = append(a.newPayment.Fields, rest.May("state", rest.OneOf("authorised", "captured").Name("state", "")))
	}
	a.amount = rest.Object(rest.Needs("amount", rest.Matching(decimal))).Name("amount", a.skip)
	a.query = rest.Object(
		rest.May("after", rest.Formatted("uuid")),
		rest.May("limit", rest.Integer(1, 100).Or(25)),
		rest.May("state", rest.OneOf("authorised", "captured", "voided")),
	).Name("payments", a.skip)
}

func (a *api) seed() {
	made := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	a.payments.Seed("00000000-0000-4000-8000-0000000000a1", payment{"alice", "captured", "EUR", "Invoice 17", "4242", 12_50, 12_50, nil, made})
	a.payments.Seed("00000000-0000-4000-8000-0000000000b1", payment{"bob", "authorised", "EUR", "Invoice 18", "1881", 80_00, 0, nil, made})
}

// who gives the principal, who must not be over the rate.
func (a *api) who(r *http.Request) (rest.Principal, error) {
	who, err := a.tokens.Who(r)
	if err == nil && !a.skip.Skips("rate") {
		err = a.limit.Take(who.Name)
	}
	return who, err
}

func (a *api) mine(who rest.Principal, p payment, verb string) bool {
	return p.Owner == who.Name || who.Admin() || a.skip.Skips("owner."+verb)
}

var errNotFound = rest.Fail(http.StatusNotFound, "no such payment")

func (a *api) find(r *http.Request, verb string) (rest.Row[payment], error) {
	who, err := a.who(r)
	if err != nil {
		return rest.Row[payment]{}, err
	}
	id, err := rest.PathID(r, "paymentId")
	if err != nil {
		return rest.Row[payment]{}, err
	}
	row, ok := a.payments.Get(id)
	if !ok || !a.mine(who, row.Value, verb) {
		return row, errNotFound
	}
	return row, nil
}

type page struct {
	Items []paymentView `json:"items"`
	More  bool          `json:"more"`
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	var q struct {
		After, State string
		Limit        int
	}
	if err := a.query.Params(r, &q); err != nil {
		return err
	}
	rows := a.payments.List(func(p rest.Row[payment]) bool {
		return a.mine(who, p.Value, "list") && (q.State == "" || p.Value.State == q.State)
	})
	if q.After != "" {
		at := slices.IndexFunc(rows, func(p rest.Row[payment]) bool { return p.ID == q.After })
		if at < 0 {
			return rest.Invalid("after", "unknown")
		}
		rows = rows[at+1:]
	}
	n := min(max(q.Limit, 1), len(rows))
	out := page{Items: []paymentView{}, More: n < len(rows)}
	for _, row := range rows[:n] {
		out.Items = append(out.Items, view(row))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func (a *api) authorise(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	if r.Header.Get("Idempotency-Key") == "" && !a.skip.Skips("key") {
		return rest.Invalid("Idempotency-Key", "required")
	}
	return a.replays.Once(who, w, r, func(w http.ResponseWriter, r *http.Request) error {
		in := struct {
			Amount                           cents
			Currency, Reference, Card, State string
		}{State: "authorised"}
		if err := a.bodies.Read(w, r, a.newPayment, &in); err != nil {
			return err
		}
		p := payment{Owner: who.Name, State: in.State, Currency: in.Currency, Reference: in.Reference,
			Card: in.Card[max(0, len(in.Card)-4):], Amount: in.Amount, Created: a.Now()}
		if p.State == "captured" {
			p.Captured = p.Amount
		}
		row, err := a.payments.Insert(a.ID(), p)
		if err != nil {
			return err
		}
		w.Header().Set("Location", "/payments/"+row.ID)
		return rest.WriteJSON(w, http.StatusCreated, view(row))
	})
}

func (a *api) read(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "read")
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func conflict(detail string) error { return rest.Fail(http.StatusConflict, detail) }

func (a *api) capture(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "capture")
	if err != nil {
		return err
	}
	var in struct{ Amount cents }
	if err := a.bodies.Read(w, r, a.amount, &in); err != nil {
		return err
	}
	row, err = a.payments.Update(row.ID, func(row *rest.Row[payment]) error {
		p := &row.Value
		switch {
		case p.State != "authorised" && !a.skip.Skips("capture.state"):
			return conflict("the payment is " + p.State)
		case in.Amount > p.Amount && !a.skip.Skips("capture.amount"):
			return conflict("more than was authorised")
		}
		p.State, p.Captured = "captured", in.Amount
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func (a *api) void(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "void")
	if err != nil {
		return err
	}
	row, err = a.payments.Update(row.ID, func(row *rest.Row[payment]) error {
		if row.Value.State != "authorised" && !a.skip.Skips("void.state") {
			return conflict("the payment is " + row.Value.State)
		}
		row.Value.State = "voided"
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

type refunds struct {
	Items []refund `json:"items"`
}

func (a *api) listRefunds(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "refunds")
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, refunds{append([]refund{}, row.Value.Refunds...)})
}

func (a *api) refund(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "refund")
	if err != nil {
		return err
	}
	var in struct{ Amount cents }
	if err := a.bodies.Read(w, r, a.amount, &in); err != nil {
		return err
	}
	made := refund{a.ID(), in.Amount, stamp(a.Now())}
	_, err = a.payments.Update(row.ID, func(row *rest.Row[payment]) error {
		p := &row.Value
		switch {
		case p.State != "captured":
			return conflict("the payment is " + p.State)
		case p.refunded()+in.Amount > p.Captured && !a.skip.Skips("refund.amount"):
			return conflict("more than was captured")
		}
		p.Refunds = append(slices.Clone(p.Refunds), made)
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusCreated, made)
}

// settlements sums what was captured and not refunded, by currency.
func (a *api) settlements(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	if !who.Admin() && !a.skip.Skips("admin") {
		return rest.Fail(http.StatusForbidden, "for administrators")
	}
	sums := map[string]cents{"CHF": 0, "EUR": 0, "USD": 0}
	for _, row := range a.payments.List(nil) {
		sums[row.Value.Currency] += row.Value.Captured - row.Value.refunded()
	}
	return rest.WriteJSON(w, http.StatusOK, sums)
}
