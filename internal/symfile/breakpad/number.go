package breakpad

import (
	"cmp"
	"slices"
)

// Bounds of what is remembered about numbers. Past them, references go unchecked.
const (
	maxNumberBlocks = 1 << 20 // of 64 numbers each
	maxOpenUses     = 1 << 10
)

// numbers remembers which numbers a kind of record defined, and the first uses of
// those that were not defined yet. The zero value is empty.
type numbers struct {
	defined map[uint64]uint64 // number/64 to a bit for each
	open    map[uint64]use
	full    bool
}

// A use is where a number was first referred to.
type use struct {
	number    uint64
	line, off int64
}

func (n *numbers) define(number uint64) {
	if n.defined == nil {
		n.defined = map[uint64]uint64{}
	}
	if _, ok := n.defined[number/64]; !ok && len(n.defined) == maxNumberBlocks {
		n.full = true
		return
	}
	n.defined[number/64] |= 1 << (number % 64)
	delete(n.open, number)
}

func (n *numbers) refer(number uint64, line, off int64) {
	if n.defined[number/64]&(1<<(number%64)) != 0 || len(n.open) == maxOpenUses {
		return
	}
	if n.open == nil {
		n.open = map[uint64]use{}
	}
	if _, ok := n.open[number]; !ok {
		n.open[number] = use{number, line, off}
	}
}

// missing returns the uses of numbers that nothing defined, in file order.
func (n *numbers) missing() []use {
	if n.full {
		return nil
	}
	var us []use
	for _, u := range n.open {
		us = append(us, u)
	}
	slices.SortFunc(us, func(a, b use) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.number, b.number)) })
	return us
}
