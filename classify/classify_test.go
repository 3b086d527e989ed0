package classify_test

import (
	"testing"

	"sallyport.dev/classify"
)

func TestTmp(t *testing.T) {
	for _, s := range []string{`{"card":"4111 1111 1111 1111","n":4111111111111111,"email":"a.b@example.com","ssn":"536-22-1234","ip":"10.2.3.4","ts":1700000000000}`, "call +49 30 1234567 or (212) 555-2368 or 212-555-2368", "DE89 3704 0044 0532 0130 00 GB82WEST12345698765432", "password=hunter22&x=1", "2001:db8:1:2::7 00:1b:44:11:3a:b7"} {
		for _, m := range classify.Scan([]byte(s), 0) {
			t.Log(m, s[m.Start:m.End])
		}
	}
}
