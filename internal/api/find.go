package api

import (
	"time"

	"symkeep/internal/catalog"
)

// MaxFindQueries bounds one FindRequest.
const MaxFindQueries = 200

// A FindQuery is GET /api/v1/find?q=&name=, and one of a FindRequest.
type FindQuery struct {
	Q string `json:"q"` // as symid.ParseQuery reads it
	// Name is that of the file which is meant, for keys that do not say it: other ids
	// of the name are the nearest misses.
	Name string `json:"name,omitempty"`
}

// FindRequest is POST /api/v1/find, which changes nothing: many keys in one request,
// such as those of the modules of a dump.
type FindRequest struct {
	Queries []FindQuery `json:"queries"`
}

// FindAnswers answers a FindRequest, in the order of its queries.
type FindAnswers struct {
	Answers []FindResponse `json:"answers"`
}

// An Answer says whether a key is served, or else why not.
type Answer string

// Answers, from the best to the worst. A key in packages of several states has the
// first answer of the list that fits.
const (
	AnswerServed    Answer = "served"
	AnswerLost      Answer = "lost"       // it would be served, but no member holds the bytes
	AnswerPartial   Answer = "partial"    // of a bare id only the executable is served
	AnswerPending   Answer = "pending"    // in a package without a verdict
	AnswerStuck     Answer = "stuck"      // in a package that nobody could validate
	AnswerDeleted   Answer = "deleted"    // in a package that was good and deleted
	AnswerFailed    Answer = "failed"     // in a package that failed, deleted or not
	AnswerNeverSeen Answer = "never-seen" // in no package on record
)

// FindResponse answers a FindQuery: who has a key, or why nobody does.
type FindResponse struct {
	Query string      `json:"query"`
	Keys  []string    `json:"keys"` // lookup paths the query can mean
	Found []FoundFile `json:"found"`

	// Older servers leave out what follows.
	Answer  Answer        `json:"answer,omitempty"`
	Text    string        `json:"text,omitempty"` // the answer as a sentence
	Next    string        `json:"next,omitempty"` // what to do about it; empty when served
	Near    []NearMiss    `json:"near,omitempty"` // nearest first
	Waiting []WaitingFile `json:"waiting,omitempty"`
}

// A FoundFile is one file that carries a key asked for.
type FoundFile struct {
	Path      string            `json:"path"`
	Served    bool              `json:"served"` // this one answers the key
	Key       string            `json:"key"`
	Digest    catalog.Digest    `json:"sha256"`
	Candidate catalog.Candidate `json:"candidate"`
	Product   string            `json:"product"`
	Version   string            `json:"version"`
	Findings  []catalog.Finding `json:"findings,omitempty"` // first errors on the file, or else on its package as a whole
	At        time.Time         `json:"verdict_at,omitzero"`
	Holders   []string          `json:"holders,omitempty"` // names of members with a copy

	Quality []catalog.Quality `json:"quality,omitempty"` // what a debugger gets from it
	Reason  string            `json:"reason,omitempty"`  // why the package is stuck or was deleted, and by whom
	// DeletedAt is when the package was deleted, KnownUntil when its keys go from the
	// record; both by cluster time, which stands still while there is no leader.
	DeletedAt  time.Time `json:"deleted_at,omitzero"`
	KnownUntil time.Time `json:"known_until,omitzero"`
}

// A Relation says in what a near miss differs from the key asked for.
type Relation string

// Relations, the nearest first.
const (
	OtherArtifact Relation = "other-artifact" // same id: the executable instead of the debug information, or the reverse
	OtherForm     Relation = "other-form"     // same id in another format, such as Breakpad text of a PDB
	OtherName     Relation = "other-name"     // same id under another file name
	OtherAge      Relation = "other-age"      // same GUID with another age
	OtherID       Relation = "other-id"       // same file name with another id: another build
)

// A NearMiss is a key on record that is almost the one asked for.
type NearMiss struct {
	Relation Relation          `json:"relation"`
	Key      string            `json:"key"`
	Package  catalog.PackageID `json:"package"`
	State    catalog.State     `json:"state"` // of the package: good means that the key is served
	Product  string            `json:"product"`
	Version  string            `json:"version"`
}

// A WaitingFile has the name of the file asked for, in a package whose keys are not
// known yet.
type WaitingFile struct {
	Path    string            `json:"path"`
	Package catalog.PackageID `json:"package"`
	State   catalog.State     `json:"state"`
	Product string            `json:"product"`
	Version string            `json:"version"`
}
