package pe

import (
	"fmt"
	"io"
)

// ComputeCheckSum reads the whole image and returns what its CheckSum field should
// hold: the 16-bit ones' complement sum of the file with the field zero, plus the
// size. Windows demands it of drivers only.
func (f *File) ComputeCheckSum() (uint32, error) {
	var sum uint64
	buf := make([]byte, 64<<10)
	for off := int64(0); off < f.size; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), f.size-off)]
		if n, err := f.r.ReadAt(b, off); n < len(b) {
			return 0, fmt.Errorf("image at %#x: %w", off+int64(n), noEOF(err))
		}
		for i := range 4 {
			if at := f.CheckSumOff + int64(i) - off; at >= 0 && at < int64(len(b)) {
				b[at] = 0
			}
		}
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint64(le.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint64(b[len(b)-1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint32(sum) + uint32(f.size), nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
