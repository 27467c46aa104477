// Package ops holds the commands by which people look at and change a running
// cluster: package, find and cluster. Each is a cobra command that asks one server
// of /api/v1 and prints a table, or with --json one JSON object per line.
//
// What destroys something prints its plan first and does it only with --yes. The
// package also owns the exit statuses of the whole program, see ExitCode. It reads
// neither environment nor files, except the one that `find` identifies.
package ops
