package e2e

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestMailSurvives owes mail while the relay is down and while leaders die. Every
// verdict reaches the mailbox; what arrives twice has one Message-ID.
func TestMailSurvives(t *testing.T) {
	f := newFixture(t, "mail")
	box := newMailbox(t)
	c := newCluster(t, 3, box.founder(), box.flags()...)
	status, err := c.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}

	// The relay is down, and the leader that knows of the failed attempt dies.
	leader := c.leader()
	code, failed := push(t, leader.url(), "mail", f.path("mismatch"))
	if code != 3 {
		t.Fatalf("push of a defective package = exit %d, want 3", code)
	}
	leader.waitLog("mail not sent, will retry")
	leader.kill()
	next := c.leader()
	if st, err := next.status(); err != nil || st.MailQueue != 1 {
		t.Errorf("%s: %d mails waiting, %v, want 1", next.name, st.MailQueue, err)
	}
	if ms := box.messages(t); len(ms) > 0 {
		t.Fatalf("%d messages while the relay was down", len(ms))
	}
	box.start(t)
	box.await(t, failed, status.ClusterID)

	// The leader dies right after the verdict, the relay being up.
	leader.start()
	c.waitHealthy(3, 30*time.Second)
	leader = c.leader()
	code, done := push(t, urls(c.others(leader)...), "mail", f.path("good"))
	leader.kill()
	if code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, done)
	}
	box.await(t, done, status.ClusterID)
	leader.start()
	c.waitHealthy(3, 30*time.Second)
	eventually(t, 30*time.Second, "nothing is owed", func() error {
		for _, n := range c.nodes {
			if st, err := n.status(); err != nil || st.MailQueue != 0 {
				return fmt.Errorf("%s: %d mails waiting, %v", n.name, st.MailQueue, err)
			}
		}
		return nil
	})
	ids := map[string]bool{}
	for _, m := range box.messages(t) {
		ids[m.Header.Get("Message-ID")] = true
	}
	if len(ids) != 2 {
		t.Errorf("two verdicts were mailed under the ids %v", ids)
	}
}

// waitLog waits until the node has logged the text.
func (n *node) waitLog(text string) {
	n.t.Helper()
	eventually(n.t, 30*time.Second, fmt.Sprintf("%s logs %q", n.name, text), func() error {
		b, err := os.ReadFile(n.logPath)
		if err == nil && !strings.Contains(string(b), text) {
			return fmt.Errorf("not yet")
		}
		return err
	})
}

// A mailbox is a real mail server on loopback, which asks for STARTTLS and a login
// and delivers everything to one directory.
type mailbox struct{ dir, port string }

// newMailbox prepares one, so that nodes can be told of it, without starting it.
func newMailbox(t *testing.T) *mailbox {
	need(t, "exim4", "exim")
	need(t, "openssl")
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	b := &mailbox{t.TempDir(), port}
	b.start(t) // makes the certificate and the password
	b.stop(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *mailbox) start(t *testing.T) { b.script(t, b.port) }
func (b *mailbox) stop(t *testing.T)  { b.script(t, "stop") }

func (b *mailbox) script(t *testing.T, args ...string) {
	t.Helper()
	// It leaves a daemon behind, so its output goes to a file and not to a pipe.
	log := filepath.Join(b.dir, "script.log")
	if r := command(t, time.Minute, "sh", "-c", `log=$1; shift; exec ../scripts/mailserver.sh "$@" >"$log" 2>&1`, "sh", log, b.dir, args[0]); r.code != 0 {
		out, _ := os.ReadFile(log)
		t.Fatalf("mailserver.sh %v: exit %d: %s", args, r.code, out)
	}
}

// flags are those that every node needs to send mail.
func (b *mailbox) flags() []string {
	return []string{"--smtp-url", "smtp://symkeep@127.0.0.1:" + b.port + "?ca=" + filepath.Join(b.dir, "cert.pem"),
		"--smtp-password-file", filepath.Join(b.dir, "password")}
}

// founder are the flags that say who is told.
func (b *mailbox) founder() []string {
	return []string{"--mail-from", "symkeep@corp.example", "--mail-to", "dev@corp.example,qa@corp.example"}
}

// A message is one mail in the mailbox.
type message struct {
	mail.Message
	text string
}

// messages reads the mailbox.
func (b *mailbox) messages(t *testing.T) (ms []message) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "Maildir/new/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bufio.NewReader(file))
		if err != nil {
			t.Fatalf("mail %s: %v", name, err)
		}
		body := m.Body
		if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(body)
		}
		text, err := io.ReadAll(body)
		file.Close()
		if err != nil {
			t.Fatalf("mail %s: %v", name, err)
		}
		ms = append(ms, message{*m, strings.ReplaceAll(string(text), "\r\n", "\n")})
	}
	return ms
}

// await waits for the mail about a package, checks all of it, duplicates too, and
// returns its text.
func (b *mailbox) await(t *testing.T, r api.Result, cluster catalog.ClusterID) string {
	t.Helper()
	var found []message
	eventually(t, 60*time.Second, "mail about "+string(r.Package), func() error {
		found = nil
		for _, m := range b.messages(t) {
			if strings.Contains(m.text, string(r.Package)) {
				found = append(found, m)
			}
		}
		if len(found) == 0 {
			return fmt.Errorf("%d other messages", len(b.messages(t)))
		}
		return nil
	})
	first := found[0].Header.Get("Message-ID")
	if want := regexp.MustCompile(fmt.Sprintf(`^<\d+\.%s@%s>$`, r.Package, cluster)); !want.MatchString(first) {
		t.Errorf("Message-ID %s, want one of the form %s", first, want)
	}
	for _, m := range found {
		if id := m.Header.Get("Message-ID"); id != first {
			t.Errorf("package %s was mailed as %s and as %s", r.Package, first, id)
		}
		m.check(t, r)
	}
	return found[0].text
}

// check looks for the verdict and every finding, and for how the mail came.
func (m message) check(t *testing.T, r api.Result) {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "[symkeep] "+string(r.Verdict)+": ") {
		t.Errorf("subject %q, %v, want [symkeep] %s: ...", subject, err, r.Verdict)
	}
	for _, to := range []string{"dev@corp.example", "qa@corp.example"} {
		if !strings.Contains(m.Header.Get("To"), to) {
			t.Errorf("To %q, want %s in it", m.Header.Get("To"), to)
		}
	}
	if got := m.Header.Get("Received"); !strings.Contains(got, "esmtpsa") || !strings.Contains(got, "TLS1.3") {
		t.Errorf("Received %q, want mail that came over TLS after a login (esmtpsa)", got)
	}
	findings := append([]catalog.Finding(nil), r.Findings...)
	for _, f := range r.Files {
		if f.Status != api.FileIgnored { // those stay with the agent
			findings = append(findings, f.Findings...)
		}
	}
	for _, f := range findings {
		if !strings.Contains(m.text, f.Label()+": "+f.Message) {
			t.Errorf("mail about %s lacks %s: %s\n%s", r.Package, f.Code, f.Message, m.text)
		}
	}
	if r.Verdict == catalog.Failed && len(findings) == 0 {
		t.Errorf("package %s failed without a finding", r.Package)
	}
}
