package agenttest

import (
	"encoding/json"
	"fmt"
	"net/http"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// find answers a query from every package that has a verdict.
func (c *Cluster) find(q api.FindQuery) (api.FindResponse, error) {
	query, err := symid.ParseQuery(q.Q)
	if err != nil {
		return api.FindResponse{}, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	resp := api.FindResponse{Query: q.Q, Keys: api.KeyPaths(query.Keys), Found: []api.FoundFile{}, Answer: api.AnswerNeverSeen}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.order {
		p := c.packages[id]
		for _, f := range p.files {
			for _, k := range f.Keys {
				if asks(query, k) {
					resp.Found = append(resp.Found, api.FoundFile{
						Path: f.Path, Served: p.State == catalog.StateGood, Key: k.Paths()[0], Digest: f.SHA256, Product: p.Product, Version: p.Version,
						Candidate: catalog.Candidate{Package: id, File: f.No, Digest: f.SHA256, State: p.State}, Holders: []string{"n1"},
					})
					resp.Answer = answerOf(p.State, resp.Answer)
				}
			}
		}
	}
	if resp.Answer != api.AnswerServed {
		resp.Text, resp.Next = string(resp.Answer)+": says the test", "push"
	}
	return resp, nil
}

// asks reports whether a query means a key.
func asks(q symid.Query, k symid.Key) bool {
	for _, want := range q.Keys {
		if k.Index() == want.Index() {
			return true
		}
	}
	for _, id := range q.IDs {
		if id.Kind == k.Kind && len(k.ID) >= len(id.ID) && k.ID[:len(id.ID)] == id.ID {
			return true
		}
	}
	return false
}

func answerOf(s catalog.State, before api.Answer) api.Answer {
	switch {
	case s == catalog.StateGood || before == api.AnswerServed:
		return api.AnswerServed
	case s == catalog.StateTrashed:
		return api.AnswerDeleted
	case s == catalog.StateFailed:
		return api.AnswerFailed
	}
	return api.AnswerPending
}

func (c *Cluster) findOne(_ http.ResponseWriter, r *http.Request) (any, error) {
	return c.find(api.FindQuery{Q: r.URL.Query().Get("q"), Name: r.URL.Query().Get("name")})
}

func (c *Cluster) findMany(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req api.FindRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	out := api.FindAnswers{Answers: []api.FindResponse{}}
	for _, q := range req.Queries {
		a, err := c.find(q)
		if err != nil {
			return nil, err
		}
		out.Answers = append(out.Answers, a)
	}
	return out, nil
}
