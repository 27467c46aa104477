//go:build corpus

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTruthCorpus is TestTruth over the valid files of a corpus.
func TestTruthCorpus(t *testing.T) {
	dir := os.Getenv("SYMKEEP_CORPUS")
	if dir == "" {
		t.Fatal("SYMKEEP_CORPUS names no corpus directory")
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if !strings.HasPrefix(rel, "defects") && rel != "manifest.json" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	newWitnesses(t).agree(t, files)
}
