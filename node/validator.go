package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/gossip"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// Timings of validation.
const (
	claimRenewal      = 15 * time.Second // a claim lasts a minute of cluster time
	claimTurn         = 2 * time.Second  // how long a node waits for those whose turn comes before
	deathPause        = 10 * time.Second // without validating, after a start that found claims of its own
	validatorBase     = 5 * time.Minute  // time limit of a child, on top of validatorPerMB
	validatorPerMB    = 100 * time.Millisecond
	parallelProposals = 32                          // findings of different files on their way through the log
	reportBytes       = raftfsm.MaxCommandBytes / 2 // of one chunk of reports
)

// runValidator validates committed packages, one at a time. All nodes see all of
// them; whose turn a package is follows from its id, and the others wait a little.
func (n *Node) runValidator(ctx context.Context) error {
	if _, err := n.awaitConsensus(ctx); err != nil {
		return nil
	}
	if n.releaseOwnClaims(ctx) && !pause(ctx, deathPause) {
		return nil
	}
	sub := n.fsm.Subscribe()
	defer sub.Close()
	seen := map[catalog.PackageID]time.Time{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		worked := n.validateNext(ctx, seen)
		if ctx.Err() != nil {
			return nil
		}
		if worked {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sub.Ready():
			sub.Take()
		case <-tick.C:
		}
	}
}

// releaseOwnClaims gives back what the process before this one had claimed when it
// died, so that nobody waits until the claims run out. It reports whether there
// was anything: then the others should have a turn first, for a node that dies
// over and over must not use up the attempts of a package alone.
func (n *Node) releaseOwnClaims(ctx context.Context) (died bool) {
	for n.confirmApplied(ctx) != nil {
		if !pause(ctx, time.Second) {
			return false
		}
	}
	ps, err := n.fsm.Claimed(100)
	if err != nil {
		n.log.Error("cannot list claimed packages", "err", err)
		return false
	}
	for _, p := range ps {
		if p.Claim == nil || p.Claim.Node != n.id.Node {
			continue
		}
		died = true
		_, err := n.propose(ctx, raftfsm.ReleaseClaim{Package: p.ID, Token: p.Claim.Token, Died: true, At: fault.Now().UTC()})
		n.log.Warn("this node died while it validated a package, which goes back to the queue", "package", string(p.ID), "err", err)
	}
	return died
}

// validateNext claims and validates one package whose turn has come, and reports
// whether there was one. seen remembers since when packages wait.
func (n *Node) validateNext(ctx context.Context, seen map[catalog.PackageID]time.Time) bool {
	waiting, err := n.fsm.Claimable(50)
	if err != nil {
		n.log.Error("cannot list packages to validate", "err", err)
		return false
	}
	now := time.Now()
	for id, since := range seen {
		if now.Sub(since) > time.Hour {
			delete(seen, id)
		}
	}
	for _, p := range waiting {
		since, ok := seen[p.ID]
		if !ok {
			since = now
			seen[p.ID] = now
		}
		if now.Sub(since) < time.Duration(n.turn(p.ID))*claimTurn {
			continue
		}
		var claim catalog.Claim
		_, err := n.proposeValue(ctx, raftfsm.ClaimValidation{Package: p.ID, Node: n.id.Node}, &claim)
		if err != nil {
			continue // another node was faster, or there is no leader
		}
		fault.Point("claim-taken")
		delete(seen, p.ID)
		n.validateClaimed(ctx, p, claim.Token)
		return true
	}
	return false
}

// turn is this node's place in the order of living members for a package, from 0.
func (n *Node) turn(id catalog.PackageID) int {
	alive := map[catalog.NodeID]bool{n.id.Node: true}
	for _, p := range n.gossip.Peers() {
		alive[p.NodeID] = p.State == gossip.Alive
	}
	score := func(node catalog.NodeID) uint64 {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %s", id, node)
		return h.Sum64()
	}
	mine, turn := score(n.id.Node), 0
	for _, m := range n.members() {
		if m.ID != n.id.Node && alive[m.ID] && score(m.ID) > mine {
			turn++
		}
	}
	return turn
}

// validateClaimed runs the checks of a package this node has claimed, and records
// the verdict, while the claim is kept alive.
func (n *Node) validateClaimed(ctx context.Context, p catalog.Package, token uint64) {
	started := time.Now()
	log := n.log.With("package", string(p.ID), "product", p.Product, "version", p.Version)
	log.Info("validating", "files", p.Files, "bytes", p.Bytes)
	g, gctx := errgroup.WithContext(ctx)
	work, done := context.WithCancel(gctx)
	g.Go(func() error { return n.keepClaim(work, p.ID, token) })
	var v raftfsm.VerdictValue
	g.Go(func() (err error) {
		defer done()
		v, err = n.judge(work, p, token)
		return err
	})
	err := g.Wait()
	if err == nil {
		log.Info("verdict", "verdict", string(v.Verdict), "index", v.Index, "took", time.Since(started).Round(time.Millisecond))
		return
	}
	if errors.Is(err, catalog.ErrStaleToken) {
		log.Warn("another node took the package over", "err", err)
		return
	}
	if ctx.Err() != nil {
		log.Info("validation interrupted, another node goes on", "took", time.Since(started).Round(time.Millisecond))
	} else {
		log.Error("validation did not end", "err", err, "took", time.Since(started).Round(time.Millisecond))
	}
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	n.propose(rctx, raftfsm.ReleaseClaim{Package: p.ID, Token: token, Died: ctx.Err() == nil && countsAgainst(err), At: fault.Now().UTC()})
	if ctx.Err() == nil && countsAgainst(err) && !errors.Is(err, errChildDied) {
		n.suspectCopies(p.ID, err) // what it read here may be damaged
	}
	if errors.As(err, new(*fs.PathError)) { // a disk or a program of this node: others first
		pause(ctx, deathPause)
	}
	pause(ctx, claimTurn)
}

// countsAgainst reports whether a validation that failed so is an attempt: after
// three of them the package is stuck, and a person is told. That the cluster was not
// there, or that this node cannot start a validator, says nothing about the package.
func countsAgainst(err error) bool {
	var file *fs.PathError
	if errors.As(err, &file) && file.Op == "fork/exec" {
		return false
	}
	return !errors.Is(err, catalog.ErrUnavailable) && !errors.Is(err, catalog.ErrFull) && !errors.Is(err, api.ErrNotLeader)
}

// maxSuspects bounds the copies that one failed validation has verified.
const maxSuspects = 1000

// suspectCopies has this node's copies of a package verified before they are used
// again.
func (n *Node) suspectCopies(id catalog.PackageID, cause error) {
	files, err := n.fsm.Files(id, -1, maxSuspects)
	if err != nil {
		n.log.Error("files of a package not listed", "package", string(id), "err", err)
	}
	for _, f := range files {
		n.repl.Suspect(f.SHA256, cause)
	}
}

// keepClaim renews the claim until ctx ends. Losing it ends the work.
func (n *Node) keepClaim(ctx context.Context, id catalog.PackageID, token uint64) error {
	for pause(ctx, claimRenewal) {
		if _, err := n.propose(ctx, raftfsm.RenewClaim{Package: id, Token: token}); errors.Is(err, catalog.ErrStaleToken) {
			return err
		}
	}
	return nil
}

func (n *Node) judge(ctx context.Context, p catalog.Package, token uint64) (raftfsm.VerdictValue, error) {
	var v raftfsm.VerdictValue
	files, release, err := n.childFiles(ctx, p)
	if err != nil {
		return v, err
	}
	defer release()
	limit := validatorBase + time.Duration(p.Bytes>>20)*validatorPerMB
	n.recall(files)
	policy := n.effective(p) // a change after this moment counts for later packages
	report, err := runChild(ctx, child{n.cfg.ValidatorCommand, n.cfg.ValidatorMemory, limit, n.remember(files)}, files, policy)
	if err != nil {
		return v, err
	}
	if err := n.proposeReports(ctx, p.ID, token, report.Files); err != nil {
		return v, err
	}
	fault.Point("verdict-before-propose")
	_, err = n.proposeValue(ctx, raftfsm.RecordVerdict{
		Package: p.ID, Token: token, Files: len(report.Files), Findings: report.Findings, At: fault.Now().UTC(), Policy: policy.Ref(),
	}, &v)
	fault.Point("verdict-after-propose")
	return v, err
}

// childFiles makes every blob of a package available as a local file. The caller
// calls release when the child is done.
func (n *Node) childFiles(ctx context.Context, p catalog.Package) (files []childFile, release func(), err error) {
	var releases []func()
	releaseAll := func() {
		for _, r := range releases {
			r()
		}
	}
	defer func() {
		if err != nil {
			releaseAll()
		}
	}()
	paths := map[catalog.Digest]string{}
	for after := -1; ; {
		page, err := n.fsm.Files(p.ID, after, receiptChunk)
		if err != nil || len(page) == 0 {
			return files, releaseAll, err
		}
		for _, f := range page {
			after = f.No
			if paths[f.SHA256] == "" {
				path, rel, err := n.repl.Materialize(ctx, f.SHA256)
				if err != nil {
					return nil, nil, fmt.Errorf("file %q: %w", f.Path, err)
				}
				releases = append(releases, rel)
				paths[f.SHA256] = path
			}
			files = append(files, childFile{No: f.No, Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256, Packed: paths[f.SHA256]})
		}
	}
}

// proposeReports writes keys and findings, hidden until the verdict, in chunks.
func (n *Node) proposeReports(ctx context.Context, id catalog.PackageID, token uint64, reports []catalog.FileReport) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelProposals)
	for _, r := range reports {
		if len(r.Findings) > 0 {
			g.Go(func() error { return n.proposeFindings(gctx, id, token, r.No, r.Findings) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	level := n.fsm.FeatureLevel() // it may only rise
	for len(reports) > 0 {
		var chunk []catalog.FileReport
		for size := 0; len(reports) > 0; reports = reports[1:] {
			r := reports[0]
			r.Findings = nil
			if level < raftfsm.FeatureKnow {
				r.Quality, r.Keys = nil, plainKeys(r.Keys)
			}
			if size += encodedSize(r); size > reportBytes && len(chunk) > 0 {
				break
			}
			chunk = append(chunk, r)
		}
		if _, err := n.propose(ctx, raftfsm.AddKeys{Package: id, Token: token, Reports: chunk}); err != nil {
			return err
		}
	}
	return nil
}

// plainKeys leaves out the keys that members of a former version cannot read.
func plainKeys(keys []catalog.RankedKey) []catalog.RankedKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k catalog.RankedKey) bool { return k.Key.Kind > symid.KindWasm })
}

func (n *Node) proposeFindings(ctx context.Context, id catalog.PackageID, token uint64, file int, findings []catalog.Finding) error {
	for first := 0; first < len(findings); {
		end, size := first, 0
		for end < len(findings) {
			if size += encodedSize(findings[end]); size > reportBytes && end > first {
				break
			}
			end++
		}
		_, err := n.propose(ctx, raftfsm.AddFindings{Package: id, Token: token, File: file, First: first, Findings: findings[first:end]})
		if err != nil {
			return err
		}
		first = end
	}
	return nil
}

func encodedSize(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	return len(b) + 1
}
