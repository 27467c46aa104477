package main

import (
	"context"

	"symkeep/internal/api"
)

// remove deletes a package once.
func (c *client) remove(ctx context.Context, p *pkg) ending {
	finish := c.ledger.deleting(p, c.history.now())
	_, end := c.try(ctx, p, stepDelete, func(ctx context.Context, at *api.Client) (answer, error) {
		return answer{}, at.Delete(ctx, c.ledger.identity(p), api.DeleteRequest{By: "torture"})
	})
	finish(c.history.now(), end != never && end != refused, end == done)
	return end
}

// restore undeletes a package once.
func (c *client) restore(ctx context.Context, p *pkg) ending {
	call := c.history.now()
	_, end := c.try(ctx, p, stepUndelete, func(ctx context.Context, at *api.Client) (answer, error) {
		return answer{}, at.Undelete(ctx, c.ledger.identity(p))
	})
	if end == done {
		c.ledger.undeleted(p, c.history.since(call))
	}
	return end
}

// look reads the state of a package through the log.
func (c *client) look(ctx context.Context) {
	ps := c.ledger.snapshot()
	if len(ps) == 0 {
		return
	}
	p := ps[c.random.IntN(len(ps))]
	c.consult(ctx, p)
}

// consult reads the state of a package through the log: opening it again by its
// key, or committing it again, changes nothing and tells the state.
func (c *client) consult(ctx context.Context, p *pkg) (answer, ending) {
	id, verdict, _, _ := c.ledger.view(p)
	switch {
	case p.key != "":
		return c.openOnce(ctx, p)
	case id != "" && verdict != "":
		return c.commitOnce(ctx, p, nil)
	}
	return answer{}, never
}

// readSomething is a debugger that asks for one file.
func (c *client) readSomething(ctx context.Context) {
	ps := c.ledger.snapshot()
	if len(ps) == 0 {
		return
	}
	i := c.random.IntN(len(ps))
	if c.random.IntN(2) == 0 {
		i = len(ps) - 1 - c.random.IntN(min(len(ps), 20))
	}
	p := ps[i]
	q := query{mode: mode(c.random.IntN(int(modes))), file: p.files[c.random.IntN(len(p.files))]}
	if c.random.IntN(12) == 0 {
		q.file = newFile(c.random) // nobody has it
	}
	q.from = c.random.Int64N(q.file.size)
	q.to = q.from + c.random.Int64N(q.file.size-q.from)
	web := c.web
	if c.random.IntN(2) == 0 {
		web = c.fresh
	}
	c.read(ctx, web, c.anyURL(), q, "at random")
}

// readEverywhere asks every member for one file of a package.
func (c *client) readEverywhere(ctx context.Context, p *pkg, why string) {
	f := p.files[c.random.IntN(len(p.files))]
	answers := make(chan struct{})
	us := c.site.urls()
	for _, u := range us {
		go func() {
			c.read(ctx, c.fresh, u, query{mode: modeWhole, file: f}, why)
			answers <- struct{}{}
		}()
	}
	for range us {
		<-answers
	}
}
