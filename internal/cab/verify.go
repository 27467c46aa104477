package cab

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
)

// groupBuffers hold a packed group each, about a MiB at most.
var groupBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Verify reads a whole packed file of size bytes and checks everything that can
// be checked without inflating: what Open checks, the CRC32C of every group and
// the packed SHA-256. It looks at ctx between groups. Errors wrap ErrFormat or
// ErrCorrupt, or are those of r or ctx.
func Verify(ctx context.Context, r io.ReaderAt, size int64) (Info, error) {
	rd, err := Open(r, size)
	if err != nil {
		return Info{}, fmt.Errorf("verify: %w", err)
	}
	body := rd.bodyHash()
	room := groupBuffers.Get().(*[]byte)
	defer groupBuffers.Put(room)
	for i := range rd.l.groups {
		if err := ctx.Err(); err != nil {
			return Info{}, err
		}
		buf, err := rd.packed(*room, i)
		if err != nil {
			return Info{}, fmt.Errorf("verify %q: %w", rd.l.Name, err)
		}
		body.Write(buf)
		*room = buf
		runtime.Gosched() // requests are waiting behind the millisecond this took
	}
	if err := rd.checkBody(body); err != nil {
		return Info{}, fmt.Errorf("verify %q: %w", rd.l.Name, err)
	}
	return rd.l.Info, nil
}

// VerifyRaw checks what Verify does and inflates everything, each group once and
// several in parallel: the raw SHA-256, size and CRC32, the checksum of every
// cabinet block and the length of the gzip answer. It looks at ctx between groups.
// Errors are those of Verify.
func VerifyRaw(ctx context.Context, r io.ReaderAt, size int64) (Info, error) {
	rd, err := Open(r, size)
	if err != nil {
		return Info{}, fmt.Errorf("verify: %w", err)
	}
	if err := rd.verifyRaw(ctx); err != nil {
		return Info{}, fmt.Errorf("verify %q: %w", rd.l.Name, err)
	}
	return rd.l.Info, nil
}

func (r *Reader) verifyRaw(ctx context.Context) error {
	groups := newCrew(r, 0, len(r.l.groups), r.l.RawSize, Window())
	groups.strict = true
	defer groups.close()
	body, raw := r.bodyHash(), sha256.New()
	crc, gzip := uint32(0), int64(gzHead+gzTrailer)
	if err := ctx.Err(); err != nil {
		return err
	}
	err := groups.all(func(j *inflateJob) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		body.Write(j.whole)
		raw.Write(j.raw)
		crc = crc32.Update(crc, crc32.IEEETable, j.raw)
		gzip += int64(j.gzip)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.checkBody(body); err != nil {
		return err
	}
	return r.checkRaw(raw, crc, gzip)
}

// checkRaw compares what all groups came to with the record.
func (r *Reader) checkRaw(raw hash.Hash, crc uint32, gzip int64) error {
	if got := [32]byte(raw.Sum(nil)); got != r.l.RawSHA256 {
		return fmt.Errorf("%w: raw bytes have SHA-256 %x, want %x", ErrCorrupt, got, r.l.RawSHA256)
	}
	if crc != r.l.RawCRC32 || gzip != r.l.GzipSize {
		return fmt.Errorf("%w: raw bytes have CRC32 %08x and %d bytes of gzip, want %08x and %d",
			ErrCorrupt, crc, gzip, r.l.RawCRC32, r.l.GzipSize)
	}
	return nil
}

// bodyHash returns the hash of the body up to its first group.
func (r *Reader) bodyHash() hash.Hash {
	h := sha256.New()
	if r.l.Container == GZ {
		h.Write(gzHeader[:]) // Open has compared it, and the trailer
	}
	return h
}

// checkBody compares the hash, once it has all groups.
func (r *Reader) checkBody(h hash.Hash) error {
	if r.l.Container == GZ {
		h.Write(r.l.gzipTrailer())
	}
	if got := [32]byte(h.Sum(nil)); got != r.l.bodySHA {
		return fmt.Errorf("%w: body has SHA-256 %x, want %x; fetch another copy", ErrCorrupt, got, r.l.bodySHA)
	}
	return nil
}

// checkFrames compares the checksums of the blocks of a framed group, which they fill.
func checkFrames(p []byte, raw int) error {
	for ; raw > 0; raw -= blockSize {
		f, rest, err := nextFrame(p, raw)
		if err != nil {
			return err
		}
		if got := frameChecksum(f.whole); got != f.sum {
			return fmt.Errorf("%w: cabinet block has checksum %08x, want %08x", ErrCorrupt, got, f.sum)
		}
		p = rest
	}
	return nil
}
