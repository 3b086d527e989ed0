package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// TLS is how a port speaks it.
type TLS struct {
	Versions    []string     `json:"versions"`         // accepted, lowest first
	Suites      []string     `json:"suites,omitempty"` // accepted below TLS 1.3 that are out of date
	Suite       string       `json:"suite"`            // agreed on by a client of today
	ALPN        string       `json:"alpn,omitempty"`
	Names       []string     `json:"names,omitempty"` // of the certificate
	Certificate *Certificate `json:"certificate,omitempty"`

	problems map[string]string // by what a rule asks for
}

// Certificate is the one presented first.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"`
	SHA256    string    `json:"sha256"`
}

func allSuites() (out []uint16) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		out = append(out, s.ID)
	}
	return out
}

// tryTLS makes one handshake. The certificate is judged apart, so none is
// refused here. It returns what the server sent first when that was no TLS.
func (v *visit) tryTLS(ctx context.Context, port int, name string, c *tls.Config) (*tls.ConnectionState, []byte, error) {
	raw, err := v.dial(ctx, port)
	if err != nil {
		return nil, nil, err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(min(v.p.Timeout, 5*time.Second)))
	c.ServerName, c.InsecureSkipVerify = name, true
	tap := &tapped{Conn: raw}
	conn := tls.Client(tap, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) || len(tap.first) > 0 && tap.first[0] != 0x15 && tap.first[0] != 0x16 {
			return nil, tap.first, err
		}
		return nil, nil, err
	}
	state := conn.ConnectionState()
	return &state, nil, nil
}

// tapped keeps the first bytes that are read, and ends a handshake that is
// longer than any is.
type tapped struct {
	net.Conn
	first []byte
	total int
}

func (t *tapped) Read(b []byte) (int, error) {
	if t.total > 256<<10 {
		return 0, errors.New("the handshake is too long")
	}
	n, err := t.Conn.Read(b)
	t.total += n
	if len(t.first) < 256 {
		t.first = append(t.first, b[:min(n, 256-len(t.first))]...)
	}
	return n, err
}

var versions = []struct {
	id   uint16
	name string
}{{tls.VersionTLS10, "TLS 1.0"}, {tls.VersionTLS11, "TLS 1.1"}, {tls.VersionTLS12, "TLS 1.2"}, {tls.VersionTLS13, "TLS 1.3"}}

func (v *visit) inspectTLS(ctx context.Context, port int, state *tls.ConnectionState) *TLS {
	t := &TLS{Suite: tls.CipherSuiteName(state.CipherSuite), ALPN: state.NegotiatedProtocol, problems: map[string]string{}}
	name := v.firstName()
	hello := func(c *tls.Config) *tls.ConnectionState {
		if !v.spend(ctx) {
			return nil
		}
		s, _, _ := v.tryTLS(ctx, port, name, c)
		return s
	}
	if v.spend(ctx) && v.sslv3(ctx, port) {
		t.Versions = append(t.Versions, "SSL 3.0")
	}
	for _, x := range versions {
		if state.Version == x.id || hello(&tls.Config{MinVersion: x.id, MaxVersion: x.id, CipherSuites: allSuites()}) != nil {
			t.Versions = append(t.Versions, x.name)
		}
	}
	if slices.ContainsFunc(t.Versions, func(s string) bool { return s != "TLS 1.3" }) {
		var rc4, des, cbc, rsaKey []uint16
		for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			switch {
			case slices.Contains(s.SupportedVersions, uint16(tls.VersionTLS13)) && len(s.SupportedVersions) == 1:
			case strings.Contains(s.Name, "_RC4_"):
				rc4 = append(rc4, s.ID)
			case strings.Contains(s.Name, "_3DES_"):
				des = append(des, s.ID)
			case strings.HasPrefix(s.Name, "TLS_RSA_"):
				rsaKey = append(rsaKey, s.ID)
			case strings.Contains(s.Name, "_CBC_"):
				cbc = append(cbc, s.ID)
			}
		}
		for _, group := range [][]uint16{rc4, des, rsaKey, cbc} {
			if s := hello(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: group}); s != nil {
				t.Suites = append(t.Suites, tls.CipherSuiteName(s.CipherSuite))
			}
		}
	}
	if len(state.PeerCertificates) > 0 {
		v.certificate(t, state.PeerCertificates, name)
	}
	return t
}

// sslv3 says whether the server agrees to SSL 3.0, which no library offers any more.
func (v *visit) sslv3(ctx context.Context, port int) bool {
	c, err := v.dial(ctx, port)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(min(v.p.Timeout, 3*time.Second)))
	body := append([]byte{3, 0}, bytes.Repeat([]byte{0x5a}, 32)...)
	body = append(body, 0)                                                        // no session
	body = append(body, 0, 8, 0, 0x0a, 0, 0x05, 0, 0x2f, 0, 0x35, 1, 0)           // 3DES, RC4, AES; no compression
	hello := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...) // ClientHello
	if _, err := c.Write(append([]byte{22, 3, 0, byte(len(hello) >> 8), byte(len(hello))}, hello...)); err != nil {
		return false
	}
	var head [11]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return false
	}
	return head[0] == 22 && head[5] == 2 && head[9] == 3 && head[10] == 0 // a ServerHello of that version
}

func (v *visit) certificate(t *TLS, chain []*x509.Certificate, name string) {
	c := chain[0]
	now := v.p.Now()
	sum := sha256.Sum256(c.Raw)
	t.Certificate = &Certificate{Subject: clip(c.Subject.String(), 200), Issuer: clip(c.Issuer.String(), 200), NotBefore: c.NotBefore, NotAfter: c.NotAfter, Key: c.PublicKeyAlgorithm.String(), SHA256: hex.EncodeToString(sum[:])}
	for _, n := range c.DNSNames {
		if len(t.Names) < 256 {
			t.Names = append(t.Names, strings.ToLower(n))
		}
	}
	if now.After(c.NotAfter) {
		t.problems["expired"] = "not after " + c.NotAfter.Format(time.DateOnly)
	} else if c.NotAfter.Sub(now) < 14*24*time.Hour {
		t.problems["soon"] = "not after " + c.NotAfter.Format(time.DateOnly)
	}
	if now.Before(c.NotBefore) {
		t.problems["early"] = "not before " + c.NotBefore.Format(time.DateOnly)
	}
	if c.NotAfter.Sub(c.NotBefore) > 398*24*time.Hour+time.Hour {
		t.problems["long"] = "valid for " + itoa(int(c.NotAfter.Sub(c.NotBefore).Hours()/24)) + " days"
	}
	asked := name
	if asked == "" {
		asked = v.job.addr.String()
	}
	if name != "" && c.VerifyHostname(name) != nil {
		t.problems["name"] = "it names " + clip(strings.Join(t.Names, ", "), 200) + ", not " + asked
	}
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs)+len(c.EmailAddresses) == 0 {
		t.problems["noname"] = "no subject alternative name"
	}
	if slices.ContainsFunc(c.DNSNames, func(n string) bool { return strings.HasPrefix(n, "*.") && strings.Count(n, ".") < 2 }) {
		t.problems["wide"] = strings.Join(c.DNSNames, ", ")
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		t.Certificate.Key = "RSA " + itoa(k.N.BitLen())
		if k.N.BitLen() < 2048 {
			t.problems["key"] = t.Certificate.Key
		}
	case *ecdsa.PublicKey:
		t.Certificate.Key = "ECDSA " + k.Params().Name
		if k.Params().BitSize < 256 {
			t.problems["key"] = t.Certificate.Key
		}
	}
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		t.problems["signature"] = c.SignatureAlgorithm.String()
	}
	if c.IsCA {
		t.problems["ca"] = "the server's own certificate may sign others"
	}
	pool := x509.NewCertPool()
	for _, x := range chain[1:] {
		pool.AddCert(x)
	}
	at := now
	if at.After(c.NotAfter) || at.Before(c.NotBefore) { // that is its own finding
		at = c.NotBefore.Add(time.Second)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: v.p.Roots, Intermediates: pool, CurrentTime: at}); err != nil {
		if bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
			t.problems["self"] = "issued by itself: " + clip(c.Subject.String(), 120)
		} else {
			t.problems["untrusted"] = "issued by " + clip(c.Issuer.String(), 120)
		}
	}
}

// plain tells what speaks at a port that has no TLS, by what it said to a
// handshake, says by itself, or answers to HTTP.
func (v *visit) plain(ctx context.Context, port int, said []byte) (protocol, banner string) {
	if p, b := told(said); p != "" && p != "http" && p != "unknown" {
		return p, b
	}
	if !v.spend(ctx) {
		return "unknown", ""
	}
	reply := v.say(ctx, port, "GET / HTTP/1.1\r\nHost: "+v.hostHeader(v.firstName(), port, "http")+"\r\nUser-Agent: "+v.agent()+"\r\nConnection: close\r\n\r\n")
	p, b := told(reply)
	switch p {
	case "http", "redis", "ssh", "smtp", "ftp", "mysql":
		return p, b
	}
	// HTTP/2 without TLS; whoever answers with a SETTINGS frame speaks it.
	if v.spend(ctx) {
		reply = v.say(ctx, port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		if len(reply) >= 9 && reply[3] == 4 && bytes.Equal(reply[5:9], []byte{0, 0, 0, 0}) {
			return "h2c", ""
		}
	}
	// An anonymous LDAP bind (RFC 4511) asks for nothing.
	if v.spend(ctx) {
		reply = v.say(ctx, port, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00")
		if len(reply) > 8 && reply[0] == 0x30 && bytes.Contains(reply[:min(len(reply), 12)], []byte{2, 1, 1, 0x61}) {
			return "ldap", "bindResponse"
		}
	}
	// MQTT 3.1.1 CONNECT; CONNACK is four bytes.
	if v.spend(ctx) {
		reply = v.say(ctx, port, mqttConnect)
		if len(reply) >= 4 && reply[0] == 0x20 && reply[1] == 2 {
			return "mqtt", "CONNACK code " + itoa(int(reply[3]))
		}
	}
	if b != "" {
		return "unknown", b
	}
	return "unknown", ""
}

const mqttConnect = "\x10\x14\x00\x04MQTT\x04\x02\x00\x05\x00\x08sallypor"

// told names a protocol by the first bytes of a server.
func told(b []byte) (protocol, banner string) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	banner = clip(printable(string(bytes.TrimSpace(line))), 120)
	switch {
	case len(b) == 0:
		return "", ""
	case bytes.HasPrefix(b, []byte("HTTP/1.")):
		return "http", banner
	case bytes.HasPrefix(b, []byte("SSH-")):
		return "ssh", banner
	case bytes.HasPrefix(b, []byte("-ERR")), bytes.HasPrefix(b, []byte("-DENIED")), bytes.HasPrefix(b, []byte("-NOAUTH")):
		return "redis", banner
	case bytes.HasPrefix(b, []byte("220")) && bytes.Contains(bytes.ToUpper(line), []byte("SMTP")):
		return "smtp", banner
	case bytes.HasPrefix(b, []byte("220")):
		return "ftp", banner
	case len(b) > 6 && b[3] == 0 && b[4] == 10:
		return "mysql", "protocol 10"
	}
	return "unknown", banner
}

// say writes once and reads what comes, 4 KiB at most.
func (v *visit) say(ctx context.Context, port int, text string) []byte {
	c, err := v.dial(ctx, port)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(min(v.p.Timeout, 2*time.Second)))
	if _, err := io.WriteString(c, text); err != nil {
		return nil
	}
	b := make([]byte, 4096)
	n, _ := io.ReadAtLeast(c, b, 9)
	return b[:n]
}
