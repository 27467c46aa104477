package symid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrNotKey says that a path names nothing a debugger could be given. The right
// answer to it is a plain miss.
var ErrNotKey = errors.New("not a lookup path")

// A Lookup is one debugger request, parsed.
type Lookup struct {
	Keys    []Key  // candidates, most likely first; never empty
	Packed  bool   // the cabinet is asked for: the last letter was replaced by _
	Leaf    string // last path element as asked, unfolded; empty for build-id routes
	Section string // the named ELF section of Keys is asked for
	Source  string // a source file is asked for, by this path of CleanSource
}

// ParseLookup parses the path of a request, percent-encoded as on the wire, with
// or without a leading slash, a "symbols" prefix, a two-letter tier, and doubled
// slashes. Errors wrap ErrNotKey.
//
// Accepted are name/id/name (SymStore and SSQP), name/id/nam_ (its cabinet),
// file/debugid/stem.sym (Breakpad) and buildid/ID/{debuginfo,executable,
// section/NAME,source/PATH} (debuginfod).
func ParseLookup(path string) (Lookup, error) {
	dec, err := url.PathUnescape(path)
	if err != nil && strings.Contains(path, "/source/") {
		dec, err = path, nil // LLVM escapes nothing
	}
	if err != nil || len(dec) > 4096 || strings.IndexByte(dec, 0) >= 0 {
		return Lookup{}, fmt.Errorf("path %q: bad escape, NUL byte or too long: %w", clip(path), ErrNotKey)
	}
	if rest, ok := strings.CutPrefix(strings.TrimLeft(dec, "/"), "buildid/"); ok {
		return parseBuildIDRoute(strings.TrimLeft(rest, "/"))
	}
	var room [5]string
	parts := elements(room[:0], dec)
	if len(parts) > 3 && strings.EqualFold(parts[0], "symbols") {
		parts = parts[1:]
	}
	if len(parts) == 4 && isTier(parts[0], parts[1]) {
		parts = parts[1:]
	}
	if len(parts) != 3 {
		return Lookup{}, fmt.Errorf("path %q: wanted name/id/name: %w", clip(path), ErrNotKey)
	}
	return parseStoreRoute(BaseName(parts[0]), parts[1], BaseName(parts[2]))
}

// elements appends the elements of a path that are not empty to parts, until there is no
// room for more: a lookup has few.
func elements(parts []string, path string) []string {
	for path != "" && len(parts) < cap(parts) {
		var e string
		if e, path, _ = strings.Cut(path, "/"); e != "" {
			parts = append(parts, e)
		}
	}
	if len(parts) == cap(parts) && strings.Trim(path, "/") != "" {
		return nil
	}
	return parts
}

// isTier reports whether tier is the two-letter folder of name in a SymStore with
// an index2.txt; some clients shorten it to one letter.
func isTier(tier, name string) bool {
	return len(tier) <= 2 && len(tier) < len(name) && strings.EqualFold(tier, name[:len(tier)])
}

func parseBuildIDRoute(rest string) (Lookup, error) {
	idText, what, _ := strings.Cut(rest, "/")
	ids, err := buildIDs(idText)
	if err != nil {
		return Lookup{}, fmt.Errorf("%w: %w", err, ErrNotKey)
	}
	what = strings.TrimLeft(what, "/")
	verb, arg, _ := strings.Cut(what, "/")
	var l Lookup
	artifacts := []Artifact{Debuginfo}
	switch {
	case verb == "debuginfo" && strings.Trim(arg, "/") == "":
	case verb == "executable" && strings.Trim(arg, "/") == "":
		artifacts = []Artifact{Executable}
	case verb == "section" && arg != "":
		artifacts = []Artifact{Debuginfo, Executable}
		l.Section = arg
	case verb == "source" && arg != "":
		return sourceLookup(ids, CleanSource(arg))
	default:
		return Lookup{}, fmt.Errorf("build-id route %q: unknown artifact: %w", clip(what), ErrNotKey)
	}
	for _, a := range artifacts {
		for _, id := range ids {
			l.Keys = append(l.Keys, BuildIDKey(id, a, ""))
		}
	}
	return l, nil
}

func sourceLookup(ids []BuildID, path string) (Lookup, error) {
	if err := CheckSource(path); err != nil {
		return Lookup{}, fmt.Errorf("%w: %w", err, ErrNotKey)
	}
	l := Lookup{Source: path}
	for _, id := range ids {
		l.Keys = append(l.Keys, SourceKey(id, path))
	}
	return l, nil
}

// buildIDs returns the id as written, then with the zero padding of SSQP keys
// stripped to 16 and to 8 bytes.
func buildIDs(s string) ([]BuildID, error) {
	id, err := ParseBuildID(s)
	if err != nil {
		return nil, err
	}
	ids := []BuildID{id}
	for _, n := range []int{16, 8} {
		if len(id) == 20 && strings.Trim(string(id[n:]), "\x00") == "" {
			ids = append(ids, id[:n])
		}
	}
	return ids, nil
}

func parseStoreRoute(name, id, leaf string) (Lookup, error) {
	if err := errors.Join(CheckName(name), CheckName(leaf)); err != nil {
		return Lookup{}, fmt.Errorf("%w: %w", err, ErrNotKey)
	}
	l := Lookup{Leaf: leaf}
	fname, fleaf := Fold(name), Fold(leaf)
	switch {
	case fleaf == fname:
		l.Keys = withStoreKey(storeKeys(name, id), name, id)
	case isPackedName(fleaf, fname):
		l.Packed = true
		l.Keys = withStoreKey(storeKeys(name, id), name, id)
	default:
		for _, stem := range []string{SymStem(fname), fname} {
			if fleaf == stem+".sym" || fleaf == stem+".sy_" {
				l.Packed = strings.HasSuffix(fleaf, "_")
				if did, err := ParseDebugID(id); err == nil {
					l.Keys = []Key{BreakpadKey(name, did)}
				}
				break
			}
		}
	}
	if len(l.Keys) == 0 {
		return Lookup{}, fmt.Errorf("path %q: no key has this form: %w", clip(name+"/"+id+"/"+leaf), ErrNotKey)
	}
	return l, nil
}

// PackedName returns name with its last character replaced by an underscore, as
// SymStore names a compressed file.
func PackedName(name string) string {
	if name == "" {
		return ""
	}
	r := []rune(name)
	r[len(r)-1] = '_'
	return string(r)
}

func isPackedName(leaf, name string) bool { return leaf == PackedName(name) }

// storeKeys returns every key that name/id/name can mean. Ids of hex digits are
// ambiguous between formats; the index decides.
func storeKeys(name, id string) []Key {
	if strings.IndexByte(id, '-') < 0 {
		return hexKeys(name, id)
	}
	fid := Fold(id)
	if rest, ok := strings.CutPrefix(fid, "elf-buildid-sym-"); ok {
		return buildIDKeys(rest, Debuginfo, "")
	}
	if rest, ok := strings.CutPrefix(fid, "elf-buildid-"); ok {
		return buildIDKeys(rest, Executable, name)
	}
	if rest, ok := strings.CutPrefix(fid, "mach-uuid-sym-"); ok {
		return machOKeys(rest, Debuginfo, "")
	}
	if rest, ok := strings.CutPrefix(fid, "mach-uuid-"); ok {
		return machOKeys(rest, Executable, name)
	}
	return nil
}

// hexKeys returns the keys that an id of nothing but hex digits can mean.
func hexKeys(name, id string) []Key {
	if !isHex(id) {
		return nil
	}
	keys := make([]Key, 0, 3) // an id is at most two of them, and the key of withStoreKey
	if n := len(id); n >= minDebugID && n <= maxDebugID {
		if d, err := ParseDebugID(id); err == nil {
			keys = append(keys, PDBKey(name, d))
		}
	}
	if n := len(id); n >= minCodeID && n <= maxCodeID {
		if c, err := ParseCodeID(id); err == nil {
			keys = append(keys, PEKey(name, c))
		}
	}
	if b, err := hex.DecodeString(evenHex(id)); err == nil && len(b) > 0 && len(b) <= 256 {
		keys = append(keys, WasmKey(name, BuildID(b)))
	}
	return keys
}

// evenHex returns hex digits that are whole bytes, else nothing.
func evenHex(s string) string {
	if len(s)%2 != 0 {
		return ""
	}
	return s
}

// isHex reports whether s is hex digits of either case, one at least.
func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// withStoreKey adds the key that a symbol index may have assigned. It goes last where
// a file's own key holds the name as well: such a key counts more. Build ids and UUIDs
// stand without a name, so that libmscordaccore.so under the id of its runtime would
// be answered with the runtime: there the key with the name goes first, and whoever looks
// it up lets a file go before it that the path means by its own id (OwnKeys, Means). A
// path that is of no known form is no key at all.
func withStoreKey(keys []Key, name, id string) []Key {
	k := StoreKey(name, id)
	switch {
	case k.Valid() != nil:
		return keys
	case len(keys) == 0 && !assignedID(id):
		return nil
	case len(keys) > 0 && keys[0].Artifact == Executable && (keys[0].Kind == KindBuildID || keys[0].Kind == KindMachO):
		return append([]Key{k}, keys...)
	}
	return append(keys, k)
}

// assignedID reports whether id is of a form that only a symbol index assigns: the
// debugger support of a runtime, a source file by its hash, a map of compiled code
// (dotnet/symstore, SSQP_CLR_Private_Key_Conventions.md and SSQP_Key_Conventions.md).
func assignedID(id string) bool {
	id = Fold(id)
	for _, prefix := range []string{"elf-buildid-coreclr-", "mach-uuid-coreclr-", "sha1-", "r2rmap-v1-"} {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			b, err := hex.DecodeString(rest)
			return err == nil && len(b) > 0
		}
	}
	return false
}

func buildIDKeys(s string, a Artifact, name string) []Key {
	ids, err := buildIDs(s)
	if err != nil {
		return nil
	}
	var keys []Key
	for _, id := range ids {
		keys = append(keys, BuildIDKey(id, a, name))
	}
	return keys
}

func machOKeys(s string, a Artifact, name string) []Key {
	g, err := ParseGUID(s)
	if err != nil {
		return nil
	}
	return []Key{MachOKey(g, a, name)}
}
