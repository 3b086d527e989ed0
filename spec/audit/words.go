package audit

import (
	"net/url"
	"slices"
	"strings"
)

func unescape(s string) (string, error) { return url.PathUnescape(s) }

// words splits a name at its humps, digits apart and signs, in lower case.
func words(name string) []string {
	var out []string
	var w []byte
	flush := func() {
		if len(w) > 0 {
			out = append(out, string(w))
			w = nil
		}
	}
	for i := 0; i < len(name) && i < 96; i++ {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') || i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z' {
				flush()
			}
			w = append(w, c+32)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			w = append(w, c)
		default:
			flush()
		}
	}
	flush()
	return out
}

// flat is a name without signs and case.
func flat(name string) string { return strings.Join(words(name), "") }

func anyWord(name string, of ...string) bool {
	for _, w := range words(name) {
		if slices.Contains(of, w) {
			return true
		}
	}
	return false
}

func lastWord(name string, of ...string) bool {
	w := words(name)
	return len(w) > 0 && slices.Contains(of, w[len(w)-1])
}

func isName(name string, of ...string) bool { return slices.Contains(of, flat(name)) }

func passwordName(name string) bool {
	return isName(name, "pwd", "passwd", "pass", "passphrase", "passcode", "pin", "userpass", "kennwort") ||
		lastWord(name, "password", "passwd", "passphrase")
}

// secretName reports whether a name is that of a token or secret, and not of
// one that only goes through lists.
func secretName(name string) bool {
	if anyWord(name, "page", "next", "continuation", "cursor", "sync", "public", "type", "previous", "pagination", "count", "csrf", "expires", "expiry", "name", "device", "push", "cancel") {
		return false
	}
	return isName(name, "token", "secret", "apikey", "accesstoken", "refreshtoken", "authtoken", "idtoken", "clientsecret", "privatekey", "secretkey", "jwt", "sessionid", "sid", "jsessionid", "phpsessid", "sessiontoken", "resettoken", "apitoken", "authkey", "bearer", "usertoken", "accesskey", "signingkey", "passwordtoken", "xapikey", "credential", "credentials") ||
		lastWord(name, "secret") && !anyWord(name, "has")
}

// idName reports whether a name is that of an identifier.
func idName(name string) bool { return isName(name, "id", "uid", "pk") || lastWord(name, "id") }

var ownerNames = []string{"userid", "ownerid", "accountid", "customerid", "tenantid", "memberid", "createdby", "createdbyid", "authorid", "patientid", "employeeid", "organizationid", "organisationid", "vehicleownerid"}

func ownerName(name string) bool { return isName(name, ownerNames...) }

var serverNames = []string{"id", "createdat", "updatedat", "createdon", "updatedon", "modifiedat", "lastmodified", "lastmodifiedat", "createdby", "updatedby", "deletedat", "creationdate", "createdtime", "updatedtime", "datecreated", "dateupdated", "created", "updated", "etag", "revision"}

func privileged(name string) bool {
	return isName(name, "isadmin", "admin", "issuperuser", "superuser", "isstaff", "role", "roles", "userrole", "privileges", "permissions", "isverified", "verified", "emailverified", "balance", "accountbalance", "credit", "availablecredit", "isactive", "approved", "isapproved", "accesslevel", "issuper", "isroot", "siteadmin", "banned", "isbanned")
}

func segments(path string) []string {
	var out []string
	for s := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		out = append(out, s)
	}
	return out
}

// literal reports whether a path has one of these words as a whole literal
// segment, or as the first word of one.
func literal(path string, of ...string) bool {
	for _, s := range segments(path) {
		if strings.Contains(s, "{") {
			continue
		}
		if slices.Contains(of, strings.ToLower(s)) || slices.Contains(of, flat(s)) {
			return true
		}
	}
	return false
}

// params are the names of a template's parameters, in order.
func params(path string) []string {
	var out []string
	for {
		i := strings.IndexByte(path, '{')
		if i < 0 {
			return out
		}
		path = path[i+1:]
		j := strings.IndexByte(path, '}')
		if j < 0 {
			return out
		}
		out = append(out, path[:j])
		path = path[j+1:]
	}
}
