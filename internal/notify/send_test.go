package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"symkeep/internal/notify"
)

func message() notify.Message {
	return notify.Message{
		From: "symkeep <symkeep@corp.example>", To: []string{"a@corp.example", "Bob <b@corp.example>"},
		Subject: "hello", Text: "line\n.dot\nFrom x\n", ID: "1.X@c", Date: at,
	}
}

// relay returns the relay for s under url, in which %s is its address.
func relay(t *testing.T, s *server, form, password string) *notify.Relay {
	t.Helper()
	r, err := notify.ParseURL(strings.ReplaceAll(fmt.Sprintf(form, s.addr), "CA", s.ca))
	if err != nil {
		t.Fatal(err)
	}
	file := ""
	if password != "" {
		file = filepath.Join(t.TempDir(), "pw")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Load(file); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSendTransport(t *testing.T) {
	for _, tt := range []struct {
		name     string
		server   *server
		url      string
		password string
		ok, tls  bool
	}{
		{"plain relay", &server{}, "smtp://%s", "", true, false},
		{"starttls is used when offered", &server{starttls: true}, "smtp://%s?ca=CA", "", true, true},
		{"unknown authority", &server{starttls: true}, "smtp://%s", "", false, false},
		{"unknown authority accepted", &server{starttls: true}, "smtp://%s?insecure-tls=1", "", true, true},
		{"smtps", &server{implicit: true}, "smtps://%s?ca=CA", "", true, true},
		{"smtps unknown authority", &server{implicit: true}, "smtps://%s", "", false, false},
		{"smtps against plain", &server{}, "smtps://%s?insecure-tls=1", "", false, false},
		{"user over starttls", &server{starttls: true, password: "pw"}, "smtp://bot@%s?ca=CA", "pw", true, true},
		{"user over smtps", &server{implicit: true, password: "pw"}, "smtps://bot@%s?ca=CA", "pw", true, true},
		{"wrong password", &server{starttls: true, password: "pw"}, "smtp://bot@%s?ca=CA", "other", false, false},
		{"user without starttls", &server{password: "pw"}, "smtp://bot@%s", "pw", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, tt.server)
			_, err := relay(t, s, tt.url, tt.password).Send(t.Context(), message())
			if (err == nil) != tt.ok {
				t.Fatalf("Send error = %v, want success %v", err, tt.ok)
			}
			if err != nil {
				if strings.Contains(err.Error(), "other") {
					t.Errorf("Send error = %v, shows the password", err)
				}
				return
			}
			m := <-s.got
			if m.tls != tt.tls || m.auth != (tt.password != "") {
				t.Errorf("Send used tls %v, auth %v, want %v, %v", m.tls, m.auth, tt.tls, tt.password != "")
			}
			if m.from != "symkeep@corp.example" || !slices.Equal(m.to, []string{"a@corp.example", "b@corp.example"}) {
				t.Errorf("Send envelope = %q, %q", m.from, m.to)
			}
		})
	}
}

func TestSendRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		data    string
		partial bool
		ok      bool
		refused int
	}{
		{"one for good", map[string]string{"a@corp.example": "550 no such user"}, "", false, true, 1},
		{"one for now", map[string]string{"a@corp.example": "451 later"}, "", false, false, 0},
		{"one for now, partial", map[string]string{"a@corp.example": "451 later"}, "", true, true, 1},
		{"all for good", map[string]string{"a@corp.example": "550 no", "b@corp.example": "550 no"}, "", false, false, 2},
		{"all for now, partial", map[string]string{"a@corp.example": "450 no", "b@corp.example": "450 no"}, "", true, false, 2},
		{"body refused", nil, "552 too big", false, false, 0},
		{"no answer to the body", nil, "close", false, false, 0},
	} {
		s := startServer(t, &server{
			rcpt: func(to string) string { return tt.answers[to] },
			data: func(int) string { return tt.data },
		})
		m := message()
		m.Partial = tt.partial
		refused, err := relay(t, s, "smtp://%s", "").Send(t.Context(), m)
		if (err == nil) != tt.ok || len(refused) != tt.refused {
			t.Errorf("%s: Send = %v, %v, want success %v and %d refused", tt.name, refused, err, tt.ok, tt.refused)
		}
	}
}

func TestSendEndsWithContext(t *testing.T) {
	s := startServer(t, &server{hang: make(chan struct{})})
	defer close(s.hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := relay(t, s, "smtp://%s", "").Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send error = %v, want %v", err, context.DeadlineExceeded)
	}
}

// Whatever stands in the fields of a message, the mail that arrives has our
// headers once each, and the text as it was.
func TestSendKeepsHeadersApart(t *testing.T) {
	nasty := "x\r\nBcc: evil@example.org\r\n\r\nowned \u2028 \x00\x7f é 漢字 " + strings.Repeat("long ", 100)
	s := startServer(t, &server{})
	m := message()
	m.Subject, m.ID = nasty, "42."+nasty+"@c"
	m.Text = "first\n" + strings.Repeat("é=漢 ", 2000) + "\n.\n..\nBcc: text\n"
	if _, err := relay(t, s, "smtp://%s", "").Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	checkMail(t, (<-s.got).data, m)
}

func checkMail(t *testing.T, raw string, m notify.Message) {
	t.Helper()
	got, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for k, vs := range got.Header {
		if !slices.Contains([]string{"Subject", "From", "To", "Date", "Message-Id", "Mime-Version", "Content-Type",
			"Content-Transfer-Encoding", "Auto-Submitted"}, k) || len(vs) != 1 {
			t.Errorf("header %s = %q, want no such header or one", k, vs)
		}
	}
	for k, want := range map[string]string{"Auto-Submitted": "auto-generated", "Date": "Sun, 01 Mar 2026 12:30:00 +0000"} {
		if v := got.Header.Get(k); v != want {
			t.Errorf("header %s = %q, want %q", k, v, want)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || strings.ContainsAny(subject, "\r\n") {
		t.Errorf("subject = %q, %v, want one line", subject, err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	if want := strings.TrimRight(m.Text, "\n"); err != nil ||
		strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") != want {
		t.Errorf("text = %.200q, %v, want %.200q", text, err, want)
	}
	for line := range strings.Lines(raw) {
		if len(line) > 998 {
			t.Errorf("line of %d bytes, RFC 5322 allows 998", len(line))
		}
	}
}

func FuzzSendHeaders(f *testing.F) {
	f.Add("subject", "text")
	f.Add("a\r\nX: y", "\r\n.\r\nQUIT\r\n")
	f.Fuzz(func(t *testing.T, subject, text string) {
		m := message()
		m.Subject, m.Text = subject, text
		raw, err := notify.Wire(m)
		if err != nil {
			return
		}
		got, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatalf("mail of subject %q: %v", subject, err)
		}
		if n := len(got.Header); n > 9 {
			t.Errorf("mail of subject %q has %d headers: %v", subject, n, got.Header)
		}
	})
}
