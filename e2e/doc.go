// Package e2e proves symkeep from outside: real nodes as processes, real debuggers
// and mail and file servers as clients, real faults. It holds tests and nothing
// else. `make test` installs the clients; where one is missing a test is skipped,
// except when CI is set.
package e2e
