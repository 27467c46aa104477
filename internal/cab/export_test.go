package cab

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
