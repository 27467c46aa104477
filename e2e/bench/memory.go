package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

const (
	memoryClients = 100
	memoryTime    = 10 * time.Second
	memoryMost    = 300 << 20
)

// memory follows what a node has resident that is its own while a huge file is pushed
// to it and then read by many clients, each from another place on.
func memory(ctx context.Context, cfg config, t *table) error {
	n, err := newNode(cfg, "huge", "")
	if err != nil {
		return err
	}
	if err := n.start(ctx); err != nil {
		return err
	}
	defer n.stop()
	dir := filepath.Join(cfg.dir, "huge-files")
	if err := makeDirs(dir); err != nil {
		return err
	}
	f, err := makeFile(filepath.Join(dir, "huge.debug"), cfg.huge, zeros)
	if err != nil {
		return err
	}
	pushed, err := peak(n, func() error { return n.push(ctx, f.path) })
	if err != nil {
		return err
	}
	served, err := peak(n, func() error { return readMany(ctx, n, f) })
	if err != nil {
		return err
	}
	t.add(line{work: fmt.Sprintf("RssAnon of a node with a file of %.1f GiB", float64(f.size)/(1<<30)),
		values: []value{{"pushing", float64(pushed) / (1 << 20), "MiB"},
			{"serving", float64(served) / (1 << 20), fmt.Sprintf("MiB with %d clients", memoryClients)}},
		checks: []check{{what: "MiB", got: float64(max(pushed, served)) / (1 << 20), bound: memoryMost >> 20, atMost: true}}})
	return nil
}

// peak samples the memory of a node while fn runs.
func peak(n *node, fn func() error) (most int64, err error) {
	ended := make(chan error, 1)
	go func() { ended <- fn() }()
	for {
		if now, err := n.anonymous(); err == nil {
			most = max(most, now)
		}
		select {
		case err := <-ended:
			return most, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readMany has clients download the file for a while, every second of them gzip encoded
// and the others raw from some offset on.
func readMany(ctx context.Context, n *node, f *file) error {
	ctx, cancel := context.WithTimeout(ctx, memoryTime)
	defer cancel()
	errs := make([]error, memoryClients)
	var reading sync.WaitGroup
	for i := range memoryClients {
		reading.Go(func() {
			header := "Accept-Encoding: gzip\r\n"
			if i%2 == 1 {
				header = fmt.Sprintf("Range: bytes=%d-\r\n", f.size/memoryClients*int64(i))
			}
			errs[i] = readUntil(ctx, n.addr, f.debuginfo(), header)
		})
	}
	reading.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readUntil reads what comes until it is all there or ctx ends.
func readUntil(ctx context.Context, addr, path, header string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n%s\r\n", path, header); err != nil {
		return err
	}
	read, err := io.Copy(io.Discard, c.r)
	if ctx.Err() == nil && err != nil || read == 0 {
		return fmt.Errorf("GET %s: connection ends after %d bytes: %v", path, read, err)
	}
	return nil
}
