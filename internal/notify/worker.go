package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"symkeep/internal/catalog"
)

// An Outbox is what the worker needs of the replicated state.
type Outbox interface {
	// Settings says who is told.
	Settings() catalog.Settings
	// Pending returns at most limit notices that are pending and due, by Seq.
	Pending(ctx context.Context, limit int) ([]catalog.Notice, error)
	// Package returns a package; errors wrap catalog.ErrNotFound for a lost one.
	Package(ctx context.Context, id catalog.PackageID) (catalog.Package, error)
	// Files returns at most limit files of a package, numbered from first on, by
	// number; none at the end.
	Files(ctx context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error)
	// Mark records what became of a notice, through the log.
	Mark(ctx context.Context, m Mark) error
}

// A Mark is the outcome of one attempt to send a notice.
type Mark struct {
	Seq      uint64
	State    catalog.NoticeState
	Attempts int           // including this one
	Delay    time.Duration // while pending: not due again before it has passed
	Error    string        // of this attempt; empty when sent
}

// Config of a Worker.
type Config struct {
	Cluster catalog.ClusterID

	Poll        time.Duration // between looks at an empty outbox; default 1 s
	FirstDelay  time.Duration // after the first failure, doubled each time; default 1 s
	MaxDelay    time.Duration // longest wait between attempts; default 1 h
	MaxAge      time.Duration // given up when older, after MinAttempts; default 72 h
	MinAttempts int           // default 10
	MaxAttempts int           // given up after as many; default 100
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Poll: time.Second, FirstDelay: time.Second, MaxDelay: time.Hour,
		MaxAge: 72 * time.Hour, MinAttempts: 10, MaxAttempts: 100,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if c.Cluster == "" {
		errs = append(errs, errors.New("notify: no cluster id"))
	}
	for name, d := range map[string]time.Duration{"poll": c.Poll, "first delay": c.FirstDelay, "max delay": c.MaxDelay, "max age": c.MaxAge} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("notify: %s %v, wanted more than 0", name, d))
		}
	}
	if c.MinAttempts < 1 || c.MaxAttempts < c.MinAttempts {
		errs = append(errs, fmt.Errorf("notify: attempts %d to %d, wanted 1 or more in order", c.MinAttempts, c.MaxAttempts))
	}
	return errors.Join(errs...)
}

const (
	batch        = 32  // notices read at once
	filesPage    = 500 // files read at once
	partialAfter = 4   // attempts that insist on every recipient
	maxErrorText = 1000
)

// A Worker sends what the outbox owes.
type Worker struct {
	cfg Config
	Deps
}

// Deps are what a Worker works with. None is optional but Relay and Node.
type Deps struct {
	Outbox Outbox
	Relay  *Relay                      // nil when this node has none: notices stay pending
	Now    func() time.Time            // wall clock; only decides when an old notice is given up
	Jitter func() float64              // 0 to 1, spreads retries
	Node   func(catalog.NodeID) string // name of a node, whatever became of it; nil: its id
	Log    *slog.Logger
}

// NewWorker makes a worker; errors are those of Config.Validate.
func NewWorker(cfg Config, d Deps) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Worker{cfg, d}, nil
}

// Run sends notices one at a time until ctx, which lasts as long as this node
// leads, ends. It returns nil then, and no other time.
func (w *Worker) Run(ctx context.Context) error {
	if w.Relay != nil && w.Relay.insecure {
		w.Log.Warn("mail relay's certificate is not verified", "relay", w.Relay.String())
	}
	idle := time.NewTimer(0)
	defer idle.Stop()
	warned, failing := false, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
		}
		notices, err := w.Outbox.Pending(ctx, batch)
		if err != nil && !failing && ctx.Err() == nil {
			w.Log.Warn("cannot read the mail outbox, will retry", "err", err)
		}
		failing = err != nil
		if w.Relay == nil && len(notices) > 0 {
			if !warned {
				w.Log.Warn("mail is owed but this leader has no mail relay: start it with --smtp-url or move leadership",
					"pending", len(notices))
			}
			warned, notices = true, nil
		}
		for _, n := range notices {
			if ctx.Err() != nil { // leadership is gone: the next leader goes on
				return nil
			}
			w.handle(ctx, n)
		}
		wait := w.cfg.Poll
		if len(notices) == batch {
			wait = 0
		}
		idle.Reset(wait)
	}
}

// handle makes one attempt and records its outcome.
func (w *Worker) handle(ctx context.Context, n catalog.Notice) {
	m := w.attempt(ctx, n)
	if m.State != catalog.NoticeSent && ctx.Err() != nil {
		return // broken off by the end of leadership, no fault of the relay
	}
	delay := w.cfg.FirstDelay
	for {
		err := w.Outbox.Mark(ctx, m)
		if err == nil || ctx.Err() != nil || errors.Is(err, catalog.ErrNotFound) {
			return
		}
		// Not sent again meanwhile: only the mark is repeated.
		w.Log.Warn("cannot record the outcome of a mail, will retry", "seq", n.Seq, "package", n.Package, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, w.cfg.MaxDelay)
	}
}

func (w *Worker) attempt(ctx context.Context, n catalog.Notice) Mark {
	settings := w.Outbox.Settings()
	if len(settings.MailTo) == 0 {
		return w.drop(n, n.Attempts, errors.New("nobody to tell: the cluster has no mail-to"))
	}
	msg, err := w.message(ctx, n)
	if errors.Is(err, catalog.ErrNotFound) {
		return w.drop(n, n.Attempts, err)
	}
	var refused []Refusal
	if err == nil {
		msg.From, msg.To, msg.Partial = settings.MailFrom, settings.MailTo, n.Attempts >= partialAfter
		refused, err = w.Relay.Send(ctx, msg)
	}
	m := Mark{Seq: n.Seq, State: catalog.NoticeSent, Attempts: n.Attempts + 1}
	if err == nil {
		for _, r := range refused {
			w.Log.Error("mail recipient refused, check mail-to", "seq", n.Seq, "package", n.Package, "to", r.To, "err", r.Err)
		}
		w.Log.Info("mail sent", "seq", n.Seq, "package", n.Package, "attempt", m.Attempts)
		return m
	}
	age := w.Now().Sub(n.At)
	if m.Attempts >= w.cfg.MaxAttempts || (age > w.cfg.MaxAge && m.Attempts >= w.cfg.MinAttempts) {
		return w.drop(n, m.Attempts, err)
	}
	m.State, m.Error, m.Delay = catalog.NoticePending, clip(err.Error(), maxErrorText), w.backoff(n.Attempts)
	if ctx.Err() == nil {
		w.Log.Warn("mail not sent, will retry", "seq", n.Seq, "package", n.Package, "attempt", m.Attempts, "delay", m.Delay, "err", err)
	}
	return m
}

func (w *Worker) drop(n catalog.Notice, attempts int, err error) Mark {
	w.Log.Error("mail given up", "seq", n.Seq, "package", n.Package, "attempt", attempts, "err", err)
	return Mark{Seq: n.Seq, State: catalog.NoticeDropped, Attempts: attempts, Error: clip(err.Error(), maxErrorText)}
}

func (w *Worker) message(ctx context.Context, n catalog.Notice) (Message, error) {
	if n.Kind == catalog.NoticeAlarm {
		if n.Alarm == nil {
			return Message{}, fmt.Errorf("notice %d: of an alarm, and has none: %w", n.Seq, catalog.ErrNotFound)
		}
		name := string(n.Alarm.Node)
		if w.Node != nil {
			name = w.Node(n.Alarm.Node)
		}
		return RenderAlarm(name, w.cfg.Cluster, n), nil
	}
	p, err := w.Outbox.Package(ctx, n.Package)
	if err != nil {
		return Message{}, fmt.Errorf("package %s: %w", n.Package, err)
	}
	return Render(p, w.files(ctx, n.Package), w.cfg.Cluster, n)
}

// files walks the files of a package page by page.
func (w *Worker) files(ctx context.Context, id catalog.PackageID) iter.Seq2[catalog.File, error] {
	return func(yield func(catalog.File, error) bool) {
		for first := 0; ; {
			page, err := w.Outbox.Files(ctx, id, first, filesPage)
			if err != nil {
				yield(catalog.File{}, fmt.Errorf("package %s: files from %d: %w", id, first, err))
				return
			}
			for _, f := range page {
				if f.No < first { // would walk for ever
					yield(catalog.File{}, fmt.Errorf("package %s: file %d again, wanted %d or later", id, f.No, first))
					return
				}
				if !yield(f, nil) {
					return
				}
				first = f.No + 1
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// backoff returns the wait after the failure of attempt n, counted from 0: half
// to all of FirstDelay times 2^n, at most MaxDelay.
func (w *Worker) backoff(n int) time.Duration {
	d := w.cfg.MaxDelay
	if n < 30 {
		d = min(d, w.cfg.FirstDelay<<n)
	}
	return d/2 + time.Duration(float64(d/2)*w.Jitter())
}
