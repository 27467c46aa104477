package agent

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"strings"
)

// textHead is how much of a source file is looked at to see that it is text.
const textHead = 8 << 10

// Places that hold no sources, and things that nobody means to publish. Debug
// information is data of others: it may name any file of this machine.
var (
	foreignRoots = []string{"dev", "etc", "proc", "run", "sys"}
	privateNames = []string{".aws", ".azure", ".docker", ".git", ".gnupg", ".kube", ".netrc", ".password-store", ".ssh"}
)

// local returns where a source file may be on this machine, by its true path; false if
// it can be nowhere.
func (c *collector) local(name string) (string, bool) {
	path, ok := c.mapped(name)
	if !ok {
		return "", false
	}
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	return path, err == nil
}

// mapped applies the longest root that fits. Without one only a name that begins at a
// root of this machine will do.
func (c *collector) mapped(name string) (string, bool) {
	best, at := -1, ""
	for i, r := range c.roots {
		if rest, ok := below(name, r.From); ok && (best < 0 || len(r.From) > len(c.roots[best].From)) {
			best, at = i, rest
		}
	}
	if best < 0 {
		return name, filepath.IsAbs(name)
	}
	return filepath.Join(c.roots[best].To, filepath.FromSlash(at)), true
}

// below returns what of name follows the folder from. Names may be those of Windows.
func below(name, from string) (string, bool) {
	name, from = strings.ReplaceAll(name, `\`, "/"), strings.ReplaceAll(from, `\`, "/")
	if from == "." {
		rooted := strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':'
		return name, !rooted
	}
	rest, ok := strings.CutPrefix(name, from)
	return rest, ok && (rest == "" || strings.HasSuffix(from, "/") || strings.HasPrefix(rest, "/"))
}

// private reports whether a file is in a place of which nothing is taken.
func private(path string) bool {
	parts := strings.Split(filepath.ToSlash(path), "/")
	if len(parts) > 1 && parts[0] == "" && slices.Contains(foreignRoots, parts[1]) {
		return true
	}
	return slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(privateNames, p) })
}

// admit hashes the text of a source file, unless it is none to be taken. md5 is what the
// compiler says of what it read, if it does.
func (f *File) admit(text []byte, sum string) (reason, bool) {
	if private(f.Local) || bytes.IndexByte(text[:min(len(text), textHead)], 0) >= 0 {
		return unfit, false
	}
	if have := md5.Sum(text); sum != "" && sum != string(have[:]) {
		return changed, false
	}
	f.SHA256 = sha256.Sum256(text)
	return 0, true
}
