//go:build race

package raftfsm_test

// missAllocs bounds the allocations of a miss: with the race detector pools lose some
// of what they are given.
const missAllocs = 8
