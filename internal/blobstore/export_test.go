package blobstore

// Unexported codecs, for their fuzz target.
var (
	EncodeEntry = encodeEntry
	DecodeEntry = decodeEntry
)

// HoldIndex takes the turn to write the index, so that updates queue up. commit makes
// one transaction of them, without giving the turn back; release does that.
func (s *Store) HoldIndex() (commit, release func()) {
	s.index.writing <- struct{}{}
	return s.index.commit, func() { <-s.index.writing }
}
