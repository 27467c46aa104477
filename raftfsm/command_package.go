package raftfsm

import (
	"time"

	"symkeep/internal/catalog"
)

// MaxIdempotencyKey bounds an idempotency key, in bytes.
const MaxIdempotencyKey = 128

// OpenPackage makes a package in state open with a lease. A known idempotency key
// returns the package that has it, whatever its state. The value is the
// catalog.Package.
type OpenPackage struct {
	ID             catalog.PackageID `json:"id"`
	IdempotencyKey string            `json:"idempotency_key"`
	Product        string            `json:"product"`
	Version        string            `json:"version"`
	Labels         map[string]string `json:"labels,omitempty"`
	Comment        string            `json:"comment,omitempty"`
	LeaseMillis    int64             `json:"lease_millis"` // of cluster time, 1 to MaxLease
	At             time.Time         `json:"at"`
	Policy         *catalog.Policy   `json:"policy,omitempty"` // asked for by the push; level 3
}

// AddFiles lists files First, First+1 and so on of an open package and takes a
// reference on each blob. Rows that are listed already must be the same, else
// ErrConflict; new ones follow the last one without a gap. The value is an
// AddFilesValue.
type AddFiles struct {
	Package catalog.PackageID `json:"package"`
	First   int               `json:"first"`
	Files   []FileEntry       `json:"files"`
}

// A FileEntry is what the agent says of one file.
type FileEntry struct {
	Path   string         `json:"path"`
	Size   int64          `json:"size"`
	SHA256 catalog.Digest `json:"sha256"`
	Source string         `json:"source,omitempty"` // of a source file: its path in debug information, of symid.CleanSource; level 3
}

// AddFilesValue answers AddFiles.
type AddFilesValue struct {
	Files   int              `json:"files"`   // listed so far
	Lacking []catalog.Digest `json:"lacking"` // of this chunk: no member holds a copy; each once, in the order listed
}

// RenewLease sets the lease of an open package to LeaseMillis from now.
type RenewLease struct {
	Package     catalog.PackageID `json:"package"`
	LeaseMillis int64             `json:"lease_millis"`
}

// CommitPackage ends the upload. It is refused with ErrConflict if the lease ran
// out or another number of files is listed, and with ErrUnavailable if a blob has
// fewer than W distinct holders out of the member table; the value is a CommitValue
// then too. A package that is past it already is success.
type CommitPackage struct {
	Package catalog.PackageID `json:"package"`
	Files   int               `json:"files"`
	At      time.Time         `json:"at"`
}

// CommitValue answers CommitPackage.
type CommitValue struct {
	Package catalog.PackageID `json:"package"`
	State   catalog.State     `json:"state"`
	Quorum  int               `json:"quorum"`          // W
	Short   []catalog.Digest  `json:"short,omitempty"` // blobs with fewer holders, at most MaxShort
}

// MaxShort bounds CommitValue.Short.
const MaxShort = 1000

// DeletePackage trashes a good, failed or stuck package: nothing of it is served
// from this index on. A trashed or purged one is success.
type DeletePackage struct {
	Package catalog.PackageID `json:"package"`
	By      string            `json:"by,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	At      time.Time         `json:"at"`
}

// UndeletePackage gives a trashed package the state it had. One that is not
// trashed but could be is success; a purged one is ErrConflict. From feature level 2
// on, so is one that was good if a package that is good now serves other bytes under
// one of its keys, at an equal rank.
type UndeletePackage struct {
	Package catalog.PackageID `json:"package"`
	By      string            `json:"by,omitempty"`
}

// RetryPackage sends a stuck package, or a failed one whose blobs are kept, to
// validation again. A committed one is success.
type RetryPackage struct {
	Package catalog.PackageID `json:"package"`
	By      string            `json:"by,omitempty"`
}

// Kind implements Command.
func (OpenPackage) Kind() Kind { return KindOpenPackage }

// Kind implements Command.
func (AddFiles) Kind() Kind { return KindAddFiles }

// Kind implements Command.
func (RenewLease) Kind() Kind { return KindRenewLease }

// Kind implements Command.
func (CommitPackage) Kind() Kind { return KindCommitPackage }

// Kind implements Command.
func (DeletePackage) Kind() Kind { return KindDeletePackage }

// Kind implements Command.
func (UndeletePackage) Kind() Kind { return KindUndeletePackage }

// Kind implements Command.
func (RetryPackage) Kind() Kind { return KindRetryPackage }
