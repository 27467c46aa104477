package node

import (
	"context"
	"fmt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/validate"
	"symkeep/raftfsm"
)

// ShowPolicy returns the policy for every package.
func (n *Node) ShowPolicy(context.Context) (api.ClusterPolicy, error) {
	if n.consensus() == nil {
		return api.ClusterPolicy{}, errNoCluster
	}
	return api.NewClusterPolicy(catalog.PolicyOf(n.settings().Policy)), nil
}

// SetPolicy changes the policy for every package that is validated from now on. A
// verdict that was given stays.
func (n *Node) SetPolicy(ctx context.Context, r api.PolicyRequest) (api.ClusterPolicy, error) {
	if n.consensus() == nil {
		return api.ClusterPolicy{}, errNoCluster
	}
	if err := n.confirmApplied(ctx); err != nil { // what is not named stays as it is, wherever that was set
		return api.ClusterPolicy{}, fmt.Errorf("policy: %w", err)
	}
	next := catalog.PolicyOf(n.settings().Policy)
	if r.Allow != nil {
		next.Allow = *r.Allow
	}
	if r.Deny != nil {
		next.Deny = *r.Deny
	}
	next, err := validate.ParsePolicy(next.Allow, next.Deny)
	if err != nil {
		return api.ClusterPolicy{}, err
	}
	if _, err := n.propose(ctx, raftfsm.ChangeSettings{Policy: &next}); err != nil {
		return api.ClusterPolicy{}, err
	}
	n.log.Info("policy changed", "policy", next.String())
	return n.ShowPolicy(ctx)
}

// effective returns the policy that a package is judged under now.
func (n *Node) effective(p catalog.Package) catalog.Policy {
	return catalog.PolicyOf(p.Policy).Under(catalog.PolicyOf(n.settings().Policy))
}
