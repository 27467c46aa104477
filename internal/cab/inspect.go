package cab

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"
)

// headRoom is how much of a cabinet has to be there before its head is read: the
// largest head there is.
const headRoom = cfHeader + maxReserve + cfFolder + cfFile + MaxName + 1

// An Inspector checks a packed file that another machine made, while it arrives:
// all that VerifyRaw does, that it is what was announced, and that its bytes are such
// as a Writer of version 1 writes. So every reader of cabinets takes it: a code of
// any other encoder that is not complete, a block that is not cut where the raw bytes
// are, a match into another group are refused, although some readers would bear them.
// Which matches and codes the other machine chose is its own affair.
//
// A cabinet is checked as its groups come; a gz container, whose index is at its end,
// once all of it is there. An Inspector holds 16 bytes for each MiB of raw size, and
// two MiB more while it works. It is not safe for concurrent use.
type Inspector struct {
	r      io.ReaderAt
	want   Info
	limits limits

	rd        *Reader // nil until the head is there
	next      int     // group
	body, raw hash.Hash
	crc       uint32
	gzip      int64
	err       error
}

// NewInspector returns an Inspector of a file that grows to want.PackedSize bytes. Of
// want the sizes, both hashes and the name were announced; the rest is not looked at.
func NewInspector(r io.ReaderAt, want Info) *Inspector {
	return newInspector(r, want, limits{MaxCabRaw, MaxCabFile})
}

func newInspector(r io.ReaderAt, want Info, lim limits) *Inspector {
	return &Inspector{r: r, want: want, limits: lim, raw: sha256.New(), gzip: gzHead + gzTrailer}
}

// Inspect checks what lies within the first end bytes of the file and was not checked
// before, but at most limit groups. It reports whether there is more to check within
// them. An error is final; it wraps ErrFormat or ErrCorrupt, or is one of the file.
func (i *Inspector) Inspect(end int64, limit int) (more bool, err error) {
	if i.err == nil {
		more, i.err = i.inspect(end, limit)
	}
	return more, i.err
}

func (i *Inspector) inspect(end int64, limit int) (bool, error) {
	if i.rd == nil {
		if ready, err := i.open(end); err != nil || !ready {
			return false, err
		}
	}
	b := inspectBuffers.Get().(*inspectBuffer)
	defer inspectBuffers.Put(b)
	for range limit {
		if !i.arrived(end) {
			return false, nil
		}
		if err := i.group(b); err != nil {
			return false, fmt.Errorf("group %d: %w", i.next, err)
		}
		i.next++
	}
	return i.arrived(end), nil
}

// arrived reports whether the next group lies within the first end bytes.
func (i *Inspector) arrived(end int64) bool {
	if i.next == len(i.rd.l.groups) {
		return false
	}
	from, size := i.rd.l.packedGroup(i.next)
	return i.rd.bodyStart()+from+int64(size) <= end
}

// open reads the head once it is there, and compares it with what was announced.
func (i *Inspector) open(end int64) (ready bool, err error) {
	var magic [4]byte
	if end < min(i.want.PackedSize, headRoom) {
		return false, nil
	}
	if err := readFull(i.r, magic[:], 0); err != nil {
		return false, err
	}
	if [4]byte(gzHeader[:4]) == magic && end < i.want.PackedSize {
		return false, nil
	}
	if i.rd, err = Open(i.r, i.want.PackedSize); err != nil {
		return false, err
	}
	i.body = i.rd.bodyHash()
	return true, i.announced()
}

// announced compares what the file says of itself with what was announced.
func (i *Inspector) announced() error {
	got, want := i.rd.Info(), i.want
	switch {
	case got.RawSHA256 != want.RawSHA256:
		return fmt.Errorf("%w: it holds raw SHA-256 %x, announced was %x", ErrCorrupt, got.RawSHA256, want.RawSHA256)
	case got.RawSize != want.RawSize:
		return fmt.Errorf("%w: it holds %d raw bytes, announced were %d", ErrCorrupt, got.RawSize, want.RawSize)
	case got.PackedSHA256 != want.PackedSHA256:
		return fmt.Errorf("%w: packed SHA-256 %x, announced was %x", ErrCorrupt, got.PackedSHA256, want.PackedSHA256)
	case got.Name != want.Name:
		return fmt.Errorf("%w: its member is named %q, announced was %q", ErrCorrupt, got.Name, want.Name)
	case got.Container == GZ && i.limits.fit(got):
		return fmt.Errorf("%w: gz container of %d raw bytes, which a cabinet holds", ErrCorrupt, got.RawSize)
	}
	return nil
}

// fit reports whether a cabinet holds what is in a gz container. Close to the limit,
// where that depends on the blocks, it says no.
func (lim limits) fit(gz Info) bool {
	blocks := (gz.RawSize + blockSize - 1) / blockSize
	return gz.RawSize <= lim.cabRaw && gz.PackedSize+blocks*(frameHead+int64(len(finalMarker)))+headRoom <= lim.cabFile
}

// Close returns what the file is, once all of it was inspected. Errors are those of
// Inspect.
func (i *Inspector) Close() (Info, error) {
	switch {
	case i.err != nil:
		return Info{}, i.err
	case i.rd == nil || i.next < len(i.rd.l.groups):
		return Info{}, fmt.Errorf("%w: not all of it was there", ErrCorrupt)
	}
	if err := i.rd.checkBody(i.body); err != nil {
		return Info{}, err
	}
	if err := i.rd.checkRaw(i.raw, i.crc, i.gzip); err != nil {
		return Info{}, err
	}
	return i.rd.Info(), nil
}

// inspectBuffer is what checking a group takes.
type inspectBuffer struct {
	packed []byte
	raw    [GroupSize]byte
	z      strictInflater
}

var inspectBuffers = sync.Pool{New: func() any {
	return &inspectBuffer{packed: make([]byte, maxPackedGroup+len(finalMarker)+strictPadding)}
}}

// group checks the next group.
func (i *Inspector) group(b *inspectBuffer) error {
	rd := i.rd
	packed, err := rd.packed(b.packed, i.next)
	if err != nil {
		return err
	}
	i.body.Write(packed)
	raw := b.raw[:rd.l.rawGroup(i.next)]
	if err := b.z.group(rd.l.Container, raw, len(raw), packed, rd.l.ending(i.next)); err != nil {
		return err
	}
	i.gzip += int64(rd.gzipLen(i.next, packed))
	i.raw.Write(raw)
	i.crc = crc32.Update(i.crc, crc32.IEEETable, raw)
	return nil
}
