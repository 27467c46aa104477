package raftfsm

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Temporary: bodies follow.
var errPending = errors.New("not written yet")

const restoreSuffix = ".new"

func (f *feed) close() {}

// Apply and friends implement raft.BatchingFSM; each response is a Result.
func (f *FSM) Apply(l *raft.Log) any               { return nil }
func (f *FSM) ApplyBatch(ls []*raft.Log) []any     { return nil }
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) { return nil, errPending }
func (f *FSM) Restore(r io.ReadCloser) error       { return errPending }

// Configuration returns the newest raft configuration applied and its index.
func (f *FSM) Configuration() (raft.Configuration, uint64, error) {
	return raft.Configuration{}, 0, errPending
}

// Lookup returns the candidates of good packages, best first, at most MaxCandidates.
func (f *FSM) Lookup(key symid.IndexKey) ([]catalog.Candidate, error) { return nil, errPending }

// LookupAll returns candidates in any state, at most limit, good ones first.
func (f *FSM) LookupAll(key symid.IndexKey, limit int) ([]catalog.Candidate, error) {
	return nil, errPending
}

// Package returns the row with its package-level findings.
func (f *FSM) Package(id catalog.PackageID) (catalog.Package, error) {
	return catalog.Package{}, errPending
}

// Checked: how many files the present validator has reported.
func (f *FSM) Checked(id catalog.PackageID) (int, error) { return 0, errPending }

func (f *FSM) PackageByKey(idempotencyKey string) (catalog.Package, error) {
	return catalog.Package{}, errPending
}

// PackageFilter: empty fields match everything.
type PackageFilter struct {
	Product string
	Version string
	State   catalog.State
	Labels  map[string]string
}

// Packages: newest first; those older than before (empty: from the newest). next is the before of the next page, empty at the end.
func (f *FSM) Packages(filter PackageFilter, before catalog.PackageID, limit int) (page []catalog.Package, next catalog.PackageID, err error) {
	return nil, "", errPending
}

// Files: rows after number after (-1 for the first), with findings.
func (f *FSM) Files(id catalog.PackageID, after, limit int) ([]catalog.File, error) {
	return nil, errPending
}
func (f *FSM) File(id catalog.PackageID, no int) (catalog.File, error) {
	return catalog.File{}, errPending
}

// Findings of file no, or package-level ones for -1; from position first.
func (f *FSM) Findings(id catalog.PackageID, no, first, limit int) ([]catalog.Finding, error) {
	return nil, errPending
}

// Claimable: committed packages nobody validates, oldest first. Claimed: those under validation.
func (f *FSM) Claimable(limit int) ([]catalog.Package, error) { return nil, errPending }
func (f *FSM) Claimed(limit int) ([]catalog.Package, error)   { return nil, errPending }

func (f *FSM) Blob(d catalog.Digest) (catalog.Blob, error) { return catalog.Blob{}, errPending }

// Blobs: rows after digest after (zero: first), retired ones included.
func (f *FSM) Blobs(after catalog.Digest, limit int) ([]catalog.Blob, error) { return nil, errPending }

// BlobsBelow: referenced packed blobs with fewer than want holders; examines a bounded number of rows; next is zero at the end.
func (f *FSM) BlobsBelow(want int, after catalog.Digest, limit int) (blobs []catalog.Blob, next catalog.Digest, err error) {
	return nil, catalog.Digest{}, errPending
}

// Lacking: those that no member holds.
func (f *FSM) Lacking(digests []catalog.Digest) ([]catalog.Digest, error) { return nil, errPending }

// RetireCandidates: unreferenced blobs idle for at least graceMillis of cluster time, longest first.
func (f *FSM) RetireCandidates(graceMillis int64, limit int) ([]Retiree, error) {
	return nil, errPending
}

// A FileRef is one file that lists a digest.
type FileRef struct {
	Package catalog.PackageID
	No      int
	Path    string
}

func (f *FSM) FilesOf(d catalog.Digest, limit int) ([]FileRef, error) { return nil, errPending }

// NameIn: base name of the first file of the package with that digest.
func (f *FSM) NameIn(id catalog.PackageID, d catalog.Digest) (string, error) { return "", errPending }

// Notices: by state, oldest first for pending, newest first for the others.
func (f *FSM) Notices(state catalog.NoticeState, limit int) ([]catalog.Notice, error) {
	return nil, errPending
}

// SweepDue: a Sweep would find rows now.
func (f *FSM) SweepDue() (bool, error) { return false, errPending }

// Hash: the rolling hash and the index of the newest entry in it. HashAt: hash over entries below index, a multiple of HashStep.
const HashStep = 1000

func (f *FSM) Hash() (index uint64, hash catalog.Digest) { return 0, catalog.Digest{} }
func (f *FSM) HashAt(index uint64) (hash catalog.Digest, ok bool, err error) {
	return hash, false, errPending
}

// An Info is what a catalog file says of itself.
type Info struct {
	Schema       int
	ClusterID    catalog.ClusterID
	AppliedIndex uint64
	AppliedTerm  uint64
	Feature      int
	Hash         catalog.Digest
}

// Inspect reads a file that no process has open; ErrNotFound (os.ErrNotExist too) if there is none.
func Inspect(path string) (Info, error) { return Info{}, errPending }

// ReadSnapshotInfo reads the header of a snapshot.
func ReadSnapshotInfo(r io.Reader) (SnapshotInfo, error) { return SnapshotInfo{}, errPending }

type SnapshotInfo struct {
	Schema       int
	Size         int64
	AppliedIndex uint64
	AppliedTerm  uint64
	ClusterID    catalog.ClusterID
	Hash         catalog.Digest
}

// Same: the catalog file holds exactly the snapshot's state.
func (s SnapshotInfo) Same(i Info) bool { return s.AppliedIndex == i.AppliedIndex && s.Hash == i.Hash }

func (CreateCluster) apply(*state) (any, error)   { return nil, errPending }
func (PutMember) apply(*state) (any, error)       { return nil, errPending }
func (RemoveMember) apply(*state) (any, error)    { return nil, errPending }
func (MarkSynced) apply(*state) (any, error)      { return nil, errPending }
func (SetDraining) apply(*state) (any, error)     { return nil, errPending }
func (PutSettings) apply(*state) (any, error)     { return nil, errPending }
func (RaiseFeature) apply(*state) (any, error)    { return nil, errPending }
func (Tick) apply(*state) (any, error)            { return nil, errPending }
func (MarkNotice) apply(*state) (any, error)      { return nil, errPending }
func (OpenPackage) apply(*state) (any, error)     { return nil, errPending }
func (AddFiles) apply(*state) (any, error)        { return nil, errPending }
func (RenewLease) apply(*state) (any, error)      { return nil, errPending }
func (CommitPackage) apply(*state) (any, error)   { return nil, errPending }
func (DeletePackage) apply(*state) (any, error)   { return nil, errPending }
func (UndeletePackage) apply(*state) (any, error) { return nil, errPending }
func (RetryPackage) apply(*state) (any, error)    { return nil, errPending }
func (PutReceipts) apply(*state) (any, error)     { return nil, errPending }
func (DropHolders) apply(*state) (any, error)     { return nil, errPending }
func (RetireBlobs) apply(*state) (any, error)     { return nil, errPending }
func (Sweep) apply(*state) (any, error)           { return nil, errPending }
func (ClaimValidation) apply(*state) (any, error) { return nil, errPending }
func (RenewClaim) apply(*state) (any, error)      { return nil, errPending }
func (ReleaseClaim) apply(*state) (any, error)    { return nil, errPending }
func (AddKeys) apply(*state) (any, error)         { return nil, errPending }
func (AddFindings) apply(*state) (any, error)     { return nil, errPending }
func (RecordVerdict) apply(*state) (any, error)   { return nil, errPending }
