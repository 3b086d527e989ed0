package gateway

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"sallyport.dev/guard"
)

// writeFault answers a caller of a SOAP service: a fault (SOAP 1.1 section 4.4,
// SOAP 1.2 section 5.4) that says what a problem document says, with its status.
// code is the fault's where it is not one of the two sides by the status.
func writeFault(w http.ResponseWriter, version int, code string, k guard.Kind, id string, extra [][2]string) int64 {
	var title strings.Builder
	xml.EscapeText(&title, []byte(k.Title)) // a Builder does not fail
	side := "Client"
	switch code {
	case "Client", "Sender":
	case "MustUnderstand", "VersionMismatch":
		side = code
	case "":
		if k.Status >= 500 {
			side = "Server"
		}
	default:
		side = "Server"
	}
	detail := `<problem xmlns="` + problemType + `" name="` + k.Name + `" status="` + strconv.Itoa(k.Status) + `" request-id="` + id + `"/>`
	media, body := `text/xml; charset=utf-8`, ""
	if version == 2 {
		media = `application/soap+xml; charset=utf-8`
		switch side {
		case "Client":
			side = "Sender"
		case "Server":
			side = "Receiver"
		}
		body = `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:` + side + `</e:Value></e:Code><e:Reason><e:Text xml:lang="en">` +
			title.String() + `</e:Text></e:Reason><e:Detail>` + detail + `</e:Detail></e:Fault></e:Body></e:Envelope>` + "\n"
	} else {
		body = `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault><faultcode>e:` + side + `</faultcode><faultstring>` +
			title.String() + `</faultstring><detail>` + detail + `</detail></e:Fault></e:Body></e:Envelope>` + "\n"
	}
	h := w.Header()
	problemHeaders(h, id, extra)
	h["Content-Type"] = []string{media}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(k.Status)
	n, _ := w.Write([]byte(body))
	return int64(n)
}
