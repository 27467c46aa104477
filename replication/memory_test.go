package replication

import (
	"context"
	"testing"

	"symkeep/internal/cab/cabtest"
	"symkeep/internal/catalog"
)

// packedBlob returns the packed bytes of so many random ones, and their row.
func packedBlob(t *testing.T, seed uint64, size int) (catalog.Blob, []byte) {
	t.Helper()
	info, data := cabtest.Random(t, seed, size)
	return catalog.Blob{Digest: info.RawSHA256, Packed: catalog.Packed{
		SHA256: info.PackedSHA256, Size: info.PackedSize, Container: catalog.Container(info.Container)}}, data
}

// TestMemory: it keeps what it is given within its limit, what was asked for lately
// rather than what was not, and nothing that is not the packed form of its row.
func TestMemory(t *testing.T) {
	ctx := context.Background()
	var rows []catalog.Blob
	var datas [][]byte
	for i := range 4 {
		row, data := packedBlob(t, uint64(i), 50_000)
		rows, datas = append(rows, row), append(datas, data)
	}
	m := newMemory(2*len(datas[0]) + 1000)
	has := func(want ...bool) {
		t.Helper()
		for i, w := range want {
			if got := m.get(rows[i]) != nil; got != w {
				t.Errorf("blob %d is there: %v, want %v", i, got, w)
			}
		}
	}
	m.put(ctx, rows[0], datas[1])
	flipped := append([]byte(nil), datas[0]...)
	flipped[len(flipped)/2] ^= 1
	m.put(ctx, rows[0], flipped)
	has(false)
	m.put(ctx, rows[0], datas[0])
	m.put(ctx, rows[1], datas[1])
	m.put(ctx, rows[1], datas[1]) // twice is once
	has(true, true)
	m.get(rows[0])
	m.put(ctx, rows[2], datas[2])
	has(true, false, true, false)
	other := rows[0]
	other.Packed.SHA256[0]++
	if m.get(other) != nil {
		t.Error("another form of a blob is given")
	}
	m.forget(rows[0].Digest)
	m.forget(rows[3].Digest)
	m.put(ctx, rows[3], datas[3])
	has(false, false, true, true)
	if m.size > m.limit || len(m.blobs) != m.order.Len() {
		t.Errorf("%d bytes, %d blobs, %d in order, want at most %d bytes and as many blobs", m.size, len(m.blobs), m.order.Len(), m.limit)
	}
}
