package api

import "symkeep/internal/catalog"

// A Result is the last JSON object that `symkeep push` and `symkeep check` print.
type Result struct {
	Package  catalog.PackageID `json:"package,omitempty"` // absent for check
	Verdict  catalog.Verdict   `json:"verdict,omitempty"` // absent with --no-wait
	Findings []catalog.Finding `json:"findings"`          // package-level ones
	Files    []ResultFile      `json:"files"`
	State    catalog.State     `json:"state,omitempty"`
	Policy   *catalog.Policy   `json:"policy,omitempty"` // asked for by the push or check
	Judged   *catalog.Policy   `json:"judged,omitempty"` // what held for the verdict
}

// A ResultFile is one file of a Result.
type ResultFile struct {
	Path     string            `json:"path"` // relative to the PATH argument
	Kind     catalog.FileKind  `json:"kind"`
	Arch     string            `json:"arch"`
	Size     int64             `json:"size"`
	SHA256   catalog.Digest    `json:"sha256"`
	IDs      []catalog.IDs     `json:"ids"`
	Keys     []string          `json:"keys"`             // lookup paths in canonical case
	Quality  []catalog.Quality `json:"quality"`          // what a debugger gets from it: public, lines, types, unwind, sources
	Status   FileStatus        `json:"status,omitempty"` // absent where nobody pushed, as in `package show`
	Findings []catalog.Finding `json:"findings"`
}

// A FileStatus says what became of a file.
type FileStatus string

// File statuses.
const (
	FileUploaded     FileStatus = "uploaded"
	FileDeduplicated FileStatus = "deduplicated"
	FileChecked      FileStatus = "checked"
	FileIgnored      FileStatus = "ignored"
)
