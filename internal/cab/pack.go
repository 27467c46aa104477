package cab

import (
	"hash/crc32"
	"sync"
)

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// packJob packs one group. Its buffers are reused for later groups of the file.
type packJob struct {
	raw    []byte // what goes in, at most GroupSize bytes
	end    ending
	packed []byte // what comes out, in the form of the container
	gzip   int    // deflate bytes of the group in the gzip answer
	crc    uint32 // CRC32C of packed
	err    error
	done   chan struct{}
}

// run waits for a slot, compresses the group, decodes the result again, compares, and
// closes done.
func (j *packJob) run(slots chan struct{}, c Container) {
	defer close(j.done)
	slots <- struct{}{}
	defer func() { <-slots }()
	e := encoders.Get().(*encoder)
	j.packed = e.appendGroup(j.packed[:0], j.raw)
	encoders.Put(e)

	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	if j.err = z.verify(j.packed, j.raw); j.err != nil {
		return
	}
	j.gzip = strippedSize(j.packed, j.end)
	if c == GZ {
		if j.packed, j.err = strip(j.packed, len(j.raw), j.end); j.err != nil {
			return
		}
	}
	j.crc = crc32.Checksum(j.packed, castagnoli)
}
