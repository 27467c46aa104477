package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// page is how many keys, files or entries are held at once.
const page = 500

// A pass brings part of the tree in line with the catalog, or all of it.
type pass struct {
	s *Share

	linked, copied, removed, present, foreign int64
	skipped                                   map[string]int
	failures                                  int
	first                                     error
	full                                      bool
}

// everything looks at every key, so that nothing is missing or wrong, then at
// every entry of the tree, so that nothing is left over. Between pages of keys,
// changed packages have the right of way.
func (p *pass) everything(ctx context.Context) {
	p.full = true
	after := symid.IndexKey("")
	for ctx.Err() == nil {
		keys, err := p.s.deps.Catalog.StoreKeys(ctx, after, page)
		if err != nil {
			p.fail(fmt.Errorf("list keys: %w", err))
			return
		}
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			p.key(ctx, k)
		}
		last := keys[len(keys)-1].Index()
		if last == after {
			p.fail(fmt.Errorf("list keys: %q follows itself", last))
			return
		}
		after = last
		p.drain(ctx)
	}
	if ctx.Err() == nil {
		p.sweep(ctx)
	}
}

// drain looks at the packages that changed.
func (p *pass) drain(ctx context.Context) {
	for ctx.Err() == nil {
		id, ok := p.s.next()
		if !ok {
			return
		}
		one := &pass{s: p.s}
		one.pkg(ctx, id)
		one.close()
		if p.failures == 0 {
			p.first = one.first
		}
		p.failures += one.failures
	}
}

func (p *pass) pkg(ctx context.Context, id catalog.PackageID) {
	for first := 0; ctx.Err() == nil; {
		files, err := p.s.deps.Catalog.Files(ctx, id, first, page)
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			p.fail(fmt.Errorf("package %s: files from %d: %w", id, first, err))
		}
		if err != nil || len(files) == 0 {
			return
		}
		for _, f := range files {
			for _, k := range f.Keys {
				p.key(ctx, k)
			}
			first = max(first, f.No) + 1
		}
	}
}

// key makes the tree hold what answers one key now.
func (p *pass) key(ctx context.Context, k symid.Key) {
	pl, why := placeOf(k)
	if why == skipKind || ctx.Err() != nil {
		return
	}
	c, err := p.s.deps.Catalog.Winner(ctx, k)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		p.drop(pl, why)
	case err != nil:
		p.fail(fmt.Errorf("key %s: %w", pl.file(), err))
	case why != skipNone:
		p.skip(why)
	default:
		p.settle(ctx, pl, c.Digest)
	}
}

func (p *pass) settle(ctx context.Context, pl place, d catalog.Digest) {
	switch done, err := p.s.put(ctx, pl, d); {
	case errors.Is(err, errNoCabinet):
		p.drop(pl, skipNone)
		p.skip(skipNoCabinet)
	case err != nil:
		p.fail(fmt.Errorf("key %s, blob %s: %w", pl.file(), d, err))
	case done == putLinked:
		p.linked++
	case done == putCopied:
		p.copied++
	default:
		p.present++
	}
}

func (p *pass) drop(pl place, why skip) {
	if why != skipNone {
		return // nothing of ours can be there
	}
	removed, err := p.s.tree.remove(pl)
	if err != nil {
		p.fail(err)
	}
	if removed {
		p.removed++
	}
}

func (p *pass) skip(why skip) {
	if p.skipped == nil {
		p.skipped = map[string]int{}
	}
	p.skipped[string(why)]++
}

func (p *pass) fail(err error) {
	if p.failures == 0 {
		p.first = err
	}
	p.failures++
}

// sweep removes the files of keys that nothing answers any more.
func (p *pass) sweep(ctx context.Context) {
	err := p.s.tree.each(".", func(e fs.DirEntry) error {
		switch name := e.Name(); {
		case name == markerName || name == tmpName || name == pingName:
		case !e.IsDir() || skipOf(name) != skipNone || symid.Fold(name) != name:
			p.foreign++
		default:
			p.sweepName(ctx, name)
		}
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		p.fail(err)
	}
}

func (p *pass) sweepName(ctx context.Context, name string) {
	err := p.s.tree.each(name, func(e fs.DirEntry) error {
		key, ok := keyOf(name, e.Name())
		if !e.IsDir() || !ok {
			p.foreign++
			return nil
		}
		p.sweepID(ctx, key, place{name, e.Name()})
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
		p.fail(err)
	}
}

func (p *pass) sweepID(ctx context.Context, key symid.Key, pl place) {
	_, err := p.s.deps.Catalog.Winner(ctx, key)
	gone := errors.Is(err, catalog.ErrNotFound)
	if err != nil && !gone {
		p.fail(fmt.Errorf("key %s: %w", pl.file(), err))
		return
	}
	err = p.s.tree.each(pl.dir(), func(e fs.DirEntry) error {
		if ours := path.Join(pl.dir(), e.Name()) == pl.file() && e.Type().IsRegular(); !ours || gone && !p.s.tree.isOurs(pl.file()) {
			p.foreign++
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.fail(err)
	}
	if gone {
		p.drop(pl, skipNone)
		p.s.tree.prune(pl) // a crash may have left it without the file
	}
}

// close touches pingme.txt if the tree changed, or has none, and adds to the
// totals.
func (p *pass) close() {
	changes := p.linked + p.copied + p.removed
	_, err := p.s.tree.root.Lstat(pingName)
	if changes > 0 || errors.Is(err, fs.ErrNotExist) {
		if err := p.s.tree.ping(p.s.deps.Now()); err != nil {
			p.fail(err)
		}
	}
	if changes > 0 {
		p.s.deps.Log.Debug("share tree changed", "linked", p.linked, "copied", p.copied, "removed", p.removed)
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	st := &p.s.stats
	st.Linked += p.linked
	st.Copied += p.copied
	st.Removed += p.removed
	st.Failed += int64(p.failures)
	if p.full {
		st.Passes++
		st.Present, st.Foreign, st.Skipped = p.present+p.linked+p.copied, p.foreign, p.skipped
	}
}
