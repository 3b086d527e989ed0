package inventory

import (
	"testing"
	"time"

	"sallyport.dev"
)

// FuzzTally reads whatever stands in the stream and adds it up.
func FuzzTally(f *testing.F) {
	e := sallyport.Event{Source: 3, Exchanges: []sallyport.Exchange{{ID: "x", Time: time.Unix(1, 0), API: "a", Method: "GET", Template: "/x", Declared: true, Query: "a=1&b", Status: 200, Redacted: true,
		Undocumented: []sallyport.Place{{In: sallyport.InBody, Name: "/a"}}, Classes: []sallyport.DataClass{{Class: "email"}}, Shape: &sallyport.Shape{Request: []sallyport.Typed{{Pointer: "/a", Type: "string", Format: "uuid"}}}}},
		Sightings: []sallyport.Sighting{{ID: "y", Time: time.Unix(2, 0), API: "a", Method: "GET", Template: "/y/{id}", Path: "/y/1", Status: 404, Replaces: []string{"/y/1", "/x"}}}}
	b, err := e.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xa1, 1, 0x81, 0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e event
		if e.read(b) != nil {
			return
		}
		t0 := newTally()
		for i := range e.Exchanges {
			t0.exchange(&e.Exchanges[i])
		}
		for i := range e.Sightings {
			t0.sighting(&e.Sightings[i])
		}
		for k, o := range t0.ops {
			o.unfold()
			if len(k.template) > 4*maxText || len(k.method) > 4*maxText {
				t.Fatalf("key of %d bytes", len(k.template))
			}
			sum := int64(0)
			for _, s := range o.statuses {
				sum += s.count
			}
			if sum != o.count {
				t.Fatalf("%d by status, %d in all", sum, o.count)
			}
		}
	})
}
