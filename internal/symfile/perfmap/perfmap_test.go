package perfmap_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile/perfmap"
)

const head = "FFFFFFFF 00 734d59d6de0e96aa3c77b3e2ed498097\nFFFFFFFE 00 1\nFFFFFFFD 00 2\nFFFFFFFC 00 3\nFFFFFFFB 00 1\n"

const good = head + "000115D0 0D Microsoft.CodeAnalysis.EmbeddedAttribute::.ctor\n00011600 1A4 System.Void A::B(System.Int32, !!0)\n"

func TestScan(t *testing.T) {
	for _, in := range []string{good, strings.ReplaceAll(good, "\n", "\r\n"), strings.ToLower(good), head + "1 1 " + strings.Repeat("x", 200_000) + "\n00000002 01 y\n"} {
		h, err := perfmap.ReadHeader(strings.NewReader(in), int64(len(in)))
		if err != nil || h.Signature[0] != 0x73 || h.Signature[15] != 0x97 || h.OS != 2 || h.Arch() != "x64" || h.ABI != 1 {
			t.Errorf("%.40q: header %+v, %v", in, h, err)
		}
		if n, err := perfmap.Scan(strings.NewReader(in), int64(len(in))); n != 2 || err != nil {
			t.Errorf("%.40q: %d methods, %v; want 2", in, n, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"empty", "", perfmap.ErrHeader},
		{"short signature", strings.Replace(good, "734d59d6", "734d", 1), perfmap.ErrHeader},
		{"long signature", strings.Replace(good, "734d59d6", "734d59d600", 1), perfmap.ErrHeader},
		{"no hex digits", strings.Replace(good, "734d59d6", "734d59dx", 1), perfmap.ErrHeader},
		{"another version", strings.Replace(good, "FFFFFFFE 00 1", "FFFFFFFE 00 2", 1), perfmap.ErrHeader},
		{"another order", strings.Replace(good, "FFFFFFFD", "FFFFFFFC", 1), perfmap.ErrHeader},
		{"three lines", strings.Join(strings.SplitAfter(good, "\n")[:3], ""), perfmap.ErrHeader},
		{"header is cut", head[:len(head)-1], perfmap.ErrHeader},
		{"a method is cut", good[:len(good)-3], perfmap.ErrRecord},
		{"no name", good + "00012000 10\n", perfmap.ErrRecord},
		{"no length", good + "00012000\n", perfmap.ErrRecord},
		{"long RVA", good + "0000120000 10 x\n", perfmap.ErrRecord},
		{"other text", good + "<html>\n", perfmap.ErrRecord},
	} {
		if _, err := perfmap.Scan(strings.NewReader(tt.in), int64(len(tt.in))); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(head))
	f.Add([]byte(strings.ReplaceAll(good, "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, headErr := perfmap.ReadHeader(bytes.NewReader(b), int64(len(b)))
		n, err := perfmap.Scan(bytes.NewReader(b), int64(len(b)))
		if errors.Is(err, perfmap.ErrHeader) != (headErr != nil) {
			t.Fatalf("header: %v, all: %v", headErr, err)
		}
		if lines := int64(bytes.Count(b, []byte("\n"))); err == nil && n != lines-5 {
			t.Fatalf("%d methods of %d lines", n, lines)
		}
	})
}
