package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Timeout bounds each step of an SMTP conversation: connect with greeting and
// authentication, every command, the body.
const Timeout = 30 * time.Second

// A Refusal is one recipient that the relay did not take.
type Refusal struct {
	To  string
	Err error
}

// Send hands m to the relay and returns once the relay has answered 250 to all of
// it, in at most a few times Timeout. Recipients that the relay refuses for good
// (5xx) are left out and returned; it is an error if nobody is left, or if one
// is refused for now (4xx) and m is not Partial. After an error nobody got the
// message, unless the connection broke while the relay answered. The end of ctx
// breaks the conversation.
func (r *Relay) Send(ctx context.Context, m Message) ([]Refusal, error) {
	msg, err := m.build()
	if err != nil {
		return nil, err
	}
	refused, err := r.deliver(ctx, msg, m.Partial)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return refused, fmt.Errorf("mail relay %s: %w", r, err)
	}
	return refused, nil
}

func (r *Relay) deliver(ctx context.Context, msg *mail.Msg, partial bool) ([]Refusal, error) {
	line := &line{}
	defer line.close()
	c, err := r.client(ctx, line)
	if err != nil {
		return nil, err
	}
	conn, err := c.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return nil, err
	}
	refused, err := r.envelope(conn, msg, partial)
	if err == nil {
		err = r.body(conn, msg)
	}
	// The message is settled by now: how the farewell goes changes nothing.
	_ = conn.UpdateDeadline(time.Second)
	_ = conn.Quit()
	return refused, err
}

// A line is the one connection of a conversation. It breaks when ctx ends, also
// in the middle of a greeting, and is closed after every error: go-mail does
// neither.
type line struct {
	conn net.Conn
	stop func() bool
}

func (l *line) dial(ctx context.Context, config *tls.Config) mail.DialContextFunc {
	return func(dialCtx context.Context, network, addr string) (net.Conn, error) {
		var d interface {
			DialContext(ctx context.Context, network, addr string) (net.Conn, error)
		} = &net.Dialer{}
		if config != nil {
			d = &tls.Dialer{Config: config}
		}
		conn, err := d.DialContext(dialCtx, network, addr)
		if err != nil {
			return nil, err
		}
		l.conn = conn
		l.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
}

func (l *line) close() {
	if l.conn != nil {
		l.stop()
		_ = l.conn.Close()
	}
}

// client returns the settings of one connection; nothing is dialed.
func (r *Relay) client(ctx context.Context, l *line) (*mail.Client, error) {
	opts := []mail.Option{mail.WithPort(r.port), mail.WithTimeout(Timeout), mail.WithTLSConfig(r.tlsConfig())}
	switch {
	case r.implicit:
		opts = append(opts, mail.WithSSL(), mail.WithDialContextFunc(l.dial(ctx, r.tlsConfig())))
	case r.user != "":
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithDialContextFunc(l.dial(ctx, nil)))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSOpportunistic), mail.WithDialContextFunc(l.dial(ctx, nil)))
	}
	if r.user != "" {
		if r.password == nil {
			return nil, errors.New("no password loaded")
		}
		// The line is encrypted here in any case, so plain mechanisms are fine.
		opts = append(opts, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin),
			mail.WithUsername(r.user), mail.WithPassword(r.password()))
	}
	return mail.NewClient(r.host, opts...)
}

// envelope names sender and recipients. It is spoken here and not by the client
// of go-mail, which gives up on everybody when one recipient is refused.
func (r *Relay) envelope(conn *smtp.Client, msg *mail.Msg, partial bool) ([]Refusal, error) {
	from, err := msg.GetSender(false)
	if err != nil {
		return nil, err
	}
	to, err := msg.GetRecipients()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.UpdateDeadline(Timeout), conn.Mail(from)); err != nil {
		return nil, fmt.Errorf("sender %s: %w", from, err)
	}
	var refused []Refusal
	for _, addr := range to {
		err := errors.Join(conn.UpdateDeadline(Timeout), conn.Rcpt(addr))
		var answer *textproto.Error
		switch {
		case err == nil:
		case errors.As(err, &answer) && (answer.Code >= 500 || partial):
			refused = append(refused, Refusal{strings.Trim(addr, "<>"), err})
		default:
			return nil, fmt.Errorf("recipient %s: %w", addr, err)
		}
	}
	if len(refused) == len(to) {
		return refused, fmt.Errorf("every recipient is refused, first %s: %w", refused[0].To, refused[0].Err)
	}
	return refused, nil
}

func (r *Relay) body(conn *smtp.Client, msg *mail.Msg) error {
	b, err := wire(msg)
	if err != nil {
		return err
	}
	if err := conn.UpdateDeadline(Timeout); err != nil {
		return err
	}
	w, err := conn.Data()
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if err := errors.Join(conn.UpdateDeadline(Timeout), w.Close()); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	return nil
}
