package cab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"runtime"
)

// File is where a Writer puts the packed bytes; *os.File is one. The Writer
// starts at offset 0, replaces what was there and leaves the file at its exact
// size, but neither syncs nor closes it.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// Options of a Writer.
type Options struct {
	// RawSize is the number of bytes that will be written, 1 to MaxRaw.
	RawSize int64
	// Name is the member name, see CheckName.
	Name string
	// Workers is the number of groups packed at the same time; 0 means one per
	// processor. The packed bytes do not depend on it. Each takes up to about 8 MiB.
	Workers int
}

// limits decide between the containers.
type limits struct{ cabRaw, cabFile int64 }

// Writer packs the bytes written to it. It may rest between writes for any time
// and holds no goroutine while it does, save those finishing the last groups. Any
// error is final: later Writes return it again, and the file is to be thrown away.
// A file is valid only once Close has returned: until then its first bytes are
// unwritten, and Open refuses it.
type Writer struct {
	f      File
	limits limits
	layout layout
	off    int64 // in f, where the next group goes
	seen   int64 // raw bytes written
	gzip   int64 // bytes of the gzip answer so far

	rawSHA, bodySHA hash.Hash

	slots chan struct{} // one for each worker
	cur   *packJob      // being filled, nil between groups
	queue []*packJob    // running, or waiting for a slot or to be written, oldest first
	most  int           // in queue
	free  []*packJob
	err   error
}

// NewWriter starts packing into f. It touches f only from the first Write on.
// Errors wrap ErrEmpty, ErrTooLarge or ErrName.
func NewWriter(f File, o Options) (*Writer, error) {
	return newWriter(f, o, limits{MaxCabRaw, MaxCabFile})
}

func newWriter(f File, o Options, lim limits) (*Writer, error) {
	switch {
	case o.RawSize == 0:
		return nil, fmt.Errorf("pack %q: %w", o.Name, ErrEmpty)
	case o.RawSize < 0:
		return nil, fmt.Errorf("pack %q: %w: %d bytes", o.Name, ErrSize, o.RawSize)
	case o.RawSize > MaxRaw:
		return nil, fmt.Errorf("pack %q: %w: %d bytes, at most %d", o.Name, ErrTooLarge, o.RawSize, int64(MaxRaw))
	}
	if err := CheckName(o.Name); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	w := &Writer{f: f, limits: lim, rawSHA: sha256.New(), bodySHA: sha256.New(), slots: make(chan struct{}, o.Workers)}
	w.most = 2 * o.Workers
	w.layout.Info = Info{Container: Cab, RawSize: o.RawSize, Name: o.Name}
	w.layout.groups = make([]group, 0, min(groupCount(o.RawSize), 1<<16))
	w.gzip = gzHead + gzTrailer
	w.off = headSize(groupCount(o.RawSize), o.Name)
	if o.RawSize > lim.cabRaw {
		w.layout.Container = GZ
		w.off = gzHead
		w.bodySHA.Write(gzHeader[:])
	}
	return w, nil
}

// Write packs p. It blocks while the workers have enough to do. Bytes beyond RawSize are
// refused with ErrSize, before any of p is taken.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.layout.RawSize-w.seen {
		w.err = fmt.Errorf("pack %q: %w: more than the announced %d bytes", w.layout.Name, ErrSize, w.layout.RawSize)
		return 0, w.err
	}
	taken := 0
	for taken < len(p) {
		if w.cur == nil {
			if w.err = w.begin(); w.err != nil {
				return taken, w.err
			}
		}
		j := w.cur
		n := min(len(p)-taken, w.layout.rawGroup(int(w.seen/GroupSize))-len(j.raw))
		part := p[taken : taken+n]
		j.raw = append(j.raw, part...)
		w.rawSHA.Write(part)
		w.layout.RawCRC32 = crc32.Update(w.layout.RawCRC32, crc32.IEEETable, part)
		taken += n
		w.seen += int64(n)
		if w.seen%GroupSize == 0 || w.seen == w.layout.RawSize {
			w.dispatch()
		}
	}
	return taken, nil
}

// begin makes an empty job current, waiting for the oldest if there are enough. That
// are twice as many as there are workers: groups take from a quarter to twice the mean,
// and who is done with quick ones need not wait for a slow one before them, nor for the
// next one to be filled.
func (w *Writer) begin() error {
	if len(w.queue) == w.most {
		if err := w.collect(); err != nil {
			return err
		}
	}
	if n := len(w.free); n > 0 {
		w.cur, w.free = w.free[n-1], w.free[:n-1]
	} else {
		w.cur = &packJob{raw: make([]byte, 0, min(w.layout.RawSize, GroupSize))}
	}
	w.cur.raw = w.cur.raw[:0]
	return nil
}

// dispatch starts packing the current group. collect or Abort waits for it.
func (w *Writer) dispatch() {
	j := w.cur
	w.cur = nil
	j.end = ending(w.seen == w.layout.RawSize)
	j.done = make(chan struct{})
	w.queue = append(w.queue, j)
	go j.run(w.slots, w.layout.Container)
}

// collect waits for the oldest running group and writes it to the file.
func (w *Writer) collect() error {
	j := w.queue[0]
	w.queue = w.queue[1:]
	<-j.done
	w.free = append(w.free, j)
	index := len(w.layout.groups)
	if j.err != nil {
		return fmt.Errorf("pack %q: group %d: %w", w.layout.Name, index, j.err)
	}
	if _, err := w.f.WriteAt(j.packed, w.off); err != nil {
		return fmt.Errorf("pack %q: group %d: %w", w.layout.Name, index, err)
	}
	w.bodySHA.Write(j.packed)
	w.layout.groups = append(w.layout.groups, group{w.off - w.bodyStart(), j.crc})
	w.off += int64(len(j.packed))
	w.gzip += int64(j.gzip)
	return nil
}

func (w *Writer) bodyStart() int64 {
	if w.layout.Container == GZ {
		return 0
	}
	return headSize(groupCount(w.layout.RawSize), w.layout.Name)
}

// Close finishes the file and describes it. Errors wrap ErrSize when fewer bytes
// than announced were written, and ErrVerify when a group did not decode to what
// went in. In all cases no goroutine is left.
func (w *Writer) Close() (Info, error) {
	if w.err == nil && w.seen != w.layout.RawSize {
		w.err = fmt.Errorf("pack %q: %w: %d bytes written, %d announced", w.layout.Name, ErrSize, w.seen, w.layout.RawSize)
	}
	for w.err == nil && len(w.queue) > 0 {
		w.err = w.collect()
	}
	if w.err == nil {
		w.err = w.finish()
	}
	err := w.err
	w.Abort()
	if err != nil {
		return Info{}, err
	}
	return w.layout.Info, nil
}

// finish writes what surrounds the groups.
func (w *Writer) finish() error {
	l := &w.layout
	w.rawSHA.Sum(l.RawSHA256[:0])
	l.GzipSize = w.gzip
	if l.Container == Cab && w.off > w.limits.cabFile {
		if err := w.convert(); err != nil {
			return fmt.Errorf("pack %q: cabinet over %d bytes to gz: %w", l.Name, w.limits.cabFile, err)
		}
	}
	var at int64
	var part []byte
	if l.Container == Cab {
		w.bodySHA.Sum(l.bodySHA[:0])
		l.PackedSize = w.off
		part = l.head()
	} else {
		trailer := l.gzipTrailer()
		w.bodySHA.Write(trailer)
		w.bodySHA.Sum(l.bodySHA[:0])
		l.PackedSize = l.GzipSize + tailSize(len(l.groups), l.Name)
		at = w.off
		part = append(trailer, l.tail()...)
		if _, err := w.f.WriteAt(gzHeader[:], 0); err != nil {
			return fmt.Errorf("pack %q: %w", l.Name, err)
		}
	}
	if _, err := w.f.WriteAt(part, at); err != nil {
		return fmt.Errorf("pack %q: %w", l.Name, err)
	}
	if err := w.f.Truncate(l.PackedSize); err != nil {
		return fmt.Errorf("pack %q: %w", l.Name, err)
	}
	if r, err := Open(w.f, l.PackedSize); err != nil || r.Info() != l.Info {
		return fmt.Errorf("pack %q: %w: the file does not read back: %v", l.Name, ErrVerify, err)
	}
	return nil
}

// convert turns the cabinet in the file into a gz container, from front to back
// in place: a group never grows by losing its frames. It serves raw files within
// a megabyte of MaxCabRaw that hardly shrink.
func (w *Writer) convert() error {
	l := &w.layout
	body, end := w.bodyStart(), w.off
	buf := make([]byte, maxPackedGroup)
	w.bodySHA = sha256.New()
	w.bodySHA.Write(gzHeader[:])
	w.off = gzHead
	for i := range l.groups {
		from, to := body+l.groups[i].off, end
		if i+1 < len(l.groups) {
			to = body + l.groups[i+1].off
		}
		p := buf[:to-from]
		if err := readFull(w.f, p, from); err != nil {
			return err
		}
		if crc32.Checksum(p, castagnoli) != l.groups[i].crc {
			return fmt.Errorf("%w: group %d changed since it was written", ErrCorrupt, i)
		}
		p, err := strip(p, l.rawGroup(i), l.ending(i))
		if err != nil {
			return err
		}
		if _, err := w.f.WriteAt(p, w.off); err != nil {
			return err
		}
		w.bodySHA.Write(p)
		l.groups[i] = group{w.off, crc32.Checksum(p, castagnoli)}
		w.off += int64(len(p))
	}
	l.Container = GZ
	return nil
}

// Abort gives up, waiting for groups in flight; afterwards Write and Close return
// ErrClosed. It does nothing after Close. The file is left as it is.
func (w *Writer) Abort() {
	for _, j := range w.queue {
		<-j.done
	}
	w.queue, w.free, w.cur = nil, nil, nil
	if w.err == nil || !errors.Is(w.err, ErrClosed) {
		w.err = fmt.Errorf("pack %q: %w", w.layout.Name, ErrClosed)
	}
}
