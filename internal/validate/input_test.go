package validate_test

import (
	"bytes"
	"runtime"
	"testing"

	"symkeep/internal/validate"
)

// heavy is an open file whose reader holds a lot, as one that unpacks does.
type heavy struct {
	*bytes.Reader
	held []byte
}

func (heavy) Close() error { return nil }

// A package of many files must not hold the readers of all of them to its end.
func TestReadersAreReleased(t *testing.T) {
	const held, files = 4 << 20, 32
	elf := parserData(t, "elf", "tiny.debug")
	var all []validate.File
	for i := range files {
		f := file("a/tiny.debug", elf)
		f.No = i
		f.Open = func() (validate.ReaderAtCloser, error) {
			return &heavy{bytes.NewReader(elf), make([]byte, held)}, nil
		}
		all = append(all, f)
	}
	var most uint64
	before := inUse()
	for i := range all {
		open := all[i].Open
		all[i].Open = func() (validate.ReaderAtCloser, error) {
			if i == files-1 {
				most = inUse() - before
			}
			return open()
		}
	}
	if _, err := validate.Package(t.Context(), all, validate.Options{Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if most > held*files/4 {
		t.Errorf("%d MiB are held when the last of %d files is opened, each of which holds %d MiB while it is open", most>>20, files, held>>20)
	}
}

// inUse returns the bytes of the heap that something refers to.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
