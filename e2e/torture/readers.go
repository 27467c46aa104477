package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// A mode is how a debugger asks.
type mode int

const (
	modeWhole mode = iota
	modeGzip
	modeCabinet
	modeHead
	modeRange
	modes
)

// A query is one request of a debugger.
type query struct {
	mode     mode
	file     *file
	from, to int64 // modeRange: first and last byte
}

func (q query) request(ctx context.Context, base string) (*http.Request, error) {
	method, path := "GET", q.file.path()
	switch q.mode {
	case modeHead:
		method = "HEAD"
	case modeCabinet:
		path = q.file.packedPath()
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, err
	}
	switch q.mode {
	case modeGzip:
		req.Header.Set("Accept-Encoding", "gzip")
	case modeRange:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.from, q.to))
	}
	return req, nil
}

// read asks one node and judges the answer. A connection that breaks or hangs is
// none: debuggers ask again. It returns the status, 0 when there was none.
func (c *client) read(ctx context.Context, web *http.Client, base string, q query, why string) int {
	req, err := q.request(ctx, base)
	if err != nil {
		c.tally.bug("the harness cannot ask %s: %v", base, err)
		return 0
	}
	call := c.history.now()
	resp, err := web.Do(req)
	if err != nil {
		c.tally.count("reads", "no answer")
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.tally.count("reads", "broken off")
		return 0
	}
	c.tally.count("reads", strconv.Itoa(resp.StatusCode))
	if fault := c.ledger.judge(q, resp, body, c.history.since(call)); fault != nil {
		c.tally.bug("%s: %s %s %s: %v", why, req.Method, req.URL, req.Header.Get("Range"), fault)
	}
	return resp.StatusCode
}

// judge returns what is wrong with an answer that was whole.
func (l *ledger) judge(q query, resp *http.Response, body []byte, at span) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return q.compare(resp, body, l.allowed(q.file.key()))
	case http.StatusNotFound:
		if p, f := l.owed(q.file.key(), at); p != nil {
			return fmt.Errorf("false 404 at %s, of %s %s, which is good and has sha256 %x under this key", at, p.label(), p.id, f.sum)
		}
		return nil
	case http.StatusRequestedRangeNotSatisfiable: // a smaller rival may have taken the key
		if q.mode == modeRange && slices.ContainsFunc(l.allowed(q.file.key()), func(f *file) bool { return f.size <= q.from }) {
			return nil
		}
	}
	return fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
}

// compare looks for a file, of those that may be served, that the answer is right
// for.
func (q query) compare(resp *http.Response, body []byte, files []*file) error {
	if len(files) == 0 {
		return fmt.Errorf("status %d with %d bytes, which no good package can have", resp.StatusCode, len(body))
	}
	var why error
	for _, f := range files {
		if why = q.compareWith(resp, body, f); why == nil {
			return nil
		}
	}
	return fmt.Errorf("wrong bytes, of %d that would do: %v", len(files), why)
}

func (q query) compareWith(resp *http.Response, body []byte, f *file) error {
	switch q.mode {
	case modeHead:
		if n := resp.Header.Get("Content-Length"); n != strconv.FormatInt(f.size, 10) {
			return fmt.Errorf("content length %q, wanted %d", n, f.size)
		}
		return nil
	case modeRange:
		return q.compareRange(resp, body, f)
	case modeCabinet:
		raw, err := uncab(body)
		if err != nil {
			return err
		}
		body = raw
	case modeGzip:
		if resp.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				return err
			}
			if body, err = io.ReadAll(z); err != nil {
				return err
			}
		}
	}
	if sum := sha256.Sum256(body); sum != f.sum {
		return fmt.Errorf("%d bytes with sha256 %x, wanted %d with %x", len(body), sum, f.size, f.sum)
	}
	return nil
}

func (q query) compareRange(resp *http.Response, body []byte, f *file) error {
	to := min(q.to, f.size-1)
	if resp.StatusCode == http.StatusOK {
		return fmt.Errorf("status 200 with %d bytes for a range", len(body))
	}
	if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", q.from, to, f.size); got != want {
		return fmt.Errorf("content range %q, wanted %q", got, want)
	}
	if !bytes.Equal(body, f.bytes()[q.from:to+1]) {
		return fmt.Errorf("bytes %d to %d are not those of the file", q.from, to)
	}
	return nil
}
