package raftfsm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"symkeep/internal/catalog"
)

// maxName bounds ids, names, addresses and the like, in bytes.
const maxName = 255

func checkName(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s: empty: %w", what, catalog.ErrInvalid)
	}
	return catalog.CheckText(what, s, maxName)
}

func (c CreateCluster) apply(s *state) (any, error) {
	h := s.head
	if h.ClusterID == c.ClusterID && h.ClusterID != "" {
		return nil, nil
	}
	if h.ClusterID != "" {
		return nil, fmt.Errorf("cluster %s: this is cluster %s: %w", c.ClusterID, h.ClusterID, catalog.ErrConflict)
	}
	if err := checkName("cluster id", string(c.ClusterID)); err != nil {
		return nil, err
	}
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
	h.ClusterID, h.Settings, h.CreatedAt = c.ClusterID, c.Settings, c.At
	s.emit(Event{Type: SettingsChanged})
	return nil, nil
}

func (c PutSettings) apply(s *state) (any, error) {
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
	s.putSettings(c.Settings)
	return nil, nil
}

func (c RaiseFeature) apply(s *state) (any, error) {
	if c.Level < 1 {
		return nil, fmt.Errorf("feature level %d: wanted 1 to %d: %w", c.Level, MaxFeature, catalog.ErrInvalid)
	}
	s.head.Feature = max(s.head.Feature, c.Level)
	if s.head.Feature >= FeatureKnow {
		s.beginNames()
	}
	s.relayout()
	return nil, nil
}

func (c PutMember) apply(s *state) (any, error) {
	m, known := s.head.member(c.Member.ID)
	gone, replaced := s.head.member(c.Replaces)
	if err := c.check(s, known, m.Slot, replaced); err != nil {
		return nil, err
	}
	if replaced {
		s.removeMember(gone)
		m.Slot, m.Weight = gone.PlacementID(), gone.Weight
	}
	if !known {
		m.No = s.head.NextMember
		s.head.NextMember++
		m.ID, m.JoinedIndex, m.JoinedAt = c.Member.ID, s.index, c.Member.JoinedAt
		if c.Member.Weight != 0 {
			m.Weight = c.Member.Weight
		}
		if s.head.Feature >= featureOperate && m.Slot == "" {
			m.Slot = s.freeSlot(m.ID)
		}
	}
	m.Name, m.Zone, m.Version = c.Member.Name, c.Member.Zone, c.Member.Version
	m.PeerAddr, m.HTTPAddr, m.GossipAddr = c.Member.PeerAddr, c.Member.HTTPAddr, c.Member.GossipAddr
	s.putMember(m)
	s.relayout()
	return m.Member, nil
}

// freeSlot returns the placement slot for a new member: its own id, as the empty
// text, unless somebody who replaced it has that one.
func (s *state) freeSlot(id catalog.NodeID) catalog.NodeID {
	taken := slices.ContainsFunc(s.head.members, func(o member) bool { return o.PlacementID() == id })
	if !taken {
		return ""
	}
	return catalog.NodeID(fmt.Sprintf("%s@%d", id, s.index))
}

func (c PutMember) check(s *state, known bool, slot catalog.NodeID, replaced bool) error {
	if err := checkName("member id", string(c.Member.ID)); err != nil {
		return err
	}
	if err := checkName("member name", c.Member.Name); err != nil {
		return err
	}
	for _, text := range []string{c.Member.PeerAddr, c.Member.HTTPAddr, c.Member.GossipAddr, c.Member.Zone, c.Member.Version} {
		if err := catalog.CheckText("member "+string(c.Member.ID), text, maxName); err != nil {
			return err
		}
	}
	if err := checkWeight(c.Member); err != nil {
		return err
	}
	switch {
	case c.Replaces == c.Member.ID:
		return fmt.Errorf("member %s: cannot replace itself: %w", c.Member.ID, catalog.ErrInvalid)
	case c.Replaces != "" && !replaced && !(known && slot != ""):
		return fmt.Errorf("member %s: to be replaced by %s, is not in the member table: %w", c.Replaces, c.Member.ID, catalog.ErrNotFound)
	}
	for _, o := range s.head.members {
		if o.Name == c.Member.Name && o.ID != c.Member.ID && o.ID != c.Replaces {
			return fmt.Errorf("member name %q: is that of member %s; pick another --name or remove that member: %w",
				c.Member.Name, o.ID, catalog.ErrConflict)
		}
	}
	return nil
}

func (c RemoveMember) apply(s *state) (any, error) {
	m, ok := s.head.member(c.ID)
	if !ok {
		return nil, nil
	}
	if len(s.head.members) == 1 {
		return nil, fmt.Errorf("member %s: the last one cannot be removed: %w", c.ID, catalog.ErrConflict)
	}
	s.removeMember(m)
	s.relayout()
	return nil, nil
}

func (c MarkSynced) apply(s *state) (any, error) {
	m, err := s.memberOf(c.Node)
	if err != nil {
		return nil, err
	}
	m.Synced = true
	s.putMember(m)
	return nil, nil
}

func (c SetDraining) apply(s *state) (any, error) {
	m, err := s.memberOf(c.Node)
	if err != nil {
		return nil, err
	}
	m.Draining = c.Draining
	s.putMember(m)
	s.relayout()
	return nil, nil
}

func (s *state) memberOf(id catalog.NodeID) (member, error) {
	m, ok := s.head.member(id)
	if !ok {
		return m, fmt.Errorf("member %.64q: not in the member table: %w", id, catalog.ErrNotFound)
	}
	return m, nil
}

// putMember inserts or replaces a row and says so.
func (s *state) putMember(m member) {
	s.storeMember(m)
	s.emit(Event{Type: MembersChanged})
}

// storeMember inserts or replaces a row; the table stays in the order of numbers.
func (s *state) storeMember(m member) {
	i := slices.IndexFunc(s.head.members, func(o member) bool { return o.ID == m.ID })
	if i < 0 {
		s.head.members = append(s.head.members, m)
	} else {
		s.head.members[i] = m
	}
	s.put(bucketMembers, []byte(m.ID), mustJSON(m))
}

// removeMember takes a row away. Its holder entries stop counting now and are
// swept later.
func (s *state) removeMember(m member) {
	s.head.members = slices.DeleteFunc(s.head.members, func(o member) bool { return o.ID == m.ID })
	s.head.departed++
	s.delete(bucketMembers, []byte(m.ID))
	s.put(bucketDeparted, departedKey(m.No), mustJSON(departedRow{ID: m.ID}))
	s.clearAlarmsOf(m.ID)
	s.emit(Event{Type: MembersChanged})
}

// A departedRow is a removed member whose holder entries are being swept; After
// is the last digest done.
type departedRow struct {
	ID    catalog.NodeID `json:"id"`
	After catalog.Digest `json:"after,omitzero"`
}

func departedKey(no uint32) []byte { return binary.BigEndian.AppendUint32(nil, no) }
