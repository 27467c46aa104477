package replication

import "math"

// targets returns how many of the copies of all partitions each candidate should
// own: by weight, as far as distinct zones first and one copy per node allow. A zone
// owns one copy of each partition if there are no more zones than replicas, and at
// most one if there are more.
func targets(cs []candidate, zones, replicas int) []float64 {
	out := make([]float64, len(cs))
	if len(cs) == 0 {
		return out
	}
	weights, low, high := make([]float64, zones), make([]float64, zones), make([]float64, zones)
	for _, c := range cs {
		weights[c.zone] += float64(c.weight)
		high[c.zone]++
	}
	for z := range zones {
		if zones < replicas {
			low[z] = 1
		} else {
			high[z] = 1
		}
	}
	shares := fill(weights, low, high, float64(replicas))
	for z, share := range shares {
		var in []int
		var w, none, one []float64
		for i, c := range cs {
			if c.zone == z {
				in, w, none, one = append(in, i), append(w, float64(c.weight)), append(none, 0), append(one, 1)
			}
		}
		for j, s := range fill(w, none, one, share) {
			out[in[j]] = s * partitions
		}
	}
	return out
}

// fill divides total by weight, no part below its low or above its high bound.
func fill(weights, low, high []float64, total float64) []float64 {
	out := make([]float64, len(weights))
	at := func(level float64) (sum float64) {
		for i, w := range weights {
			out[i] = min(high[i], max(low[i], float64(w*level)))
			sum += out[i]
		}
		return sum
	}
	lo, hi := 0.0, 1.0
	for range 64 {
		if at(hi) >= total || math.IsInf(hi, 1) {
			break
		}
		hi *= 2
	}
	for range 64 {
		if mid := (lo + hi) / 2; at(mid) < total {
			lo = mid
		} else {
			hi = mid
		}
	}
	at(hi)
	return out
}

// trimRounds bounds the work of trim; a dozen are enough for any cluster that can
// be evened out at all.
const trimRounds = 40

// band is the part of its target that a candidate may own more or less: twice the
// standard deviation that rendezvous hashing has of itself, nearly, but at least 5 %.
// A narrower one evens out more and moves more copies when members come and go;
// docs/scale.md has the figures.
func band(target float64) float64 { return max(0.05, 1.9/math.Sqrt(max(1, target))) }

// trim changes the handicaps of candidates that own too much or too little, until
// none does or until it is clear that it cannot be had.
func (r *race) trim() {
	for range trimRounds {
		r.count()
		even := true
		for i, t := range r.targets {
			load, most, least := float64(r.loads[i]), t*(1+band(t)), t*(1-band(t))
			switch {
			case load > math.Ceil(most):
				r.handicap[i] *= load / most
			case load < math.Floor(least):
				r.handicap[i] *= max(load, 0.5) / least
			default:
				continue
			}
			even = false
		}
		if even {
			return
		}
	}
}

// count finds out what each candidate owns.
func (r *race) count() {
	clear(r.loads)
	for part := range partitions {
		for _, i := range r.owners(part) {
			r.loads[i]++
		}
	}
}
