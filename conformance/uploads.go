package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/spec"
)

// A piece is one part of a multipart body (RFC 7578).
type piece struct {
	name, file, media string
	body              []byte
}

const boundary = "sallyport"

func multipartBody(parts []piece) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q", boundary, p.name)
		if p.file != "" {
			fmt.Fprintf(&b, "; filename=%q", p.file)
		}
		if p.media != "" {
			fmt.Fprintf(&b, "\r\nContent-Type: %s", p.media)
		}
		b.WriteString("\r\n\r\n")
		b.Write(p.body)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// pieces makes the parts of a form by its schema.
func (m *maker) pieces(n spec.Node) ([]piece, bool) {
	v, ok := m.value(n, "", 0)
	o, isObject := v.(map[string]any)
	if !ok || !isObject {
		return nil, false
	}
	names := make([]string, 0, len(o))
	for k := range o {
		names = append(names, k)
	}
	slices.Sort(names)
	var out []piece
	for _, k := range names {
		p := piece{name: k, body: []byte(fmt.Sprint(o[k]))}
		for _, q := range shapeOf(n).props {
			if q.name == k && isFile(q.node) {
				p.file, p.media = "sallyport.txt", "text/plain"
			}
		}
		out = append(out, p)
	}
	return out, true
}

func isFile(n spec.Node) bool {
	return shapeOf(n).format == "binary" || n.Get("contentMediaType").Value != nil
}

// form is the multipart body that an operation takes, if it takes one.
func (o *operation) form() (spec.Node, bool) {
	if _, _, ok := o.jsonBody(); ok {
		return spec.Node{}, false
	}
	for _, b := range o.d.Bodies {
		if b.Type == "multipart/form-data" && b.Schema.Value != nil {
			return b.Schema, true
		}
	}
	return spec.Node{}, false
}

// contents are what uploads are tried with: each says by its first bytes what it is.
var contents = []piece{
	{file: "page.html", media: "text/html", body: []byte("<!DOCTYPE html><html><script>1</script></html>")},
	{file: "image.svg", media: "image/svg+xml", body: []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`)},
	{file: "program.exe", media: "application/x-msdownload", body: []byte("MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00")},
	{file: "archive.zip", media: "application/zip", body: []byte("PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
}

// uploads breaks the parts of a form one by one, and sends files of all sorts.
func (r *run) uploads(ctx context.Context, o *operation, c call) {
	n, ok := o.form()
	if !ok {
		return
	}
	s := shapeOf(n)
	again := func(f func([]piece) []piece) call {
		m := &maker{rng: r.rng(o.key, "form", len(o.key)), tag: "sp", request: true}
		parts, ok := m.pieces(n)
		if !ok {
			return call{}
		}
		return c.with(func(d *call) { d.media = "multipart/form-data; boundary=" + boundary; d.body = multipartBody(f(parts)) })
	}
	without := func(name string) func([]piece) []piece {
		return func(l []piece) []piece {
			return slices.DeleteFunc(l, func(p piece) bool { return p.name == name })
		}
	}
	replaced := func(p piece) func([]piece) []piece {
		return func(l []piece) []piece { return append(without(p.name)(l), p) }
	}
	refuses := func(id, place, what string, f func([]piece) []piece) {
		if d := again(f); d.op != nil {
			r.refuses(ctx, id, d, place, what)
		}
	}
	for _, p := range s.props {
		ps, place := shapeOf(p.node), "body /"+p.name
		if p.required {
			refuses("reject.required", place, "a form without its part "+p.name, without(p.name))
		}
		if isFile(p.node) {
			if ps.minLen > 0 {
				refuses("reject.length", place, "an empty file", replaced(piece{name: p.name, file: "empty.txt", media: "text/plain"}))
			}
			if o.declares("413") {
				refuses("reject.oversize", place, "a file of 11 MB; 413 is declared", replaced(piece{name: p.name, file: "large.txt", media: "text/plain", body: bytes.Repeat([]byte("large "), 11<<20/6)}))
				if d := again(replaced(piece{name: p.name, file: "large.txt", media: "text/plain", body: bytes.Repeat([]byte("large "), 1<<20/6)})); d.op != nil {
					a := r.send(ctx, d) // it may be taken; it may not fail
					r.born(o.list, d, a)
					r.conforms(ctx, d, a)
				}
			}
			for _, x := range contents {
				x.name = p.name
				r.upload(ctx, o, again(replaced(x)))
			}
			for _, name := range []string{"../../sallyport.txt", "a\"b.txt", strings.Repeat("a", 300) + ".txt", "sally\u00e9port.txt"} {
				r.upload(ctx, o, again(replaced(piece{name: p.name, file: name, media: "text/plain", body: []byte("sallyport")})))
			}
			continue
		}
		for _, b := range r.breaches(ps, true, o.key+place) {
			if text, isText := b.value.(string); isText && (b.check == "reject.length" || b.check == "reject.pattern" || b.check == "reject.enum") {
				if b.check == "reject.pattern" && !breaks(ps.pattern, text) {
					continue
				}
				refuses(b.check, place, "a part that breaks the "+strings.TrimPrefix(b.check, "reject.")+" of "+p.name, replaced(piece{name: p.name, body: []byte(text)}))
			}
		}
	}
	if s.closed {
		refuses("reject.additional", "body", "a part that the schema does not admit", func(l []piece) []piece {
			return append(l, piece{name: "sallyportUnknown", body: []byte("x")})
		})
	}
	if d := again(func(l []piece) []piece { return l }); d.op != nil {
		d.body = d.body[:len(d.body)/2]
		r.refuses(ctx, "reject.syntax", d, "body", "a form that is cut off")
	}
}

// upload sends a file that may be taken or refused; the answer must conform,
// and so must what is read of it.
func (r *run) upload(ctx context.Context, o *operation, c call) {
	if c.op == nil {
		return
	}
	a := r.send(ctx, c)
	made := r.born(o.list, c, a)
	r.conforms(ctx, c, a)
	if made != nil && o.list.read != nil {
		g := call{op: o.list.read, method: http.MethodGet, path: made.path, as: c.as}
		r.conforms(ctx, g, r.send(ctx, g))
	}
}

// ranges asks for parts where the answer says that it can be had in parts.
func (r *run) ranges(ctx context.Context, o *operation, c call, a *answer) {
	if a.header.Get("Accept-Ranges") != "bytes" || len(a.body) < 3 || a.cut {
		return
	}
	ask := func(place, value string, j judge) {
		d := c.with(func(d *call) { d.set("Range", value) })
		b := r.try(ctx, "contract.range", d, place, j)
		if b.err == nil && o.declares(fmt.Sprint(b.status)) { // 206 and 416 are HTTP's own
			r.conforms(ctx, d, b)
		}
	}
	want := a.body[1:3]
	ask("part", "bytes=1-2", func(b *answer) string {
		switch {
		case b.err != nil || b.status >= 400 && b.status != 416:
			return ""
		case b.status != http.StatusPartialContent:
			return fmt.Sprintf("Accept-Ranges is bytes, and a part is answered %d instead of 206 (RFC 9110 section 14.2)", b.status)
		case !bytes.Equal(b.body, want):
			return "the part is not the bytes that were asked for"
		case !strings.HasPrefix(b.header.Get("Content-Range"), "bytes 1-2/"):
			return "Content-Range does not say which part it is (RFC 9110 section 15.3.7)"
		}
		return ""
	})
	ask("past the end", "bytes=987654321-", func(b *answer) string {
		switch {
		case b.err != nil:
			return ""
		case b.ok() && !bytes.Equal(b.body, a.body):
			return fmt.Sprintf("a part past the end is answered %d", b.status)
		case b.ok():
			return fmt.Sprintf("a part past the end is answered %d instead of 416 (RFC 9110 section 15.5.17)", b.status)
		case b.status == 416 && !strings.HasPrefix(b.header.Get("Content-Range"), "bytes */"):
			return "the answer 416 does not tell the length (Content-Range)"
		}
		return ""
	})
	if tag := a.header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") && o.takes("If-Range") {
		d := c.with(func(d *call) { d.set("Range", "bytes=1-2"); d.set("If-Range", `"sallyport-none"`) })
		r.try(ctx, "contract.range", d, "If-Range", func(b *answer) string {
			if b.status == http.StatusPartialContent {
				return "a part of another version than If-Range names is answered 206 (RFC 9110 section 13.1.5)"
			}
			return ""
		})
	}
}

// singles are the paths below a thing that are read and changed as a whole,
// such as /files/{id}/content: they live as things do.
func (r *run) singles(ctx context.Context) {
	for _, o := range r.ops {
		if (o.Method != http.MethodPut && o.Method != http.MethodPatch) || o.item != nil || o.same == nil || o.skip || ctx.Err() != nil || r.Profile == Safe {
			continue
		}
		b, ok := r.base1(o)
		if !ok {
			continue
		}
		path, ok := r.fill(ctx, o.Template, b.as, true, 0)
		if !ok {
			continue
		}
		x := &resource{path: o.Template, read: o.same}
		if o.Method == http.MethodPut {
			x.put = o
		} else {
			x.patch = o
		}
		r.chain(ctx, x, b.as, &made{path: path})
	}
}
