package symid

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// MaxSource is the longest path of a source file, in bytes.
const MaxSource = 2048

// SourceKey names a source file of the program with a build id, or with the UUID of a
// Mach-O file, by a path of CleanSource. An empty id stands for every program of the
// package that the source file is in: a catalog stores sources in that form.
func SourceKey(id BuildID, path string) Key {
	return Key{Kind: KindSource, ID: string(id), Artifact: Source, Name: path}
}

// CleanSource returns the one form of a path that debug information gives a source
// file: it begins with a slash and has no empty, "." or ".." element. Debuggers may or
// may not clean paths before they ask (elfutils, debuginfod(8)), and some leave the
// slash of a relative one out. Paths of Windows get slashes.
func CleanSource(p string) string {
	p = strings.TrimLeft(p, "/")
	if isDrive(p) || strings.HasPrefix(p, `\`) {
		p = strings.TrimLeft(strings.ReplaceAll(p, `\`, "/"), "/")
	}
	return path.Clean("/" + p)
}

// isDrive reports whether p begins with a drive of Windows.
func isDrive(p string) bool {
	return len(p) >= 2 && p[1] == ':' && 'a' <= p[0]|0x20 && p[0]|0x20 <= 'z'
}

// CheckSource refuses what is no path of CleanSource, longer than MaxSource, or not
// plain UTF-8 text. Errors wrap ErrBadName.
func CheckSource(p string) error {
	reason := ""
	switch {
	case len(p) < 2 || len(p) > MaxSource:
		reason = fmt.Sprintf("%d bytes, wanted 2 to %d", len(p), MaxSource)
	case CleanSource(p) != p:
		reason = "wanted " + clip(CleanSource(p))
	case !utf8.ValidString(p):
		reason = "not UTF-8"
	case strings.ContainsFunc(p, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		reason = "holds a control character"
	default:
		return nil
	}
	return fmt.Errorf("source path %q: %s: %w", clip(p), reason, ErrBadName)
}

// sourcePath is p in a URL, as debuginfod's client library escapes it.
func sourcePath(p string) string {
	parts := strings.Split(p, "/")
	for i, e := range parts {
		parts[i] = url.PathEscape(e)
	}
	return strings.Join(parts, "/")
}
