package spec

import (
	"bytes"
	"mime"

	"sallyport.dev"
)

// Parts takes multipart/form-data (RFC 7578) apart as it comes, as strictly as
// CheckBody does, and holds no more of it than one field or the beginning of a
// file. The bytes of its pieces, one after the other, are those it was fed. It
// is for one goroutine.
type Parts struct {
	Field int                    // bytes of a field at most
	Whole func(name string) bool // files that are read whole as fields are; nil = none

	boundary, delimiter []byte
	buf                 []byte
	state               partsState
	count               int
	line, head          int // bytes of the boundary line, and of it and the head, in buf
	looked              int // bytes of buf in which no delimiter begins
	ended               bool
}

type partsState uint8

const (
	atStart    partsState = iota // before the first boundary
	atBoundary                   // at the boundary in front of a part
	inHead                       // of a part
	inField
	inBeginning // of a file
	inFile
	atEnd // behind the last boundary
)

// fileBeginning is what is held of a file before it is judged.
const fileBeginning = 4 << 10

// A Piece is what may be passed on at once. Its bytes are valid until the next
// Feed.
type Piece struct {
	Raw  []byte // as it was sent
	Part []byte // head and content, of a file its beginning; nil: more of the same file, or the end
	More []byte // of a file's content, in every piece of one
	File bool
	Last bool // of the form
}

// A PartsError is a form that is not well-formed. It holds no bytes of it.
type PartsError struct{ Rule, Detail string }

func (e *PartsError) Error() string { return e.Detail }

func badParts(detail string) error { return &PartsError{"multipart.syntax", detail} }

// NewParts reads the boundary out of a media type.
func NewParts(contentType string) (*Parts, error) {
	_, attributes, err := mime.ParseMediaType(contentType)
	boundary := attributes["boundary"]
	if err != nil || boundary == "" || len(boundary) > 70 || extended(contentType) {
		return nil, &PartsError{"multipart.boundary", "boundary is missing or malformed"}
	}
	return &Parts{boundary: []byte("--" + boundary), delimiter: []byte("\r\n--" + boundary)}, nil
}

// Feed adds bytes of the form. What is not in a Piece yet stays held.
func (p *Parts) Feed(b []byte) { p.buf = append(p.buf, b...) }

// End says that no more comes.
func (p *Parts) End() { p.ended = true }

// Held is the number of bytes that are in no Piece yet.
func (p *Parts) Held() int { return len(p.buf) }

// Rest gives what is held, for whoever goes on without.
func (p *Parts) Rest() []byte { b := p.buf; p.buf = nil; return b }

// find gives where the next delimiter begins, -1 when there is none yet.
func (p *Parts) find() int {
	if k := bytes.Index(p.buf[p.looked:], p.delimiter); k >= 0 {
		return p.looked + k
	}
	p.looked = max(p.looked, len(p.buf)-len(p.delimiter)+1)
	return -1
}

// take removes n bytes from what is held.
func (p *Parts) take(n int) []byte {
	b := p.buf[:n:n]
	p.buf, p.looked = p.buf[n:], 0
	return b
}

// Next gives the next piece. false without an error: more must be fed, or all
// was given. The error is a *PartsError.
func (p *Parts) Next() (piece Piece, ok bool, err error) {
	for {
		switch p.state {
		case atStart, atBoundary:
			line := p.delimiter
			if p.state == atStart {
				line = p.boundary
			}
			n := min(len(line), len(p.buf))
			if !bytes.Equal(p.buf[:n], line[:n]) {
				return piece, false, badParts("body does not begin with its boundary")
			}
			if len(p.buf) < len(line)+2 {
				return piece, false, p.short()
			}
			switch string(p.buf[len(line) : len(line)+2]) {
			case "--":
				p.state, p.head = atEnd, len(line)+2
			case "\r\n":
				if p.count++; p.count > maxParts {
					return piece, false, badParts("there are too many parts")
				}
				p.state, p.head = inHead, len(line)+2
			default:
				return piece, false, badParts("a boundary is malformed")
			}
		case inHead:
			p.line = p.head
			rest := p.buf[p.line:]
			k := bytes.Index(rest[:min(len(rest), maxPartHead+4)], []byte("\r\n\r\n"))
			if k < 0 {
				if len(rest) >= maxPartHead+4 {
					return piece, false, badParts("the head of a part is too long")
				}
				return piece, false, p.short()
			}
			h, good := readPartHead(rest[:k])
			if !good || bytes.Contains(rest[:k+2], p.delimiter) {
				return piece, false, badParts("header of a part is malformed")
			}
			p.head += k + 4
			if p.state = inField; h.file != "" && (p.Whole == nil || !p.Whole(h.name)) {
				p.state = inBeginning
			}
			p.looked = p.head
		case inField, inBeginning:
			content := p.buf[p.head:]
			if n := min(len(content), len(p.boundary)); n < len(p.boundary) && !p.ended {
				return piece, false, nil
			} else if n == len(p.boundary) && bytes.Equal(content[:n], p.boundary) {
				return piece, false, badParts("a part ends within its head")
			}
			end := p.find() - p.head
			file := p.state == inBeginning
			most := p.Field
			if file {
				most = fileBeginning
			}
			switch {
			case end >= 0 && (file || end <= most):
			case !file && (end > most || len(content) > most+len(p.delimiter)):
				return piece, false, &PartsError{"multipart.field-size", "a field is longer than the bound"}
			case file && len(content) >= most+len(p.delimiter):
				end = -1
			default:
				return piece, false, p.short()
			}
			n := end
			if p.state = atBoundary; end < 0 {
				p.state = inFile
				n = len(content) - len(p.delimiter) + 1
			}
			raw := p.take(p.head + n)
			return Piece{Raw: raw, Part: raw[p.line:], More: raw[p.head:], File: file}, true, nil
		case inFile:
			end := p.find()
			if end < 0 {
				n := len(p.buf) - len(p.delimiter) + 1
				if n <= 0 {
					return piece, false, p.short()
				}
				raw := p.take(n)
				return Piece{Raw: raw, More: raw, File: true}, true, nil
			}
			p.state = atBoundary
			if end == 0 {
				continue
			}
			raw := p.take(end)
			return Piece{Raw: raw, More: raw, File: true}, true, nil
		case atEnd:
			after := p.buf[p.head:]
			if n := min(len(after), 2); !bytes.Equal(after[:n], []byte("\r\n")[:n]) || len(bytes.Trim(after, " \t\r\n")) > 0 || len(after) > maxPartHead {
				return piece, false, badParts("there is something behind the last part")
			}
			if !p.ended {
				return piece, false, nil
			}
			if len(p.buf) == 0 {
				return piece, false, nil
			}
			if len(after) == 1 {
				return piece, false, badParts("there is something behind the last part")
			}
			p.head = 0
			return Piece{Raw: p.take(len(p.buf)), Last: true}, true, nil
		}
	}
}

// short is what a form that goes on, or ends too soon, means.
func (p *Parts) short() error {
	if p.ended {
		return badParts("a part is malformed or has no end")
	}
	return nil
}

// A partHead is what the head of a part says.
type partHead struct {
	name, file, declared string
}

// CheckPart checks one part of a form, with its head, by what the operation says
// of its files. Schemas are left to CheckBody. c.Files are its files.
func (o *Operation) CheckPart(c *Check, contentType string, part []byte) {
	c.Files = c.Files[:0]
	if !c.part(part) {
		c.problem(sallyport.InBody, "", "multipart.syntax", "header of a part is malformed")
		return
	}
	c.files(o.form(contentType))
}

func (o *Operation) form(contentType string) *media {
	if o == nil || o.body == nil {
		return nil
	}
	return pick(o.body.media, contentType)
}

// TextField reports whether a field of the form is declared as text, so that no
// part of that name is a file.
func (o *Operation) TextField(contentType, name string) bool {
	m := o.form(contentType)
	return m != nil && m.texts[name]
}

// Forget leaves out the parameters, and what was not checked, from a place on.
func (c *Check) Forget(params, unchecked int) {
	c.Params, c.links, c.NotChecked = c.Params[:params], c.links[:params], c.NotChecked[:unchecked]
}
