package validate

import (
	"hash/maphash"
	"slices"
	"strings"
)

// Bounds of Names: what a hostile file names is no longer counted then.
const (
	maxNames    = 1 << 20
	maxExamples = 3
)

// Names counts different names, and keeps the first few of them in the order of text as
// examples. The zero value is empty. It belongs to one goroutine.
type Names struct {
	seen     map[uint64]struct{} // hashes: there may be a million paths
	seed     maphash.Seed
	examples []string
}

// Add counts a name, and reports whether it is one that was not there.
func (n *Names) Add(name string) bool {
	if n.seen == nil {
		n.seen, n.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	}
	h := maphash.String(n.seed, name)
	if _, known := n.seen[h]; known || len(n.seen) == maxNames {
		return false
	}
	n.seen[h] = struct{}{}
	if i, _ := slices.BinarySearch(n.examples, name); i < maxExamples {
		n.examples = slices.Insert(n.examples, i, name)
		n.examples = n.examples[:min(len(n.examples), maxExamples)]
	}
	return true
}

// Len returns how many different names there are.
func (n *Names) Len() int { return len(n.seen) }

// String returns the examples, quoted.
func (n *Names) String() string {
	var all []string
	for _, e := range n.examples {
		all = append(all, quote(e))
	}
	return strings.Join(all, ", ")
}
