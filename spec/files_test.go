package spec_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"sallyport.dev"
	"sallyport.dev/spec"
)

func TestFileTypes(t *testing.T) {
	for _, c := range []struct{ content, detected, fits, not string }{
		{"\x89PNG\r\n\x1a\n", "image/png", "image/png image/*", "image/jpeg application/pdf text/plain"},
		{"\xff\xd8\xff\xe0", "image/jpeg", "image/jpeg image/jpg", "image/png"},
		{"%PDF-1.7", "application/pdf", "application/pdf application/octet-stream", "image/png"},
		{"PK\x03\x04rest", "application/zip", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet application/zip", "application/msword text/csv image/png"},
		{"a;b\n1;2\n", "text/plain", "text/csv text/plain application/json", "image/png application/pdf application/zip"},
		{"<html><body>", "text/html", "text/html", "image/png text/plain application/json"},
		{"MZ\x90", "application/vnd.microsoft.portable-executable", "*/*", "image/png application/pdf application/msword text/csv"},
		{"#!/bin/sh\n", "text/x-shellscript", "text/*", "text/csv image/*"},
		{"<?php echo 1;", "application/x-php", "application/octet-stream", "text/plain image/gif"},
		{"<?xml version='1.0'?><svg onload=''/>", "image/svg+xml", "image/svg+xml", "image/png text/xml"},
		{"", "", "image/png", ""},
	} {
		body := "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n" + c.content + "\r\n--B--\r\n"
		var check spec.Check
		(*spec.Operation)(nil).CheckBody(&check, "multipart/form-data; boundary=B", []byte(body))
		if len(check.Files) != 1 || check.Files[0].Detected != c.detected {
			t.Errorf("%q: got %+v, want one file of %s", c.content, check.Files, c.detected)
			continue
		}
		f := check.Files[0]
		for _, media := range strings.Fields(c.fits) {
			if !f.Fits(media) {
				t.Errorf("%q does not fit %s", c.content, media)
			}
		}
		for _, media := range strings.Fields(c.not) {
			if f.Fits(media) {
				t.Errorf("%q fits %s", c.content, media)
			}
		}
	}
}

// FuzzMultipart holds the reader to mime/multipart: what is read here without a
// problem is read there, with the same names and values.
func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n"))
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--B--"))
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--B--\r\n--B--\r\n"))
	f.Add([]byte("--B \r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var c spec.Check
		(*spec.Operation)(nil).CheckBody(&c, "multipart/form-data; boundary=B", body)
		if len(c.Problems) > 0 {
			return
		}
		r := multipart.NewReader(bytes.NewReader(body), "B")
		files := 0
		for i := 0; ; i++ {
			p, err := r.NextRawPart()
			if err == io.EOF {
				if i != len(c.Params) {
					t.Fatalf("%q: %d parts here, %d there", body, len(c.Params), i)
				}
				return
			}
			if err != nil {
				t.Fatalf("%q is read here; mime/multipart says %v", body, err)
			}
			content, err := io.ReadAll(p)
			if err != nil || i >= len(c.Params) {
				t.Fatalf("%q: part %d there: %v", body, i, err)
			}
			_, attributes, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
			got := c.Params[i]
			want := spec.Param{In: sallyport.InBody, Name: attributes["name"], Value: string(content)}
			if name := attributes["filename"]; name != "" {
				want.Value = name
				if files >= len(c.Files) || !bytes.Equal(c.Files[files].Content, content) {
					t.Fatalf("%q: another file in part %d", body, i)
				}
				files++
			}
			if got.Name != want.Name || got.Value != want.Value {
				t.Fatalf("%q, part %d\nhere  %q = %q\nthere %q = %q", body, i, got.Name, got.Value, want.Name, want.Value)
			}
		}
	})
}
