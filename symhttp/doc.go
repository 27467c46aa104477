// Package symhttp answers every inbound HTTP request: the debugger protocols,
// /api/v1, health and metrics on the public address, /peer/v1 on the peer
// address. It owns status codes, headers, conditions, ranges, encodings and
// timeouts. It decides nothing about packages or bytes: roles.go declares what it
// asks of others.
//
// Three answers to a debugger exist: the whole truth (200, 206, 304), a miss that
// the cluster stands for (404), and a reset connection. Nothing else: clients
// keep a 401, 429 or 5xx in mind as if it were a miss, or stop asking, while a
// reset is retried.
//
// Fasthttp reads requests and runs handlers. On Linux, connections whose requests are
// answered from memory are served by loops of our own, with the same bytes: loop_linux.go.
//
// The protocols are those of SymSrv, SSQP, Breakpad and debuginfod; HTTP follows
// RFC 9110 and 9112. All types are safe for concurrent use.
package symhttp
