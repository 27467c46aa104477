package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A step is what one operation asked of a package.
type step string

// The operations that a package's history holds.
const (
	stepOpen     step = "open"
	stepCommit   step = "commit"
	stepVerdict  step = "verdict" // the client was told of a verdict
	stepRead     step = "read"    // a state that went through the log
	stepDelete   step = "delete"
	stepUndelete step = "undelete"
	stepRetry    step = "retry"
)

// An input is one operation on one package.
type input struct {
	pkg     *pkg
	step    step
	expires bool // the lease of an open package may have run out by then
}

// An answer is what the client learned.
type answer struct {
	unknown bool   // nothing: the operation took effect now, later or never
	refused string // "conflict" or "not found"
	state   string // of the package after it, as shown; empty when the answer has none
	lacking bool   // commit: refused since blobs are lacking
}

// States of a package in the model. A trashed one remembers what it was.
const (
	stateNone      = ""
	stateOpen      = "open"
	stateCommitted = "committed"
	stateGood      = "good"
	stateFailed    = "failed"
	stateStuck     = "stuck"
	stateExpired   = "expired"
	trash          = "trashed:"
)

const (
	refusedConflict = "conflict"
	refusedMissing  = "not found"
)

// shown is how clients see a state.
func shown(s string) string {
	if strings.HasPrefix(s, trash) {
		return "trashed"
	}
	return s
}

// model is one package: what clients were told has to fit one order of its
// operations, in which verdicts fall at any moment after the commit.
var model = porcupine.NondeterministicModel{
	Partition: partition,
	Init:      func() []any { return []any{stateNone} },
	Step: func(state, in, out any) []any {
		var next []any
		for _, s := range settle(state.(string), in.(input)) {
			for _, t := range perform(s, in.(input), out.(answer)) {
				if !slices.Contains(next, any(t)) {
					next = append(next, t)
				}
			}
		}
		return next
	},
	DescribeOperation: describe,
}

// settle returns the state and those that it can turn into by itself.
func settle(s string, in input) []string {
	switch s {
	case stateOpen:
		if in.expires {
			return []string{s, stateExpired}
		}
	case stateCommitted:
		states := []string{s, stateStuck}
		if in.pkg.expect != failed {
			states = append(states, stateGood)
		}
		if in.pkg.expect != good {
			states = append(states, stateFailed)
		}
		return states
	}
	return []string{s}
}

// perform returns the states that an operation in state s can leave, having
// answered out; none if it cannot have answered that.
func perform(s string, in input, out answer) []string {
	next, refusal := effect(s, in.step)
	switch {
	case out.unknown:
		return []string{s, next}
	case out.refused != "":
		rival := in.step == stepUndelete && in.pkg.expect == either // one that competes is good meanwhile
		if out.refused == refusal || rival && out.refused == refusedConflict && s == trash+stateGood {
			return []string{s}
		}
		return nil
	case out.lacking:
		if s == stateOpen {
			return []string{s}
		}
		return nil
	case refusal != "":
		return nil
	}
	var states []string
	for _, t := range later(in, s, next) {
		if out.state == "" || out.state == shown(t) {
			states = append(states, t)
		}
	}
	return states
}

// later returns the states that an answer can tell of. A node repeats a commit whose
// outcome it does not know, and what it then learns may be a verdict already.
func later(in input, s, next string) []string {
	if in.step == stepCommit && s == stateOpen {
		return settle(next, in)
	}
	return []string{next}
}

// effect returns what an operation makes of a state, or why it is refused.
func effect(s string, op step) (next, refusal string) {
	if s == stateNone {
		if op == stepOpen {
			return stateOpen, ""
		}
		return s, refusedMissing
	}
	trashed := strings.HasPrefix(s, trash)
	judged := s == stateGood || s == stateFailed || s == stateStuck
	switch op {
	case stepCommit:
		if s == stateOpen {
			return stateCommitted, ""
		}
		if s == stateExpired {
			return s, refusedConflict
		}
	case stepDelete:
		if judged {
			return trash + s, ""
		}
		if !trashed {
			return s, refusedConflict
		}
	case stepUndelete:
		if trashed {
			return strings.TrimPrefix(s, trash), ""
		}
		if !judged {
			return s, refusedConflict
		}
	case stepRetry:
		if s == stateStuck || s == stateFailed {
			return stateCommitted, ""
		}
		if s != stateCommitted {
			return s, refusedConflict
		}
	}
	return s, ""
}

// partition splits a history by package.
func partition(all []porcupine.Operation) [][]porcupine.Operation {
	var parts [][]porcupine.Operation
	at := map[*pkg]int{}
	for _, op := range all {
		p := op.Input.(input).pkg
		i, seen := at[p]
		if !seen {
			i = len(parts)
			at[p], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

func describe(in, out any) string {
	i, o := in.(input), out.(answer)
	text := fmt.Sprintf("%s %s", i.step, i.pkg.label())
	switch {
	case o.unknown:
		return text + " -> ?"
	case o.refused != "":
		return text + " -> " + o.refused
	case o.lacking:
		return text + " -> lacking"
	case o.state != "":
		return text + " -> " + o.state
	}
	return text + " -> ok"
}
