//go:build !linux

package symhttp

import (
	"io"
	"net"
)

// moreWriter returns nil: nothing of the kind is used here.
func moreWriter(net.Conn) func(p []byte) (int, error) { return nil }

// sendCached sends nothing: nothing is gained by it here.
func sendCached(net.Conn, io.Reader) (int64, bool, error) { return 0, false, nil }
