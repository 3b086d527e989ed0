package silent

import "strings"

// loginWords are the last segments of paths at which people sign in.
var loginWords = map[string]bool{
	"login": true, "log-in": true, "signin": true, "sign-in": true, "sign_in": true, "logon": true, "authenticate": true, "authentication": true, "auth": true,
	"token": true, "tokens": true, "session": true, "sessions": true, "createsession": true, "password": true, "forgot-password": true, "reset-password": true, "forgot": true, "otp": true, "mfa": true, "2fa": true, "verify": true,
}

var secretFields = map[string]bool{"password": true, "passwd": true, "passphrase": true, "pin": true, "otp": true, "client_secret": true, "pass": true, "pwd": true}

// LooksLikeLogin reports whether an operation looks like one that signs people
// in, by its method, its path template and the names in its body.
func LooksLikeLogin(method, template string, fields []string) bool {
	if method != "POST" && method != "PUT" {
		return false
	}
	segments := strings.Split(strings.Trim(strings.ToLower(template), "/"), "/")
	last := segments[len(segments)-1]
	secret := false
	for _, f := range fields {
		name := strings.ToLower(f[strings.LastIndexByte(f, '/')+1:])
		secret = secret || secretFields[name]
	}
	switch last {
	case "login", "log-in", "signin", "sign-in", "sign_in", "logon", "authenticate":
		return true
	}
	return secret && loginWords[last]
}
