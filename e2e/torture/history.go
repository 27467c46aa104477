package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is every operation of every client, by one monotonic clock.
type history struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

func newHistory() *history { return &history{begun: time.Now()} }

// now is the time since the start, in nanoseconds.
func (h *history) now() int64 { return int64(time.Since(h.begun)) }

// since returns the span from an invocation until now.
func (h *history) since(call int64) span { return span{call, h.now()} }

// leaseSafe is how long an open package cannot expire.
const leaseSafe = int64(20 * time.Minute)

// add enters one operation of a client that began at call and ends now. One whose
// outcome is unknown may be carried out later, and more than once: nodes repeat
// what they forward.
func (h *history) add(client int, p *pkg, s step, call int64, a answer) {
	h.addFrom("", client, p, s, call, a)
}

// addFrom also keeps who answered what, for people.
func (h *history) addFrom(who string, client int, p *pkg, s step, call int64, a answer) {
	op := porcupine.Operation{
		ClientId: client, Input: input{p, s, call > leaseSafe}, Call: call, Output: a, Return: h.now(), Metadata: who,
	}
	times := 1
	if a.unknown {
		op.Return = forever
		if s == stepDelete || s == stepUndelete || s == stepRetry {
			times = 2
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for range times {
		h.ops = append(h.ops, op)
	}
}

// len returns the number of operations.
func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// A broken history is that of one package, in no order possible.
type broken struct {
	pkg *pkg
	ops []porcupine.Operation
}

// check returns the packages whose history fits no order of events. A package that
// cannot be decided within the limit is an error.
func (h *history) check(limit time.Duration) (bad []broken, err error) {
	h.mu.Lock()
	ops := h.ops
	h.mu.Unlock()
	m := model.ToModel()
	deadline := time.Now().Add(limit)
	for _, part := range partition(ops) {
		p := part[0].Input.(input).pkg
		switch porcupine.CheckOperationsTimeout(m, part, max(time.Second, time.Until(deadline))) {
		case porcupine.Illegal:
			bad = append(bad, broken{p, part})
		case porcupine.Unknown:
			err = fmt.Errorf("%s: %d operations are too many to order within %v", p.label(), len(part), limit)
		}
	}
	return bad, err
}

// draw writes the history of a package as a page for a browser.
func (b broken) draw(dir string) (string, error) {
	m := model.ToModel()
	ops := make([]porcupine.Operation, len(b.ops))
	end := int64(0)
	for i, op := range b.ops {
		ops[i] = op
		end = max(end, op.Call)
		if op.Return != forever {
			end = max(end, op.Return)
		}
	}
	for i := range ops {
		ops[i].Return = min(ops[i].Return, end+1)
	}
	_, info := porcupine.CheckOperationsVerbose(m, ops, 10*time.Second)
	path := filepath.Join(dir, fmt.Sprintf("history-%d.html", b.pkg.seq))
	return path, porcupine.VisualizePath(m, info, path)
}

// list writes the operations of a package in the order they were invoked.
func (b broken) list(w io.Writer) {
	for _, op := range b.ops {
		until := "-"
		if op.Return != forever {
			until = time.Duration(op.Return).Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "    %12v .. %-12s client %-3d %s  %v\n", time.Duration(op.Call).Round(time.Millisecond), until,
			op.ClientId, describe(op.Input, op.Output), op.Metadata)
	}
}

// dump writes the whole history as text.
func (h *history) dump(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, part := range partition(h.ops) {
		p := part[0].Input.(input).pkg
		fmt.Fprintf(f, "%s %s\n", p.label(), p.id)
		broken{p, part}.list(f)
	}
	return f.Close()
}
