package notify

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// ErrBadURL is wrapped by every error about the text of a relay's URL, and where
// a password file does not go with it.
var ErrBadURL = errors.New("bad mail relay URL")

// URLForm is what a relay's URL looks like, for usage texts.
const URLForm = "smtp[s]://[user@]host[:port][?ca=FILE|?insecure-tls=1]"

// A Relay is the SMTP server that takes our mail. Its password, if any, is shown
// by no way of printing it.
type Relay struct {
	host     string
	port     int
	user     string
	implicit bool   // TLS from the first byte (smtps) instead of STARTTLS
	insecure bool   // accept any certificate
	caFile   string // PEM; empty means the system's authorities

	roots    *x509.CertPool
	password func() string // a function, so that no format verb can reach the text
}

// ParseURL parses URLForm. smtp uses port 25 by default, 587 with a user; STARTTLS
// is used when the relay offers it and required with a user. smtps uses port 465
// and TLS from the first byte. Certificates are verified against the system's
// authorities, with ?ca=FILE against those in FILE, with ?insecure-tls=1 not at
// all. A password in the URL is refused: it would end in process lists and logs.
// Errors wrap ErrBadURL and do not quote the URL, which may hold a password.
// Nothing is read: see Load.
func ParseURL(raw string) (*Relay, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = errors.New("not a URL") // the cause quotes the input
		}
		return nil, fmt.Errorf("%w: %v, wanted %s", ErrBadURL, err, URLForm)
	}
	r := &Relay{host: u.Hostname(), user: u.User.Username()}
	if _, given := u.User.Password(); given {
		return nil, fmt.Errorf("%w: it holds a password, put that into a file and name it by --smtp-password-file", ErrBadURL)
	}
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, fmt.Errorf("%w: scheme %q, wanted %s", ErrBadURL, u.Scheme, URLForm)
	case r.host == "":
		return nil, fmt.Errorf("%w: no host, wanted %s", ErrBadURL, URLForm)
	case strings.Contains(r.host, ":") && !isAddress(r.host):
		return nil, fmt.Errorf("%w: the host is neither a name nor an IPv6 address in brackets, wanted %s", ErrBadURL, URLForm)
	case u.Path != "" && u.Path != "/" || u.Fragment != "":
		return nil, fmt.Errorf("%w: path or fragment after the host, wanted %s", ErrBadURL, URLForm)
	case strings.ContainsFunc(r.host+r.user, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return nil, fmt.Errorf("%w: space or control character in host or user", ErrBadURL)
	}
	r.implicit = u.Scheme == "smtps"
	if err := r.parsePort(u.Port()); err != nil {
		return nil, err
	}
	return r, r.parseQuery(u.RawQuery)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func (r *Relay) parsePort(text string) error {
	switch {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%w: port %q, wanted 1 to 65535", ErrBadURL, text)
		}
		r.port = int(n)
	case r.implicit:
		r.port = 465
	case r.user != "":
		r.port = 587
	default:
		r.port = 25
	}
	return nil
}

func (r *Relay) parseQuery(raw string) error {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return fmt.Errorf("%w: query is not key=value pairs", ErrBadURL)
	}
	for k, vs := range q {
		v := vs[len(vs)-1]
		switch {
		case k == "insecure-tls" && (v == "1" || v == "0"):
			r.insecure = v == "1"
		case k == "ca" && v != "":
			r.caFile = v
		default:
			return fmt.Errorf("%w: parameter %s=%q, wanted ca=FILE or insecure-tls=1", ErrBadURL, k, v)
		}
	}
	if r.insecure && r.caFile != "" {
		return fmt.Errorf("%w: both ca and insecure-tls, wanted one", ErrBadURL)
	}
	return nil
}

// Load reads the password file and the file of certificate authorities, whichever
// are named. The password is the file's content without a last line end. A user
// without a password file, or the reverse, is an error that wraps ErrBadURL.
func (r *Relay) Load(passwordFile string) error {
	switch {
	case r.user != "" && passwordFile == "":
		return fmt.Errorf("%w %s: user %q without a password, name its file by --smtp-password-file", ErrBadURL, r, r.user)
	case r.user == "" && passwordFile != "":
		return fmt.Errorf("%w %s: password file %q without a user, write smtp://user@%s", ErrBadURL, r, passwordFile, r.host)
	}
	if passwordFile != "" {
		b, err := os.ReadFile(passwordFile)
		if err != nil {
			return fmt.Errorf("mail relay %s: password file: %w", r, err)
		}
		secret := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
			return fmt.Errorf("mail relay %s: password file %q: empty or more than one line, wanted the password alone", r, passwordFile)
		}
		r.password = func() string { return secret }
	}
	if r.caFile == "" {
		return nil
	}
	pem, err := os.ReadFile(r.caFile)
	if err != nil {
		return fmt.Errorf("mail relay %s: certificate authorities: %w", r, err)
	}
	r.roots = x509.NewCertPool()
	if !r.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("mail relay %s: certificate authorities: no certificate in PEM form in %q", r, r.caFile)
	}
	return nil
}

// String returns the URL, which never holds the password.
func (r *Relay) String() string {
	u := url.URL{Scheme: "smtp", Host: net.JoinHostPort(r.host, strconv.Itoa(r.port))}
	if r.implicit {
		u.Scheme = "smtps"
	}
	if r.user != "" {
		u.User = url.User(r.user)
	}
	q := url.Values{}
	if r.insecure {
		q.Set("insecure-tls", "1")
	}
	if r.caFile != "" {
		q.Set("ca", r.caFile)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// GoString is String, so that %#v shows no more.
func (r *Relay) GoString() string { return r.String() }

func (r *Relay) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         r.host,
		RootCAs:            r.roots,
		InsecureSkipVerify: r.insecure, // asked for by ?insecure-tls=1
	}
}
