//go:build !race

package raftfsm_test

// missAllocs bounds the allocations of a miss: below one, for the collector may empty
// a pool meanwhile.
const missAllocs = 1
