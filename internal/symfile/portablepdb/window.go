package portablepdb

import (
	"fmt"
	"io"
)

const windowLen = 8 << 10

// A window gives pieces of a stream; reads next to each other cost one.
type window struct {
	r   io.ReaderAt
	s   Stream
	buf []byte
	at  int64 // in s, of buf
}

// bytes returns n bytes at off, which lie in the stream; valid until the next call.
func (w *window) bytes(off, n int64) ([]byte, error) {
	if off < w.at || off+n > w.at+int64(len(w.buf)) {
		k := min(max(n, windowLen), w.s.Size-off)
		if int64(cap(w.buf)) < k {
			w.buf = make([]byte, k)
		}
		w.buf, w.at = w.buf[:k], off
		if m, err := w.r.ReadAt(w.buf, w.s.Off+off); int64(m) < k {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("stream %s at %#x: %w", w.s.Name, off, err)
		}
	}
	return w.buf[off-w.at:][:n], nil
}

// blob returns where the bytes of the blob at index lie, and how many they are. It is
// of kind ErrTables if they do not lie in the heap.
// Source: ECMA-335 II.24.2.4.
func (w *window) blob(index uint32) (off, n int64, err error) {
	if index == 0 {
		return 0, 0, nil
	}
	i := int64(index)
	if i >= w.s.Size {
		return 0, 0, bad(ErrTables, w.s.Off, "blob", fmt.Sprintf("offset %d", i), fmt.Sprintf("below %d", w.s.Size))
	}
	b, err := w.bytes(i, min(4, w.s.Size-i))
	if err != nil {
		return 0, 0, err
	}
	v, k := compressed(b)
	if k == 0 || i+int64(k)+int64(v) > w.s.Size {
		return 0, 0, bad(ErrTables, w.s.Off+i, "blob", fmt.Sprintf("a length that starts with %#x", b[0]), fmt.Sprintf("an end within the %d bytes of %s", w.s.Size, w.s.Name))
	}
	return i + int64(k), int64(v), nil
}

// compressed reads an unsigned number of 1, 2 or 4 bytes and returns how many it took,
// 0 if b holds none. Source: ECMA-335 II.23.2.
func compressed(b []byte) (v uint32, n int) {
	switch {
	case len(b) >= 1 && b[0]&0x80 == 0:
		return uint32(b[0]), 1
	case len(b) >= 2 && b[0]&0xC0 == 0x80:
		return uint32(b[0]&0x3F)<<8 | uint32(b[1]), 2
	case len(b) >= 4 && b[0]&0xE0 == 0xC0:
		return uint32(b[0]&0x1F)<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), 4
	}
	return 0, 0
}

// compressedSigned is compressed for a signed number: its sign is the lowest bit.
func compressedSigned(b []byte) (v int64, n int) {
	u, n := compressed(b)
	v = int64(u >> 1)
	if u&1 != 0 {
		v -= map[int]int64{1: 1 << 6, 2: 1 << 13, 4: 1 << 28}[n]
	}
	return v, n
}
