package replication_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/replication"
)

// simBlobs is how many blobs the simulated clusters hold.
const simBlobs = 10_000_000

// A fleet is a kind of cluster to simulate.
type fleet struct {
	n, replicas int
	zone        func(i int) string
	weight      func(i int) int
}

func (f fleet) layout(rnd *rand.Rand, n int) catalog.Layout {
	l := catalog.Layout{Version: 1, Replicas: f.replicas}
	for i := range n {
		id := catalog.NodeID(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", rnd.Uint32(), rnd.Uint32()>>16, rnd.Uint32()>>20, rnd.Uint32()>>20, rnd.Uint64()>>16))
		node := catalog.LayoutNode{ID: id, Slot: id, Weight: catalog.DefaultWeight}
		if f.zone != nil {
			node.Zone = f.zone(i)
		}
		if f.weight != nil {
			node.Weight = f.weight(i)
		}
		l.Nodes = append(l.Nodes, node)
	}
	return l
}

// blobs throws simBlobs into the partitions; each is of one byte.
func blobs(rnd *rand.Rand) []catalog.PartitionSize {
	sizes := make([]catalog.PartitionSize, catalog.Partitions)
	const mean = simBlobs / catalog.Partitions
	for i := range sizes {
		n := int64(mean + rnd.NormFloat64()*math.Sqrt(mean))
		sizes[i] = catalog.PartitionSize{Blobs: n, Bytes: n}
	}
	return sizes
}

// spreadOf returns the fullest and the emptiest node against what it should hold.
func spreadOf(l catalog.Layout, sizes []catalog.PartitionSize, want func(n catalog.LayoutNode) float64) (most, least float64) {
	p := replication.NewPlacement(l)
	m := replication.Compare(p, p, sizes)
	least = math.Inf(1)
	for _, n := range l.Nodes {
		x := m.Nodes[n.ID].Share / want(n)
		y := float64(m.Nodes[n.ID].Bytes) / (want(n) * simBlobs * float64(l.Replicas))
		most, least = max(most, x, y), min(least, x, y)
	}
	return most, least
}

// simulate draws clusters and returns the worst spread over all of them, and how
// much more than the least moves when a node joins or leaves: on the average and at
// worst.
func simulate(f fleet, draws int, want func(l catalog.Layout, n catalog.LayoutNode) float64) (most, least, mean, worst float64) {
	least = math.Inf(1)
	for seed := range draws {
		rnd := rand.New(rand.NewPCG(uint64(seed), 7))
		big := f.layout(rnd, f.n+1)
		small := big
		small.Nodes = big.Nodes[:f.n]
		sizes := blobs(rnd)
		hi, lo := spreadOf(small, sizes, func(n catalog.LayoutNode) float64 { return want(small, n) })
		most, least = max(most, hi), min(least, lo)
		a, b := replication.NewPlacement(small), replication.NewPlacement(big)
		for _, m := range []replication.Movement{replication.Compare(a, b, sizes), replication.Compare(b, a, sizes)} {
			more := float64(m.Bytes)/float64(m.LeastBytes) - 1
			mean += more / float64(2*draws)
			worst = max(worst, more)
		}
	}
	return most, least, mean, worst
}

func equally(l catalog.Layout, _ catalog.LayoutNode) float64 { return 1 / float64(len(l.Nodes)) }

func byWeight(l catalog.Layout, n catalog.LayoutNode) float64 {
	total := 0
	for _, o := range l.Nodes {
		total += o.Weight
	}
	return float64(n.Weight) / float64(total)
}

func mod(k int) func(int) string { return func(i int) string { return fmt.Sprint("zone ", i%k) } }

// TestBalance: whatever ids the nodes drew, none holds much more or less than its
// share, and little moves beyond what must.
func TestBalance(t *testing.T) {
	for name, tt := range map[string]struct {
		fleet
		draws  int
		off    float64 // from the share, at worst
		moving float64 // beyond the least, at worst
		want   func(catalog.Layout, catalog.LayoutNode) float64
	}{
		"5 nodes":              {fleet{n: 5, replicas: 3}, 10, 0.06, 0.02, equally},
		"20 nodes":             {fleet{n: 20, replicas: 3}, 10, 0.10, 0.05, equally},
		"20 nodes, 2 replicas": {fleet{n: 20, replicas: 2}, 5, 0.10, 0.06, equally},
		"50 nodes":             {fleet{n: 50, replicas: 3}, 4, 0.20, 0.10, equally},
		"20 nodes, 4 zones":    {fleet{n: 20, replicas: 3, zone: mod(4)}, 5, 0.10, 0.25, equally},
		// Two zones of three are left as they were: nothing but the third can change.
		"21 nodes, 3 zones": {fleet{n: 21, replicas: 3, zone: mod(3)}, 5, 0.10, 0.06, equally},
		"20 nodes, weights": {fleet{n: 20, replicas: 3, weight: func(i int) int { return 50 + 50*(i%4) }}, 5, 0.14, 0.10, byWeight},
		"20 nodes in zones of 10, 4, 4 and 2": {fleet{n: 20, replicas: 3, zone: func(i int) string {
			return []string{"a", "a", "a", "a", "a", "b", "b", "c", "c", "d"}[i%10]
		}}, 5, 0.11, 0.25, func(l catalog.Layout, n catalog.LayoutNode) float64 {
			// The large zone holds one copy of everything, the others share two.
			in := 0
			for _, o := range l.Nodes {
				if o.Zone == n.Zone {
					in++
				}
			}
			switch n.Zone {
			case "a":
				return 1. / 3 / float64(in)
			}
			return 2. / 3 / 10
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			most, least, mean, worst := simulate(tt.fleet, tt.draws, tt.want)
			t.Logf("%d draws: fullest %+.1f %%, emptiest %+.1f %%; moved beyond the least: %.1f %% on the average, %.1f %% at worst",
				tt.draws, 100*most-100, 100*least-100, 100*mean, 100*worst)
			if most > 1+tt.off || least < 1-tt.off {
				t.Errorf("nodes hold %.3f to %.3f of their share, want at most %.2f off", least, most, tt.off)
			}
			if worst > tt.moving {
				t.Errorf("a change moved %.3f more than it must, want at most %.2f", worst, tt.moving)
			}
		})
	}
}

// TestBalanceKeepsThePromises: trimming changes neither that owners are distinct nor
// that zones are, and a replacement moves nothing.
func TestBalanceKeepsThePromises(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for _, f := range []fleet{
		{n: 20, replicas: 3, zone: mod(4)}, {n: 7, replicas: 5, zone: mod(2)}, {n: 4, replicas: 16}, {n: 1, replicas: 3},
		{n: 6, replicas: 3, weight: func(i int) int { return 1 + i*i*i*40 }},
		{n: 12, replicas: 3, zone: func(i int) string { return fmt.Sprint(i * i / 40) }},
	} {
		l := f.layout(rnd, f.n)
		zone, zones := map[catalog.NodeID]string{}, map[string]bool{}
		for _, n := range l.Nodes {
			zone[n.ID], zones[n.Zone] = n.Zone, true
		}
		swapped := l
		swapped.Nodes = slices.Clone(l.Nodes)
		swapped.Nodes[0].ID = "ffffffff-0000-4000-8000-000000000000" // in the slot of the old one
		p, q := replication.NewPlacement(l), replication.NewPlacement(swapped)
		eachPartition(func(d catalog.Digest) {
			owners, order := p.Owners(d), p.Order(d)
			distinct, in := map[catalog.NodeID]bool{}, map[string]bool{}
			for _, o := range owners {
				distinct[o], in[zone[o]] = true, true
			}
			if want := min(f.n, f.replicas); len(owners) != want || len(distinct) != want || len(in) != min(want, len(zones)) {
				t.Fatalf("%+v: owners %v in %d zones, want %d in as many zones as there are", f, owners, len(in), want)
			}
			if len(order) != f.n || !slices.Equal(order[:len(owners)], owners) {
				t.Fatalf("%+v: order %v does not begin with the owners %v", f, order, owners)
			}
			for i, o := range q.Order(d) {
				if o != order[i] && (o != swapped.Nodes[0].ID || order[i] != l.Nodes[0].ID) {
					t.Fatalf("%+v: order with a replacement %v, want %v", f, q.Order(d), order)
				}
			}
		})
	}
}

func TestCompare(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	l := fleet{n: 6, replicas: 3}.layout(rnd, 6)
	sizes := blobs(rnd)
	p := replication.NewPlacement(l)
	if m := replication.Compare(p, p, sizes); m.Blobs != 0 || m.Bytes != 0 || m.LeastBytes != 0 || m.Partitions != 0 || len(m.Nodes) != 6 {
		t.Errorf("Compare of equals = %+v, want nothing moved", m)
	}
	five := l
	five.Nodes = l.Nodes[:5]
	gone := l.Nodes[5].ID
	m := replication.Compare(p, replication.NewPlacement(five), sizes)
	out := m.Nodes[gone]
	if out.NewBytes != 0 || out.NewShare != 0 || out.InBytes != 0 || out.Bytes == 0 {
		t.Errorf("the node that goes: %+v, want all it holds gone", out)
	}
	var in, now, then int64
	for _, n := range m.Nodes {
		in, then, now = in+n.InBytes, then+n.Bytes, now+n.NewBytes
	}
	if in != m.Bytes || now != then || m.LeastBytes > m.Bytes || m.LeastBytes < out.Bytes {
		t.Errorf("Compare = %+v: %d bytes in, %d before, %d after; want all of %d made anew", m, in, then, now, out.Bytes)
	}
	two := five
	two.Replicas = 2
	if m := replication.Compare(replication.NewPlacement(five), replication.NewPlacement(two), sizes); m.Bytes != 0 || m.Partitions != catalog.Partitions {
		t.Errorf("fewer replicas: %d bytes move, %d partitions change, want none and all", m.Bytes, m.Partitions)
	}
	if m := replication.Compare(p, replication.NewPlacement(five), nil); m.Partitions == 0 || m.Bytes != 0 {
		t.Errorf("without sizes: %+v, want the partitions alone", m)
	}
}

func BenchmarkNewPlacement(b *testing.B) {
	for _, n := range []int{3, 20, 50, 200, 1000} {
		l := fleet{n: n, replicas: 3, zone: mod(5)}.layout(rand.New(rand.NewPCG(1, 1)), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				replication.NewPlacement(l)
			}
		})
	}
}
