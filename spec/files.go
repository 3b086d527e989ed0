package spec

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev"
	"sallyport.dev/spec/source"
)

// A File is one file of a multipart body. Content is part of the body.
type File struct {
	Field    string
	Name     string
	Declared string // media type that the sender gives, without parameters; "" = none
	Detected string // media type of what the content begins with
	Content  []byte
	Text     bool // the schema declares the field as text: servers may take the content for it
}

// Bounds of the head of a part.
const (
	maxPartHead  = 4 << 10
	maxPartLines = 8
)

// magic are beginnings that net/http's sniffing does not know.
var magic = []struct{ prefix, media string }{
	{"\x7fELF", "application/x-executable"}, {"MZ", "application/vnd.microsoft.portable-executable"},
	{"\xfe\xed\xfa\xce", "application/x-mach-binary"}, {"\xfe\xed\xfa\xcf", "application/x-mach-binary"},
	{"\xce\xfa\xed\xfe", "application/x-mach-binary"}, {"\xcf\xfa\xed\xfe", "application/x-mach-binary"}, {"\xca\xfe\xba\xbe", "application/java-vm"},
	{"\xac\xed\x00\x05", "application/x-java-serialized-object"}, {"#!", "text/x-shellscript"}, {"<?php", "application/x-php"}, {"<?=", "application/x-php"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"}, {"II*\x00", "image/tiff"}, {"MM\x00*", "image/tiff"},
	{"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"}, {"\xfd7zXZ\x00", "application/x-xz"}, {"BZh", "application/x-bzip2"},
	{"SQLite format 3\x00", "application/vnd.sqlite3"}, {"{\\rtf", "application/rtf"},
}

// detect gives the media type of content by how it begins (WHATWG MIME Sniffing,
// and programs besides).
func detect(content []byte) string {
	if len(content) == 0 {
		return ""
	}
	for _, m := range magic {
		if len(content) >= len(m.prefix) && string(content[:len(m.prefix)]) == m.prefix {
			return m.media
		}
	}
	head := content[:min(len(content), 1024)]
	if t := bytes.ToLower(bytes.TrimLeft(head, " \t\r\n\ufeff")); bytes.HasPrefix(t, []byte("<svg")) || bytes.HasPrefix(t, []byte("<?xml")) && bytes.Contains(t, []byte("<svg")) {
		return "image/svg+xml"
	}
	if len(content) >= 12 && string(content[4:8]) == "ftyp" {
		switch string(content[8:12]) {
		case "heic", "heix", "mif1", "msf1":
			return "image/heic"
		case "avif", "avis":
			return "image/avif"
		}
	}
	media, _, _ := strings.Cut(http.DetectContentType(content), ";")
	return media
}

// Fits reports whether the content may be of the media type, which may be type/*
// or */*. Types that no beginning tells apart are given the benefit of it.
func (f *File) Fits(media string) bool {
	media = strings.ToLower(strings.TrimSpace(media))
	kind, _, _ := strings.Cut(media, "/")
	d := f.Detected
	switch {
	case d == "" || media == d || media == "*/*" || media == "application/octet-stream":
		return true
	case strings.HasSuffix(media, "/*"):
		return strings.HasPrefix(d, kind+"/")
	case slices.Contains(told, media):
		return false
	case kind == "text" || strings.HasSuffix(media, "json") || strings.HasSuffix(media, "yaml") || strings.HasSuffix(media, "xml") || media == "application/sql":
		return d == "text/plain" || d == "text/xml" && strings.HasSuffix(media, "xml") || d == "text/html" && media == "application/xhtml+xml"
	case strings.HasPrefix(media, "application/vnd.openxmlformats-") || strings.HasPrefix(media, "application/vnd.oasis.opendocument.") ||
		media == "application/epub+zip" || media == "application/java-archive" || media == "application/x-zip-compressed":
		return d == "application/zip"
	case media == "application/msword" || media == "application/vnd.ms-excel" || media == "application/vnd.ms-powerpoint" || media == "application/vnd.ms-outlook":
		return d == "application/x-ole-storage"
	case media == "image/jpg" || media == "image/pjpeg":
		return d == "image/jpeg"
	case media == "image/heif":
		return d == "image/heic"
	case kind == "image" || kind == "audio" || kind == "video":
		return strings.HasPrefix(d, kind+"/") || d == "application/octet-stream" || d == "application/ogg"
	}
	return d == "application/octet-stream" || d == "text/plain"
}

// told are media types that their beginnings tell for certain.
var told = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/svg+xml", "image/avif", "image/heic", "application/pdf",
	"application/zip", "application/gzip", "application/x-gzip", "text/html", "application/rtf"}

// files checks the files of a body: that they are what they are said to be, and
// of the types that the operation's encoding names.
func (c *Check) files(m *media) {
	for i := range c.Files {
		f := &c.Files[i]
		place := strings.Clone(f.Field)
		if f.Declared != "" && f.Declared != "application/x-gzip" && slices.Contains(told, f.Declared) && !f.Fits(f.Declared) {
			c.problem(sallyport.InBody, place, "multipart.file-type", "a file's content is not of the media type that it is said to be")
		}
		if m == nil {
			continue
		}
		f.Text = m.texts[f.Field]
		if allowed := m.encoded[f.Field]; len(allowed) > 0 && !slices.ContainsFunc(allowed, f.Fits) {
			c.problem(sallyport.InBody, place, "multipart.file-type", "a file's content is not of a media type that is declared")
		}
		if allowed := m.encoded[f.Field]; len(allowed) > 0 && f.Declared != "" && !slices.ContainsFunc(allowed, func(a string) bool { return mediaMatches(a, f.Declared) }) {
			c.problem(sallyport.InBody, place, "multipart.file-type", "a file is said to be of a media type that is not declared")
		}
	}
}

func mediaMatches(pattern, media string) bool {
	pattern = strings.ToLower(strings.TrimSpace(pattern))
	if kind, ok := strings.CutSuffix(pattern, "/*"); ok {
		return kind == "*" || strings.HasPrefix(media, kind+"/")
	}
	return pattern == media || pattern == "application/octet-stream"
}

// file adds a file that was read.
func (c *Check) file(field, name, declared string, content []byte) {
	media, _, _ := strings.Cut(declared, ";")
	f := File{Field: field, Name: name, Declared: strings.ToLower(strings.TrimSpace(media)), Detected: detect(content), Content: content}
	c.Files = append(c.Files, f)
	what := f.Detected
	if what == "" {
		what = "empty"
	}
	c.NotChecked = append(c.NotChecked, "file "+field+": "+strconv.Itoa(len(content))+" bytes, "+what)
}

// texts are the fields of a form that its schema declares as text, or as lists
// of texts: no files, whatever a part calls itself.
func (b *docBuilder) texts(s, encoding *source.Value, d *document) map[string]bool {
	if !s.Is(source.Object) {
		return nil
	}
	form, fd := b.object(s, d, "schema")
	out := map[string]bool{}
	for _, m := range form.Get("properties").Entries() {
		v, vd := m.Value, fd
		if !v.Is(source.Object) || encoding.Get(m.Key).Get("contentType") != nil {
			continue
		}
		if v, vd = b.object(v, vd, "schema"); v.Get("type").String() == "array" && v.Get("items").Is(source.Object) {
			v, _ = b.object(v.Get("items"), vd, "schema")
		}
		if v.Get("type").String() == "string" && v.Get("format").String() != "binary" && v.Get("format").String() != "byte" && v.Get("contentMediaType") == nil && v.Get("contentEncoding") == nil {
			out[m.Key] = true
		}
	}
	return out
}
