package ops

// For the tests.
var (
	Span   = span
	Short  = short
	Table  = table
	Wrap   = wrapped
	Plural = plural[int]

	WriteWhole = writeWhole
	LeftAfter  = leftAfter
)

// LineWidth is where text is broken.
const LineWidth = lineWidth
