package container

import (
	"archive/zip"
	"bufio"
	"compress/bzip2"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// zipDirectory bounds the directory of a zip, which is held in memory as a few
// times its size.
const zipDirectory = 32 << 20

// Methods of compression beyond those of the standard library (APPNOTE.TXT,
// section 4.4.5).
const (
	zipBzip2 = 12
	zipZstd  = 93
	zipXZ    = 95
)

func (w *walk) zip() error {
	in := &bounded{in: w.in, left: zipDirectory}
	z, err := zip.NewReader(in, w.size)
	if err != nil {
		return w.fault("%s: zip: %v", w.name, err)
	}
	in.left = -1
	z.RegisterDecompressor(zipZstd, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow)))
	z.RegisterDecompressor(zipBzip2, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	z.RegisterDecompressor(zipXZ, func(r io.Reader) io.ReadCloser { return io.NopCloser(&lazyXZ{r: r}) })
	for _, f := range z.File {
		if !f.Mode().IsRegular() || strings.HasSuffix(f.Name, "/") {
			continue
		}
		if err := w.zipMember(f); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) zipMember(f *zip.File) error {
	const encrypted = 1
	// Some writers of Windows separate folders by backslashes, against the
	// specification (section 4.4.17.1); no symbol file has one in its name.
	name := strings.ReplaceAll(f.Name, `\`, "/")
	if f.Flags&encrypted != 0 {
		return unsupported("%s: zip: member %q is encrypted: pack it again without a password", w.name, name)
	}
	if f.UncompressedSize64 > 1<<62 {
		return damaged("%s: zip: member %q: size %d", w.name, name, f.UncompressedSize64)
	}
	r, err := f.Open()
	switch {
	case errors.Is(err, zip.ErrAlgorithm):
		return unsupported("%s: zip: member %q has compression method %d: pack it again with deflate", w.name, name, f.Method)
	case err != nil:
		return w.fault("%s: zip: member %q: %v", w.name, name, err)
	}
	defer r.Close()
	return w.member(name, int64(f.UncompressedSize64), bufio.NewReaderSize(r, 32<<10))
}

// bounded refuses to read more than so many bytes. Without it a directory of
// millions of entries would be taken into memory before the first is seen.
type bounded struct {
	in   *input
	left int64 // -1 for no bound
}

// ReadAt implements io.ReaderAt.
func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if b.left >= 0 {
		if b.left -= int64(len(p)); b.left < 0 {
			b.left = 0
			return 0, &LimitError{"bytes of the zip directory", zipDirectory, zipDirectory + 1}
		}
	}
	return b.in.ReadAt(p, off)
}

// lazyXZ begins to decode when it is read: only then can it return an error.
type lazyXZ struct {
	r io.Reader
	z *xz.Reader
}

func (l *lazyXZ) Read(p []byte) (n int, err error) {
	if l.z == nil {
		if l.z, err = xz.NewReader(l.r, xzWindow); err != nil {
			return 0, xzError(err)
		}
	}
	n, err = l.z.Read(p)
	return n, xzError(err)
}
