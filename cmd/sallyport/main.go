// Command sallyport guards APIs: it stands in front of them, decides about each
// request with reasons, and shows what is going on. All wiring between the
// rooms is written out here, in reading order; the configuration file is read
// here and nowhere else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // quotas begin their days in time zones, on systems without a database of them too

	"github.com/alecthomas/kong"
)

// Exit codes, as the help text names them.
const (
	exitRefused = 1 // what was asked could not be done
	exitUsage   = 2 // the command line or the configuration is wrong
)

type cli struct {
	Run     runCmd     `cmd:"" help:"Start the gateway, the console and all engines."`
	Check   conformCmd `cmd:"" help:"Test an instance of an API against its description. Exit 1 when it does not conform."`
	Import  importCmd  `cmd:"" help:"Read access logs and other records of traffic into the inventory."`
	Learn   learnCmd   `cmd:"" help:"Learn a specification from recorded traffic, or compare the two."`
	Config  configCmd  `cmd:"" help:"Check a configuration, or describe its settings."`
	Notify  notifyCmd  `cmd:"" help:"Try the places that are notified of incidents."`
	Key     keyCmd     `cmd:"" help:"Make API keys, show public keys."`
	Version versionCmd `cmd:"" help:"Print version, revision and Go release."`

	Catalogue catalogueCmd `cmd:"" help:"Print what clusters, proxies, registries and source code say about APIs."`
	Discover  discoverCmd  `cmd:"" help:"Look at APIs from outside: ports, TLS, kinds of API, what is wrong with them."`
	Audit     auditCmd     `cmd:"" help:"Review descriptions for what is weak in them, each with file:line:column. Exit 1 when something severe is found."`
}

type configCmd struct {
	Check  checkCmd  `cmd:"" help:"List every mistake of a configuration and its specifications in one go, each with file:line:column."`
	Schema schemaCmd `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
}

const description = `Sallyport guards APIs while they serve: it stands in front of them, checks each
request against the API's specification and policy, and keeps an inventory of
what it sees.

  sallyport config check sallyport.yaml     before every change
  sallyport check openapi.yaml --target URL before an instance serves
  sallyport discover 10.0.0.0/24            to find what is there
  sallyport run --config sallyport.yaml     until interrupted; SIGHUP, or saving
                                            the file, takes a change over

Exit codes: 0 done · 1 could not be done · 2 wrong command line or configuration.
Secrets never stand in the configuration: write env:NAME or file:PATH.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one command line and gives its exit code.
func command(ctx context.Context, args []string, out, errs io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("sallyport"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(out, errs), kong.Exit(func(n int) { code = n }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: false}))
	if err != nil {
		fmt.Fprintln(errs, "sallyport:", err)
		return exitUsage
	}
	k, err := parser.Parse(args)
	if code >= 0 { // help was printed
		return code
	}
	if err != nil {
		fmt.Fprintf(errs, "sallyport: %v\nTry `sallyport --help`.\n", err)
		return exitUsage
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(streams{out, errs})
	if err := k.Run(); err != nil {
		var m *mistakes
		if errors.As(err, &m) || errors.Is(err, errConfig) {
			fmt.Fprintln(errs, err)
			return exitUsage
		}
		fmt.Fprintln(errs, "sallyport:", err)
		return exitRefused
	}
	return 0
}

// streams is where a command writes.
type streams struct{ out, errs io.Writer }

// errConfig marks errors of a configuration that no line of it can be named for.
var errConfig = errors.New("configuration refused")

type schemaCmd struct{}

func (schemaCmd) Run(s streams) error {
	schema := schemaOf(config{})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Sallyport configuration"
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(schema)
}

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

func thisBuild() build {
	b := build{Version: "development"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	b.Go = info.GoVersion
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value[:min(12, len(s.Value))] + b.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Revision += "+changes"
		}
	}
	return b
}

func (v versionCmd) Run(s streams) error {
	b := thisBuild()
	if v.JSON {
		return json.NewEncoder(s.out).Encode(b)
	}
	_, err := fmt.Fprintln(s.out, strings.TrimSpace(fmt.Sprintf("sallyport %s %s %s", b.Version, b.Revision, b.Go)))
	return err
}
