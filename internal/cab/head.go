package cab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Parts of the head of a cabinet ([MS-CAB] sections 2.1 to 2.3).
const (
	cfHeader = 36 + 4 // CFHEADER and the sizes of the reserves
	cfFolder = 8
	cfFile   = 16 // and the name, with a NUL

	flagReserve  = 0x0004
	typeMSZIP    = 1
	date1980     = 0x0021 // 1 January 1980, the first there is
	attrArchive  = 0x20
	attrNameUTF8 = 0x80
)

// headSize returns the bytes before the body of a cabinet.
func headSize(groups int, name string) int64 {
	return int64(cfHeader + recordSize(groups) + cfFolder + cfFile + len(name) + 1)
}

// head builds and seals the head of a cabinet, from the first byte to the first
// CFDATA, and sets PackedSHA256. Nothing in it depends on anything but l.
func (l *layout) head() []byte {
	le := binary.LittleEndian
	reserve := recordSize(len(l.groups))
	data := headSize(len(l.groups), l.Name)
	p := make([]byte, 0, data)

	p = append(p, "MSCF"...)
	p = le.AppendUint32(p, 0)
	p = le.AppendUint32(p, uint32(l.PackedSize)) // cbCabinet
	p = le.AppendUint32(p, 0)
	p = le.AppendUint32(p, uint32(cfHeader+reserve+cfFolder)) // coffFiles
	p = le.AppendUint32(p, 0)
	p = append(p, 3, 1)       // version 1.3
	p = le.AppendUint16(p, 1) // cFolders
	p = le.AppendUint16(p, 1) // cFiles
	p = le.AppendUint16(p, flagReserve)
	p = le.AppendUint16(p, 0) // setID
	p = le.AppendUint16(p, 0) // iCabinet
	p = le.AppendUint16(p, uint16(reserve))
	p = append(p, 0, 0) // no reserve in CFFOLDER and CFDATA
	p = l.appendRecord(p, "")

	p = le.AppendUint32(p, uint32(data)) // coffCabStart
	p = le.AppendUint16(p, uint16((l.RawSize+blockSize-1)/blockSize))
	p = le.AppendUint16(p, typeMSZIP)

	p = le.AppendUint32(p, uint32(l.RawSize)) // cbFile
	p = le.AppendUint32(p, 0)                 // uoffFolderStart
	p = le.AppendUint16(p, 0)                 // iFolder
	p = le.AppendUint16(p, date1980)
	p = le.AppendUint16(p, 0) // time
	p = le.AppendUint16(p, nameAttributes(l.Name))
	p = append(p, l.Name...)
	p = append(p, 0)
	l.seal(p, cfHeader)
	return p
}

// nameAttributes returns the attributes of a file of that name.
func nameAttributes(name string) uint16 {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return attrArchive | attrNameUTF8
		}
	}
	return attrArchive
}

// parseHead reads the head of a cabinet of size bytes and returns it. The file
// is ours if building a head from what was parsed gives the same bytes; that
// compares every field and both checksums.
func (l *layout) parseHead(r io.ReaderAt, size int64) ([]byte, error) {
	le := binary.LittleEndian
	var fixed [cfHeader]byte
	if err := readFull(r, fixed[:], 0); err != nil {
		return nil, fmt.Errorf("cabinet header: %w", err)
	}
	reserve := int(le.Uint16(fixed[36:]))
	if le.Uint16(fixed[30:])&flagReserve == 0 || reserve > maxReserve || reserve < recordSize(1) {
		return nil, fmt.Errorf("%w: cabinet without a reserve of ours", ErrFormat)
	}
	p := make([]byte, min(size, int64(cfHeader+reserve+cfFolder+cfFile+MaxName+1)))
	if err := readFull(r, p, 0); err != nil {
		return nil, fmt.Errorf("cabinet head: %w", err)
	}
	if len(p) < cfHeader+reserve+cfFolder+cfFile {
		return nil, fmt.Errorf("%w: cabinet of %d bytes ends in its head", ErrCorrupt, size)
	}
	if err := l.parseRecord(p[cfHeader:cfHeader+reserve], Cab); err != nil {
		return nil, err
	}
	name, _, ok := bytes.Cut(p[cfHeader+reserve+cfFolder+cfFile:], []byte{0})
	l.Name = string(name)
	if !ok || CheckName(l.Name) != nil {
		return nil, fmt.Errorf("%w: member name is not a base name of at most %d bytes", ErrCorrupt, MaxName)
	}
	data := headSize(len(l.groups), l.Name)
	if l.PackedSize != size || size > MaxCabFile || data > int64(len(p)) {
		return nil, fmt.Errorf("%w: cabinet of %d bytes, its head says %d", ErrCorrupt, size, l.PackedSize)
	}
	if err := l.checkGroups(0, size-data); err != nil {
		return nil, err
	}
	if p = p[:data]; !bytes.Equal(p, l.head()) {
		return nil, fmt.Errorf("%w: cabinet head and its checksum disagree", ErrCorrupt)
	}
	return p, nil
}

// readFull fills p from offset off. A file that ends before is corrupt; other
// errors are those of r.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: file ends at %d, want %d bytes more", ErrCorrupt, off+int64(n), len(p)-n)
	}
	return err
}
