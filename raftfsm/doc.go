// Package raftfsm is the replicated catalog of a cluster: commands come in through
// the raft log, packages, files, blobs, keys and members come out as views.
//
// It owns one bbolt file per node, fsm.db, and the meaning of every command. Apply
// is a function of the log alone: no clock, no randomness, no network, no order of
// a map. The effects of a batch and the index they reach are written in one
// transaction, so a crash repeats or skips nothing. A refused command is a Result;
// an entry this build cannot decode, and any I/O error, panics and so stops the
// node: a stopped node can be upgraded, a diverged one cannot be trusted.
//
// Bytes of symbols, placement, raft itself and wall-clock time belong to others.
// FORMAT.md specifies schema version 1: buckets, rows, commands, snapshots.
//
// Raft calls Apply, ApplyBatch, Snapshot and Restore from one goroutine. All views
// are safe for concurrent use, run in short read transactions and return copies.
package raftfsm
