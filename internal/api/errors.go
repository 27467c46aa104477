package api

import (
	"errors"
	"fmt"
	"net/http"

	"symkeep/internal/catalog"
)

// An Error is the body of every answer that is not a success.
type Error struct {
	Code    string `json:"code"`    // stable, one of the Code constants
	Message string `json:"message"` // what was found, what was expected, what to do
	Node    string `json:"node,omitempty"`

	Status int `json:"-"`
}

// Error codes, one per sentinel of the catalog.
const (
	CodeInvalid     = "invalid"
	CodeNotFound    = "not_found"
	CodeConflict    = "conflict"
	CodeUnavailable = "unavailable"
	CodeStaleToken  = "stale_token"
	CodeFull        = "full"
	CodeNotLeader   = "not_leader"
	CodeRefused     = "refused"
	CodeInternal    = "internal"
)

// ErrRefused says that the server wants to be convinced who asks.
var ErrRefused = errors.New("refused: authentication or permission")

// ErrNotLeader says that the asked node does not lead; the sender picks another.
var ErrNotLeader = errors.New("not the leader")

var codes = []struct {
	code   string
	status int
	err    error
}{
	{CodeInvalid, http.StatusBadRequest, catalog.ErrInvalid},
	{CodeNotFound, http.StatusNotFound, catalog.ErrNotFound},
	{CodeConflict, http.StatusConflict, catalog.ErrConflict},
	{CodeStaleToken, http.StatusConflict, catalog.ErrStaleToken},
	{CodeFull, http.StatusInsufficientStorage, catalog.ErrFull},
	{CodeNotLeader, http.StatusMisdirectedRequest, ErrNotLeader},
	{CodeRefused, http.StatusForbidden, ErrRefused},
	{CodeUnavailable, http.StatusServiceUnavailable, catalog.ErrUnavailable},
}

// NewError describes err for the wire; a nil err gives nil. Errors that wrap no
// known sentinel are internal, status 500.
func NewError(err error, node string) *Error {
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeInternal, Message: err.Error(), Node: node, Status: http.StatusInternalServerError}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			e.Code, e.Status = c.code, c.status
			break
		}
	}
	return e
}

// Error returns the message with the node that answered.
func (e *Error) Error() string {
	if e.Node == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (node %s)", e.Message, e.Node)
}

// Unwrap returns the sentinel that the code stands for, nil for an internal error.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return nil
}
