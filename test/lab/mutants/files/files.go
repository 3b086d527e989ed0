// Package files is a correct fixture API, files that are uploaded, read in parts
// and replaced, and templates that everybody may read, and its mutants. In come
// requests as openapi.yaml describes them; out go the answers described there.
// Everything is in memory: no name that a caller gives ever reaches a file
// system.
package files

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/rest"
)

// Document is the OpenAPI description of the API.
//
//go:embed openapi.yaml
var Document []byte

// Audience is what tokens for the API are made for.
const Audience = "files"

const maxContent = 256 << 10

type file struct {
	Owner, Name, Media string
	Note               *string
	Content            []byte
	Created            time.Time
}

type fileView struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Media   string  `json:"media"`
	Size    int     `json:"size"`
	Note    *string `json:"note"`
	Created string  `json:"created"`
}

func view(r rest.Row[file]) fileView {
	f := r.Value
	return fileView{r.ID, f.Name, f.Media, len(f.Content), f.Note, f.Created.UTC().Format(time.RFC3339)}
}

type api struct {
	defect.Options
	skip      rest.Skip
	tokens    *rest.Tokens
	bodies    *rest.Bodies
	files     *rest.Table[file]
	templates map[string]string // by path

	query, patch, template *rest.Schema
}

// New starts the API with a file of alice and one of bob.
func New(o defect.Options) http.Handler {
	o.Fill()
	m := defect.Select(mutants, o.Mutant)
	skip := rest.Skip(m.Check())
	a := &api{Options: o, skip: skip, bodies: rest.NewBodies(skip),
		tokens: &rest.Tokens{Key: o.Key, Audience: Audience, Now: o.Now, Skip: skip},
		files:  rest.NewTable[file]("files", skip),
		templates: map[string]string{
			"templates/letter.txt":  "Dear {name},\n",
			"templates/invoice.txt": "Invoice {number}\n",
			"etc/passwd":            "root:x:0:0:root:/root:/bin/sh\n", // what a way out would lead to
		}}
	a.query = rest.Object(
		rest.May("offset", rest.Integer(0, 10_000).Or(0)),
		rest.May("limit", rest.Integer(1, 100).Or(20)),
		rest.May("media", rest.OneOf(medias...)),
	).Name("files", skip)
	a.patch = rest.Object(
		rest.May("name", rest.Matching(namePattern)),
		rest.May("note", rest.Text(0, 200).Null()),
	).Name("patch", skip)
	a.template = rest.Object(rest.Needs("name", rest.Matching(`^[a-z]{1,20}\.txt$`))).Name("template", skip)
	made := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	a.files.Seed("00000000-0000-4000-8000-0000000000a1", file{"alice", "hello.txt", "text/plain", nil, []byte("Hello, world.\n"), made})
	a.files.Seed("00000000-0000-4000-8000-0000000000b1", file{"bob", "secret.txt", "text/plain", nil, []byte("Nobody knows.\n"), made})
	return m.Wrap(rest.Routes(
		rest.On("GET", "/files", a.list),
		rest.On("POST", "/files", a.upload),
		rest.On("GET", "/files/{fileId}", a.read),
		rest.On("PATCH", "/files/{fileId}", a.change),
		rest.On("DELETE", "/files/{fileId}", a.remove),
		rest.On("GET", "/files/{fileId}/content", a.download),
		rest.On("PUT", "/files/{fileId}/content", a.replace),
		rest.On("GET", "/templates", a.readTemplate),
	), &a.Options)
}

var medias = []string{"text/plain", "image/png", "application/pdf"}

const namePattern = `^[A-Za-z0-9][A-Za-z0-9_. -]{0,79}$`

// detect tells the media type by what the content begins with.
func detect(content []byte) string {
	media, _, _ := mime.ParseMediaType(http.DetectContentType(content))
	if media == "text/plain" && !utf8.Valid(content) {
		return ""
	}
	return media
}

var errNotFound = rest.Fail(http.StatusNotFound, "no such file")

func (a *api) mine(who rest.Principal, f file, verb string) bool {
	return f.Owner == who.Name || who.Admin() || a.skip.Skips("owner."+verb)
}

func (a *api) find(r *http.Request, verb string) (rest.Row[file], error) {
	who, err := a.tokens.Who(r)
	if err != nil {
		return rest.Row[file]{}, err
	}
	id, err := rest.PathID(r, "fileId")
	if err != nil {
		return rest.Row[file]{}, err
	}
	row, ok := a.files.Get(id)
	if !ok || !a.mine(who, row.Value, verb) {
		return row, errNotFound
	}
	return row, nil
}

type page struct {
	Items []fileView `json:"items"`
	Total int        `json:"total"`
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	var q struct {
		Offset, Limit int
		Media         string
	}
	if err := a.query.Params(r, &q); err != nil {
		return err
	}
	rows := a.files.List(func(f rest.Row[file]) bool {
		return a.mine(who, f.Value, "list") && (q.Media == "" || f.Value.Media == q.Media)
	})
	out := page{[]fileView{}, len(rows)}
	from := min(max(q.Offset, 0), len(rows))
	for _, row := range rows[from:min(from+max(q.Limit, 0), len(rows))] {
		out.Items = append(out.Items, view(row))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func tooLarge() error { return rest.Fail(http.StatusRequestEntityTooLarge, "the content is too large") }

func (a *api) upload(w http.ResponseWriter, r *http.Request) error {
	who, err := a.tokens.Who(r)
	if err != nil {
		return err
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return rest.Fail(http.StatusUnsupportedMediaType, "the body must be multipart/form-data").With("Accept", "multipart/form-data")
	}
	f := file{Owner: who.Name, Created: a.Now()}
	if err := a.parts(multipart.NewReader(http.MaxBytesReader(w, r.Body, 4*maxContent), params["boundary"]), &f); err != nil {
		return err
	}
	if err := a.accept(&f); err != nil {
		return err
	}
	row, err := a.files.Insert(a.ID(), f)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/files/"+row.ID)
	return rest.WriteJSON(w, http.StatusCreated, view(row))
}

// parts reads the parts file and note, each at most once, and file for certain.
func (a *api) parts(body *multipart.Reader, f *file) error {
	seen := map[string]bool{}
	for {
		part, err := body.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return broken(err)
		}
		name := part.FormName()
		switch {
		case name != "file" && name != "note":
			if a.skip.Skips("parts.known") {
				continue
			}
			return rest.Invalid("/"+name, "additionalProperties")
		case seen[name]:
			return rest.Invalid("/"+name, "given twice")
		}
		seen[name] = true
		content, err := io.ReadAll(io.LimitReader(part, 4*maxContent))
		if err != nil {
			return broken(err)
		}
		if name == "file" {
			f.Content, f.Name = content, part.FileName()
			continue
		}
		note := string(content)
		if !utf8.Valid(content) || utf8.RuneCount(content) > 200 && !a.skip.Skips("note.length") {
			return rest.Invalid("/note", "maxLength")
		}
		f.Note = &note
	}
	if !seen["file"] {
		if !a.skip.Skips("parts.file") {
			return rest.Invalid("/file", "required")
		}
		f.Content = []byte("none\n")
	}
	return nil
}

func broken(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge()
	}
	return rest.Fail(http.StatusBadRequest, "the body cannot be read")
}

// accept checks size, name and content, and tells the media type.
func (a *api) accept(f *file) error {
	if len(f.Content) > maxContent && !a.skip.Skips("content.size") {
		return tooLarge()
	}
	if f.Name == "" {
		f.Name = "unnamed"
	}
	if !nameOK(f.Name) && !a.skip.Skips("name.pattern") {
		return rest.Invalid("/file", "filename")
	}
	f.Media = detect(f.Content)
	if len(f.Content) == 0 && !a.skip.Skips("content.empty") {
		return rest.Invalid("/file", "minLength")
	}
	if !slices.Contains(medias, f.Media) && !a.skip.Skips("content.media") {
		return rest.Fail(http.StatusUnsupportedMediaType, "the content must be one of "+strings.Join(medias, ", "))
	}
	return nil
}

func nameOK(name string) bool {
	_, err := nameSchema.Value(name)
	return err == nil
}

var nameSchema = rest.Matching(namePattern).Name("name", "")

func (a *api) read(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "read")
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func (a *api) change(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "write")
	if err != nil {
		return err
	}
	in := map[string]*string{}
	if err := a.bodies.ReadAs(w, r, a.patch, &in, "application/merge-patch+json"); err != nil {
		return err
	}
	row, err = a.files.Update(row.ID, func(row *rest.Row[file]) error {
		if name := in["name"]; name != nil {
			row.Value.Name = *name
		}
		if note, ok := in["note"]; ok {
			row.Value.Note = note
		}
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "delete")
	if err != nil {
		return err
	}
	if err := a.files.Delete(row.ID, nil); err != nil {
		return err
	}
	return rest.Empty(w)
}

func (a *api) download(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "content")
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", rest.Tag(row.Version))
	h.Set("Content-Type", row.Value.Media)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": row.Value.Name}))
	ranged := &problems{ResponseWriter: w}
	http.ServeContent(ranged, r, "", time.Time{}, bytes.NewReader(row.Value.Content))
	return ranged.problem()
}

// problems turns the plain refusals of http.ServeContent into problem details.
type problems struct {
	http.ResponseWriter
	refused int
}

func (p *problems) WriteHeader(status int) {
	if status >= 400 {
		p.refused = status
		return
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *problems) Write(b []byte) (int, error) {
	if p.refused != 0 {
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

func (p *problems) problem() error {
	switch p.refused {
	case 0:
		return nil
	case http.StatusPreconditionFailed:
		return rest.Fail(p.refused, "the content has changed")
	}
	return rest.Fail(p.refused, "no such range")
}

func (a *api) replace(w http.ResponseWriter, r *http.Request) error {
	row, err := a.find(r, "replace")
	if err != nil {
		return err
	}
	declared, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(medias, declared) {
		return rest.Fail(http.StatusUnsupportedMediaType, "the content must be one of "+strings.Join(medias, ", "))
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4*maxContent))
	if err != nil {
		return broken(err)
	}
	row, err = a.files.Update(row.ID, func(row *rest.Row[file]) error {
		if !a.skip.Skips("replace.precondition") {
			if _, err := rest.Match(w, r, rest.Tag(row.Version), true); err != nil {
				return err
			}
		}
		row.Value.Content = content
		name := row.Value.Name
		defer func() { row.Value.Name = name }()
		if err := a.accept(&row.Value); err != nil {
			return err
		}
		if row.Value.Media != declared && !a.skip.Skips("content.declared") {
			return rest.Fail(http.StatusUnsupportedMediaType, "the content is not what Content-Type says")
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, view(row))
}

func (a *api) readTemplate(w http.ResponseWriter, r *http.Request) error {
	var q struct{ Name string }
	if err := a.template.Params(r, &q); err != nil {
		return err
	}
	content, ok := a.templates[path.Join("templates", q.Name)]
	if !ok {
		return rest.Fail(http.StatusNotFound, "no such template")
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=300")
	_, err := io.WriteString(w, content)
	return err
}
