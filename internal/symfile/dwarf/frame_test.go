package dwarf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// frame is an entry of call frames with an id of 4 bytes.
func frame(id uint32, body ...byte) []byte {
	b := le.AppendUint32(le.AppendUint32(nil, uint32(4+len(body))), id)
	return append(b, body...)
}

func section(b []byte) dwarf.Section {
	return dwarf.Section{Name: ".frame", Size: uint64(len(b)), At: bytes.NewReader(b), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func TestFrames(t *testing.T) {
	eh, common := frame(0, 1, 0, 1, 1, 1), frame(0xffffffff, 4, 0, 8, 0, 1, 1, 1)
	zero := make([]byte, 4)
	far := uint32(len(eh) + 4)
	for _, tt := range []struct {
		name  string
		read  func(dwarf.Section, binary.ByteOrder) (int, error)
		b     []byte
		count int
		bad   bool
	}{
		{"eh", dwarf.RuntimeFrames, slices.Concat(eh, frame(far, 1, 2, 3), zero), 1, false},
		{"eh, two parts", dwarf.RuntimeFrames, slices.Concat(eh, frame(far, 1), zero, eh, frame(far, 2), zero), 2, false},
		{"eh, nothing", dwarf.RuntimeFrames, zero, 0, false},
		{"eh, parent", dwarf.RuntimeFrames, slices.Concat(eh, frame(far-1, 1)), 0, true},
		{"eh, version", dwarf.RuntimeFrames, frame(0, 9), 0, true},
		{"eh, length", dwarf.RuntimeFrames, []byte{200, 0, 0, 0, 0, 0, 0, 0}, 0, true},
		{"eh, short", dwarf.RuntimeFrames, []byte{2, 0, 0, 0, 0, 0}, 0, true},
		{"debug", dwarf.DebugFrames, slices.Concat(common, frame(0, 1, 2, 3)), 1, false},
		{"debug, parent", dwarf.DebugFrames, slices.Concat(common, frame(1, 1)), 0, true},
		{"debug, version", dwarf.DebugFrames, frame(0xffffffff, 2), 0, true},
	} {
		n, err := tt.read(section(tt.b), le)
		if n != tt.count || errors.Is(err, dwarf.ErrDamaged) != tt.bad || !tt.bad && err != nil {
			t.Errorf("%s: %d functions, %v; want %d, damage %t", tt.name, n, err, tt.count, tt.bad)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(frame(0, 1), frame(9, 1, 2, 3)))
	f.Add(slices.Concat(frame(0xffffffff, 4), frame(0, 1, 2, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(dwarf.Section, binary.ByteOrder) (int, error){dwarf.RuntimeFrames, dwarf.DebugFrames} {
			if n, err := read(section(b), le); n > len(b)/8 || err != nil && !errors.Is(err, dwarf.ErrDamaged) {
				t.Fatalf("%d functions in %d bytes, %v", n, len(b), err)
			}
		}
	})
}
