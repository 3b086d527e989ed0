package mutants_test

import "strings"

const (
	paidByAlice = "/payments/" + ofA
	openOfBob   = "/payments/" + ofBob
)

func pay(key, amount, more string) step {
	st := step{who: "alice", method: "POST", path: "/payments", body: `{"amount":` + amount + `,"currency":"EUR","reference":"Invoice 19"` + more + `}`}
	if key != "" {
		st.header = []string{"Idempotency-Key: " + key}
	}
	return st
}

func (s step) breaks() step        { s.bad = true; return s }
func (s step) keeps(k string) step { s.keep = k; return s }
func (s step) by(who string) step  { s.who = who; return s }
func (s step) with(h ...string) step {
	s.header = append(s.header[:len(s.header):len(s.header)], h...)
	return s
}

const card = `,"card":"4242424242424242"`

var paymentsWalk = []step{
	{who: "alice", method: "GET", path: "/payments"},
	{who: "-", method: "GET", path: "/payments"},
	{who: "alice other", method: "GET", path: "/payments"},
	{who: "alice none", method: "GET", path: "/payments"},
	{who: "alice", method: "GET", path: "/payments?limit=0", bad: true},
	{who: "alice", method: "GET", path: "/payments?state=lost", bad: true},
	pay("k1", `"12.50"`, card).keeps("id=/id"),
	pay("k1", `"12.50"`, card),
	pay("k1", `"13.50"`, card),
	pay("k1", `"12.50"`, card).by("bob"),
	pay("", `"12.50"`, card).breaks(),
	pay("k2", `"-2.50"`, card).breaks(),
	pay("k2", `12.50`, card).breaks(),
	pay("k2", `"12.50"`, "").breaks(),
	pay("k2", `"12.50"`, card+`,"state":"captured"`).breaks(),
	pay("k2", `"12.50"`, card+`} {"a":1`).breaks(),
	pay("k2", `"12.50"`, card).with("Content-Type: text/plain").breaks(),
	{who: "alice", method: "POST", path: "/payments", header: []string{"Idempotency-Key: k3"}, body: `{"amount":"1.00","currency":"XXX","reference":"r"` + card + `}`, bad: true},
	{who: "alice", method: "POST", path: "/payments", header: []string{"Idempotency-Key: k3"}, body: `{"amount":"1.00","currency":"EUR","reference":"` + strings.Repeat("r", 41) + `"` + card + `}`, bad: true},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "GET", path: "/payments/{id}", times: 12},
	{who: "alice", method: "GET", path: "/payments?limit=1"},
	{who: "alice", method: "GET", path: "/payments?limit=1&after=" + ofA},
	{who: "alice", method: "GET", path: openOfBob},
	{who: "alice", method: "POST", path: openOfBob + "/capture", body: `{"amount":"80.00"}`},
	{who: "alice", method: "POST", path: openOfBob + "/void"},
	{who: "bob", method: "GET", path: "/payments/" + ofA + "/refunds"},
	{who: "bob", method: "POST", path: "/payments/" + ofA + "/refunds", body: `{"amount":"1.00"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/refunds", body: `{"amount":"1.00"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/capture", body: `{"amount":"12.51"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/capture", body: `{"amount":"10.00"}`},
	{who: "alice", method: "GET", path: "/payments/{id}"},
	{who: "alice", method: "POST", path: "/payments/{id}/void"},
	{who: "alice", method: "POST", path: "/payments/{id}/capture", body: `{"amount":"1.00"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/refunds", body: `{"amount":"10.01"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/refunds", body: `{"amount":"1.00"}`},
	{who: "alice", method: "POST", path: "/payments/{id}/refunds", body: `{"amount":"x"}`, bad: true},
	{who: "alice", method: "POST", path: "/payments/{id}/refunds", body: `{"amount":"5.00"}`, times: 16},
	{who: "alice", method: "GET", path: paidByAlice + "/refunds"},
	{who: "bob", method: "POST", path: openOfBob + "/void"},
	{who: "bob", method: "GET", path: "/payments"},
	{who: "bob", method: "POST", path: openOfBob + "/capture", body: `{"amount":"1.00"}`},
	{who: "root", method: "GET", path: "/settlements"},
	{who: "bob", method: "GET", path: "/settlements"},
	{who: "bob", method: "GET", path: "/payments/1", bad: true},
	{who: "bob", method: "DELETE", path: "/payments/" + ofA, off: true},
	{who: "bob", method: "GET", path: "/payments", times: 200},
	{who: "bob", method: "GET", path: "/payments"},
}
