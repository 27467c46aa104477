// Package catalog holds the nouns of symkeep and their invariants: packages,
// files, blobs, keys, verdicts, findings, members and settings. It does no I/O,
// reads no clock and no randomness. Values are plain data; whoever receives one
// may change its copy.
//
// The JSON forms are stored in the replicated state and spoken on the wire, so
// fields are added, never changed.
package catalog
