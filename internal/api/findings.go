package api

import (
	"context"

	"symkeep/internal/catalog"
)

// FindingsResponse is GET /api/v1/findings: every code that a finding can have.
type FindingsResponse struct {
	Findings []catalog.Check `json:"findings"`
}

// ClusterPolicy is GET /api/v1/cluster/policy, and answers a PolicyRequest. Both
// lists are sorted.
type ClusterPolicy struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// PolicyRequest is POST /api/v1/cluster/policy: it replaces the lists that are set
// here. A list that is empty but not nil ends the present one.
type PolicyRequest struct {
	Allow *[]string `json:"allow,omitempty"`
	Deny  *[]string `json:"deny,omitempty"`
}

// NewClusterPolicy returns a policy in the form of an answer.
func NewClusterPolicy(p catalog.Policy) ClusterPolicy {
	return ClusterPolicy{append([]string{}, p.Allow...), append([]string{}, p.Deny...)}
}

// Policy returns what an answer says.
func (p ClusterPolicy) Policy() catalog.Policy { return catalog.Policy{Allow: p.Allow, Deny: p.Deny} }

// Findings lists the codes that the server's build knows.
func (c *Client) Findings(ctx context.Context) (FindingsResponse, error) {
	var out FindingsResponse
	_, err := c.call(ctx, "GET", "/api/v1/findings", nil, &out)
	return out, err
}

// Policy returns the policy for every package.
func (c *Client) Policy(ctx context.Context) (ClusterPolicy, error) {
	var out ClusterPolicy
	_, err := c.call(ctx, "GET", "/api/v1/cluster/policy", nil, &out)
	return out, err
}

// SetPolicy changes the policy for every package that is validated from now on. An
// error that wraps catalog.ErrInvalid names codes that do not exist or cannot be
// allowed.
func (c *Client) SetPolicy(ctx context.Context, r PolicyRequest) (ClusterPolicy, error) {
	var out ClusterPolicy
	_, err := c.call(ctx, "POST", "/api/v1/cluster/policy", r, &out)
	return out, err
}
