package raftfsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// schemaVersion is the version of the buckets and rows that this build reads and
// writes.
const schemaVersion = 1

// A head is the small, always changing part of the catalog. It is written in the
// transaction of each batch, and kept in memory for views.
type head struct {
	Schema       int                 `json:"schema"`
	AppliedIndex uint64              `json:"applied_index"`
	AppliedTerm  uint64              `json:"applied_term"`
	LastCommand  uint64              `json:"last_command"` // index of the newest hashed entry
	Hash         catalog.Digest      `json:"hash"`         // rolling, see hash.go
	ClusterID    catalog.ClusterID   `json:"cluster_id,omitempty"`
	CreatedAt    time.Time           `json:"created_at,omitzero"`
	Feature      int                 `json:"feature"`
	Clock        catalog.ClusterTime `json:"clock"`
	Settings     catalog.Settings    `json:"settings"`

	NextMember uint32                `json:"next_member"` // number of the next new member
	States     map[catalog.State]int `json:"states"`      // packages by state
	Pending    int                   `json:"pending"`     // notices
	Histogram  []int                 `json:"histogram"`   // referenced, packed blobs by number of holders

	FrozenUntil catalog.ClusterTime `json:"frozen_until,omitempty"` // nothing is retired before

	CheckedAt catalog.ClusterTime `json:"checked_at,omitempty"` // of the newest CheckContents

	Naming *naming `json:"naming,omitempty"` // never changed in place; nil below feature level 3, and when the index of names is whole

	members  []member // in the order of their numbers; stored in their own bucket
	departed int      // members whose holder entries are not swept yet

	layout catalog.Layout   // of version 0 below feature level 2; stored in their own row
	kept   []catalog.Layout // newest first; their nodes are shared and never changed
	alarms []catalog.Alarm  // oldest first; stored in their own row
}

// A member is a row of the member table with the short number that stands for it
// in blob rows. Numbers are never used twice.
type member struct {
	catalog.Member
	No uint32 `json:"no"`
}

func (h *head) clone() *head {
	c := *h
	c.States = maps.Clone(h.States)
	c.Histogram = slices.Clone(h.Histogram)
	c.members = slices.Clone(h.members)
	c.alarms = slices.Clone(h.alarms)
	c.Settings.MailTo = slices.Clone(h.Settings.MailTo)
	return &c
}

// member returns the row of id.
func (h *head) member(id catalog.NodeID) (member, bool) {
	i := slices.IndexFunc(h.members, func(m member) bool { return m.ID == id })
	if i < 0 {
		return member{}, false
	}
	return h.members[i], true
}

// byNumber returns the member with a number, if it is still one.
func (h *head) byNumber(no uint32) (member, bool) {
	i, ok := slices.BinarySearchFunc(h.members, no, func(m member, no uint32) int { return int(int64(m.No) - int64(no)) })
	if !ok {
		return member{}, false
	}
	return h.members[i], true
}

// prepare creates missing buckets and loads the head.
func prepare(db *bolt.DB) (*head, error) {
	var h *head
	err := db.Update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketMeta); b != nil {
			var err error
			h, err = loadHead(tx)
			return err
		}
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		h = &head{Schema: schemaVersion, Feature: 1, Clock: 1, Settings: catalog.DefaultSettings(), NextMember: 1, States: map[catalog.State]int{}}
		return saveHead(tx, h)
	})
	return h, err
}

func loadHead(tx *bolt.Tx) (*head, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return nil, fmt.Errorf("bucket %s: none: not a catalog: %w", bucketMeta, catalog.ErrInvalid)
	}
	h := &head{}
	if err := json.Unmarshal(meta.Get(keyHead), h); err != nil {
		return nil, fmt.Errorf("head row: %w", err)
	}
	if h.Schema != schemaVersion {
		return nil, fmt.Errorf("schema %d, this build reads %d; run the version that wrote it: %w", h.Schema, schemaVersion, catalog.ErrInvalid)
	}
	if h.Feature > MaxFeature {
		return nil, fmt.Errorf("feature level %d, this build knows levels to %d; run the version that wrote it, or a newer one: %w",
			h.Feature, MaxFeature, catalog.ErrInvalid)
	}
	if name := missingBucket(tx, h.Feature); name != nil {
		return nil, fmt.Errorf("bucket %s: none: damaged file: %w", name, catalog.ErrInvalid)
	}
	err := tx.Bucket(bucketMembers).ForEach(func(_, v []byte) error {
		var m member
		if err := json.Unmarshal(v, &m); err != nil {
			return fmt.Errorf("member row: %w", err)
		}
		h.members = append(h.members, m)
		return nil
	})
	slices.SortFunc(h.members, func(a, b member) int { return int(int64(a.No) - int64(b.No)) })
	h.departed = tx.Bucket(bucketDeparted).Stats().KeyN
	if h.States == nil {
		h.States = map[catalog.State]int{}
	}
	return h, errors.Join(err, h.loadOperate(tx))
}

func saveHead(tx *bolt.Tx, h *head) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyHead, b)
}

// ClusterID is empty until CreateCluster is applied.
func (f *FSM) ClusterID() catalog.ClusterID { return f.head.Load().ClusterID }

// ClusterTime is what Tick commands have counted so far.
func (f *FSM) ClusterTime() catalog.ClusterTime { return f.head.Load().Clock }

// FeatureLevel starts at 1.
func (f *FSM) FeatureLevel() int { return f.head.Load().Feature }

// Settings returns the cluster-wide settings.
func (f *FSM) Settings() catalog.Settings { return f.head.Load().clone().Settings }

// MemberCount returns the number of rows of the member table.
func (f *FSM) MemberCount() int { return len(f.head.Load().members) }

// Members returns the member table by name.
func (f *FSM) Members() []catalog.Member {
	ms := []catalog.Member{}
	for _, m := range f.head.Load().members {
		ms = append(ms, m.Member)
	}
	slices.SortFunc(ms, func(a, b catalog.Member) int { return strings.Compare(a.Name, b.Name) })
	return ms
}

// Member returns one row of the member table, or an ErrNotFound.
func (f *FSM) Member(id catalog.NodeID) (catalog.Member, error) {
	m, ok := f.head.Load().member(id)
	if !ok {
		return catalog.Member{}, fmt.Errorf("member %s: not in the member table: %w", id, catalog.ErrNotFound)
	}
	return m.Member, nil
}

// Counts are totals for status pages.
type Counts struct {
	Packages       map[catalog.State]int
	PendingNotices int
	Blobs          int // referenced and packed
}

// Counts returns totals without reading rows.
func (f *FSM) Counts() Counts {
	h := f.head.Load()
	c := Counts{Packages: maps.Clone(h.States), PendingNotices: h.Pending}
	for _, n := range h.Histogram {
		c.Blobs += n
	}
	return c
}

// MinHolders returns the fewest holders of any referenced blob that has been
// packed; false if there is none. While entries of departed members are not swept
// yet it may be too low, never too high.
func (f *FSM) MinHolders() (int, bool) {
	h := f.head.Load()
	i := slices.IndexFunc(h.Histogram, func(n int) bool { return n > 0 })
	return max(0, i-h.departed), i >= 0
}

// UnderReplicated counts the referenced, packed blobs with fewer than want
// holders. While entries of departed members are not swept yet it may be too
// high, never too low.
func (f *FSM) UnderReplicated(want int) int {
	h := f.head.Load()
	sum := 0
	for holders, n := range h.Histogram {
		if holders < want+h.departed {
			sum += n
		}
	}
	return sum
}
