package api

import (
	"context"
	"net/url"

	"symkeep/internal/catalog"
)

// Maintenance announces that a member will be away, or takes that back.
func (c *Client) Maintenance(ctx context.Context, r NodeRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/maintenance", r, nil)
	return err
}

// TransferLeader makes another voter lead, and returns once one does.
func (c *Client) TransferLeader(ctx context.Context, r NodeRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/transfer-leader", r, nil)
	return err
}

// Check asks what would go wrong next.
func (c *Client) Check(ctx context.Context) (CheckReport, error) {
	var out CheckReport
	_, err := c.call(ctx, "GET", "/api/v1/cluster/check", nil, &out)
	return out, err
}

// Layout returns where copies belong now, as a plan that changes nothing.
func (c *Client) Layout(ctx context.Context) (LayoutPlan, error) {
	var out LayoutPlan
	_, err := c.call(ctx, "GET", "/api/v1/cluster/layout", nil, &out)
	return out, err
}

// PlanLayout computes what a change of the layout would move.
func (c *Client) PlanLayout(ctx context.Context, r LayoutRequest) (LayoutPlan, error) {
	var out LayoutPlan
	_, err := c.call(ctx, "POST", "/api/v1/cluster/layout/plan", r, &out)
	return out, err
}

// ApplyLayout changes the layout. The answer is the plan that was applied, with the
// new version as its base. An error that wraps catalog.ErrConflict says that the
// layout is no longer the one that was planned on.
func (c *Client) ApplyLayout(ctx context.Context, r LayoutRequest) (LayoutPlan, error) {
	var out LayoutPlan
	_, err := c.call(ctx, "POST", "/api/v1/cluster/layout/apply", r, &out)
	return out, err
}

// Repl returns how repair and scrub are doing on every member.
func (c *Client) Repl(ctx context.Context) (ReplResponse, error) {
	var out ReplResponse
	_, err := c.call(ctx, "GET", "/api/v1/cluster/repl", nil, &out)
	return out, err
}

// SetRepl changes how repair and scrub go, and returns what came of it.
func (c *Client) SetRepl(ctx context.Context, r ReplRequest) (ReplResponse, error) {
	var out ReplResponse
	_, err := c.call(ctx, "POST", "/api/v1/cluster/repl", r, &out)
	return out, err
}

// Feature returns the feature level in use and what each member understands.
func (c *Client) Feature(ctx context.Context) (FeatureStatus, error) {
	var out FeatureStatus
	_, err := c.call(ctx, "GET", "/api/v1/cluster/feature", nil, &out)
	return out, err
}

// RaiseFeature raises the feature level, by one if r names none. An error that
// wraps catalog.ErrConflict says which member does not understand it.
func (c *Client) RaiseFeature(ctx context.Context, r FeatureRequest) (FeatureStatus, error) {
	var out FeatureStatus
	_, err := c.call(ctx, "POST", "/api/v1/cluster/feature", r, &out)
	return out, err
}

// ClearAlarms ends the standing alarms that match.
func (c *Client) ClearAlarms(ctx context.Context, r AlarmRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/alarms/clear", r, nil)
	return err
}

// Check asks a node about itself, and whether it reaches the members that ask
// names by id.
func (p *PeerClient) Check(ctx context.Context, addr string, ask []catalog.NodeID) (PeerCheck, error) {
	q := url.Values{}
	for _, id := range ask {
		q.Add("ask", string(id))
	}
	var out PeerCheck
	_, err := p.at(addr).call(ctx, "GET", "/peer/v1/check?"+q.Encode(), nil, &out)
	return out, err
}

// Scrub makes a node verify all of its copies, beginning now.
func (p *PeerClient) Scrub(ctx context.Context, addr string) error {
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/scrub", nil, nil)
	return err
}

// TransferLeader asks the leader to hand over, to the node with this id or, if it
// is empty, to any voter. Errors wrap ErrNotLeader when the asked node does not
// lead.
func (p *PeerClient) TransferLeader(ctx context.Context, addr string, to catalog.NodeID) error {
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/transfer-leader?to="+string(to), nil, nil)
	return err
}

// RaiseFeature asks the leader to raise the feature level. Errors wrap ErrNotLeader
// when the asked node does not lead.
func (p *PeerClient) RaiseFeature(ctx context.Context, addr string, r FeatureRequest) error {
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/feature", r, nil)
	return err
}
