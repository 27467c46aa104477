package dwarf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
)

var le = binary.LittleEndian

// sections is a file whose sections are in memory, by name. Those that unpack are
// read forward only.
type sections struct {
	order       binary.ByteOrder
	data        map[string][]byte
	unpacks     bool
	unrelocated bool
}

func (s sections) ByteOrder() binary.ByteOrder {
	if s.order == nil {
		return le
	}
	return s.order
}

func (s sections) DebugSections(name string) []dwarf.Section {
	b, ok := s.data[name]
	if !ok {
		return nil
	}
	d := dwarf.Section{Name: ".debug_" + name, Size: uint64(len(b)), Unrelocated: s.unrelocated, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(onlyReader{bytes.NewReader(b)}), nil
	}}
	if !s.unpacks {
		d.At = bytes.NewReader(b)
	}
	return []dwarf.Section{d}
}

type onlyReader struct{ io.Reader }

// with returns a copy in which a section is another one, or absent if b is nil.
func (s sections) with(name string, b []byte) sections {
	c := s
	c.data = map[string][]byte{}
	for k, v := range s.data {
		c.data[k] = v
	}
	c.data[name] = b
	if b == nil {
		delete(c.data, name)
	}
	return c
}

// unit4 is a unit of version 4 with 8-byte addresses around entries.
func unit4(entries ...byte) []byte {
	b := le.AppendUint32(nil, uint32(7+len(entries)))
	return append(append(b, 4, 0, 0, 0, 0, 0, 8), entries...)
}

// unit5 is a unit of version 5 and of a kind; head is what the kind adds.
func unit5(kind byte, head []byte, entries ...byte) []byte {
	b := le.AppendUint32(nil, uint32(8+len(head)+len(entries)))
	b = append(b, 5, 0, kind, 8, 0, 0, 0, 0)
	return append(append(b, head...), entries...)
}

// declare is one abbreviation: code, tag, whether it has children, attributes and
// forms, each a LEB128 number.
func declare(code, tag byte, children byte, pairs ...uint64) []byte {
	b := []byte{code, tag, children}
	for _, v := range pairs {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, 0, 0)
}

// plain has a root without attributes and children as code 1, one with children as
// 2, and a type as 3.
var plain = slices.Concat(declare(1, 0x11, 0), declare(2, 0x11, 1), declare(3, 0x24, 0), []byte{0})

func file(info, abbrev []byte) sections {
	return sections{data: map[string][]byte{"info": info, "abbrev": abbrev, "str": []byte("a\x00b\x00"), "line_str": []byte("c\x00")}}
}

// outcome is what a walk found: "ok", or the first fault's kind and text.
func outcome(f dwarf.Facts, err error) string {
	switch {
	case err != nil:
		return "error " + err.Error()
	case len(f.Faults) == 0:
		return "ok"
	case errors.Is(f.Faults[0], dwarf.ErrDamaged):
		return "damaged " + f.Faults[0].Error()
	case errors.Is(f.Faults[0], dwarf.ErrUnjudged):
		return "unjudged " + f.Faults[0].Error()
	}
	return "fault of no kind " + f.Faults[0].Error()
}

// expect compares an outcome with a word for its kind and, behind it, text that its
// message holds.
func expect(t *testing.T, name, got, want string) {
	t.Helper()
	kind, text, _ := strings.Cut(want, " ")
	if !strings.HasPrefix(got, kind) || !strings.Contains(got, text) {
		t.Errorf("%s: got %q, want %s with %q", name, got, kind, text)
	}
}

// fixture opens a file of the ELF parser's.
func fixture(t testing.TB, name string) *elf.File {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "elf", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
