//go:build large

package cab_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"symkeep/internal/cab"
)

// largeInput is a stream of size bytes: zeros with a record every 16 MiB, or
// without pattern.
type largeInput struct {
	size   int64
	random bool
}

func (in largeInput) copyTo(t *testing.T, w io.Writer) {
	t.Helper()
	piece := make([]byte, 16<<20)
	for off, i := int64(0), uint64(0); off < in.size; i++ {
		if in.random {
			piece = random(len(piece), i)
		} else {
			copy(piece, records(4096, i))
		}
		n := min(int64(len(piece)), in.size-off)
		if _, err := w.Write(piece[:n]); err != nil {
			t.Fatal(err)
		}
		off += n
	}
}

func (in largeInput) sum(t *testing.T) [32]byte {
	t.Helper()
	h := sha256.New()
	in.copyTo(t, h)
	return [32]byte(h.Sum(nil))
}

// TestLargeFiles packs files around the limit of a cabinet and reads them with
// real readers. It takes two minutes and 2.2 GB of disk.
func TestLargeFiles(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   largeInput
		want cab.Container
	}{
		{"largest cabinet", largeInput{size: cab.MaxCabRaw}, cab.Cab},
		{"one byte more", largeInput{size: cab.MaxCabRaw + 1}, cab.GZ},
		{"cabinet over its limit", largeInput{size: cab.MaxCabRaw, random: true}, cab.GZ},
		{"over 4 GiB", largeInput{size: 1<<32 + 12345}, cab.GZ},
	} {
		t.Run(tt.name, func(t *testing.T) { testLarge(t, tt.in, tt.want) })
	}
}

func testLarge(t *testing.T, in largeInput, want cab.Container) {
	f, err := os.Create(filepath.Join(t.TempDir(), "packed"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: in.size, Name: "large.pdb"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	in.copyTo(t, w)
	info, err := w.Close()
	if err != nil || info.Container != want || info.RawSHA256 != in.sum(t) {
		t.Fatalf("Close = %+v, %v; want container %s", info, err, want)
	}
	if got, err := cab.VerifyRaw(t.Context(), f, info.PackedSize); err != nil || got != info {
		t.Fatalf("VerifyRaw = %+v, %v; want %+v", got, err, info)
	}
	r, err := cab.Open(f, info.PackedSize)
	if err != nil {
		t.Fatal(err)
	}
	readers := [][]string{{"gzip", "-dc"}}
	if want == cab.Cab {
		readers = append(readers, []string{"cabextract", "-q", "-p", f.Name()},
			[]string{"7z", "x", "-so", "-bd", f.Name()}, []string{"bsdtar", "-xOf", f.Name()})
	}
	for _, reader := range readers {
		s, _ := r.Gzip()
		h := sha256.New()
		if err := runReader(t, reader, s, h); err != nil {
			t.Errorf("%s: %v", reader[0], err)
		} else if got := [32]byte(h.Sum(nil)); got != info.RawSHA256 {
			t.Errorf("%s: SHA-256 %x, want %x", reader[0], got, info.RawSHA256)
		}
		s.Close()
	}
}

func runReader(t *testing.T, reader []string, in io.Reader, out hash.Hash) error {
	t.Helper()
	needTool(t, reader[0])
	cmd := exec.CommandContext(t.Context(), reader[0], reader[1:]...)
	if reader[0] == "gzip" {
		cmd.Stdin = in
	}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w", reader, err)
	}
	return nil
}
