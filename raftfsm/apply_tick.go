package raftfsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"symkeep/internal/catalog"
)

// maxExpired bounds the leases and claims that one tick ends.
const maxExpired = 100

// MaxTick bounds Tick.Millis: a leader that slept proposes several.
const MaxTick = 600_000

func (c Tick) apply(s *state) (any, error) {
	if c.Millis < 1 || c.Millis > MaxTick {
		return nil, fmt.Errorf("tick of %d ms: wanted 1 to %d: %w", c.Millis, MaxTick, catalog.ErrInvalid)
	}
	s.head.Clock += catalog.ClusterTime(c.Millis)
	value := TickValue{Now: s.head.Clock}
	for value.Expired < maxExpired {
		id, ok := s.overdue(bucketLeases)
		if !ok {
			break
		}
		s.expireLease(id, "the upload stopped and its lease ran out")
		value.Expired++
	}
	for stuck := false; value.Expired < maxExpired && !stuck; value.Expired++ {
		id, ok := s.overdue(bucketClaims)
		if !ok {
			break
		}
		// A notice is named by its log index, so one tick makes at most one.
		stuck = s.expireClaim(id, c.At)
	}
	s.moreNames()
	_, leases := s.overdue(bucketLeases)
	_, claims := s.overdue(bucketClaims)
	value.More = leases || claims
	return value, nil
}

// overdue returns the package of a bucket sorted by time whose time is longest
// past.
func (s *state) overdue(bucket []byte) (catalog.PackageID, bool) {
	k, _ := s.tx.Bucket(bucket).Cursor().First()
	if k == nil || keyTime(k) >= s.head.Clock {
		return "", false
	}
	return catalog.PackageID(k[8:]), true
}

func (s *state) mustRow(id catalog.PackageID) *packageRow {
	r, err := s.row(id)
	if err != nil {
		panic(fmt.Sprintf("raftfsm: log index %d: an index names package %s: %v", s.index, id, err))
	}
	return r
}

func (s *state) expireLease(id catalog.PackageID, reason string) {
	r := s.mustRow(id)
	r.State, r.Terminal, r.Lease = catalog.StateExpired, s.head.Clock, 0
	r.Reason = reason
	s.putPackage(r)
	s.emitPackage(PackageExpired, id)
}

// expireClaim ends the claim of a validator that fell silent, and reports whether
// the package is stuck now.
func (s *state) expireClaim(id catalog.PackageID, at time.Time) (stuck bool) {
	r := s.mustRow(id)
	node := r.Claim.Node
	r.Claim = nil
	r.Attempts++
	r.resetReport()
	if r.Attempts < maxAttempts {
		s.putPackage(r)
		s.emitPackage(PackageCommitted, id)
		return false
	}
	r.State = catalog.StateStuck
	r.Reason = fmt.Sprintf("%d validators in a row did not finish, the last one on member %s", r.Attempts, node)
	s.putPackage(r)
	s.emitPackage(PackageStuck, id)
	s.notify(catalog.Notice{Package: id, Kind: catalog.NoticeStuck, At: at})
	return true
}

// notify puts a notice into the outbox if people asked for mail.
func (s *state) notify(n catalog.Notice) {
	if len(s.head.Settings.MailTo) == 0 {
		return
	}
	n.Seq, n.State, n.Next = s.index, catalog.NoticePending, s.head.Clock
	s.putNotice(noticeRow{Notice: n})
	s.head.Pending++
	s.emit(Event{Type: NoticeChanged})
}

// A noticeRow is a notice with the cluster time it was over.
type noticeRow struct {
	catalog.Notice
	Done catalog.ClusterTime `json:"done,omitempty"`
}

func noticeKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// putNotice writes a row and the index entry its state asks for.
func (s *state) putNotice(n noticeRow) {
	key := noticeKey(n.Seq)
	s.put(bucketNotices, key, mustJSON(n))
	if n.State == catalog.NoticePending {
		s.put(bucketPending, key, nil)
		return
	}
	s.delete(bucketPending, key)
	s.put(bucketSweep, sweepKeyOf(n.Done+KeepNotice, sweepNotice, key), nil)
}

func decodeNotice(v []byte) noticeRow {
	var n noticeRow
	if err := json.Unmarshal(v, &n); err != nil {
		panic(fmt.Sprintf("raftfsm: notice row: %v", err))
	}
	return n
}

func (c MarkNotice) apply(s *state) (any, error) {
	v := bytes.Clone(s.get(bucketNotices, noticeKey(c.Seq)))
	if v == nil {
		return nil, fmt.Errorf("notice %d: none: %w", c.Seq, catalog.ErrNotFound)
	}
	n := decodeNotice(v)
	if n.State != catalog.NoticePending {
		return nil, nil
	}
	switch c.State {
	case catalog.NoticePending, catalog.NoticeSent, catalog.NoticeDropped:
	default:
		return nil, fmt.Errorf("notice %d: state %.32q: wanted pending, sent or dropped: %w", c.Seq, c.State, catalog.ErrInvalid)
	}
	if c.DelayMillis < 0 || c.DelayMillis > KeepNotice || len(c.Error) > MaxFindingBytes || c.Attempts < 0 {
		return nil, fmt.Errorf("notice %d: %d attempts, delay of %d ms, error of %d bytes: out of bounds: %w",
			c.Seq, c.Attempts, c.DelayMillis, len(c.Error), catalog.ErrInvalid)
	}
	n.State, n.Attempts, n.Error = c.State, c.Attempts, c.Error
	n.Next = s.head.Clock + catalog.ClusterTime(c.DelayMillis)
	if c.State != catalog.NoticePending {
		n.Done = s.head.Clock
		s.head.Pending--
	}
	s.putNotice(n)
	s.emit(Event{Type: NoticeChanged})
	return nil, nil
}
