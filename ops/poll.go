package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// pollEvery is how often a command that waits looks again.
const pollEvery = 500 * time.Millisecond

// A patience is how long a command waits; 0 is without end.
type patience struct{ limit time.Duration }

func (p *patience) flag(f *pflag.FlagSet, limit time.Duration) {
	f.DurationVar(&p.limit, "timeout", limit, "give up waiting after this time with exit status 4; 0 waits without end")
}

func (p *patience) check() error {
	if p.limit < 0 {
		return Usage("--timeout %s, wanted 0 or more", p.limit)
	}
	return nil
}

// wait calls f until it says that it is done. Servers may be down meanwhile: their
// errors are reasons to go on waiting. why is what f is still waiting for; it ends
// up in the error when the patience is.
func (p *patience) wait(ctx context.Context, f func(context.Context) (done bool, why string, err error)) error {
	wctx, cancel := ctx, context.CancelFunc(func() {})
	if p.limit > 0 {
		wctx, cancel = context.WithTimeout(ctx, p.limit)
	}
	defer cancel()
	last := "nothing was heard"
	for {
		done, why, err := f(wctx)
		switch {
		case err == nil && done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && wctx.Err() == nil && !passing(err):
			return err
		case err != nil && wctx.Err() == nil:
			last = err.Error()
		case err == nil:
			last = why
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wctx.Done():
			return &ExitError{ExitUnavailable, fmt.Errorf("gave up after %s: %s", span(p.limit), last)}
		case <-time.After(pollEvery):
		}
	}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	return errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, api.ErrNotLeader)
}
