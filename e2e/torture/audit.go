package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// An audit is the last look at a cluster that is healthy and that nobody uses any
// more: it walks every reference.
type audit struct {
	*client
	nodes    []place
	peers    *api.PeerClient
	replicas int

	rows map[string]catalog.Package // by version
}

// A place is where a node is found.
type place struct{ name, url, peer string }

func newAudit(ctx context.Context, w *workload, nodes []place, seed uint64, replicas int) (*audit, error) {
	a := &audit{client: w.client(99, seed), nodes: nodes, replicas: replicas, rows: map[string]catalog.Package{}}
	st, err := a.pool.at(nodes[0].url).Cluster(ctx)
	if err != nil {
		return nil, err
	}
	a.peers = api.NewPeerClient(func() catalog.ClusterID { return st.ClusterID })
	return a, nil
}

// run makes every check; what is wrong becomes a violation.
func (a *audit) run(ctx context.Context) error {
	defer a.peers.Close()
	if err := a.settle(ctx, 40*time.Second); err != nil {
		return err
	}
	a.consultAll(ctx)
	a.comparePackages()
	for _, check := range []func(context.Context) error{a.readAll, a.countCopies, a.compareHashes} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until no package is under way any more and reads all of them.
func (a *audit) settle(ctx context.Context, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; {
		open, err := a.list(ctx)
		if err != nil {
			return fmt.Errorf("list of packages: %w", err)
		}
		if len(open) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			a.tally.bug("%d packages are committed and have no verdict %v after the last fault, such as %s in state %s, claim %+v, %d attempts",
				len(open), limit, open[0].ID, open[0].State, open[0].Claim, open[0].Attempts)
			return nil
		}
		for _, p := range open {
			if p.State == catalog.StateStuck {
				a.tally.count("pushes", "stuck at the end")
				if err := a.pool.at(a.anyURL()).Retry(ctx, p.ID); err != nil {
					a.tally.say("retry of %s: %v", p.ID, err)
				}
			}
		}
		sleep(ctx, 300*time.Millisecond)
	}
}

// list reads every package row, and returns those that wait for a verdict.
func (a *audit) list(ctx context.Context) (waiting []catalog.Package, err error) {
	clear(a.rows)
	at := a.pool.at(a.nodes[0].url)
	for before := catalog.PackageID(""); ; {
		page, err := at.Packages(ctx, api.PackagesQuery{Product: a.product, Before: before, Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, p := range page.Packages {
			if old, twice := a.rows[p.Version]; twice {
				a.tally.bug("%s was opened twice by one key, as %s and as %s", p.Version, old.ID, p.ID)
			}
			a.rows[p.Version] = p
			if p.State == catalog.StateCommitted || p.State == catalog.StateStuck {
				waiting = append(waiting, p)
			}
		}
		if before = catalog.PackageID(page.Next); before == "" {
			return waiting, nil
		}
	}
}

// consultAll ends the history of each package with a read through the log.
func (a *audit) consultAll(ctx context.Context) {
	for _, p := range a.ledger.snapshot() {
		for range 20 {
			if _, end := a.consult(ctx, p); end == done || end == never || end == refused {
				break
			}
			sleep(ctx, 100*time.Millisecond)
		}
	}
}

// comparePackages holds the rows against what clients were told.
func (a *audit) comparePackages() {
	for _, p := range a.ledger.snapshot() {
		id, verdict, _, deletes := a.ledger.view(p)
		row, found := a.rows[p.version()]
		switch {
		case !found && id != "":
			a.tally.bug("%s %s was acknowledged as opened and is gone", p.label(), id)
		case !found:
		case id != "" && id != row.ID:
			a.tally.bug("%s was opened as %s, the catalog has it as %s", p.label(), id, row.ID)
		case verdict == "":
			a.learn(p, row)
		case string(verdict) != string(row.State) && !(row.State == catalog.StateTrashed && string(row.Previous) == string(verdict) && len(deletes) > 0):
			a.tally.bug("%s %s: clients were told %s, its state is %s (%d deletes)", p.label(), row.ID, verdict, row.State, len(deletes))
		}
		if found && row.State != catalog.StateOpen && row.Files != len(p.files) {
			a.tally.bug("%s %s has %d files, %d were pushed", p.label(), row.ID, row.Files, len(p.files))
		}
	}
}

// learn takes over the verdict of a package whose pusher was not told of it.
func (a *audit) learn(p *pkg, row catalog.Package) {
	a.tally.check(a.ledger.opened(p, row.ID))
	switch row.State {
	case catalog.StateGood, catalog.StateFailed:
		a.tally.count("pushes", "judged "+string(row.State)+" unknown to the pusher")
		now := a.history.now()
		a.tally.check(a.ledger.judged(p, catalog.Verdict(row.State), span{now, now}))
	case catalog.StateOpen:
		a.tally.count("pushes", "left open")
	}
}

// readAll asks every node for every key of every package, in two forms, and wants
// an answer each time.
func (a *audit) readAll(ctx context.Context) error {
	shown := a.shownKeys()
	var g errgroup.Group
	g.SetLimit(8)
	var n atomic.Int64
	web := &http.Client{Timeout: readLimit, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}}
	for i, p := range a.ledger.snapshot() {
		for j, f := range p.files {
			for _, node := range a.nodes {
				g.Go(func() error {
					n.Add(1)
					form := modeWhole
					if (i+j)%4 == 0 {
						form = modeCabinet
					}
					a.readOnce(ctx, web, node.url, query{mode: form, file: f}, shown[f.key()])
					return nil
				})
			}
		}
	}
	g.Wait()
	a.tally.say("audit: %d reads of %d keys", n.Load(), len(shown))
	return ctx.Err()
}

// shownKeys tells of each key whether a good package has it.
func (a *audit) shownKeys() map[string]bool {
	shown := map[string]bool{}
	for _, p := range a.ledger.snapshot() {
		for _, f := range p.files {
			shown[f.key()] = shown[f.key()] || a.rows[p.version()].State == catalog.StateGood
		}
	}
	return shown
}

// readOnce wants 200 or 404; nobody resets a connection now.
func (a *audit) readOnce(ctx context.Context, web *http.Client, base string, q query, shown bool) {
	want := http.StatusNotFound
	if shown {
		want = http.StatusOK
	}
	status := 0
	for range 5 {
		if status = a.read(ctx, web, base, q, "audit"); status != 0 {
			break
		}
		sleep(ctx, 500*time.Millisecond)
	}
	if status != want {
		a.tally.bug("audit: GET %s%s: status %d, wanted %d", base, q.file.path(), status, want)
	}
}

// countCopies asks every member for every blob of a package that is kept, and
// unpacks each copy.
func (a *audit) countCopies(ctx context.Context) error {
	kept := map[catalog.Digest]bool{}
	for _, p := range a.ledger.snapshot() {
		switch a.rows[p.version()].State {
		case catalog.StateGood, catalog.StateFailed, catalog.StateTrashed, catalog.StateCommitted:
			for _, f := range p.files {
				kept[catalog.Digest(f.sum)] = true
			}
		}
	}
	want := min(a.replicas, len(a.nodes))
	var copies atomic.Int64
	var g errgroup.Group
	g.SetLimit(8)
	for d := range kept {
		g.Go(func() error {
			held := 0
			for _, node := range a.nodes {
				ok, err := a.holds(ctx, node, d)
				if err != nil {
					a.tally.bug("audit: blob %s at %s: %v", d, node.name, err)
				}
				if ok {
					held++
				}
			}
			copies.Add(int64(held))
			if held < want {
				a.tally.bug("audit: blob %s has %d copies, wanted %d", d, held, want)
			}
			return nil
		})
	}
	g.Wait()
	a.tally.say("audit: %d copies of %d blobs unpacked", copies.Load(), len(kept))
	return ctx.Err()
}

// holds fetches a member's copy of a blob and unpacks all of it.
func (a *audit) holds(ctx context.Context, node place, d catalog.Digest) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	body, _, err := a.peers.Blob(ctx, node.peer, d, 0, -1)
	if errors.Is(err, catalog.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return false, err
	}
	info, err := cab.VerifyRaw(ctx, bytes.NewReader(b), int64(len(b)))
	if err == nil && info.RawSHA256 != d {
		err = fmt.Errorf("holds content with sha256 %x", info.RawSHA256)
	}
	return err == nil, err
}

// compareHashes wants one rolling hash of the log and its results on every member.
func (a *audit) compareHashes(ctx context.Context) error {
	var seen []string
	for range 200 {
		seen = nil
		first, same := api.PeerStatus{}, true
		for i, node := range a.nodes {
			st, err := a.peers.Status(ctx, node.peer)
			if err != nil {
				return fmt.Errorf("status of %s: %w", node.name, err)
			}
			if i == 0 {
				first = st
			}
			same = same && st.AppliedIndex == first.AppliedIndex && st.FSMHash == first.FSMHash && st.FSMHash != ""
			seen = append(seen, fmt.Sprintf("%s %d %.12s", node.name, st.AppliedIndex, st.FSMHash))
			if i > 0 && st.AppliedIndex == first.AppliedIndex && st.FSMHash != first.FSMHash {
				a.tally.bug("audit: the catalogs differ: %v", seen)
				return nil
			}
		}
		if same {
			a.tally.say("audit: catalog %v", seen)
			return nil
		}
		sleep(ctx, 37*time.Millisecond)
	}
	a.tally.bug("audit: the catalogs are never at one index: %v", seen)
	return nil
}
