package scene

import (
	"time"

	"sallyport.dev/incident"
)

// Failures are what tests of the estate's instances found.
func Failures(now time.Time) []incident.New {
	return []incident.New{
		{Kind: "conformance", API: "payments", Subject: "http://10.20.0.11:9001", Title: "2 of 46 checks failed: negative.type, auth.missing", Severity: incident.Critical, Depth: 2, Source: "v018f0a2b3c41", At: now.Add(-40 * time.Minute),
			Evidence: []incident.Evidence{
				{Kind: "finding", Title: "auth.missing: createTransfer answers 201 without credentials", Body: "POST /payments/v1/transfers\n201 Created, want 401"},
				{Kind: "finding", Title: "negative.type: a text for an integer is taken", Body: "POST /payments/v1/transfers\n201 Created, want 4xx"},
			},
			Reproduction: "curl -X POST http://10.20.0.11:9001/payments/v1/transfers -H 'Content-Type: application/json' -d '{\"amount\": \"x\"}'", Difference: "build 41 passed 46 of 46; build 42: auth.missing, negative.type"},
		{Kind: "conformance", API: "accounts", Subject: "http://10.20.0.21:9002", Title: "1 of 31 checks failed: headers.cache", Severity: incident.Low, Depth: 1, Source: "v018f0a2b3c42", At: now.Add(-9 * time.Hour)},
	}
}
