package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// foreign compares a node that holds the blobs with one that does not, in a cluster
// that keeps one copy of each. What it does not hold it has fetched once before.
func foreign(ctx context.Context, cfg config, t *table) error {
	a, err := newNode(cfg, "a", "", "--replicas", "1")
	if err != nil {
		return err
	}
	if err := a.start(ctx); err != nil {
		return err
	}
	defer a.stop()
	b, err := newNode(cfg, "b", a.gossip)
	if err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.stop()
	if err := b.await(ctx, b.url()+"/readyz?for=ingest", isOK); err != nil {
		return err
	}
	src := filepath.Join(cfg.dir, "pair")
	if err := makeDirs(src); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		size int64
		load load
	}{
		{"16 KiB", 16 << 10, load{conns: 16}},
		{"50 MiB raw", 50 << 20, load{conns: 4}},
		{"20 MiB gzip", 51 << 20, load{conns: 4, gzip: true}},
	} {
		f, err := makeFile(filepath.Join(src, fmt.Sprintf("pair%d.debug", kind.size)), kind.size, code(int(kind.size>>10)))
		if err != nil {
			return err
		}
		if err := a.push(ctx, f.path); err != nil {
			return err
		}
		local, far, err := sides(ctx, f, a, b)
		if err != nil {
			return err
		}
		l, err := compare(ctx, cfg, f, local, far, kind.load)
		if err != nil {
			return err
		}
		l.work = "hit, " + kind.name + ", by a node that lacks the blob, after the first time"
		t.add(l)
	}
	return nil
}

// settled is how long the copies have to lie as they do: one that was pushed to the
// wrong node moves.
const settled = 3 * time.Second

// sides waits until one node alone has the blob, and goes on having it, and tells which.
func sides(ctx context.Context, f *file, a, b *node) (local, far *node, err error) {
	since, was := time.Now(), [2]bool{}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if is := [2]bool{a.holds(f), b.holds(f)}; is != was {
			since, was = time.Now(), is
		}
		switch {
		case time.Since(since) < settled || was[0] == was[1]:
		case was[0]:
			return a, b, nil
		default:
			return b, a, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("%s: wanted one copy, on one of two nodes", f.path), ctx.Err())
}

// compare puts a load on both nodes in turn.
func compare(ctx context.Context, cfg config, f *file, local, far *node, l load) (line, error) {
	encoding := ""
	if l.gzip {
		encoding = "gzip"
	}
	for range 2 {
		for _, n := range []*node{local, far} {
			if _, err := fetch(ctx, n.url()+f.debuginfo(), encoding, io.Discard); err != nil {
				return line{}, err
			}
		}
	}
	var rates [2][]float64
	for range cfg.rounds {
		for i, n := range []*node{local, far} {
			rate, err := shoot(ctx, cfg.dir, &server{name: "symkeep", addr: n.addr}, l, []string{f.debuginfo()}, cfg.shot)
			if err != nil {
				return line{}, err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	holder, other := median(rates[0]), median(rates[1])
	if far.holds(f) {
		return line{}, fmt.Errorf("%s: the other node holds it by now", f.path)
	}
	return line{
		values: []value{{"the holder", holder, "requests/s"}, {"the other", other, "requests/s"}},
		checks: []check{{what: "x the holder", got: other / holder, bound: 0.8}},
	}, nil
}
