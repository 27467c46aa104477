package wasm_test

import (
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile/wasm"
)

// A module is assembled from the contents of its sections; empty ones are left out.
type module struct {
	types, imports, functions, tables, memories, tags, globals, exports, start, elements, dataCount, code, data string
	custom                                                                                                      string // whole sections, at the end
}

func (m module) String() string {
	var b strings.Builder
	b.WriteString(header)
	for _, s := range []struct {
		id      byte
		content string
	}{
		{1, m.types}, {2, m.imports}, {3, m.functions}, {4, m.tables}, {5, m.memories}, {13, m.tags}, {6, m.globals},
		{7, m.exports}, {8, m.start}, {9, m.elements}, {12, m.dataCount}, {10, m.code}, {11, m.data},
	} {
		if s.content != "" {
			b.WriteString(section(s.id, s.content))
		}
	}
	return b.String() + m.custom
}

// Sections of a module that has one of each kind of thing: a function of type 0, which
// takes an i32 and gives one, and one of type 1, which takes and gives nothing.
const (
	twoTypes     = "\x02\x60\x01\x7f\x01\x7f\x60\x00\x00"
	twoFunctions = "\x02\x00\x01"
	oneTable     = "\x01\x70\x00\x02"
	oneMemory    = "\x01\x01\x01\x02"
	oneTag       = "\x01\x00\x01"
	oneGlobal    = "\x01\x7f\x01\x41\x2a\x0b"
	oneElement   = "\x01\x00\x41\x00\x0b\x02\x00\x01"
	oneData      = "\x01\x00\x41\x08\x0b\x03abc"
)

// vector is a list of items.
func vector(items ...string) string { return uleb(len(items)) + strings.Join(items, "") }

// bodies is the code section of two functions, the first with these locals and instructions.
func bodies(first string) string { return vector(uleb(len(first))+first, "\x02\x00\x0b") }

func whole() module {
	return module{types: twoTypes, functions: twoFunctions, tables: oneTable, memories: oneMemory, tags: oneTag, globals: oneGlobal,
		elements: oneElement, dataCount: "\x01", code: bodies("\x00\x20\x00\x0b"), data: oneData}
}

// TestLists changes one section of a good module at a time.
func TestLists(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*module)
		want string // the start of the error; empty for none
	}{
		{"good", func(*module) {}, ""},

		{"struct, array and a group", func(m *module) {
			m.types = vector("\x60\x01\x7f\x01\x7f", "\x60\x00\x00", "\x4e\x02\x50\x00\x5f\x02\x78\x01\x64\x03\x00\x4f\x01\x02\x5e\x63\x6e\x00")
		}, ""},
		{"unknown constructor", func(m *module) { m.types = "\x03\x60\x00\x00\x5d\x00\x20" }, ""},
		{"unknown value type", func(m *module) { m.types = "\x01\x60\x01\x68\x00" }, ""},
		{"index as value type", func(m *module) { m.types = "\x02\x60\x00\x00\x60\x01\x00\x00" }, "type at"},
		{"value type as constructor", func(m *module) { m.types = "\x02\x60\x00\x00\x7f" }, "type at"},
		{"no constructor", func(m *module) { m.types = "\x02\x60\x00\x00\x00" }, "type at"},
		{"constructor as value type", func(m *module) { m.types = "\x01\x60\x01\x60\x00" }, "type at"},
		{"types cut", func(m *module) { m.types = "\x03\x60\x00\x00\x60" }, "number of items: parameter"},
		{"bytes behind the types", func(m *module) { m.types = twoTypes + "\x60" }, "section"},

		{"imports", func(m *module) {
			m.imports = vector("\x01m\x01f\x00\x01", "\x01m\x01t\x01\x70\x01\x01\x02", "\x01m\x01m\x02\x03\x01\x02", "\x01m\x01g\x03\x7e\x01", "\x01m\x01x\x04\x00\x01")
			m.exports = vector("\x00\x00\x02", "\x01t\x01\x01", "\x01m\x02\x01", "\x01g\x03\x01", "\x01x\x04\x01")
		}, ""},
		{"import of an unknown kind", func(m *module) { m.imports = "\x01\x01m\x01f\x20\x01"; m.start = "\x09" }, ""},
		{"import of a type that is not there", func(m *module) { m.imports = "\x01\x01m\x01f\x00\x02" }, "type index"},
		{"import name", func(m *module) { m.imports = "\x01\x01m\x01\xff\x00\x01" }, "name of an import"},
		{"import cut", func(m *module) { m.imports = "\x01\x01m\x05f\x00\x01" }, "name of an import"},

		{"function of a type that is not there", func(m *module) { m.functions = "\x02\x00\x02" }, "type index"},
		{"function of a struct", func(m *module) { m.types = "\x02\x60\x00\x00\x5f\x00" }, "type index"},

		{"table with a first value", func(m *module) { m.tables = "\x01\x40\x00\x63\x70\x00\x01\xd0\x70\x0b" }, ""},
		{"table of numbers", func(m *module) { m.tables = "\x01\x7f\x00\x01" }, "reference type"},
		{"limits upside down", func(m *module) { m.tables = "\x01\x70\x01\x05\x02" }, "limits of a table"},
		{"unknown limits", func(m *module) { m.memories = "\x01\x08\x01\x00" }, ""},
		{"memory of 64 bits", func(m *module) { m.memories = "\x01\x05\x01\x80\x80\x80\x80\x10" }, ""},
		{"memory too large", func(m *module) { m.memories = "\x01\x00\x81\x80\x04" }, "limits of a memory"},
		{"tag of an unknown kind", func(m *module) { m.tags = "\x01\x01\x09" }, ""},
		{"tag of a type that is not there", func(m *module) { m.tags = "\x01\x00\x09" }, "type index"},

		{"globals", func(m *module) {
			m.globals = vector("\x7e\x00\x42\x7f\x0b", "\x7d\x00\x43abcd\x0b", "\x7c\x00\x44abcdefgh\x0b", "\x7b\x00\xfd\x0cabcdefghijklmnop\x0b",
				"\x70\x00\xd2\x01\x0b", "\x6f\x00\xd0\x6f\x0b", "\x7f\x00\x41\x01\x41\x02\x6a\x0b")
		}, ""},
		{"global of a struct", func(m *module) { m.globals = "\x01\x6e\x00\xfb\x01\x05\x0b" }, ""},
		{"global of another kind", func(m *module) { m.globals = "\x01\x7e\x00\x41\x00\x0b" }, "constant expression"},
		{"global of two values", func(m *module) { m.globals = "\x01\x7f\x00\x41\x00\x41\x00\x0b" }, "constant expression"},
		{"global of no value", func(m *module) { m.globals = "\x01\x7f\x00\x0b" }, "constant expression"},
		{"sum of one", func(m *module) { m.globals = "\x01\x7f\x00\x41\x00\x6a\x0b" }, "constant expression"},
		{"global by a call", func(m *module) { m.globals = "\x01\x7f\x00\x10\x00\x0b" }, "constant expression"},
		{"global by a comparison", func(m *module) { m.globals = "\x01\x7f\x00\x41\x00\x45\x0b" }, "constant expression"},
		{"global that threads share", func(m *module) { m.globals = "\x01\x7f\x02\x41\x00\x0b" }, ""},
		{"mutability", func(m *module) { m.globals = "\x01\x7f\x04\x41\x00\x0b" }, "mutability"},
		{"constant too long", func(m *module) { m.globals = "\x01\x7f\x00\x41\x80\x80\x80\x80\x10\x0b" }, "i32 constant"},
		{"expression without end", func(m *module) { m.globals = "\x01\x7f\x00\x41\x00" }, "constant expression"},

		{"exports", func(m *module) {
			m.exports = vector("\x01f\x00\x01", "\x01t\x01\x00", "\x01m\x02\x00", "\x01g\x03\x00", "\x01x\x04\x00")
		}, ""},
		{"export of no function", func(m *module) { m.exports = "\x01\x01f\x00\x02" }, "function index"},
		{"export of no global", func(m *module) { m.exports = "\x01\x01g\x03\x01" }, "global index"},
		{"start", func(m *module) { m.start = "\x01" }, ""},
		{"start of no function", func(m *module) { m.start = "\x02" }, "function index"},
		{"bytes behind the start", func(m *module) { m.start = "\x01\x00" }, "section"},

		{"elements", func(m *module) {
			m.elements = vector("\x00\x41\x00\x0b\x01\x00", "\x01\x00\x01\x01", "\x02\x00\x41\x00\x0b\x00\x01\x00", "\x03\x00\x00",
				"\x04\x41\x00\x0b\x01\xd2\x00\x0b", "\x05\x70\x01\xd0\x70\x0b", "\x06\x00\x41\x00\x0b\x70\x00", "\x07\x6f\x00")
		}, ""},
		{"elements of an unknown kind", func(m *module) { m.elements = "\x01\x08\x41" }, ""},
		{"element that is no function", func(m *module) { m.elements = "\x01\x00\x41\x00\x0b\x01\x02" }, "function index"},
		{"elements of no table", func(m *module) { m.elements = "\x01\x02\x01\x41\x00\x0b\x00\x00" }, "table index"},

		{"data", func(m *module) {
			m.dataCount = "\x03"
			m.data = vector("\x00\x41\x00\x0b\x01a", "\x01\x00", "\x02\x00\x23\x00\x0b\x00")
		}, ""},
		{"data of an unknown kind", func(m *module) { m.data = "\x01\x03\x41" }, ""},
		{"data past the end", func(m *module) { m.data = "\x01\x00\x41\x00\x0b\x05ab" }, "data segment"},
		{"data of no memory", func(m *module) { m.data = "\x01\x02\x01\x41\x00\x0b\x00" }, "memory index"},
		{"data not announced", func(m *module) { m.dataCount = "\x02" }, "data section"},
		{"code alone", func(m *module) { *m = module{code: m.code} }, ""},
		{"a body too many", func(m *module) { m.functions, m.elements = "\x01\x00", "" }, "code section"},
	} {
		m := whole()
		tt.set(&m)
		wantModule(t, tt.name, m, tt.want)
	}
}

// wantModule checks m and compares the start of the text of the error.
func wantModule(t *testing.T, name string, m module, want string) {
	t.Helper()
	parsed, err := parse(m.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err = parsed.Check().Module; (err == nil) != (want == "") || err != nil && (!errors.Is(err, wasm.ErrHeader) || !strings.HasPrefix(err.Error(), want)) {
		t.Errorf("%s: Check = %v, want %q", name, err, want)
	}
}
