package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A file is an ELF debug file with a build id: what both symbol servers serve.
type file struct {
	path    string
	buildID string // hex
	sha256  string // hex
	size    int64
}

// paths under which servers have it.
func (f *file) debuginfo() string { return "/buildid/" + f.buildID + "/debuginfo" }
func (f *file) cabinet() string   { return "/_.debug/elf-buildid-sym-" + f.buildID + "/_.debu_" }

// makeFile writes a debug file of about size bytes, filled by fill.
func makeFile(path string, size int64, fill func(w io.Writer, n int64) error) (*file, error) {
	id := sha256.Sum256([]byte("build id of " + filepath.Base(path)))
	out, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	h := sha256.New()
	w := &counter{w: io.MultiWriter(out, h)}
	if err := writeELF(w, id[:20], size, fill); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	return &file{path, hex.EncodeToString(id[:20]), hex.EncodeToString(h.Sum(nil)), w.n}, out.Close()
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// section is a section header of 64 bits.
type section struct {
	Name, Kind             uint32
	Flags, Addr, Off, Size uint64
	Link, Info             uint32
	Align, Entry           uint64
}

const sectionNames = "\x00.note.gnu.build-id\x00.text\x00.debug_abbrev\x00.debug_info\x00.debug_pad\x00.shstrtab\x00"

// writeELF writes header, section headers, note, one empty compile unit, names, and the
// filled section up to size.
func writeELF(w *counter, id []byte, size int64, fill func(io.Writer, int64) error) error {
	le := binary.LittleEndian
	abbrev := []byte{1, 0x11, 0, 0x13, 0x05, 0, 0, 0} // a compile unit with a language
	unit := append(le.AppendUint32(nil, 10), 4, 0, 0, 0, 0, 0, 8, 1, 0x0c, 0)
	note := append([]byte{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0}, id...)
	const head, count = 64, 7
	at := func(n int) uint64 { return uint64(head + count*64 + n) }
	pad := at(len(note) + len(abbrev) + len(unit) + len(sectionNames))
	name := func(s string) uint32 { return uint32(bytes.Index([]byte(sectionNames), []byte("\x00"+s+"\x00")) + 1) }
	sections := []section{
		{},
		{Name: name(".note.gnu.build-id"), Kind: 7, Flags: 2, Addr: 0x400, Off: at(0), Size: uint64(len(note)), Align: 4},
		{Name: name(".text"), Kind: 8, Flags: 6, Addr: 0x1000, Off: at(len(note)), Size: 16, Align: 16},
		{Name: name(".debug_abbrev"), Kind: 1, Off: at(len(note)), Size: uint64(len(abbrev)), Align: 1},
		{Name: name(".debug_info"), Kind: 1, Off: at(len(note) + len(abbrev)), Size: uint64(len(unit)), Align: 1},
		{Name: name(".debug_pad"), Kind: 1, Off: pad, Size: uint64(max(size-int64(pad), 0)), Align: 1},
		{Name: name(".shstrtab"), Kind: 3, Off: at(len(note) + len(abbrev) + len(unit)), Size: uint64(len(sectionNames)), Align: 1},
	}
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0}, make([]byte, 8)...)
	b = le.AppendUint32(b, 3|62<<16) // ET_DYN, x86-64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, 0x1000)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, head)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{head, 56, 0, 64, count, count - 1} {
		b = le.AppendUint16(b, v)
	}
	buf := bytes.NewBuffer(b)
	if err := binary.Write(buf, le, sections); err != nil {
		return err
	}
	for _, p := range [][]byte{note, abbrev, unit, []byte(sectionNames)} {
		buf.Write(p)
	}
	if _, err := w.Write(buf.Bytes()); err != nil {
		return err
	}
	return fill(w, max(size-int64(pad), 0))
}

// code fills with the bytes of this very program, from an offset on that the seed
// chooses: they pack like those of real files, and no two files are alike.
func code(seed int) func(io.Writer, int64) error {
	return func(w io.Writer, n int64) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(self)
		if err != nil {
			return err
		}
		from := seed * 7919 % (len(b) / 2)
		for from %= len(b); n > 0; from = 0 {
			p := b[from:]
			p = p[:min(int64(len(p)), n)]
			if _, err := w.Write(p); err != nil {
				return err
			}
			n -= int64(len(p))
		}
		return nil
	}
}
