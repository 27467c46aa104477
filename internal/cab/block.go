package cab

import (
	"encoding/binary"
	"fmt"
	"runtime"
)

// A block on disk is a CFDATA record ([MS-CAB] section 2.4): checksum u32, bytes
// of data u16, raw bytes u16, data. The data is "CK" and a deflate stream
// ([MS-MCI] section 2.2.1) in one of two forms:
//
//	compressed: deflate blocks, sync flush (.. 00 00 FF FF), 01 00 00 FF FF
//	stored:     01 LEN NLEN, raw bytes
//
// Only the stored form is as long as the raw bytes plus 7.
const (
	frameHead   = 8 + 2 // CFDATA and "CK"
	storedHead  = 5
	storedExtra = 2 + storedHead // bytes of data beyond the raw ones

	maxFrame       = frameHead + storedHead + blockSize
	maxPackedGroup = GroupSize / blockSize * maxFrame
	minPackedGroup = 1
)

// yield is called at each block that is packed: goroutines that have waited for a processor
// go first. The runtime would have each of them, the answer to a debugger say, wait 10 ms for
// every goroutine that packs.
func yield() { runtime.Gosched() }

// finalMarker is an empty final stored block, byte-aligned.
var finalMarker = [5]byte{0x01, 0x00, 0x00, 0xFF, 0xFF}

// appendGroup appends the blocks of one group, framed.
func (e *encoder) appendGroup(dst, group []byte) []byte {
	e.matcher.reset()
	for start := 0; start < len(group); start += blockSize {
		end := min(start+blockSize, len(group))
		raw := group[start:end]
		yield()
		head := len(dst)
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 'C', 'K')
		// Compressed data has to stay below the length of the stored form.
		if packed := e.block(group, start, end, len(raw)+storedHead-len(finalMarker)); packed != nil {
			dst = append(dst, packed...)
			dst = append(dst, finalMarker[:]...)
		} else {
			n := uint16(len(raw))
			dst = append(dst, 0x01, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
			dst = append(dst, raw...)
		}
		frame := dst[head:]
		binary.LittleEndian.PutUint16(frame[4:], uint16(len(frame)-8))
		binary.LittleEndian.PutUint16(frame[6:], uint16(len(raw)))
		binary.LittleEndian.PutUint32(frame, frameChecksum(frame))
	}
	return dst
}

// frameChecksum computes the checksum of a CFDATA record ([MS-CAB] section 3.1):
// XOR of the words of the data, then of the two sizes.
func frameChecksum(frame []byte) uint32 {
	p := frame[8:]
	var wide uint64
	for len(p) >= 8 {
		wide ^= binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	sum := uint32(wide) ^ uint32(wide>>32)
	if len(p) >= 4 {
		sum ^= binary.LittleEndian.Uint32(p)
		p = p[4:]
	}
	var rest uint32
	for _, b := range p { // the last one to three bytes count from the top down
		rest = rest<<8 | uint32(b)
	}
	return sum ^ rest ^ binary.LittleEndian.Uint32(frame[4:])
}

// frame is one block of a framed group. data starts after "CK".
type frame struct {
	sum    uint32
	whole  []byte
	data   []byte
	stored bool
}

// nextFrame cuts the first block off p, what is left of a framed group, of which the
// raw bytes are left, too. The last block ends the group.
func nextFrame(p []byte, left int) (f frame, rest []byte, err error) {
	raw := min(left, blockSize)
	if len(p) < frameHead {
		return f, nil, fmt.Errorf("%w: %d bytes where a block should start", ErrCorrupt, len(p))
	}
	size, uncomp := int(binary.LittleEndian.Uint16(p[4:])), int(binary.LittleEndian.Uint16(p[6:]))
	switch {
	case uncomp != raw:
		return f, nil, fmt.Errorf("%w: block of %d raw bytes, want %d", ErrCorrupt, uncomp, raw)
	case size > raw+storedExtra || size > len(p)-8 || size < 2+len(finalMarker):
		return f, nil, fmt.Errorf("%w: block of %d packed bytes for %d raw ones, %d are left",
			ErrCorrupt, size, raw, len(p)-8)
	case p[8] != 'C' || p[9] != 'K':
		return f, nil, fmt.Errorf("%w: block starts with %q, want \"CK\"", ErrCorrupt, p[8:10])
	}
	f = frame{binary.LittleEndian.Uint32(p), p[:8+size], p[frameHead : 8+size], size == raw+storedExtra}
	if f.stored {
		n := uint16(raw)
		if f.data[0] != 1 || binary.LittleEndian.Uint16(f.data[1:]) != n || binary.LittleEndian.Uint16(f.data[3:]) != ^n {
			return f, nil, fmt.Errorf("%w: stored block starts with % x", ErrCorrupt, f.data[:storedHead])
		}
	} else if mark := f.data[len(f.data)-5:]; [5]byte(mark) != finalMarker {
		return f, nil, fmt.Errorf("%w: block ends with % x, want % x", ErrCorrupt, mark, finalMarker)
	}
	if rest = p[8+size:]; raw == left && len(rest) > 0 {
		return f, nil, fmt.Errorf("%w: %d bytes after the last block of a group", ErrCorrupt, len(rest))
	}
	return f, rest, nil
}

// ending says how the deflate bytes of a group end.
type ending bool

const (
	open  ending = false // at a byte boundary, more follows
	final ending = true  // in a final block
)

// strip turns the framed group p of raw bytes into one deflate stream, in place,
// and returns it: frames and "CK" dropped, final markers of all blocks cleared,
// that of the last one left for a final ending.
func strip(p []byte, raw int, end ending) ([]byte, error) {
	out := p[:0]
	for rest := p; raw > 0; {
		f, more, err := nextFrame(rest, raw)
		if err != nil {
			return nil, err
		}
		rest, raw = more, raw-min(raw, blockSize)
		last := end == final && raw == 0
		switch {
		case last:
			out = append(out, f.data...)
		case f.stored:
			f.data[0] = 0
			out = append(out, f.data...)
		default:
			out = append(out, f.data[:len(f.data)-len(finalMarker)]...)
		}
	}
	return out, nil
}

// strippedSize returns the length strip would return. p consists of whole frames.
func strippedSize(p []byte, end ending) int {
	total := 0
	for len(p) > 0 {
		size, raw := int(binary.LittleEndian.Uint16(p[4:])), int(binary.LittleEndian.Uint16(p[6:]))
		p = p[8+size:]
		total += size - 2
		if size != raw+storedExtra && (end == open || len(p) > 0) {
			total -= len(finalMarker)
		}
	}
	return total
}
