package cab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"symkeep/internal/cab"
)

// cabinetReaders unpack a cabinet into the current directory. cabextract is the
// strictest of them.
var cabinetReaders = [][]string{
	{"cabextract", "-q"},
	{"gcab", "-x"},
	{"7z", "x", "-y", "-bd"},
	{"bsdtar", "-xf"},
}

// needTool skips without the program, and fails in CI, where all are installed.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
}

// unpack runs a reader on the cabinet and returns what it makes of the member.
func unpack(t *testing.T, reader []string, cabinet, member string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), reader[0], append(reader[1:len(reader):len(reader)], cabinet)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	return os.ReadFile(filepath.Join(dir, member))
}

// packFile packs data into a real file with the given name inside.
func packFile(t *testing.T, data []byte, name string) (*os.File, *cab.Reader) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "packed.pd_"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(data)), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r, err := cab.Open(f, info.PackedSize)
	if err != nil {
		t.Fatal(err)
	}
	return f, r
}

func TestCabinetReaders(t *testing.T) {
	paths := map[string]string{}
	for _, in := range inputs() {
		f, _ := packFile(t, in.data, "foo.pdb")
		paths[in.name] = f.Name()
	}
	for _, reader := range cabinetReaders {
		t.Run(reader[0], func(t *testing.T) {
			needTool(t, reader[0])
			for _, in := range inputs() {
				got, err := unpack(t, reader, paths[in.name], "foo.pdb")
				if err != nil || !bytes.Equal(got, in.data) {
					t.Errorf("%s: %d bytes, want %d: %v", in.name, len(got), len(in.data), err)
				}
			}
		})
	}
}

func TestCabinetReadersWithOtherNames(t *testing.T) {
	data := records(cab.BlockSize+1000, 1)
	_, r := packFile(t, data, "foo.pdb")
	for _, reader := range cabinetReaders {
		t.Run(reader[0], func(t *testing.T) {
			needTool(t, reader[0])
			for _, name := range []string{"x", "größe Ω.pdb", "a rather long name of a program database.pdb"} {
				s, n, err := r.Cabinet(name)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "answer.pd_")
				if err := os.WriteFile(path, readAll(t, s, n), 0o644); err != nil {
					t.Fatal(err)
				}
				if got, err := unpack(t, reader, path, name); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%q: %d bytes, want %d: %v", name, len(got), len(data), err)
				}
			}
		})
	}
}

// gzipTool decodes a gzip stream with the system's gzip.
func gzipTool(ctx context.Context, s io.Reader) ([]byte, error) {
	var out, msg bytes.Buffer
	cmd := exec.CommandContext(ctx, "gzip", "-dc")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s, &out, &msg
	if err := cmd.Run(); err != nil || msg.Len() > 0 {
		return nil, errors.Join(err, errors.New(msg.String()))
	}
	return out.Bytes(), nil
}

func TestGzipTool(t *testing.T) {
	needTool(t, "gzip")
	for _, in := range inputs() {
		for _, c := range containers {
			f, _ := packInput(t, c, in)
			s, _ := mustOpen(t, f).Gzip()
			got, err := gzipTool(t.Context(), s)
			if err != nil || !bytes.Equal(got, in.data) {
				t.Errorf("%s %s: %d bytes, want %d: %v", c.want, in.name, len(got), len(in.data), err)
			}
		}
	}
}
