package api_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"sallyport.dev/console/account"
	"sallyport.dev/console/api"
)

var update = flag.Bool("update", false, "rewrite openapi.json, from which the interface's types are made")

func document(t *testing.T) []byte {
	t.Helper()
	a, err := api.New(api.Options{Cookie: account.Cookie})
	if err != nil {
		t.Fatal(err)
	}
	return a.Document()
}

// The interface is typed by this file: a change of the API that forgets it is
// a change that the interface does not know.
func TestDocumentIsWritten(t *testing.T) {
	got := append(document(t), '\n')
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("openapi.json is not what the API registers: go test ./console/api -update, then npm run types in console/ui")
	}
}
