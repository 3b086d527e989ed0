// Command tls writes the report on what testssl.sh and sslscan say of the
// listener. In come their outputs and the list of accepted rows with reasons; out
// goes Markdown. It fails when a row at or above medium, or a warning, is not
// accepted, and when sslscan finds an old protocol or a suite without forward secrecy.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// row is one finding of testssl.sh.
type row struct{ ID, Severity, Finding string }

func main() {
	rows := flag.String("rows", "", "testssl.sh's flat JSON")
	scan := flag.String("sslscan", "", "sslscan's output")
	version := flag.String("version", "testssl.sh", "of testssl.sh")
	accepted := flag.String("accepted", "", "lines of an id, a tab and a reason")
	flag.Parse()
	if err := report(*rows, *scan, *version, *accepted); err != nil {
		fmt.Fprintln(os.Stderr, "tls:", err)
		os.Exit(1)
	}
}

func report(rowsFile, scanFile, version, acceptedFile string) error {
	var rows []row
	b, err := os.ReadFile(rowsFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		return fmt.Errorf("%s: %w", rowsFile, err)
	}
	if len(rows) < 100 {
		return fmt.Errorf("testssl.sh gave %d rows; it did not come to its end", len(rows))
	}
	reasons, err := readAccepted(acceptedFile)
	if err != nil {
		return err
	}
	scan, err := os.ReadFile(scanFile)
	if err != nil {
		return err
	}
	old := oldIn(string(scan))

	count := map[string]int{}
	var noted, open []row
	for _, r := range rows {
		count[r.Severity]++
		if r.Severity == "OK" || r.Severity == "INFO" {
			continue
		}
		noted = append(noted, r)
		if r.Severity != "LOW" && reasons[r.ID] == "" {
			open = append(open, r)
		}
	}
	fmt.Printf("# TLS, as others see it\n\nMade by `test/tls/run.sh` (`make lab`): the door of `examples/tls` with a certificate of a test authority that both tools were\ngiven or told of, an OCSP answer stapled, and no upstream behind it. %s and Debian's sslscan; what differs in each run (serial numbers, times) is left out.\n\n## Result\n\n", version)
	fmt.Printf("| severity | rows of testssl.sh |\n|---|---|\n")
	for _, s := range []string{"CRITICAL", "HIGH", "MEDIUM", "WARN", "LOW", "INFO", "OK"} {
		fmt.Printf("| %s | %d |\n", strings.ToLower(s), count[s])
	}
	fmt.Printf("\nNot accepted at or above medium: %d. Old protocols or suites found by sslscan: %d.\n\n", len(open), len(old))
	fmt.Printf("## What is accepted\n\n| row | severity | finding | reason |\n|---|---|---|---|\n")
	for _, r := range noted {
		fmt.Printf("| `%s` | %s | %s | %s |\n", r.ID, strings.ToLower(r.Severity), cell(r.Finding), cell(reasons[r.ID]))
	}
	fmt.Printf("\n## sslscan\n\n```\n")
	for line := range strings.Lines(string(scan)) {
		if f := strings.Fields(line); len(f) > 1 && (strings.HasPrefix(f[0], "TLSv1") || strings.HasPrefix(f[0], "SSLv") || f[0] == "Preferred" || f[0] == "Accepted") {
			fmt.Println(strings.TrimRight(line, " \n"))
		}
	}
	fmt.Printf("```\n\n## Every row of testssl.sh\n\n| row | severity | finding |\n|---|---|---|\n")
	for _, r := range rows {
		if volatile[r.ID] || strings.HasPrefix(r.ID, "cert_") && strings.ContainsAny(r.Finding, "0123456789") {
			continue // other in each run
		}
		fmt.Printf("| `%s` | %s | %s |\n", r.ID, strings.ToLower(r.Severity), cell(r.Finding))
	}
	if len(open)+len(old) > 0 {
		return fmt.Errorf("not accepted: %v %v", open, old)
	}
	return nil
}

// volatile rows say when and where, not what.
var volatile = map[string]bool{"scanTime": true, "TLS_timestamp": true, "HTTP_clock_skew": true, "HTTP_headerTime": true, "service": true, "cert": true, "cert_serialNumber": true}

func readAccepted(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, reason, ok := strings.Cut(line, "\t")
		if !ok || reason == "" {
			return nil, fmt.Errorf("%s: %q gives no reason", file, line)
		}
		reasons[id] = strings.TrimSpace(reason)
	}
	return reasons, nil
}

// oldIn lists what sslscan found that nobody should offer.
func oldIn(scan string) (old []string) {
	suites := 0
	for line := range strings.Lines(scan) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[1] == "enabled" && slices.Contains([]string{"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"}, f[0]):
			old = append(old, f[0])
		case len(f) > 4 && (f[0] == "Preferred" || f[0] == "Accepted"):
			if suites++; !strings.HasPrefix(f[4], "TLS_") && !strings.HasPrefix(f[4], "ECDHE-") {
				old = append(old, f[4])
			}
		}
	}
	if suites == 0 {
		old = append(old, "no suite at all was seen")
	}
	return old
}

func cell(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "|", "\\|") }
