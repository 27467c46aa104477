package pdb

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"symkeep/internal/symfile"
)

// Magic2 starts every PDB 2.0.
const Magic2 = "Microsoft C/C++ program database 2.00\r\n\x1aJG\x00\x00"

// ErrV2 is the kind of every error about a PDB 2.0.
var ErrV2 = errors.New("unreadable PDB 2.0")

// A V2 is the identity of a PDB 2.0.
type V2 struct {
	Version   uint32
	Signature uint32 // debuggers ask by it and Age
	Age       uint32
	Streams   int
}

// OpenV2 reads header, directory and identity of r, which holds size bytes, and
// checks that every stream lies in the file. Errors wrap ErrV2, or are those of r.
// Source: microsoft/microsoft-pdb, PDB/msf/msf.cpp, struct MSF_HDR.
func OpenV2(r io.ReaderAt, size int64) (V2, error) {
	b, err := symfile.Read(r, size, 0, 60, "PDB 2.0 header", ErrV2)
	if err != nil {
		return V2{}, err
	}
	page, pages, rootSize := int64(le.Uint32(b[44:])), int64(le.Uint16(b[50:])), int64(le.Uint32(b[52:]))
	switch {
	case string(b[:len(Magic2)]) != Magic2:
		return V2{}, bad(ErrV2, 0, "magic", fmt.Sprintf("%q", b[:len(Magic2)]), fmt.Sprintf("%q", Magic2))
	case bits.OnesCount64(uint64(page)) != 1 || page < 256 || page > 65536:
		return V2{}, bad(ErrV2, 44, "page size", fmt.Sprint(page), "a power of two from 256 to 65536")
	case pages == 0 || pages*page > size:
		return V2{}, bad(ErrV2, 50, "number of pages", fmt.Sprint(pages), fmt.Sprintf("1 to %d", size/page))
	case rootSize < 4 || rootSize > pages*page:
		return V2{}, bad(ErrV2, 52, "directory size", fmt.Sprint(rootSize), fmt.Sprintf("4 to %d", pages*page))
	}
	p := v2Pages{r, size, page, pages}
	list, err := symfile.Read(r, size, 60, 2*p.count(rootSize), "directory page list", ErrV2)
	if err != nil {
		return V2{}, err
	}
	root, err := p.read(list, rootSize)
	if err != nil {
		return V2{}, err
	}
	return p.identity(root)
}

type v2Pages struct {
	r           io.ReaderAt
	size        int64
	page, pages int64
}

func (p v2Pages) count(n int64) int64 { return (n + p.page - 1) / p.page }

// read returns the first n bytes of the pages in list, u16 each.
func (p v2Pages) read(list []byte, n int64) ([]byte, error) {
	var out []byte
	for i := int64(0); i < p.count(n); i++ {
		no := int64(le.Uint16(list[2*i:]))
		if no == 0 || no >= p.pages {
			return nil, bad(ErrV2, 0, "page number", fmt.Sprint(no), fmt.Sprintf("1 to %d", p.pages-1))
		}
		b, err := symfile.Read(p.r, p.size, no*p.page, min(p.page, n-i*p.page), "page", ErrV2)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// checkPages wants the pages of stream i, u16 each, to lie in the file.
func (p v2Pages) checkPages(list []byte, i int) error {
	for ; len(list) > 0; list = list[2:] {
		if no := int64(le.Uint16(list)); no == 0 || no >= p.pages {
			return bad(ErrV2, 0, fmt.Sprintf("page of stream %d in the directory", i), fmt.Sprint(no), fmt.Sprintf("1 to %d", p.pages-1))
		}
	}
	return nil
}

// identity walks the directory: a count, sizes, then the page lists of all streams.
func (p v2Pages) identity(root []byte) (V2, error) {
	count := int(le.Uint16(root))
	at := 4 + 8*count
	if at > len(root) || count < 2 {
		return V2{}, bad(ErrV2, 0, "stream count in the directory", fmt.Sprint(count), fmt.Sprintf("2 to %d", (len(root)-4)/8))
	}
	var info []byte
	for i := range count {
		n := int64(le.Uint32(root[4+8*i:]))
		if n == nilSize {
			continue
		}
		end := int64(at) + 2*p.count(n)
		if end > int64(len(root)) {
			return V2{}, bad(ErrV2, int64(4+8*i), fmt.Sprintf("size of stream %d in the directory", i), fmt.Sprint(n), "pages listed in the directory")
		}
		if err := p.checkPages(root[at:end], i); err != nil {
			return V2{}, err
		}
		if i == streamInfo {
			var err error
			if info, err = p.read(root[at:end], min(n, 12)); err != nil {
				return V2{}, err
			}
		}
		at = int(end)
	}
	if len(info) < 12 {
		return V2{}, bad(ErrV2, 0, "info stream", fmt.Sprintf("%d bytes", len(info)), "at least 12")
	}
	return V2{Version: le.Uint32(info), Signature: le.Uint32(info[4:]), Age: le.Uint32(info[8:]), Streams: count}, nil
}
