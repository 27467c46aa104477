package validate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// MaxFindings is how many findings of one file are listed; the rest are counted.
const MaxFindings = 100

// A subject is one file under validation: what its headers told, then what its
// checks find. Only one goroutine uses it at a time.
type subject struct {
	File
	Identity        // checks may correct Keys
	name     string // base name of Path
	in       *input // valid during check only
	size     int64
	ignored  bool
	quality  map[catalog.Quality]bool
	facts    any // what the format's check leaves for the checks across the package
	found    []located
}

func newSubject(f File) *subject {
	return &subject{File: f, name: symid.BaseName(f.Path), size: f.Size}
}

// A located finding sorts by where in the file it was made.
type located struct {
	catalog.Finding
	off int64
}

// add reports a hit of code at offset off (0 where no offset applies) with the
// severity of the codes table. The text says what was found and what was
// expected; the name of the file goes before it and the advice of the code after.
func (s *subject) add(code string, off int64, format string, args ...any) {
	s.addAs(codeByID[code].Severity, code, off, format, args...)
}

// addAs is add with another severity than the table's.
func (s *subject) addAs(sev catalog.Severity, code string, off int64, format string, args ...any) {
	c := codeByID[code] // a code outside the table is a bug that tests find: it panics
	msg := s.name + ": " + fmt.Sprintf(format, args...)
	if c.Advice != "" {
		msg += ". " + c.Advice + "."
	}
	s.found = append(s.found, located{catalog.Finding{Code: c.ID, Severity: sev, Message: msg}, off})
}

// damaged reports the error of a parser. What is not a *symfile.FormatError came
// from the reader, which the core reports as such, and makes no finding.
func (s *subject) damaged(code string, err error) {
	s.damagedAs(codeByID[code].Severity, code, err)
}

// damagedAs is damaged with another severity than the table's.
func (s *subject) damagedAs(sev catalog.Severity, code string, err error) {
	var fe *symfile.FormatError
	if errors.As(err, &fe) {
		s.addAs(sev, code, fe.Off, "%s at %#x: found %s, wanted %s", fe.What, fe.Off, fe.Found, fe.Want)
	}
}

// quote puts text from inside a file between quotes, escaped as by %q but for
// backslashes: paths of Windows have those.
func quote(s string) string { return strings.ReplaceAll(strconv.Quote(s), `\\`, `\`) }

// gives notes what a debugger can do with the file.
func (s *subject) gives(q catalog.Quality) {
	if s.quality == nil {
		s.quality = map[catalog.Quality]bool{}
	}
	s.quality[q] = true
}

// qualities lists what gives noted, in the order of the catalog's constants.
func (s *subject) qualities() []catalog.Quality {
	var all []catalog.Quality
	for _, q := range catalog.Qualities {
		if s.quality[q] {
			all = append(all, q)
		}
	}
	return all
}

// failed reports whether an error was found.
func (s *subject) failed() bool {
	return slices.ContainsFunc(s.found, func(l located) bool { return l.Severity == catalog.Error })
}

// has reports whether the file answers a key.
func (s *subject) has(k symid.Key) bool {
	return slices.ContainsFunc(s.Keys, func(have catalog.RankedKey) bool { return have.Key.Index() == k.Index() })
}

// key adds a key unless the file has it already, or its name cannot stand in a
// lookup path, which GEN-NAME reports.
func (s *subject) key(k symid.Key, rank int) {
	if !s.has(k) && k.Valid() == nil {
		s.Keys = append(s.Keys, catalog.RankedKey{Key: k, Rank: rank})
	}
}

// findings returns what was found in a stable order: severity, offset, code,
// text; at most MaxFindings and one that counts the others.
func (s *subject) findings() []catalog.Finding {
	slices.SortStableFunc(s.found, func(a, b located) int {
		return cmp.Or(
			cmp.Compare(severityOrder(a.Severity), severityOrder(b.Severity)),
			cmp.Compare(a.off, b.off),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Message, b.Message))
	})
	if n := len(s.found) - MaxFindings; n > 0 {
		s.found = s.found[:MaxFindings]
		s.add(codeMore, 0, "and %d more findings", n)
	}
	var out []catalog.Finding
	for _, l := range s.found {
		out = append(out, l.Finding)
	}
	return out
}

func severityOrder(s catalog.Severity) int {
	switch s {
	case catalog.Error:
		return 0
	case catalog.Warning:
		return 1
	}
	return 2
}
