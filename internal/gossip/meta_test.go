package gossip_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
)

const (
	clusterA = "6f1a1d0c-9a3e-4b6f-8a53-0c1f6d2f7b10"
	clusterB = "0b9cf5a2-21c4-4d55-9e9a-3f1fb1c2d301"
	nodeA    = "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	nodeB    = "22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
	nodeC    = "33333333-cccc-4ccc-8ccc-cccccccccccc"
)

func fullMeta() gossip.Meta {
	return gossip.Meta{
		ClusterID: clusterA, NodeID: nodeA, Name: "größe:8481", PeerAddr: "10.0.0.1:8481",
		HTTPAddr: "[fd00::1]:8480", Zone: "rack 4", Version: "1.2.3", Flags: gossip.Draining | 0x8000,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for _, m := range []gossip.Meta{fullMeta(), {NodeID: nodeA}} {
		b, err := m.Encode()
		if err != nil {
			t.Fatalf("Encode(%+v): %v", m, err)
		}
		if got, err := gossip.DecodeMeta(b); err != nil || got != m {
			t.Errorf("DecodeMeta = %+v, %v, want %+v", got, err, m)
		}
		if got, err := gossip.DecodeMeta(append(b, "a later field"...)); err != nil || got != m {
			t.Errorf("DecodeMeta with a later field = %+v, %v, want %+v", got, err, m)
		}
	}
}

func TestMetaBounds(t *testing.T) {
	edit := func(f func(*gossip.Meta)) gossip.Meta { m := fullMeta(); f(&m); return m }
	long := strings.Repeat("x", 121)
	for name, m := range map[string]gossip.Meta{
		"no node id":       edit(func(m *gossip.Meta) { m.NodeID = "" }),
		"node id in upper": edit(func(m *gossip.Meta) { m.NodeID = catalog.NodeID(strings.ToUpper(nodeA)) }),
		"bad cluster id":   edit(func(m *gossip.Meta) { m.ClusterID = "cluster" }),
		"long name":        edit(func(m *gossip.Meta) { m.Name = long }),
		"not UTF-8":        edit(func(m *gossip.Meta) { m.Zone = "\xff" }),
		"sum over 512": edit(func(m *gossip.Meta) {
			m.Name, m.PeerAddr, m.HTTPAddr, m.Zone = long[1:], long[1:], long[1:], long[1:]
		}),
	} {
		if _, err := m.Encode(); !errors.Is(err, gossip.ErrBadMeta) {
			t.Errorf("Encode, %s: error = %v, want %v", name, err, gossip.ErrBadMeta)
		}
	}
	good, err := fullMeta().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := gossip.DecodeMeta(good[:n]); !errors.Is(err, gossip.ErrBadMeta) {
			t.Errorf("DecodeMeta of the first %d bytes: error = %v, want %v", n, err, gossip.ErrBadMeta)
		}
	}
	if _, err := gossip.DecodeMeta(append([]byte{2}, good[1:]...)); !errors.Is(err, gossip.ErrBadMeta) {
		t.Errorf("DecodeMeta of format 2: error = %v, want %v", err, gossip.ErrBadMeta)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	b, _ := fullMeta().Encode()
	f.Add(b)
	f.Add([]byte{})
	f.Add(append(append([]byte{1}, make([]byte, 34)...), bytes.Repeat([]byte{255}, 300)...)) // a text of 255 bytes
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := gossip.DecodeMeta(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("Encode(%+v): %v", m, err)
		}
		if got, err := gossip.DecodeMeta(again); err != nil || got != m {
			t.Fatalf("decoded again = %+v, %v, want %+v", got, err, m)
		}
	})
}
