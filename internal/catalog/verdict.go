package catalog

import (
	"strings"

	"symkeep/internal/symid"
)

// A Verdict is the outcome of validating a whole package.
type Verdict string

// Verdicts. There is no third one: a package nobody could validate is stuck.
const (
	Good   Verdict = "good"
	Failed Verdict = "failed"
)

// A Severity says what a finding does to the verdict.
type Severity string

// Severities. One error fails the package.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// A Finding is the result of one check. Its message names what was found, what
// was expected and what to do.
type Finding struct {
	Code     string   `json:"code"` // stable check id, such as PDB-TRUNC
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Policy   Weighed  `json:"policy,omitempty"` // what a Policy did to the severity; since feature level 3
}

// Label is the code, and what a policy did: "PDB-FASTLINK (allowed)".
func (f Finding) Label() string {
	if f.Policy == "" {
		return f.Code
	}
	return f.Code + " (" + string(f.Policy) + ")"
}

// Weighed says how a policy changed the severity of a finding; empty if it did not.
type Weighed string

// What policies do.
const (
	Allowed Weighed = "allowed" // an error became a warning
	Denied  Weighed = "denied"  // a warning or an info became an error
)

// A Check is one row of the contract with those who read findings: what a code
// means, what it does to a verdict, and what to do about it.
type Check struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"` // unless a check says otherwise for a milder or a worse case, or a policy does
	Format   string   `json:"format"`   // of files it is about, such as "PDB"
	Summary  string   `json:"summary"`
	Advice   string   `json:"advice,omitempty"`
	Fixed    string   `json:"fixed,omitempty"` // why no policy may allow it; empty if one may
}

// A RankedKey is a key that validation confirmed for a file, with the richness of
// what the file would give a debugger: the higher of two is served.
type RankedKey struct {
	Key  symid.Key `json:"key"`
	Rank int       `json:"rank"`
}

// A Quality is one thing that a debugger can do with a file.
type Quality string

// Qualities, in the order in which they are listed.
const (
	QualityPublic  Quality = "public"  // names of functions
	QualityLines   Quality = "lines"   // source lines of addresses
	QualityTypes   Quality = "types"   // types and variables
	QualityUnwind  Quality = "unwind"  // walks the stack without frame pointers
	QualitySources Quality = "sources" // source text inside, or where to fetch it
)

// Qualities lists them in order.
var Qualities = []Quality{QualityPublic, QualityLines, QualityTypes, QualityUnwind, QualitySources}

// QualityText lists qualities for people, such as "public lines types".
func QualityText(all []Quality) string {
	words := make([]string, len(all))
	for i, q := range all {
		words[i] = string(q)
	}
	return strings.Join(words, " ")
}

// A FileReport is what validation learned about one file.
type FileReport struct {
	No       int         `json:"no"`
	Kind     FileKind    `json:"kind"`
	Arch     string      `json:"arch,omitempty"`
	IDs      []IDs       `json:"ids,omitempty"`
	Keys     []RankedKey `json:"keys,omitempty"`
	Findings []Finding   `json:"findings,omitempty"`
	Quality  []Quality   `json:"quality,omitempty"` // each once, in the order of the constants; since feature level 3
}

// A Candidate is one file that a key may be answered with.
type Candidate struct {
	Package      PackageID `json:"package"`
	File         int       `json:"file"` // number within the package
	Name         string    `json:"name"` // base name of the file's path
	Digest       Digest    `json:"digest"`
	Rank         int       `json:"rank"`
	VerdictIndex uint64    `json:"verdict_index,omitempty"`
	State        State     `json:"state"` // of its package
}

// Count adds findings to the package's totals.
func (p *Package) Count(findings []Finding) {
	for _, f := range findings {
		switch f.Severity {
		case Error:
			p.Errors++
		case Warning:
			p.Warnings++
		default:
			p.Infos++
		}
	}
}
