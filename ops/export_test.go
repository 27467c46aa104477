package ops

import "symkeep/internal/symfile/minidump"

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

// ModuleKeys returns "role query" of each key of a dump's modules, and the problems of
// modules without any.
func ModuleKeys(d *minidump.Dump) (keys, problems []string) {
	for _, m := range minidumpModules(d) {
		for _, k := range m.keys {
			keys = append(keys, string(k.role)+" "+queryOf(k.key))
		}
		if m.problem != "" {
			problems = append(problems, m.problem)
		}
	}
	return keys, problems
}
