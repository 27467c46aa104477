package raftfsm

import (
	"encoding/json"
	"errors"
	"fmt"

	"symkeep/internal/catalog"
)

// A Result is what Apply answers to a command: the same on every node, and plain
// JSON, because it travels from the leader to the node that asked.
type Result struct {
	Index uint64          `json:"index"`
	Code  string          `json:"code,omitempty"`  // why it was refused; empty for success
	Error string          `json:"error,omitempty"` // for people
	Value json.RawMessage `json:"value,omitempty"` // what the command's doc names
}

// codes gives each refusal its stable name. A slice, so that the order is fixed.
var codes = []struct {
	code string
	err  error
}{
	{"not-found", catalog.ErrNotFound},
	{"invalid", catalog.ErrInvalid},
	{"conflict", catalog.ErrConflict},
	{"unavailable", catalog.ErrUnavailable},
	{"stale-token", catalog.ErrStaleToken},
	{"full", catalog.ErrFull},
}

// AsError returns nil for success, else an error with the result's text for which
// errors.Is finds the catalog error of its code.
func (r Result) AsError() error {
	if r.Code == "" {
		return nil
	}
	return &refusal{r.Code, r.Error}
}

// Into unmarshals the value of a result, refused or not, into v.
func (r Result) Into(v any) error {
	if len(r.Value) == 0 {
		return fmt.Errorf("result of log index %d: no value, wanted %T: %w", r.Index, v, catalog.ErrInvalid)
	}
	return json.Unmarshal(r.Value, v)
}

type refusal struct{ code, text string }

// Error returns the text the catalog gave.
func (e *refusal) Error() string { return e.text }

// Unwrap returns the catalog error of the code; nil for a code of a newer build.
func (e *refusal) Unwrap() error {
	for _, c := range codes {
		if c.code == e.code {
			return c.err
		}
	}
	return nil
}

// newResult turns the outcome of an apply into a Result. An error that is not a
// refusal is a broken invariant or a failed disk, and stops the node.
func newResult(index uint64, value any, err error) Result {
	r := Result{Index: index}
	if value != nil {
		b, merr := json.Marshal(value)
		if merr != nil {
			panic(fmt.Sprintf("raftfsm: log index %d: result %T: %v", index, value, merr))
		}
		r.Value = b
	}
	if err == nil {
		return r
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			r.Code, r.Error = c.code, err.Error()
			return r
		}
	}
	panic(fmt.Sprintf("raftfsm: log index %d: %v", index, err))
}
