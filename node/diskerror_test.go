package node

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"symkeep/internal/catalog"
)

// TestDiskError: what an agent can do about a disk it has by the error's sentinel.
func TestDiskError(t *testing.T) {
	for _, tt := range []struct {
		cause error
		want  error // nil: the cause alone
	}{
		{syscall.ENOSPC, catalog.ErrFull},
		{syscall.EIO, catalog.ErrUnavailable},
		{syscall.EROFS, catalog.ErrUnavailable},
		{syscall.EINVAL, nil},
	} {
		err := diskError(fmt.Errorf("blob x: %w", &fs.PathError{Op: "sync", Path: "/d", Err: tt.cause}))
		for _, sentinel := range []error{catalog.ErrFull, catalog.ErrUnavailable} {
			if got, want := errors.Is(err, sentinel), sentinel == tt.want; got != want {
				t.Errorf("diskError(%v) is %v = %v, want %v", tt.cause, sentinel, got, want)
			}
		}
	}
}
