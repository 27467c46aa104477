package ops

import (
	"context"
	"errors"
	"fmt"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// Exit statuses of the program. Scripts depend on them.
const (
	ExitOK          = 0
	ExitFailure     = 1 // any error that is none of the others; an interrupt too
	ExitUsage       = 2 // wrong flag or argument
	ExitVerdict     = 3 // the package failed validation
	ExitUnavailable = 4 // worth a retry; a stuck package too
	ExitRefused     = 5 // authentication or permission
)

// An ExitError carries the exit status of an error that no sentinel stands for. A
// nil Err means that everything was said already.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of Err.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Usage makes an error with the status ExitUsage.
func Usage(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

// ExitCode returns the status that an error of a command stands for.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, agent.ErrUsage):
		return ExitUsage
	case errors.Is(err, api.ErrRefused):
		return ExitRefused
	case errors.Is(err, context.Canceled):
		return ExitFailure
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, catalog.ErrFull), errors.Is(err, api.ErrNotLeader):
		return ExitUnavailable
	}
	return ExitFailure
}
