// Package linode embeds recorded traffic of a real cloud provider's API and the
// provider's own OpenAPI document; README.md names the sources and licences.
// Out come the two gzipped files; nothing here is ours and nothing is changed.
package linode

import _ "embed"

// Traffic is traffic.jsonl.gz: 2,275 exchanges as JSON lines.
//
//go:embed traffic.jsonl.gz
var Traffic []byte

// Spec is openapi.yaml.gz: 390 operations in OpenAPI 3.0.1.
//
//go:embed openapi.yaml.gz
var Spec []byte
