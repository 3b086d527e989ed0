package spec_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"
)

type recorded struct {
	Scenario string
	Seq      int
	Method   string
	URL      string
	Header   map[string]string `json:"req_headers"`
	Body     *string           `json:"req_body"`
	Status   int
	RHeader  map[string]string `json:"resp_headers"`
	RBody    *string           `json:"resp_body"`
}

const lab = "../test/lab/linode/"

func unzip(t testing.TB, name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func traffic(t testing.TB) (out []recorded) {
	f, err := os.Open(lab + "traffic.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var r recorded
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if s.Err() != nil || len(out) != 2275 {
		t.Fatal(len(out), s.Err())
	}
	return out
}

func header(m map[string]string) http.Header {
	h := http.Header{}
	for k, v := range m {
		h.Set(k, v)
	}
	return h
}
