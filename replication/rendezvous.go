package replication

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"symkeep/internal/catalog"
)

// uniform maps a slot and a partition to a number above 0 and below 1.
func uniform(slot catalog.NodeID, part uint16) float64 {
	var buf [64]byte
	sum := sha256.Sum256(append(append(buf[:0], byte(part>>8), byte(part)), slot...))
	return (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
}

// rankPlain orders the candidates of one partition for a layout of version 0: the
// best of each zone by score, then the others by score. It is what every build
// before feature level 2 computes and must never change.
func rankPlain(cs []candidate, part uint16) []uint16 {
	scores := make([]float64, len(cs))
	for i, c := range cs {
		scores[i] = 1 / -math.Log(uniform(c.slot, part))
	}
	return byZone(cs, func(a, b uint16) int { return cmp.Compare(scores[b], scores[a]) })
}

// byZone sorts the candidates and puts the best of each zone first. Equals go by
// position, that is by slot.
func byZone(cs []candidate, compare func(a, b uint16) int) []uint16 {
	order := make([]uint16, len(cs))
	zones := 0
	for i, c := range cs {
		order[i] = uint16(i)
		zones = max(zones, c.zone+1)
	}
	slices.SortStableFunc(order, compare)
	seen := make([]bool, zones)
	first, rest := make([]uint16, 0, len(cs)), make([]uint16, 0, len(cs))
	for _, i := range order {
		if z := cs[i].zone; seen[z] {
			rest = append(rest, i)
		} else {
			seen[z] = true
			first = append(first, i)
		}
	}
	return append(first, rest...)
}

// race is the rendezvous of all candidates in all partitions: in each the lowest
// finish wins. A finish is an exponential variate times the handicap, which is one
// over the weight, trimmed.
type race struct {
	cs       []candidate
	zones    int
	replicas int       // owners of each partition
	variates []float64 // partition by partition
	handicap []float64
	targets  []float64 // copies each should own, of partitions*replicas
	loads    []int     // copies each owns

	best, picked []int // scratch of owners
}

func newRace(cs []candidate, replicas int) *race {
	r := &race{
		cs: cs, replicas: min(replicas, len(cs)), variates: make([]float64, partitions*len(cs)),
		handicap: make([]float64, len(cs)), loads: make([]int, len(cs)),
	}
	for i, c := range cs {
		r.zones = max(r.zones, c.zone+1)
		r.handicap[i] = 1 / float64(c.weight)
		for part := range partitions {
			r.variates[part*len(cs)+i] = -logarithm(uniform(c.slot, uint16(part)))
		}
	}
	r.targets = targets(cs, r.zones, r.replicas)
	r.best = make([]int, r.zones)
	return r
}

func (r *race) finish(part, i int) float64 { return r.variates[part*len(r.cs)+i] * r.handicap[i] }

// rank returns the candidates of a partition, best first.
func (r *race) rank(part int) []uint16 {
	return byZone(r.cs, func(a, b uint16) int { return cmp.Compare(r.finish(part, int(a)), r.finish(part, int(b))) })
}

// owners returns the first of rank, without sorting the others. The result is good
// until the next call.
func (r *race) owners(part int) []int {
	f := r.variates[part*len(r.cs) : (part+1)*len(r.cs)]
	for z := range r.best {
		r.best[z] = -1
	}
	for i, v := range f {
		z := r.cs[i].zone
		if b := r.best[z]; b < 0 || v*r.handicap[i] < f[b]*r.handicap[b] {
			r.best[z] = i
		}
	}
	r.picked = r.picked[:0]
	for _, i := range r.best {
		r.pick(part, i, 0, r.replicas)
	}
	if fixed := len(r.picked); fixed < r.replicas {
		for i := range f {
			if r.best[r.cs[i].zone] != i {
				r.pick(part, i, fixed, r.replicas)
			}
		}
	}
	return r.picked
}

// pick inserts a candidate among the picked ones from a position on, of which at
// most limit are kept.
func (r *race) pick(part, i, from, limit int) {
	at := len(r.picked)
	for at > from && r.finish(part, i) < r.finish(part, r.picked[at-1]) {
		at--
	}
	if at < limit {
		r.picked = slices.Insert(r.picked, at, i)
		r.picked = r.picked[:min(len(r.picked), limit)]
	}
}

// logarithm is math.Log for numbers above 0 and below 1, rounded the same on every
// machine: some have an instruction or a fused multiply-add that math.Log uses.
// After FreeBSD's e_log.c, as math.Log is.
func logarithm(x float64) float64 {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		l1    = 6.666666666666735130e-01
		l2    = 3.999999999940941908e-01
		l3    = 2.857142874366239149e-01
		l4    = 2.222219843214978396e-01
		l5    = 1.818357216161805012e-01
		l6    = 1.531383769920937332e-01
		l7    = 1.479819860511658591e-01
	)
	f, exp := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f *= 2
		exp--
	}
	f--
	k := float64(exp)
	// Each product is converted, so that it is rounded before it is added.
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	t1 := float64(s2 * (l1 + float64(s4*(l3+float64(s4*(l5+float64(s4*l7)))))))
	t2 := float64(s4 * (l2 + float64(s4*(l4+float64(s4*l6)))))
	half := float64(float64(0.5*f) * f)
	return float64(k*ln2Hi) - ((half - (float64(s*(f+half+t1+t2)) + float64(k*ln2Lo))) - f)
}
