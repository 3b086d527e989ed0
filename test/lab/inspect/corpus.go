package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"sallyport.dev/test/lab/linode"
)

//go:embed testdata
var data embed.FS

// A sample is one value with what is known about it.
type sample struct {
	value string
	class string // class in its collection; "" = genuine
	from  string // collection
}

// held says whether the sample belongs to the part of its collection that was
// put aside while the rules were written: a third, chosen by hash.
func (s sample) held() bool {
	h := fnv.New64a()
	io.WriteString(h, s.value)
	return h.Sum64()>>32%3 == 0
}

// attacks returns the payloads of both collections. Empty lines and repeated
// values are left out.
func attacks() ([]sample, error) {
	var all []sample
	raw, err := data.ReadFile("testdata/mgm-payloads.zip")
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		class := strings.TrimSuffix(path.Base(f.Name), ".txt")
		for _, line := range strings.Split(string(b), "\n") {
			all = append(all, sample{strings.TrimSuffix(line, "\r"), class, "mgm"})
		}
	}
	rows, err := params()
	if err != nil {
		return nil, err
	}
	for _, s := range rows {
		if s.class != "" {
			all = append(all, s)
		}
	}
	return distinct(all), nil
}

func distinct(all []sample) []sample {
	seen := map[sample]bool{}
	return slices.DeleteFunc(all, func(s sample) bool {
		if strings.TrimSpace(s.value) == "" || seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}

func unzip(name string) (io.Reader, error) {
	f, err := data.Open("testdata/" + name)
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

func params() ([]sample, error) {
	r, err := unzip("httpparams-train.csv.gz")
	if err != nil {
		return nil, err
	}
	c := csv.NewReader(r)
	c.LazyQuotes = true
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	if err != nil {
		return nil, err
	}
	var all []sample
	for _, row := range rows[1:] {
		class := row[2]
		if class == "norm" {
			class = ""
		}
		all = append(all, sample{row[0], class, "httpparams"})
	}
	return all, nil
}

// genuine returns values that are no attacks, by collection.
func genuine() ([]sample, error) {
	rows, err := params()
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(rows, func(s sample) bool { return s.class != "" })
	b, err := data.ReadFile("testdata/lookalikes.txt")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "## ") {
			continue
		}
		v := line
		if strings.HasPrefix(line, `"`) && strings.HasSuffix(line, `"`) && len(line) > 1 {
			var s string
			if json.Unmarshal([]byte(line), &s) == nil {
				v = s
			}
		}
		all = append(all, sample{v, "", "look-alikes"})
	}
	r, err := unzip("octokit-traffic.jsonl.gz")
	if err != nil {
		return nil, err
	}
	if all, err = traffic(all, r, "octokit"); err != nil {
		return nil, err
	}
	if r, err = gzip.NewReader(bytes.NewReader(linode.Traffic)); err != nil {
		return nil, err
	}
	if all, err = traffic(all, r, "linode"); err != nil {
		return nil, err
	}
	return distinct(all), nil
}

type recorded struct {
	URL    string            `json:"url"`
	ReqH   map[string]string `json:"req_headers"`
	ReqB   any               `json:"req_body"`
	RespH  map[string]string `json:"resp_headers"`
	RespB  any               `json:"resp_body"`
	Method string            `json:"method"`
}

// traffic adds every query value, path segment, header value and JSON string of
// recorded exchanges.
func traffic(all []sample, r io.Reader, from string) ([]sample, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var x recorded
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("read traffic of %s: %w", from, err)
		}
		all = values(all, x, from)
	}
	return all, s.Err()
}

func values(all []sample, x recorded, from string) []sample {
	side := " requests"
	add := func(v string) { all = append(all, sample{v, "", from + side}) }
	if u, err := url.Parse(x.URL); err == nil {
		for _, vs := range u.Query() {
			for _, v := range vs {
				add(v)
			}
		}
		for _, p := range strings.Split(u.Path, "/") {
			add(p)
		}
	}
	for _, v := range x.ReqH {
		add(v)
	}
	leaves(x.ReqB, add)
	// Answers are not inspected; their values serve as genuine text.
	side = " answers"
	for _, v := range x.RespH {
		add(v)
	}
	leaves(x.RespB, add)
	return all
}

// leaves calls add for every string in a body: parsed, or as text that may be JSON.
func leaves(b any, add func(string)) {
	switch b := b.(type) {
	case string:
		var inner any
		d := json.NewDecoder(strings.NewReader(b))
		if (strings.HasPrefix(b, "{") || strings.HasPrefix(b, "[")) && d.Decode(&inner) == nil {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				leaves(inner, add)
				return
			}
		}
		add(b)
	case []any:
		for _, e := range b {
			leaves(e, add)
		}
	case map[string]any:
		for k, e := range b {
			add(k)
			leaves(e, add)
		}
	}
}
