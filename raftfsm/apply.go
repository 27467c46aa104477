package raftfsm

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// maxTxBytes is how many bytes of commands share a transaction, unless one batch
// of a single command is larger: bbolt slows down when one transaction puts very
// many rows.
const maxTxBytes = 1 << 20

// Apply implements raft.FSM; the response is a Result.
func (f *FSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. Each response is a Result. Entries at or
// below the applied index are skipped: after a restart raft replays from its
// newest snapshot. It panics on an entry it cannot decode and, with an error that
// wraps the cause, on an I/O error; then nothing of the transaction is applied, and
// the same entries may be applied again.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, 0, len(logs))
	for len(logs) > 0 {
		n, bytes := 1, len(logs[0].Data)
		for n < len(logs) && bytes+len(logs[n].Data) <= maxTxBytes && !isCheck(logs[n-1]) {
			bytes += len(logs[n].Data)
			n++
		}
		responses = append(responses, f.applyTx(logs[:n])...)
		logs = logs[n:]
	}
	return responses
}

// isCheck reports whether an entry asks for a digest of the state that it leaves,
// which a transaction has to end with then.
func isCheck(l *raft.Log) bool {
	return l.Type == raft.LogCommand && len(l.Data) > 0 && Kind(l.Data[0]) == KindCheckContents
}

// applyTx applies entries in one transaction, then publishes what came of them.
func (f *FSM) applyTx(logs []*raft.Log) []any {
	var responses []any
	var events []Event
	check := false
	h := f.head.Load().clone()
	f.swap.RLock()
	defer f.swap.RUnlock()
	if f.db == nil {
		panic(fmt.Sprintf("raftfsm: log index %d: %v", logs[0].Index, ErrClosed))
	}
	fault.Point("fsm-before-apply")
	defer damagedPages(debug.SetPanicOnFault(true)) // a page may be said to lie behind the end
	patience := time.AfterFunc(checkYields, f.contents.yield)
	defer patience.Stop()
	f.sights.beginWrite()
	err := f.db.Update(func(tx *bolt.Tx) error {
		s := &state{tx: tx, head: h}
		for _, l := range logs {
			responses = append(responses, s.applyLog(l))
		}
		events, check = s.events, s.check
		return saveHead(tx, h)
	})
	f.sights.endWrite()
	if err != nil {
		panic(fmt.Errorf("raftfsm: log index %d: %w", logs[len(logs)-1].Index, err))
	}
	fault.Point("fsm-after-apply")
	f.publish(h)
	if check {
		f.beginContents(h.AppliedIndex)
	}
	f.feed.send(events)
	return responses
}

func (s *state) applyLog(l *raft.Log) any {
	if l.Index <= s.head.AppliedIndex {
		return Result{Index: l.Index, Code: "conflict", Error: fmt.Sprintf("log index %d: applied before", l.Index)}
	}
	s.index = l.Index
	var response any
	switch l.Type {
	case raft.LogCommand:
		response = s.applyCommand(l)
	case raft.LogConfiguration:
		s.put(bucketMeta, keyConfiguration, mustJSON(configurationRow{l.Index, raft.DecodeConfiguration(l.Data)}))
	}
	s.head.AppliedIndex, s.head.AppliedTerm = l.Index, l.Term
	return response
}

func (s *state) applyCommand(l *raft.Log) Result {
	c, err := Decode(l.Data)
	if err != nil {
		panic(fmt.Sprintf("raftfsm: log index %d: %v", l.Index, err))
	}
	events := len(s.events)
	value, err := s.run(c)
	r := newResult(l.Index, value, err)
	if r.Code != "" {
		s.events = s.events[:events]
	}
	s.hash(l.Data, r)
	return r
}

// run applies one command. A refusal leaves every row as it was: commands check
// first and write afterwards.
func (s *state) run(c Command) (any, error) {
	if _, first := c.(CreateCluster); !first && s.head.ClusterID == "" {
		return nil, fmt.Errorf("command of kind %d: the cluster has not been created yet: %w", c.Kind(), catalog.ErrConflict)
	}
	if err := s.checkFeature(c); err != nil {
		return nil, err
	}
	return c.apply(s)
}

// configurationRow is the newest raft configuration this node has applied.
type configurationRow struct {
	Index         uint64             `json:"index"`
	Configuration raft.Configuration `json:"configuration"`
}
