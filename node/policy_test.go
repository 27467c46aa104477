package node

import (
	"fmt"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// testPolicy sets the policy of the cluster and opens packages with one. What makes
// no sense is refused whoever says it, and nothing of it is kept.
func testPolicy(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[1], t.Context()
	set, err := n.c.SetPolicy(ctx, api.PolicyRequest{Allow: &[]string{"SYM-EMPTY"}, Deny: &[]string{"SYM-NAME", "PDB-AGE"}})
	if err != nil || set.Policy().String() != "allows SYM-EMPTY, denies PDB-AGE SYM-NAME" {
		t.Fatalf("set policy = %+v, %v", set, err)
	}
	for what, r := range map[string]api.PolicyRequest{
		"no code": {Deny: &[]string{"NO-SUCH"}}, "fixed": {Allow: &[]string{"ELF-NOID"}}, "both": {Allow: &[]string{"PDB-AGE"}},
	} {
		_, err := n.c.SetPolicy(ctx, r)
		wantError(t, "policy with "+what, err, catalog.ErrInvalid)
	}
	for _, other := range nodes { // each tells what it has applied
		var got api.ClusterPolicy
		eventually(t, 10*time.Second, func() bool {
			got, err = other.c.Policy(ctx)
			return err == nil && got.Policy().Equal(set.Policy())
		}, func() string {
			return fmt.Sprintf("policy on %s = %+v, %v, want %+v", other.cfg.Name, got, err, set)
		})
	}

	open := api.OpenRequest{IdempotencyKey: "policy", Product: "app", Version: "1", Policy: &catalog.Policy{Deny: []string{"SYM-EMPTY"}}}
	r, err := n.c.Open(ctx, open)
	if err != nil || !catalog.PolicyOf(r.Policy).Equal(*open.Policy) {
		t.Fatalf("open with a policy = %+v, %v", r, err)
	}
	open.Policy = nil
	_, err = n.c.Open(ctx, open)
	wantError(t, "open of the same package with another policy", err, catalog.ErrConflict)
	open.IdempotencyKey, open.Policy = "fixed", &catalog.Policy{Allow: []string{"GEN-CONFLICT"}}
	_, err = n.c.Open(ctx, open)
	wantError(t, "open with what is fixed", err, catalog.ErrInvalid)

	if none, err := n.c.SetPolicy(ctx, api.PolicyRequest{Allow: &[]string{}, Deny: &[]string{}}); err != nil || !none.Policy().IsZero() {
		t.Errorf("clear policy = %+v, %v", none, err)
	}
	table, err := n.c.Findings(ctx)
	if err != nil || len(table.Findings) < 90 || table.Findings[0].Code != "GEN-EMPTY" || table.Findings[0].Fixed == "" {
		t.Errorf("findings = %+v, %v, want the table of codes", table, err)
	}
}
