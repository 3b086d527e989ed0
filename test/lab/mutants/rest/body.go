package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Bodies reads JSON bodies. Its checks are named body.media, body.size,
// body.encoding, body.depth, body.duplicates and body.trailing.
type Bodies struct {
	Max                                                            int64 // bytes
	Depth                                                          int
	Media                                                          []string // further media types
	anyMedia, anySize, anyEncoding, anyDepth, duplicates, trailing bool
}

// NewBodies reads bodies of up to 64 KiB, 16 levels deep.
func NewBodies(skip Skip) *Bodies {
	return &Bodies{Max: 64 << 10, Depth: 16,
		anyMedia: skip.Skips("body.media"), anySize: skip.Skips("body.size"), anyEncoding: skip.Skips("body.encoding"),
		anyDepth: skip.Skips("body.depth"), duplicates: skip.Skips("body.duplicates"), trailing: skip.Skips("body.trailing")}
}

// Read reads the body into a value that s points at, after the schema has been
// asked.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, s *Schema, into any) error {
	return b.ReadAs(w, r, s, into, "application/json")
}

// ReadAs is Read for another media type.
func (b *Bodies) ReadAs(w http.ResponseWriter, r *http.Request, s *Schema, into any, media string) error {
	got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if (err != nil || got != media || charset != "" && charset != "utf-8") && !b.anyMedia {
		return Fail(http.StatusUnsupportedMediaType, "the body must be "+media).With("Accept", media)
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return Fail(http.StatusUnsupportedMediaType, "the body must not be compressed").With("Accept-Encoding", "identity")
	}
	limit := b.Max
	if b.anySize {
		limit *= 64
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return Fail(http.StatusRequestEntityTooLarge, "the body is too large")
	case err != nil:
		return Fail(http.StatusBadRequest, "the body cannot be read")
	}
	v, err := b.parse(data)
	if err != nil {
		return err
	}
	v, err = s.check("", v)
	if err != nil {
		return err
	}
	data, err = json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (b *Bodies) parse(data []byte) (any, error) {
	if !b.anyEncoding && !utf8.Valid(data) {
		return nil, Fail(http.StatusBadRequest, "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := b.value(d, 0)
	if err != nil {
		var p *Problem
		if errors.As(err, &p) {
			return nil, err
		}
		return nil, Fail(http.StatusBadRequest, "the body is not JSON")
	}
	if _, err := d.Token(); err != io.EOF && !b.trailing {
		return nil, Fail(http.StatusBadRequest, "the body goes on after its value")
	}
	return v, nil
}

func (b *Bodies) value(d *json.Decoder, depth int) (any, error) {
	if depth > b.Depth && (!b.anyDepth || depth > 64*b.Depth) {
		return nil, Fail(http.StatusBadRequest, "the body is nested too deeply")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := k.(string)
			if _, twice := o[name]; twice && !b.duplicates {
				return nil, Fail(http.StatusBadRequest, "a member is given twice")
			}
			if o[name], err = b.value(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		a := []any{}
		for d.More() {
			v, err := b.value(d, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err = d.Token()
		return a, err
	}
	return t, nil
}
