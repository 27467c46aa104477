package validate

import (
	"io"
	"testing"
)

// Facts of each format, of which tests look at the fields.
var (
	FactsPE       any = &peFacts{}
	FactsPDB      any = &pdbFacts{}
	FactsPortable any = &portableFacts{}
	FactsMachO    any = &machoFacts{}
	FactsSlice    any = &machoSlice{}
	FactsELF      any = &elfFacts{}
)

// ChecksVersion is what entries of this build are marked with.
func ChecksVersion(t testing.TB) string {
	v, err := checksVersion()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// NewHeaderReader returns the reader behind Identify.
func NewHeaderReader(r io.ReaderAt, size int64) io.ReaderAt { return newHeaderReader(r, size) }
