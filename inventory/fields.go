package inventory

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev"
)

// FieldType is the type of a field's value.
type FieldType string

// The types. Every value travels as text: a list is one claim an element, a
// time is RFC 3339 in UTC, a number is a decimal, a bool is "true" or "false",
// an enum is one of its words in lower case, a person is a name or an address.
const (
	StringField FieldType = "string"
	EnumField   FieldType = "enum"
	ListField   FieldType = "list"
	TimeField   FieldType = "time"
	NumberField FieldType = "number"
	PersonField FieldType = "person"
	BoolField   FieldType = "bool"
)

// Resolution says what follows when several sources speak of one field.
type Resolution string

// The resolutions.
const (
	// Settled: what configuration declares, else what a person confirmed, else
	// the claim with the most confidence, halved every 90 days.
	Settled Resolution = "settled"
	// Union: the values of all sources stand side by side.
	Union Resolution = "union"
	// Newest: the last claim stands, whoever makes it.
	Newest Resolution = "newest"
	// Computed: the inventory works it out of what it counted; nobody claims it.
	Computed Resolution = "computed"
)

// FieldSource is a kind of source that may set a field.
type FieldSource string

// The kinds of source, from the strongest.
const (
	FromConfiguration FieldSource = "configuration"
	FromPerson        FieldSource = "person"
	FromClaim         FieldSource = "claim"
	FromTraffic       FieldSource = "traffic"
)

// A Field is one thing that the inventory knows of an API.
type Field struct {
	Name      string
	Title     string
	Group     string
	Type      FieldType
	Values    []string // of an enum, or of the elements of a list
	Sources   []FieldSource
	Conflicts Resolution
	Operation bool // operations have it too
	Doc       string
}

var (
	declarable = []FieldSource{FromConfiguration, FromPerson, FromClaim}
	claimable  = []FieldSource{FromPerson, FromClaim}
	observable = []FieldSource{FromPerson, FromClaim, FromTraffic}
	computed   = []FieldSource{FromTraffic}
)

// fields is the list, in the order in which people read it.
var fields = []Field{
	{"title", "Title", "identity", StringField, nil, claimable, Settled, true, "What people call it"},
	{"description", "Description", "identity", StringField, nil, claimable, Settled, true, "What it is for"},
	{"kind", "Kind", "identity", EnumField, []string{"rest", "graphql", "grpc", "grpc-web", "soap", "json-rpc", "xml-rpc", "odata", "websocket", "sse", "webhook", "mcp", "webdav", "asyncapi", "mqtt", "http", "other"}, claimable, Settled, true, "How it is spoken to"},
	{"hosts", "Hosts", "identity", ListField, nil, declarable, Union, false, "Host names under which it is served"},
	{"path", "Path", "identity", StringField, nil, declarable, Settled, false, "Path prefix below its hosts"},
	{"addresses", "Addresses", "identity", ListField, nil, claimable, Union, false, "address:port where it answers"},
	{"versions", "Versions", "identity", ListField, nil, claimable, Union, true, "Versions being served"},
	{"tags", "Tags", "identity", ListField, nil, claimable, Union, true, "Words its people file it under"},
	{"technology", "Technology", "identity", ListField, nil, claimable, Union, false, "Products and versions it is recognised by: nginx/1.27, Spring Boot"},
	{"language", "Language", "identity", StringField, nil, claimable, Settled, false, "Programming language"},
	{"framework", "Framework", "identity", ListField, nil, claimable, Union, true, "Web framework that declares its routes"},
	{"code", "Code", "identity", ListField, nil, claimable, Union, true, "file:line where it is declared"},
	{"repository", "Repository", "identity", StringField, nil, claimable, Settled, false, "Where its source code is kept"},
	{"documentation", "Documentation", "identity", ListField, nil, claimable, Union, true, "Where it is described for people"},

	{"owner.team", "Owner", "ownership", StringField, nil, declarable, Settled, true, "The team that answers for it"},
	{"owner.contact", "Owner's contact", "ownership", PersonField, nil, declarable, Settled, true, "How to reach them"},
	{"owner.deputy", "Deputy", "ownership", PersonField, nil, declarable, Settled, true, "Who answers when the owner can't"},
	{"owner.oncall", "On call", "ownership", PersonField, nil, claimable, Settled, false, "Who is woken at night"},
	{"department", "Department", "ownership", StringField, nil, declarable, Settled, false, "Part of the organisation"},
	{"cost_centre", "Cost centre", "ownership", StringField, nil, claimable, Settled, false, "Who pays"},
	{"contacts", "Contacts", "ownership", ListField, nil, claimable, Union, false, "Others to ask"},
	{"vendor", "Vendor", "ownership", StringField, nil, claimable, Settled, false, "Who made it, when others did"},
	{"criticality", "Criticality", "ownership", EnumField, []string{"low", "medium", "high", "critical"}, claimable, Settled, true, "What its loss means to the business"},

	{"provider", "Provider", "hosting", StringField, nil, claimable, Settled, false, "Hosting provider"},
	{"region", "Region", "hosting", ListField, nil, claimable, Union, false, "Where it runs"},
	{"environment", "Environment", "hosting", EnumField, []string{"production", "staging", "test", "development", "sandbox"}, claimable, Settled, false, "What it is run for"},
	{"cdn", "CDN", "hosting", StringField, nil, claimable, Settled, false, "Content delivery network in front"},
	{"waf", "WAF", "hosting", StringField, nil, claimable, Settled, false, "Web application firewall in front"},
	{"gateways", "Gateways", "hosting", ListField, nil, claimable, Union, false, "Gateways, proxies and controllers that route to it"},
	{"cluster", "Cluster", "hosting", StringField, nil, claimable, Settled, false, "Cluster it runs in"},
	{"namespace", "Namespace", "hosting", StringField, nil, claimable, Settled, false, "Namespace in the cluster"},
	{"workload", "Workload", "hosting", ListField, nil, claimable, Union, false, "Deployments, containers, processes that serve it"},
	{"upstreams", "Upstreams", "hosting", ListField, nil, claimable, Union, true, "What it calls: names of APIs, hosts, addresses"},
	{"residency", "Data residency", "hosting", ListField, nil, claimable, Union, false, "Countries in which its data is kept"},

	{"exposure.declared", "Exposure declared", "exposure", EnumField, []string{"external", "partner", "internal", "third-party"}, declarable, Settled, false, "From where it is meant to be reached"},
	{"exposure.observed", "Exposure observed", "exposure", EnumField, []string{"external", "internal"}, observable, Settled, false, "From where it was reached"},
	{"auth.declared", "Authentication declared", "exposure", ListField, nil, claimable, Union, true, "Schemes that its specification demands"},
	{"auth.observed", "Authentication observed", "exposure", ListField, nil, observable, Union, true, "Kinds of credential that are used: oidc, key, certificate, basic, anonymous"},
	{"tls.versions", "TLS versions", "exposure", ListField, nil, claimable, Union, false, "What its listeners speak"},
	{"tls.issuer", "Certificate's issuer", "exposure", StringField, nil, claimable, Newest, false, "Who signed its certificate"},
	{"tls.expires", "Certificate's end", "exposure", TimeField, nil, claimable, Newest, false, "When its certificate ends"},
	{"tls.share", "Share over TLS", "exposure", NumberField, nil, computed, Computed, true, "Requests over TLS among all, 0 to 1"},
	{"mtls", "Mutual TLS", "exposure", BoolField, nil, claimable, Settled, false, "Clients show a certificate"},

	{"lifecycle", "Lifecycle", "lifecycle", EnumField, []string{"planned", "active", "deprecated", "dormant", "retired"}, observable, Settled, true, "Where it stands between plan and end"},
	{"state", "State", "lifecycle", ListField, []string{"shadow", "zombie", "orphan", "dormant"}, computed, Computed, true, "What is wrong with it being there"},
	{"deprecated_at", "Deprecated", "lifecycle", TimeField, nil, claimable, Settled, true, "Since when nobody should begin to use it"},
	{"sunset_at", "Sunset", "lifecycle", TimeField, nil, claimable, Settled, true, "When it will be switched off (RFC 8594)"},
	{"replaced_by", "Replaced by", "lifecycle", StringField, nil, claimable, Settled, true, "What to use instead"},
	{"spec", "Specification", "lifecycle", ListField, nil, declarable, Union, true, "Where its specification is"},
	{"spec.version", "Specification's version", "lifecycle", StringField, nil, claimable, Newest, false, "As the document says"},
	{"spec.drift", "Drift", "lifecycle", NumberField, nil, computed, Computed, true, "Operations, parameters and statuses in use and in no specification"},
	{"operations", "Operations", "lifecycle", NumberField, nil, computed, Computed, false, "All but those that were only probed"},
	{"operations.shadow", "Shadow operations", "lifecycle", NumberField, nil, computed, Computed, false, "In use and in no specification"},
	{"operations.unused", "Unused operations", "lifecycle", NumberField, nil, computed, Computed, false, "Declared and never used"},

	{"data.classes", "Data classes", "data", ListField, nil, observable, Union, true, "Kinds of sensitive data in requests and answers"},
	{"data.classification", "Classification", "data", EnumField, []string{"public", "internal", "confidential", "restricted"}, claimable, Settled, true, "How its data is to be handled"},
	{"compliance", "Compliance", "data", ListField, nil, observable, Union, false, "Regimes in whose scope it is: pci-dss, gdpr, hipaa, …"},

	{"first_seen", "First seen", "traffic", TimeField, nil, computed, Computed, true, "First request"},
	{"last_seen", "Last seen", "traffic", TimeField, nil, computed, Computed, true, "Last request"},
	{"requests", "Requests", "traffic", NumberField, nil, computed, Computed, true, "Ever counted"},
	{"rate", "Rate", "traffic", NumberField, nil, computed, Computed, false, "Requests a second over the last minute"},
	{"latency.p95", "Latency", "traffic", NumberField, nil, computed, Computed, true, "95th percentile, milliseconds"},
	{"error_rate", "Error rate", "traffic", NumberField, nil, computed, Computed, true, "Share of 5xx and lost answers"},
	{"consumers", "Consumers", "traffic", ListField, nil, observable, Union, true, "Who calls it"},
	{"consumers.count", "Number of consumers", "traffic", NumberField, nil, computed, Computed, true, "Distinct principals, within 2 %"},
	{"instances", "Instances", "traffic", ListField, nil, claimable, Union, false, "Addresses that serve it now"},

	{"slo.availability", "Availability promised", "reliability", NumberField, nil, claimable, Settled, false, "Share of requests, 0 to 1"},
	{"slo.latency", "Latency promised", "reliability", NumberField, nil, claimable, Settled, false, "95th percentile, milliseconds"},
	{"error_budget", "Error budget left", "reliability", NumberField, nil, computed, Computed, false, "Of the failures that slo.availability allows among all that was counted: 1 = all of it, below 0 = overdrawn"},
	{"dr.tier", "Recovery tier", "reliability", EnumField, []string{"0", "1", "2", "3", "4"}, claimable, Settled, false, "0 comes back first"},
	{"dr.rto", "Recovery time", "reliability", NumberField, nil, claimable, Settled, false, "Minutes until it must serve again"},
	{"dr.rpo", "Recovery point", "reliability", NumberField, nil, claimable, Settled, false, "Minutes of data that may be lost"},
	{"dr.drilled", "Last drill", "reliability", TimeField, nil, claimable, Newest, false, "When its recovery was last tried"},

	{"evidence", "Evidence", "assurance", EnumField, []string{"unseen", "probed", "seen once", "corroborated", "matched"}, computed, Computed, true, "How good the evidence for it is"},
	{"spec.score", "Score of its specification", "assurance", NumberField, nil, claimable, Newest, true, "0 to 100 by the audit of its documents; the worst of several"},
	{"conformance.last", "Last conformance test", "assurance", TimeField, nil, claimable, Newest, true, "When its instances were last tested"},
	{"conformance.result", "Result of it", "assurance", EnumField, []string{"passed", "failed", "incomplete"}, claimable, Newest, true, "What came out"},
	{"findings.open", "Open findings", "assurance", NumberField, nil, computed, Computed, true, "What is wrong with it and not mended"},
	{"findings.worst", "Worst finding", "assurance", EnumField, []string{"info", "low", "medium", "high", "critical"}, computed, Computed, true, "Severity of the worst open finding"},
	{"risk", "Risk", "assurance", NumberField, nil, computed, Computed, true, "0 to 100"},
	{"notes", "Notes", "assurance", ListField, nil, claimable, Union, true, "What people wrote down"},
}

var fieldByName = func() map[string]*Field {
	m := make(map[string]*Field, len(fields))
	for i := range fields {
		m[fields[i].Name] = &fields[i]
	}
	return m
}()

// Fields lists what the inventory knows of an API, in reading order. The caller
// owns the list; the slices inside are shared and must not be changed.
func Fields() []Field { return slices.Clone(fields) }

// FieldNamed gives the field of that name.
func FieldNamed(name string) (Field, bool) {
	f := fieldByName[name]
	if f == nil {
		return Field{}, false
	}
	return *f, true
}

// may reports whether a kind of source may set f.
func (f *Field) may(s FieldSource) bool { return slices.Contains(f.Sources, s) }

// words that sources write for those of an enum.
var words = map[string]map[string]string{
	"environment":        {"prod": "production", "prd": "production", "live": "production", "stage": "staging", "stg": "staging", "preprod": "staging", "uat": "test", "qa": "test", "testing": "test", "dev": "development", "local": "development", "demo": "sandbox"},
	"exposure.declared":  {"public": "external", "internet": "external", "private": "internal", "partners": "partner", "third party": "third-party"},
	"exposure.observed":  {"public": "external", "internet": "external", "private": "internal"},
	"lifecycle":          {"production": "active", "experimental": "planned", "live": "active", "sunset": "deprecated", "decommissioned": "retired"},
	"kind":               {"openapi": "rest", "json": "rest", "wsdl": "soap", "ws": "websocket", "jsonrpc": "json-rpc", "xmlrpc": "xml-rpc"},
	"conformance.result": {"pass": "passed", "fail": "failed"},
}

// normal gives value in the form in which f keeps it. One that does not fit is
// sallyport.Invalid.
func (f *Field) normal(value string) (string, error) {
	bad := func(want string) (string, error) {
		return "", sallyport.Errorf(sallyport.Invalid, "field %s: the value is not %s", f.Name, want)
	}
	value = strings.TrimSpace(clean(value))
	if value == "" {
		return bad("there")
	}
	switch f.Type {
	case EnumField:
		value = strings.ToLower(value)
		if w, ok := words[f.Name][value]; ok {
			value = w
		}
		if !slices.Contains(f.Values, value) {
			return bad("one of " + strings.Join(f.Values, ", "))
		}
	case TimeField:
		for _, form := range []string{time.RFC3339, time.DateOnly, time.DateTime} {
			if t, err := time.Parse(form, value); err == nil && t.Year() > 0 && t.Year() < 10000 {
				return t.UTC().Format(time.RFC3339), nil
			}
		}
		return bad("a time as of RFC 3339")
	case NumberField:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return bad("a number")
		}
		return strconv.FormatFloat(n, 'f', -1, 64), nil
	case BoolField:
		switch strings.ToLower(value) {
		case "true", "yes", "1":
			return "true", nil
		case "false", "no", "0":
			return "false", nil
		}
		return bad("true or false")
	case ListField:
		if f.Name == "hosts" {
			return hostOf(value), nil
		}
	}
	return value, nil
}
