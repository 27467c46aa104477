package symhttp_test

import (
	"math"
	"strings"
	"testing"

	"symkeep/symhttp"
)

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		in     string
		size   int64
		off, n int64
		status int
	}{
		{"bytes=0-0", 10, 0, 1, 206},
		{"bytes=0-9", 10, 0, 10, 206},
		{"bytes=5-", 10, 5, 5, 206},
		{"bytes=-3", 10, 7, 3, 206},
		{"bytes=-30", 10, 0, 10, 206},
		{"bytes=9-100", 10, 9, 1, 206},
		{"Bytes = 1-2 ", 10, 1, 2, 206},
		{"bytes=0-99999999999999999999", 10, 0, 10, 206},
		{"bytes=10-", 10, 0, 10, 416},
		{"bytes=99999999999999999999-", 10, 0, 10, 416},
		{"bytes=-0", 10, 0, 10, 416},
		{"bytes=0-", 0, 0, 0, 416},
		{"bytes=-1", 0, 0, 0, 416},
		{"bytes=-9223372036854775807", math.MaxInt64, 0, math.MaxInt64, 206},
		{"", 10, 0, 10, 200},
		{"bytes=", 10, 0, 10, 200},
		{"bytes=-", 10, 0, 10, 200},
		{"bytes=2-1", 10, 0, 10, 200},
		{"bytes=1-2,4-5", 10, 0, 10, 200},
		{"bytes=1-x", 10, 0, 10, 200},
		{"bytes=+1-2", 10, 0, 10, 200},
		{"bytes=1--2", 10, 0, 10, 200},
		{"bytes=--2", 10, 0, 10, 200},
		{"octets=1-2", 10, 0, 10, 200},
		{"bytes 1-2", 10, 0, 10, 200},
	} {
		if off, n, status := symhttp.ParseRange(tt.in, tt.size); off != tt.off || n != tt.n || status != tt.status {
			t.Errorf("ParseRange(%q, %d) = %d+%d %d, want %d+%d %d", tt.in, tt.size, off, n, status, tt.off, tt.n, tt.status)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-5", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, in string, size int64) {
		if size < 0 {
			return
		}
		off, n, status := symhttp.ParseRange(in, size)
		switch status {
		case 206:
			if off < 0 || n < 1 || off > size-n {
				t.Errorf("ParseRange(%q, %d) = %d+%d: outside", in, size, off, n)
			}
			if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(in)), "bytes") {
				t.Errorf("ParseRange(%q, %d) = 206 for another unit", in, size)
			}
		case 200, 416:
			if off != 0 || n != size {
				t.Errorf("ParseRange(%q, %d) = %d+%d with %d, want everything", in, size, off, n, status)
			}
		}
	})
}

func TestAcceptsGzip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want bool
	}{
		{"gzip", true},
		{"deflate, gzip, br, zstd", true},
		{"GZIP", true},
		{"x-gzip", true},
		{"gzip;q=0.001", true},
		{"gzip ; q=1.000", true},
		{"gzip; foo=bar; q=0.5", true},
		{"gzip;q=0.5, identity;q=0.5", true},
		{"br;q=1, gzip;q=0.2", true},
		{"", false},
		{"identity", false},
		{"*", false},
		{"*;q=1", false},
		{"gzip;q=0", false},
		{"gzip;q=0.0", false},
		{"gzip;q=0.000", false},
		{"gzip;q=", false},
		{"gzip;q=2", false},
		{"gzip;q=1.5", false},
		{"gzip;q=-1", false},
		{"gzip;q=0.0001", false},
		{"gzip;q=.5", false},
		{"gzip;q=0.5, identity", false},
		{"gzipped", false},
		{"deflate, br", false},
	} {
		if got := symhttp.AcceptsGzip(tt.in); got != tt.want {
			t.Errorf("AcceptsGzip(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip;q=0.5, identity")
	f.Add("deflate, gzip, br, zstd")
	f.Fuzz(func(t *testing.T, in string) {
		got := symhttp.AcceptsGzip(in)
		if got && !strings.Contains(strings.ToLower(in), "gzip") {
			t.Errorf("AcceptsGzip(%q) = true without the word", in)
		}
		if again := symhttp.AcceptsGzip(in + ",deflate"); again != got {
			t.Errorf("AcceptsGzip(%q) = %v, with deflate added %v", in, got, again)
		}
	})
}

func TestMatchesETag(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want bool
	}{
		{`"a"`, true}, {`W/"a"`, true}, {`"b", "a"`, true}, {` "b" ,W/"a" `, true}, {"*", true}, {" * ", true},
		{`"b"`, false}, {"a", false}, {`"a`, false}, {`"A"`, false}, {"", false}, {`"aa"`, false},
	} {
		if got := symhttp.MatchesETag(tt.in, `"a"`); got != tt.want {
			t.Errorf("MatchesETag(%q, %q) = %v, want %v", tt.in, `"a"`, got, tt.want)
		}
	}
}
