package mutants_test

import "strings"

func url(path, target string) step {
	body := `{"url":"` + target + `"}`
	if path == "/webhooks" {
		body = `{"url":"` + target + `","events":["created"]}`
	}
	return step{who: "alice", method: "POST", path: path, body: body}
}

func signIn(email, password string) step {
	return step{who: "-", method: "POST", path: "/sessions", body: `{"email":"` + email + `","password":"` + password + `"}`}
}

var relayWalk = []step{
	signIn("alice@example.test", "an example, not a secret"),
	signIn("alice@example.test", "wrong"),
	signIn("carol@example.test", "wrong"),
	{who: "-", method: "POST", path: "/password-resets", body: `{"email":"carol@example.test"}`},
	{who: "alice", method: "GET", path: "/me"},
	{who: "alice", method: "GET", path: "/me", header: []string{"Origin: https://evil.example"}},
	{who: "-", method: "GET", path: "/search?q=rivers"},
	{who: "-", method: "GET", path: "/search?q=x'%20or%20'1'='1"},
	{who: "-", method: "GET", path: "/search?q=%7B%7B7*7%7D%7D"},
	{who: "-", method: "GET", path: "/search?q=x%7Cid"},
	{who: "-", method: "GET", path: "/actuator/env", off: true},
	{who: "alice", method: "GET", path: "/webhooks"},
	url("/webhooks", "https://hooks.example.com/in").keeps("id=/id"),
	url("/webhooks", "http://127.0.0.1/"),
	{who: "alice", method: "GET", path: "/webhooks/{id}"},
	{who: "alice", method: "GET", path: "/webhooks/" + ofBob},
	{who: "bob", method: "DELETE", path: "/webhooks/{id}"},
	{who: "alice", method: "DELETE", path: "/webhooks/{id}"},
	{who: "alice", method: "POST", path: "/webhooks", body: `{"url":"https://a.example.com/","events":["lost"]}`, bad: true},
	{who: "alice", method: "POST", path: "/webhooks", body: `{"url":"https://a.example.com/","events":["created"],"metadata":{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}}`},
	url("/fetches", "https://example.com/").keeps("fetch=/id"),
	{who: "alice", method: "GET", path: "/fetches/{fetch}"},
	url("/fetches", "http://10.0.0.1/"),
	url("/fetches", "http://localhost/"),
	url("/fetches", "http://2130706433/"),
	url("/fetches", "http://[::ffff:10.0.0.1]/"),
	url("/fetches", "http://169.254.169.254/"),
	{who: "-", method: "POST", path: "/sessions", body: `{"email":"dave@example.test","password":"x"}`, times: 24},
}
