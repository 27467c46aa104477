package cab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
)

var strictInflaters = sync.Pool{New: func() any { return new(strictInflater) }}

// group decodes the first bytes of a packed group of size raw bytes, those that raw has
// room for: all, or so many blocks. Of a whole group packed must hold nothing more.
// strictPadding bytes can be read behind packed, within its capacity. Errors wrap
// ErrCorrupt.
func (z *strictInflater) group(c Container, raw []byte, size int, packed []byte, how ending) (err error) {
	for start := 0; start < len(raw); start += blockSize {
		end := min(start+blockSize, len(raw))
		if c == Cab {
			packed, err = z.cabinetBlock(raw, start, end, packed, size-start)
		} else {
			packed, err = z.gzipBlock(raw, start, end, packed, how == final && end == size)
		}
		if err != nil {
			return err
		}
	}
	if len(raw) == size && len(packed) > 0 {
		return fmt.Errorf("%w: %d bytes after the last block of a group", ErrCorrupt, len(packed))
	}
	return nil
}

// cabinetBlock decodes the framed block at the front of packed, where left raw bytes of
// the group are left, into raw[start:end].
func (z *strictInflater) cabinetBlock(raw []byte, start, end int, packed []byte, left int) (rest []byte, err error) {
	f, rest, err := nextFrame(packed, left)
	if err != nil {
		return nil, err
	}
	if got := frameChecksum(f.whole); got != f.sum {
		return nil, fmt.Errorf("%w: cabinet block has checksum %08x, want %08x", ErrCorrupt, got, f.sum)
	}
	if f.stored {
		copy(raw[start:end], f.data[storedHead:])
		return rest, nil
	}
	size := len(f.data) - len(finalMarker)
	used, err := z.block(raw, start, end, f.data[:cap(f.data)], size)
	if err != nil {
		return nil, fmt.Errorf("block at %d: %w", start, err)
	}
	if used != size {
		return nil, fmt.Errorf("%w: block at %d: %d bytes after its end", ErrCorrupt, start, size-used)
	}
	return rest, nil
}

// gzipBlock decodes the block at the front of packed, the deflate form of a group or what
// is left of it, into raw[start:end]. The last one of a file ends it.
func (z *strictInflater) gzipBlock(raw []byte, start, end int, packed []byte, last bool) (rest []byte, err error) {
	if n := end - start; len(packed) >= storedHead+n && packed[0]&^1 == 0 {
		if head := storedBlock(n, last); !bytes.Equal(packed[:storedHead], head[:]) {
			return nil, fmt.Errorf("%w: stored block at %d starts with % x, want % x", ErrCorrupt, start, packed[:storedHead], head)
		}
		copy(raw[start:end], packed[storedHead:])
		return packed[storedHead+n:], nil
	}
	used, err := z.block(raw, start, end, packed[:cap(packed)], len(packed))
	if err != nil {
		return nil, fmt.Errorf("block at %d: %w", start, err)
	}
	rest = packed[used:]
	if !last {
		return rest, nil
	}
	if !bytes.HasPrefix(rest, finalMarker[:]) {
		return nil, fmt.Errorf("%w: last block ends with % x, want % x", ErrCorrupt, rest, finalMarker)
	}
	return rest[len(finalMarker):], nil
}

// storedBlock returns how a stored block of n raw bytes starts.
func storedBlock(n int, last bool) (head [storedHead]byte) {
	if last {
		head[0] = 1
	}
	binary.LittleEndian.PutUint16(head[1:], uint16(n))
	binary.LittleEndian.PutUint16(head[3:], ^uint16(n))
	return head
}
