package container_test

import (
	"bytes"
	"io"
	"testing"

	"symkeep/internal/container"
)

// fuzzLimits keep one input short.
var fuzzLimits = container.Limits{Members: 1000, Bytes: 8 << 20, Depth: 3, Ratio: 200, RatioFrom: 1 << 20}

// fuzz walks arbitrary bytes under a name: no panic, and no error but those of the
// content. Nothing unpacked is kept, so memory is that of the decoders.
func fuzz(f *testing.F, name string) {
	f.Fuzz(func(t *testing.T, b []byte) {
		src := container.Source{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Name: name}
		err := container.Walk(t.Context(), src, container.NewBudget(fuzzLimits, src.Size), func(m container.Member) error {
			_, err := io.Copy(io.Discard, m.Reader)
			return err
		})
		if err != nil && !container.Faulty(err) {
			t.Errorf("Walk = %v, which says nothing about the content", err)
		}
	})
}

var small = []member{{"a.pdb", "Microsoft C/C++"}, {"b/c.txt", "text text text text"}}

func FuzzZip(f *testing.F) {
	f.Add(zipOf(f, small))
	fuzz(f, "a.zip")
}

func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, small))
	fuzz(f, "a.tar")
}

func FuzzGzip(f *testing.F) {
	f.Add(gzipOf(f, tarOf(f, small)))
	fuzz(f, "a.gz")
}

func FuzzXZ(f *testing.F) {
	f.Add(unhex("fd377a585a000004e6d6b4460200210116000000742fe5a3010004616263646500000000f29508fb58df0b0400011d05b82d80af1fb6f37d010000000004595a"))
	fuzz(f, "a.xz")
}

func FuzzZstd(f *testing.F) {
	f.Add(unhex("28b52ffd04582900006162636465ebc78d0c"))
	fuzz(f, "a.zst")
}

func FuzzBzip2(f *testing.F) {
	f.Add(unhex("425a6839314159265359a35b4df400000001003e0020002183419a025c7177245385090a35b4df40"))
	fuzz(f, "a.bz2")
}

func FuzzDeb(f *testing.F) {
	f.Add(arOf([]string{"debian-binary", "data.tar"}, []byte("2.0\n"), tarOf(f, small)))
	fuzz(f, "a.deb")
}

func FuzzRPM(f *testing.F) {
	f.Add(rpmOf(cpioOf(small)))
	fuzz(f, "a.rpm")
}

func FuzzSZDD(f *testing.F) {
	f.Add(szddOf("abcdabcdabcdabcdx", 'b'))
	fuzz(f, "a.pd_")
}

func FuzzCabinet(f *testing.F) {
	f.Add(cabOf(0, []member{{"a.pdb", "hello"}}, []byte("hello")))
	f.Add(cabOf(15<<8|3, []member{{"a.pdb", lzxText}}, lzxOf(lzxText)...))
	fuzz(f, "a.cab")
}
