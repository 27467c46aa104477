//go:build corpus

package cab_test

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/cab"
)

// TestReadersOverCorpus packs every file below SYMKEEP_CORPUS and takes it to
// every reader.
func TestReadersOverCorpus(t *testing.T) {
	root := os.Getenv("SYMKEEP_CORPUS")
	if root == "" {
		t.Fatal("SYMKEEP_CORPUS names no folder of symbol files")
	}
	for _, reader := range append(cabinetReaders, []string{"gzip"}) {
		needTool(t, reader[0])
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		files++
		t.Run(path, func(t *testing.T) { readEverywhere(t, data, d.Name()) })
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files below %s: %v", files, root, err)
	}
	t.Logf("%d files", files)
}

func readEverywhere(t *testing.T, data []byte, name string) {
	f, r := packFile(t, data, name)
	for _, reader := range cabinetReaders {
		if got, err := unpack(t, reader, f.Name(), name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, want %d: %v", reader[0], len(got), len(data), err)
		}
	}
	s, _ := r.Gzip()
	defer s.Close()
	if got, err := gzipTool(t.Context(), s); err != nil || !bytes.Equal(got, data) {
		t.Errorf("gzip: %d bytes, want %d: %v", len(got), len(data), err)
	}
	info, err := cab.VerifyRaw(t.Context(), f, r.Info().PackedSize)
	if err != nil || info.RawSHA256 != sha256.Sum256(data) {
		t.Errorf("VerifyRaw = %+v, %v", info, err)
	}
	for i, g := range groups(data) {
		var strict strictInflater
		if err := strict.inflateBlocks(cab.DeflateGroup(g)); err != nil || !bytes.Equal(strict.out, g) {
			t.Errorf("group %d: %v", i, err)
		}
	}
}
