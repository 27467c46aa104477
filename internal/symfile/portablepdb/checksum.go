package portablepdb

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
)

// NewHash returns the hash that a PDB checksum entry names, and nil for a name
// that no compiler uses.
func NewHash(algorithm string) hash.Hash {
	switch algorithm {
	case "SHA256":
		return sha256.New()
	case "SHA384":
		return sha512.New384()
	case "SHA512":
		return sha512.New()
	}
	return nil
}

// Checksum streams the whole file into h with the 20 bytes of the id as zeros, and
// returns the digest that the assembly should record.
// Source: .NET runtime, docs/design/specs/PE-COFF.md, "PDB Checksum Debug Directory Entry".
func (f *File) Checksum(h hash.Hash) ([]byte, error) {
	return ChecksumOf(io.NewSectionReader(f.r, 0, f.size), f.IDOff, h)
}

// ChecksumOf is Checksum for bytes that can be read once; idOff is where their id
// is.
func ChecksumOf(r io.Reader, idOff int64, h hash.Hash) ([]byte, error) {
	buf := make([]byte, 64<<10)
	for off := int64(0); ; {
		n, err := r.Read(buf)
		for i := max(idOff-off, 0); i < min(idOff+int64(len(ID{}))-off, int64(n)); i++ {
			buf[i] = 0
		}
		h.Write(buf[:n])
		off += int64(n)
		if err == io.EOF {
			return h.Sum(nil), nil
		}
		if err != nil {
			return nil, fmt.Errorf("portable PDB at %#x: %w", off, err)
		}
	}
}
