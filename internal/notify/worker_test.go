package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/notify"
)

// outbox keeps notices as the replicated state does, with a delay that is over at
// once, so that tests need no clock.
type outbox struct {
	mu       sync.Mutex
	settings catalog.Settings
	notices  []catalog.Notice
	packages map[catalog.PackageID]catalog.Package
	files    map[catalog.PackageID][]catalog.File
	marks    []notify.Mark
	failMark int // so many marks fail first
	changed  chan struct{}
	looks    chan struct{} // non-nil: told of every look while Run is not stopping
}

func newOutbox(n int) *outbox {
	o := &outbox{
		settings: catalog.Settings{Replicas: 1, MailFrom: "symkeep@corp.example", MailTo: []string{"a@corp.example", "b@corp.example"}},
		packages: map[catalog.PackageID]catalog.Package{}, files: map[catalog.PackageID][]catalog.File{},
		changed: make(chan struct{}, 1000),
	}
	for i := range n {
		p, files := failedPackage()
		p.ID = catalog.PackageID(fmt.Sprintf("01JD3Z%020d", i))
		o.packages[p.ID], o.files[p.ID] = p, files
		nt := notice()
		nt.Seq, nt.Package = uint64(100+i), p.ID
		o.notices = append(o.notices, nt)
	}
	return o
}

func (o *outbox) Settings() catalog.Settings { return o.settings }

func (o *outbox) Pending(ctx context.Context, limit int) ([]catalog.Notice, error) {
	if o.looks != nil {
		select {
		case o.looks <- struct{}{}:
		case <-ctx.Done():
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var due []catalog.Notice
	for _, n := range o.notices {
		if n.State == catalog.NoticePending && len(due) < limit {
			due = append(due, n)
		}
	}
	return due, nil
}

func (o *outbox) Package(_ context.Context, id catalog.PackageID) (catalog.Package, error) {
	p, ok := o.packages[id]
	if !ok {
		return p, catalog.ErrNotFound
	}
	return p, nil
}

func (o *outbox) Files(_ context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error) {
	fs := o.files[id]
	return fs[min(first, len(fs)):min(first+limit, len(fs))], nil
}

func (o *outbox) Mark(_ context.Context, m notify.Mark) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.changed <- struct{}{} }()
	if o.failMark > 0 {
		o.failMark--
		return catalog.ErrUnavailable
	}
	o.marks = append(o.marks, m)
	for i := range o.notices {
		if n := &o.notices[i]; n.Seq == m.Seq {
			n.State, n.Attempts, n.Error = m.State, m.Attempts, m.Error
		}
	}
	return nil
}

// settle waits until no notice is pending.
func (o *outbox) settle(t *testing.T) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case <-o.changed:
		case <-deadline:
			t.Fatal("outbox does not settle")
		}
		if due, _ := o.Pending(t.Context(), 1); len(due) == 0 {
			return
		}
	}
}

// start runs a worker until the test's end or stop, which waits for it.
func start(t *testing.T, o *outbox, r *notify.Relay, adjust func(*notify.Config)) (stop func(), log *lockedBuilder) {
	t.Helper()
	cfg := notify.DefaultConfig()
	cfg.Cluster, cfg.Poll, cfg.FirstDelay, cfg.MaxDelay = cluster, time.Millisecond, time.Millisecond, 4*time.Millisecond
	if adjust != nil {
		adjust(&cfg)
	}
	log = &lockedBuilder{}
	w, err := notify.NewWorker(cfg, notify.Deps{
		Outbox: o, Relay: r, Now: func() time.Time { return at }, Jitter: func() float64 { return 1 },
		Node: func(catalog.NodeID) string { return "node-2" }, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run error = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop, log
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWorkerSendsEveryNotice(t *testing.T) {
	s := startServer(t, &server{})
	o := newOutbox(50) // more than a batch
	start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	ids := map[string]int{}
	for range 50 {
		m, err := mail.ReadMessage(strings.NewReader((<-s.got).data))
		if err != nil {
			t.Fatal(err)
		}
		ids[m.Header.Get("Message-Id")]++
	}
	for _, n := range o.notices {
		id := fmt.Sprintf("<%d.%s@%s>", n.Seq, n.Package, cluster)
		if n.State != catalog.NoticeSent || n.Attempts != 1 || ids[id] != 1 {
			t.Errorf("notice %d: state %s, attempts %d, mails %d, want sent, 1, 1", n.Seq, n.State, n.Attempts, ids[id])
		}
	}
}

func TestWorkerRetries(t *testing.T) {
	s := startServer(t, &server{data: func(n int) string {
		if n < 4 {
			return "451 try later"
		}
		return ""
	}})
	o := newOutbox(1)
	start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	var delays []time.Duration
	for _, m := range o.marks {
		delays = append(delays, m.Delay)
	}
	if got, want := fmt.Sprint(delays), "[1ms 2ms 4ms 0s]"; got != want {
		t.Errorf("delays = %s, want %s", got, want)
	}
	if n := o.notices[0]; n.State != catalog.NoticeSent || n.Attempts != 4 {
		t.Errorf("notice = %+v, want sent at the fourth attempt", n)
	}
	if !strings.Contains(o.marks[0].Error, "try later") {
		t.Errorf("mark error = %q, want the relay's words", o.marks[0].Error)
	}
}

func TestWorkerGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		adjust   func(*notify.Config, *outbox)
		attempts int
		err      string
	}{
		{"attempts", func(c *notify.Config, _ *outbox) { c.MinAttempts, c.MaxAttempts = 1, 6 }, 6, "550"},
		{"age", func(c *notify.Config, o *outbox) { c.MinAttempts = 2; o.notices[0].At = at.Add(-73 * time.Hour) }, 2, "550"},
		{"no recipient", func(_ *notify.Config, o *outbox) { o.settings.MailTo = nil }, 0, "mail-to"},
		{"package is gone", func(_ *notify.Config, o *outbox) { clear(o.packages) }, 0, "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, &server{rcpt: func(string) string { return "550 never" }})
			o := newOutbox(1)
			_, log := start(t, o, relay(t, s, "smtp://%s", ""), func(c *notify.Config) { tt.adjust(c, o) })
			o.settle(t)
			n := o.notices[0]
			if n.State != catalog.NoticeDropped || n.Attempts != tt.attempts || !strings.Contains(n.Error, tt.err) {
				t.Errorf("notice = %+v, want dropped after %d attempts with %q", n, tt.attempts, tt.err)
			}
			if !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("log = %s, want an error", log)
			}
		})
	}
}

// One recipient that is refused for now holds the message back a few times, not
// for ever.
func TestWorkerPartial(t *testing.T) {
	s := startServer(t, &server{rcpt: func(to string) string {
		if strings.HasPrefix(to, "b@") {
			return "452 mailbox full"
		}
		return ""
	}})
	o := newOutbox(1)
	_, log := start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	if m := <-s.got; len(m.to) != 1 || o.notices[0].State != catalog.NoticeSent || o.notices[0].Attempts != 5 {
		t.Errorf("mail to %q, notice %+v, want it sent to one at the fifth attempt", m.to, o.notices[0])
	}
	if !strings.Contains(log.String(), "mail recipient refused") {
		t.Errorf("log = %s, want the refused recipient", log)
	}
}

// A mark that fails is repeated without the mail being sent again.
func TestWorkerRepeatsMark(t *testing.T) {
	s := startServer(t, &server{})
	o := newOutbox(1)
	o.failMark = 3
	stop, _ := start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	stop()
	if len(s.messages) != 1 || o.notices[0].State != catalog.NoticeSent {
		t.Errorf("%d mails, notice %s, want 1, sent", len(s.messages), o.notices[0].State)
	}
}

// The next leader sends again what was taken but never marked, under the same
// Message-ID.
func TestWorkerNextLeader(t *testing.T) {
	s := startServer(t, &server{})
	o := newOutbox(1)
	o.failMark = 1 << 30
	stop, _ := start(t, o, relay(t, s, "smtp://%s", ""), nil)
	first := <-s.got
	<-o.changed // it tried to mark
	stop()
	o.mu.Lock()
	o.failMark = 0
	o.mu.Unlock()
	start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	if second := <-s.got; second.data != first.data {
		t.Errorf("second mail =\n%s\nwant the first\n%s", second.data, first.data)
	}
}

func TestWorkerWithoutRelay(t *testing.T) {
	o := newOutbox(2)
	o.looks = make(chan struct{})
	stop, log := start(t, o, nil, nil)
	for range 10 { // polls go by
		<-o.looks
	}
	stop()
	o.looks = nil
	if due, _ := o.Pending(t.Context(), 9); len(due) != 2 || len(o.marks) != 0 {
		t.Errorf("pending = %d, marks = %d, want 2, 0", len(due), len(o.marks))
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1 per term:\n%s", n, log)
	}
}

func TestConfigValidate(t *testing.T) {
	err := notify.Config{MaxAttempts: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("Validate = %v, want six problems", err)
	}
	if _, err := notify.NewWorker(notify.Config{}, notify.Deps{}); err == nil || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("NewWorker error = %v, want the config's", err)
	}
}
