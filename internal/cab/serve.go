package cab

import (
	"fmt"
	"io"
)

// Gzip returns the file as one gzip member, and its length: the stored deflate
// bytes, nothing is compressed again. Each group is checked before any of its
// bytes. The caller closes the stream. It must not be used by two goroutines at
// once.
func (r *Reader) Gzip() (io.ReadCloser, int64) {
	return &groupStream{
		cur:    gzHeader[:],
		groups: len(r.l.groups),
		load: func(buf []byte, i int) ([]byte, error) {
			p, err := r.packed(buf, i)
			if err != nil {
				return nil, err
			}
			return r.deflated(p, i, r.l.ending(i))
		},
		suffix: r.l.gzipTrailer(),
		left:   r.l.GzipSize - gzHead,
	}, r.l.GzipSize
}

// GzipSection returns where the gzip answer is in the file, for a container that
// holds it in one piece. Bytes sent from there pass no check: Verify the file
// first.
func (r *Reader) GzipSection() (off, n int64, ok bool) {
	if r.l.Container != GZ {
		return 0, 0, false
	}
	return 0, r.l.GzipSize, true
}

// Cabinet returns the file as a cabinet with the given member name, and its
// length: as it is stored, or with another head before the same groups. Each
// group is checked before any of its bytes. Errors wrap ErrNoCabinet or ErrName.
// The caller closes the stream. It must not be used by two goroutines at once.
func (r *Reader) Cabinet(name string) (io.ReadCloser, int64, error) {
	head, info, err := r.Rehead(name)
	if err != nil {
		return nil, 0, err
	}
	return &groupStream{
		cur:    head,
		groups: len(r.l.groups),
		load:   r.packed,
		left:   info.PackedSize - int64(len(head)),
	}, info.PackedSize, nil
}

// Rehead returns the bytes that have to come before Body to make a cabinet with
// the given member name, and what that cabinet says of itself: a packed file of
// its own with another name, PackedSize and PackedSHA256. With the stored name
// both are those of the file. Errors wrap ErrNoCabinet or ErrName.
func (r *Reader) Rehead(name string) (head []byte, info Info, err error) {
	if r.l.Container != Cab {
		return nil, Info{}, fmt.Errorf("cabinet of %q, %d bytes: %w", r.l.Name, r.l.RawSize, ErrNoCabinet)
	}
	if err := CheckName(name); err != nil {
		return nil, Info{}, fmt.Errorf("cabinet of %q: %w", r.l.Name, err)
	}
	l := r.l
	l.Name = name
	l.PackedSize += int64(len(name) - len(r.l.Name))
	if l.PackedSize > MaxCabFile {
		return nil, Info{}, fmt.Errorf("cabinet of %q named %q, %d bytes: %w", r.l.Name, name, l.PackedSize, ErrNoCabinet)
	}
	head = l.head()
	return head, l.Info, nil
}

// Body returns where the part of the file is that no name changes: all of a
// cabinet from its first CFDATA on, the gzip member of a gz container. Bytes sent
// from there pass no check: Verify the file first.
func (r *Reader) Body() (off, n int64) {
	if r.l.Container == GZ {
		return 0, r.l.GzipSize
	}
	return r.bodyStart(), r.l.PackedSize - r.bodyStart()
}
