package replication_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/replication"
)

func member(i int, zone string) catalog.Member {
	return catalog.Member{ID: catalog.NodeID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)), Zone: zone}
}

func members(n, zones int) []catalog.Member {
	var ms []catalog.Member
	for i := range n {
		ms = append(ms, member(i, fmt.Sprint("zone ", i%zones)))
	}
	return ms
}

// place returns the placement of a member table in a cluster whose layouts have
// versions.
func place(ms []catalog.Member, replicas int) *replication.Placement {
	return placeAt(1, ms, replicas)
}

func placeAt(version uint64, ms []catalog.Member, replicas int) *replication.Placement {
	l := catalog.LayoutOf(ms, replicas)
	l.Version = version
	return replication.NewPlacement(l)
}

// eachPartition calls f with one digest of every partition.
func eachPartition(f func(d catalog.Digest)) {
	for p := range 4096 {
		f(catalog.Digest{byte(p >> 4), byte(p << 4), 7})
	}
}

// TestPlainPlacementIsForever: an upgraded cluster moves nothing before its feature
// level is raised. The sums were computed by the build before layouts had versions.
func TestPlainPlacementIsForever(t *testing.T) {
	for _, tt := range []struct {
		n, zones, replicas int
		sum                string
	}{
		{1, 1, 3, "dc8393868994362cbbd4cdf1765978ab7bbe1313f4abc50c5f3d3220d2e27e31"},
		{3, 1, 2, "2feb59015ea804063f7d7260971fe555bb291a028cd5d1c56d270d5814accbcb"},
		{5, 1, 3, "382afa61efd6ce148b28e42b256c72ed81b1d3dc4195d00fa3b2f3861c40af58"},
		{9, 3, 3, "ce2e37127583b772c5970ac33cf250d6b0f4e5f593960d1eaff921d375e0cfcf"},
		{20, 4, 3, "98b33ffe372bea29af1284b91658416195ea22d79e74d17b0a80f70cc1c6c6d4"},
		{50, 1, 3, "30828a0f38a2159ad0021ec77d31a18060fa4706c7eef61d25c5db1fbc8f764a"},
	} {
		ms := members(tt.n, tt.zones)
		if tt.n == 9 {
			ms[2].Draining = true
			ms[4].Slot = member(77, "").ID
			ms[5].Weight = 300 // there is no such thing below feature level 2
		}
		p := placeAt(0, ms, tt.replicas)
		h := sha256.New()
		eachPartition(func(d catalog.Digest) { fmt.Fprintln(h, p.Order(d), p.Owners(d)) })
		if got := hex.EncodeToString(h.Sum(nil)); got != tt.sum {
			t.Errorf("placement of %d members in %d zones has sum %s, want %s", tt.n, tt.zones, got, tt.sum)
		}
	}
}

func TestPlacementIgnoresOrder(t *testing.T) {
	for _, zones := range []int{1, 3} {
		ms := members(9, zones)
		want := place(ms, 3)
		for range 5 {
			rand.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
			got := place(ms, 3)
			eachPartition(func(d catalog.Digest) {
				if !slices.Equal(got.Order(d), want.Order(d)) {
					t.Fatalf("%d zones, %s: Order = %v, want %v", zones, d, got.Order(d), want.Order(d))
				}
			})
		}
	}
}

// TestPlainPlacementMovesLeast: without trimming, no copy moves that need not.
func TestPlainPlacementMovesLeast(t *testing.T) {
	for _, tt := range []struct{ n, zones, replicas int }{{3, 1, 2}, {5, 1, 3}, {6, 3, 3}, {7, 4, 3}, {4, 2, 3}} {
		ms := members(tt.n, tt.zones)
		before := placeAt(0, ms, tt.replicas)
		added := member(100, fmt.Sprint("zone ", tt.zones/2))
		after := placeAt(0, append(slices.Clone(ms), added), tt.replicas)
		moved := 0
		eachPartition(func(d catalog.Digest) {
			old, now := before.Owners(d), after.Owners(d)
			var gone, come []catalog.NodeID
			for _, n := range old {
				if !slices.Contains(now, n) {
					gone = append(gone, n)
				}
			}
			for _, n := range now {
				if !slices.Contains(old, n) {
					come = append(come, n)
				}
			}
			// A new member takes a place or it does not; nobody else gets one. The
			// same, read backwards, is a member that goes.
			if len(come) > 1 || (len(come) == 1 && come[0] != added.ID) || len(gone) != len(come) {
				t.Fatalf("%+v, %s: %v became %v", tt, d, old, now)
			}
			moved += len(come)
		})
		if tt.zones == 1 {
			want := 4096 * tt.replicas / (tt.n + 1)
			if moved < want*85/100 || moved > want*115/100 {
				t.Errorf("%+v: %d copies moved to the new member, want about %d", tt, moved, want)
			}
		}
	}
}

func TestPlacementZones(t *testing.T) {
	zone := map[catalog.NodeID]string{}
	ms := members(8, 3)
	for _, m := range ms {
		zone[m.ID] = m.Zone
	}
	for replicas, want := range map[int]int{2: 2, 3: 3, 5: 3} {
		p := place(ms, replicas)
		eachPartition(func(d catalog.Digest) {
			seen := map[string]bool{}
			for _, n := range p.Owners(d) {
				seen[zone[n]] = true
			}
			if len(p.Owners(d)) != replicas || len(seen) != want {
				t.Fatalf("%d replicas, %s: owners %v in %d zones, want %d", replicas, d, p.Owners(d), len(seen), want)
			}
		})
	}
}

func TestPlacementSlotDrainAndBalance(t *testing.T) {
	ms := members(5, 1)
	p := place(ms, 2)
	count := map[catalog.NodeID]int{}
	eachPartition(func(d catalog.Digest) {
		for _, n := range p.Owners(d) {
			count[n]++
		}
	})
	for n, c := range count {
		if c < 1400 || c > 1900 {
			t.Errorf("member %s owns %d of 4096 partitions, want about 1638", n, c)
		}
	}
	replaced := slices.Clone(ms)
	replaced[2] = member(50, "zone 0")
	replaced[2].Slot = ms[2].ID
	q := place(replaced, 2)
	draining := slices.Clone(ms)
	draining[0].Draining = true
	dr := place(draining, 2)
	eachPartition(func(d catalog.Digest) {
		want := p.Owners(d)
		for i, n := range want {
			if n == ms[2].ID {
				want[i] = replaced[2].ID
			}
		}
		if got := q.Owners(d); !slices.Equal(got, want) {
			t.Fatalf("%s: owners with a replacement = %v, want %v", d, got, want)
		}
		if slices.Contains(dr.Order(d), ms[0].ID) {
			t.Fatalf("%s: a draining member is placed: %v", d, dr.Order(d))
		}
	})
	if got := place(ms[:1], 3).Owners(catalog.Digest{}); len(got) != 1 {
		t.Errorf("owners in a cluster of one = %v, want it alone", got)
	}
	if got := place(nil, 3).Owners(catalog.Digest{}); len(got) != 0 {
		t.Errorf("owners in no cluster = %v, want none", got)
	}
}
