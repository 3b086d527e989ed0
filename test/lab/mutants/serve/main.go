// Command serve runs one fixture server, correct or with one mutant switched on,
// for people. In come names; out come the address, the path of the description
// and the tokens of who may use it. It listens on loopback unless told
// otherwise, and stops on SIGINT and SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"sallyport.dev/test/lab/mutants"
	"sallyport.dev/test/lab/mutants/rest"
)

func main() {
	name := flag.String("server", "shop", "`name` of the server")
	mutant := flag.String("mutant", "", "`ID` of the mutant to switch on, such as shop-017")
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	spec := flag.String("spec", "", "write the description to this `file`")
	list := flag.Bool("list", false, "list servers and mutants and stop")
	flag.Parse()
	if err := run(*name, *mutant, *listen, *spec, *list); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(name, mutant, listen, spec string, list bool) error {
	if list {
		return table()
	}
	server, err := mutants.Find(name)
	if err != nil {
		return err
	}
	if mutant != "" {
		of, err := mutants.Find(mutant)
		if err != nil || of.Name != server.Name || mutant == of.Name {
			return fmt.Errorf("%s has no mutant %q", server.Name, mutant)
		}
	}
	if spec != "" {
		if err := os.WriteFile(filepath.Clean(spec), server.Document, 0o644); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	key := rest.NewKey()
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	err = out.Encode(map[string]any{"url": "http://" + l.Addr().String(), "server": server.Name, "mutant": mutant, "identities": server.Identities(key)})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return server.Serve(ctx, l, mutants.Options{Mutant: mutant, Key: key})
}

func table() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, s := range mutants.Servers() {
		fmt.Fprintf(w, "%s\tthe correct server\n", s.Name)
		for _, m := range s.Mutants() {
			held := ""
			if m.Held {
				held = "held"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, held, m.Kind, m.OWASP, m.CWE, m.Description)
		}
	}
	return w.Flush()
}
