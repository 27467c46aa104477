package replication_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

var loads = []struct{ size, count int }{{16 << 10, 1000}, {1 << 20, 100}, {16 << 20, 16}}

// BenchmarkVerifiedCopy is what repair is measured against: read, hash, write and
// sync one file after the other.
func BenchmarkVerifiedCopy(b *testing.B) {
	for _, l := range loads {
		b.Run(fmt.Sprintf("%d KiB", l.size>>10), func(b *testing.B) {
			from, to := b.TempDir(), b.TempDir()
			for i := range l.count {
				if err := os.WriteFile(filepath.Join(from, fmt.Sprint(i)), raw(i, l.size), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(l.size * l.count))
			for b.Loop() {
				for i := range l.count {
					if err := verifiedCopy(filepath.Join(from, fmt.Sprint(i)), filepath.Join(to, fmt.Sprint(i))); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func verifiedCopy(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(io.MultiWriter(dst, sha256.New()), src); err != nil {
		return err
	}
	return dst.Sync()
}

// BenchmarkRepair has a node that lost its disk bring everything back from two
// others, until all of it is listed again.
func BenchmarkRepair(b *testing.B) {
	for _, l := range loads {
		b.Run(fmt.Sprintf("%d KiB", l.size>>10), func(b *testing.B) {
			c := newCluster(b, 3)
			first, second := c.add(0, options{}), c.add(1, options{})
			var bytes int64
			c.change(func() {
				for i := range l.count {
					e := first.stage("x", raw(i, l.size))
					second.take(first, e)
					bytes += e.Packed.Size
					c.rows[e.Digest] = catalog.Blob{
						Digest: e.Digest, RawSize: e.RawSize, Gen: 1, Refs: 1, Packed: e.Packed,
						Holders: []catalog.NodeID{first.id, second.id},
					}
				}
			})
			b.SetBytes(bytes)
			no := 2
			for b.Loop() {
				n := c.add(no, options{cfg: func(r *replication.Config) { r.Window = 0 }})
				stop := n.run()
				c.await("all copies", func() bool {
					st, err := n.r.Status()
					return err == nil && st.Synced && st.Queue == 0 && st.Missing == 0
				})
				stop()
				b.StopTimer()
				c.change(func() { // it is gone again
					c.ms = c.ms[:2]
					for d, row := range c.rows {
						row.Holders = row.Holders[:2]
						c.rows[d] = row
					}
				})
				no++
				b.StartTimer()
			}
		})
	}
}

// take stores another node's copy.
func (n *testNode) take(from *testNode, e blobstore.Entry) {
	st, err := n.store.Create(e.RawSize)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer st.Abort()
	f, err := os.Open(from.store.Path(e.Digest))
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(st, f); err != nil {
		n.c.t.Fatal(err)
	}
	info := cab.Info{RawSize: e.RawSize, RawSHA256: e.Digest, PackedSize: e.Packed.Size, PackedSHA256: e.Packed.SHA256, Container: cab.Container(e.Packed.Container), Name: e.Name}
	if _, err := st.Commit(info); err != nil {
		n.c.t.Fatal(err)
	}
}
