package pcap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport.dev"
	"sallyport.dev/adapter/pcap"
	"sallyport.dev/adapter/sourcetest"
	"sallyport.dev/observe"
)

// talk makes the packets of one connection.
type talk struct {
	client, server netip.AddrPort
	seq            [2]uint32
	at             time.Time
	size           int // of a segment
	out            []framed
	wrap           func(ethernet []byte) []byte
}

type framed struct {
	b    []byte
	at   time.Time
	data bool
}

func newTalk(port uint16, at time.Time) *talk {
	return &talk{client: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), port), server: netip.MustParseAddrPort("198.51.100.1:8080"), seq: [2]uint32{rand.Uint32(), 0xfffffff0}, at: at, size: 700}
}

func (k *talk) send(side int, flags string, data []byte) {
	from, to := k.client, k.server
	if side == 1 {
		from, to = to, from
	}
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: k.seq[side], Ack: k.seq[1-side], Window: 65535,
		SYN: strings.Contains(flags, "S"), ACK: strings.Contains(flags, "A"), FIN: strings.Contains(flags, "F"), RST: strings.Contains(flags, "R")}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(data)); err != nil {
		panic(err)
	}
	b := bytes.Clone(buf.Bytes())
	if k.wrap != nil {
		b = k.wrap(b)
	}
	k.out = append(k.out, framed{b, k.at, len(data) > 0})
	k.at = k.at.Add(time.Millisecond)
	k.seq[side] += uint32(len(data))
	if tcp.SYN || tcp.FIN {
		k.seq[side]++
	}
}

func (k *talk) say(side int, text string) {
	for part := range slices.Chunk([]byte(text), k.size) {
		k.send(side, "A", part)
		k.send(1-side, "A", nil)
	}
}

func (k *talk) open()  { k.send(0, "S", nil); k.send(1, "SA", nil); k.send(0, "A", nil) }
func (k *talk) close() { k.send(0, "FA", nil); k.send(1, "FA", nil); k.send(0, "A", nil) }

func request(s sourcetest.Sent, body string) string {
	target := s.Path
	if s.Query != "" {
		target += "?" + s.Query
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.Method, target, s.Host, sourcetest.Secret, len(body), body)
}

func answer(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func chunked(status int, body string) string {
	out := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", status)
	for part := range slices.Chunk([]byte(body), 333) {
		out += fmt.Sprintf("%x;q=1\r\n%s\r\n", len(part), part)
	}
	return out + "0\r\nX-Trailer: 1\r\n\r\n"
}

func write(w io.Writer, ng bool, list []framed) error {
	type writer interface {
		WritePacket(gopacket.CaptureInfo, []byte) error
	}
	var out writer
	if ng {
		n, err := pcapgo.NewNgWriter(w, layers.LinkTypeEthernet)
		if err != nil {
			return err
		}
		defer n.Flush()
		out = n
	} else {
		p := pcapgo.NewWriter(w)
		if err := p.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
			return err
		}
		out = p
	}
	for _, f := range list {
		if err := out.WritePacket(gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.b), Length: len(f.b)}, f.b); err != nil {
			return err
		}
	}
	return nil
}

func vlan(b []byte) []byte {
	return slices.Concat(b[:12], []byte{0x81, 0, 0, 7}, b[12:])
}

// tunnel puts a frame into UDP to a port, behind a header.
func tunnel(port uint16, header []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv6}
		ip := &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
		udp := &layers.UDP{SrcPort: 5, DstPort: layers.UDPPort(port)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		buf := gopacket.NewSerializeBuffer()
		_ = gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, eth, ip, udp, gopacket.Payload(slices.Concat(header, b)))
		return bytes.Clone(buf.Bytes())
	}
}

var wraps = map[string]func([]byte) []byte{
	"plain": nil, "802.1Q": vlan, "QinQ": func(b []byte) []byte { return vlan(vlan(b)) },
	"VXLAN":  tunnel(4789, []byte{8, 0, 0, 0, 0, 1, 2, 0}),
	"GENEVE": tunnel(6081, []byte{1, 0, 0x65, 0x58, 0, 1, 2, 0, 9, 9, 9, 9}),
}

func TestFile(t *testing.T) {
	for name, wrap := range wraps {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Subject{Ends: true, New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
				path := filepath.Join(t.TempDir(), "a.pcap")
				if err := syscall.Mkfifo(path, 0o600); err != nil {
					t.Fatal(err)
				}
				return &pcap.File{Path: path}, func(list []sourcetest.Sent, bad bool) {
					k := newTalk(40000, list[0].Time)
					k.wrap = wrap
					k.open()
					for i, s := range list {
						k.at = s.Time
						k.say(0, request(s, `{"id":7}`))
						if i%2 == 0 {
							k.say(1, "HTTP/1.1 100 Continue\r\n\r\n"+answer(s.Status, `{"mail":"anna@example.org"}`))
						} else {
							k.say(1, chunked(s.Status, `[`+strings.Repeat(`{"a":1},`, 500)+`{}]`))
						}
					}
					k.close()
					var b bytes.Buffer
					if err := write(&b, name == "VXLAN", k.out); err != nil {
						t.Error(err)
					}
					if bad {
						b.Write(b.Bytes()[b.Len()-40:])
						b.WriteString(strings.Repeat("x", 7))
					}
					if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
						t.Error(err)
					}
				}
			}})
		})
	}
}

// read gives what a capture holds.
func read(t *testing.T, list []framed) ([]*sallyport.Exchange, observe.SourceHealth) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcap")
	var b bytes.Buffer
	if err := write(&b, false, list); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &pcap.File{Path: path}
	var got []*sallyport.Exchange
	if err := f.Run(t.Context(), func(x *sallyport.Exchange) error { got = append(got, x); return nil }); err != nil {
		t.Fatal(err)
	}
	return got, f.Health()
}

// conversations makes n connections with m exchanges each, whose status tells the path.
func conversations(n, m int) []framed {
	var out []framed
	at := time.Now().Add(-time.Hour)
	for i := range n {
		k := newTalk(uint16(20000+i), at.Add(time.Duration(i)*3*time.Millisecond))
		k.open()
		for j := range m {
			status := 200 + (i*7+j)%90
			if status == 204 {
				status = 299
			}
			s := sourcetest.Sent{Method: "PUT", Host: "shop.example.test", Path: "/s/" + strconv.Itoa(status)}
			k.say(0, request(s, `{"text":"`+strings.Repeat("x", j*300)+`"}`))
			if j%2 == 0 {
				k.say(1, answer(status, `{"text":"`+strings.Repeat("y", j*200)+`"}`))
			} else {
				k.say(1, chunked(status, `{"text":"`+strings.Repeat("z", 900)+`"}`))
			}
		}
		k.close()
		out = append(out, k.out...)
	}
	slices.SortStableFunc(out, func(a, b framed) int { return a.at.Compare(b.at) })
	return out
}

// paired fails where an answer was given to another's request.
func paired(t *testing.T, list []*sallyport.Exchange) (complete int) {
	t.Helper()
	for _, x := range list {
		if x.Status != 0 && x.Path != "/s/"+strconv.Itoa(x.Status) {
			t.Errorf("%s has the answer %d", x.Path, x.Status)
		}
		if x.Status != 0 {
			complete++
		} else if !x.Unseen {
			t.Errorf("%s is said to have got no answer", x.Path)
		}
	}
	return complete
}

func TestDisorder(t *testing.T) {
	const n, m = 40, 12
	all := conversations(n, m)
	got, h := read(t, all)
	if complete := paired(t, got); complete != n*m || h.Lost != 0 || h.Bad != 0 {
		t.Fatalf("%d of %d exchanges, %+v", complete, n*m, h)
	}
	r := rand.New(rand.NewPCG(1, 2))
	t.Run("shuffled", func(t *testing.T) {
		list := slices.Clone(all)
		for i := range list {
			j := min(len(list)-1, i+r.IntN(60))
			list[i], list[j] = list[j], list[i]
		}
		got, h := read(t, list)
		if complete := paired(t, got); complete != n*m || h.Lost != 0 || !strings.Contains(h.Notice, "out of order") {
			t.Errorf("%d of %d exchanges, %+v", complete, n*m, h)
		}
	})
	t.Run("twice", func(t *testing.T) {
		var list []framed
		for _, f := range all {
			list = append(list, f, f)
		}
		got, h := read(t, list)
		if complete := paired(t, got); complete != n*m || len(got) != n*m || h.Lost != 0 || !strings.Contains(h.Notice, "sent again") {
			t.Errorf("%d of %d exchanges, %+v", len(got), n*m, h)
		}
	})
	t.Run("with loss", func(t *testing.T) {
		var list []framed
		dropped := 0
		for _, f := range all {
			if r.IntN(100) < 2 {
				if f.data {
					dropped++
				}
				continue
			}
			list = append(list, f)
		}
		got, h := read(t, list)
		complete := paired(t, got)
		if complete < n*m-2*dropped || complete > n*m || h.Lost == 0 {
			t.Errorf("%d of %d exchanges with %d segments dropped, %+v", complete, n*m, dropped, h)
		}
		t.Logf("%d of %d exchanges with %d segments dropped, lost %d", complete, n*m, dropped, h.Lost)
	})
	t.Run("from the middle", func(t *testing.T) {
		got, _ := read(t, all[len(all)/3:])
		if complete := paired(t, got); complete < n*m/2 {
			t.Errorf("%d of %d exchanges", complete, n*m)
		}
	})
}

func TestOddConnections(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	s := sourcetest.Sent{Method: "GET", Host: "a.test", Path: "/s/200"}
	for _, c := range []struct {
		name   string
		talk   func(k *talk)
		status []int // of exchanges; 0 = none came, -1 = not seen
		bad    uint64
		notice string
	}{
		{"nobody answers", func(k *talk) { k.say(0, request(s, "")); k.close() }, []int{0}, 0, ""},
		{"reset", func(k *talk) { k.say(0, request(s, "")); k.send(1, "RA", nil) }, []int{0}, 0, ""},
		{"the capture ends", func(k *talk) { k.say(0, request(s, "")) }, []int{-1}, 0, ""},
		{"HEAD", func(k *talk) {
			h := s
			h.Method = "HEAD"
			k.say(0, request(h, "")+request(s, ""))
			k.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"+answer(200, "{}"))
		}, []int{200, 200}, 0, ""},
		{"until the end", func(k *talk) { k.say(0, request(s, "")); k.say(1, "HTTP/1.0 200 OK\r\n\r\nall there is"); k.close() }, []int{200}, 0, ""},
		{"pipelined", func(k *talk) {
			k.say(0, request(s, "")+request(s, "{}")+request(s, ""))
			k.say(1, answer(200, "1")+answer(200, "2")+answer(200, ""))
		}, []int{200, 200, 200}, 0, ""},
		{"byte by byte", func(k *talk) { k.size = 1; k.say(0, request(s, "{}")); k.say(1, chunked(200, "{}")) }, []int{200}, 0, ""},
		{"upgraded", func(k *talk) {
			k.say(0, request(s, ""))
			k.say(1, "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n\x81\x05GET /")
			k.say(0, "\x81GET / HTTP/1.1\r\n\r\n")
		}, []int{101}, 0, ""},
		{"TLS", func(k *talk) { k.say(0, "\x16\x03\x01\x02\x00\x01 and so on") }, nil, 0, "1 connections are TLS"},
		{"HTTP/2", func(k *talk) { k.say(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }, nil, 0, "HTTP/2"},
		{"another protocol", func(k *talk) { k.say(0, "\x00\x01\x02\x03"); k.say(1, "\x00\x01\x02\x03") }, nil, 0, "another protocol"},
		{"a broken head", func(k *talk) { k.say(0, "GET /"+sourcetest.Secret+" HTTP/1.1\r\nno colon\r\n\r\n") }, nil, 1, ""},
		{"a head without end", func(k *talk) { k.say(0, "GET / HTTP/1.1\r\n"+strings.Repeat("A: b\r\n", 20000)) }, nil, 1, ""},
		{"no sizes", func(k *talk) {
			k.say(0, request(s, ""))
			k.say(1, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
		}, []int{200}, 1, ""},
		{"a large body", func(k *talk) {
			k.size = 32000
			k.say(0, request(s, strings.Repeat("x", 3<<20)))
			k.say(1, answer(200, "{}"))
		}, []int{200}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newTalk(30000, at)
			k.open()
			c.talk(k)
			got, h := read(t, k.out)
			var status []int
			for _, x := range got {
				sourcetest.Check(t, x)
				if x.Unseen {
					x.Status = -1
				}
				status = append(status, x.Status)
			}
			if !slices.Equal(status, c.status) || h.Bad != c.bad || !strings.Contains(h.Notice, c.notice) || strings.Contains(h.FirstBad, sourcetest.Secret) {
				t.Errorf("answers %v, want %v; %+v", status, c.status, h)
			}
		})
	}
}

// Real traffic at the loopback interface.
func TestLive(t *testing.T) {
	sourcetest.Run(t, sourcetest.Subject{New: func(t *testing.T) (observe.Source, func([]sourcetest.Sent, bool)) {
		var mu sync.Mutex
		status := 200
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			defer mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"list":[%s1]}`, strings.Repeat("1,", 40000))
		}))
		t.Cleanup(web.Close)
		addr := web.Listener.Addr().(*net.TCPAddr)
		l := &pcap.Live{Interface: "lo", Ports: []int{addr.Port}}
		return l, func(list []sourcetest.Sent, bad bool) {
			for l.Health().State != "reading" {
				time.Sleep(2 * time.Millisecond)
			}
			if bad {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(c, "GET /x HTTP/1.1\r\nno colon in this %s\r\n\r\n", sourcetest.Secret)
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}
			for _, s := range list {
				mu.Lock()
				status = s.Status
				mu.Unlock()
				r, _ := http.NewRequest(s.Method, web.URL+s.Path+"?"+s.Query, strings.NewReader(`{"note":"`+strings.Repeat("x", 5000)+`"}`))
				r.Host = s.Host
				r.Header.Set("Authorization", "Bearer "+sourcetest.Secret)
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	}})
	if err := (&pcap.Live{Interface: "none0"}).Run(context.Background(), nil); err == nil {
		t.Error("an interface that is none")
	}
}

func FuzzFile(f *testing.F) {
	for name, wrap := range wraps {
		k := newTalk(30000, time.Unix(1e9, 0))
		k.wrap = wrap
		k.open()
		k.say(0, request(sourcetest.Traffic(1)[0], "{}"))
		k.say(1, chunked(200, "{}"))
		var b bytes.Buffer
		_ = write(&b, name == "GENEVE", k.out)
		f.Add(b.Bytes())
	}
	f.Add(binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x.pcap")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = (&pcap.File{Path: path}).Run(t.Context(), func(x *sallyport.Exchange) error {
			if x.Method == "" || !strings.HasPrefix(x.Path, "/") || x.Status != 0 && x.Unseen {
				t.Errorf("%+v", x)
			}
			return nil
		})
	})
}
