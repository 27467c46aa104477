package catalog_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"symkeep/internal/catalog"
)

func policy(allow, deny string) catalog.Policy {
	split := func(s string) (codes []string) {
		for _, r := range s {
			codes = append(codes, string(r))
		}
		return codes
	}
	return catalog.Policy{Allow: split(allow), Deny: split(deny)}
}

// The first of these counts: the cluster denies, the push says something, the
// cluster allows.
func TestPolicyUnder(t *testing.T) {
	for _, tt := range []struct{ push, cluster, want catalog.Policy }{
		{policy("", ""), policy("", ""), policy("", "")},
		{policy("A", "B"), policy("", ""), policy("A", "B")},
		{policy("", ""), policy("A", "B"), policy("A", "B")},
		{policy("A", ""), policy("", "A"), policy("", "A")},
		{policy("", "A"), policy("A", ""), policy("", "A")},
		{policy("AC", "B"), policy("BD", "AE"), policy("CD", "ABE")},
	} {
		got := tt.push.Under(tt.cluster)
		if !got.Equal(tt.want) || got.Validate() != nil {
			t.Errorf("(%v).Under(%v) = %v, want %v", tt.push, tt.cluster, got, tt.want)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	var many []string
	for i := range catalog.MaxPolicyCodes + 1 {
		many = append(many, "A-"+strconv.Itoa(1000+i))
	}
	for _, bad := range []catalog.Policy{
		policy("BA", ""), policy("", "AA"), policy("A", "A"), policy("a", ""), policy(" ", ""), {Deny: []string{""}},
		{Allow: many}, {Allow: []string{"AéB"}},
	} {
		if err := bad.Validate(); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("Validate(%v) = %v, want ErrInvalid", bad, err)
		}
	}
	for _, good := range []catalog.Policy{{}, policy("AB", "CD"), {Deny: slices.Clone(many[1:])}} {
		if err := good.Validate(); err != nil {
			t.Errorf("Validate(%v) = %v, want nil", good, err)
		}
	}
	if err := (catalog.Settings{Replicas: 1, Policy: &catalog.Policy{Allow: []string{"?"}}}).Validate(); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("settings with a bad policy: %v, want ErrInvalid", err)
	}
}

func TestPolicyWeigh(t *testing.T) {
	p := policy("A", "B")
	for _, tt := range []struct{ in, want catalog.Finding }{
		{catalog.Finding{Code: "A", Severity: catalog.Error}, catalog.Finding{Code: "A", Severity: catalog.Warning, Policy: catalog.Allowed}},
		{catalog.Finding{Code: "A", Severity: catalog.Info}, catalog.Finding{Code: "A", Severity: catalog.Info}},
		{catalog.Finding{Code: "B", Severity: catalog.Info}, catalog.Finding{Code: "B", Severity: catalog.Error, Policy: catalog.Denied}},
		{catalog.Finding{Code: "B", Severity: catalog.Error}, catalog.Finding{Code: "B", Severity: catalog.Error}},
		{catalog.Finding{Code: "C", Severity: catalog.Error}, catalog.Finding{Code: "C", Severity: catalog.Error}},
	} {
		got := tt.in
		if p.Weigh(&got); got != tt.want {
			t.Errorf("Weigh(%+v) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}
