// Package lint has no code, only tests about the repository's own: the one
// direction of imports, the doors of dependencies, package and file names, doc
// comments, formatting. It reads source files and never the build's result, so
// it sees every platform's files.
package lint
