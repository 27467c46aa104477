package raftfsm

import (
	"fmt"
	"maps"
	"slices"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// featureOperate is the feature level of layouts, alarms and live settings.
const featureOperate = 2

// FeatureKnow is the feature level of qualities, of keys of kind KindStore, of source
// files, of the index of names and of policies.
const FeatureKnow = 3

// Requires returns the lowest feature level at which a cluster takes a command.
// Below it the command is refused with ErrConflict, and a build that knows lower
// levels only could not even read it: a leader proposes nothing above the level in
// use.
func Requires(c Command) int {
	switch c := c.(type) {
	case ApplyLayout, MarkLayoutSynced, SetMaintenance, RaiseAlarm, ClearAlarm, FreezeRetiring, CheckContents:
		return featureOperate
	case ChangeSettings:
		return max(featureOperate, requiredByPolicy(c.Policy))
	case CreateCluster:
		return requiredBySettings(c.Settings)
	case PutSettings:
		return requiredBySettings(c.Settings)
	case PutMember:
		if c.Member.Weight != 0 || c.Member.Maintenance != 0 || c.Member.LayoutSynced != 0 {
			return featureOperate
		}
	case OpenPackage:
		return requiredByPolicy(c.Policy)
	case AddFiles:
		if slices.ContainsFunc(c.Files, func(f FileEntry) bool { return f.Source != "" }) {
			return FeatureKnow
		}
	case AddFindings:
		return requiredByFindings(c.Findings)
	case RecordVerdict:
		return max(requiredByPolicy(c.Policy), requiredByFindings(c.Findings))
	case AddKeys:
		for _, r := range c.Reports {
			if len(r.Quality) > 0 || slices.ContainsFunc(r.Keys, func(k catalog.RankedKey) bool { return k.Key.Kind > symid.KindWasm }) {
				return FeatureKnow
			}
		}
	}
	return 1
}

func requiredBySettings(s catalog.Settings) int {
	if s.Policy != nil {
		return FeatureKnow
	}
	if s.RepairDelay != 0 || s.RepairRate != 0 || s.RepairPaused || s.ScrubRate != 0 {
		return featureOperate
	}
	return 1
}

func requiredByPolicy(p *catalog.Policy) int {
	if p != nil {
		return FeatureKnow
	}
	return 1
}

func requiredByFindings(findings []catalog.Finding) int {
	if slices.ContainsFunc(findings, func(f catalog.Finding) bool { return f.Policy != "" }) {
		return FeatureKnow
	}
	return 1
}

// checkFeature refuses what is above the level in use.
func (s *state) checkFeature(c Command) error {
	if need := Requires(c); need > s.head.Feature {
		return fmt.Errorf("command of kind %d: needs feature level %d, the cluster is at %d; run symkeep cluster feature raise once every member runs the new version: %w",
			c.Kind(), need, s.head.Feature, catalog.ErrConflict)
	}
	return nil
}

func (c ChangeSettings) apply(s *state) (any, error) {
	next := s.head.clone().Settings
	set(&next.Replicas, c.Replicas)
	set(&next.MailFrom, c.MailFrom)
	set(&next.MailTo, c.MailTo)
	set(&next.RepairDelay, c.RepairDelay)
	set(&next.RepairRate, c.RepairRate)
	set(&next.RepairPaused, c.RepairPaused)
	set(&next.ScrubRate, c.ScrubRate)
	if c.Policy != nil {
		next.Policy = c.Policy.Ref()
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	s.putSettings(next)
	return next, nil
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// putSettings takes valid settings and derives the layout from them.
func (s *state) putSettings(next catalog.Settings) {
	s.head.Settings = next
	s.emit(Event{Type: SettingsChanged})
	s.relayout()
}

func (c ApplyLayout) apply(s *state) (any, error) {
	if have := s.head.layout.Version; c.Base != have {
		return nil, fmt.Errorf("layout planned on version %d: the present one is %d; plan again: %w", c.Base, have, catalog.ErrConflict)
	}
	next := s.head.clone().Settings
	if c.Replicas != 0 {
		next.Replicas = c.Replicas
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	var changed []member
	for _, id := range slices.Sorted(maps.Keys(c.Weights)) {
		m, err := s.memberOf(id)
		if err != nil {
			return nil, err
		}
		if m.Weight = c.Weights[id]; m.Weight < 1 {
			return nil, fmt.Errorf("member %s: weight %d, wanted 1 to %d: %w", id, m.Weight, catalog.MaxWeight, catalog.ErrInvalid)
		}
		if err := checkWeight(m.Member); err != nil {
			return nil, err
		}
		changed = append(changed, m)
	}
	for _, m := range changed {
		s.putMember(m)
	}
	s.putSettings(next)
	return s.head.layout, nil
}

func checkWeight(m catalog.Member) error {
	if m.Weight < 0 || m.Weight > catalog.MaxWeight {
		return fmt.Errorf("member %s: weight %d, wanted 1 to %d: %w", m.ID, m.Weight, catalog.MaxWeight, catalog.ErrInvalid)
	}
	return nil
}

func (c MarkLayoutSynced) apply(s *state) (any, error) {
	m, err := s.memberOf(c.Node)
	if err != nil {
		return nil, err
	}
	if have := s.head.layout.Version; c.Version > have {
		return nil, fmt.Errorf("member %s: holds all of layout %d, the present one is %d: %w", c.Node, c.Version, have, catalog.ErrConflict)
	}
	if c.Version <= m.LayoutSynced {
		return nil, nil
	}
	m.LayoutSynced = c.Version
	s.storeMember(m)
	s.emit(Event{Type: LayoutChanged})
	s.forgetLayouts()
	return nil, nil
}

func (c SetMaintenance) apply(s *state) (any, error) {
	m, err := s.memberOf(c.Node)
	if err != nil {
		return nil, err
	}
	if c.Millis < 0 || c.Millis > MaxMaintenance {
		return nil, fmt.Errorf("member %s: maintenance of %d ms, wanted 0 to %d: %w", c.Node, c.Millis, MaxMaintenance, catalog.ErrInvalid)
	}
	m.Maintenance = 0
	if c.Millis > 0 {
		m.Maintenance = s.head.Clock + catalog.ClusterTime(c.Millis)
	}
	s.putMember(m)
	return nil, nil
}

func (c FreezeRetiring) apply(s *state) (any, error) {
	if c.Millis < 0 || c.Millis > MaxFreeze {
		return nil, fmt.Errorf("freeze of %d ms: wanted 0 to %d: %w", c.Millis, MaxFreeze, catalog.ErrInvalid)
	}
	s.head.FrozenUntil = 0
	if c.Millis > 0 {
		s.head.FrozenUntil = s.head.Clock + catalog.ClusterTime(c.Millis)
	}
	s.emit(Event{Type: SettingsChanged})
	return nil, nil
}

func (CheckContents) apply(s *state) (any, error) {
	if last := s.head.CheckedAt; last != 0 && s.head.Clock-last < CheckPause {
		return nil, fmt.Errorf("contents were checked %d ms ago: wait for %d: %w", s.head.Clock-last, CheckPause, catalog.ErrConflict)
	}
	s.head.CheckedAt = s.head.Clock
	s.check = true
	return nil, nil
}

// frozenFor returns how much of a freeze is left.
func (h *head) frozenFor() int64 { return max(0, int64(h.FrozenUntil-h.Clock)) }
