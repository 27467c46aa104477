package notify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server is a small SMTP server (RFC 5321) with STARTTLS and AUTH PLAIN on a
// loopback port. The hooks decide what it refuses.
type server struct {
	addr string
	ca   string // PEM file with its certificate

	tls      *tls.Config
	starttls bool
	implicit bool
	password string // of user "bot"; AUTH is offered when set, under TLS only

	rcpt func(to string) string // "" accepts, else the answer
	data func(n int) string     // likewise for the n-th message, from 1
	hang chan struct{}          // non-nil: says nothing until closed

	mu       sync.Mutex
	messages []received
	conns    int
	got      chan received
}

// received is one accepted message.
type received struct {
	from string
	to   []string
	data string
	tls  bool
	auth bool
}

func startServer(t *testing.T, s *server) *server {
	t.Helper()
	cert, caPEM := certificate(t)
	s.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, caPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	s.got = make(chan received, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return s
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	if s.hang != nil {
		<-s.hang
		return
	}
	if s.implicit {
		c = tls.Server(c, s.tls)
	}
	x := &session{s: s, c: c, r: textproto.NewReader(bufio.NewReader(c)), secure: s.implicit}
	x.say("220 test ESMTP")
	for x.step() {
	}
}

type session struct {
	s      *server
	c      net.Conn
	r      *textproto.Reader
	secure bool
	m      received
}

func (x *session) say(line string) { fmt.Fprintf(x.c, "%s\r\n", line) }

func (x *session) step() bool {
	line, err := x.r.ReadLine()
	if err != nil {
		return false
	}
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		x.say("250-test")
		if x.s.starttls && !x.secure {
			x.say("250-STARTTLS")
		}
		if x.s.password != "" && x.secure {
			x.say("250-AUTH PLAIN LOGIN")
		}
		x.say("250 8BITMIME")
	case "STARTTLS":
		x.say("220 go")
		x.c = tls.Server(x.c, x.s.tls)
		x.r, x.secure = textproto.NewReader(bufio.NewReader(x.c)), true
	case "AUTH":
		want := base64.StdEncoding.EncodeToString([]byte("\x00bot\x00" + x.s.password))
		if x.m.auth = arg == "PLAIN "+want; x.m.auth {
			x.say("235 ok")
		} else {
			x.say("535 no")
		}
	case "MAIL":
		if x.s.password != "" && !x.m.auth {
			x.say("530 authenticate first")
			break
		}
		x.m = received{from: address(arg), tls: x.secure, auth: x.m.auth}
		x.say("250 ok")
	case "RCPT":
		if x.s.rcpt != nil && x.s.rcpt(address(arg)) != "" {
			x.say(x.s.rcpt(address(arg)))
			break
		}
		x.m.to = append(x.m.to, address(arg))
		x.say("250 ok")
	case "DATA":
		return x.data()
	case "QUIT":
		x.say("221 bye")
		return false
	default:
		x.say("250 ok")
	}
	return true
}

func (x *session) data() bool {
	x.say("354 go")
	b, err := io.ReadAll(x.r.DotReader())
	if err != nil {
		return false
	}
	x.m.data = string(b)
	x.s.mu.Lock()
	answer := ""
	if x.s.data != nil {
		answer = x.s.data(len(x.s.messages) + 1)
	}
	x.s.messages = append(x.s.messages, x.m)
	x.s.mu.Unlock()
	if answer == "close" { // the worst moment: taken, and no answer
		return false
	}
	if answer != "" {
		x.say(answer)
		return true
	}
	x.say("250 queued")
	x.s.got <- x.m
	return true
}

func address(arg string) string {
	_, s, _ := strings.Cut(arg, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
