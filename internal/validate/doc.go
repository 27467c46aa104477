// Package validate checks the files of one package, each by itself and all
// together, and gives findings and a verdict. The agent runs it on files of the
// build machine, a node on bytes decoded from packed blobs.
//
// It knows policy: which damage fails a package and what a person should do. The
// parsers below internal/symfile know the formats. A file's content never makes
// an error here: errors are I/O, a cancelled context, or a bug of ours, and say
// nothing about the package.
//
// A format is one entry of the formats table plus the file that holds its
// checks; checks across files are entries of packageChecks. Every finding goes
// through a subject's add methods, with a code of the codes table.
//
// Package may be called from several goroutines; it starts its own workers and
// waits for them.
package validate
