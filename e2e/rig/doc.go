// Package rig runs symkeep nodes as processes, each on a host of its own, and
// breaks them: the network between the hosts, their disks, their processes, their
// clocks and the bytes they keep. It is a library for tests and judges nothing.
//
// A host is a network namespace with an address, and a directory that may lie on a
// file system of its own. Hosts see each other over one bridge, which the faults
// are on, and the harness over another, which they are not on: a client in the
// test's own process reaches every node at its usual address, also one that no
// other host can reach. Linux, root and the programs of scripts/need.sh group net
// are needed. Several rigs may be used on one machine at once.
//
// The methods of a Rig and of what belongs to it are safe for concurrent use,
// except that one Host is started, stopped and damaged by one goroutine at a time.
package rig
