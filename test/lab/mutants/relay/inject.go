package relay

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/test/lab/mutants/rest"
)

var (
	product = regexp.MustCompile(`(?:\{\{|\$\{|<%=|#\{)\s*([0-9]{1,4})\s*\*\s*([0-9]{1,4})\s*(?:\}\}|\}|%>)`)
	always  = regexp.MustCompile(`(?i)'\s*or\s+'?([0-9a-z]+)'?\s*=\s*'?([0-9a-z]+)`)
	pause   = regexp.MustCompile(`(?i)(?:[;|&]\s*|\$\(|` + "`" + `)sleep\s+([0-9]{1,2})`)
	command = regexp.MustCompile(`(?:[;|&]\s*|\$\(|` + "`" + `)id\b`)
)

// inject acts, in the mutants of injection, what an interpreter behind a naive
// search would do with the query: it says whether the condition was made true
// for all, and may change the query that is echoed. In the correct server it
// does nothing.
func (a *api) inject(ctx context.Context, q *string) (bool, error) {
	switch a.skip {
	case "search.sql":
		if m := always.FindStringSubmatch(*q); m != nil && m[1] == m[2] {
			return true, nil
		}
		if strings.Count(*q, "'")%2 == 1 {
			return false, &rest.Problem{Type: "about:blank", Title: "Internal Server Error", Status: http.StatusInternalServerError,
				Detail: `ERROR: unterminated quoted string at or near "'" (SQLSTATE 42601)`}
		}
	case "search.blind":
		if m := always.FindStringSubmatch(*q); m != nil && m[1] == m[2] {
			return true, nil
		}
	case "search.template":
		*q = product.ReplaceAllStringFunc(*q, func(s string) string {
			m := product.FindStringSubmatch(s)
			x, _ := strconv.Atoi(m[1])
			y, _ := strconv.Atoi(m[2])
			return strconv.Itoa(x * y)
		})
	case "search.command":
		if m := pause.FindStringSubmatch(*q); m != nil {
			n, _ := strconv.Atoi(m[1])
			a.Sleep(ctx, time.Duration(min(n, 10))*time.Second)
		}
		if command.MatchString(*q) {
			*q = "uid=33(www-data) gid=33(www-data) groups=33(www-data)"
		}
	}
	return false, nil
}
