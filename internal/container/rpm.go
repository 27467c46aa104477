package container

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"

	"symkeep/internal/symfile"
)

// Layout of an RPM package (rpm.org, "Package format", version 3 and 4): a lead,
// two header structures, of which the first is padded to 8 bytes, and a cpio
// archive, compressed as a rule.
const (
	rpmLead      = 96
	rpmHead      = 16 // before the index of a header structure
	rpmIndex     = 16 // one index entry
	rpmMaxHeader = 256 << 20
)

func (w *walk) rpm() error {
	off, err := w.rpmHeader(rpmLead)
	if err == nil {
		off, err = w.rpmHeader((off + 7) &^ 7)
	}
	if err != nil {
		return w.fault("%s: %v", w.name, err)
	}
	if off >= w.size {
		return damaged("%s: rpm: ends at %d, its payload starts at %d", w.name, w.size, off)
	}
	f, err := symfile.Sniff(io.NewSectionReader(w.in, off, w.size-off), w.size-off)
	if err != nil {
		return w.fault("%s: %v", w.name, err)
	}
	r := w.section(off)
	switch f {
	case symfile.Gzip, symfile.XZ, symfile.Zstd, symfile.Bzip2:
		return w.decompress(f, r, w.cpio)
	}
	head := make([]byte, min(6, w.size-off))
	if _, err := io.ReadFull(io.NewSectionReader(w.in, off, w.size-off), head); err != nil {
		return w.fault("%s: %v", w.name, err)
	}
	if strings.HasPrefix(string(head), "0707") {
		return w.cpio(bufio.NewReaderSize(r, 64<<10))
	}
	return unsupported("%s: rpm: payload at %#x starts with % x, wanted cpio in gzip, xz, zstd or bzip2", w.name, off, head)
}

// rpmHeader returns the offset after the header structure at off.
func (w *walk) rpmHeader(off int64) (int64, error) {
	b, err := symfile.Read(w.in, w.size, off, rpmHead, "rpm header", ErrDamaged)
	if err != nil {
		return 0, err
	}
	n, store := int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
	if string(b[:3]) != "\x8e\xad\xe8" || n > rpmMaxHeader/rpmIndex || store > rpmMaxHeader {
		return 0, damaged("rpm: header at %#x: found % x, %d entries and %d bytes", off, b[:3], n, store)
	}
	return off + rpmHead + n*rpmIndex + store, nil
}

// Layout of a member of a cpio archive in "newc" form (cpio(5)): 13 numbers of 8
// hex digits behind 6 of magic.
const (
	cpioHead    = 110
	cpioTrailer = "TRAILER!!!"
	cpioMaxName = 4096
	cpioRegular = 0o100000
	cpioType    = 0o170000
)

func (w *walk) cpio(r *bufio.Reader) error {
	for n := 0; ; n++ {
		h, err := readCPIO(r)
		if err != nil {
			return w.fault("%s: cpio member %d: %v", w.name, n, err)
		}
		if h.name == cpioTrailer {
			return nil
		}
		body := &io.LimitedReader{R: r, N: h.size}
		// Of a file with several names only the last has the bytes.
		if h.mode&cpioType == cpioRegular && (h.size > 0 || h.links < 2) {
			if err := w.member(strings.TrimPrefix(h.name, "./"), h.size, body); err != nil {
				return err
			}
		}
		if err := skip(r, body.N+(-h.size&3)); err != nil {
			return w.fault("%s: cpio member %q: %v", w.name, h.name, err)
		}
	}
}

type cpioHeader struct {
	mode, links uint32
	size        int64
	name        string
}

func readCPIO(r *bufio.Reader) (h cpioHeader, err error) {
	var b [cpioHead]byte
	if _, err := io.ReadFull(r, b[:14]); err != nil {
		return h, damaged("header: %v", err)
	}
	switch magic := string(b[:6]); magic {
	case "070701", "070702":
	case "07070X":
		return h, unsupported("a package with a file over 4 GiB: push the unpacked files")
	default:
		return h, damaged("magic: found %q, wanted 070701", magic)
	}
	if _, err := io.ReadFull(r, b[14:]); err != nil {
		return h, damaged("header: %v", err)
	}
	var fields [13]uint32
	for i := range fields {
		v, ok := hex8(b[6+8*i:])
		if !ok {
			return h, damaged("header: found %q, wanted 8 hex digits", b[6+8*i:14+8*i])
		}
		fields[i] = v
	}
	h.mode, h.links, h.size = fields[1], fields[4], int64(fields[6])
	n := int64(fields[11])
	if n < 1 || n > cpioMaxName {
		return h, damaged("header: a name of %d bytes", n)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return h, damaged("name: %v", err)
	}
	h.name = strings.TrimRight(string(name), "\x00")
	return h, skip(r, -(cpioHead+n)&3)
}

func hex8(b []byte) (v uint32, ok bool) {
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// skip passes over n bytes.
func skip(r io.Reader, n int64) error {
	m, err := io.CopyN(io.Discard, r, n)
	if err == io.EOF {
		return damaged("ends after %d of %d bytes", m, n)
	}
	return err
}
