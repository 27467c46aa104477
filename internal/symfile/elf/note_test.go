package elf_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile/elf"
)

func TestIdentity(t *testing.T) {
	le := binary.LittleEndian
	be := binary.BigEndian
	idA, idB := []byte("AAAAAAAAAAAAAAAAAAAA"), []byte("BBBBBBBB")
	gnu := note(le, "GNU\x00", 3, idA, 4)
	other := note(le, "Linux\x00", 1, []byte{1, 2, 3}, 4)
	for _, tt := range []struct {
		name   string
		im     image
		want   string // ids, joined
		goID   bool
		damage bool
	}{
		{"section of another name", image{sects: []sect{{name: ".mine", kind: 7, data: gnu}}}, hexOf(idA), false, false},
		{"segment only", image{notes: ".n", sects: []sect{{name: ".n", data: gnu}}}, hexOf(idA), false, false},
		{"both", image{notes: ".n", sects: []sect{{name: ".n", kind: 7, data: gnu}}}, hexOf(idA), false, false},
		{"name without content type", image{sects: []sect{{name: ".note.gnu.build-id", data: gnu}}}, "", false, false},
		{"after another", image{sects: []sect{{name: ".n", kind: 7, data: append(append([]byte{}, other...), gnu...)}}}, hexOf(idA), false, false},
		{"two ids", image{sects: []sect{{name: ".n", kind: 7, data: gnu}, {name: ".m", kind: 7, data: note(le, "GNU\x00", 3, idB, 4)}}}, hexOf(idA) + " " + hexOf(idB), false, false},
		{"big-endian", image{order: be, class: 1, sects: []sect{{name: ".n", kind: 7, data: note(be, "GNU\x00", 3, idB, 4)}}}, hexOf(idB), false, false},
		{"8-aligned segment", image{notes: ".n", notesAlign: 8, sects: []sect{{name: ".n", data: append(note(le, "GNU\x00", 5, []byte{1, 2, 3, 4}, 8), note(le, "GNU\x00", 3, idA, 8)...)}}}, hexOf(idA), false, false},
		{"4-aligned notes in it", image{notes: ".n", notesAlign: 8, sects: []sect{{name: ".n", data: append(note(le, "GNU\x00", 1, []byte{1, 2, 3, 4}, 4), gnu...)}}}, hexOf(idA), false, false},
		{"go", image{sects: []sect{{name: ".note.go.buildid", kind: 7, data: note(le, "Go\x00\x00", 4, []byte("abc"), 4)}}}, "", true, false},
		{"other type", image{sects: []sect{{name: ".n", kind: 7, data: note(le, "GNU\x00", 1, idA, 4)}}}, "", false, false},
		{"runs past the end", image{sects: []sect{{name: ".n", kind: 7, data: gnu[:30]}}}, "", false, true},
		{"empty id", image{sects: []sect{{name: ".n", kind: 7, data: note(le, "GNU\x00", 3, nil, 4)}}}, "", false, true},
		{"huge id", image{sects: []sect{{name: ".n", kind: 7, data: note(le, "GNU\x00", 3, make([]byte, 300), 4)}}}, "", false, true},
		{"huge size", image{sects: []sect{{name: ".n", kind: 7, data: []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x03\x00\x00\x00GNU\x00")}}}, "", false, true},
		{"stale segment of a debug file", image{notes: ".junk", sects: []sect{
			{name: ".text", kind: 8, flags: 6, size: 5}, {name: ".junk", data: note(le, "GNU\x00", 3, idB, 4)}, {name: ".n", kind: 7, data: gnu}}}, hexOf(idA), false, false},
		{"none", image{}, "", false, false},
	} {
		id, err := parse(t, tt.im.bytes()).Identity()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, b := range id.BuildIDs {
			got = append(got, b.String())
		}
		if strings.Join(got, " ") != tt.want || id.GoID != tt.goID || (id.Damage != nil) != tt.damage {
			t.Errorf("%s: Identity = %v, go %t, damage %v; want %q, %t, %t", tt.name, got, id.GoID, id.Damage, tt.want, tt.goID, tt.damage)
		}
		if id.Damage != nil && !errors.Is(id.Damage, elf.ErrNote) && !errors.Is(id.Damage, elf.ErrTruncated) {
			t.Errorf("%s: damage = %v, want ErrNote or ErrTruncated", tt.name, id.Damage)
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var sb strings.Builder
	for _, c := range b {
		sb.WriteByte(digits[c>>4])
		sb.WriteByte(digits[c&15])
	}
	return sb.String()
}
