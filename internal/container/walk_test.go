package container_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/container"
)

// A member is what a visit saw.
type member struct {
	path string
	body string
}

// walk returns all members of a container, with their content.
func walk(name string, b []byte, l container.Limits) ([]member, error) {
	var all []member
	src := container.Source{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Name: name}
	err := container.Walk(context.Background(), src, container.NewBudget(l, src.Size), func(m container.Member) error {
		body, err := io.ReadAll(m.Reader)
		all = append(all, member{m.Path, string(body)})
		if err == nil && m.Size >= 0 && m.Size != int64(len(body)) {
			err = fmt.Errorf("%s: %d bytes, announced were %d", m.Path, len(body), m.Size)
		}
		return err
	})
	return all, err
}

// text is n bytes that compress, but not to nothing.
func text(n int) string {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		if i%7 == 0 {
			x = x*1664525 + 1013904223
		}
		b[i] = "abcdefgh01234567"[x>>28&15]
	}
	return string(b)
}

var want = []member{{"bin/app.exe", text(100_000)}, {"bin/app.pdb", text(33)}, {"empty.txt", ""}}

func zipOf(t testing.TB, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("folder/"); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		w, err := z.Create(m.path)
		if err == nil {
			_, err = io.WriteString(w, m.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	heads := []*tar.Header{
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "./device", Typeflag: tar.TypeChar},
	}
	for _, m := range members {
		heads = append(heads, &tar.Header{Name: "./" + m.path, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m.body))})
	}
	for i, h := range heads {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if i >= 3 {
			io.WriteString(w, members[i-3].body)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// filter runs b through another program; a program that is missing skips the test.
func filter(t testing.TB, b []byte, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(b)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.String())
	}
	return out
}

// pack writes members below a folder and runs a packer there, which makes out.
func pack(t testing.TB, members []member, out, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	dir := t.TempDir()
	for _, m := range members {
		file := filepath.Join(dir, filepath.FromSlash(m.path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(m.body), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, text)
	}
	b, err := os.ReadFile(filepath.Join(dir, out))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func arOf(names []string, bodies ...[]byte) []byte {
	b := bytes.NewBufferString("!<arch>\n")
	for i, n := range names {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", n, 0, 0, 0, 0o100644, len(bodies[i]))
		b.Write(bodies[i])
		if len(bodies[i])&1 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func cpioOf(members []member) []byte {
	b := &bytes.Buffer{}
	add := func(name string, mode, links int, body string) {
		fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, links, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(body)
		b.Write(make([]byte, -b.Len()&3))
	}
	add("./bin", 0o40755, 2, "")
	add("./hard.link", 0o100644, 2, "")
	for _, m := range members {
		add("./"+m.path, 0o100644, 1, m.body)
	}
	add("TRAILER!!!", 0, 1, "")
	return b.Bytes()
}

func rpmOf(payload []byte) []byte {
	head := func(entries, store int) []byte {
		h := append([]byte("\x8e\xad\xe8\x01\x00\x00\x00\x00"), 0, 0, 0, byte(entries), 0, 0, 0, byte(store))
		return append(h, make([]byte, entries*16+store)...)
	}
	b := append([]byte("\xed\xab\xee\xdb\x03\x00"), make([]byte, 90)...)
	b = append(b, head(2, 5)...)
	b = append(b, make([]byte, -len(b)&7)...)
	return slices.Concat(b, head(3, 7), payload)
}

func TestWalk(t *testing.T) {
	tarred := tarOf(t, want)
	for _, tt := range []struct {
		name  string
		build func(t *testing.T) []byte
		want  []member
	}{
		{"a.zip", func(t *testing.T) []byte { return zipOf(t, want) }, want},
		{"a.tar", func(t *testing.T) []byte { return tarred }, want},
		{"a.tar.gz", func(t *testing.T) []byte { return gzipOf(t, tarred) }, want},
		{"a.tgz", func(t *testing.T) []byte { return append(gzipOf(t, tarred[:5000]), gzipOf(t, tarred[5000:])...) }, want},
		{"a.tar.xz", func(t *testing.T) []byte { return filter(t, tarred, "xz", "-9") }, want},
		{"a.tar.zst", func(t *testing.T) []byte { return filter(t, tarred, "zstd", "-19", "--long=27") }, want},
		{"a.tar.bz2", func(t *testing.T) []byte { return filter(t, tarred, "bzip2") }, want},
		{"foo.debug.xz", func(t *testing.T) []byte {
			return filter(t, []byte(text(70_000)), "xz", "--x86", "--lzma2=dict=1MiB", "--check=crc32")
		}, []member{{"foo.debug", text(70_000)}}},
		{"mod.ko.zst", func(t *testing.T) []byte { return filter(t, []byte(text(70_000)), "zstd") }, []member{{"mod.ko", text(70_000)}}},
		{"app.pdb.gz", func(t *testing.T) []byte { return append(gzipOf(t, []byte(text(70_000))), make([]byte, 512)...) }, []member{{"app.pdb", text(70_000)}}},
		{"app.bz2", func(t *testing.T) []byte { return filter(t, []byte(text(7)), "bzip2") }, []member{{"app", text(7)}}},
		{"a.deb", func(t *testing.T) []byte {
			return arOf([]string{"debian-binary", "control.tar.gz", "data.tar.gz"}, []byte("2.0\n"), gzipOf(t, tarOf(t, []member{{"control", "x"}})), gzipOf(t, tarred))
		}, want},
		{"b.deb", func(t *testing.T) []byte {
			return arOf([]string{"debian-binary/", "data.tar/"}, []byte("2.0\n"), tarred)
		}, want},
		{"c.deb", func(t *testing.T) []byte {
			return arOf([]string{"debian-binary", "data.tar.xz"}, []byte("2.0\n"), filter(t, tarred, "xz"))
		}, want},
		{"a.rpm", func(t *testing.T) []byte { return rpmOf(gzipOf(t, cpioOf(want))) }, want},
		{"b.rpm", func(t *testing.T) []byte { return rpmOf(cpioOf(want)) }, want},
		{"c.rpm", func(t *testing.T) []byte { return rpmOf(filter(t, cpioOf(want), "zstd")) }, want},
		{"a.cab", func(t *testing.T) []byte {
			return pack(t, want, "a.cab", "gcab", "-c", "-z", "a.cab", "bin/app.exe", "bin/app.pdb", "empty.txt")
		}, want},
		{"b.cab", func(t *testing.T) []byte {
			return pack(t, want, "a.cab", "gcab", "-c", "a.cab", "bin/app.exe", "bin/app.pdb", "empty.txt")
		}, want},
		{"app.pd_", func(t *testing.T) []byte { return szddOf(text(20_000), 'b') }, []member{{"app.pdb", text(20_000)}}},
		{"driver.sy_", func(t *testing.T) []byte { return szddOf(text(20), 0) }, []member{{"driver.sys", text(20)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := walk(tt.name, tt.build(t), container.DefaultLimits())
			if err != nil {
				t.Fatalf("Walk: %v", err)
			}
			got = slices.DeleteFunc(got, func(m member) bool {
				return !slices.ContainsFunc(tt.want, func(w member) bool { return w.path == m.path })
			})
			if !slices.Equal(got, tt.want) {
				for _, m := range got {
					t.Logf("found %s of %d bytes", m.path, len(m.body))
				}
				t.Errorf("members differ from the %d that went in", len(tt.want))
			}
		})
	}
}

// szddOf writes a SZDD file: literals, and a match wherever the four bytes before
// repeat the next ones.
func szddOf(s string, last byte) []byte {
	n := len(s)
	b := append([]byte("SZDD\x88\xf0\x27\x33A"), last, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	var item []byte
	flags, count := byte(0), 0
	flush := func() {
		b = append(append(b, flags), item...)
		item, flags, count = nil, 0, 0
	}
	for i := 0; i < n; {
		if length := repeat(s, i); length >= 3 {
			from := (4096 - 16 + i - 4) % 4096
			item = append(item, byte(from), byte(from>>4)&0xf0|byte(length-3))
			i += length
		} else {
			flags |= 1 << count
			item = append(item, s[i])
			i++
		}
		if count++; count == 8 {
			flush()
		}
	}
	if count > 0 {
		flush()
	}
	return b
}

// repeat returns how many bytes at i, up to 18, repeat those four before.
func repeat(s string, i int) (n int) {
	for i >= 4 && n < 18 && i+n < len(s) && s[i+n] == s[i+n-4] {
		n++
	}
	return n
}

// Damage is an error of the container: it never passes for fewer members, and
// never for a fault of the machine.
func TestDamageIsTold(t *testing.T) {
	tarred := tarOf(t, want)
	for name, b := range map[string][]byte{
		"a.zip":    zipOf(t, want),
		"a.tar":    tarred,
		"a.tar.gz": gzipOf(t, tarred),
		"a.deb":    arOf([]string{"debian-binary", "data.tar.gz"}, []byte("2.0\n"), gzipOf(t, tarred)),
		"a.rpm":    rpmOf(gzipOf(t, cpioOf(want))),
		"app.pd_":  szddOf(text(20_000), 'b'),
	} {
		for _, cut := range []int{len(b) / 2, len(b) - len(b)/3} {
			if _, err := walk(name, b[:cut], container.DefaultLimits()); !container.Faulty(err) {
				t.Errorf("Walk(%s, first %d of %d bytes) = %v, want an error of the container", name, cut, len(b), err)
			}
		}
	}
	flipped := bytes.Clone(zipOf(t, want))
	flipped[120] ^= 0x10
	if _, err := walk("a.zip", flipped, container.DefaultLimits()); !errors.Is(err, container.ErrDamaged) {
		t.Errorf("Walk of a zip with a flipped bit = %v, want ErrDamaged", err)
	}
}

func TestRefusals(t *testing.T) {
	quantum := pack(t, want[:2], "a.cab", "gcab", "-c", "-z", "a.cab", "bin/app.exe", "bin/app.pdb")
	quantum[36+6] = 2
	var encrypted bytes.Buffer
	z := zip.NewWriter(&encrypted)
	raw, err := z.CreateRaw(&zip.FileHeader{Name: "secret.pdb", Flags: 1, CompressedSize64: 5, UncompressedSize64: 5, CRC32: crc32.ChecksumIEEE([]byte("hello"))})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(raw, "hello")
	z.Close()
	for name, b := range map[string][]byte{
		"a.7z": []byte("7z\xbc\xaf\x27\x1c" + strings.Repeat("\x00", 40)), "old.kw_": []byte("KWAJ\x88\xf0\x27\xd1" + strings.Repeat("\x00", 40)),
		"quantum.cab": quantum, "secret.zip": encrypted.Bytes(), "plain.txt": []byte("not an archive"),
	} {
		if _, err := walk(name, b, container.DefaultLimits()); !errors.Is(err, container.ErrUnsupported) {
			t.Errorf("Walk(%s) = %v, want ErrUnsupported", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	small := container.Limits{Members: 2, Bytes: 1 << 20, Depth: 1, Ratio: 50, RatioFrom: 64 << 10}
	zeros := strings.Repeat("\x00", 512<<10)
	sparse := func() []byte { // a tar that says of one byte that it is the last of a mebibyte
		b := pack(t, nil, "a.tar", "sh", "-c", "truncate -s 300M hole && tar -cSf a.tar hole")
		return b
	}()
	for _, tt := range []struct {
		what string
		name string
		b    []byte
		l    container.Limits
	}{
		{"files", "a.zip", zipOf(t, want), small},
		{"bytes", "a.tar", tarOf(t, []member{{"a", text(700_000)}, {"b", text(700_000)}}), small},
		{"ratio", "a.zip", zipOf(t, []member{{"a", zeros}}), small},
		{"ratio", "a.gz", gzipOf(t, []byte(zeros)), small},
		{"sparse", "a.tar", sparse, small},
	} {
		var limit *container.LimitError
		if _, err := walk(tt.name, tt.b, tt.l); !errors.As(err, &limit) || !container.Faulty(err) {
			t.Errorf("Walk(%s) over the limit of %s = %v, want a LimitError", tt.name, tt.what, err)
		}
	}
	// A decoder's memory is bounded before it is taken.
	for _, b := range [][]byte{
		filter(t, []byte(text(1000)), "xz", "--lzma2=dict=256MiB"),
		filter(t, []byte(text(1000)), "zstd", "--ultra", "-22", "--long=30"),
	} {
		var limit *container.LimitError
		if _, err := walk("a.xz", b, container.DefaultLimits()); !errors.As(err, &limit) {
			t.Errorf("Walk with a large window = %v, want a LimitError", err)
		}
	}
}

// A container in a container takes from the same budget, to a bounded depth.
func TestNesting(t *testing.T) {
	b := []byte("content")
	for range 5 {
		b = zipOf(t, []member{{"inner.zip", string(b)}})
	}
	limits := container.DefaultLimits()
	limits.Depth = 3
	budget := container.NewBudget(limits, int64(len(b)))
	depth := 0
	var open func(b []byte) error
	open = func(b []byte) error {
		src := container.Source{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Name: "inner.zip"}
		return container.Walk(t.Context(), src, budget, func(m container.Member) error {
			depth++
			inner, err := io.ReadAll(m.Reader)
			if err != nil {
				return err
			}
			return open(inner)
		})
	}
	var limit *container.LimitError
	if err := open(b); !errors.As(err, &limit) || depth != 3 {
		t.Errorf("5 archives inside each other: %d levels and %v, want 3 levels and a LimitError", depth, err)
	}
}

// brokenReader is a disk that fails.
type brokenReader struct{ *bytes.Reader }

func (b brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 600 {
		return 0, fs.ErrClosed
	}
	return b.Reader.ReadAt(p, off)
}

// An error of the disk, of the caller or of ctx says nothing about the container.
func TestOtherErrors(t *testing.T) {
	tarred := tarOf(t, want)
	for name, b := range map[string][]byte{"a.tar": tarred, "a.zip": zipOf(t, want), "a.tar.gz": gzipOf(t, tarred)} {
		src := container.Source{ReaderAt: brokenReader{bytes.NewReader(b)}, Size: int64(len(b)), Name: name}
		drain := func(m container.Member) error { _, err := io.Copy(io.Discard, m.Reader); return err }
		err := container.Walk(t.Context(), src, container.NewBudget(container.DefaultLimits(), src.Size), drain)
		if !errors.Is(err, fs.ErrClosed) || container.Faulty(err) {
			t.Errorf("Walk(%s) on a broken disk = %v, want the error of the disk", name, err)
		}
		src.ReaderAt = bytes.NewReader(b)
		mine := errors.New("mine")
		if err := container.Walk(t.Context(), src, container.NewBudget(container.DefaultLimits(), src.Size), func(container.Member) error { return mine }); err != mine {
			t.Errorf("Walk(%s) = %v, want the visit's error", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := container.Walk(ctx, src, container.NewBudget(container.DefaultLimits(), src.Size), drain); !errors.Is(err, context.Canceled) {
			t.Errorf("Walk(%s) with a cancelled context = %v", name, err)
		}
	}
}

// TestRPM reads packages that rpmbuild made, with each compression it knows.
func TestRPM(t *testing.T) {
	const spec = `Name: app-dbg
Version: 1
Release: 1
Summary: debug symbols
License: none
BuildArch: noarch
%description
Debug symbols.
%install
mkdir -p %{buildroot}/usr/lib/debug
cp bin/app.exe bin/app.pdb %{buildroot}/usr/lib/debug
ln -s app.pdb %{buildroot}/usr/lib/debug/link
%files
/usr/lib/debug
`
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("rpmbuild is not installed")
	}
	for _, payload := range []string{"w6.gzdio", "w3.zstdio", "w6.xzdio", "w9.bzdio"} {
		b := pack(t, append([]member{{"app.spec", spec}}, want[:2]...), "out.rpm", "sh", "-c",
			`rpmbuild -bb --define "_topdir $PWD/top" --define "_builddir $PWD" --define "_build_name_fmt out.rpm" `+
				`--define "_rpmdir $PWD" --define "_binary_payload `+payload+`" --define "__os_install_post %{nil}" app.spec`)
		got, err := walk("app.rpm", b, container.DefaultLimits())
		if err != nil {
			t.Errorf("Walk of an rpm with %s: %v", payload, err)
		}
		for i, m := range want[:2] {
			if i >= len(got) || !strings.HasSuffix(got[i].path, "usr/lib/debug/"+filepath.Base(m.path)) || got[i].body != m.body {
				t.Errorf("%s: member %d of %d is not %s", payload, i, len(got), m.path)
			}
		}
	}
}

// A zip of a million names is refused before its directory is in memory.
func TestZipDirectory(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 400_000 {
		if _, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("a/folder/with/a/name/of/some/length/%d.txt", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var limit *container.LimitError
	if got, err := walk("a.zip", b.Bytes(), container.DefaultLimits()); !errors.As(err, &limit) || len(got) > 0 {
		t.Errorf("Walk of 400,000 members = %d visited, %v; want none and a LimitError", len(got), err)
	}
}
