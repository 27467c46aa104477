package symid

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrBadName is wrapped by every error about a name that cannot stand in a
// lookup path or a package.
var ErrBadName = errors.New("unacceptable file name")

// MaxName is the longest base name, in bytes.
const MaxName = 255

// BaseName returns what follows the last slash or backslash, as debuggers cut
// the paths that images record.
func BaseName(path string) string {
	return path[strings.LastIndexAny(path, `/\`)+1:]
}

// CheckName refuses what cannot be one path segment on every system: empty, too
// long, dots only, separators, control characters, a colon, invalid UTF-8.
// Errors wrap ErrBadName and quote the name.
func CheckName(name string) error {
	reason := ""
	switch {
	case isPlainName(name):
		return nil
	case name == "":
		reason = "empty"
	case len(name) > MaxName:
		reason = fmt.Sprintf("%d bytes, at most %d are accepted", len(name), MaxName)
	case strings.Trim(name, ".") == "":
		reason = "only dots"
	case strings.ContainsAny(name, `/\:`):
		reason = "holds a separator or a colon"
	case !utf8.ValidString(name):
		reason = "not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		reason = "holds a control character"
	default:
		return nil
	}
	return fmt.Errorf("name %q: %s: %w", clip(name), reason, ErrBadName)
}

// isPlainName accepts most names at a glance: printable ASCII that begins with a letter,
// a digit or an underscore.
func isPlainName(name string) bool {
	if name == "" || len(name) > MaxName || !isWord(name[0]) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c >= 0x7f || c == '/' || c == '\\' || c == ':' {
			return false
		}
	}
	return true
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
