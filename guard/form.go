package guard

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// form is one that is read as it streams.
type form struct {
	parts    *spec.Parts
	params   int // of check, before the form
	skeleton []byte
	files    int
	size     int64  // of the file in hand
	field    string // its name
	image    bool
	tail     []byte // of the file in hand: a mark may begin in it
	unread   bool   // it cannot be taken apart, and passes all the same
}

// streamsForm reports whether a form is read as it comes: where the policy says
// so and it is, or may be, longer than what is held back, and nothing else has
// to see it whole.
func (s *Session) streamsForm() bool {
	return s.api.files.Stream == policy.On && (s.r.ContentLength < 0 || s.r.ContentLength > s.api.bounds.Body) && len(s.op.ofBody) == 0
}

func (s *Session) expectForm() Step {
	parts, err := spec.NewParts(s.contentType)
	s.form = &form{parts: parts, params: len(s.check.Params), unread: err != nil}
	if err != nil {
		s.formFault(err)
		if s.refusal != nil {
			return s.refuse()
		}
		return s.proceed(BodyStream, 0)
	}
	parts.Field = int(s.api.bounds.Body)
	parts.Whole = func(name string) bool { return s.op.spec.TextField(s.contentType, name) }
	s.miss("files: of their content, only size, type and marks of programs in images were looked at")
	return s.proceed(BodyForm, s.api.bounds.Body)
}

// FormBytes looks at the next bytes of a BodyForm and appends to dst those, of
// them and of what was held, that may be forwarded. b is not kept.
func (s *Session) FormBytes(dst, b []byte, now time.Time) ([]byte, Step) {
	f := s.form
	switch {
	case s.refusal != nil || f == nil:
		return dst, s.refuseForm()
	case f.unread:
		return append(dst, b...), s.proceed(BodyForm, 0)
	}
	f.parts.Feed(b)
	return s.formPieces(dst)
}

// FormEnd says that a BodyForm has come whole.
func (s *Session) FormEnd(dst []byte, now time.Time) ([]byte, Step) {
	f := s.form
	switch {
	case s.refusal != nil || f == nil:
		return dst, s.refuseForm()
	case f.unread:
		return dst, s.proceed(BodyForm, 0)
	}
	f.parts.End()
	return s.formPieces(dst)
}

func (s *Session) refuseForm() Step {
	if s.refusal == nil {
		return s.proceed(BodyForm, 0)
	}
	return s.refuse()
}

// formPieces judges what has come.
func (s *Session) formPieces(dst []byte) ([]byte, Step) {
	f := s.form
	for {
		piece, ok, err := f.parts.Next()
		if err == nil && !ok {
			return dst, s.proceed(BodyForm, 0)
		}
		if err == nil {
			err = s.formPiece(&piece)
		}
		if s.refusal != nil {
			return dst, s.refuse()
		}
		if err != nil {
			if s.formFault(err); s.refusal != nil {
				return dst, s.refuse()
			}
			f.unread = true
			return append(append(dst, piece.Raw...), f.parts.Rest()...), s.proceed(BodyForm, 0)
		}
		dst = append(dst, piece.Raw...)
	}
}

// formFault records a form that cannot be taken apart. What cannot be read
// cannot be inspected either.
func (s *Session) formFault(err error) {
	var e *spec.PartsError
	errors.As(err, &e)
	s.miss("body: the form could not be read to its end")
	r := refusedInvalid
	if e.Rule == "multipart.field-size" {
		r = refusedTooLarge
	}
	s.unreadable(true, r, e.Rule, e.Detail)
}

// formPiece judges one piece before it passes.
func (s *Session) formPiece(p *spec.Piece) error {
	f, c := s.form, &s.check
	if p.Last {
		s.formWhole(p.Raw)
		return nil
	}
	if p.Part != nil {
		cut := len(p.Raw)
		if p.File {
			cut -= max(0, len(p.More)-4<<10)
		}
		if len(f.skeleton)+cut > int(s.api.bounds.Body) {
			return &spec.PartsError{Rule: "multipart.field-size", Detail: "the fields are longer together than the bound"}
		}
		f.skeleton = append(f.skeleton, p.Raw[:cut]...)
		params, unchecked := len(c.Params), len(c.NotChecked)
		s.op.spec.CheckPart(c, s.contentType, p.Part)
		s.validated()
		if p.File = len(c.Files) > 0; p.File && s.refusal == nil {
			f.files++
			file := &c.Files[0]
			f.size, f.field, f.tail = 0, strings.Clone(file.Field), f.tail[:0]
			f.image = strings.HasPrefix(file.Detected, "image/") && file.Detected != "image/svg+xml"
			s.filesFrom(f.files)
		}
		if s.refusal == nil && s.on(inspecting) {
			s.inspectParams(c.Params[params:])
		}
		c.Files = c.Files[:0]
		c.Forget(params, unchecked)
	}
	if !p.File || s.refusal != nil {
		return nil
	}
	f.size += int64(len(p.More))
	place := sallyport.Place{In: sallyport.InBody, Name: f.field}
	if most := s.api.files.Size; most > 0 && f.size > most && f.size-int64(len(p.More)) <= most && s.on(validate) {
		s.fault(validate, refusedTooLarge, "file.size", place, "", "a file is larger than is let through")
	}
	if f.image && s.on(inspecting) {
		f.tail = append(f.tail, p.More...)
		if programIn(f.tail) {
			f.image = false
			s.fault(inspecting, refusedAttack, "file.polyglot", place, "code", "an image that holds a program")
		}
		f.tail = append(f.tail[:0], f.tail[max(0, len(f.tail)-longestMark+1):]...)
	}
	return nil
}

// formWhole validates the form, with the beginnings of its files, by its schema.
// Its last boundary is held back until then.
func (s *Session) formWhole(last []byte) {
	f, c := s.form, &s.check
	f.skeleton = append(f.skeleton, last...)
	unchecked := len(c.NotChecked)
	c.Files = c.Files[:0]
	before := len(c.Problems)
	s.op.spec.CheckBody(c, s.contentType, f.skeleton)
	kept := c.Problems[:before]
	for _, p := range c.Problems[before:] {
		if !strings.HasPrefix(p.Rule, "multipart.") { // those are told
			kept = append(kept, p)
		}
	}
	c.Problems = kept
	s.validated()
	c.Files = c.Files[:0]
	c.Forget(len(c.Params), unchecked)
	s.miss("files: " + strconv.Itoa(f.files) + " came as a stream")
	f.skeleton = nil
}

// programMarks are what makes an image one that servers or browsers may run.
var programMarks = [...]string{"<?php", "<script", "<%@ page", "<jsp:", "#!/bin/"}

const longestMark = len("<%@ page")

func programIn(b []byte) bool {
	for _, mark := range programMarks {
		if bytes.Contains(b, []byte(mark)) {
			return true
		}
	}
	return false
}
