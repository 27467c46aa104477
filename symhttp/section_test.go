package symhttp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"

	"symkeep/internal/catalog"
)

// A sect is one section of a test file; nil content makes it NOBITS.
type sect struct {
	name    string
	content []byte
}

// elfFile builds a 64-bit little-endian ELF file of those sections.
func elfFile(sections ...sect) []byte {
	var names, body bytes.Buffer
	names.WriteByte(0)
	heads := make([]byte, 64) // section 0
	add := func(name string, typ uint32, off, size int) {
		h := make([]byte, 64)
		binary.LittleEndian.PutUint32(h, uint32(names.Len()))
		binary.LittleEndian.PutUint32(h[4:], typ)
		binary.LittleEndian.PutUint64(h[24:], uint64(off))
		binary.LittleEndian.PutUint64(h[32:], uint64(size))
		heads = append(heads, h...)
		names.WriteString(name + "\x00")
	}
	body.Write(make([]byte, 64))
	for _, s := range sections {
		if s.content == nil {
			add(s.name, 8, body.Len(), 4096)
			continue
		}
		add(s.name, 1, body.Len(), len(s.content))
		body.Write(s.content)
	}
	strings := body.Len()
	add(".shstrtab", 3, strings, names.Len()+len(".shstrtab")+1)
	body.Write(names.Bytes())
	b := body.Bytes()
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 3)  // ET_DYN
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[40:], uint64(len(b)))
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], uint16(len(heads)/64))
	le.PutUint16(b[62:], uint16(len(heads)/64-1))
	return append(b, heads...)
}

func TestSections(t *testing.T) {
	w := newWorld(t)
	info := noise(2<<20+17, 5)
	debug := w.add(t, "app.debug", elfFile(sect{".text", nil}, sect{".debug_info", info}, sect{".shared", []byte("debug")}), dbgKey)
	w.add(t, "app", elfFile(sect{".text", []byte("machine code")}, sect{".Text", []byte("other")}, sect{".shared", []byte("exe")}, sect{".empty", []byte{}}), exeKey)
	addr := start(t, testConfig(), w.public(t))
	at := func(name string) string { return "/buildid/" + buildID + "/section/" + name }
	for _, tt := range []struct {
		name, path string
		lines      []string
		status     int
		body       []byte
		headers    map[string]string
	}{
		{"debug file", at(".debug_info"), nil, 200, info, map[string]string{
			"X-Debuginfod-Size": strconv.Itoa(len(info)), "X-Debuginfod-File": "app.debug", "Content-Type": "application/octet-stream",
			"ETag": fmt.Sprintf(`"%s@64+%d"`, debug.Digest, len(info)),
		}},
		{"never encoded", at(".debug_info"), []string{"Accept-Encoding: gzip"}, 200, info, map[string]string{"Content-Encoding": ""}},
		{"range", at(".debug_info"), []string{"Range: bytes=1048500-1048700"}, 206, info[1048500:1048701], map[string]string{"Content-Range": fmt.Sprintf("bytes 1048500-1048700/%d", len(info))}},
		{"no bits there", at(".text"), nil, 200, []byte("machine code"), map[string]string{"X-Debuginfod-File": "app"}},
		{"case", at(".Text"), nil, 200, []byte("other"), nil},
		{"both", at(".shared"), nil, 200, []byte("debug"), nil},
		{"too large", at(".debug_info"), []string{"X-DEBUGINFOD-MAXSIZE: 1000"}, 406, nil, nil},
		{"none", at(".nope"), nil, 404, nil, map[string]string{"Content-Length": "0"}},
		{"empty", at(".empty"), nil, 404, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask(t, addr, "GET", tt.path, tt.lines...).want(t, tt.status, tt.body, tt.headers)
		})
	}
	ask(t, addr, "HEAD", at(".debug_info")).want(t, 200, nil, map[string]string{"Content-Length": strconv.Itoa(len(info))})
}

// TestSectionOfWhatIsNoELF: a file under a build id that does not parse has no
// sections; the other artifact may.
func TestSectionOfWhatIsNoELF(t *testing.T) {
	w := newWorld(t)
	w.add(t, "app.debug", noise(3000, 1), dbgKey)
	addr := start(t, testConfig(), w.public(t))
	path := "/buildid/" + buildID + "/section/.text"
	ask(t, addr, "GET", path).want(t, 404, nil, nil)
	w.add(t, "app", elfFile(sect{".text", []byte("code")}), exeKey)
	ask(t, addr, "GET", path).want(t, 200, []byte("code"), nil)
	w.set(func() { w.locateErr = catalog.ErrUnavailable })
	wantReset(t, addr, "GET", path)
}
