package notify

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wneessen/go-mail"
)

// A Message is one mail, ready to be sent.
type Message struct {
	From    string   // an address, with or without a display name
	To      []string // likewise
	Subject string   // one line of any text
	Text    string   // plain, UTF-8, lines end in \n
	ID      string   // Message-ID without the angle brackets
	Date    time.Time

	// Partial sends to those the relay takes even if it refuses others for now.
	Partial bool
}

// build puts m into wire form. Whatever the fields hold, each stays inside its
// own header: line ends and other control characters become spaces, anything
// beyond ASCII an encoded word.
func (m Message) build() (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.From(m.From); err != nil {
		return nil, fmt.Errorf("mail-from %q: not a mail address: %w", m.From, err)
	}
	if len(m.To) == 0 {
		return nil, fmt.Errorf("message %s: no recipient", m.ID)
	}
	for _, to := range m.To {
		if err := msg.AddTo(to); err != nil {
			return nil, fmt.Errorf("mail-to %q: not a mail address: %w", to, err)
		}
	}
	msg.Subject(oneLine(m.Subject))
	msg.SetMessageIDWithValue(idText(m.ID))
	msg.SetDateWithValue(m.Date.UTC())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation answers
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	return msg, nil
}

// wire returns the bytes of msg. The Message-ID stands on one line, where go-mail
// folds a long one: people search mailboxes line by line.
func wire(msg *mail.Msg) ([]byte, error) {
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, err
	}
	return bytes.Replace(b.Bytes(), []byte("\r\nMessage-ID:\r\n <"), []byte("\r\nMessage-ID: <"), 1), nil
}

// oneLine makes s safe to stand in a line of text or in a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// idText leaves what RFC 5322 allows in a Message-ID without quoting.
func idText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', strings.ContainsRune(".-_@", r):
			return r
		}
		return '_'
	}, s)
}

// clip cuts s to at most n bytes at a character's border and says so.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
