package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A Watcher shows what became of a package.
type Watcher interface {
	Package(ctx context.Context, id catalog.PackageID, wait time.Duration) (api.PackageStatus, error)
	Files(ctx context.Context, id catalog.PackageID, after int) (api.FilesPage, error)
}

// longPoll is how long a server holds a question for the verdict. Proxies drop
// connections that are silent for a minute.
const longPoll = 20 * time.Second

// verdict waits until the package is judged and every member shows it, or until
// nothing moves for the timeout.
func (p *push) verdict(ctx context.Context) (api.PackageStatus, error) {
	var last api.PackageStatus
	moved := time.Now()
	for {
		asked := time.Now()
		var st api.PackageStatus
		err := p.request(ctx, "wait for the verdict of package "+string(p.id), longPoll+requestTimeout, func(ctx context.Context, s Server) (err error) {
			st, err = s.Package(ctx, p.id, min(longPoll, p.cfg.Timeout))
			return err
		})
		if err != nil {
			return st, err
		}
		if over, err := p.judged(st); over || err != nil {
			return st, err
		}
		if st.State != last.State || st.Checked != last.Checked {
			last, moved = st, time.Now()
			p.report.Report(Event{Event: EventValidating, Package: p.id, State: st.State, Checked: st.Checked, Files: st.Files})
		}
		if idle := time.Since(moved); idle >= p.cfg.Timeout {
			return st, p.overdue(st, idle)
		}
		if time.Since(asked) < time.Second { // answered at once: do not ask in a tight loop
			if err := sleep(ctx, 250*time.Millisecond+rand.N(250*time.Millisecond)); err != nil {
				return st, err
			}
		}
	}
}

// judged reports whether st is the end of the wait, and tells about it.
func (p *push) judged(st api.PackageStatus) (bool, error) {
	e := Event{Event: EventVerdict, Package: p.id, State: st.State, Verdict: VerdictOf(st.Package), Message: st.Reason, Nodes: st.LeaseOut}
	switch st.State {
	case catalog.StateOpen, catalog.StateCommitted:
		return false, nil
	case catalog.StateGood:
		if !st.Visible {
			return false, nil
		}
	case catalog.StateFailed, catalog.StateStuck:
	default:
		return false, fmt.Errorf("package %s: is %s, wanted a verdict: somebody deleted it or its lease expired", p.id, st.State)
	}
	p.report.Report(e)
	return true, nil
}

func (p *push) overdue(st api.PackageStatus, idle time.Duration) error {
	what := "no verdict"
	if st.State == catalog.StateGood {
		what = "good, but not confirmed by every member"
	}
	return fmt.Errorf("package %s: %s, nothing moved for %s; it stays committed: see `symkeep package show %s`: %w",
		p.id, what, idle.Round(time.Second), p.id, catalog.ErrUnavailable)
}

// VerdictOf is the verdict that a package's state stands for; a stuck one has none.
func VerdictOf(pkg catalog.Package) catalog.Verdict {
	state := pkg.State
	if state == catalog.StateTrashed || state == catalog.StatePurged {
		state = pkg.Previous
	}
	switch state {
	case catalog.StateGood:
		return catalog.Good
	case catalog.StateFailed:
		return catalog.Failed
	}
	return ""
}
