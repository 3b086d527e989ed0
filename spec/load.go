package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev/spec/graphql"
	"sallyport.dev/spec/proto"
	"sallyport.dev/spec/source"
	"sallyport.dev/spec/xsd"
)

const (
	defaultMaxBytes    = 16 << 20
	defaultMaxProblems = 8
	maxMistakes        = 500  // more are counted only
	maxFolderFiles     = 2000 // looked at in one folder source
	maxDocuments       = 1000 // reached by references
	maxYAMLLines       = 1_500_000
)

// Load reads all sources and merges them into one Set. When anything is wrong
// the error is a *Mistakes holding all that was found, and the Set is nil.
func Load(ctx context.Context, sources []Source, o Options) (*Set, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxProblems <= 0 {
		o.MaxProblems = defaultMaxProblems
	}
	l := &loader{ctx: ctx, o: o, documents: map[string]*document{}, failed: map[string]error{}, seen: map[string]bool{}}
	defer l.close()
	if len(sources) == 0 {
		l.mistake(Position{File: "spec"}, "no source is given", "name a file, a folder or a URL")
	}
	var mains []*document
	for _, s := range sources {
		mains = append(mains, l.source(s)...)
	}
	b := &setBuilder{loader: l, set: &Set{o: &o}, byID: map[string]*Operation{}}
	for _, d := range mains {
		b.document(d)
	}
	if len(l.graphs) > 0 {
		schema, faults := graphql.Load(l.graphs)
		for _, f := range faults {
			l.mistake(Position{File: f.File, Line: f.Line, Column: f.Column}, f.Message, "")
		}
		b.set.graph = schema
	}
	b.grpc()
	l.served()
	b.set.soap = l.soap
	if len(l.mistakes) == 0 {
		b.finish()
	}
	for name := range l.files {
		b.set.files = append(b.set.files, name)
	}
	slices.Sort(b.set.files)
	if len(l.mistakes) > 0 {
		slices.SortStableFunc(l.mistakes, func(a, b Mistake) int {
			if c := strings.Compare(a.Position.File, b.Position.File); c != 0 {
				return c
			}
			if c := a.Position.Line - b.Position.Line; c != 0 {
				return c
			}
			return a.Position.Column - b.Position.Column
		})
		if l.more > 0 {
			l.mistakes = append(l.mistakes, Mistake{Position: Position{File: l.mistakes[len(l.mistakes)-1].Position.File}, Message: fmt.Sprintf("and %d more", l.more)})
		}
		return nil, &Mistakes{List: l.mistakes, Files: b.set.files}
	}
	b.set.notes = l.notes
	return b.set, nil
}

// A document is one file, read once.
type document struct {
	uri  string // file:///…, http(s)://…, memory:///…
	name string // as the operator knows it
	root *source.Value
	home *home
}

// A home is where references of a source may lead.
type home struct {
	folder *os.Root // files below it
	path   string   // of the folder, absolute
	shown  string   // of the folder, as given
	host   *url.URL // URLs on its host
}

type loader struct {
	ctx       context.Context
	o         Options
	documents map[string]*document // by uri; nil = could not be read
	failed    map[string]error     // why
	homes     []*home
	graphs    []graphql.Source       // GraphQL schemas, all of which make one
	soap      *SOAP                  // operations of WSDL documents
	soapAt    string                 // the first of them
	files     map[string]bool        // that were asked for, absolute
	xsds      map[string]*xsd.Schema // XML schemas, by URI; nil = has mistakes
	protos    []proto.Source         // Protocol Buffers descriptions, all of which make one schema
	mistakes  []Mistake
	notes     []Mistake
	seen      map[string]bool
	more      int
}

func (l *loader) close() {
	for _, h := range l.homes {
		if h.folder != nil {
			h.folder.Close()
		}
	}
}

func (l *loader) mistake(p Position, message, hint string) {
	m := Mistake{Position: p, Message: message, Hint: hint}
	if k := m.String(); !l.seen[k] {
		l.seen[k] = true
		if len(l.mistakes) >= maxMistakes {
			l.more++
			return
		}
		l.mistakes = append(l.mistakes, m)
	}
}

// note keeps what is odd and does not stand in the way.
func (l *loader) note(p Position, message, hint string) {
	if len(l.notes) < maxMistakes {
		l.notes = append(l.notes, Mistake{Position: p, Message: message, Hint: hint})
	}
}

// at is the position of a value.
func (d *document) at(v *source.Value) Position {
	if v == nil {
		return Position{File: d.name}
	}
	return Position{File: d.name, Line: v.Line, Column: v.Column}
}

// source gives the descriptions that one source holds.
func (l *loader) source(s Source) []*document {
	whole := Position{File: s.Path}
	if s.Data != nil {
		if s.Path == "" {
			whole.File = "spec"
		}
		if graphText(whole.File, s.Data) {
			l.graph(whole.File, s.Data)
			return nil
		}
		if setName(whole.File) {
			l.protoSet(whole.File, s.Data)
			return nil
		}
		return l.list(l.parse("memory:///"+url.PathEscape(whole.File), whole.File, s.Data, &home{}))
	}
	if u, err := url.Parse(s.Path); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		if graphName(u.Path) {
			l.readGraph(u, s.Path, &home{host: u})
			return nil
		}
		return l.list(l.main(u.String(), s.Path, &home{host: u}))
	}
	if s.Path == "" {
		l.mistake(Position{File: "spec"}, "source has no path", "name a file, a folder or a URL")
		return nil
	}
	abs, err := filepath.Abs(s.Path)
	if err != nil {
		l.mistake(whole, "path cannot be made absolute", err.Error())
		return nil
	}
	info, err := os.Stat(abs)
	if err != nil {
		hint := "give the path of an OpenAPI document"
		if errors.Is(err, fs.ErrPermission) {
			hint = "let this user read it"
		}
		l.mistake(whole, "cannot be read: "+reason(err), hint)
		return nil
	}
	folder, shown := abs, s.Path
	if !info.IsDir() {
		folder, shown = filepath.Dir(abs), filepath.Dir(s.Path)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		l.mistake(whole, "folder cannot be opened: "+reason(err), "")
		return nil
	}
	h := &home{folder: root, path: folder, shown: shown}
	l.homes = append(l.homes, h)
	if !info.IsDir() {
		if protoName(abs) {
			l.protoFile(abs, s.Path, h)
			return nil
		}
		if wsdlName(abs) {
			l.wsdl(abs, s.Path, h)
			return nil
		}
		if graphName(abs) || l.introspection(abs, h) {
			l.readGraph(&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}, s.Path, h)
			return nil
		}
		return l.list(l.main(fileURI(abs), s.Path, h))
	}
	return l.folder(h, whole)
}

// graphName reports whether a name is that of a GraphQL schema.
func graphName(name string) bool {
	switch path.Ext(filepath.ToSlash(name)) {
	case ".graphql", ".graphqls", ".gql":
		return true
	}
	return false
}

func graphText(name string, data []byte) bool { return graphName(name) || graphql.Introspection(data) }

// introspection reports whether a JSON file holds the result of an
// introspection query.
func (l *loader) introspection(abs string, h *home) bool {
	if path.Ext(abs) != ".json" {
		return false
	}
	data, err := l.file(&url.URL{Path: filepath.ToSlash(abs)}, h)
	return err == nil && graphql.Introspection(data)
}

func (l *loader) readGraph(u *url.URL, name string, h *home) {
	read := l.file
	if u.Scheme != "file" {
		read = l.fetch
	}
	data, err := read(u, h)
	if err != nil {
		l.mistake(Position{File: name}, "document cannot be read: "+reason(err), hintFor(err))
		return
	}
	l.graph(name, data)
}

func (l *loader) graph(name string, data []byte) {
	if int64(len(data)) > l.o.MaxBytes {
		l.mistake(Position{File: name}, fmt.Sprintf("document is larger than %d bytes", l.o.MaxBytes), "split the description or raise its bound")
		return
	}
	l.graphs = append(l.graphs, graphql.Source{Name: name, Data: data})
}

func (l *loader) list(d *document) []*document {
	if d == nil {
		return nil
	}
	if len(d.root.Members) == 0 || !described(d.root) {
		l.mistake(Position{File: d.name, Line: max(d.root.Line, 1), Column: max(d.root.Column, 1)}, "document is no OpenAPI description",
			"it begins with openapi: 3.1.0 or swagger: \"2.0\"")
		return nil
	}
	return []*document{d}
}

func described(v *source.Value) bool {
	return v.Get("openapi") != nil || v.Get("swagger") != nil || v.Get("asyncapi") != nil
}

func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func fileURI(abs string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// folder reads each description in a folder; other documents wait for a $ref.
func (l *loader) folder(h *home, whole Position) (out []*document) {
	files := 0
	err := fs.WalkDir(h.folder.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if base := path.Base(name); name != "." && (strings.HasPrefix(base, ".") || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(name) {
		case ".yaml", ".yml", ".json", ".graphql", ".graphqls", ".proto", ".wsdl":
		default:
			return nil
		}
		if files++; files > maxFolderFiles {
			return fmt.Errorf("folder holds more than %d documents", maxFolderFiles)
		}
		shown := filepath.Join(h.shown, filepath.FromSlash(name))
		if protoName(name) {
			l.protoFile(filepath.Join(h.path, filepath.FromSlash(name)), shown, h)
			return l.ctx.Err()
		}
		if wsdlName(name) {
			l.wsdl(filepath.Join(h.path, filepath.FromSlash(name)), shown, h)
			return l.ctx.Err()
		}
		if graphName(name) {
			l.readGraph(&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(h.path, name))}, shown, h)
			return l.ctx.Err()
		}
		if d := l.main(fileURI(filepath.Join(h.path, filepath.FromSlash(name))), shown, h); d != nil && described(d.root) {
			out = append(out, d)
		}
		return l.ctx.Err()
	})
	if err != nil {
		l.mistake(whole, "folder cannot be read: "+reason(err), "name the files one by one")
	}
	if len(out) == 0 && len(l.graphs) == 0 && len(l.protos) == 0 && l.soap == nil && err == nil {
		l.mistake(whole, "folder holds no OpenAPI description", "a .yaml, .yml or .json file that begins with openapi: or swagger:")
	}
	return out
}

// main reads a document that a source names.
func (l *loader) main(uri, name string, h *home) *document {
	d, err := l.read(uri, name, h)
	if err != nil && !errors.Is(err, errBroken) {
		l.mistake(Position{File: name}, "document cannot be read: "+reason(err), hintFor(err))
	}
	return d
}

// read reads the document at uri, once. Mistakes inside it are noted; the error
// is why there is no document.
func (l *loader) read(uri, name string, h *home) (*document, error) {
	if d, ok := l.documents[uri]; ok {
		if d == nil {
			return nil, l.failed[uri]
		}
		return d, nil
	}
	d, err := l.open(uri, name, h)
	l.documents[uri], l.failed[uri] = d, err
	return d, err
}

func (l *loader) open(uri, name string, h *home) (*document, error) {
	if len(l.documents) >= maxDocuments {
		return nil, fmt.Errorf("references lead to more than %d documents", maxDocuments)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, errors.New("reference is no URI")
	}
	var data []byte
	switch u.Scheme {
	case "file":
		data, err = l.file(u, h)
	case "http", "https":
		data, err = l.fetch(u, h)
	default:
		err = errBytes
	}
	if err != nil {
		return nil, err
	}
	d := l.parse(uri, name, data, h)
	if d == nil {
		return nil, errBroken
	}
	return d, nil
}

var (
	errOutside = errors.New("it is outside the folder of the description")
	errHost    = errors.New("it is on another host than the description")
	errNoURL   = errors.New("a description read from files may not refer to a URL")
	errLarge   = errors.New("it is larger than allowed")
	errBroken  = errors.New("it has mistakes of its own")
	errBytes   = errors.New("a description given as bytes can refer to nothing outside of it")
)

func hintFor(err error) string {
	switch {
	case errors.Is(err, errOutside):
		return "move the file below that folder"
	case errors.Is(err, errHost), errors.Is(err, errNoURL):
		return "download it and refer to the file"
	case errors.Is(err, errLarge):
		return "split the description or raise its bound"
	case errors.Is(err, fs.ErrNotExist):
		return "mind upper and lower case; the path is relative to the referring file"
	}
	return ""
}

func (l *loader) file(u *url.URL, h *home) ([]byte, error) {
	if h.folder == nil {
		return nil, errOutside
	}
	rel, err := filepath.Rel(h.path, filepath.FromSlash(u.Path))
	if err != nil || !filepath.IsLocal(rel) {
		return nil, errOutside
	}
	if l.files == nil {
		l.files = map[string]bool{}
	}
	l.files[filepath.Join(h.path, rel)] = true
	info, err := h.folder.Stat(rel)
	if err != nil {
		if strings.Contains(err.Error(), "escapes") {
			return nil, errOutside
		}
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := h.folder.Open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l.bounded(f)
}

func (l *loader) bounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, l.o.MaxBytes+1))
	if err == nil && int64(len(data)) > l.o.MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", errLarge, l.o.MaxBytes)
	}
	return data, err
}

func (l *loader) fetch(u *url.URL, h *home) ([]byte, error) {
	if h.host == nil {
		return nil, errNoURL
	}
	if u.Scheme != h.host.Scheme || u.Host != h.host.Host {
		return nil, errHost
	}
	client := http.Client{Timeout: 30 * time.Second}
	if l.o.Client != nil {
		client = *l.o.Client
	}
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != h.host.Scheme || r.URL.Host != h.host.Host {
			return errHost
		}
		if len(via) > 5 {
			return errors.New("it is redirected too often")
		}
		return nil
	}
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.oai.openapi, application/json, application/yaml, */*;q=0.1")
	resp, err := client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			return nil, e.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	return l.bounded(resp.Body)
}

func (l *loader) parse(uri, name string, data []byte, h *home) *document {
	if int64(len(data)) > l.o.MaxBytes {
		l.mistake(Position{File: name}, fmt.Sprintf("document is larger than %d bytes", l.o.MaxBytes), "split the description or raise its bound")
		return nil
	}
	if busy(data) {
		l.mistake(Position{File: name}, fmt.Sprintf("document holds more than %d lines and items", maxYAMLLines), "split the description or write it as JSON")
		return nil
	}
	root, faults := source.Parse(data, true)
	for _, f := range faults {
		l.mistake(Position{File: name, Line: f.Line, Column: f.Column}, f.Message, f.Hint)
	}
	if root == nil {
		return nil
	}
	d := &document{uri: uri, name: name, root: root, home: h}
	l.documents[uri] = d
	return d
}

// busy reports whether a YAML document would make more nodes than memory is
// meant for.
func busy(data []byte) bool {
	if len(data) < maxYAMLLines {
		return false
	}
	n := 0
	for _, c := range data {
		switch c {
		case '\n', ',', '[', '{':
			n++
		}
	}
	for _, c := range data {
		if c == '{' || c == '[' {
			return n > 8*maxYAMLLines // JSON
		}
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			break
		}
	}
	return n > maxYAMLLines
}

// follow resolves a reference seen in d: the value and the document it is in.
func (l *loader) follow(d *document, ref *source.Value) (*source.Value, *document) {
	base, err1 := url.Parse(d.uri)
	r, err2 := url.Parse(ref.String())
	if err1 != nil || err2 != nil || ref.String() == "" {
		l.mistake(d.at(ref), "$ref is no URI reference", "")
		return nil, nil
	}
	target := d
	if r.Scheme != "" || r.Host != "" || r.Path != "" {
		full := base.ResolveReference(r)
		full.Fragment, full.RawFragment = "", ""
		var err error
		if target, err = l.linked(d, full.String()); err != nil {
			l.mistake(d.at(ref), fmt.Sprintf("document of $ref %q cannot be read: %s", ref.String(), reason(err)), hintFor(err))
			return nil, nil
		}
	}
	v := target.root.Pointer(r.Fragment)
	if v == nil {
		l.mistake(d.at(ref), fmt.Sprintf("$ref %q leads nowhere", ref.String()), l.nearest(target, r.Fragment))
		return nil, nil
	}
	return v, target
}

// linked is the document at a URI that d refers to.
func (l *loader) linked(d *document, uri string) (*document, error) {
	name := uri
	if rest, ok := strings.CutPrefix(uri, "file://"); ok {
		name = rest
		if p, err := url.PathUnescape(rest); err == nil {
			name = p
		}
		if rel, err := filepath.Rel(d.home.path, filepath.FromSlash(name)); err == nil && filepath.IsLocal(rel) {
			name = filepath.Join(d.home.shown, rel)
		}
	}
	return l.read(uri, name, d.home)
}

// nearest hints at the name beside a missing one that looks most like it.
func (l *loader) nearest(d *document, pointer string) string {
	i := strings.LastIndexByte(pointer, '/')
	if i < 0 {
		return ""
	}
	parent := d.root.Pointer(pointer[:i])
	if !parent.Is(source.Object) {
		return fmt.Sprintf("%s has no %s", d.name, pointer[:i])
	}
	want, best, far := pointer[i+1:], "", 1<<30
	for _, m := range parent.Members[:min(len(parent.Members), 2000)] {
		if n := distance(strings.ToLower(want), strings.ToLower(m.Key)); n < far {
			best, far = m.Key, n
		}
	}
	if best != "" && far <= 1+len(want)/3 {
		return "did you mean #" + pointer[:i+1] + best + "?"
	}
	return fmt.Sprintf("%s has no such name there", d.name)
}

// distance is Levenshtein's, for names of up to 64 bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 20
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		left := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := left
			if a[i-1] != b[j-1] {
				cost++
			}
			left = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
