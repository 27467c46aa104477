package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dumps are crashes of Windows and Linux among Breakpad's own test data, with the symbols
// that are pushed for them and the frames of the thread that crashed.
var dumps = []struct {
	dump    string
	symbols []string
	frames  string
}{
	{"minidump2.dmp", []string{"symbols/test_app.pdb", "symbols/kernel32.pdb"}, "0|0|test_app.exe|`anonymous namespace'::CrashFunction|c:\\test_app.cc|58|0x3\n" +
		"0|1|test_app.exe|main|c:\\test_app.cc|65|0x5\n" +
		"0|2|test_app.exe|__tmainCRTStartup|f:\\sp\\vctools\\crt_bld\\self_x86\\crt\\src\\crt0.c|327|0x12\n" +
		"0|3|kernel32.dll|BaseProcessStart|||0x23\n"},
	{"linux_overflow.dmp", []string{"symbols/overflow", "symbols/libc-2.13.so", "symbols/ld-2.13.so", "symbols/libgcc_s.so.1"}, "0|0|libc-2.13.so|gsignal|||0x35\n" +
		"0|1|libc-2.13.so|abort|||0x180\n" +
		"0|2|libc-2.13.so|__fsetlocking|||0x38b\n" +
		"0|3|libc-2.13.so|__fortify_fail|||0x37\n" +
		"0|4|libc-2.13.so|__chk_fail|||0x10\n" +
		"0|5|overflow|overflow(char const*)|/usr/include/x86_64-linux-gnu/bits/string3.h|105|0x5\n" +
		"0|6|overflow|main|/home/mattdr/exploitable-crashes/overflow.cc|45|0x8\n" +
		"0|7|libc-2.13.so|__libc_start_main|||0xfd\n" +
		"0|8|overflow||||0x23f5\n"},
	{"linux_null_read_av.dmp", []string{"symbols/null_read_av"}, "0|0|null_read_av|crash()|/home/mattdr/crashing-programs/null_read_av.cc|18|0x0\n" +
		"0|1|null_read_av|main|/home/mattdr/crashing-programs/null_read_av.cc|27|0x5\n" +
		"0|2|libc-2.13.so|__libc_start_main|||0xfd\n"},
	// Inline frames, and a key of the MODULE line: this file has another name.
	{"linux_inline.dmp", []string{"symbols/linux_inline/BBA6FA10B8AAB33D00000000000000000/linux_inline.new.sym"}, "0|0|linux_inline|func()|linux_inline.cpp|27|0x0\n" +
		"0|1|linux_inline|bar()|c.cpp|32|0x0\n" +
		"0|2|linux_inline|foo()|b.cpp|39|0x0\n" +
		"0|3|linux_inline|main|a.cpp|42|0x0\n"},
}

// stackwalk symbolicates crash dumps. Breakpad's stackwalker reads a directory, so what
// it lacks is fetched as crash services do it: until a deeper stack asks for nothing new.
func (d *debugging) stackwalk(t *testing.T) {
	t.Parallel()
	bin, testdata := breakpad(t)
	tool := filepath.Join(bin, "minidump_stackwalk")
	var symbols []string
	for _, tt := range dumps {
		for _, s := range tt.symbols {
			symbols = append(symbols, filepath.Join(testdata, s))
		}
	}
	mustPush(t, d.nodes[1].url(), "dumps", symbols...)
	for i, tt := range dumps {
		n, dump, cache := d.nodes[i%len(d.nodes)], filepath.Join(testdata, tt.dump), t.TempDir()
		fetched := n.fetchSymbols(t, tool, dump, cache)
		r := command(t, time.Minute, tool, "-m", dump, cache)
		if fetched == 0 || !strings.Contains(r.stdout, tt.frames) {
			t.Errorf("minidump_stackwalk %s with %d fetched files: want frames\n%s\nin\n%s", tt.dump, fetched, tt.frames, tail([]byte(r.stdout), 3000))
		}
	}
}

// noSymbols is how minidump_stackwalk asks.
var noSymbols = regexp.MustCompile(`WARNING: No symbols, (.*), ([0-9A-F]+)\)`)

// fetchSymbols fills the stackwalker's directory and returns the number of files.
func (n *node) fetchSymbols(t *testing.T, tool, dump, cache string) (files int) {
	asked := map[string]bool{}
	for again := true; again; {
		again = false
		r := command(t, time.Minute, tool, dump, cache)
		for _, m := range noSymbols.FindAllStringSubmatch(r.stdout, -1) {
			path := m[1] + "/" + m[2] + "/" + strings.TrimSuffix(m[1], ".pdb") + ".sym"
			if asked[path] {
				continue
			}
			asked[path] = true
			if n.download(t, path, filepath.Join(cache, path)) {
				files, again = files+1, true
			}
		}
	}
	return files
}

// download stores what the node answers; false is a miss.
func (n *node) download(t *testing.T, path, file string) bool {
	t.Helper()
	resp, err := http.Get(n.url() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case resp.StatusCode == http.StatusNotFound && len(body) == 0:
		return false
	case resp.StatusCode != http.StatusOK:
		t.Fatalf("GET /%s = %d, want 200 or an empty 404", path, resp.StatusCode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return true
}
