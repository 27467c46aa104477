package ops

import (
	"encoding/binary"
	"strings"

	"symkeep/internal/api"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symfile/minidump"
	"symkeep/internal/symid"
)

// A role is what a key of a module is for.
type role string

// Roles, in the order of the table's columns.
const (
	roleImage role = "image" // the executable: code for the unwinder, and what a debugger verifies
	roleDebug role = "debug" // PDB, debug information, dSYM
	roleSym   role = "sym"   // Breakpad text
)

var roles = []role{roleImage, roleDebug, roleSym}

// A module is one image that a process had loaded.
type module struct {
	name    string // base name
	keys    []moduleKey
	problem string // why it has no keys
}

// A moduleKey is a key under which a debugger may ask. Several of one role are
// alternatives.
type moduleKey struct {
	role role
	key  symid.Key
}

// ask adds a key if its name can stand in a path.
func (m *module) ask(r role, k symid.Key) {
	if _, err := symid.ParseQuery(queryOf(k)); k.Valid() == nil && err == nil {
		m.keys = append(m.keys, moduleKey{r, k})
	}
}

// queryOf is the lookup path of a key as a query: paths of requests are escaped.
func queryOf(k symid.Key) string { return strings.ReplaceAll(k.Paths()[0], "%", "%25") }

// subjectOfModules asks for the keys of all modules, each once.
func subjectOfModules(ms []module) subject {
	s := subject{modules: []module{}}
	seen := map[string]bool{}
	for _, m := range ms {
		id := m.name
		for _, k := range m.keys {
			id += "\x00" + string(k.key.Index())
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		s.modules = append(s.modules, m)
		for _, k := range m.keys {
			s.queries = append(s.queries, api.FindQuery{Q: queryOf(k.key), Name: m.name})
		}
	}
	return s
}

// vdso are the names under which the kernel's own page appears. It is in no file, and
// nobody can push one.
var vdso = map[string]bool{"linux-gate.so": true, "linux-gate.so.1": true, "linux-vdso.so": true, "linux-vdso.so.1": true, "[vdso]": true}

// minidumpModules makes keys of what a minidump says. Which ones depends on the system:
// the same record holds a PDB's id on Windows, part of a build id on Linux, a UUID on
// macOS.
func minidumpModules(d *minidump.Dump) []module {
	var ms []module
	for _, from := range d.Modules {
		m := module{name: symid.BaseName(from.Name)}
		if vdso[m.name] {
			continue
		}
		switch {
		case from.Debug.Record == minidump.ELF:
			m.askBuildID(from.Debug.BuildID)
		case d.OS == minidump.MacOS || d.OS == minidump.IOS:
			m.askUUID(from.Debug)
		case d.OS == minidump.Windows || (d.OS == "" && from.Code.Timestamp != 0):
			m.askWindows(from)
		default:
			m.askBreakpad(from.Debug)
		}
		if len(m.keys) == 0 {
			m.problem = "the dump holds no id of it"
			if from.Damage != nil {
				m.problem = from.Damage.Error()
			}
		}
		ms = append(ms, m)
	}
	return ms
}

// askBuildID asks for both halves of an ELF file and its Breakpad text.
func (m *module) askBuildID(id symid.BuildID) {
	if strings.Trim(string(id), "\x00") == "" {
		return
	}
	m.ask(roleImage, symid.BuildIDKey(id, symid.Executable, m.name))
	m.ask(roleDebug, symid.BuildIDKey(id, symid.Debuginfo, m.name))
	m.ask(roleSym, symid.BreakpadKey(m.name, id.DebugID(binary.LittleEndian)))
}

func (m *module) askUUID(cv minidump.CodeView) {
	if cv.Record != minidump.RSDS || cv.GUID.IsZero() {
		return
	}
	m.ask(roleImage, symid.MachOKey(cv.GUID, symid.Executable, m.name))
	m.ask(roleDebug, symid.MachOKey(cv.GUID, symid.Debuginfo, m.name))
	m.askBreakpad(cv)
}

// askWindows asks for the image by timestamp and size, and for its PDB. A managed
// image has a record of age 1 as well, but its portable PDB has a key of its own.
func (m *module) askWindows(from minidump.Module) {
	if from.Code != (symid.CodeID{}) {
		m.ask(roleImage, symid.PEKey(m.name, from.Code))
	}
	cv := from.Debug
	pdb := symid.BaseName(cv.Path)
	if cv.Record == minidump.NB10 { // a key of the same shape as an image's
		m.ask(roleDebug, symid.PEKey(pdb, symid.CodeID{Timestamp: cv.Signature, ImageSize: cv.Age}))
	}
	if cv.Record != minidump.RSDS || cv.GUID.IsZero() {
		return
	}
	m.ask(roleDebug, symid.PDBKey(pdb, symid.DebugID{GUID: cv.GUID, Age: cv.Age}))
	if cv.Age == 1 {
		m.ask(roleDebug, symid.PDBKey(pdb, symid.DebugID{GUID: cv.GUID, Age: symid.PortableAge}))
	}
	m.askBreakpad(cv)
}

// askBreakpad asks for the text alone. Of an ELF file older writers record just the 16
// bytes of the build id that a debug id has room for.
func (m *module) askBreakpad(cv minidump.CodeView) {
	if cv.Record != minidump.RSDS || cv.GUID.IsZero() {
		return
	}
	file := symid.BaseName(cv.Path)
	if file == "" {
		file = m.name
	}
	m.ask(roleSym, symid.BreakpadKey(file, symid.DebugID{GUID: cv.GUID, Age: cv.Age}))
}

// mappedModule makes keys of a file that a core dump names.
func mappedModule(from elf.Mapped) module {
	m := module{name: symid.BaseName(from.Path)}
	for _, id := range from.BuildIDs {
		m.askBuildID(id)
	}
	switch {
	case len(m.keys) > 0:
	case from.Absent:
		m.problem = "its first page is not in the dump, so its build id is not known; see coredump_filter in core(5)"
	default:
		m.problem = "it has no build id"
	}
	return m
}
