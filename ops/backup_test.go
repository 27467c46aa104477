package ops_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"symkeep/ops"
)

// TestWriteWhole: whoever ends writing a file has put exactly its own bytes there, also
// while another one writes the same file. Nothing else is left behind.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "blob")
	is := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("file = %q, %v, want %q", got, err, want)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
			t.Errorf("directory = %v, %v, want the file alone", names, err)
		}
	}
	put := func(text string, meanwhile func() error) func(f *os.File) error {
		return func(f *os.File) error {
			if _, err := f.WriteString(text); err != nil {
				return err
			}
			return meanwhile()
		}
	}
	nothing := func() error { return nil }
	err := ops.WriteWhole(path, put("long text of the first", func() error {
		if err := ops.WriteWhole(path, put("second", nothing)); err != nil {
			return err
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "second" {
			t.Errorf("file = %q, %v, want what the second wrote", got, err)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	is("long text of the first")

	cut := errors.New("cut")
	if err := ops.WriteWhole(path, put("half", func() error { return cut })); !errors.Is(err, cut) {
		t.Errorf("WriteWhole = %v, want %v", err, cut)
	}
	is("long text of the first")

	left := path + ".0123456789abcdef.tmp" // of a process that was killed
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-ops.LeftAfter - time.Hour)
	if err := os.Chtimes(left, long, long); err != nil {
		t.Fatal(err)
	}
	if err := ops.WriteWhole(path, put("third", nothing)); err != nil {
		t.Fatal(err)
	}
	is("third")
}
