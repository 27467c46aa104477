package cab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// A gz container is a gzip member, then the tail: the record with the name, and
// a footer of the record's offset and the tail's magic.
const (
	gzHead     = 10
	gzTrailer  = 8
	footerSize = 16
)

// gzHeader is the gzip header (RFC 1952 section 2.3) of every member: no name, no
// time, system unknown.
var gzHeader = [gzHead]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

var tailMagic = [8]byte{'S', 'Y', 'M', 'K', 'T', 'A', 'I', 'L'}

// gzipTrailer is the end of the gzip member: CRC32 and size modulo 2^32.
func (l *layout) gzipTrailer() []byte {
	p := binary.LittleEndian.AppendUint32(nil, l.RawCRC32)
	return binary.LittleEndian.AppendUint32(p, uint32(l.RawSize))
}

// tailSize returns the bytes after the gzip member.
func tailSize(groups int, name string) int64 {
	return int64(recordSize(groups) + len(name) + footerSize)
}

// tail builds and seals the tail and sets PackedSHA256.
func (l *layout) tail() []byte {
	p := make([]byte, 0, tailSize(len(l.groups), l.Name))
	p = l.appendRecord(p, l.Name)
	p = binary.LittleEndian.AppendUint64(p, uint64(l.GzipSize))
	p = append(p, tailMagic[:]...)
	l.seal(p, 0)
	return p
}

// parseTail reads the tail of a gz container of size bytes. As in parseHead, the
// tail built from what was parsed must be the one found.
func (l *layout) parseTail(r io.ReaderAt, size int64) error {
	le := binary.LittleEndian
	if size < gzHead+gzTrailer+int64(recordSize(1))+footerSize {
		return fmt.Errorf("%w: gzip file of %d bytes has no index of ours", ErrFormat, size)
	}
	var footer [footerSize]byte
	if err := readFull(r, footer[:], size-footerSize); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if [8]byte(footer[8:]) != tailMagic {
		return fmt.Errorf("%w: gzip file ends with %q, want %q", ErrFormat, footer[8:], tailMagic)
	}
	at := le.Uint64(footer[:])
	longest := uint64(recordSize(MaxRaw/GroupSize) + MaxName + footerSize)
	if at > uint64(size) || uint64(size)-at > longest || uint64(size)-at < uint64(recordSize(1)+footerSize) {
		return fmt.Errorf("%w: index is at %d of %d bytes", ErrCorrupt, at, size)
	}
	p := make([]byte, uint64(size)-at)
	if err := readFull(r, p, int64(at)); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := l.parseRecord(p, GZ); err != nil {
		return err
	}
	nameLen := int(le.Uint16(p[recNameLen:]))
	if nameLen > MaxName || recordSize(len(l.groups))+nameLen+footerSize != len(p) {
		return fmt.Errorf("%w: index of %d bytes for %d groups and a name of %d", ErrCorrupt, len(p), len(l.groups), nameLen)
	}
	l.Name = string(p[recordSize(len(l.groups)):][:nameLen])
	if CheckName(l.Name) != nil {
		return fmt.Errorf("%w: member name is not a base name of at most %d bytes", ErrCorrupt, MaxName)
	}
	if l.PackedSize != size || l.GzipSize != int64(at) {
		return fmt.Errorf("%w: file of %d bytes with a gzip member of %d, its index says %d and %d",
			ErrCorrupt, size, at, l.PackedSize, l.GzipSize)
	}
	if err := l.checkGroups(gzHead, l.GzipSize-gzTrailer); err != nil {
		return err
	}
	if !bytes.Equal(p, l.tail()) {
		return fmt.Errorf("%w: index and its checksum disagree", ErrCorrupt)
	}
	return l.checkMember(r)
}

// checkMember compares the ends of the gzip member with what the record says.
func (l *layout) checkMember(r io.ReaderAt) error {
	var p [gzHead + gzTrailer]byte
	if err := readFull(r, p[:gzHead], 0); err != nil {
		return fmt.Errorf("gzip header: %w", err)
	}
	if err := readFull(r, p[gzHead:], l.GzipSize-gzTrailer); err != nil {
		return fmt.Errorf("gzip trailer: %w", err)
	}
	if !bytes.Equal(p[:gzHead], gzHeader[:]) || !bytes.Equal(p[gzHead:], l.gzipTrailer()) {
		return fmt.Errorf("%w: gzip header or trailer differs from the index", ErrCorrupt)
	}
	return nil
}
