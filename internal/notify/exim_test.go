package notify_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"symkeep/internal/notify"
)

// TestExim hands a message to exim, over STARTTLS and with a login, and reads it
// back from the mailbox.
func TestExim(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	if _, err := exec.LookPath("exim4"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no exim4 here, scripts/need.sh mail installs it")
	}
	dir, port := t.TempDir(), freePort(t)
	script := func(args ...string) {
		out, err := exec.Command("../../scripts/mailserver.sh", append([]string{dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("mailserver.sh %s: %v\n%s", args, err, out)
		}
	}
	script(port)
	defer script("stop")
	r, err := notify.ParseURL("smtp://symkeep@127.0.0.1:" + port + "?ca=" + dir + "/cert.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	p, files := failedPackage()
	p.Product = "Frób\r\nBcc: evil@example.org"
	m, err := notify.Render(p, each(files), cluster, notice())
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To = "symkeep@corp.example", []string{"dev@corp.example", "refused@corp.example"}
	refused, err := r.Send(t.Context(), m)
	if err != nil || len(refused) != 1 || refused[0].To != "refused@corp.example" {
		t.Fatalf("Send = %v, %v, want one refusal", refused, err)
	}
	raw := mailbox(t, filepath.Join(dir, "Maildir/new"))
	for _, h := range []string{"Return-path", "Envelope-to", "Delivery-date", "Received"} { // exim's own
		raw = regexp.MustCompile(`(?m)^`+h+`: .*\n([ \t].*\n)*`).ReplaceAllString(raw, "")
	}
	checkMail(t, raw, m)
	if !strings.Contains(raw, "Message-ID: <"+m.ID+">") {
		t.Errorf("mail has another Message-ID, want %s:\n%s", m.ID, raw)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// mailbox waits for the first message in a maildir and returns it.
func mailbox(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if es, _ := os.ReadDir(dir); len(es) > 0 {
			b, err := os.ReadFile(filepath.Join(dir, es[0].Name()))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		select {
		case <-ctx.Done():
			t.Fatal("no mail arrives")
		case <-tick.C:
		}
	}
}
