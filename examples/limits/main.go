// Command limits is the upstream of the guide to limits: it works on each
// request for as long as that says, and reports what it has cost.
package main

import (
	"fmt"
	"net/http"
	"os"

	"sallyport.dev/test/lab/slots"
)

func main() {
	up := slots.New(16)
	up.Reports = true
	fmt.Println("upstream on http://127.0.0.1:9007")
	if err := http.ListenAndServe("127.0.0.1:9007", up); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
