package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// pushDirect pushes one package through the API, so that each request and what
// became of it is known. Some pushers die on the way.
func (c *client) pushDirect(ctx context.Context) {
	p := c.draw()
	p.key = fmt.Sprintf("torture-%016x%016x", c.random.Uint64(), c.random.Uint64())
	c.ledger.add(p)
	dies := c.random.IntN(12) // at steps 0 to 2; from 3 on it lives
	ctx, cancel := context.WithTimeout(ctx, pushLimit)
	defer cancel()
	if !c.open(ctx, p) || dies == 0 {
		c.tally.count("pushes", "direct given up when open")
		return
	}
	lacking, ok := c.announce(ctx, p)
	if !ok || dies == 1 {
		c.tally.count("pushes", "direct given up when announced")
		return
	}
	if !c.commit(ctx, p, lacking) || dies == 2 {
		c.tally.count("pushes", "direct given up at the commit")
		return
	}
	c.await(ctx, p)
}

func (c *client) open(ctx context.Context, p *pkg) bool {
	for ctx.Err() == nil {
		if _, end := c.openOnce(ctx, p); end == done {
			return true
		}
		c.rest(ctx, 400*time.Millisecond)
	}
	return false
}

// openOnce opens a package or finds it, and learns its state through the log.
func (c *client) openOnce(ctx context.Context, p *pkg) (answer, ending) {
	return c.try(ctx, p, stepOpen, func(ctx context.Context, at *api.Client) (answer, error) {
		r, err := at.Open(ctx, api.OpenRequest{IdempotencyKey: p.key, Product: c.product, Version: p.version()})
		if err == nil {
			c.tally.check(c.ledger.opened(p, r.Package))
		}
		return answer{state: string(r.State)}, err
	})
}

func (c *client) announce(ctx context.Context, p *pkg) ([]catalog.Digest, bool) {
	var r api.AddFilesRequest
	for i, f := range p.files {
		r.Files = append(r.Files, api.FileEntry{Path: p.inPackage(i), Size: f.size, SHA256: f.sum})
	}
	for ctx.Err() == nil {
		out, err := c.pool.at(c.anyURL()).AddFiles(ctx, c.ledger.identity(p), r)
		if end, _ := ended(err); end == done {
			return out.Lacking, true
		} else if end == refused || end == absurd {
			c.tally.bug("files of %s %s: %v", p.label(), c.ledger.identity(p), err)
			return nil, false
		}
		c.rest(ctx, 400*time.Millisecond)
	}
	return nil, false
}

// commit uploads what is lacking and commits, until that is done.
func (c *client) commit(ctx context.Context, p *pkg, lacking []catalog.Digest) bool {
	for ctx.Err() == nil {
		for _, d := range lacking {
			if !c.upload(ctx, p, d) {
				return false
			}
		}
		a, end := c.commitOnce(ctx, p, &lacking)
		switch {
		case end == done && !a.lacking:
			return true
		case end == refused || end == absurd:
			return false // the history tells whether that is right
		}
		c.rest(ctx, 400*time.Millisecond)
	}
	return false
}

// commitOnce commits, or learns the state through the log if that was done before.
func (c *client) commitOnce(ctx context.Context, p *pkg, lacking *[]catalog.Digest) (answer, ending) {
	c.ledger.committing(p)
	return c.try(ctx, p, stepCommit, func(ctx context.Context, at *api.Client) (answer, error) {
		r, err := at.Commit(ctx, c.ledger.identity(p), api.CommitRequest{Files: len(p.files)})
		if lacking != nil {
			*lacking = r.Lacking
		}
		return answer{state: string(r.State), lacking: len(r.Lacking) > 0}, err
	})
}

// upload sends one blob to one node after the other until one has taken it.
func (c *client) upload(ctx context.Context, p *pkg, d catalog.Digest) bool {
	i := slices.IndexFunc(p.files, func(f *file) bool { return f.sum == d })
	if i < 0 {
		c.tally.bug("%s %s lacks %s, which it has no file of", p.label(), c.ledger.identity(p), d)
		return false
	}
	content := p.files[i].bytes()
	for ctx.Err() == nil {
		rctx, cancel := context.WithTimeout(ctx, callLimit)
		err := c.uploadOnce(rctx, c.pool.at(c.anyURL()), c.ledger.identity(p), d, content)
		cancel()
		end, _ := ended(err)
		c.tally.count("calls", "upload "+outcomeName(end, err))
		switch {
		case end == done:
			return true
		case end == absurd:
			c.tally.bug("upload of %s for %s: %v", d, p.label(), err)
		}
		c.rest(ctx, 400*time.Millisecond)
	}
	return false
}

// uploadOnce begins at the offset that the node has acknowledged.
func (c *client) uploadOnce(ctx context.Context, at *api.Client, id catalog.PackageID, d catalog.Digest, content []byte) error {
	offset, complete, err := at.UploadOffset(ctx, id, d)
	if err != nil || complete {
		return err
	}
	if offset < 0 || offset > int64(len(content)) {
		return fmt.Errorf("%s acknowledges %d bytes of %d", at.Base(), offset, len(content))
	}
	r, err := at.Upload(ctx, id, d, offset, int64(len(content)), bytes.NewReader(content[offset:]))
	if err == nil && r.Digest != d {
		c.tally.bug("upload of %s at %s is receipted as %s", d, at.Base(), r.Digest)
	}
	return err
}

// await asks for the verdict until there is one. A package that is stuck is sent to
// validation again, as a person would do.
func (c *client) await(ctx context.Context, p *pkg) {
	id := c.ledger.identity(p)
	for ctx.Err() == nil {
		call := c.history.now()
		rctx, cancel := context.WithTimeout(ctx, callLimit)
		st, err := c.pool.at(c.anyURL()).Package(rctx, id, 5*time.Second)
		cancel()
		end, a := ended(err)
		switch {
		case end == refused:
			c.history.add(c.no, p, stepRead, call, a) // not found: never right
			return
		case end == absurd:
			c.tally.bug("%s %s: %v", p.label(), id, err)
		case end == done && st.State == catalog.StateStuck:
			c.tally.count("pushes", "stuck")
			c.try(ctx, p, stepRetry, func(ctx context.Context, at *api.Client) (answer, error) {
				return answer{}, at.Retry(ctx, id)
			})
		case end == done && (st.State == catalog.StateGood || st.State == catalog.StateFailed) && st.Visible:
			c.tally.count("pushes", "direct "+string(st.State))
			c.judged(ctx, p, catalog.Verdict(st.State), call)
			return
		}
		c.rest(ctx, 300*time.Millisecond)
	}
	c.tally.count("pushes", "direct without a verdict in time")
}

// judged enters a verdict that was waited for, and reads the package everywhere if
// it is good: the moment from which every node has to serve it.
func (c *client) judged(ctx context.Context, p *pkg, v catalog.Verdict, call int64) {
	c.history.add(c.no, p, stepVerdict, call, answer{state: string(v)})
	if err := c.ledger.judged(p, v, c.history.since(call)); err != nil {
		c.tally.bug("%v", err)
		return
	}
	if v == catalog.Good {
		c.readEverywhere(ctx, p, "after the verdict")
	}
}
