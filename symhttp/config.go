package symhttp

import (
	"errors"
	"fmt"
	"time"
)

// Config holds the limits of a server. DefaultConfig fills it.
type Config struct {
	// Node is the name of this node, as answers and errors carry it. Required.
	Node string
	// Version of the program, shown at "/".
	Version string

	// MaxConns is the number of open connections, 16 to 65536; more wait in the
	// kernel's queue. Default 4096.
	MaxConns int
	// HeaderBytes bounds the head of a request, 4 KiB to 1 MiB. Default 16 KiB.
	HeaderBytes int
	// JSONBytes bounds a JSON body, 64 KiB to 64 MiB. Default 1 MiB.
	JSONBytes int64
	// CommandBytes bounds a proposed command. Default 512 KiB.
	CommandBytes int64

	// MaxUploads is the number of uploads at a time, 1 to 4096; more are told to
	// come back. Default 64.
	MaxUploads int

	// ReadTimeout is for a whole request other than an upload. Default 30 s.
	ReadTimeout time.Duration
	// ChunkTimeout is how long an upload may stand still. Default 30 s.
	ChunkTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request. It is
	// longer than clients keep an idle one, so that they are not cut while they
	// begin the next. Default 2 min.
	IdleTimeout time.Duration
	// WriteTimeout is for an answer without a file. Default 30 s. Answers with one
	// get it on top of their size divided by MinRate.
	WriteTimeout time.Duration
	// MinRate is the slowest download served to its end, in bytes per second.
	// Default 64 KiB/s.
	MinRate int64
	// LookupTimeout bounds one key lookup. Default 5 s.
	LookupTimeout time.Duration
	// ReachTimeout is how long a known key is retried while its bytes cannot be
	// reached, before the connection is reset. Default 8 s.
	ReachTimeout time.Duration
	// CallTimeout bounds one call of /api/v1 and /peer/v1 other than uploads,
	// fetches and waits. Default 30 s.
	CallTimeout time.Duration
	// MaxWait bounds ?wait on a package. Default 60 s.
	MaxWait time.Duration
	// StreamBytes is the memory that answers being unpacked may take together,
	// at least 16 MiB. Default 288 MiB.
	StreamBytes int64
	// NoticeTime is how long a stopping server that is asked for its readiness goes
	// on accepting, so that load balancers hear of it first. Default 2 s; 0: not at
	// all.
	NoticeTime time.Duration
	// DrainTimeout is how long running requests may go on after a stop, before
	// they are cut. Default 30 s.
	DrainTimeout time.Duration
}

// DefaultConfig returns the defaults for a node of that name.
func DefaultConfig(node string) Config {
	return Config{
		Node:          node,
		MaxConns:      4096,
		HeaderBytes:   16 << 10,
		JSONBytes:     1 << 20,
		CommandBytes:  512 << 10,
		MaxUploads:    64,
		ReadTimeout:   30 * time.Second,
		ChunkTimeout:  30 * time.Second,
		IdleTimeout:   2 * time.Minute,
		WriteTimeout:  30 * time.Second,
		MinRate:       64 << 10,
		LookupTimeout: 5 * time.Second,
		ReachTimeout:  8 * time.Second,
		CallTimeout:   30 * time.Second,
		MaxWait:       60 * time.Second,
		StreamBytes:   288 << 20,
		NoticeTime:    2 * time.Second,
		DrainTimeout:  30 * time.Second,
	}
}

// Validate reports every value out of range.
func (c Config) Validate() error {
	var errs []error
	if c.Node == "" {
		errs = append(errs, errors.New("node name is empty"))
	}
	for _, n := range []struct {
		name         string
		got, min, mx int64
	}{
		{"connections", int64(c.MaxConns), 16, 65536},
		{"header bytes", int64(c.HeaderBytes), 4 << 10, 1 << 20},
		{"json bytes", c.JSONBytes, 64 << 10, 64 << 20},
		{"command bytes", c.CommandBytes, 64 << 10, 64 << 20},
		{"uploads", int64(c.MaxUploads), 1, 4096},
		{"minimum rate", c.MinRate, 1, 1 << 30},
		{"stream bytes", c.StreamBytes, 16 << 20, 1 << 40},
	} {
		if n.got < n.min || n.got > n.mx {
			errs = append(errs, fmt.Errorf("%s %d, wanted %d to %d", n.name, n.got, n.min, n.mx))
		}
	}
	for _, d := range []struct {
		name string
		got  time.Duration
	}{
		{"read timeout", c.ReadTimeout}, {"chunk timeout", c.ChunkTimeout}, {"idle timeout", c.IdleTimeout},
		{"write timeout", c.WriteTimeout}, {"lookup timeout", c.LookupTimeout}, {"reach timeout", c.ReachTimeout},
		{"call timeout", c.CallTimeout}, {"longest wait", c.MaxWait}, {"drain timeout", c.DrainTimeout},
	} {
		if d.got <= 0 {
			errs = append(errs, fmt.Errorf("%s %v, wanted more than 0", d.name, d.got))
		}
	}
	if c.NoticeTime < 0 {
		errs = append(errs, fmt.Errorf("notice time %v, wanted 0 or more", c.NoticeTime))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("http server: %w", err)
	}
	return nil
}

// sending is the time that n bytes may take.
func (c Config) sending(n int64) time.Duration {
	return time.Duration(float64(n) / float64(c.MinRate) * float64(time.Second))
}
