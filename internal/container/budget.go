package container

import "fmt"

// Limits bound what one archive, with all that is nested in it, may unpack to. The
// fields of DefaultLimits are right for symbol files.
type Limits struct {
	Members int   // regular files, in all archives together
	Bytes   int64 // unpacked
	Depth   int   // of archives inside archives; 1 is an archive of files
	// Ratio is how many bytes may come out of one packed byte, once RatioFrom bytes
	// have come out: symbol files hold long runs of zeros, but not that many.
	Ratio     int64
	RatioFrom int64
}

// DefaultLimits returns the limits that agents and nodes use.
func DefaultLimits() Limits {
	return Limits{Members: 1_000_000, Bytes: 256 << 30, Depth: 5, Ratio: 200, RatioFrom: 64 << 20}
}

// A LimitError says which limit an archive exceeds.
type LimitError struct {
	What  string // what is counted
	Max   int64  // how much of it is accepted
	Found int64  // more than Max; how much more is not known
}

// Error names the limit and both numbers.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: found %d or more, at most %d are accepted", e.What, e.Found, e.Max)
}

// A Budget is what is left of the limits of one outermost archive.
type Budget struct {
	limits  Limits
	packed  int64 // bytes of the outermost archive
	depth   int
	members int
	// What came out of decoders and what came out as members are counted apart: a
	// member that nobody reads is decoded all the same, and a sparse one is longer
	// than what was decoded.
	decoded, read int64
}

// NewBudget returns the budget of an archive of packed bytes.
func NewBudget(l Limits, packed int64) *Budget { return &Budget{limits: l, packed: packed} }

// Take counts bytes that are unpacked out of a member as if they were one.
func (b *Budget) Take(bytes int64) error { return b.add(&b.read, int(bytes)) }

// enter counts one level of nesting; leave takes it back.
func (b *Budget) enter() error {
	if b.depth++; b.depth > b.limits.Depth {
		return &LimitError{"archives inside archives", int64(b.limits.Depth), int64(b.depth)}
	}
	return nil
}

func (b *Budget) leave() { b.depth-- }

func (b *Budget) member() error {
	if b.members++; b.members > b.limits.Members {
		return &LimitError{"files in the archive", int64(b.limits.Members), int64(b.members)}
	}
	return nil
}

// add counts n bytes on one of the two counters.
func (b *Budget) add(counter *int64, n int) error {
	*counter += int64(n)
	switch total := *counter; {
	case total > b.limits.Bytes:
		return &LimitError{"unpacked bytes", b.limits.Bytes, total}
	case total > b.limits.RatioFrom && total/max(b.packed, 1) >= b.limits.Ratio:
		return &LimitError{fmt.Sprintf("unpacked bytes per packed byte, past the first %d", b.limits.RatioFrom), b.limits.Ratio, total/max(b.packed, 1) + 1}
	}
	return nil
}
