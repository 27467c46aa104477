package blobstore

// Unexported codecs, for their fuzz target.
var (
	EncodeEntry = encodeEntry
	DecodeEntry = decodeEntry
)

const (
	HeldMost = heldMost
	HeldFor  = heldFor
)

// Held returns how much memory is taken by bytes that are not in their files.
func (c *Cache) Held() int64 { return c.held.Load() }

// HoldIndex takes the turn to write the index, so that updates queue up. commit makes
// one transaction of them, without giving the turn back; release does that.
func (s *Store) HoldIndex() (commit, release func()) {
	s.index.writing <- struct{}{}
	return s.index.commit, func() { <-s.index.writing }
}
