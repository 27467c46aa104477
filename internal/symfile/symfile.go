// Package symfile tells what a file is from its first bytes, and holds the few
// words that its sub-packages, one parser per format, share: names of
// architectures and the error for bytes that do not make sense.
//
// Parsers below this package take an io.ReaderAt and give facts: no policy, no
// I/O beyond the reader, no memory taken on the word of the file. They never
// panic on content. Values are safe for concurrent use once made.
package symfile

import (
	"fmt"
)

// Names of architectures, as catalog.File.Arch and catalog.IDs.Arch carry them.
// A parser that meets another one prints it as 0x and the number of its format.
const (
	ArchX86    = "x86"
	ArchX64    = "x64"
	ArchARM    = "arm"
	ArchARM64  = "arm64"
	ArchAnyCPU = "anycpu" // managed code of no architecture
)

// A FormatError says where a file stops making sense. Kind is a sentinel of the
// parser that callers test with errors.Is.
type FormatError struct {
	Off   int64  // bytes from the start of the file, or of the stream What names
	What  string // the field or structure
	Found string
	Want  string
	Kind  error
}

// Error returns "what at 0xoff: found x, wanted y: kind".
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s at %#x: found %s, wanted %s: %v", e.What, e.Off, e.Found, e.Want, e.Kind)
}

// Unwrap returns Kind.
func (e *FormatError) Unwrap() error { return e.Kind }
