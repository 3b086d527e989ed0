// Command load is the upstream of the guide to load: four slots, and a load
// report with each answer.
package main

import (
	"fmt"
	"net/http"
	"os"

	"sallyport.dev/test/lab/slots"
)

func main() {
	up := slots.New(4)
	up.Reports = true
	fmt.Println("upstream on http://127.0.0.1:9006")
	if err := http.ListenAndServe("127.0.0.1:9006", up); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
