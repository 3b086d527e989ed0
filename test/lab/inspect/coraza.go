package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"sallyport.dev"
)

// peer judges with the OWASP Core Rule Set at paranoia level 1 as it comes,
// in blocking mode: the value stands in a whole request.
func corazaWAF() (coraza.WAF, error) {
	return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("Include @coraza.conf-recommended\nInclude @crs-setup.conf.example\nInclude @owasp_crs/*.conf\nSecRuleEngine On\nSecAuditEngine Off"))
}

func peer() (judge, error) {
	w, err := corazaWAF()
	if err != nil {
		return nil, fmt.Errorf("compile the core rule set: %w", err)
	}
	return func(v string, in sallyport.In) (bool, string) {
		tx := w.NewTransaction()
		defer tx.Close()
		tx.ProcessConnection("192.0.2.1", 50000, "", 0)
		method, uri := "GET", "/v1/items/1234?limit=20&sort=name"
		var body []byte
		switch in {
		case sallyport.InQuery:
			uri += "&q=" + url.QueryEscape(v)
		case sallyport.InBody:
			method = "POST"
			body, _ = json.Marshal(map[string]string{"note": v})
		}
		tx.ProcessURI(uri, method, "HTTP/1.1")
		tx.AddRequestHeader("Host", "api.example.test")
		tx.SetServerName("api.example.test")
		tx.AddRequestHeader("User-Agent", "shop-mobile/4.2.1 (Android 15; Pixel 8)")
		tx.AddRequestHeader("Accept", "application/json")
		if in == sallyport.InHeader {
			tx.AddRequestHeader("X-Note", v)
		}
		if body != nil {
			tx.AddRequestHeader("Content-Type", "application/json")
			tx.AddRequestHeader("Content-Length", fmt.Sprint(len(body)))
		}
		if it := tx.ProcessRequestHeaders(); it != nil {
			return true, fmt.Sprint(it.RuleID)
		}
		if body != nil {
			if _, _, err := tx.WriteRequestBody(body); err != nil {
				return false, err.Error()
			}
		}
		it, err := tx.ProcessRequestBody()
		if err != nil {
			return false, err.Error()
		}
		return it != nil, ""
	}, nil
}
