// Package ops holds the commands by which people look at and change a cluster:
// package, find, cluster, backup and fsck. Each is a cobra command that prints a
// table, or with --json one JSON object per line. Those about a running cluster ask
// the servers they are given in turn, over /api/v1; those about the data directory
// of a node that does not run are handed what they need in Env.
//
// What destroys or moves data prints its plan first; what destroys does it only with
// --yes. Commands that wait take servers that are down for a reason to go on
// waiting, until their patience ends. The package also owns the exit statuses of the
// whole program, see ExitCode.
package ops
