package validate

import (
	"bytes"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symfile/pe"
)

// twinHint says what to do about two files of one key that differ only in what a later
// step of the build adds: the signature of an image, the source index of a PDB. It is
// empty for others. The two are a conflict all the same: debuggers compare nothing but
// the key, and a server that held one form yesterday must not give the other today.
func (p *pkg) twinHint(a, b *subject) (hint string, err error) {
	if a.Kind != b.Kind || a.Kind != catalog.KindPE && a.Kind != catalog.KindPDB {
		return "", nil
	}
	x, cx, err := p.open(a)
	if err != nil {
		return "", err
	}
	defer cx.Close()
	y, cy, err := p.open(b)
	if err != nil {
		return "", err
	}
	defer cy.Close()
	if a.Kind == catalog.KindPE {
		if equalUnsigned(x, y) {
			hint = "; they differ in signature and checksum only: push the signed one alone"
		}
	} else if equalUnindexed(x, y) {
		hint = "; they differ in the source index only: push the indexed one alone"
	}
	for _, in := range []*input{x, y} {
		if err := in.failure(); err != nil {
			return "", err
		}
	}
	return hint, nil
}

// equalUnsigned reports whether two images are the same apart from what signing
// changes: the checksum, where the signature is, and the signature at the end.
// Source: Microsoft, "Windows Authenticode Portable Executable Signature Format",
// "Calculating the PE Image Hash".
func equalUnsigned(a, b *input) bool {
	x, err := pe.Open(a, a.size)
	if err != nil {
		return false
	}
	y, err := pe.Open(b, b.size)
	if err != nil || x.CheckSumOff != y.CheckSumOff || x.PE32Plus != y.PE32Plus {
		return false
	}
	ends := [2]int64{a.size, b.size}
	for i, f := range []*pe.File{x, y} {
		if off, _, ok := f.Certificate(); ok {
			ends[i] = min(off, ends[i])
		}
	}
	const alignment = 8 // of signatures; the image is padded to it with zeros
	if d := ends[0] - ends[1]; d <= -alignment || d >= alignment {
		return false
	}
	masked := []span{{x.CheckSumOff, 4}, {x.DirOff(pe.DirCertificate), 8}}
	return equalBut(a, b, max(ends[0], ends[1]), ends, masked)
}

// A span is n bytes at off.
type span struct{ off, n int64 }

// equalBut compares the first n bytes of a and b, where those past their ends and
// those masked count as zeros.
func equalBut(a, b io.ReaderAt, n int64, ends [2]int64, masked []span) bool {
	bufs := [2][]byte{make([]byte, 64<<10), make([]byte, 64<<10)}
	for off := int64(0); off < n; off += int64(len(bufs[0])) {
		k := min(int64(len(bufs[0])), n-off)
		for i, r := range []io.ReaderAt{a, b} {
			part := bufs[i][:k]
			have := max(0, min(k, ends[i]-off))
			if m, _ := r.ReadAt(part[:have], off); int64(m) < have {
				return false
			}
			clear(part[have:])
			for _, s := range masked {
				from, to := max(s.off-off, 0), min(s.off+s.n-off, k)
				if from < to {
					clear(part[from:to])
				}
			}
		}
		if !bytes.Equal(bufs[0][:k], bufs[1][:k]) {
			return false
		}
	}
	return true
}

// sourceIndex is the stream that source indexing adds.
const sourceIndex = "srcsrv"

// equalUnindexed reports whether two PDBs hold the same streams apart from the source
// index, which also changes the directory and the info stream.
func equalUnindexed(a, b *input) bool {
	x, err := pdb.Open(a, a.size)
	if err != nil {
		return false
	}
	y, err := pdb.Open(b, b.size)
	if err != nil || x.InfoErr != nil || y.InfoErr != nil {
		return false
	}
	_, xi := x.Info.Streams[sourceIndex]
	_, yi := y.Info.Streams[sourceIndex]
	if xi == yi {
		return false
	}
	for i := 2; i < max(x.Streams(), y.Streams()); i++ {
		if xi && uint32(i) == x.Info.Streams[sourceIndex] || yi && uint32(i) == y.Info.Streams[sourceIndex] {
			continue
		}
		s, t := x.Stream(i), y.Stream(i)
		if s.Size() != t.Size() || !equalBut(s, t, s.Size(), [2]int64{s.Size(), t.Size()}, nil) {
			return false
		}
	}
	return true
}
