package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"symkeep/internal/symfile/elf"
)

const (
	pushBytes = 1 << 30  // pushed, if the machine has so much
	pushLeast = 64 << 20 // below, nothing is measured
)

// collectPrograms fills dir with ELF files that have a build id, no two the same: this
// machine's debug files, symkeep with its debug information, compressed and not, and
// programs and libraries up to pushBytes.
func collectPrograms(ctx context.Context, dir string) (files int, size int64, err error) {
	c := collector{dir: dir, ids: map[string]bool{}}
	own := filepath.Join(dir, "own")
	if err := makeDirs(dir, own); err != nil {
		return 0, 0, err
	}
	for name, flags := range map[string]string{"plain": "-compressdwarf=false ", "compressed": ""} {
		for _, program := range []string{"cmd/symkeep", "e2e/bench", "e2e/torture"} {
			out := filepath.Join(own, filepath.Base(program)+"-"+name)
			build := exec.CommandContext(ctx, "go", "build", "-o", out, "-ldflags", flags+"-B gobuildid", "./"+program)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if b, err := build.CombinedOutput(); err != nil {
				return 0, 0, fmt.Errorf("build %s: %w: %s", program, err, b)
			}
			fi, err := os.Stat(out)
			if err != nil {
				return 0, 0, err
			}
			c.files++
			c.size += fi.Size()
		}
	}
	for _, root := range []string{"/usr/lib/debug", "/usr/bin", "/usr/lib"} {
		if err := filepath.WalkDir(root, c.visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, 0, err
		}
	}
	if c.size < pushLeast {
		return 0, 0, fmt.Errorf("%d bytes of programs with build ids on this machine, wanted %d", c.size, pushLeast)
	}
	return c.files, c.size, nil
}

// A collector copies programs into dir.
type collector struct {
	dir   string
	ids   map[string]bool
	files int
	size  int64
}

func (c *collector) visit(path string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case c.size >= pushBytes:
		return fs.SkipAll
	case !d.Type().IsRegular():
		return nil
	}
	id, ok := gnuBuildID(path)
	if !ok || c.ids[id] {
		return nil
	}
	c.ids[id] = true
	to := filepath.Join(c.dir, strconv.Itoa(c.files), filepath.Base(path))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	n, err := copyFile(to, path)
	c.files++
	c.size += n
	return err
}

// gnuBuildID returns the GNU build id of an ELF file, and whether it has one.
func gnuBuildID(path string) (string, bool) {
	in, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return "", false
	}
	f, err := elf.Parse(in, fi.Size())
	if err != nil {
		return "", false
	}
	id, err := f.Identity()
	if err != nil || len(id.BuildIDs) == 0 {
		return "", false
	}
	return string(id.BuildIDs[0]), true
}

func copyFile(to, from string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}
