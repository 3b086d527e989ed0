package main

import (
	"fmt"
	"strings"
	"time"
)

// spared are the places where the vendor's own document forbids what its API
// takes: found by sending the recorded requests through the guard.
var spared = []struct{ operation, rule, reason string }{
	{"POST /{apiVersion}/domains", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/linode/instances", "schema.additionalProperties", "document joins two closed objects (additionalProperties: false) by allOf: only an empty object satisfies both"},
	{"POST /{apiVersion}/linode/instances/{linodeId}/configs", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/linode/instances/{linodeId}/ips", "schema.additionalProperties", "the closed object lacks the property; the API answered 400 to most, 200 to two"},
	{"POST /{apiVersion}/linode/instances/{linodeId}/ips", "schema.enum", "document says only IPv4 may be asked for; the API answered an error"},
	{"POST /{apiVersion}/linode/instances/{linodeId}/rebuild", "schema.additionalProperties", "document joins two closed objects (additionalProperties: false) by allOf: only an empty object satisfies both"},
	{"POST /{apiVersion}/lke/clusters", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/lke/clusters/{clusterId}/pools", "schema.additionalProperties", "document lacks the property in a closed object"},
	{"POST /{apiVersion}/lke/clusters/{clusterId}/pools", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/networking/firewalls", "schema.additionalProperties", "document lacks the property in a closed object"},
	{"POST /{apiVersion}/networking/firewalls", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/nodebalancers", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"POST /{apiVersion}/nodebalancers/{nodeBalancerId}/configs/{configId}/rebuild", "schema.additionalProperties", "document joins two closed objects (additionalProperties: false) by allOf: only an empty object satisfies both"},
	{"POST /{apiVersion}/object-storage/buckets", "schema.additionalProperties", "document lacks the older property in a closed object"},
	{"POST /{apiVersion}/object-storage/buckets", "schema.required", "document requires region; the API still takes the older cluster"},
	{"POST /{apiVersion}/object-storage/keys", "schema.additionalProperties", "document lacks the older property in a closed object"},
	{"POST /{apiVersion}/profile/tokens", "schema.format", "document asks for a date-time of RFC 3339; the API takes it without a zone, or null"},
	{"POST /{apiVersion}/profile/tokens", "schema.type", "document asks for a date-time of RFC 3339; the API takes it without a zone, or null"},
	{"POST /{apiVersion}/volumes", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"PUT /{apiVersion}/account/settings", "schema.readOnly", "document marks the property read only, or lacks the empty choice; the API takes it"},
	{"PUT /{apiVersion}/databases/mysql/instances/{instanceId}", "schema.maxLength", "the label is longer than the document allows; the API took it"},
	{"PUT /{apiVersion}/domains/{domainId}", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"PUT /{apiVersion}/linode/instances/{linodeId}/configs/{configId}", "schema.additionalProperties", "document lacks the property in a closed object"},
	{"PUT /{apiVersion}/linode/instances/{linodeId}/configs/{configId}", "schema.pattern", "document and API differ"},
	{"PUT /{apiVersion}/linode/instances/{linodeId}/configs/{configId}", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
	{"PUT /{apiVersion}/lke/clusters/{clusterId}/pools/{poolId}", "schema.additionalProperties", "document lacks the older property in a closed object"},
	{"PUT /{apiVersion}/longview/plan", "schema.enum", "document marks the property read only, or lacks the empty choice; the API takes it"},
	{"PUT /{apiVersion}/networking/firewalls/{firewallId}/rules", "schema.type", "document lacks nullable; the client sends null for what is unset and the API takes it"},
}

// exceptions writes them as the configuration has them, each with an owner and
// an end.
func exceptions(expires time.Time) string {
	var s strings.Builder
	for i, x := range spared {
		fmt.Fprintf(&s, "      - {id: VENDOR-%d, rule: %s, operation: %q, owner: compute@example.test, reason: %q, expires: %s}\n",
			i+1, x.rule, x.operation, x.reason, expires.Format(time.DateOnly))
	}
	return s.String()
}
