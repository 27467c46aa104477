package replication

import (
	"bytes"
	"container/list"
	"context"
	"os"
	"sync"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

const (
	memorySize = 32 << 20  // bytes kept
	memoryMost = readBlock // bytes of the largest blob kept
)

// A memory keeps the packed bytes of small blobs that other members gave, so that
// asking for the same one again costs neither them nor the network anything. All it
// keeps has been verified.
type memory struct {
	limit int

	mu    sync.Mutex
	size  int
	blobs map[catalog.Digest]*list.Element
	order *list.List // of *kept, latest use first
}

type kept struct {
	digest catalog.Digest
	packed catalog.Packed
	data   []byte
}

func newMemory(limit int) *memory {
	return &memory{limit: limit, blobs: make(map[catalog.Digest]*list.Element), order: list.New()}
}

// get returns the packed bytes of a blob in that form, or nil. They must not be
// changed.
func (m *memory) get(row catalog.Blob) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.blobs[row.Digest]
	if !ok || el.Value.(*kept).packed != row.Packed {
		return nil
	}
	m.order.MoveToFront(el)
	return el.Value.(*kept).data
}

// put keeps data if it is the packed form of the row, instead of what was used least
// lately.
func (m *memory) put(ctx context.Context, row catalog.Blob, data []byte) {
	info, err := cab.Verify(ctx, bytes.NewReader(data), int64(len(data)))
	if err != nil || catalog.Digest(info.RawSHA256) != row.Digest || catalog.Digest(info.PackedSHA256) != row.Packed.SHA256 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.blobs[row.Digest])
	m.blobs[row.Digest] = m.order.PushFront(&kept{row.Digest, row.Packed, data})
	for m.size += len(data); m.size > m.limit; {
		m.drop(m.order.Back())
	}
}

// forget drops a blob.
func (m *memory) forget(d catalog.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.blobs[d])
}

func (m *memory) drop(el *list.Element) {
	if el == nil {
		return
	}
	k := m.order.Remove(el).(*kept)
	delete(m.blobs, k.digest)
	m.size -= len(k.data)
}

// keptBlob is one that is in memory.
type keptBlob struct{ *bytes.Reader }

// Close implements Blob.
func (keptBlob) Close() error { return nil }

// File implements Blob.
func (keptBlob) File() *os.File { return nil }
