package container

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"symkeep/internal/symfile"
)

// Layout of a cabinet ([MS-CAB], section 2): a header, one entry per folder, one
// per file, then the data blocks of the folders. Integers are little-endian. A
// folder is one compressed stream, in which its files lie one after the other.
const (
	cabHead     = 36
	cabFolder   = 8
	cabFile     = 16
	cabData     = 8
	cabFrame    = 32 << 10 // raw bytes of a data block, at most
	cabMaxName  = 256
	cabPrev     = 1 // flags of the header
	cabNext     = 2
	cabReserve  = 4
	cabNameUTF8 = 0x80 // attribute of a file
)

type cabinet struct {
	folders []folder
	files   []fileEntry
	reserve int64 // bytes in front of each data block
}

// A folder is one entry: where its first block is, how many there are, and how
// they are compressed.
type folder struct {
	off    int64
	blocks int
	method uint16
}

type fileEntry struct {
	size, off uint32 // off in the raw bytes of the folder
	folder    int
	name      string
}

func (w *walk) cabinet() error {
	c, err := w.readCabinet()
	if err != nil {
		return w.fault("%s: cabinet: %v", w.name, err)
	}
	slices.SortStableFunc(c.files, func(a, b fileEntry) int {
		if a.folder != b.folder {
			return a.folder - b.folder
		}
		return int(int64(a.off) - int64(b.off))
	})
	var r io.Reader
	pos, open := int64(0), -1
	for _, f := range c.files {
		if f.folder != open {
			blocks, err := w.openFolder(c, f.folder)
			if err != nil {
				return w.fault("%s: cabinet: %v", w.name, err)
			}
			r, pos, open = w.metered(blocks), 0, f.folder
		}
		if int64(f.off) < pos {
			return damaged("%s: cabinet: file %q starts at %d, inside the one before, which ends at %d", w.name, f.name, f.off, pos)
		}
		if err := skip(r, int64(f.off)-pos); err != nil {
			return w.fault("%s: cabinet: before file %q: %v", w.name, f.name, err)
		}
		body := &io.LimitedReader{R: r, N: int64(f.size)}
		if err := w.member(f.name, int64(f.size), body); err != nil {
			return err
		}
		if err := skip(r, body.N); err != nil {
			return w.fault("%s: cabinet: file %q: %v", w.name, f.name, err)
		}
		pos = int64(f.off) + int64(f.size)
	}
	return nil
}

// readCabinet reads everything before the data.
func (w *walk) readCabinet() (*cabinet, error) {
	head, err := symfile.Read(w.in, w.size, 0, cabHead, "header", ErrDamaged)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	folders, files, flags := int(le.Uint16(head[26:])), int(le.Uint16(head[28:])), le.Uint16(head[30:])
	if flags&(cabPrev|cabNext) != 0 {
		return nil, unsupported("part of a set of cabinets: pack the files into one cabinet, or push them unpacked")
	}
	c, off, folderReserve := &cabinet{}, int64(cabHead), int64(0)
	if flags&cabReserve != 0 {
		b, err := symfile.Read(w.in, w.size, off, 4, "sizes of reserved areas", ErrDamaged)
		if err != nil {
			return nil, err
		}
		folderReserve, c.reserve = int64(b[2]), int64(b[3])
		off += 4 + int64(le.Uint16(b))
	}
	for range folders {
		b, err := symfile.Read(w.in, w.size, off, cabFolder, "folder entry", ErrDamaged)
		if err != nil {
			return nil, err
		}
		c.folders = append(c.folders, folder{int64(le.Uint32(b)), int(le.Uint16(b[4:])), le.Uint16(b[6:])})
		off += cabFolder + folderReserve
	}
	r := bufio.NewReader(w.section(int64(le.Uint32(head[16:]))))
	for range files {
		f, err := readFileEntry(r)
		if err != nil {
			return nil, err
		}
		if f.folder >= folders {
			return nil, damaged("file %q is in folder %d, there are %d", f.name, f.folder, folders)
		}
		c.files = append(c.files, f)
	}
	return c, nil
}

func readFileEntry(r *bufio.Reader) (f fileEntry, err error) {
	var b [cabFile]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return f, damaged("file entry: %v", err)
	}
	var name []byte
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return f, damaged("name of a file: %v", err)
		case c != 0 && len(name) == cabMaxName:
			return f, damaged("name of a file: over %d bytes", cabMaxName)
		}
		if c == 0 {
			break
		}
		name = append(name, c)
	}
	le := binary.LittleEndian
	f = fileEntry{size: le.Uint32(b[:]), off: le.Uint32(b[4:]), folder: int(le.Uint16(b[8:])), name: cabName(name, le.Uint16(b[14:]))}
	if f.folder >= 0xfffd {
		return f, unsupported("file %q continues in another cabinet: pack the files into one", f.name)
	}
	return f, nil
}

// cabName gives a recorded name slashes. Without the attribute it is in a code page
// that is not recorded; other bytes than ASCII are taken for Latin-1.
func cabName(b []byte, attributes uint16) string {
	name := strings.ReplaceAll(string(b), `\`, "/")
	if attributes&cabNameUTF8 != 0 || utf8.ValidString(name) {
		return name
	}
	runes := make([]rune, 0, len(name))
	for _, c := range []byte(name) {
		runes = append(runes, rune(c))
	}
	return string(runes)
}

// A frameDecoder decodes the blocks of a folder in order. What it returns is valid
// until the next call.
type frameDecoder interface {
	decode(packed []byte, raw int) ([]byte, error)
}

// openFolder returns a reader of the raw bytes of folder no.
func (w *walk) openFolder(c *cabinet, no int) (*folderReader, error) {
	f := c.folders[no]
	r := &folderReader{in: bufio.NewReaderSize(w.section(f.off), 64<<10), blocks: f.blocks, reserve: c.reserve}
	switch f.method & 0xf {
	case 0:
		r.decoder = storedFrames{}
	case 1:
		r.decoder = &mszipFrames{}
	case 2:
		return nil, unsupported("compressed with Quantum: pack it again with `makecab /D CompressionType=MSZIP`, or push it unpacked")
	case 3:
		d, err := newLZX(int(f.method >> 8 & 0x1f))
		if err != nil {
			return nil, err
		}
		r.decoder = d
	default:
		return nil, unsupported("compression method %#x", f.method)
	}
	return r, nil
}

// A folderReader decodes the blocks of one folder.
type folderReader struct {
	in      *bufio.Reader
	blocks  int // still to come
	reserve int64
	decoder frameDecoder
	packed  []byte
	raw     []byte // decoded, not yet read
	err     error
}

// Read implements io.Reader.
func (r *folderReader) Read(p []byte) (int, error) {
	for len(r.raw) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.blocks == 0 {
			return 0, io.EOF
		}
		r.blocks--
		r.raw, r.err = r.block()
	}
	n := copy(p, r.raw)
	r.raw = r.raw[n:]
	return n, nil
}

func (r *folderReader) block() ([]byte, error) {
	var head [cabData]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, damaged("data block: %v", err)
	}
	le := binary.LittleEndian
	sum, n, raw := le.Uint32(head[:]), int(le.Uint16(head[4:])), int(le.Uint16(head[6:]))
	if raw == 0 {
		return nil, unsupported("a data block continues in another cabinet: pack the files into one")
	}
	if raw > cabFrame {
		return nil, damaged("data block: %d raw bytes, at most %d are allowed", raw, cabFrame)
	}
	r.packed = slices.Grow(r.packed[:0], n)[:n]
	if err := skip(r.in, r.reserve); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r.in, r.packed); err != nil {
		return nil, damaged("data block: %v", err)
	}
	if got := cabSum(r.packed, le.Uint32(head[4:])); sum != 0 && got != sum {
		return nil, damaged("data block: checksum %08x, recorded is %08x", got, sum)
	}
	return r.decoder.decode(r.packed, raw)
}

// cabSum continues the checksum of a data block ([MS-CAB], section 3.1). As other
// readers do, it leaves the reserved area out.
func cabSum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var rest uint32
	for _, c := range b { // the last one to three bytes count from the top down
		rest = rest<<8 | uint32(c)
	}
	return sum ^ rest
}

type storedFrames struct{}

func (storedFrames) decode(packed []byte, raw int) ([]byte, error) {
	if len(packed) != raw {
		return nil, damaged("stored data block: %d bytes, its header says %d", len(packed), raw)
	}
	return packed, nil
}
