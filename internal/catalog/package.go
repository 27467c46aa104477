package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"symkeep/internal/symid"
)

// Errors that callers branch on, wherever they arise.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("invalid")             // the request can never succeed as it is
	ErrConflict    = errors.New("conflicting state")   // the state forbids it now
	ErrUnavailable = errors.New("unavailable for now") // worth a retry
	ErrStaleToken  = errors.New("stale claim token")   // another validator holds the package
	ErrFull        = errors.New("disk space reserve reached")
)

// A PackageID is 26 characters of Crockford base 32, upper case, that sort by the
// time they were made.
type PackageID string

// ClusterTime counts milliseconds of cluster time, which only Tick commands move.
type ClusterTime int64

// A State is a step in a package's life.
type State string

// States of a package. Good, failed and expired are terminal; stuck waits for a
// person; trashed hides a good or failed one until it is purged.
const (
	StateOpen      State = "open"
	StateCommitted State = "committed"
	StateGood      State = "good"
	StateFailed    State = "failed"
	StateStuck     State = "stuck"
	StateTrashed   State = "trashed"
	StatePurged    State = "purged"
	StateExpired   State = "expired"
)

// Bounds of one package.
const (
	MaxFiles      = 1_000_000
	MaxLabels     = 64
	MaxText       = 1024     // bytes of product, version, label key or value
	MaxComment    = 16 << 10 // bytes
	MaxPath       = 1024     // bytes of a file's path
	MaxFileBytes  = int64(1) << 42
	MaxChunkBytes = 256 << 10 // bytes of one replicated command
)

// A Package is one submission: the unit of validation and of deletion.
type Package struct {
	ID             PackageID         `json:"id"`
	IdempotencyKey string            `json:"idempotency_key,omitempty"`
	Product        string            `json:"product"`
	Version        string            `json:"version"`
	Labels         map[string]string `json:"labels,omitempty"`
	Comment        string            `json:"comment,omitempty"`
	State          State             `json:"state"`
	Previous       State             `json:"previous,omitempty"` // of a trashed package: what undelete restores
	Files          int               `json:"files"`
	Bytes          int64             `json:"bytes"` // raw, all files

	// Log indexes of the transitions; zero until they happen.
	OpenedIndex    uint64 `json:"opened_index"`
	CommittedIndex uint64 `json:"committed_index,omitempty"`
	VerdictIndex   uint64 `json:"verdict_index,omitempty"`

	// Wall-clock stamps of the node that proposed the transition; for display only.
	OpenedAt    time.Time `json:"opened_at"`
	CommittedAt time.Time `json:"committed_at,omitzero"`
	VerdictAt   time.Time `json:"verdict_at,omitzero"`

	Lease    ClusterTime `json:"lease,omitempty"`    // while open: when it expires
	Terminal ClusterTime `json:"terminal,omitempty"` // when a terminal state was reached
	Claim    *Claim      `json:"claim,omitempty"`    // who validates it now
	Attempts int         `json:"attempts,omitempty"` // validators in a row that died on it
	Reason   string      `json:"reason,omitempty"`   // why it is stuck or was deleted

	Errors   int       `json:"errors"` // findings by severity, package-level ones included
	Warnings int       `json:"warnings"`
	Infos    int       `json:"infos"`
	Findings []Finding `json:"findings,omitempty"` // package-level only

	// Policies, since feature level 3; nil where there is none.
	Policy *Policy `json:"policy,omitempty"` // asked for by the push
	Judged *Policy `json:"judged,omitempty"` // what held for the verdict: that of the push under that of the cluster
}

// A Claim is one node's right to validate a package until cluster time Deadline.
type Claim struct {
	Node     NodeID      `json:"node"`
	Token    uint64      `json:"token"` // log index of the claim: the fencing token
	Deadline ClusterTime `json:"deadline"`
}

// A File is one member of a package.
type File struct {
	No       int         `json:"no"`               // position in the package, from 0
	Path     string      `json:"path"`             // slash-separated, relative, checked by CheckPath
	Source   string      `json:"source,omitempty"` // of a source file: its path in debug information, of symid.CleanSource
	Size     int64       `json:"size"`
	SHA256   Digest      `json:"sha256"` // names the blob
	Kind     FileKind    `json:"kind,omitempty"`
	Arch     string      `json:"arch,omitempty"`
	IDs      []IDs       `json:"ids,omitempty"`
	Keys     []symid.Key `json:"keys,omitempty"`
	Findings []Finding   `json:"findings,omitempty"`
	Quality  []Quality   `json:"quality,omitempty"` // what a debugger gets from it, in the order of the constants
}

// IDs are the identities of one architecture slice, as text.
type IDs struct {
	Arch    string `json:"arch,omitempty"`
	BuildID string `json:"build_id,omitempty"` // lower-case hex
	DebugID string `json:"debug_id,omitempty"` // Breakpad form, upper case
	CodeID  string `json:"code_id,omitempty"`  // PE: timestamp and size; ELF: build id; Mach-O: UUID
}

// A FileKind is what the content of a file is.
type FileKind string

// Kinds of file.
const (
	KindPE          FileKind = "pe"
	KindPDB         FileKind = "pdb"
	KindPortablePDB FileKind = "portable-pdb"
	KindELF         FileKind = "elf"
	KindMachO       FileKind = "macho"
	KindBreakpad    FileKind = "breakpad"
	KindWasm        FileKind = "wasm"
	KindDBG         FileKind = "dbg"
	KindPerfMap     FileKind = "perf-map"
	KindSource      FileKind = "source"
	KindContainer   FileKind = "container"
	KindUnknown     FileKind = "unknown"
)

// CheckPath refuses a file path that could leave a directory or that some system
// cannot store: absolute, a dot segment, a backslash, a drive, a control
// character, over MaxPath bytes. Errors wrap symid.ErrBadName.
func CheckPath(path string) error {
	if path == "" || len(path) > MaxPath {
		return fmt.Errorf("path %.80q: %d bytes, wanted 1 to %d: %w", path, len(path), MaxPath, symid.ErrBadName)
	}
	for seg := range strings.SplitSeq(path, "/") {
		if err := symid.CheckName(seg); err != nil {
			return fmt.Errorf("path %.80q: %w", path, err)
		}
	}
	return nil
}

// CheckText refuses text of a package's description that is longer than limit
// bytes, not UTF-8, or holds control characters other than line ends and tabs.
func CheckText(what, s string, limit int) error {
	bad := func(r rune) bool { return (r < 0x20 && r != '\n' && r != '\t') || r == 0x7f }
	switch {
	case len(s) > limit:
		return fmt.Errorf("%s: %d bytes, at most %d are accepted: %w", what, len(s), limit, ErrInvalid)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, bad):
		return fmt.Errorf("%s %.80q: not plain UTF-8 text: %w", what, s, ErrInvalid)
	}
	return nil
}
