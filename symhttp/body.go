package symhttp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/valyala/fasthttp"
)

// A body is the bytes of one answer, checked as they go out. What cannot be sent
// whole ends in a RST: an orderly close would let clients keep the truncated file.
// fasthttp closes it.
type body struct {
	first []byte    // read before the header was sent
	src   io.Reader // the rest; an *os.File goes through sendfile
	size  int64     // of all
	conn  net.Conn
	done  func(whole bool) // once; releases everything

	sent  int64
	whole bool
	once  sync.Once
}

var errShortBody = errors.New("file ends before its announced size")

// WriteTo implements io.WriterTo, which fasthttp uses for every body.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	defer func() {
		b.sent += n
		if err == nil && b.sent != b.size {
			err = fmt.Errorf("%w: %d of %d bytes", errShortBody, b.sent, b.size)
		}
		if b.whole = err == nil; !b.whole {
			abort(b.conn)
		}
	}()
	m, err := w.Write(b.first)
	if n = int64(m); err != nil {
		return n, err
	}
	b.first = nil
	k, err := b.rest(w)
	return n + k, err
}

// stream makes b the body of an answer. The head goes out with the first bytes of a file.
func stream(rc *fasthttp.RequestCtx, b *body) {
	if c, ok := b.conn.(*patientConn); ok && b.followsHead() {
		c.headWaits()
	}
	rc.SetBodyStream(b, int(b.size))
}

// smallBody is the size of a body up to which fasthttp writes it in one go with the head:
// maxSmallFileSize in its http.go.
const smallBody = 8 << 10

// followsHead reports whether the head is written alone, and a file after it.
func (b *body) followsHead() bool {
	_, ok := b.src.(*os.File)
	return ok && b.size-int64(len(b.first)) > smallBody
}

func (b *body) rest(w io.Writer) (int64, error) {
	switch src := b.src.(type) {
	case *os.File: // never its own WriteTo: the writer knows how to use sendfile
		if rf, ok := w.(io.ReaderFrom); ok {
			return rf.ReadFrom(src)
		}
	case io.WriterTo:
		return src.WriteTo(w)
	}
	return io.Copy(w, b.src)
}

// Read implements io.Reader for callers that do not know io.WriterTo.
func (b *body) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		b.sent += int64(n)
		return n, nil
	}
	n, err := b.src.Read(p)
	b.sent += int64(n)
	if err == io.EOF {
		b.whole = b.sent == b.size
	}
	if err != nil && !b.whole {
		abort(b.conn)
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.once.Do(func() { b.done(b.whole) })
	return nil
}

// prime reads the first n bytes of a checked stream, which proves the group they
// are in. Fewer are an error unless the stream promised no more.
func prime(r io.Reader, n, size int64) ([]byte, error) {
	p := make([]byte, min(n, size))
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	return p, nil
}
