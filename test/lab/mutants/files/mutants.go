package files

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	d "sallyport.dev/test/lab/mutants/defect"
)

// Mutants are the API's, in the order of their numbers; new ones are added at
// the end.
func Mutants() []d.Mutant { return slices.Clone(mutants) }

const (
	one     = "GET /files/{fileId}"
	content = "GET /files/{fileId}/content"
)

var mutants = d.Number("files", []d.Mutant{
	// uploads
	d.Without("content.size").As("rejection/oversize", "API4:2023", "CWE-770", "files over 256 KiB are accepted"),
	d.Without("content.empty").As("rejection/length", "", "CWE-20", "empty files are accepted"),
	d.Without("content.media").As("rejection/media type", "", "CWE-434", "files of any type are accepted"),
	d.Without("content.declared").As("rejection/media type", "", "CWE-434", "the content may be other than Content-Type says"),
	d.Without("name.pattern").As("rejection/pattern", "", "CWE-20", "file names of any characters are accepted"),
	d.Without("parts.known").As("rejection/additional properties", "API3:2023", "CWE-915", "parts that are not declared are accepted"),
	d.Without("parts.file").As("rejection/required", "", "CWE-20", "an upload without file is accepted"),
	d.Without("note.length").As("rejection/length", "API4:2023", "CWE-1284", "notes of any length are accepted"),
	d.Unconstrained("patch.name.pattern").As("rejection/pattern", "", "CWE-73", "a file may be renamed to a path"),
	d.Unconstrained("files.limit.maximum").As("rejection/range", "API4:2023", "CWE-770", "pages of any size are given"),
	d.Unconstrained("files.offset.minimum").As("rejection/range", "", "CWE-839", "a negative offset is accepted"),
	d.Unconstrained("files.media.enum").As("rejection/enum", "", "CWE-20", "an unknown media type is looked for"),
	d.Crash("POST /files", 400).As("rejection/500 in place of 400", "API8:2023", "CWE-248", "a bad upload answers 500"),
	d.Crash("POST /files", 413).As("rejection/500 in place of 413", "API8:2023", "CWE-248", "a large upload answers 500"),
	d.Verbose("POST /files", 400, d.Trace).As("rejection/trace", "API8:2023", "CWE-209", "a refused upload answers with a stack trace"),
	// paths
	d.Unconstrained("template.name.pattern").As("security/path traversal", "API8:2023", "CWE-22", "the name of a template leads out of its folder"),
	d.Verbose("GET /templates", 404, "open /srv/files/templates/x.txt: no such file or directory").As("security/verbose errors", "API8:2023", "CWE-209", "404 names a path of the machine"),
	// downloads
	d.Ignore(content, "Range").As("contract/ranges", "", "", "Range is ignored while Accept-Ranges promises it"),
	d.Status(content, 206, 200).As("contract/ranges", "", "", "a part is answered with 200"),
	d.Header(content, 206, "Content-Range", "").As("contract/ranges", "", "", "a part does not say which it is"),
	d.Status(content, 416, 200).As("contract/ranges", "", "CWE-393", "a range past the end answers 200 with a problem"),
	d.Ignore(content, "If-None-Match").As("contract/conditional request", "", "", "304 never comes for a content"),
	d.Header(content, 0, "Content-Disposition", "inline").As("security/headers", "API8:2023", "CWE-79", "uploads are shown in place, not saved"),
	d.Header(content, 0, "Content-Type", "text/html; charset=utf-8").As("contract/media type", "API8:2023", "CWE-79", "uploads are labelled as HTML"),
	d.Header(content, 0, "X-Content-Type-Options", "").As("security/headers", "API8:2023", "CWE-430", "browsers may guess the type of uploads"),
	d.Header(content, 200, "Cache-Control", "public, max-age=3600").As("security/cacheable private data", "API8:2023", "CWE-525", "contents may be kept by shared caches"),
	d.Header(content, 200, "ETag", "").As("contract/header", "", "", "a content has no entity tag"),
	d.Answers("change the body", content, func(a *d.Answer, _ *http.Request) {
		if a.Status == http.StatusOK {
			a.Body = slices.Clone(a.Body)[:max(0, len(a.Body)-1)]
		}
	}).As("state/create", "", "CWE-193", "a content comes back one byte short"),
	// credentials and owners
	d.Without("owner.read").As("security/object level read", "API1:2023", "CWE-639", "what others have uploaded is described to anyone"),
	d.Without("owner.content").As("security/object level read", "API1:2023", "CWE-639", "contents of others can be downloaded"),
	d.Without("owner.write").As("security/object level write", "API1:2023", "CWE-639", "files of others can be renamed"),
	d.Without("owner.replace").As("security/object level write", "API1:2023", "CWE-639", "contents of others can be replaced"),
	d.Without("owner.delete").As("security/object level delete", "API1:2023", "CWE-639", "files of others can be deleted"),
	d.Without("owner.list").As("security/object level list", "API1:2023", "CWE-639", "files of others are listed"),
	d.Without("token.present").As("security/no credentials", "API2:2023", "CWE-306", "without a token one is alice"),
	d.Without("token.stripped").As("security/stripped signature", "API2:2023", "CWE-347", "a token without signature is accepted"),
	d.Without("token.expiry").As("security/expired", "API2:2023", "CWE-613", "expired tokens are accepted"),
	d.Added(one, "path", "/srv/files/a1/hello.txt").As("security/excessive property", "API3:2023", "CWE-200", "a file shows where it is stored"),
	d.Override("X-Method-Override").As("security/method override", "API8:2023", "CWE-650", "a header turns POST into another method"),
	// state
	d.Faulty("files.insert").As("state/create", "", "", "an upload is confirmed and not stored"),
	d.Faulty("files.update").As("state/update", "", "", "a changed file stays as it was"),
	d.Faulty("files.delete").As("state/delete", "", "", "a deleted file is still there"),
	d.Faulty("files.read").As("state/use after delete", "", "CWE-672", "a deleted file can still be read"),
	d.Faulty("files.list").As("state/stale list", "", "", "the list of files is one write behind"),
	d.Faulty("files.atomic").As("state/concurrent update", "", "CWE-362", "of concurrent replacements under one entity tag several succeed"),
	d.Without("replace.precondition").As("state/stale entity tag", "", "CWE-362", "a content is replaced without or with a stale entity tag"),
	// contract
	d.Status("POST /files", 201, 202).As("contract/status", "", "", "an upload answers 202"),
	d.Header("POST /files", 201, "Location", "/file/1").As("contract/header", "", "", "Location leads nowhere"),
	d.Stringly(one, "size").As("contract/wrong type", "", "CWE-704", "the size of a file is a string"),
	d.Missing(one, "media").As("contract/missing property", "", "", "a file has no media type"),
	d.Replaced("GET /files", "total", -1).As("contract/bounds", "", "CWE-839", "the number of files is below zero"),
	d.Query("GET /files", func(q url.Values) { q.Del("offset") }).As("contract/pagination", "", "CWE-835", "the offset is ignored"),
	d.Query("GET /files", func(q url.Values) {
		if q.Get("limit") == "1" {
			q.Set("limit", "2")
		}
	}).As("contract/pagination", "", "CWE-193", "a page of one has two"),
	d.Header("/", 405, "Allow", "").As("contract/405", "", "", "405 comes without Allow"),
	d.Plain(content).As("contract/problem details", "", "", "errors of downloads are plain text"),
	// operations
	d.Slow(content, 5*time.Second).As("operations/slow", "API4:2023", "CWE-400", "a download takes five seconds"),
	d.Flaky("GET /templates", 3).As("operations/5xx now and then", "", "", "every third reading of a template answers 500"),
	d.Crowded("GET /templates", 4).As("operations/5xx under concurrency", "API4:2023", "CWE-400", "more than four readings at once answer 500"),
})
