package raftfsm

import (
	"fmt"
	"slices"

	"symkeep/internal/catalog"
)

func (c PutReceipts) apply(s *state) (any, error) {
	value := ReceiptsValue{Receipts: []ReceiptOutcome{}}
	for _, r := range c.Receipts {
		value.Receipts = append(value.Receipts, s.putReceipt(r))
	}
	return value, nil
}

// putReceipt judges one receipt and records it unless it is refused.
func (s *state) putReceipt(c catalog.Receipt) ReceiptOutcome {
	out := ReceiptOutcome{Digest: c.Digest}
	old := blobByDigest(s.tx, c.Digest)
	if old == nil || old.refs == 0 {
		out.Refused = RefusedUnreferenced
		return out
	}
	numbers := s.numbers(c.Holders)
	if out.Refused = s.judge(old, c, numbers); out.Refused == "" {
		r := *old
		r.rawSize, r.packed = c.RawSize, c.Packed
		r.holders = s.prune(append(numbers, old.holders...))
		slices.Sort(r.holders)
		r.holders = slices.Compact(r.holders)
		if !slices.Equal(r.holders, old.holders) || r.packed != old.packed {
			s.putBlob(c.Digest, old, &r)
			s.emitBlob(BlobHolders, c.Digest)
		}
		old = &r
	}
	out.Gen, out.Packed, out.Holders = old.gen, old.packed, s.head.holderIDs(old)
	return out
}

// judge returns why a receipt for a referenced blob is refused. While a member
// holds a copy the packed form and size are settled; without one there is nothing
// left to agree with, and the next copy settles them again.
func (s *state) judge(old *blobRow, c catalog.Receipt, numbers []uint32) string {
	settled := old.isPacked() && s.head.live(old) > 0
	switch {
	case c.Packed.SHA256.IsZero() || c.Packed.Size < 1 || c.RawSize < 0 || !slices.Contains(containers, c.Packed.Container):
		return RefusedInvalid
	case old.isPacked() && c.RawSize != old.rawSize:
		return RefusedSize
	case settled && c.Packed != old.packed:
		return RefusedPacked
	case len(numbers) == 0:
		return RefusedHolders
	}
	return ""
}

// numbers translates the ids of members and leaves out everyone else.
func (s *state) numbers(ids []catalog.NodeID) []uint32 {
	var ns []uint32
	for _, id := range ids {
		if m, ok := s.head.member(id); ok {
			ns = append(ns, m.No)
		}
	}
	return ns
}

func (c DropHolders) apply(s *state) (any, error) {
	m, err := s.memberOf(c.Node)
	if err != nil {
		return nil, err
	}
	for _, d := range c.Digests {
		old := blobByDigest(s.tx, d)
		if old == nil || !slices.Contains(old.holders, m.No) {
			continue
		}
		r := *old
		r.holders = slices.DeleteFunc(slices.Clone(old.holders), func(no uint32) bool { return no == m.No })
		s.putBlob(d, old, &r)
		s.emitBlob(BlobHolders, d)
	}
	return nil, nil
}

func (c RetireBlobs) apply(s *state) (any, error) {
	value := RetireValue{Retired: []Retiree{}, FrozenMillis: s.head.frozenFor()}
	for _, b := range c.Blobs {
		old := blobByDigest(s.tx, b.Digest)
		if old == nil || old.refs > 0 || old.gen != b.Gen {
			continue
		}
		if !old.retired {
			if value.FrozenMillis > 0 {
				continue
			}
			s.putBlob(b.Digest, old, &blobRow{gen: old.gen, retired: true})
			s.emit(Event{Type: BlobRetired, Digest: b.Digest, Gen: b.Gen})
		}
		value.Retired = append(value.Retired, b)
	}
	return value, nil
}

func (c Sweep) apply(s *state) (any, error) {
	if c.Limit < 1 || c.Limit > MaxSweep {
		return nil, fmt.Errorf("sweep of %d rows: wanted 1 to %d: %w", c.Limit, MaxSweep, catalog.ErrInvalid)
	}
	left := c.Limit
	for left > 0 && s.sweepNext(&left) {
	}
	for left > 0 && s.head.departed > 0 {
		s.sweepDeparted(&left)
	}
	return SweepValue{Rows: c.Limit - max(0, left), More: s.sweepDue()}, nil
}
