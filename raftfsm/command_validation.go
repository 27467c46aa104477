package raftfsm

import (
	"time"

	"symkeep/internal/catalog"
)

// ClaimValidation gives a member the right to validate a committed package for
// ClaimTime. The value is the catalog.Claim: its token goes with every later
// command. A package claimed by another is ErrConflict; the claim a node holds
// already is returned to it again.
type ClaimValidation struct {
	Package catalog.PackageID `json:"package"`
	Node    catalog.NodeID    `json:"node"`
}

// RenewClaim extends a claim to ClaimTime from now. The value is the catalog.Claim.
type RenewClaim struct {
	Package catalog.PackageID `json:"package"`
	Token   uint64            `json:"token"`
}

// ReleaseClaim gives a package back: at once to another validator, and without
// counting an attempt unless the validator died on it.
type ReleaseClaim struct {
	Package catalog.PackageID `json:"package"`
	Token   uint64            `json:"token"`
	Died    bool              `json:"died,omitempty"`
	At      time.Time         `json:"at,omitzero"`
}

// AddKeys writes what validation learned about files, hidden until the verdict.
// Reports carry no findings. A report sent twice under one token must be the same.
type AddKeys struct {
	Package catalog.PackageID    `json:"package"`
	Token   uint64               `json:"token"`
	Reports []catalog.FileReport `json:"reports"`
}

// AddFindings writes findings First, First+1 and so on of one file, or of the
// package itself if File is -1. Findings that are there already must be the same.
type AddFindings struct {
	Package  catalog.PackageID `json:"package"`
	Token    uint64            `json:"token"`
	File     int               `json:"file"`
	First    int               `json:"first"`
	Findings []catalog.Finding `json:"findings"`
}

// RecordVerdict ends validation. Every file must be reported under the token. Any
// finding of severity error, and any key that a good package serves with other
// bytes of equal rank (GEN-CONFLICT), makes the verdict failed. Findings are
// package-level ones that follow those of AddFindings; a conflict is an error under
// any policy. The value is a VerdictValue; repeating it under the same token returns
// the same verdict.
type RecordVerdict struct {
	Package  catalog.PackageID `json:"package"`
	Token    uint64            `json:"token"`
	Files    int               `json:"files"` // reported
	Findings []catalog.Finding `json:"findings,omitempty"`
	At       time.Time         `json:"at"`
	Policy   *catalog.Policy   `json:"policy,omitempty"` // that the findings were weighed by; level 3
}

// VerdictValue answers RecordVerdict.
type VerdictValue struct {
	Verdict   catalog.Verdict `json:"verdict"`
	Index     uint64          `json:"index"` // log index of the verdict
	Conflicts int             `json:"conflicts,omitempty"`
}

// Kind implements Command.
func (ClaimValidation) Kind() Kind { return KindClaimValidation }

// Kind implements Command.
func (RenewClaim) Kind() Kind { return KindRenewClaim }

// Kind implements Command.
func (ReleaseClaim) Kind() Kind { return KindReleaseClaim }

// Kind implements Command.
func (AddKeys) Kind() Kind { return KindAddKeys }

// Kind implements Command.
func (AddFindings) Kind() Kind { return KindAddFindings }

// Kind implements Command.
func (RecordVerdict) Kind() Kind { return KindRecordVerdict }
