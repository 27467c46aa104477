package raftfsm

import (
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// maxKept bounds the former layouts that are kept.
const maxKept = 8

// A layoutsRow is the present layout and the former ones that members still move
// away from, the newest first. There is none below feature level 2.
type layoutsRow struct {
	Present catalog.Layout   `json:"present"`
	Kept    []catalog.Layout `json:"kept,omitempty"`
}

// derived is the layout that the member table and the settings ask for.
func (h *head) derived() catalog.Layout {
	members := make([]catalog.Member, len(h.members))
	for i, m := range h.members {
		members[i] = m.Member
	}
	return catalog.LayoutOf(members, h.Settings.Replicas)
}

// relayout makes a new version of the layout if the member table or the settings
// ask for another one.
func (s *state) relayout() {
	if s.head.Feature < featureOperate {
		return
	}
	next, old := s.head.derived(), s.head.layout
	if old.Version > 0 && old.Equal(next) {
		return
	}
	next.Version = old.Version + 1
	if old.Version > 0 {
		kept := append([]catalog.Layout{old}, s.head.kept...)
		s.head.kept = kept[:min(len(kept), maxKept)]
	}
	s.head.layout = next
	s.putLayouts()
	s.forgetLayouts()
}

// forgetLayouts drops the former layouts that every member of the present one has
// left behind: it holds all that a later version gives it.
func (s *state) forgetLayouts() {
	reached := s.head.layout.Version
	for _, n := range s.head.layout.Nodes {
		m, _ := s.head.member(n.ID)
		reached = min(reached, m.LayoutSynced)
	}
	kept := slices.DeleteFunc(slices.Clone(s.head.kept), func(l catalog.Layout) bool { return l.Version < reached })
	if len(kept) < len(s.head.kept) {
		s.head.kept = kept
		s.putLayouts()
	}
}

func (s *state) putLayouts() {
	s.put(bucketMeta, keyLayouts, mustJSON(layoutsRow{s.head.layout, s.head.kept}))
	s.emit(Event{Type: LayoutChanged})
}

// loadOperate reads the rows of feature level 2, which are absent below it.
func (h *head) loadOperate(tx *bolt.Tx) error {
	var row layoutsRow
	for _, r := range []struct {
		key  []byte
		into any
	}{{keyLayouts, &row}, {keyAlarms, &h.alarms}} {
		if v := tx.Bucket(bucketMeta).Get(r.key); v != nil {
			if err := json.Unmarshal(v, r.into); err != nil {
				return fmt.Errorf("row %s: %w", r.key, err)
			}
		}
	}
	h.layout, h.kept = row.Present, row.Kept
	return nil
}

// Layout returns the present layout. Below feature level 2 it is derived from the
// member table and has version 0.
func (f *FSM) Layout() catalog.Layout {
	h := f.head.Load()
	if h.Feature < featureOperate {
		return h.derived()
	}
	return cloneLayout(h.layout)
}

// KeptLayouts returns the former layouts that members still move away from, the
// newest first: a copy may be where one of them put it.
func (f *FSM) KeptLayouts() []catalog.Layout {
	kept := []catalog.Layout{}
	for _, l := range f.head.Load().kept {
		kept = append(kept, cloneLayout(l))
	}
	return kept
}

func cloneLayout(l catalog.Layout) catalog.Layout {
	l.Nodes = append([]catalog.LayoutNode{}, l.Nodes...)
	return l
}
