package cab

import (
	"crypto/sha256"
	"hash/crc32"
	"io"
)

// Sizes tests reason about.
const (
	BlockSize   = blockSize
	MaxDistance = maxDistance
)

// NewWriterLimits is NewWriter with the two limits of a cabinet lowered, to
// reach the gz container with small files.
func NewWriterLimits(f File, o Options, cabRaw, cabFile int64) (*Writer, error) {
	return newWriter(f, o, limits{cabRaw, cabFile})
}

// DeflateGroup returns the framed blocks of one group.
func DeflateGroup(group []byte) []byte {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	return e.appendGroup(nil, group)
}

// VerifyGroup is the check every group passes after packing.
func VerifyGroup(framed, raw []byte) error {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	return z.verify(framed, raw)
}

// CodeLengths is codeLengths.
func CodeLengths(lens []uint8, freq []uint32, limit int) { codeLengths(lens, freq, limit) }

// FrameChecksum is frameChecksum.
func FrameChecksum(frame []byte) uint32 { return frameChecksum(frame) }

// NewInspectorLimits is NewInspector with the limits of NewWriterLimits.
func NewInspectorLimits(r io.ReaderAt, want Info, cabRaw, cabFile int64) *Inspector {
	return newInspector(r, want, limits{cabRaw, cabFile})
}

// InspectGroup decodes the framed blocks of one group as an Inspector does.
func InspectGroup(framed []byte, raw int) ([]byte, error) {
	b := inspectBuffers.Get().(*inspectBuffer)
	defer inspectBuffers.Put(b)
	if len(framed) > maxPackedGroup || raw > GroupSize {
		return nil, ErrCorrupt
	}
	out := make([]byte, raw)
	return out, b.z.group(Cab, out, raw, b.packed[:copy(b.packed, framed)], open)
}

// InspectGZGroup is InspectGroup for the deflate form of the only group of a file.
func InspectGZGroup(deflated []byte, raw int) ([]byte, error) {
	b := inspectBuffers.Get().(*inspectBuffer)
	defer inspectBuffers.Put(b)
	if len(deflated) > maxPackedGroup || raw > GroupSize {
		return nil, ErrCorrupt
	}
	out := make([]byte, raw)
	return out, b.z.group(GZ, out, raw, b.packed[:copy(b.packed, deflated)], final)
}

// GZOf makes a gz container of raw bytes out of the deflate forms of its groups, with an
// index and checksums that fit them, whatever they are.
func GZOf(raw []byte, name string, groups ...[]byte) []byte {
	l := layout{Info: Info{Container: GZ, RawSize: int64(len(raw)), RawSHA256: sha256.Sum256(raw), RawCRC32: crc32.ChecksumIEEE(raw), Name: name}}
	p := append([]byte{}, gzHeader[:]...)
	for _, g := range groups {
		l.groups = append(l.groups, group{int64(len(p)), crc32.Checksum(g, castagnoli)})
		p = append(p, g...)
	}
	p = append(p, l.gzipTrailer()...)
	l.bodySHA = sha256.Sum256(p)
	l.GzipSize = int64(len(p))
	l.PackedSize = l.GzipSize + tailSize(len(groups), name)
	return append(p, l.tail()...)
}

// RangeWorkers is RangeWindow with so many workers, whatever the processors.
func (r *Reader) RangeWorkers(off, n int64, window, workers int) io.ReadCloser {
	s := r.RangeWindow(off, n, window)
	s.(*rangeReader).crew.workers = workers
	return s
}
