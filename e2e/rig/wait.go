package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// StartCluster starts every node, the first as the founder, and waits until all
// are members and healthy. Later starts, of the founder too, join.
func (r *Rig) StartCluster(ctx context.Context) error {
	r.hosts[0].found = true
	for _, h := range r.hosts {
		if err := h.Start(); err != nil {
			return err
		}
	}
	return r.WaitHealthy(ctx, len(r.hosts))
}

// WaitHealthy waits until every running node says that the cluster has want
// members and is healthy. The error is the latest reason why not.
func (r *Rig) WaitHealthy(ctx context.Context, want int) error {
	return Eventually(ctx, time.Hour, func() error {
		for _, h := range r.Running() {
			st, err := h.Status(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
			if !st.Healthy || len(st.Nodes) != want {
				return fmt.Errorf("%s sees %d members of %d, healthy %v: %v", h.Name, len(st.Nodes), want, st.Healthy, st.Reasons)
			}
		}
		return nil
	})
}

// Leader waits until most of the running nodes name the same leader and its process
// runs, and returns its host.
func (r *Rig) Leader(ctx context.Context) (found *Host, err error) {
	err = Eventually(ctx, time.Hour, func() error {
		running := r.Running()
		votes := map[string]int{}
		for _, h := range running {
			st, err := h.Status(ctx)
			if err != nil {
				continue // a minority may be unable to say
			}
			for _, n := range st.Nodes {
				if n.ID == st.Leader {
					votes[n.Name]++
				}
			}
		}
		for _, h := range running {
			if 2*votes[h.Name] > len(running) {
				found = h
				return nil
			}
		}
		return fmt.Errorf("of %d running nodes, these are named leader so often: %v", len(running), votes)
	})
	return found, err
}

// Status asks this host's node about the cluster. The answer may take 5 s.
func (h *Host) Status(ctx context.Context) (api.ClusterStatus, error) {
	client, err := h.Client()
	if err != nil {
		return api.ClusterStatus{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return client.Cluster(ctx)
}

// Client returns a client of this host's node; the caller closes it.
func (h *Host) Client() (*api.Client, error) { return api.NewClient(h.URL()) }

// ID asks any running node for this host's member id.
func (h *Host) ID(ctx context.Context) (catalog.NodeID, error) {
	err := errors.New("no node runs")
	for _, o := range h.rig.Running() {
		var st api.ClusterStatus
		if st, err = o.Status(ctx); err != nil {
			continue
		}
		for _, n := range st.Nodes {
			if n.Name == h.Name {
				return n.ID, nil
			}
		}
		err = fmt.Errorf("%s names no member %s", o.Name, h.Name)
	}
	return "", err
}

// Eventually calls f every 50 ms until it returns nil, and otherwise returns its
// latest error after the limit or at the end of ctx.
func Eventually(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := time.Now()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", time.Since(begun).Round(time.Millisecond), err)
		case <-time.After(50 * time.Millisecond): // polling processes; nothing to wait on
		}
	}
}
