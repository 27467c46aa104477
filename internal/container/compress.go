package container

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"symkeep/internal/symfile"
)

// Windows that decoders may take, in bytes: those of `xz -9` and `zstd --ultra -22
// --long=27`.
const (
	xzWindow   = 64 << 20
	zstdWindow = 128 << 20
)

// compressed visits what is inside a compressed file: a tar, or one file.
func (w *walk) compressed() error {
	return w.decompress(w.format, w.section(0), func(r *bufio.Reader) error {
		if isTar(r) {
			return w.tar(r)
		}
		return w.fault("%s: %v", w.name, w.member(unpackedName(w.name), -1, r))
	})
}

// decompress calls use with what is inside r, which has format f.
func (w *walk) decompress(f symfile.Format, r io.Reader, use func(*bufio.Reader) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	d, closer, err := decoder(f, in)
	if err != nil {
		return w.fault("%s: %v", w.name, err)
	}
	defer closer()
	out := bufio.NewReaderSize(w.metered(d), 64<<10)
	if err := use(out); err != nil {
		return err
	}
	// The checksum stands at the end, behind what a tar reader looks at.
	_, err = io.Copy(io.Discard, out)
	return w.fault("%s: %v", w.name, err)
}

// decoder returns a reader of what is inside in, with a function that releases it.
func decoder(f symfile.Format, in *bufio.Reader) (io.Reader, func(), error) {
	switch f {
	case symfile.Gzip:
		return &gzipStream{in: in}, func() {}, nil
	case symfile.Bzip2:
		return bzip2.NewReader(in), func() {}, nil
	case symfile.XZ:
		z, err := xz.NewReader(in, xzWindow)
		return xzStream{z}, func() {}, xzError(err)
	case symfile.Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, err
		}
		return zstdStream{z}, z.Close, nil
	}
	return nil, nil, unsupported("a compression of this kind")
}

// gzipStream reads the members of a gzip file one after the other. What follows
// the last one is ignored, as gzip(1) does: some tools pad with zeros.
type gzipStream struct {
	in *bufio.Reader
	z  *gzip.Reader
}

func (g *gzipStream) Read(p []byte) (int, error) {
	for {
		if g.z != nil {
			n, err := g.z.Read(p)
			switch {
			case n > 0 && err == io.EOF:
				return n, nil
			case err != io.EOF:
				return n, err
			}
			if magic, _ := g.in.Peek(2); string(magic) != "\x1f\x8b" {
				return 0, io.EOF
			}
		}
		if err := g.next(); err != nil {
			return 0, err
		}
	}
}

func (g *gzipStream) next() (err error) {
	if g.z == nil {
		g.z, err = gzip.NewReader(g.in)
	} else {
		err = g.z.Reset(g.in)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		g.z.Multistream(false)
	}
	return err
}

// xzStream says what the errors of the decoder mean.
type xzStream struct{ z *xz.Reader }

func (x xzStream) Read(p []byte) (int, error) {
	n, err := x.z.Read(p)
	return n, xzError(err)
}

func xzError(err error) error {
	switch {
	case errors.Is(err, xz.ErrMemlimit):
		return &LimitError{"bytes of the xz dictionary", xzWindow, xzWindow + 1}
	case errors.Is(err, xz.ErrOptions), errors.Is(err, xz.ErrUnsupportedCheck):
		return unsupported("%v", err)
	}
	return err
}

type zstdStream struct{ z *zstd.Decoder }

func (s zstdStream) Read(p []byte) (int, error) {
	n, err := s.z.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return n, &LimitError{"bytes of the zstd window", zstdWindow, zstdWindow + 1}
	}
	return n, err
}
