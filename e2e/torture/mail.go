package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// A mailbox is a real mail server on the harness's loopback and a door to it from
// the hosts' network.
type mailbox struct {
	dir, script string
	target      string
	door        net.Listener
	carriers    sync.WaitGroup
}

// openMailbox starts the server with its state in dir and the door at the address
// that hosts see of the harness.
func openMailbox(dir, script, outside string) (*mailbox, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &mailbox{dir: dir, script: script, target: free.Addr().String()}
	free.Close()
	_, port, _ := net.SplitHostPort(b.target)
	if err := b.run(port); err != nil {
		return nil, err
	}
	if b.door, err = net.Listen("tcp", net.JoinHostPort(outside, "0")); err != nil {
		return nil, errors.Join(err, b.run("stop"))
	}
	b.carriers.Go(b.serve)
	return b, nil
}

// run runs the script. The daemon that it leaves behind keeps its output, which
// therefore is a file.
func (b *mailbox) run(arg string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.dir, "script.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.script, b.dir, arg)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s %s: %v: %s", b.script, arg, err, tail(string(text), 800))
	}
	return nil
}

func (b *mailbox) serve() {
	for {
		conn, err := b.door.Accept()
		if err != nil {
			return
		}
		b.carriers.Go(func() { b.carry(conn) })
	}
}

// carry copies both ways until either side is done.
func (b *mailbox) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", b.target)
	if err != nil {
		return
	}
	defer server.Close()
	until := time.Now().Add(time.Minute)
	client.SetDeadline(until)
	server.SetDeadline(until)
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(client, server)
		client.Close()
	}()
	io.Copy(server, client)
	server.Close()
	<-back
}

func (b *mailbox) close() error {
	err := b.door.Close()
	b.carriers.Wait()
	return errors.Join(err, b.run("stop"))
}

// flags are those that every node needs to send mail.
func (b *mailbox) flags() []string {
	return []string{"--smtp-url", "smtp://" + b.door.Addr().String() + "?insecure-tls=1"}
}

// founderFlags say who is told.
func (b *mailbox) founderFlags() []string {
	return []string{"--mail-from", "symkeep@corp.example", "--mail-to", "dev@corp.example"}
}

var messageID = regexp.MustCompile(`^<(\d+)\.([0-9A-Z]{26})@[0-9a-f-]{36}>$`)

// read returns the ids of the messages about each package, with how often each
// came, and how many mails were about something else.
func (b *mailbox) read() (about map[catalog.PackageID]map[string]int, others int, err error) {
	about = map[catalog.PackageID]map[string]int{}
	names, err := filepath.Glob(filepath.Join(b.dir, "Maildir/new/*"))
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		id, text, err := readMail(name)
		if err != nil {
			return nil, 0, fmt.Errorf("mail %s: %w", name, err)
		}
		m := messageID.FindStringSubmatch(id)
		if m == nil || !strings.Contains(text, m[2]) {
			others++
			continue
		}
		p := catalog.PackageID(m[2])
		if about[p] == nil {
			about[p] = map[string]int{}
		}
		about[p][id]++
	}
	return about, others, nil
}

func readMail(name string) (id, text string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	m, err := mail.ReadMessage(bufio.NewReader(f))
	if err != nil {
		return "", "", err
	}
	b, err := io.ReadAll(m.Body)
	return m.Header.Get("Message-ID"), string(b), err
}

// checkMail wants a mail about every verdict, within the limit.
func (a *audit) checkMail(ctx context.Context, b *mailbox, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; sleep(ctx, 250*time.Millisecond) {
		about, others, err := b.read()
		if err != nil {
			return err
		}
		var lacking []string
		verdicts, mails, twice := 0, 0, 0
		for _, row := range a.rows {
			if row.VerdictIndex == 0 {
				continue
			}
			verdicts++
			if len(about[row.ID]) == 0 {
				lacking = append(lacking, fmt.Sprintf("%s (%s, verdict at %d)", row.ID, row.Version, row.VerdictIndex))
			}
			for _, n := range about[row.ID] {
				mails += n
				twice += n - 1
			}
		}
		if len(lacking) > 0 && time.Now().Before(deadline) && ctx.Err() == nil {
			continue
		}
		if len(lacking) > 0 {
			a.tally.bug("audit: no mail about %d of %d verdicts, such as %s", len(lacking), verdicts, lacking[0])
		}
		a.tally.add("mails", "of verdicts", mails-twice)
		a.tally.add("mails", "sent again", twice)
		a.tally.add("mails", "of alarms and others", others)
		return nil
	}
}
