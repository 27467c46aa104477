package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/validate"
	"symkeep/raftfsm"
)

// packageLease is how long an open package lives without a sign of its agent, in
// cluster time.
const packageLease = 30 * time.Minute

// receiptChunk bounds the receipts of one command, well below its byte limit.
const receiptChunk = 400

// OpenPackage opens a package, or finds the one of the same idempotency key.
func (n *Node) OpenPackage(ctx context.Context, r api.OpenRequest) (api.OpenResponse, error) {
	if r.IdempotencyKey == "" {
		return api.OpenResponse{}, fmt.Errorf("idempotency key is empty: send a random one per push: %w", catalog.ErrInvalid)
	}
	if err := n.roomToGrow(); err != nil {
		return api.OpenResponse{}, err
	}
	policy := catalog.PolicyOf(r.Policy)
	if err := validate.CheckPolicy(policy); err != nil {
		return api.OpenResponse{}, err
	}
	if level := n.fsm.FeatureLevel(); r.Sources && level < raftfsm.FeatureKnow {
		return api.OpenResponse{}, fmt.Errorf("package with sources: needs feature level %d, the cluster is at %d; "+
			"run symkeep cluster feature raise once every member runs the new version, or push without --sources: %w", raftfsm.FeatureKnow, level, catalog.ErrConflict)
	}
	var p catalog.Package
	res, err := n.proposeForAgent(ctx, raftfsm.OpenPackage{
		ID: newPackageID(fault.Now()), IdempotencyKey: r.IdempotencyKey,
		Product: r.Product, Version: r.Version, Labels: r.Labels, Comment: r.Comment,
		LeaseMillis: packageLease.Milliseconds(), At: fault.Now().UTC(), Policy: policy.Ref(),
	}, &p)
	switch {
	case err != nil && !policy.IsZero():
		return api.OpenResponse{}, fmt.Errorf("package that %s: %w", policy, err)
	case err != nil:
		return api.OpenResponse{}, err
	}
	if p.Product != r.Product || p.Version != r.Version {
		return api.OpenResponse{}, fmt.Errorf("idempotency key %q is that of package %s, of %q version %q; this is %q version %q: use a new key per push: %w",
			r.IdempotencyKey, p.ID, p.Product, p.Version, r.Product, r.Version, catalog.ErrConflict)
	}
	if has := catalog.PolicyOf(p.Policy); !has.Equal(policy) {
		return api.OpenResponse{}, fmt.Errorf("idempotency key %q is that of package %s, of which the policy is %q; this push says %q: use a new key per push: %w",
			r.IdempotencyKey, p.ID, has, policy, catalog.ErrConflict)
	}
	return api.OpenResponse{Package: p.ID, State: p.State, ClusterID: n.ClusterID(), Index: res.Index, Policy: p.Policy, Sources: r.Sources}, nil
}

// AddFiles lists files of an open package, and returns which blobs are to be
// uploaded.
func (n *Node) AddFiles(ctx context.Context, id catalog.PackageID, r api.AddFilesRequest) (api.AddFilesResponse, error) {
	if len(r.Files) > api.MaxFilesPerRequest {
		return api.AddFilesResponse{}, fmt.Errorf("package %s: %d files in one request, at most %d: %w", id, len(r.Files), api.MaxFilesPerRequest, catalog.ErrInvalid)
	}
	if err := n.roomToGrow(); err != nil {
		return api.AddFilesResponse{}, err
	}
	out := api.AddFilesResponse{Lacking: []catalog.Digest{}}
	cmd := raftfsm.AddFiles{Package: id, First: r.First}
	size := 0
	flush := func() error {
		if len(cmd.Files) == 0 {
			return nil
		}
		var v raftfsm.AddFilesValue
		if _, err := n.proposeForAgent(ctx, cmd, &v); err != nil {
			return err
		}
		out.Lacking = append(out.Lacking, v.Lacking...)
		cmd.First += len(cmd.Files)
		cmd.Files, size = nil, 0
		return nil
	}
	for _, f := range r.Files {
		if size += len(f.Path) + len(f.Source) + 160; size > raftfsm.MaxCommandBytes/2 { // JSON may escape a path
			if err := flush(); err != nil {
				return out, err
			}
		}
		cmd.Files = append(cmd.Files, raftfsm.FileEntry(f))
	}
	return out, flush()
}

// RenewLease keeps an open package from expiring.
func (n *Node) RenewLease(ctx context.Context, id catalog.PackageID) error {
	_, err := n.proposeUnless(ctx, raftfsm.RenewLease{Package: id, LeaseMillis: packageLease.Milliseconds()}, n.leaderless)
	return err
}

// CommitPackage confirms with each holder that W copies of every blob exist,
// records them, and commits. Blobs that are short of copies are returned; then
// nothing is committed.
func (n *Node) CommitPackage(ctx context.Context, id catalog.PackageID, r api.CommitRequest) (api.CommitResponse, error) {
	if n.leaderless() {
		return api.CommitResponse{}, fmt.Errorf("package %s: %w", id, errNoLeader)
	}
	if err := n.confirmApplied(ctx); err != nil {
		return api.CommitResponse{}, fmt.Errorf("package %s: %w", id, err)
	}
	p, err := n.fsm.Package(id)
	if err != nil {
		return api.CommitResponse{}, n.unsureMiss(err)
	}
	if p.State != catalog.StateOpen {
		return n.commitOnce(ctx, id, r)
	}
	lacking, err := n.recordCopies(ctx, id)
	if err != nil || len(lacking) > 0 {
		return api.CommitResponse{State: p.State, Lacking: lacking}, err
	}
	return n.commitOnce(ctx, id, r)
}

func (n *Node) commitOnce(ctx context.Context, id catalog.PackageID, r api.CommitRequest) (api.CommitResponse, error) {
	var v raftfsm.CommitValue
	fault.Point("commit-before-propose")
	res, err := n.proposeForAgent(ctx, raftfsm.CommitPackage{Package: id, Files: r.Files, At: fault.Now().UTC()}, &v)
	fault.Point("commit-after-propose")
	if errors.Is(err, catalog.ErrUnavailable) && len(v.Short) > 0 {
		return api.CommitResponse{State: v.State, Index: res.Index, Lacking: v.Short}, nil
	}
	return api.CommitResponse{State: v.State, Index: res.Index}, err
}

// recordCopies proposes receipts for every blob of a package, and returns those
// without W confirmed copies.
func (n *Node) recordCopies(ctx context.Context, id catalog.PackageID) (lacking []catalog.Digest, err error) {
	seen := map[catalog.Digest]bool{}
	for after := -1; ; {
		files, err := n.fsm.Files(id, after, receiptChunk)
		if err != nil || len(files) == 0 {
			return lacking, err
		}
		var digests []catalog.Digest
		for _, f := range files {
			after = f.No
			if !seen[f.SHA256] {
				seen[f.SHA256] = true
				digests = append(digests, f.SHA256)
			}
		}
		short, err := n.recordChunk(ctx, digests)
		if err != nil {
			return nil, err
		}
		lacking = append(lacking, short...)
	}
}

// recordChunk is recordCopies for some digests. Blobs of which every member says
// that it has no copy are lacking; a member that does not answer may hold one. Where
// all that hold it are dead, the bytes are asked for again.
func (n *Node) recordChunk(ctx context.Context, digests []catalog.Digest) (lacking []catalog.Digest, err error) {
	receipts, err := n.repl.Confirm(ctx, digests)
	quorum := n.quorum()
	confirmed := map[catalog.Digest]bool{}
	for _, r := range receipts {
		confirmed[r.Digest] = len(r.Holders) >= quorum
	}
	away := func(d catalog.Digest) bool { return !confirmed[d] && !n.outOfReach(d) }
	if err != nil && (errors.Is(err, catalog.ErrUnavailable) || !errors.Is(err, catalog.ErrNotFound)) && slices.ContainsFunc(digests, away) {
		return nil, err
	}
	for _, d := range digests {
		if !confirmed[d] {
			lacking = append(lacking, d)
		}
	}
	if len(receipts) == 0 {
		return lacking, nil
	}
	_, err = n.proposeUnless(ctx, raftfsm.PutReceipts{Receipts: receipts}, n.leaderless)
	return lacking, err
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newPackageID returns 48 bits of milliseconds and 80 random bits, in Crockford's
// base 32.
func newPackageID(now time.Time) catalog.PackageID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:])
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var sb strings.Builder
	for shift := 125; shift >= 0; shift -= 5 {
		v := lo >> shift
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v |= hi << (64 - shift)
		}
		sb.WriteByte(crockford[v&31])
	}
	return catalog.PackageID(sb.String())
}
