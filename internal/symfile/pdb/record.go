package pdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Kinds of damage inside the streams, tested with errors.Is.
var (
	ErrTypes   = errors.New("damaged PDB type records")
	ErrSymbols = errors.New("damaged PDB symbol records")
	ErrLines   = errors.New("damaged PDB line numbers")
)

// maxRecord is the longest CodeView record, its length field included.
const maxRecord = 2 + 0xFFFF

// A record is one CodeView record: a type or a symbol.
type record struct {
	off  int64 // of its length field, in the stream
	kind uint16
	body []byte // what follows the kind; valid until the next record is read
}

// A recordReader reads one chain of records after the other through one buffer.
type recordReader struct {
	buf  *bufio.Reader
	at   int64
	to   int64
	what string
	kind error
}

func newRecordReader(what string, kind error) *recordReader {
	return &recordReader{buf: bufio.NewReaderSize(nil, 2*maxRecord), what: what, kind: kind}
}

// start aims at the records between from and to of s, which has those bytes.
func (q *recordReader) start(s *Stream, from, to int64) {
	q.buf.Reset(io.NewSectionReader(s, from, to-from))
	q.at, q.to = from, to
}

// next returns the next record, and io.EOF after one that ends where the chain
// should. Other errors are of the kind of q or of the reader.
// Source: microsoft/microsoft-pdb, include/cvinfo.h, SYMTYPE and TYPTYPE.
func (q *recordReader) next() (record, error) {
	if q.at == q.to {
		return record{}, io.EOF
	}
	if q.to-q.at < 4 {
		return record{}, bad(q.kind, q.at, q.what, fmt.Sprintf("%d bytes", q.to-q.at), "a record of 4 bytes or more")
	}
	h, err := q.buf.Peek(4)
	if err != nil {
		return record{}, fmt.Errorf("%s at %#x: %w", q.what, q.at, err)
	}
	n := int64(le.Uint16(h))
	if n < 2 || n > q.to-q.at-2 {
		return record{}, bad(q.kind, q.at, q.what, fmt.Sprintf("a length of %d", n), fmt.Sprintf("2 to %d", min(q.to-q.at-2, maxRecord-2)))
	}
	b, err := q.buf.Peek(int(2 + n))
	if err != nil {
		return record{}, fmt.Errorf("%s at %#x: %w", q.what, q.at, err)
	}
	r := record{off: q.at, kind: le.Uint16(b[2:]), body: b[4:]}
	q.at += 2 + n
	_, err = q.buf.Discard(int(2 + n)) // the bytes stay until the next Peek
	return r, err
}
