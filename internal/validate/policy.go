package validate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"symkeep/internal/catalog"
)

// codeMore counts findings that are not listed. It is no check, and no policy.
const codeMore = "GEN-MORE"

// familyNames names the formats by the first part of their codes.
var familyNames = map[string]string{
	"GEN": "any file", "PE": "PE", "PDB": "PDB", "PPDB": "portable PDB", "ELF": "ELF", "MO": "Mach-O", "SYM": "Breakpad .sym",
	"WASM": "WebAssembly", "DBG": ".dbg", "R2RMAP": "map of ReadyToRun code",
}

// Checks returns the contract: one row for each of Codes, in their order.
func Checks() []catalog.Check {
	all := make([]catalog.Check, len(Codes))
	for i, c := range Codes {
		prefix, _, _ := strings.Cut(c.ID, "-")
		all[i] = catalog.Check{
			Code: c.ID, Severity: c.Severity, Format: familyNames[prefix], Summary: c.Summary, Advice: c.Advice, Fixed: whyFixed[c.ID],
		}
	}
	return all
}

// ParsePolicy makes a policy of codes as people write them: in any order and case.
// Errors are those of CheckPolicy.
func ParsePolicy(allow, deny []string) (catalog.Policy, error) {
	p := catalog.Policy{Allow: codesOf(allow), Deny: codesOf(deny)}
	return p, CheckPolicy(p)
}

// codesOf folds and sorts codes and leaves out those that are there twice.
func codesOf(texts []string) []string {
	var codes []string
	for _, t := range texts {
		codes = append(codes, strings.ToUpper(strings.TrimSpace(t)))
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// CheckPolicy refuses a policy of codes that are not in the table, one that allows
// what is fixed, and what Policy.Validate refuses. The error names every bad code
// and wraps catalog.ErrInvalid.
func CheckPolicy(p catalog.Policy) error {
	var errs []error
	for _, code := range slices.Concat(p.Allow, p.Deny) {
		if codeByID[code] == nil || code == codeMore {
			errs = append(errs, fmt.Errorf("%.80q is no code of a finding, `symkeep findings` lists them", code))
		}
	}
	for _, code := range p.Allow {
		if why := whyFixed[code]; why != "" {
			errs = append(errs, fmt.Errorf("%s cannot be allowed: %s", code, why))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("policy: %s: %w", strings.ReplaceAll(err.Error(), "\n", "; "), catalog.ErrInvalid)
	}
	return p.Validate()
}

// weigh gives what was found its severity under the policy. An error stays one where
// the code is fixed, which the build that made the policy need not have known, and
// where the file has no key. Files that a scan passes over are not part of the
// package: their findings stay.
func (s *subject) weigh(p catalog.Policy) {
	if s.ignored {
		return
	}
	for i := range s.found {
		f := &s.found[i].Finding
		if f.Severity != catalog.Error || whyFixed[f.Code] == "" && len(s.Keys) > 0 {
			p.Weigh(f)
		}
	}
}
