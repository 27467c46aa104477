package symhttp

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Self tells who answers. Both may change while the server runs.
type Self interface {
	// ClusterID is empty before the node has a cluster.
	ClusterID() catalog.ClusterID
	// AppliedIndex is the log index that local reads reflect.
	AppliedIndex() uint64
}

// A Locator resolves keys to the file that is served for them.
type Locator interface {
	// Locate returns the served candidate of the first key that has one. An error
	// that wraps catalog.ErrNotFound is a miss the cluster stands for. Any other
	// says that nobody can tell now: the connection is reset.
	Locate(ctx context.Context, keys []symid.Key) (catalog.Candidate, error)
	// LocateNow is Locate without waiting for anybody. Any error but
	// catalog.ErrNotFound itself says that Locate may know better.
	LocateNow(keys []symid.Key) (catalog.Candidate, error)
	// Version names the state of the catalog that LocateNow looks at: while it stays
	// the same, so does the file that is served for a key.
	Version() uint64
	// StillMissing reports whether a miss that LocateNow stated at a version can be
	// stated now without another look.
	StillMissing(version uint64) bool
}

// Blobs opens packed blobs, wherever in the cluster they are.
type Blobs interface {
	// OpenBlob returns the packed bytes of a referenced blob, local or streamed
	// from a peer. ctx bounds the opening, not the reading that follows: a Blob has
	// to give up on a silent peer by itself. Errors are retried for
	// Config.ReachTimeout.
	OpenBlob(ctx context.Context, d catalog.Digest) (Blob, error)
	// Suspect is told when a copy that OpenBlob gave did not decode, so that the
	// next call gives another one. It must not block.
	Suspect(d catalog.Digest, err error)
}

// A Blob is one open copy of a packed blob. ReadAt may be called concurrently.
type Blob interface {
	io.ReaderAt
	io.Closer
	// Size is that of the packed bytes.
	Size() int64
	// File is the local file the Blob reads, nil for a remote one. Its position
	// belongs to the server, which hands it to sendfile; Close closes it.
	File() *os.File
}

// Ingest takes packages from agents.
type Ingest interface {
	OpenPackage(ctx context.Context, r api.OpenRequest) (api.OpenResponse, error)
	AddFiles(ctx context.Context, id catalog.PackageID, r api.AddFilesRequest) (api.AddFilesResponse, error)
	CommitPackage(ctx context.Context, id catalog.PackageID, r api.CommitRequest) (api.CommitResponse, error)
	RenewLease(ctx context.Context, id catalog.PackageID) error
}

// Uploads stages, packs and replicates the raw bytes of blobs.
type Uploads interface {
	// UploadState returns how much of the blob is acknowledged. It is asked before
	// the body is read: catalog.ErrNotFound or ErrConflict when the package does
	// not take the blob, ErrFull when the disk does not.
	UploadState(ctx context.Context, u Upload) (UploadState, error)
	// Upload appends body, u.Size bytes, at u.Offset. It returns once W members
	// hold the blob. Bytes that arrived before an error stay acknowledged. An
	// offset that is not the acknowledged one is an *OffsetError.
	Upload(ctx context.Context, u Upload, body io.Reader) (catalog.Receipt, error)
}

// An Upload is one request to send bytes of a blob.
type Upload struct {
	Package catalog.PackageID
	Digest  catalog.Digest
	Offset  int64 // of the first byte of the body
	Size    int64 // bytes of the body
	Length  int64 // bytes to send in all; 0 when only the state is asked for
	// Packed is the packed SHA-256 of the packed file whose bytes are sent; zero when
	// the raw bytes are.
	Packed catalog.Digest
}

// An UploadState says how far a blob has come on this node.
type UploadState struct {
	Offset  int64            // acknowledged bytes
	Length  int64            // bytes to send in all, 0 when unknown; equal to Offset once the blob is held
	Receipt *catalog.Receipt // set when the cluster holds the blob: nothing to send
}

// An OffsetError refuses an upload that does not start where the acknowledged
// bytes end. It wraps catalog.ErrConflict.
type OffsetError struct {
	Digest       catalog.Digest
	Found, Acked int64
}

// Error names both offsets.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("blob %s: upload starts at offset %d, wanted the acknowledged %d", e.Digest, e.Found, e.Acked)
}

// Unwrap returns catalog.ErrConflict.
func (e *OffsetError) Unwrap() error { return catalog.ErrConflict }

// Archives takes files of packages out of archives.
type Archives interface {
	// ArchiveState is asked before the body is read: nil if AddArchive would take
	// it now, else errors as of UploadState.
	ArchiveState(ctx context.Context, a Archive) error
	// AddArchive reads body, a.Size bytes, and makes its members of use files of
	// the package; all of them or none. What is wrong with the archive wraps
	// catalog.ErrInvalid. Repeating it changes nothing.
	AddArchive(ctx context.Context, a Archive, body io.Reader) (api.ArchiveResponse, error)
}

// An Archive is one request to add what is in an archive.
type Archive struct {
	Package catalog.PackageID
	Name    string // base name; files are named NAME/path
	Size    int64  // bytes of the body
}

// Packages shows packages to people and agents.
type Packages interface {
	// PackageStatus holds the answer for up to wait, or until ctx ends, while there
	// is no verdict. The end of ctx is no error: the state as it is comes back.
	PackageStatus(ctx context.Context, id catalog.PackageID, wait time.Duration) (api.PackageStatus, error)
	ListPackages(ctx context.Context, q api.PackagesQuery) (api.PackagesPage, error)
	ListFiles(ctx context.Context, id catalog.PackageID, after, limit int) (api.FilesPage, error)
	// FindKeys answers each query in turn; one that is none fails them all.
	FindKeys(ctx context.Context, queries []api.FindQuery) ([]api.FindResponse, error)
}

// Keeper changes what people may change of a package.
type Keeper interface {
	DeletePackage(ctx context.Context, id catalog.PackageID, r api.DeleteRequest) error
	UndeletePackage(ctx context.Context, id catalog.PackageID) error
	RetryPackage(ctx context.Context, id catalog.PackageID) error
}

// Cluster shows and changes the membership.
type Cluster interface {
	ClusterStatus(ctx context.Context) (api.ClusterStatus, error)
	JoinCluster(ctx context.Context, r api.ClusterJoinRequest) error
	LeaveCluster(ctx context.Context) error
	RemoveMember(ctx context.Context, r api.NodeRequest) error
	DrainMember(ctx context.Context, r api.NodeRequest) error
}

// Operator is what an operator asks of a cluster beside its membership.
type Operator interface {
	// MaintainMember announces that a member will be away, or takes that back.
	MaintainMember(ctx context.Context, r api.NodeRequest) error
	// TransferLeader returns once another node leads: the named one if any is.
	TransferLeader(ctx context.Context, r api.NodeRequest) error
	// CheckCluster looks for what would go wrong next.
	CheckCluster(ctx context.Context) (api.CheckReport, error)
	ClearAlarms(ctx context.Context, r api.AlarmRequest) error
}

// Layouts shows and changes where copies belong.
type Layouts interface {
	// PlanLayout changes nothing; the zero request describes the present layout.
	PlanLayout(ctx context.Context, r api.LayoutRequest) (api.LayoutPlan, error)
	// ApplyLayout changes weights and the number of replicas. An error that wraps
	// catalog.ErrConflict says that the layout is not the one planned on.
	ApplyLayout(ctx context.Context, r api.LayoutRequest) (api.LayoutPlan, error)
}

// Tuning shows and changes how the cluster works in the background, and what its
// members may say to each other.
type Tuning interface {
	ReplStatus(ctx context.Context) (api.ReplResponse, error)
	SetRepl(ctx context.Context, r api.ReplRequest) (api.ReplResponse, error)
	FeatureStatus(ctx context.Context) (api.FeatureStatus, error)
	RaiseFeature(ctx context.Context, r api.FeatureRequest) (api.FeatureStatus, error)
}

// Policies shows and changes how findings are weighed in every package.
type Policies interface {
	ShowPolicy(ctx context.Context) (api.ClusterPolicy, error)
	// SetPolicy wants codes that exist and may be allowed, else catalog.ErrInvalid.
	SetPolicy(ctx context.Context, r api.PolicyRequest) (api.ClusterPolicy, error)
}

// Health tells whether the node works. Both return one Check per thing looked at
// and must not block for more than a moment.
type Health interface {
	Live(ctx context.Context) []Check
	Ready(ctx context.Context, p Purpose) []Check
}

// A Purpose is what a caller wants a node to be ready for.
type Purpose string

// Purposes.
const (
	ForServe  Purpose = "serve"  // answer debuggers
	ForIngest Purpose = "ingest" // take a push
)

// A Check is one line of /livez or /readyz; Err is nil when all is well.
type Check struct {
	Name string
	Err  error
}

// Consensus is what members ask a node about the log.
type Consensus interface {
	// Propose hands an encoded command to the log and returns its encoded result.
	// api.ErrNotLeader when this node does not lead. It does not forward.
	Propose(ctx context.Context, command []byte) ([]byte, error)
	ReadIndex(ctx context.Context) (uint64, error)
	// LookupKeys answers only as a leader or under a negative lease.
	LookupKeys(ctx context.Context, keys []symid.IndexKey) (api.LookupResponse, error)
	PeerStatus(ctx context.Context) (api.PeerStatus, error)
	// MemberLeaves removes a member. api.ErrNotLeader when this node does not lead.
	MemberLeaves(ctx context.Context, d api.Departure) error
}

// Orders is what members ask a node to do or to find out for an operator.
type Orders interface {
	// CheckNode says how this node is, and whether it reaches the named members.
	CheckNode(ctx context.Context, ask []catalog.NodeID) (api.PeerCheck, error)
	// ScrubNow begins to verify every copy of this node, and does not wait for it.
	ScrubNow(ctx context.Context) error
	// HandOver makes another voter lead, any if to is empty. api.ErrNotLeader when
	// this node does not lead.
	HandOver(ctx context.Context, to catalog.NodeID) error
	// RaiseLevel raises the feature level. api.ErrNotLeader when this node does not
	// lead.
	RaiseLevel(ctx context.Context, level int) error
}

// Copies is what members ask a node about its own blobs.
type Copies interface {
	// OpenCopy opens a local, not quarantined copy, else catalog.ErrNotFound.
	OpenCopy(ctx context.Context, d catalog.Digest) (Blob, error)
	// HaveCopies returns one entry per digest, nil where there is no copy.
	HaveCopies(ctx context.Context, ds []catalog.Digest) ([]*catalog.Packed, error)
	// FetchCopy pulls a blob from a member; it returns once the copy is durable
	// and verified.
	FetchCopy(ctx context.Context, d catalog.Digest, r api.FetchRequest) error
}

// Admission lets nodes into the cluster.
type Admission interface {
	AdmitMember(ctx context.Context, r api.JoinRequest) (api.JoinResponse, error)
}
