package symid

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
)

// A Query is what a person asks by, in any of the forms that tools print ids and
// paths in.
type Query struct {
	Keys []Key // of a path, or of an id of a kind without a name
	// IDs are what a bare id can mean under a name that is not known.
	IDs []BareID
}

// A BareID is the id of a key of a kind that has a name, or its first bytes.
type BareID struct {
	Kind Kind
	ID   string
}

// ParseQuery reads a lookup path, a URL or a folder of a symbol cache that ends in
// one, or a bare id: build id, UUID, GUID, debug id or code id, in hex digits of
// either case with or without dashes and braces. Errors wrap ErrNotKey.
func ParseQuery(text string) (Query, error) {
	text = strings.TrimSpace(text)
	if keys := queryPath(text); len(keys) > 0 {
		return Query{Keys: keys}, nil
	}
	q := queryID(strings.NewReplacer("-", "", "{", "", "}", "").Replace(text))
	if len(q.Keys) == 0 && len(q.IDs) == 0 {
		return Query{}, fmt.Errorf("query %q: neither a lookup path such as foo.pdb/GUIDAGE/foo.pdb nor an id in hex: %w", clip(text), ErrNotKey)
	}
	return q, nil
}

// queryPath returns the keys of a path, whatever stands before it: a host, folders
// of a server or of a cache.
func queryPath(text string) []Key {
	path := text
	if u, err := url.Parse(text); err == nil && strings.Contains(text, "://") {
		path = u.EscapedPath()
	}
	tries := []string{path, strings.ReplaceAll(path, `\`, "/")}
	if i := strings.Index(path, "/buildid/"); i >= 0 {
		tries = append(tries, path[i:])
	}
	if parts := strings.FieldsFunc(tries[1], func(r rune) bool { return r == '/' }); len(parts) >= 3 {
		last := parts[len(parts)-3:]
		if strings.EqualFold(last[2], "file.ptr") { // asked for beside the file itself
			last[2] = last[0]
		}
		tries = append(tries, strings.Join(last, "/"))
	}
	for _, p := range tries {
		if l, err := ParseLookup(p); err == nil {
			return l.Keys
		}
	}
	return nil
}

// queryID returns what hex digits can be the id of. Kinds overlap: the catalog says
// which it is.
func queryID(digits string) Query {
	var q Query
	if id, err := ParseBuildID(digits); err == nil {
		q.Keys = append(q.Keys, BuildIDKey(id, Debuginfo, ""), BuildIDKey(id, Executable, ""))
		q.IDs = append(q.IDs, BareID{KindWasm, string(id)})
	}
	if g, err := ParseGUID(digits); err == nil {
		q.Keys = append(q.Keys, MachOKey(g, Debuginfo, ""), MachOKey(g, Executable, "_"))
		q.IDs = append(q.IDs, BareID{KindPDB, string(g[:])}, BareID{KindBreakpad, string(g[:])})
	}
	if d, err := ParseDebugID(digits); err == nil {
		q.IDs = append(q.IDs, BareID{KindPDB, debugIDBytes(d)}, BareID{KindBreakpad, debugIDBytes(d)})
	}
	if c, err := ParseCodeID(digits); err == nil {
		b := binary.BigEndian.AppendUint32(nil, c.Timestamp)
		q.IDs = append(q.IDs, BareID{KindPE, string(binary.BigEndian.AppendUint32(b, c.ImageSize))})
	}
	return q
}
