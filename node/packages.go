package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/raftfsm"
)

// PackageStatus returns a package, held for up to wait while there is no verdict.
// A verdict is shown to a waiter only once no member can answer a false miss for
// the package's keys.
func (n *Node) PackageStatus(ctx context.Context, id catalog.PackageID, wait time.Duration) (api.PackageStatus, error) {
	p, err := n.packageRow(ctx, id)
	if err != nil {
		return api.PackageStatus{}, err
	}
	sub := n.fsm.Subscribe()
	defer sub.Close()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for wait > 0 && (p.State == catalog.StateOpen || p.State == catalog.StateCommitted) {
		if p, err = n.fsm.Package(id); err != nil {
			return api.PackageStatus{}, err
		}
		if p.State != catalog.StateOpen && p.State != catalog.StateCommitted {
			break
		}
		select {
		case <-sub.Ready():
			sub.Take()
			continue
		case <-timeout.C:
		case <-ctx.Done():
		}
		break
	}
	p.IdempotencyKey = "" // it is between the agent and the catalog
	st := api.PackageStatus{Package: p}
	switch p.State {
	case catalog.StateCommitted:
		if st.Checked, err = n.fsm.Checked(id); err != nil {
			return st, err
		}
	case catalog.StateGood, catalog.StateFailed:
		if wait > 0 {
			st.LeaseOut = n.awaitVisible(ctx, p.VerdictIndex)
			st.Visible = ctx.Err() == nil // a wait cut short proves nothing
		}
	}
	return st, nil
}

// packageRow returns a package; one that is unknown here is looked for again once
// this node is known to be up to date.
func (n *Node) packageRow(ctx context.Context, id catalog.PackageID) (catalog.Package, error) {
	p, err := n.fsm.Package(id)
	if !errors.Is(err, catalog.ErrNotFound) {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, missTimeout)
	defer cancel()
	if cerr := n.confirmApplied(ctx); cerr != nil {
		return p, fmt.Errorf("package %q is unknown here, and this node cannot tell whether it is up to date: %v: %w", id, cerr, catalog.ErrUnavailable)
	}
	p, err = n.fsm.Package(id)
	return p, n.unsureMiss(err)
}

// ListPackages returns one page, newest first.
func (n *Node) ListPackages(_ context.Context, q api.PackagesQuery) (api.PackagesPage, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	filter := raftfsm.PackageFilter{Product: q.Product, Version: q.Version, State: q.State}
	ps, next, err := n.fsm.Packages(filter, q.Before, min(limit, 500))
	if ps == nil {
		ps = []catalog.Package{}
	}
	for i := range ps {
		ps[i].IdempotencyKey = ""
	}
	return api.PackagesPage{Packages: ps, Next: string(next)}, err
}

// ListFiles returns one page of a package's files.
func (n *Node) ListFiles(ctx context.Context, id catalog.PackageID, after, limit int) (api.FilesPage, error) {
	p, err := n.packageRow(ctx, id)
	if err != nil {
		return api.FilesPage{}, err
	}
	if limit <= 0 {
		limit = api.MaxFilesPerRequest
	}
	files, err := n.fsm.Files(id, after, min(limit, api.MaxFilesPerRequest))
	page := api.FilesPage{Files: files}
	if page.Files == nil {
		page.Files = []catalog.File{}
	}
	if k := len(files); k > 0 && files[k-1].No+1 < p.Files {
		page.Next = files[k-1].No
	}
	return page, err
}

// DeletePackage hides a package from debuggers, on every node that can be reached
// before it returns.
func (n *Node) DeletePackage(ctx context.Context, id catalog.PackageID, r api.DeleteRequest) error {
	res, err := n.propose(ctx, raftfsm.DeletePackage{Package: id, By: r.By, Reason: r.Reason, At: fault.Now().UTC()})
	if err == nil {
		n.awaitVisible(ctx, res.Index)
	}
	return err
}

// UndeletePackage brings a deleted package back.
func (n *Node) UndeletePackage(ctx context.Context, id catalog.PackageID) error {
	res, err := n.propose(ctx, raftfsm.UndeletePackage{Package: id})
	if err == nil {
		n.awaitVisible(ctx, res.Index)
	}
	return err
}

// RetryPackage sends a stuck or failed package to validation again.
func (n *Node) RetryPackage(ctx context.Context, id catalog.PackageID) error {
	_, err := n.propose(ctx, raftfsm.RetryPackage{Package: id})
	return err
}
