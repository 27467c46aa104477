// Package symindex reads symbol_index.json, in which a package of symbols says by
// which keys its files are asked for (dotnet/symstore,
// Package_Based_Symbol_Server.md): a JSON list of objects with clientKey, a lookup
// path, and blobPath, a file of the package.
package symindex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// ErrMalformed is the Kind of every FormatError of this package.
var ErrMalformed = errors.New("not a symbol index")

// Bounds of one index.
const (
	MaxBytes   = 64 << 20
	MaxEntries = 1_000_000
)

// Named reports whether a file called name is an index.
func Named(name string) bool { return symid.Fold(symid.BaseName(name)) == "symbol_index.json" }

// An Entry gives one key to one file.
type Entry struct {
	No        int    // from 0
	Off       int64  // where it ends, bytes from the start of the file
	ClientKey string // as recorded: a lookup path, not percent-encoded
	BlobPath  string // as recorded, relative to the folder of the index
}

// Read returns the entries of r, which holds size bytes. What is not such a list is
// a *symfile.FormatError; the entries before it come back beside it. An entry that
// lacks one of its fields is no error: the field is empty.
func Read(r io.ReaderAt, size int64) ([]Entry, error) {
	if size > MaxBytes {
		return nil, malformed(0, "size of the index", fmt.Sprintf("%d bytes", size), fmt.Sprintf("at most %d", MaxBytes))
	}
	var skip int64
	bom := make([]byte, min(3, size))
	if _, err := r.ReadAt(bom, 0); err == nil && bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		skip = 3
	}
	dec := json.NewDecoder(io.NewSectionReader(r, skip, size-skip))
	if err := delimiter(dec, skip, '['); err != nil {
		return nil, err
	}
	var all []Entry
	for dec.More() {
		if len(all) == MaxEntries {
			return all, malformed(skip+dec.InputOffset(), "index", fmt.Sprintf("more than %d entries", MaxEntries), "fewer")
		}
		var e struct {
			ClientKey string `json:"clientKey"`
			BlobPath  string `json:"blobPath"`
		}
		if err := dec.Decode(&e); err != nil {
			return all, wrong(dec, skip, fmt.Sprintf("entry %d", len(all)), "an object with clientKey and blobPath", err)
		}
		all = append(all, Entry{No: len(all), Off: skip + dec.InputOffset(), ClientKey: e.ClientKey, BlobPath: e.BlobPath})
	}
	if err := delimiter(dec, skip, ']'); err != nil {
		return all, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return all, malformed(skip+dec.InputOffset(), "index", "more text", "the end")
	}
	return all, nil
}

func delimiter(dec *json.Decoder, skip int64, want json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return wrong(dec, skip, "index", fmt.Sprintf("%q", want), err)
	}
	if t != want {
		return malformed(skip+dec.InputOffset(), "index", fmt.Sprintf("%.40q", fmt.Sprint(t)), fmt.Sprintf("%q", want))
	}
	return nil
}

// wrong tells errors of the text from those of the reader.
func wrong(dec *json.Decoder, skip int64, what, want string, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed(skip+dec.InputOffset(), what, err.Error(), want)
	}
	return err
}

func malformed(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrMalformed}
}
