package cab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The record is what a packed file says of itself: in a cabinet the header
// reserve, in a gz container the start of the tail. FORMAT.md has the table.
const (
	version = 1

	recContainer  = 10
	recCRC        = 12
	recGroupSize  = 16
	recGroupCount = 20
	recRawSize    = 24
	recPackedSize = 32
	recGzipSize   = 40
	recRawCRC     = 48
	recNameLen    = 52
	recRawSHA     = 56
	recBodySHA    = 88
	recPackedSHA  = 120
	recGroups     = 152
	recGroupEntry = 12

	// maxReserve is the largest header reserve ([MS-CAB] section 2.1).
	maxReserve = 60000
)

var recMagic = [8]byte{'S', 'Y', 'M', 'K', 'P', 'A', 'C', 'K'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// group is one packed group: where it starts, from the start of the body, and
// the CRC32C of its packed bytes.
type group struct {
	off int64
	crc uint32
}

// layout is all a packed file holds besides its groups.
type layout struct {
	Info
	bodySHA [32]byte
	groups  []group
}

// recordSize returns the bytes of a record without a name.
func recordSize(groups int) int { return recGroups + groups*recGroupEntry }

// appendRecord appends the record with its two checksums zero; name is empty in
// a cabinet, which has it in CFFILE.
func (l *layout) appendRecord(dst []byte, name string) []byte {
	le := binary.LittleEndian
	dst = append(dst, recMagic[:]...)
	dst = le.AppendUint16(dst, version)
	if l.Container == Cab {
		dst = append(dst, 1, 0)
	} else {
		dst = append(dst, 2, 0)
	}
	dst = le.AppendUint32(dst, 0) // CRC32C, set by seal
	dst = le.AppendUint32(dst, GroupSize)
	dst = le.AppendUint32(dst, uint32(len(l.groups)))
	dst = le.AppendUint64(dst, uint64(l.RawSize))
	dst = le.AppendUint64(dst, uint64(l.PackedSize))
	dst = le.AppendUint64(dst, uint64(l.GzipSize))
	dst = le.AppendUint32(dst, l.RawCRC32)
	dst = le.AppendUint16(dst, uint16(len(name)))
	dst = le.AppendUint16(dst, 0)
	dst = append(dst, l.RawSHA256[:]...)
	dst = append(dst, l.bodySHA[:]...)
	dst = append(dst, make([]byte, sha256.Size)...) // packed SHA-256, set by seal
	for _, g := range l.groups {
		dst = le.AppendUint64(dst, uint64(g.off))
		dst = le.AppendUint32(dst, g.crc)
	}
	return append(dst, name...)
}

// seal sets the two checksums of the record at rec inside part, which is
// everything outside of the body, and notes the packed SHA-256.
func (l *layout) seal(part []byte, rec int) {
	l.PackedSHA256 = sha256.Sum256(part)
	copy(part[rec+recPackedSHA:], l.PackedSHA256[:])
	binary.LittleEndian.PutUint32(part[rec+recCRC:], crc32.Checksum(part, castagnoli))
}

// parseRecord reads the record at the start of p for a container c. It bounds
// every number but trusts none of the checksums: parse compares those.
func (l *layout) parseRecord(p []byte, c Container) error {
	le := binary.LittleEndian
	if len(p) < recordSize(1) || [8]byte(p) != recMagic {
		return fmt.Errorf("%w: no record of ours, it would start with %q", ErrFormat, recMagic)
	}
	if v := le.Uint16(p[8:]); v != version {
		return fmt.Errorf("%w: version %d, this build reads %d", ErrFormat, v, version)
	}
	l.Container = c
	count, raw := le.Uint32(p[recGroupCount:]), le.Uint64(p[recRawSize:])
	packed, gz := le.Uint64(p[recPackedSize:]), le.Uint64(p[recGzipSize:])
	limit := uint64(MaxRaw)
	if c == Cab {
		limit = MaxCabRaw
	}
	switch size := le.Uint32(p[recGroupSize:]); {
	case size != GroupSize:
		return fmt.Errorf("%w: groups of %d bytes, want %d", ErrCorrupt, size, GroupSize)
	case raw == 0 || raw > limit:
		return fmt.Errorf("%w: raw size %d, want 1 to %d", ErrCorrupt, raw, limit)
	case uint64(count) != uint64(groupCount(int64(raw))):
		return fmt.Errorf("%w: %d groups for %d raw bytes", ErrCorrupt, count, raw)
	case len(p) < recordSize(int(count)):
		return fmt.Errorf("%w: record of %d bytes for %d groups", ErrCorrupt, len(p), count)
	case packed > 2*MaxRaw || gz > 2*MaxRaw:
		return fmt.Errorf("%w: packed size %d, gzip size %d for %d raw bytes", ErrCorrupt, packed, gz, raw)
	}
	l.RawSize, l.PackedSize, l.GzipSize = int64(raw), int64(packed), int64(gz)
	l.RawCRC32 = le.Uint32(p[recRawCRC:])
	copy(l.RawSHA256[:], p[recRawSHA:])
	copy(l.bodySHA[:], p[recBodySHA:])
	l.groups = make([]group, count)
	for i := range l.groups {
		e := p[recGroups+i*recGroupEntry:]
		l.groups[i] = group{int64(le.Uint64(e)), le.Uint32(e[8:])}
	}
	return nil
}

// checkGroups checks that the packed groups fill the bytes from first to last of
// the body without gap or overlap, none of them over the possible size.
func (l *layout) checkGroups(first, last int64) error {
	if l.groups[0].off != first {
		return fmt.Errorf("%w: group 0 is at %d of the body, want %d", ErrCorrupt, l.groups[0].off, first)
	}
	for i := range l.groups {
		end := last
		if i+1 < len(l.groups) {
			end = l.groups[i+1].off
		}
		if off := l.groups[i].off; end < off+minPackedGroup || end-off > maxPackedGroup {
			return fmt.Errorf("%w: group %d reaches from %d to %d of the body, want 1 to %d bytes",
				ErrCorrupt, i, off, end, maxPackedGroup)
		}
	}
	return nil
}

// rawGroup returns the number of raw bytes of a group.
func (l *layout) rawGroup(i int) int {
	return int(min(GroupSize, l.RawSize-int64(i)*GroupSize))
}
