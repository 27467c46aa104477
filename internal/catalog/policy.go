package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// A Policy gives findings another weight than the table of codes does. A code is in
// one of the lists at most; both are sorted and hold each code once. The zero value
// changes nothing.
type Policy struct {
	Allow []string `json:"allow,omitempty"` // an error of these codes is a warning
	Deny  []string `json:"deny,omitempty"`  // a warning or an info of these codes is an error
}

// Bounds of a Policy.
const (
	MaxPolicyCodes = 256 // in each list
	MaxCode        = 64  // bytes of a code
)

// IsZero reports whether p changes nothing.
func (p Policy) IsZero() bool { return len(p.Allow)+len(p.Deny) == 0 }

// Equal reports whether p and o weigh every finding alike.
func (p Policy) Equal(o Policy) bool {
	return slices.Equal(p.Allow, o.Allow) && slices.Equal(p.Deny, o.Deny)
}

// Ref returns a copy of p to store, nil if p changes nothing.
func (p Policy) Ref() *Policy {
	if p.IsZero() {
		return nil
	}
	return &Policy{slices.Clone(p.Allow), slices.Clone(p.Deny)}
}

// PolicyOf returns what p points to, and the zero value for nil.
func PolicyOf(p *Policy) Policy {
	if p == nil {
		return Policy{}
	}
	return *p
}

// Validate refuses lists that are not sorted, too long, have a code in common, or
// hold what is not upper-case letters, digits and hyphens. Whether a code exists is
// not looked at: builds know different ones. Errors wrap ErrInvalid.
func (p Policy) Validate() error {
	if err := checkCodes("allow", p.Allow); err != nil {
		return err
	}
	if err := checkCodes("deny", p.Deny); err != nil {
		return err
	}
	for _, code := range p.Allow {
		if p.denies(code) {
			return fmt.Errorf("policy: code %s is allowed and denied: wanted one of both: %w", code, ErrInvalid)
		}
	}
	return nil
}

func checkCodes(what string, codes []string) error {
	if len(codes) > MaxPolicyCodes {
		return fmt.Errorf("policy: %d codes to %s, wanted at most %d: %w", len(codes), what, MaxPolicyCodes, ErrInvalid)
	}
	for i, code := range codes {
		if !plainCode(code) || i > 0 && codes[i-1] >= code {
			return fmt.Errorf("policy: code %.80q to %s: wanted sorted codes such as PDB-FASTLINK, each once: %w", code, what, ErrInvalid)
		}
	}
	return nil
}

func plainCode(code string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return code != "" && len(code) <= MaxCode && strings.Trim(code, alphabet) == ""
}

func (p Policy) allows(code string) bool {
	_, ok := slices.BinarySearch(p.Allow, code)
	return ok
}

func (p Policy) denies(code string) bool {
	_, ok := slices.BinarySearch(p.Deny, code)
	return ok
}

// Under returns what holds for a package that was pushed with p where the cluster
// has the policy c. For each code the first of these counts: c denies it, p denies
// or allows it, c allows it.
func (p Policy) Under(c Policy) Policy {
	var out Policy
	for _, code := range union(c.Allow, c.Deny, p.Allow, p.Deny) {
		switch {
		case c.denies(code), p.denies(code):
			out.Deny = append(out.Deny, code)
		default:
			out.Allow = append(out.Allow, code)
		}
	}
	return out
}

// union returns the codes of lists, sorted, each once.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Weigh gives f the severity it has under p, and notes that in it.
func (p Policy) Weigh(f *Finding) {
	switch {
	case f.Severity == Error && p.allows(f.Code):
		f.Severity, f.Policy = Warning, Allowed
	case f.Severity != Error && p.denies(f.Code):
		f.Severity, f.Policy = Error, Denied
	}
}

// String lists the codes, such as "allows PDB-FASTLINK, denies PDB-NOLINES"; it is
// empty for the zero value.
func (p Policy) String() string {
	var parts []string
	if len(p.Allow) > 0 {
		parts = append(parts, "allows "+strings.Join(p.Allow, " "))
	}
	if len(p.Deny) > 0 {
		parts = append(parts, "denies "+strings.Join(p.Deny, " "))
	}
	return strings.Join(parts, ", ")
}
