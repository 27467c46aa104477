package cab_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"symkeep/internal/cab"
)

// checkSafe opens p and asks for everything. Whatever comes must be right or end
// in one of our errors; it reports whether there was an error.
func checkSafe(t *testing.T, what string, p, raw, gz []byte) bool {
	t.Helper()
	ours := func(err error) bool { return errors.Is(err, cab.ErrCorrupt) || errors.Is(err, cab.ErrFormat) }
	r, err := cab.Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		if !ours(err) {
			t.Errorf("%s: Open: %v, want ErrCorrupt or ErrFormat", what, err)
		}
		return true
	}
	gzip, _ := r.Gzip()
	failed := false
	for _, s := range []struct {
		name string
		r    io.Reader
		want []byte
	}{
		{"ReadAt", io.NewSectionReader(r, 0, r.Info().RawSize), raw},
		{"Range", r.Range(0, r.Info().RawSize), raw},
		{"Gzip", gzip, gz},
	} {
		got, err := io.ReadAll(s.r)
		if !bytes.HasPrefix(s.want, got) || err == nil && len(got) != len(s.want) || err != nil && !ours(err) {
			t.Errorf("%s: %s released %d bytes, %v", what, s.name, len(got), err)
		}
		failed = failed || err != nil
	}
	return failed
}

// No flipped bit of a packed file passes unseen, and none reaches a reader.
func TestEveryFlipIsFound(t *testing.T) {
	raw := append(records(900, 1), random(100, 1)...)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, raw, len(raw))
		s, n := mustOpen(t, f).Gzip()
		gz := readAll(t, s, n)
		p := bytes.Clone(f.b)
		for i := range p {
			for _, x := range []byte{0x01, 0x80} {
				p[i] ^= x
				if !checkSafe(t, "byte "+itoa(i), p, raw, gz) {
					t.Errorf("%s: byte %d ^ %02x: served without an error", c.want, i, x)
				}
				for _, v := range verifiers {
					if _, err := v.f(t.Context(), bytes.NewReader(p), info.PackedSize); err == nil {
						t.Errorf("%s: byte %d ^ %02x: %s has no error", c.want, i, x, v.name)
					}
				}
				p[i] ^= x
			}
		}
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	raw := records(2000, 1)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, raw, len(raw))
		for n := range len(f.b) {
			// Cut short and known to be, and cut short below a size kept elsewhere.
			for _, size := range []int64{int64(n), info.PackedSize} {
				_, err := cab.Open(bytes.NewReader(f.b[:n]), size)
				if err == nil {
					_, err = cab.Verify(t.Context(), bytes.NewReader(f.b[:n]), size)
				}
				if !errors.Is(err, cab.ErrCorrupt) && !errors.Is(err, cab.ErrFormat) {
					t.Errorf("%s: %d of %d bytes, size %d: %v", c.want, n, len(f.b), size, err)
				}
			}
		}
		longer := append(bytes.Clone(f.b), 0)
		if _, err := cab.Open(bytes.NewReader(longer), int64(len(longer))); err == nil {
			t.Errorf("%s: a byte more: no error", c.want)
		}
	}
}

// A damaged group spoils only itself, and what came before it is released.
func TestDamageStaysInItsGroup(t *testing.T) {
	raw := mixed(5*cab.GroupSize, 1)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, raw, len(raw))
		f.b[len(f.b)/2] ^= 4 // in group 1, 2 or 3
		r := mustOpen(t, f)
		bad := 0
		for g := range 5 {
			p := make([]byte, cab.GroupSize)
			_, err := r.ReadAt(p, int64(g)*cab.GroupSize)
			if err != nil && errors.Is(err, cab.ErrCorrupt) {
				bad++
				continue
			}
			if err != nil || !bytes.Equal(p, raw[g*cab.GroupSize:][:cab.GroupSize]) {
				t.Errorf("%s: group %d: %v", c.want, g, err)
			}
		}
		if bad != 1 {
			t.Errorf("%s: %d damaged groups, want 1", c.want, bad)
		}
		got, err := io.ReadAll(r.Range(0, info.RawSize))
		if !errors.Is(err, cab.ErrCorrupt) || len(got) == 0 || len(got)%cab.GroupSize != 0 || !bytes.HasPrefix(raw, got) {
			t.Errorf("%s: Range released %d bytes, %v", c.want, len(got), err)
		}
		var written bytes.Buffer
		if _, err := io.Copy(&written, r.Range(0, info.RawSize)); !errors.Is(err, cab.ErrCorrupt) || !bytes.Equal(written.Bytes(), got) {
			t.Errorf("%s: Range wrote %d bytes, %v, want the %d that it released", c.want, written.Len(), err, len(got))
		}
	}
}

// A cabinet with consistent checksums over wrong contents is refused by VerifyRaw.
func TestVerifyRawLooksInside(t *testing.T) {
	raw := records(2000, 1)
	f, info := pack(t, containers[0], cab.Options{}, raw, len(raw))
	r := mustOpen(t, f)
	body, _ := r.Body()
	const record = 40
	for _, tt := range []struct {
		name  string
		spoil func(p []byte)
	}{
		{"block checksum", func(p []byte) { p[body]++ }},
		{"raw SHA-256", func(p []byte) { p[record+56]++ }},
		{"raw CRC32", func(p []byte) { p[record+48]++ }},
		{"gzip size", func(p []byte) { p[record+40]++ }},
	} {
		p := bytes.Clone(f.b)
		tt.spoil(p)
		reseal(p, int(body))
		if _, err := cab.Verify(t.Context(), bytes.NewReader(p), info.PackedSize); err != nil {
			t.Errorf("%s: Verify = %v; the checksums of this test are wrong", tt.name, err)
		}
		if _, err := cab.VerifyRaw(t.Context(), bytes.NewReader(p), info.PackedSize); !errors.Is(err, cab.ErrCorrupt) {
			t.Errorf("%s: VerifyRaw = %v, want ErrCorrupt", tt.name, err)
		}
	}
}

// reseal recomputes all checksums of a cabinet of one group from FORMAT.md alone.
func reseal(p []byte, body int) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	rec := p[40:]
	binary.LittleEndian.PutUint32(rec[160:], crc32.Checksum(p[body:], castagnoli))
	copy(rec[88:], sha(p[body:]))
	clear(rec[120:152])
	clear(rec[12:16])
	copy(rec[120:], sha(p[:body]))
	binary.LittleEndian.PutUint32(rec[12:], crc32.Checksum(p[:body], castagnoli))
}

// Heads with consistent checksums and impossible numbers are refused by Open.
func TestOpenRefusesImpossibleHeads(t *testing.T) {
	raw := mixed(cab.GroupSize+1, 1)
	f, info := pack(t, containers[0], cab.Options{}, raw, len(raw))
	body, _ := mustOpen(t, f).Body()
	put32 := func(off int, v uint32) func([]byte) {
		return func(p []byte) { binary.LittleEndian.PutUint32(p[off:], v) }
	}
	const record = 40
	for _, tt := range []struct {
		name  string
		spoil func(p []byte)
		want  error
	}{
		{"nothing", func([]byte) {}, nil},
		{"record magic", func(p []byte) { p[record]++ }, cab.ErrFormat},
		{"version", func(p []byte) { p[record+8]++ }, cab.ErrFormat},
		{"group size", put32(record+16, 1<<19), cab.ErrCorrupt},
		{"no groups", put32(record+20, 0), cab.ErrCorrupt},
		{"too many groups", put32(record+20, 1<<31), cab.ErrCorrupt},
		{"raw size 0", put32(record+24, 0), cab.ErrCorrupt},
		{"raw size huge", put32(record+28, 1<<31), cab.ErrCorrupt},
		{"packed size", put32(record+32, 7), cab.ErrCorrupt},
		{"gzip size", put32(record+44, 1<<31), cab.ErrCorrupt},
		{"first group late", put32(record+152, 1), cab.ErrCorrupt},
		{"second group at the first", put32(record+164, 0), cab.ErrCorrupt},
		{"second group beyond the end", put32(record+164, 1<<31), cab.ErrCorrupt},
		{"second group negative", put32(record+168, 1<<31), cab.ErrCorrupt},
		{"reserve without ours", func(p []byte) { p[36], p[37] = 10, 0 }, cab.ErrFormat},
		{"reserve over the limit", func(p []byte) { p[36], p[37] = 0xFF, 0xFF }, cab.ErrFormat},
		{"no reserve flag", func(p []byte) { p[30] = 0 }, cab.ErrFormat},
		{"name with a separator", func(p []byte) { p[body-3] = '/' }, cab.ErrCorrupt},
		{"name of another length", func(p []byte) { p[body-3] = 0 }, cab.ErrCorrupt},
		{"date", func(p []byte) { p[body-20]++ }, cab.ErrCorrupt},
	} {
		p := bytes.Clone(f.b)
		tt.spoil(p)
		if tt.want == nil || !errors.Is(tt.want, cab.ErrFormat) {
			clear(p[record+120 : record+152])
			clear(p[record+12 : record+16])
			copy(p[record+120:], sha(p[:body]))
			binary.LittleEndian.PutUint32(p[record+12:], crc32.Checksum(p[:body], crc32.MakeTable(crc32.Castagnoli)))
		}
		if _, err := cab.Open(bytes.NewReader(p), info.PackedSize); !errors.Is(err, tt.want) {
			t.Errorf("%s: Open error = %v, want %v", tt.name, err, tt.want)
		}
	}
}
