// Package perfmap reads the map of methods that crossgen2 writes beside code it compiles
// ahead of time, NAME.ni.r2rmap: samplers ask a server for it under the signature that
// the image has, too. It is text, a line each of an RVA, a length and a name, in hex
// digits; the first five have RVAs from 0xFFFFFFFF down and are its header.
//
// It judges nothing. Functions are safe for concurrent use; memory is bounded.
//
// Sources: dotnet/runtime docs/design/coreclr/botr/r2r-perfmap-format.md; dotnet/symstore
// docs/specs/SSQP_Key_Conventions.md, "R2R PerfMap v1".
package perfmap

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"symkeep/internal/symfile"
)

// Kinds of damage, wrapped by the errors of this package. Every one of them is a
// *symfile.FormatError; errors of the reader come as they are.
var (
	ErrHeader = errors.New("damaged header of a perf map")
	ErrRecord = errors.New("damaged record of a perf map")
)

// Version is the only version that there is.
const Version = 1

// headerRVAs stand in the first lines, in this order: signature, version, operating
// system, architecture, ABI.
var headerRVAs = []string{"FFFFFFFF", "FFFFFFFE", "FFFFFFFD", "FFFFFFFC", "FFFFFFFB"}

// bufferSize bounds what is looked at of a line; names may be longer.
const bufferSize = 64 << 10

// A Header is what the first lines say.
type Header struct {
	Signature    [16]byte // in the order of its key
	OS           uint64   // 1 Windows, 2 Linux, 3 macOS, 4 FreeBSD, 5 NetBSD, 6 SunOS
	Architecture uint64   // 1 ARM, 2 ARM64, 3 x64, 4 x86
	ABI          uint64
}

// Arch names the architecture.
func (h *Header) Arch() string {
	names := []string{symfile.ArchARM, symfile.ArchARM64, symfile.ArchX64, symfile.ArchX86}
	if n := h.Architecture; n >= 1 && n <= uint64(len(names)) {
		return names[n-1]
	}
	return fmt.Sprintf("%#x", h.Architecture)
}

// ReadHeader reads the first lines of r, which holds size bytes. Errors wrap ErrHeader.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	return newScanner(r, size).header()
}

// Scan reads the whole map and returns how many methods it lists. Errors wrap ErrHeader
// or ErrRecord.
func Scan(r io.ReaderAt, size int64) (methods int64, err error) {
	s := newScanner(r, size)
	if _, err := s.header(); err != nil {
		return 0, err
	}
	for {
		_, name, err := s.line(ErrRecord)
		switch {
		case errors.Is(err, io.EOF):
			return methods, nil
		case err != nil:
			return methods, err
		case len(name) == 0:
			return methods, s.bad(ErrRecord, "record", "no name", "<rva> <length> <name>")
		}
		methods++
	}
}

// A scanner goes through the lines.
type scanner struct {
	in  *bufio.Reader
	off int64 // of the line that was read last
	end int64 // of it
}

func newScanner(r io.ReaderAt, size int64) *scanner {
	return &scanner{in: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), int(min(max(size, 16), bufferSize)))}
}

// header reads the five lines in their order.
func (s *scanner) header() (*Header, error) {
	h := &Header{}
	var version uint64
	for i, into := range []*uint64{nil, &version, &h.OS, &h.Architecture, &h.ABI} {
		rva, value, err := s.line(ErrHeader)
		switch {
		case errors.Is(err, io.EOF):
			return nil, s.bad(ErrHeader, "header", fmt.Sprintf("%d lines", i), fmt.Sprint(len(headerRVAs)))
		case err != nil:
			return nil, err
		case !bytes.EqualFold(rva, []byte(headerRVAs[i])):
			return nil, s.bad(ErrHeader, "header", fmt.Sprintf("%.20q", rva), headerRVAs[i])
		}
		if into == nil {
			if n, err := hex.Decode(h.Signature[:], value[:min(len(value), 2*len(h.Signature))]); err != nil || n < len(h.Signature) || len(value) > 2*n {
				return nil, s.bad(ErrHeader, "signature", fmt.Sprintf("%.40q", value), "32 hex digits")
			}
			continue
		}
		if *into, err = strconv.ParseUint(string(value), 16, 32); err != nil {
			return nil, s.bad(ErrHeader, "header", fmt.Sprintf("%.20q", value), "a number in hex digits")
		}
	}
	if version != Version {
		return nil, s.bad(ErrHeader, "version", fmt.Sprint(version), fmt.Sprint(Version))
	}
	return h, nil
}

// line reads one line: its RVA, and what comes behind the length, of which no more may be
// there than the buffer held. The error is io.EOF at the end.
func (s *scanner) line(kind error) (rva, rest []byte, err error) {
	s.off = s.end
	b, err := s.in.ReadSlice('\n')
	s.end += int64(len(b))
	if err == bufio.ErrBufferFull {
		b = bytes.Clone(b)
	}
	for err == bufio.ErrBufferFull {
		var more []byte
		more, err = s.in.ReadSlice('\n')
		s.end += int64(len(more))
	}
	switch {
	case err == io.EOF && len(b) == 0:
		return nil, nil, io.EOF
	case err == io.EOF:
		return nil, nil, s.bad(kind, "line", "no end of it", "a line feed: the file was cut")
	case err != nil:
		return nil, nil, err
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	rva, rest, _ = bytes.Cut(b, []byte(" "))
	length, rest, _ := bytes.Cut(rest, []byte(" "))
	if !isHex(rva) || !isHex(length) {
		return nil, nil, s.bad(kind, "line", fmt.Sprintf("%.40q", b), "<rva> <length> <name>, in hex digits of 32 bits")
	}
	return rva, rest, nil
}

// isHex reports whether b is a number of 32 bits in hex digits.
func isHex(b []byte) bool {
	_, err := strconv.ParseUint(string(b), 16, 32)
	return len(b) <= 8 && err == nil
}

func (s *scanner) bad(kind error, what, found, want string) error {
	return &symfile.FormatError{Off: s.off, What: what, Found: found, Want: want, Kind: kind}
}
