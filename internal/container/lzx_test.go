package container_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/container"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// cabOf writes a cabinet of one folder whose frames are packed already. Each frame
// holds 32 KiB of the members' bytes, the last one the rest.
func cabOf(method uint16, members []member, frames ...[]byte) []byte {
	le := binary.LittleEndian
	var files []byte
	total := 0
	for _, m := range members {
		files = le.AppendUint32(files, uint32(len(m.body)))
		files = le.AppendUint32(files, uint32(total))
		files = append(files, 0, 0, 0x21, 0, 0, 0, 0x20, 0)
		files = append(append(files, m.path...), 0)
		total += len(m.body)
	}
	data := 36 + 8 + len(files)
	var blocks []byte
	for i, f := range frames {
		raw := min(total-i<<15, 1<<15)
		blocks = le.AppendUint32(blocks, 0) // no checksum
		blocks = le.AppendUint16(blocks, uint16(len(f)))
		blocks = le.AppendUint16(blocks, uint16(raw))
		blocks = append(blocks, f...)
	}
	b := append([]byte("MSCF\x00\x00\x00\x00"), le.AppendUint32(nil, uint32(data+len(blocks)))...)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint32(b, 36+8)
	b = append(b, 0, 0, 0, 0, 3, 1, 1, 0)
	b = le.AppendUint16(b, uint16(len(members)))
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(b, uint32(data))
	b = le.AppendUint16(b, uint16(len(frames)))
	b = le.AppendUint16(b, method)
	return append(append(b, files...), blocks...)
}

// lzxBits writes bits as LZX has them: words of 16 bits, the highest bit first.
type lzxBits struct {
	out  []byte
	word uint32
	n    int
}

func (b *lzxBits) put(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		b.word = b.word<<1 | v>>i&1
		if b.n++; b.n == 16 {
			b.out = append(b.out, byte(b.word), byte(b.word>>8))
			b.word, b.n = 0, 0
		}
	}
}

func (b *lzxBits) pad() {
	for b.n != 0 {
		b.put(0, 1)
	}
}

// take returns the bytes of a frame, which ends at a word.
func (b *lzxBits) take() []byte {
	b.pad()
	out := b.out
	b.out = nil
	return out
}

// A code has symbols of bits and of bits-1 bits, the shorter ones first, so that
// it is complete: other decoders insist on that.
type code struct{ symbols, bits int }

var (
	preCode    = code{20, 5}
	mainCode   = code{lzxMain, 9}
	lengthCode = code{249, 8}
)

// short is how many symbols have the shorter codes.
func (c code) short() int { return 1<<c.bits - c.symbols }

func (c code) length(symbol int) int {
	if symbol < c.short() {
		return c.bits - 1
	}
	return c.bits
}

func (b *lzxBits) symbol(c code, symbol int) {
	v := symbol
	if symbol >= c.short() {
		v += c.short()
	}
	b.put(uint32(v), c.length(symbol))
}

const (
	lzxWindow = 15
	lzxMain   = 256 + 8*30
)

// An lzxWriter is the smallest encoder that uses every kind of block, repeated
// offsets and matches into the frame before.
type lzxWriter struct {
	lzxBits
	kind   int  // of the block under way
	again  bool // the code lengths were written before
	former int  // offset of the last match
}

// lengths writes the code lengths of symbols from to end, as differences to
// themselves if they were written before.
func (w *lzxWriter) lengths(c code, from, end int) {
	for s := range preCode.symbols {
		w.put(uint32(preCode.length(s)), 4)
	}
	for s := from; s < end; s++ {
		delta := 0
		if !w.again {
			delta = 17 - c.length(s)
		}
		w.symbol(preCode, delta)
	}
}

func (w *lzxWriter) block(kind, size int) {
	w.kind = kind
	w.put(uint32(kind), 3)
	w.put(uint32(size), 24)
	if kind == 2 {
		for range 8 {
			w.put(3, 3)
		}
	}
	w.lengths(mainCode, 0, 256)
	w.lengths(mainCode, 256, lzxMain)
	w.lengths(lengthCode, 0, lengthCode.symbols)
	w.again = true
}

func (w *lzxWriter) literal(c byte) { w.symbol(mainCode, int(c)) }

// match writes a match with the lowest slot that holds the offset, or that of the
// last offset.
func (w *lzxWriter) match(length, offset int) {
	slot, extra, base := 0, 0, 0
	again := offset == w.former
	w.former = offset
	if !again {
		slot, base = 3, 3
		for offset+2 >= base+1<<extra {
			base += 1 << extra
			slot++
			extra = max(slot/2-1, 0)
		}
	}
	head := min(length-2, 7)
	w.symbol(mainCode, 256+slot*8+head)
	if head == 7 {
		w.symbol(lengthCode, length-9)
	}
	if again {
		return
	}
	v := uint32(offset + 2 - base)
	if w.kind == 2 && extra >= 3 {
		w.put(v>>3, extra-3)
		w.put(v&7, 3)
		return
	}
	w.put(v, extra)
}

// lzxText is what lzxOf packs: two frames and a bit.
var lzxText = func() string {
	s := text(40_000) + "\xe8\x10\x00\x00\x00" + text(9000)
	return s + s[len(s)-30_000:]
}()

// lzxOf packs s: frame 0 in a stored and a verbatim block, the others in an aligned
// one that begins in frame 1 and goes to the end.
func lzxOf(s string) [][]byte {
	w := &lzxWriter{}
	w.put(0, 1) // calls are not translated
	const stored, frame = 10_001, 1 << 15
	w.put(3, 3)
	w.put(stored, 24)
	w.put(0, 16-w.n) // up to the next word
	for _, offset := range []uint32{1, 1, 1} {
		w.out = binary.LittleEndian.AppendUint32(w.out, offset)
	}
	w.out = append(append(w.out, s[:stored]...), 0)
	var frames [][]byte
	w.block(1, frame-stored)
	w.run(s, stored, frame)
	frames = append(frames, w.take())
	w.block(2, len(s)-frame)
	for at := frame; at < len(s); at += frame {
		w.run(s, at, min(at+frame, len(s)))
		frames = append(frames, w.take())
	}
	return frames
}

// run writes s from at to end, with the matches of a small hash table.
func (w *lzxWriter) run(s string, at, end int) {
	last := map[string]int{}
	for i := max(0, at-20_000); i+4 <= at; i++ {
		last[s[i:i+4]] = i
	}
	for i := at; i < end; {
		length, offset := 0, 0
		if i+4 <= end {
			if from, ok := last[s[i:i+4]]; ok && i-from < 1<<lzxWindow-3 {
				offset = i - from
				for length < 250 && i+length < end && s[from+length] == s[i+length] {
					length++
				}
			}
		}
		step := 1
		if length >= 4 {
			w.match(length, offset)
			step = length
		} else {
			w.literal(s[i])
		}
		for ; step > 0; step-- {
			if i+4 <= len(s) {
				last[s[i:i+4]] = i
			}
			i++
		}
	}
}

// TestLZX has our decoder and cabextract read what the encoder above writes.
func TestLZX(t *testing.T) {
	members := []member{{"app.pdb", lzxText[:50_000]}, {"app.exe", lzxText[50_000:]}}
	cab := cabOf(lzxWindow<<8|3, members, lzxOf(lzxText)...)
	got, err := walk("a.cab", cab, container.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range members {
		if i >= len(got) || got[i] != m {
			t.Errorf("member %d differs from %s of %d bytes", i, m.path, len(m.body))
		}
	}
	tool, err := exec.LookPath("cabextract")
	if err != nil {
		t.Skip("cabextract is not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.cab"), cab, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "-q", "-d", dir, filepath.Join(dir, "a.cab")).CombinedOutput(); err != nil {
		t.Fatalf("cabextract: %v: %s", err, out)
	}
	for _, m := range members {
		b, err := os.ReadFile(filepath.Join(dir, m.path))
		if err != nil || string(b) != m.body {
			t.Errorf("cabextract gives other bytes for %s: %v", m.path, err)
		}
	}
}

// Calls are translated back by the same rule that cabextract has.
func TestLZXTranslatesCalls(t *testing.T) {
	raw := []byte(strings.Repeat("\x90", 50) + "\xe8\x64\x00\x00\x00" + strings.Repeat("\x90", 20) + "\xe8\xf0\xff\xff\xff" + strings.Repeat("\x90", 20) + "\xe8\x00\x00\x00\x7f" + strings.Repeat("\x90", 40))
	w := &lzxWriter{}
	w.put(1, 1)
	w.put(0, 16)
	w.put(4096, 16)
	w.put(3, 3)
	w.put(uint32(len(raw)), 24)
	w.put(0, 16-w.n)
	w.out = append(w.out, "\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00"...)
	w.out = append(w.out, raw...)
	cab := cabOf(lzxWindow<<8|3, []member{{"a.dll", string(raw)}}, w.out)
	got, err := walk("a.cab", cab, container.DefaultLimits())
	if err != nil || len(got) != 1 {
		t.Fatalf("Walk = %d members, %v", len(got), err)
	}
	first, second := 0x64-50, 4096-16
	if b := []byte(got[0].body); int(binary.LittleEndian.Uint32(b[51:])) != first || int(binary.LittleEndian.Uint32(b[76:])) != second || !bytes.Equal(b[96:], raw[96:]) {
		t.Errorf("targets %#x and %#x, want %#x and %#x, and the third left alone", binary.LittleEndian.Uint32(b[51:]), binary.LittleEndian.Uint32(b[76:]), first, second)
	}
	if tool, err := exec.LookPath("cabextract"); err == nil {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.cab")
		os.WriteFile(file, cab, 0o644)
		out, err := exec.Command(tool, "-q", "-p", file).Output()
		if err != nil || string(out) != got[0].body {
			t.Errorf("cabextract gives other bytes: %v", err)
		}
	}
}
