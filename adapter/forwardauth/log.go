package forwardauth

import (
	"io"
	"log"
)

// silent keeps net/http from writing what strangers send into the log; they are
// counted.
var silent = log.New(io.Discard, "", 0)
