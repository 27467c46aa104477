package container

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// mszipFrames decodes MSZIP ([MS-MCI]): each block is "CK" and one deflate stream,
// whose history is the raw bytes of the block before.
type mszipFrames struct {
	src  bytes.Reader
	z    io.ReadCloser
	last []byte // raw bytes of the block before
	out  []byte
}

func (m *mszipFrames) decode(packed []byte, raw int) ([]byte, error) {
	if len(packed) < 2 || packed[0] != 'C' || packed[1] != 'K' {
		return nil, damaged("MSZIP block: found % x, wanted 43 4b", packed[:min(2, len(packed))])
	}
	m.src.Reset(packed[2:])
	if m.z == nil {
		m.z, m.last, m.out = flate.NewReader(&m.src), make([]byte, 0, cabFrame), make([]byte, 0, cabFrame)
	}
	if err := m.z.(flate.Resetter).Reset(&m.src, m.last); err != nil {
		return nil, damaged("MSZIP block: %v", err)
	}
	m.out = m.out[:raw]
	if n, err := io.ReadFull(m.z, m.out); err != nil {
		return nil, damaged("MSZIP block: ends after %d of %d raw bytes: %v", n, raw, err)
	}
	m.last, m.out = m.out, m.last[:0]
	return m.last, nil
}
