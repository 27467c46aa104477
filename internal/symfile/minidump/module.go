package minidump

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// A Module is one image that was loaded. CodeID identifies a PE image only: other
// systems have no timestamp there.
type Module struct {
	Name   string // path, as the system names it
	Base   uint64 // address
	Code   symid.CodeID
	Debug  CodeView
	Damage error // the name or the record could not be read; wraps ErrModule
}

// A Record is the kind of a CodeView record.
type Record int

// Kinds of record.
const (
	NoRecord Record = iota // none, or one of a kind that is not known
	RSDS                   // GUID and age; Breakpad writes it on every system
	NB10                   // PDB 2.0: signature and age
	ELF                    // MDCVInfoELF: a build id in its own length
)

// A CodeView names the debug file of a module.
type CodeView struct {
	Record    Record
	GUID      symid.GUID // RSDS: in print order. Of an ELF module: the build id's first 16 bytes, swapped
	Signature uint32     // NB10
	Age       uint32     // RSDS, NB10
	BuildID   symid.BuildID
	Path      string // RSDS, NB10: of the debug file, as recorded
}

// texts reads names and records. Together they are bounded: a file can name one
// place a hundred thousand times.
type texts struct {
	r    io.ReaderAt
	size int64
	left int64
}

// module decodes the 108 bytes of a MINIDUMP_MODULE. The error is that of the reader.
func (t *texts) module(b []byte) (Module, error) {
	m := Module{Base: le.Uint64(b), Code: symid.CodeID{Timestamp: le.Uint32(b[16:]), ImageSize: le.Uint32(b[8:])}}
	var err error
	if m.Name, err = t.name(int64(le.Uint32(b[20:]))); err != nil {
		m.Damage = err
	}
	if at := (place{int64(le.Uint32(b[80:])), int64(le.Uint32(b[76:]))}); at.size > 0 {
		if m.Debug, err = t.codeView(at); err != nil {
			m.Damage = err
		}
	}
	if m.Damage != nil && !errors.Is(m.Damage, ErrModule) {
		return m, m.Damage
	}
	return m, nil
}

// read returns n bytes at off, within the bound of all texts.
func (t *texts) read(off, n, limit int64, what string) ([]byte, error) {
	if n > min(limit, t.left) {
		return nil, &symfile.FormatError{Off: off, What: what, Found: fmt.Sprintf("%d bytes", n),
			Want: fmt.Sprintf("at most %d", min(limit, t.left)), Kind: ErrModule}
	}
	t.left -= n
	return symfile.Read(t.r, t.size, off, n, what, ErrModule)
}

// name reads a MINIDUMP_STRING: its length in bytes, then UTF-16.
func (t *texts) name(off int64) (string, error) {
	b, err := t.read(off, 4, 4, "module name")
	if err != nil {
		return "", err
	}
	if b, err = t.read(off+4, int64(le.Uint32(b)), maxName, "module name"); err != nil {
		return "", err
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = le.Uint16(b[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00"), nil
}

// codeView reads a record. One of a kind that is not known is none.
func (t *texts) codeView(at place) (CodeView, error) {
	b, err := t.read(at.off, at.size, maxRecord, "CodeView record")
	if err != nil {
		return CodeView{}, err
	}
	head := 0
	switch {
	case bytes.HasPrefix(b, []byte("RSDS")):
		head = 24
	case bytes.HasPrefix(b, []byte("NB10")):
		head = 16
	case bytes.HasPrefix(b, []byte("LEpB")): // the number BpEL
		head = 5
	default:
		return CodeView{}, nil
	}
	if len(b) < head {
		return CodeView{}, &symfile.FormatError{Off: at.off, What: "CodeView record", Found: fmt.Sprintf("%d bytes", len(b)),
			Want: fmt.Sprintf("at least %d", head), Kind: ErrModule}
	}
	return decodeRecord(b), nil
}

// decodeRecord takes a record of a known kind whose fixed part is whole. A build id
// longer than any client's is none.
func decodeRecord(b []byte) CodeView {
	switch string(b[:4]) {
	case "RSDS":
		return CodeView{Record: RSDS, GUID: symid.GUIDFromLE(b[4:]), Age: le.Uint32(b[20:]), Path: text(b[24:])}
	case "NB10":
		return CodeView{Record: NB10, Signature: le.Uint32(b[8:]), Age: le.Uint32(b[12:]), Path: text(b[16:])}
	}
	if len(b)-4 > symid.MaxBuildID {
		return CodeView{}
	}
	return CodeView{Record: ELF, BuildID: symid.BuildID(b[4:])}
}

// text is what comes before the first NUL, in valid UTF-8.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
