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
	newWitnesses(t).agree(t, corpusFiles(t))
}

// corpusFiles are the valid files of the corpus that SYMKEEP_CORPUS names.
func corpusFiles(t *testing.T) (files []string) {
	t.Helper()
	dir := os.Getenv("SYMKEEP_CORPUS")
	if dir == "" {
		t.Fatal("SYMKEEP_CORPUS names no corpus directory")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if !strings.HasPrefix(rel, "defects") && rel != "manifest.json" && !strings.HasPrefix(rel, ".") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
