package main

import (
	"slices"
	"strings"
)

// families are the first words of the names that rules have: sqli.tautology,
// schema.type, token.expired. An exception of another family spares nothing.
var families = strings.Fields(`acr answer api auth auth-time body bounds cache certificate client cmdi code cookie credential credentials crlf deserialisation document door
	egress encoding error evasion file framing graphql grpc header host instance introspection json jsonrpc key ldap leak limit load log4shell media message method multipart
	nosql operation parameter path pollution principal proof proto query quota request rpc rule schema scope shellshock sideload signature soap sqli sse ssi ssrf ssti target
	tls token traversal upstream websocket window xml xpath xsd xss xxe`)

// strangeRule says what is odd about the rule of an exception, "" when nothing is.
func strangeRule(rule string) string {
	family, _, _ := strings.Cut(rule, ".")
	if slices.Contains(families, family) {
		return ""
	}
	known := map[string][]int{}
	for _, f := range families {
		known[f] = nil
	}
	return "no rule's name begins with " + family + nearest(family, known)
}
