//go:build !linux

package symhttp

import (
	"context"
	"time"
)

// loops exist where epoll does; elsewhere connections stay with fasthttp.
type loops struct{}

// AllowLoops does nothing.
func AllowLoops() {}

func newLoops(*debuggers) (*loops, error) { return nil, nil }

func (*loops) enter(*patientConn) bool { return false }

func (*loops) sweep(time.Time) {}

func (*loops) close() {}

func (*loops) run(context.Context) error { return nil }
