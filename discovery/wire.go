package discovery

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"sallyport.dev"
)

// event is sallyport.Event with only what folding needs: not the headers, which
// are most of an exchange. The keys are those of the root's types, and a test
// holds the two together.
type event struct {
	Exchanges []exchange `cbor:"1,keyasint,omitempty"`
}

type exchange struct {
	ID            string                `cbor:"1,keyasint"`
	Time          time.Time             `cbor:"2,keyasint"`
	Duration      time.Duration         `cbor:"3,keyasint"`
	API           string                `cbor:"6,keyasint"`
	Template      string                `cbor:"7,keyasint,omitempty"`
	Declared      bool                  `cbor:"8,keyasint,omitempty"`
	Method        string                `cbor:"9,keyasint"`
	Path          string                `cbor:"11,keyasint,omitempty"`
	Query         string                `cbor:"12,keyasint,omitempty"`
	TLS           bool                  `cbor:"14,keyasint,omitempty"`
	Principal     sallyport.Principal   `cbor:"16,keyasint,omitempty"`
	Status        int                   `cbor:"17,keyasint"`
	Origin        int                   `cbor:"18,keyasint,omitempty"`
	RequestBytes  int64                 `cbor:"23,keyasint,omitempty"`
	ResponseBytes int64                 `cbor:"24,keyasint,omitempty"`
	Decision      decision              `cbor:"25,keyasint"`
	Classes       []sallyport.DataClass `cbor:"29,keyasint,omitempty"`
	Shape         *sallyport.Shape      `cbor:"30,keyasint,omitempty"`
}

type decision struct {
	Action sallyport.Action `cbor:"1,keyasint"`
}

func (d decision) refused() bool { return d.Action != sallyport.ActionAllow && d.Action != "" }

var decoder = func() cbor.DecMode {
	m, err := cbor.DecOptions{MaxArrayElements: 1 << 20, MaxNestedLevels: 16}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func (e *event) read(b []byte) error {
	if err := decoder.Unmarshal(b, e); err != nil {
		return fmt.Errorf("decode event: %w", err)
	}
	return nil
}
