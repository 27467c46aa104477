package pdb

import (
	"bufio"
	"fmt"
	"io"
)

// typeStarts compares a list of where some type records begin with where they do:
// debuggers jump into the records by it. Rows are an index and an offset of 4 bytes
// each, in rising order.
type typeStarts struct {
	rows *bufio.Reader
	what string
	at   int64 // of row, in the hash stream
	left int64 // bytes after row
	row  [8]byte
	err  error // io.EOF: no row is left
}

// starts begins to read the list of h.
func (h typesHeader) starts(name string) *typeStarts {
	t := &typeStarts{what: "start of a " + name + " record", err: io.EOF}
	if h.hash == nil || h.indexLen == 0 {
		return t
	}
	t.rows = bufio.NewReader(io.NewSectionReader(h.hash, h.indexOff, h.indexLen))
	t.at, t.left, t.err = h.indexOff-8, h.indexLen, nil
	t.next()
	return t
}

func (t *typeStarts) next() {
	t.at += 8
	if t.left < 8 {
		t.err = io.EOF
		return
	}
	t.left -= 8
	_, t.err = io.ReadFull(t.rows, t.row[:])
}

// check takes the record of the given index, which begins off bytes after the first.
func (t *typeStarts) check(index uint32, off int64) error {
	if t.err != nil {
		return ignoreEOF(t.err)
	}
	wantIndex, wantOff := le.Uint32(t.row[:]), int64(le.Uint32(t.row[4:]))
	switch {
	case wantIndex == index && wantOff == off:
		t.next()
	case wantIndex <= index || wantOff <= off:
		return bad(ErrTypes, t.at, t.what, fmt.Sprintf("index %#x at %#x", wantIndex, wantOff), fmt.Sprintf("index %#x at %#x", index, off))
	}
	return ignoreEOF(t.err)
}

// end wants no row to be left after the last record.
func (t *typeStarts) end() error {
	if t.err == nil {
		return bad(ErrTypes, t.at, t.what, fmt.Sprintf("index %#x", le.Uint32(t.row[:])), "no index after the last record")
	}
	return ignoreEOF(t.err)
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
