package node

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
	"symkeep/replication"
	"symkeep/symhttp"
)

// This file joins the packages that never import one another. Each type gives one
// of them what it asks for in the words of its own interface.

// committed is the replication.Catalog and replication.Proposer of a node.
type committed struct{ n *Node }

func (c committed) Members() []catalog.Member  { return c.n.members() }
func (c committed) Settings() catalog.Settings { return c.n.settings() }

func (c committed) Layout() catalog.Layout           { return c.n.fsm.Layout() }
func (c committed) KeptLayouts() []catalog.Layout    { return c.n.fsm.KeptLayouts() }
func (c committed) Frozen() bool                     { return c.n.fsm.FrozenFor() > 0 }
func (c committed) ClusterTime() catalog.ClusterTime { return c.n.fsm.ClusterTime() }

func (c committed) Blob(d catalog.Digest) (catalog.Blob, error) { return c.n.fsm.Blob(d) }

func (c committed) Blobs(after catalog.Digest, limit int) ([]catalog.Blob, error) {
	return c.n.fsm.Blobs(after, limit)
}

func (c committed) Barrier(ctx context.Context) error { return c.n.confirmApplied(ctx) }

func (c committed) PutReceipts(ctx context.Context, receipts []catalog.Receipt) error {
	for len(receipts) > 0 {
		k := min(len(receipts), receiptChunk)
		if _, err := c.n.propose(ctx, raftfsm.PutReceipts{Receipts: receipts[:k]}); err != nil {
			return err
		}
		receipts = receipts[k:]
	}
	return nil
}

func (c committed) DropHolders(ctx context.Context, node catalog.NodeID, digests []catalog.Digest) error {
	_, err := c.n.propose(ctx, raftfsm.DropHolders{Node: node, Digests: digests})
	return err
}

// markLayoutSynced records that this node holds all that a layout version gives it,
// unless that is known or it is not in the layout.
func (n *Node) markLayoutSynced(ctx context.Context, version uint64) error {
	m, err := n.fsm.Member(n.id.Node)
	if err != nil || m.LayoutSynced >= version || n.fsm.FeatureLevel() < 2 {
		return err
	}
	if !slices.ContainsFunc(n.fsm.Layout().Nodes, func(l catalog.LayoutNode) bool { return l.ID == n.id.Node }) {
		return nil
	}
	_, err = n.propose(ctx, raftfsm.MarkLayoutSynced{Node: n.id.Node, Version: version})
	return err
}

// copyDamaged is told of each copy of this node that turned out damaged.
func (n *Node) copyDamaged(d catalog.Digest, reason string) { n.noteDamage(d, errors.New(reason)) }

// peers is the replication.Peers of a node.
type peers struct{ n *Node }

func (p peers) Have(ctx context.Context, node catalog.NodeID, digests []catalog.Digest) ([]*catalog.Packed, error) {
	return p.n.peers.Have(ctx, p.n.peerAddr(node, ""), digests)
}

func (p peers) Fetch(ctx context.Context, node catalog.NodeID, d catalog.Digest, offset, n int64) (io.ReadCloser, int64, error) {
	return p.n.peers.Blob(ctx, p.n.peerAddr(node, ""), d, offset, n)
}

func (p peers) AskFetch(ctx context.Context, node catalog.NodeID, o replication.Order) error {
	return p.n.peers.Fetch(ctx, p.n.peerAddr(node, ""), o.Digest, api.FetchRequest{Source: o.Source, RawSize: o.RawSize, Packed: o.Packed})
}

// OpenBlob gives the HTTP server the packed bytes of a blob.
func (n *Node) OpenBlob(ctx context.Context, d catalog.Digest) (symhttp.Blob, error) {
	b, err := n.repl.Open(ctx, d)
	if errors.Is(err, catalog.ErrNotFound) {
		n.doubted.Store(true) // whoever asks has it from the catalog, as a rule
	}
	return b, err
}

// Suspect is told of a copy that did not decode.
func (n *Node) Suspect(d catalog.Digest, err error) { n.repl.Suspect(d, err) }

// OpenCopy opens this node's own copy.
func (n *Node) OpenCopy(_ context.Context, d catalog.Digest) (symhttp.Blob, error) {
	f, e, err := n.blobs.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	return ownCopy{f, e.Packed.Size}, nil
}

// An ownCopy is a local packed file.
type ownCopy struct {
	f    *os.File
	size int64
}

func (c ownCopy) ReadAt(p []byte, off int64) (int, error) { return c.f.ReadAt(p, off) }
func (c ownCopy) Close() error                            { return c.f.Close() }
func (c ownCopy) Size() int64                             { return c.size }
func (c ownCopy) File() *os.File                          { return c.f }

// HaveCopies says which blobs this node holds.
func (n *Node) HaveCopies(_ context.Context, ds []catalog.Digest) ([]*catalog.Packed, error) {
	return n.repl.Have(ds)
}

// FetchCopy pulls a blob from a member.
func (n *Node) FetchCopy(ctx context.Context, d catalog.Digest, r api.FetchRequest) error {
	_, err := n.repl.Accept(ctx, replication.Order{Digest: d, RawSize: r.RawSize, Packed: r.Packed, Source: r.Source})
	return err
}
