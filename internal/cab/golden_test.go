package cab_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/cab"
)

var update = flag.Bool("update", false, "rewrite testdata/golden/hashes.txt")

// The packed bytes of version 1 are pinned: a change of the encoder, of the
// toolchain or of a dependency that alters them has to be a decision.
func TestGoldenHashes(t *testing.T) {
	var b strings.Builder
	for _, in := range inputs() {
		for _, c := range containers {
			f, info := pack(t, c, cab.Options{Name: "golden.pdb"}, in.data, len(in.data))
			fmt.Fprintf(&b, "%x %x %s %d %s\n", sha256.Sum256(f.b), info.PackedSHA256, info.Container, info.PackedSize, in.name)
		}
	}
	path := filepath.Join("testdata", "golden", "hashes.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%d packed files, want %d; rewrite with -update", len(gotLines), len(wantLines))
	}
	for i := range gotLines {
		if gotLines[i] != wantLines[i] {
			t.Errorf("packed file\n got %s\nwant %s", gotLines[i], wantLines[i])
		}
	}
}

// Files of version 1 stay readable, whatever packs today. They are never
// rewritten.
func TestGoldenFiles(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "golden", "v1.raw"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		p, err := os.ReadFile(filepath.Join("testdata", "golden", "v1."+string(c.want)))
		if err != nil {
			t.Fatal(err)
		}
		info, err := cab.VerifyRaw(t.Context(), bytes.NewReader(p), int64(len(p)))
		if err != nil {
			t.Errorf("v1.%s: %v", c.want, err)
			continue
		}
		if info.Container != c.want || info.Name != "größe.pdb" || info.RawSHA256 != sha256.Sum256(raw) {
			t.Errorf("v1.%s: info = %+v", c.want, info)
		}
		r := mustOpen(t, &memFile{p})
		if got := readAll(t, r.Range(0, info.RawSize), info.RawSize); !bytes.Equal(got, raw) {
			t.Errorf("v1.%s: other raw bytes", c.want)
		}
	}
}
