package api

import (
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// OpenRequest is POST /api/v1/packages: it opens a package, or finds the one that
// the idempotency key already opened.
type OpenRequest struct {
	IdempotencyKey string            `json:"idempotency_key"`
	Product        string            `json:"product"`
	Version        string            `json:"version"`
	Labels         map[string]string `json:"labels,omitempty"`
	Comment        string            `json:"comment,omitempty"`
	Policy         *catalog.Policy   `json:"policy,omitempty"`  // how to weigh findings; nil as everybody's
	Sources        bool              `json:"sources,omitempty"` // some files will be source files; refused where the cluster cannot keep those
}

// OpenResponse answers an OpenRequest.
type OpenResponse struct {
	Package   catalog.PackageID `json:"package"`
	State     catalog.State     `json:"state"`
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Index     uint64            `json:"index"`
	Policy    *catalog.Policy   `json:"policy,omitempty"`  // that the package has; a former version knows none
	Sources   bool              `json:"sources,omitempty"` // as asked; a former version would take source files for damaged symbol files
}

// A FileEntry announces one file.
type FileEntry struct {
	Path   string         `json:"path"`
	Size   int64          `json:"size"`
	SHA256 catalog.Digest `json:"sha256"`
	Source string         `json:"source,omitempty"` // of a source file: its path in debug information, of symid.CleanSource
}

// AddFilesRequest is POST /api/v1/packages/ID/files: the files numbered from
// First. Requests hold at most MaxFilesPerRequest entries.
type AddFilesRequest struct {
	First int         `json:"first"`
	Files []FileEntry `json:"files"`
}

// MaxFilesPerRequest bounds one AddFilesRequest and one page of files.
const MaxFilesPerRequest = 500

// AddFilesResponse says which of the announced blobs the cluster lacks.
type AddFilesResponse struct {
	Lacking []catalog.Digest `json:"lacking"`
}

// ArchiveResponse answers PUT /api/v1/packages/ID/archives/NAME, whose body is an
// archive: its files of use became files of the package.
type ArchiveResponse struct {
	Package catalog.PackageID `json:"package"`
	Files   int               `json:"files"`   // of the package now: the number for CommitRequest
	Added   int               `json:"added"`   // members that became files of the package, by this request or an earlier one
	Ignored int               `json:"ignored"` // members of no use to a debugger
	Members []ArchiveMember   `json:"members"` // in the order of the archive, the first MaxArchiveMembers of them
}

// MaxArchiveMembers bounds the members that an ArchiveResponse lists.
const MaxArchiveMembers = 10_000

// An ArchiveMember is one file of an archive.
type ArchiveMember struct {
	Path   string           `json:"path"` // inside the package: NAME, a slash and the path in the archive
	Size   int64            `json:"size"`
	SHA256 catalog.Digest   `json:"sha256"`
	Kind   catalog.FileKind `json:"kind"`
	Status FileStatus       `json:"status"` // uploaded, deduplicated or ignored
}

// CommitRequest is POST /api/v1/packages/ID/commit.
type CommitRequest struct {
	Files int `json:"files"`
}

// CommitTime is the time that a commit gets beside that of any other request: the
// holders of every file are asked for it.
func CommitTime(files int) time.Duration {
	return time.Duration(min(max(files, 0), catalog.MaxFiles)) * time.Millisecond
}

// CommitResponse answers a CommitRequest. When Lacking is not empty nothing was
// committed: upload those blobs again, then retry.
type CommitResponse struct {
	State   catalog.State    `json:"state"`
	Index   uint64           `json:"index"`
	Lacking []catalog.Digest `json:"lacking,omitempty"`
}

// PackageStatus is GET /api/v1/packages/ID. With ?wait=DURATION it is held until
// the package leaves the states open and committed, or the time is over.
type PackageStatus struct {
	catalog.Package
	// Visible is set on an answer to ?wait with a verdict: every member has
	// applied it or can no longer answer a miss by itself. LeaseOut names those
	// members that were given up on for the second reason.
	Visible  bool     `json:"visible,omitempty"`
	LeaseOut []string `json:"lease_out,omitempty"`
	// Progress of validation, 0 to Files.
	Checked int `json:"checked,omitempty"`
}

// FilesPage is GET /api/v1/packages/ID/files?after=NO&limit=N.
type FilesPage struct {
	Files []catalog.File `json:"files"`
	Next  int            `json:"next,omitempty"` // the after of the next page; 0 at the end
}

// PackagesPage is GET /api/v1/packages, newest first.
type PackagesPage struct {
	Packages []catalog.Package `json:"packages"`
	Next     string            `json:"next,omitempty"` // the before of the next page
}

// PackagesQuery narrows a listing; empty fields match everything.
type PackagesQuery struct {
	Product string
	Version string
	State   catalog.State
	Before  catalog.PackageID
	Limit   int // 0 means 50; at most 500
}

// DeleteRequest is POST /api/v1/packages/ID/delete.
type DeleteRequest struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// KeyPaths returns every lookup path of keys, in order.
func KeyPaths(keys []symid.Key) []string {
	paths := []string{}
	for _, k := range keys {
		paths = append(paths, k.Paths()...)
	}
	return paths
}
