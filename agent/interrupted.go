package agent

import (
	"context"
	"fmt"

	"symkeep/internal/catalog"
)

// An Interrupted is the error of a push or check that was told to stop. It wraps
// context.Canceled.
type Interrupted struct {
	Package   catalog.PackageID // empty if none was opened
	Committed bool              // the cluster goes on without the agent
	Unsure    bool              // the answer to the commit was not awaited
	Done      int64             // bytes that need not be sent again
	Total     int64
}

// Error says what became of the package and how to go on.
func (e *Interrupted) Error() string {
	switch {
	case e.Committed:
		return fmt.Sprintf("interrupted: package %s is committed and will be validated: see `symkeep package show %s`", e.Package, e.Package)
	case e.Unsure:
		return fmt.Sprintf("interrupted while package %s was committed: see `symkeep package show %s`, and run the same command again if it is open", e.Package, e.Package)
	case e.Package == "":
		return "interrupted: nothing was uploaded"
	}
	return fmt.Sprintf("interrupted: nothing was published; run the same command again, it sends only what is missing (%s of %s are there already)",
		Size(e.Done), Size(e.Total))
}

// Unwrap returns context.Canceled.
func (e *Interrupted) Unwrap() error { return context.Canceled }

// interrupted replaces an error that the end of ctx caused.
func interrupted(ctx context.Context, err error, p *push) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	done, total := p.uploads.totals()
	return &Interrupted{Package: p.id, Committed: p.committed, Unsure: p.committing && !p.committed, Done: done, Total: total}
}
