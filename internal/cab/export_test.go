package cab

import "io"

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
	return out, b.cabinetGroup(out, b.packed[:copy(b.packed, framed)])
}
