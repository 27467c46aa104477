package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

// A client keeps one connection and reads answers as they come: a latency is measured
// with as little of its own as can be.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// get sends a request, with header lines that end in CRLF, and reads the answer whole.
func (c *client) get(path, header string, want int) (bytes int64, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", path, header); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return 0, fmt.Errorf("GET %s: %s, wanted %d", path, resp.Status, want)
	}
	return io.Copy(io.Discard, resp.Body)
}

// steady asks for paths in turn at a fixed rate, whatever the answers take, for a while.
// It returns the times from when each request was due until its answer was there, in
// milliseconds: one that had to wait for a slow one before it counts as slow too.
func steady(ctx context.Context, addr string, paths []string, rate int, d time.Duration, want int) ([]float64, error) {
	const conns = 16
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * conns)) // who sleeps in the kernel keeps one for up to 10 ms
	defer debug.SetGCPercent(debug.SetGCPercent(-1))        // it would stop requests for milliseconds
	total := int(d.Seconds() * float64(rate))
	took := make([]float64, total)
	errs := make([]error, conns)
	begun := time.Now().Add(50 * time.Millisecond)
	var asking sync.WaitGroup
	for k := range conns {
		asking.Go(func() {
			c, err := dial(addr)
			if err != nil {
				errs[k] = err
				return
			}
			defer c.conn.Close()
			for i := k; i < total && ctx.Err() == nil; i += conns {
				due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
				sleepUntil(due)
				if _, errs[k] = c.get(paths[i%len(paths)], "", want); errs[k] != nil {
					return
				}
				took[i] = float64(time.Since(due).Microseconds()) / 1000
			}
		})
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, ctx.Err()
}

// sleepUntil sleeps as exactly as the system can: timers of the runtime are rounded up to
// the next millisecond, which would look like time of the server.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) { // a signal ends a sleep
		ts := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil)
	}
}
