package symhttp_test

import (
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"symkeep/symhttp"
)

// BenchmarkAnswer measures the handler alone, without the connection: a small hit that
// was asked for before, in two forms, and a miss.
func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b)
	w.add(b, "foo.pdb", noise(16<<10, 1), pdbKey)
	s, err := symhttp.NewPublic(testConfig(), w.public(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name, path, encoding string
		status               int
	}{
		{"raw", pdbPath, "", 200},
		{"gzip", pdbPath, "deflate, gzip, br, zstd", 200},
		{"cabinet", pdbCab, "", 200},
		{"miss", exePath, "", 404},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var rc fasthttp.RequestCtx
			var req fasthttp.Request
			req.SetRequestURI(bb.path)
			if bb.encoding != "" {
				req.Header.Set("Accept-Encoding", bb.encoding)
			}
			rc.Init(&req, &net.TCPAddr{}, nil)
			b.ReportAllocs()
			for b.Loop() {
				rc.Response.Reset()
				s.Handler()(&rc)
				if rc.Response.StatusCode() != bb.status {
					b.Fatalf("status %d, want %d", rc.Response.StatusCode(), bb.status)
				}
			}
		})
	}
}

// TestHitGarbage: a hit from memory leaves little for the collector, however large the
// answer is.
func TestHitGarbage(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(16<<10, 1), pdbKey)
	s, err := symhttp.NewPublic(testConfig(), w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	var rc fasthttp.RequestCtx
	var req fasthttp.Request
	req.SetRequestURI(pdbPath)
	rc.Init(&req, &net.TCPAddr{}, nil)
	allocs := testing.AllocsPerRun(1000, func() {
		rc.Response.Reset()
		s.Handler()(&rc)
	})
	if rc.Response.StatusCode() != 200 || len(rc.Response.Body()) != 16<<10 {
		t.Fatalf("status %d, %d bytes", rc.Response.StatusCode(), len(rc.Response.Body()))
	}
	if allocs > 8 { // the path, its keys, the index key of this test's locator
		t.Errorf("a hit allocates %v times, want at most 8", allocs)
	}
}
