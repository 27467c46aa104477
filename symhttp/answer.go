package symhttp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// A form is what a client asks for of a blob.
type form byte

const (
	formRaw     form = iota // the file as it is
	formGzip                // the file, gzip encoded where that is smaller
	formCabinet             // the .pd_ file
)

// An answerID names an answer among all others.
type answerID struct {
	digest catalog.Digest
	form   form
	member string // name wanted inside a cabinet, else empty
}

// An answer is one form of one blob whose bytes have been checked, ready to be sent
// without opening or unpacking anything: from memory if it is small, else a part of a
// file that sendfile sends.
type answer struct {
	raw      int64 // bytes of the blob, unpacked
	size     int64
	etag     string
	encoding string
	until    time.Time // after that it is checked again

	lead  []byte   // comes before what the file gives; all of it without a file
	files *handles // nil without a file
	off   int64    // of the first byte in the file
}

// loopMost is the size of the largest answer that a loop sends from a file: others wait some
// 0.7 ms for it.
const loopMost = 2 << 20

// forLoop reports whether a loop may send the answer.
func (a *answer) forLoop() bool { return a.files == nil || a.size <= loopMost }

// representation makes the answer one for the file of a candidate.
func (a *answer) representation(c catalog.Candidate) representation {
	r := representation{name: c.Name, raw: a.raw, size: a.size, etag: a.etag, encoding: a.encoding, rangeable: a.encoding == ""}
	if a.files == nil {
		r.data = a.lead
	} else {
		r.body = a.body
	}
	return r
}

// A filePart is a part of a checked file that is sent from a handle of its own.
type filePart struct {
	files  *handles
	file   *os.File // nil: there is none
	off, n int64
}

// part returns what the file gives of the whole answer, nothing without a file. ok is false
// where the file would have to be opened, or is not the one that was checked.
func (a *answer) part() (p filePart, ok bool) {
	if a.files == nil {
		return filePart{}, true
	}
	f := a.files.takeSpare()
	if f == nil || !a.files.checked(f) {
		return filePart{}, false
	}
	return filePart{a.files, f, a.off, a.size - int64(len(a.lead))}, true
}

// give ends the use of the part.
func (p *filePart) give() {
	if p.file != nil {
		p.files.give(p.file)
		*p = filePart{}
	}
}

// body sends a part. errStale: the file is not the one that was checked.
func (a *answer) body(_ context.Context, s span, conn net.Conn) (*body, error) {
	f, err := a.files.take()
	if err != nil {
		return nil, err
	}
	var first []byte
	if lead := int64(len(a.lead)); s.off < lead {
		first = a.lead[s.off:min(s.end(), lead)]
	}
	if _, err := f.Seek(a.off+max(s.off-int64(len(a.lead)), 0), io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return &body{first: first, src: f, size: s.n, conn: conn, done: func(bool) { a.files.give(f) }}, nil
}

// errStale says that a file has been changed, replaced or removed.
var errStale = errors.New("file is not the one that was checked")

// spareHandles is how many handles of one file stay open between answers.
const spareHandles = 8

// handles are open files of one path. Sendfile moves the position of a file, so each
// answer under way has a handle of its own; the next one takes it over.
type handles struct {
	path string
	info os.FileInfo // of the file that was checked

	mu     sync.Mutex
	spare  []*os.File
	closed bool
}

// take returns a handle of the checked file at any position.
func (h *handles) take() (*os.File, error) {
	f := h.takeSpare()
	if f == nil {
		var err error
		if f, err = os.Open(h.path); err != nil {
			return nil, errStale
		}
	}
	if !h.checked(f) {
		return nil, errStale
	}
	return f, nil
}

// checked reports whether f is the file that was checked, and closes it if not.
func (h *handles) checked(f *os.File) bool {
	if fi, err := f.Stat(); err == nil && sameFile(h.info, fi) {
		return true
	}
	f.Close()
	return false
}

func (h *handles) takeSpare() *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.spare)
	if n == 0 {
		return nil
	}
	f := h.spare[n-1]
	h.spare = h.spare[:n-1]
	return f
}

// give takes a handle back.
func (h *handles) give(f *os.File) {
	h.mu.Lock()
	keep := !h.closed && len(h.spare) < spareHandles
	if keep {
		h.spare = append(h.spare, f)
	}
	h.mu.Unlock()
	if !keep {
		f.Close()
	}
}

// close closes the spare handles now, and those in use when they come back.
func (h *handles) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	spare := h.spare
	h.spare, h.closed = nil, true
	h.mu.Unlock()
	for _, f := range spare {
		f.Close()
	}
}

// sameFile reports whether b is the file a was, not written to since.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a) == changed(b)
}
