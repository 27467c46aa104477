package node

import (
	"context"
	"log/slog"
	"math/rand/v2"

	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/notify"
	"symkeep/raftfsm"
)

// newNotifier makes the worker that mails verdicts while this node leads.
func (n *Node) newNotifier(cluster catalog.ClusterID) (*notify.Worker, error) {
	cfg := notify.DefaultConfig()
	cfg.Cluster = cluster
	return notify.NewWorker(cfg, notify.Deps{
		Outbox: outbox{n}, Relay: n.relay, Now: fault.Now, Jitter: rand.Float64, Node: n.nodeName, Log: n.log,
	})
}

// loadRelay reads where mail goes; nil when this node sends none.
func loadRelay(cfg Config, log *slog.Logger) (*notify.Relay, error) {
	if cfg.SMTPURL == "" {
		return nil, nil
	}
	r, err := notify.ParseURL(cfg.SMTPURL)
	if err != nil {
		return nil, err
	}
	if err := r.Load(cfg.SMTPPasswordFile); err != nil {
		return nil, err
	}
	log.Info("mail goes out through", "relay", r.String())
	return r, nil
}

// outbox gives the notifier the notices of the replicated state.
type outbox struct{ n *Node }

func (o outbox) Settings() catalog.Settings { return o.n.settings() }

// Pending returns the notices that are due by cluster time.
func (o outbox) Pending(_ context.Context, limit int) ([]catalog.Notice, error) {
	return o.n.fsm.DueNotices(limit)
}

func (o outbox) Package(_ context.Context, id catalog.PackageID) (catalog.Package, error) {
	return o.n.fsm.Package(id)
}

func (o outbox) Files(_ context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error) {
	return o.n.fsm.Files(id, first-1, limit)
}

func (o outbox) Mark(ctx context.Context, m notify.Mark) error {
	if m.State == catalog.NoticeSent {
		fault.Point("mail-sent")
	}
	_, err := o.n.propose(ctx, raftfsm.MarkNotice{
		Seq: m.Seq, State: m.State, Attempts: m.Attempts, DelayMillis: m.Delay.Milliseconds(), Error: m.Error,
	})
	return err
}
