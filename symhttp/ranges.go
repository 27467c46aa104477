package symhttp

import (
	"strconv"
	"strings"
)

// A span is a part of a representation: n bytes from off on.
type span struct{ off, n int64 }

// end returns the offset after the last byte.
func (s span) end() int64 { return s.off + s.n }

// rangeResult says what a Range header asks for.
type rangeResult int

const (
	rangeWhole rangeResult = iota // none, several, or none we understand: answer everything
	rangePart                     // one satisfiable range
	rangeOut                      // one range without any byte: 416
)

// parseRange reads a Range header (RFC 9110 section 14.2) for a representation of
// size bytes. Several ranges are answered with everything, which is allowed, and
// so is what does not parse.
func parseRange(header string, size int64) (span, rangeResult) {
	whole := span{0, size}
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(set, ",") {
		return whole, rangeWhole
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return whole, rangeWhole
	}
	if first == "" {
		return suffixRange(last, size)
	}
	a, ok := parseOffset(first)
	if !ok {
		return whole, rangeWhole
	}
	b := size - 1
	if last != "" {
		v, ok := parseOffset(last)
		if !ok || v < a {
			return whole, rangeWhole
		}
		b = min(b, v)
	}
	if a >= size {
		return whole, rangeOut
	}
	return span{a, b - a + 1}, rangePart
}

// suffixRange is the last n bytes.
func suffixRange(n string, size int64) (span, rangeResult) {
	v, ok := parseOffset(n)
	switch {
	case !ok:
		return span{0, size}, rangeWhole
	case v == 0 || size == 0:
		return span{0, size}, rangeOut
	}
	v = min(v, size)
	return span{size - v, v}, rangePart
}

// parseOffset reads digits; what does not fit is as far as anything can be.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return v, true
}
