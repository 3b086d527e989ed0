package mutants_test

import "strings"

const (
	fileOfAlice = "/files/" + ofA
	fileOfBob   = "/files/" + ofBob
)

// upload is a multipart body of a file and, in parts, whatever else.
func upload(name, content string, parts ...string) step {
	var b strings.Builder
	if name != "" {
		b.WriteString("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + name + "\"\r\nContent-Type: application/octet-stream\r\n\r\n" + content + "\r\n")
	}
	for i := 0; i+1 < len(parts); i += 2 {
		b.WriteString("--XX\r\nContent-Disposition: form-data; name=\"" + parts[i] + "\"\r\n\r\n" + parts[i+1] + "\r\n")
	}
	b.WriteString("--XX--\r\n")
	return step{who: "alice", method: "POST", path: "/files", body: b.String(), header: []string{"Content-Type: multipart/form-data; boundary=XX"}}
}

func put(content, media, tag string) step {
	st := step{who: "alice", method: "PUT", path: "/files/{id}/content", body: content, header: []string{"Content-Type: " + media}}
	if tag != "" {
		st.header = append(st.header, "If-Match: "+tag)
	}
	return st
}

var filesWalk = []step{
	{who: "alice", method: "GET", path: "/files"},
	{who: "-", method: "GET", path: "/files"},
	{who: "alice expired", method: "GET", path: "/files"},
	{who: "alice stripped", method: "GET", path: "/files"},
	{who: "alice", method: "GET", path: "/files?limit=101", bad: true},
	{who: "alice", method: "GET", path: "/files?offset=-1", bad: true},
	{who: "alice", method: "GET", path: "/files?media=text/html", bad: true},
	upload("notes.txt", "Some notes.\n", "note", "mine").keeps("id=/id"),
	upload("notes.txt", "", "note", "mine"),
	upload("notes.txt", strings.Repeat("n", 256<<10+1)),
	upload("notes.txt", "<html><script>alert(1)</script></html>"),
	upload("no:tes.txt", "Some notes.\n"),
	upload("notes.txt", "Some notes.\n", "owner", "bob").breaks(),
	upload("", "", "note", "mine").breaks(),
	upload("notes.txt", "Some notes.\n", "note", strings.Repeat("n", 201)).breaks(),
	{who: "alice", method: "POST", path: "/files", body: "x", header: []string{"Content-Type: text/plain"}, bad: true},
	{who: "alice", method: "GET", path: "/files/{id}"},
	{who: "alice", method: "GET", path: "/files"},
	{who: "alice", method: "GET", path: "/files?limit=1"},
	{who: "alice", method: "GET", path: "/files?limit=1&offset=1"},
	{who: "alice", method: "GET", path: "/files?media=text/plain"},
	{who: "alice", method: "GET", path: "/files/{id}/content", keep: "tag=ETag"},
	{who: "alice", method: "HEAD", path: "/files/{id}/content"},
	{who: "alice", method: "GET", path: "/files/{id}/content", header: []string{"Range: bytes=0-3"}},
	{who: "alice", method: "GET", path: "/files/{id}/content", header: []string{"Range: bytes=5000-"}},
	{who: "alice", method: "GET", path: "/files/{id}/content", header: []string{"If-None-Match: {tag}"}},
	{who: "alice", method: "GET", path: "/files/{id}/content", header: []string{`If-Match: "v9"`}},
	{who: "alice", method: "PATCH", path: "/files/{id}", header: []string{merge}, body: `{"name":"better.txt"}`},
	{who: "alice", method: "PATCH", path: "/files/{id}", header: []string{merge}, body: `{"name":"../../etc/passwd"}`, bad: true},
	{who: "alice", method: "GET", path: "/files/{id}"},
	put("Other notes.\n", "text/plain", "{tag}"),
	put("Other notes.\n", "text/plain", "").breaks(),
	put("Other notes.\n", "text/plain", "*"),
	put("Other notes.\n", "image/png", "*"),
	put("Other notes.\n", "application/xml", "*").breaks(),
	{who: "alice", method: "GET", path: "/files/{id}/content", keep: "tag=ETag"},
	{who: "alice", method: "PUT", path: "/files/{id}/content", body: "At once.", header: []string{"Content-Type: text/plain", "If-Match: {tag}"}, times: 16},
	{who: "bob", method: "GET", path: "/files/{id}"},
	{who: "alice", method: "GET", path: fileOfBob + "/content"},
	{who: "alice", method: "PATCH", path: fileOfBob, header: []string{merge}, body: `{"note":"mine"}`},
	{who: "alice", method: "PUT", path: fileOfBob + "/content", header: []string{"Content-Type: text/plain", "If-Match: *"}, body: "Everybody knows."},
	{who: "bob", method: "DELETE", path: "/files/{id}"},
	{who: "bob", method: "GET", path: fileOfAlice + "/content"},
	{who: "alice", method: "POST", path: "/files/{id}", header: []string{"X-Method-Override: DELETE"}, off: true},
	{who: "alice", method: "DELETE", path: "/files/{id}"},
	{who: "alice", method: "GET", path: "/files/{id}"},
	{who: "alice", method: "GET", path: "/files/{id}/content"},
	{who: "-", method: "GET", path: "/templates?name=letter.txt"},
	{who: "-", method: "GET", path: "/templates?name=letter.txt"},
	{who: "-", method: "GET", path: "/templates?name=letter.txt"},
	{who: "-", method: "GET", path: "/templates?name=letter.txt", times: 12},
	{who: "-", method: "GET", path: "/templates?name=ghost.txt"},
	{who: "-", method: "GET", path: "/templates?name=../etc/passwd", bad: true},
}
