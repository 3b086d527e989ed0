// Package reflection asks a gRPC server what its services are, by the server
// reflection protocol (grpc.reflection.v1, or v1alpha where that is all there
// is). In comes the address that an operator gave; out goes a binary descriptor
// set, always the same bytes for the same services. What the server sends is
// bounded in size, number and time, and taken for nothing but descriptors: it
// is the loader of package proto that believes it or not. It never follows a
// redirect.
package reflection

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"sallyport.dev/spec/proto/frame"
)

// What one asking takes at most.
const (
	maxAnswer   = 8 << 20
	maxTotal    = 32 << 20
	maxServices = 500
	maxFiles    = 2000
)

// A Server is who is asked.
type Server struct {
	URL   string         // http://host:port (HTTP/2 in plain text) or https://host:port
	Roots *x509.CertPool // nil: the system's
}

// errUnknown says that the server does not know a version of the protocol.
var errUnknown = errors.New("the server does not offer reflection")

// Fetch asks for all services but those of reflection and health. The error says what went wrong without
// quoting the server.
func Fetch(ctx context.Context, s Server) ([]byte, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second}
	defer t.CloseIdleConnections()
	var err error
	for _, version := range []string{"v1", "v1alpha"} {
		a := &asker{url: strings.TrimRight(s.URL, "/") + "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo", t: t, files: map[string][]byte{}}
		var set []byte
		if set, err = a.all(ctx); !errors.Is(err, errUnknown) {
			return set, err
		}
	}
	return nil, err
}

type asker struct {
	url   string
	t     *http.Transport
	files map[string][]byte
	total int
}

// The fields of ServerReflectionRequest and ServerReflectionResponse.
const (
	askFile    = 3
	askSymbol  = 4
	askList    = 7
	tellFiles  = 4
	tellList   = 6
	tellError  = 7
	unfinished = 12 // UNIMPLEMENTED
)

func (a *asker) all(ctx context.Context) ([]byte, error) {
	answer, err := a.ask(ctx, askList, "*")
	if err != nil {
		return nil, err
	}
	var names []string
	each(field(answer, tellList), 1, func(service []byte) {
		name := string(field(service, 1))
		if !strings.HasPrefix(name, "grpc.reflection.") && name != "grpc.health.v1.Health" {
			names = append(names, name)
		}
	})
	if len(names) == 0 || len(names) > maxServices {
		return nil, fmt.Errorf("the server names %d services; want 1 to %d", len(names), maxServices)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := a.take(ctx, askSymbol, name); err != nil {
			return nil, fmt.Errorf("service %q: %w", name, err)
		}
	}
	for missing := a.missing(); len(missing) > 0; missing = a.missing() {
		for _, name := range missing {
			if err := a.take(ctx, askFile, name); err != nil {
				return nil, fmt.Errorf("file %q: %w", name, err)
			}
			if a.files[name] == nil {
				return nil, fmt.Errorf("file %q: the server answers with others", name)
			}
		}
	}
	var out []byte
	for _, name := range a.sorted() {
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), a.files[name])
	}
	return out, nil
}

func (a *asker) sorted() []string {
	names := make([]string, 0, len(a.files))
	for name := range a.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// missing are files that others import and that have not been sent.
func (a *asker) missing() (out []string) {
	for _, name := range a.sorted() {
		each(a.files[name], 3, func(dep []byte) { // FileDescriptorProto.dependency
			if d := string(dep); a.files[d] == nil && !slices.Contains(out, d) {
				out = append(out, d)
			}
		})
	}
	return out
}

// take asks one question and keeps the files of its answer.
func (a *asker) take(ctx context.Context, kind protowire.Number, what string) (err error) {
	answer, err := a.ask(ctx, kind, what)
	if err != nil {
		return err
	}
	each(field(answer, tellFiles), 1, func(file []byte) {
		var f descriptorpb.FileDescriptorProto
		if a.total += len(file); a.total > maxTotal || len(a.files) >= maxFiles {
			err = errors.New("the descriptors are more than is taken")
		} else if e := pb.Unmarshal(file, &f); e != nil || f.GetName() == "" {
			err = errors.New("the server sends what is no descriptor")
		} else if a.files[f.GetName()] == nil {
			a.files[f.GetName()] = bytes.Clone(file)
		}
	})
	return err
}

// ask sends one question in a call of its own and reads one answer.
func (a *asker) ask(ctx context.Context, kind protowire.Number, what string) ([]byte, error) {
	m := protowire.AppendString(protowire.AppendTag(nil, kind, protowire.BytesType), what)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(append(frame.AppendHead(nil, 0, len(m)), m...)))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"sallyport"}}
	res, err := a.t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	status := res.Trailer.Get("Grpc-Status") + res.Header.Get("Grpc-Status")
	switch {
	case res.StatusCode == http.StatusNotFound || status == fmt.Sprint(unfinished):
		return nil, errUnknown
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server answers with HTTP status %d", res.StatusCode)
	case len(body) > maxAnswer:
		return nil, errors.New("the answer is larger than is taken")
	case len(body) == 0:
		return nil, fmt.Errorf("the server answers with gRPC status %.10q", status)
	}
	flags, message, _, err := frame.Next(body)
	if err != nil || flags != 0 {
		return nil, errors.New("the answer is no frame of gRPC")
	}
	if field(message, tellError) != nil {
		return nil, errors.New("the server knows it not")
	}
	return message, nil
}

// each gives every value of a field of type message, string or bytes.
func each(b []byte, number protowire.Number, f func([]byte)) {
	for len(b) > 0 {
		n, t, k := protowire.ConsumeTag(b)
		if k < 0 {
			return
		}
		b = b[k:]
		if k = protowire.ConsumeFieldValue(n, t, b); k < 0 {
			return
		}
		if n == number && t == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			f(v)
		}
		b = b[k:]
	}
}

func field(b []byte, number protowire.Number) (v []byte) {
	each(b, number, func(x []byte) { v = x })
	return v
}
