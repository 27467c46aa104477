package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// Bounds of one answer.
const (
	foundLimit   = 20 // files that carry the key, of a single query
	foundOfMany  = 5  // the same when there are several queries
	findingLimit = 10 // errors shown of each file
	bareLimit    = 8  // keys that a bare id can mean, per kind
	nearLimit    = 5  // near misses
	waitingLimit = 5  // files of the name in packages without a verdict
)

// FindKeys tells who carries keys, in packages of any state, or why nobody does. It
// answers from this node's catalog under a negative lease, as a 404 is answered: what
// happened more than a second ago counts.
func (n *Node) FindKeys(ctx context.Context, queries []api.FindQuery) ([]api.FindResponse, error) {
	f := &finder{n: n, now: time.Now().UTC(), limit: foundLimit}
	if len(queries) > 1 {
		f.limit = foundOfMany
	}
	all := make([]*asked, len(queries))
	for i, q := range queries {
		parsed, err := symid.ParseQuery(q.Q)
		if err != nil {
			return nil, fmt.Errorf("find: %v: %w", err, catalog.ErrInvalid)
		}
		all[i] = newAsked(q, parsed)
	}
	if err := n.lease.acquire(ctx); err != nil {
		return nil, fmt.Errorf("find: this node cannot tell whether it is up to date: %v: %w", err, catalog.ErrUnavailable)
	}
	for _, a := range all {
		if err := f.lookUp(a); err != nil {
			return nil, err
		}
	}
	if err := f.findWaiting(all); err != nil {
		return nil, err
	}
	answers := make([]api.FindResponse, 0, len(queries))
	for _, a := range all {
		if err := f.findNear(a); err != nil {
			return nil, err
		}
		a.explain(f)
		answers = append(answers, a.out)
	}
	return answers, nil
}

// A finder answers the queries of one request.
type finder struct {
	n     *Node
	now   time.Time
	limit int // files per key
}

// asked is one query and what has been found out about it.
type asked struct {
	query symid.Query
	name  string // given beside the query
	keys  []symid.Key
	best  map[symid.IndexKey]api.Answer // per key; missing: no file carries it
	out   api.FindResponse
	says  []api.Answer // what each file of out.Found makes of its key
}

func newAsked(q api.FindQuery, parsed symid.Query) *asked {
	return &asked{query: parsed, name: symid.BaseName(q.Name), best: map[symid.IndexKey]api.Answer{},
		out: api.FindResponse{Query: q.Q, Keys: []string{}, Found: []api.FoundFile{}, Answer: api.AnswerNeverSeen}}
}

// lookUp finds the files that carry any of the keys, and the answer that they give.
func (f *finder) lookUp(a *asked) error {
	a.keys = a.query.Keys
	for _, id := range a.query.IDs {
		keys, err := f.withID(id.Kind, id.ID, bareLimit)
		if err != nil {
			return err
		}
		a.keys = append(a.keys, keys...)
	}
	for _, k := range a.keys {
		if shown := shownPath(k); !slices.Contains(a.out.Keys, shown) {
			a.out.Keys = append(a.out.Keys, shown)
		}
		if err := f.lookUpKey(a, k); err != nil {
			return err
		}
	}
	a.out.Answer = a.answer()
	return nil
}

func (f *finder) lookUpKey(a *asked, k symid.Key) error {
	candidates, err := f.n.fsm.LookupAll(k.Index(), f.limit)
	if err != nil {
		return err
	}
	served, found, err := f.n.fsm.Find([]symid.Key{k})
	if err != nil {
		return err
	}
	for _, c := range candidates {
		file, answer, err := f.foundFile(k, c)
		if errors.Is(err, catalog.ErrNotFound) {
			continue // went since
		}
		if err != nil {
			return err
		}
		file.Served = found && c == served
		if c.State == catalog.StateGood && !file.Served {
			answer = api.AnswerNeverSeen // nobody is given this one while another goes first
		}
		a.out.Found, a.says = append(a.out.Found, file), append(a.says, answer)
		if have, ok := a.best[k.Index()]; !ok || ranked(answer) < ranked(have) {
			a.best[k.Index()] = answer
		}
	}
	return nil
}

// withID lists the keys of a kind whose id begins with some bytes.
func (f *finder) withID(kind symid.Kind, prefix string, limit int) ([]symid.Key, error) {
	indexed, err := f.n.fsm.WithID(kind, prefix, limit)
	if err != nil {
		return nil, err
	}
	var keys []symid.Key
	for _, x := range indexed {
		if k, err := symid.ParseIndexKey(x); err == nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// foundFile describes one file that carries a key, and says what that makes of the key.
func (f *finder) foundFile(k symid.Key, c catalog.Candidate) (api.FoundFile, api.Answer, error) {
	p, err := f.n.fsm.Package(c.Package)
	if err != nil {
		return api.FoundFile{}, "", err
	}
	file, err := f.n.fsm.File(c.Package, c.File)
	if err != nil {
		return api.FoundFile{}, "", err
	}
	out := api.FoundFile{Path: file.Path, Key: shownPath(k), Digest: c.Digest, Candidate: c, Product: p.Product, Version: p.Version,
		At: p.VerdictAt, Quality: file.Quality, Reason: p.Reason, Findings: firstErrors(file.Findings)}
	if len(out.Findings) == 0 {
		out.Findings = firstErrors(p.Findings)
	}
	if out.Holders, err = f.holders(c.Digest); err != nil {
		return out, "", err
	}
	f.remembered(&out, p)
	return out, answerOf(p, len(out.Holders)), nil
}

// firstErrors picks what made a package fail.
func firstErrors(findings []catalog.Finding) (errs []catalog.Finding) {
	for _, f := range findings {
		if f.Severity == catalog.Error && len(errs) < findingLimit {
			errs = append(errs, f)
		}
	}
	return errs
}

// holders returns the names of the members that hold a blob.
func (f *finder) holders(d catalog.Digest) ([]string, error) {
	b, err := f.n.fsm.Blob(d)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, nil
	}
	var names []string
	for _, id := range b.Holders {
		if m, err := f.n.fsm.Member(id); err == nil {
			names = append(names, m.Name)
		}
	}
	return names, err
}

// remembered says when a package was deleted and until when its keys are on record.
func (f *finder) remembered(out *api.FoundFile, p catalog.Package) {
	if p.State == catalog.StateFailed {
		left := int64(p.Terminal) + raftfsm.KeepFailed - int64(f.n.fsm.ClusterTime())
		out.KnownUntil = f.in(max(left, 0))
		return
	}
	if r, err := f.n.fsm.Removal(p.ID); err == nil {
		out.DeletedAt, out.KnownUntil = f.in(-r.AgoMillis), f.in(r.KeptMillis)
	}
}

// in returns the time some milliseconds from now, to the second.
func (f *finder) in(millis int64) time.Time {
	return f.now.Add(time.Duration(millis) * time.Millisecond).Truncate(time.Second)
}

// answerOf says what a package makes of the keys it carries.
func answerOf(p catalog.Package, holders int) api.Answer {
	state := p.State
	if state == catalog.StateTrashed || state == catalog.StatePurged {
		if p.Previous == catalog.StateGood {
			return api.AnswerDeleted
		}
		state = p.Previous
	}
	switch {
	case state == catalog.StateGood && holders == 0:
		return api.AnswerLost
	case state == catalog.StateGood:
		return api.AnswerServed
	case state == catalog.StateStuck:
		return api.AnswerStuck
	case state == catalog.StateFailed:
		return api.AnswerFailed
	}
	return api.AnswerPending
}

// answerOrder is from the best to the worst.
var answerOrder = []api.Answer{api.AnswerServed, api.AnswerLost, api.AnswerPartial, api.AnswerPending, api.AnswerStuck,
	api.AnswerDeleted, api.AnswerFailed, api.AnswerNeverSeen}

func ranked(a api.Answer) int { return slices.Index(answerOrder, a) }

// answer is the best that the keys have. A bare id stands for all that a debugger
// asks under it: the executable alone is not enough.
func (a *asked) answer() api.Answer {
	best, partial := api.AnswerNeverSeen, api.AnswerNeverSeen
	for _, k := range a.keys {
		got, ok := a.best[k.Index()]
		switch {
		case !ok:
		case got == api.AnswerServed && len(a.query.IDs) > 0 && k.Artifact == symid.Executable && nameless(k):
			partial = api.AnswerPartial
		case ranked(got) < ranked(best):
			best = got
		}
	}
	if ranked(partial) < ranked(best) {
		return partial
	}
	return best
}

// nameless reports whether keys of the kind hold no file name.
func nameless(k symid.Key) bool { return k.Kind == symid.KindBuildID || k.Kind == symid.KindMachO }

// shownPath is the lookup path to show for a key.
func shownPath(k symid.Key) string {
	if k.Name == "" && k.Kind == symid.KindMachO {
		k.Name = "_"
	}
	return k.Paths()[0]
}
