package raftfsm

import (
	"sync"

	"symkeep/internal/catalog"
)

// An EventType says what a change was about.
type EventType string

// Types of change.
const (
	PackageOpened    EventType = "package-opened"
	PackageCommitted EventType = "package-committed" // also when it goes back to the queue
	PackageClaimed   EventType = "package-claimed"
	PackageVerdict   EventType = "package-verdict"
	PackageStuck     EventType = "package-stuck"
	PackageExpired   EventType = "package-expired"
	PackageTrashed   EventType = "package-trashed"
	PackageUndeleted EventType = "package-undeleted"
	PackagePurged    EventType = "package-purged"
	BlobHolders      EventType = "blob-holders" // receipts came or copies went
	BlobIdle         EventType = "blob-idle"    // the last reference went
	BlobRetired      EventType = "blob-retired" // copies may be unlinked
	MembersChanged   EventType = "members"
	SettingsChanged  EventType = "settings"
	NoticeChanged    EventType = "notice"
	LayoutChanged    EventType = "layout" // also when a member has caught up with it, or a former one is forgotten
	AlarmsChanged    EventType = "alarms"
)

// An Event is one change of the catalog. Package and Digest are set where the type
// names one.
type Event struct {
	Index   uint64
	Type    EventType
	Package catalog.PackageID
	Digest  catalog.Digest
	Gen     uint64 // of BlobRetired
}

// feedSize bounds the events kept for one subscriber.
const feedSize = 8192

// feed hands changes to subscribers without ever blocking Apply. The zero value
// is ready.
type feed struct {
	mu   sync.Mutex
	subs map[*Subscription]bool
}

// A Subscription receives changes from the moment Subscribe returned.
type Subscription struct {
	feed  *feed
	ready chan struct{} // capacity 1

	mu       sync.Mutex
	events   []Event
	seen     map[Event]bool // of events, without the index
	overflow bool
}

// Subscribe starts a subscription. Equal changes that wait together become one,
// with the oldest index: an event says where to look, not what is there. The
// caller closes it.
func (f *FSM) Subscribe() *Subscription {
	s := &Subscription{feed: &f.feed, ready: make(chan struct{}, 1), seen: map[Event]bool{}}
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if f.feed.subs == nil {
		f.feed.subs = map[*Subscription]bool{}
	}
	f.feed.subs[s] = true
	return s
}

// Ready holds a value when Take has something to give.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Take returns the waiting changes in log order, at most 8192. If overflow is true
// some were lost, or the whole catalog was replaced: the caller looks at the
// catalog afresh.
func (s *Subscription) Take() (events []Event, overflow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, overflow = s.events, s.overflow
	s.events, s.overflow = nil, false
	clear(s.seen)
	return events, overflow
}

// send hands events to every subscriber; a full one loses them and is told.
func (f *feed) send(events []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.add(events)
	}
}

// lose tells every subscriber to look afresh.
func (f *feed) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.mu.Lock()
		s.overflow = true
		s.mu.Unlock()
		s.wake()
	}
}

func (s *Subscription) add(events []Event) {
	if len(events) == 0 {
		return
	}
	s.mu.Lock()
	for _, e := range events {
		same := e
		same.Index = 0
		if s.seen[same] {
			continue
		}
		if len(s.events) >= feedSize {
			s.overflow = true
			break
		}
		s.seen[same] = true
		s.events = append(s.events, e)
	}
	s.mu.Unlock()
	s.wake()
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default: // a wake-up waits already
	}
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	delete(s.feed.subs, s)
}
