package raftfsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// AllKinds lists every kind this build decodes.
func AllKinds() []Kind { return slices.Sorted(maps.Keys(kinds)) }

// DecodeBlobRow decodes and encodes a blob row again.
func DecodeBlobRow(b []byte) ([]byte, error) {
	r, err := decodeBlob(b)
	if err != nil {
		return nil, err
	}
	return r.encode(), nil
}

// Dump returns every row of the catalog as text, one per line, but for those that
// each command changes: head and hashes.
func Dump(f *FSM) string {
	var out strings.Builder
	eachRow(f, func(name, k, v []byte) { fmt.Fprintf(&out, "%s %q %q\n", name, k, v) })
	return out.String()
}

// Sum is a hash over what Dump returns and all of the head that a refused command
// must leave alone.
func Sum(f *FSM) uint64 {
	h := *f.head.Load()
	h.AppliedIndex, h.AppliedTerm, h.LastCommand, h.Hash = 0, 0, 0, catalog.Digest{}
	sum := fnv.New64a()
	sum.Write(mustJSON(h))
	eachRow(f, func(name, k, v []byte) {
		sum.Write(name)
		sum.Write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(k))), uint64(len(v))))
		sum.Write(k)
		sum.Write(v)
	})
	return sum.Sum64()
}

func eachRow(f *FSM, fn func(bucket, k, v []byte)) {
	err := f.view(func(tx *bolt.Tx) error {
		for _, name := range bucketsOf(f.FeatureLevel()) {
			if bytes.Equal(name, bucketHashes) {
				continue
			}
			c := tx.Bucket(name).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if !bytes.Equal(k, keyHead) || !bytes.Equal(name, bucketMeta) {
					fn(name, k, v)
				}
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// HeadJSON returns the head row as it is stored and as views see it.
func HeadJSON(f *FSM) (stored, seen string) {
	err := f.view(func(tx *bolt.Tx) error {
		stored = string(tx.Bucket(bucketMeta).Get(keyHead))
		return nil
	})
	if err != nil {
		panic(err)
	}
	return stored, string(mustJSON(f.head.Load()))
}

// CheckInvariants recounts the whole catalog and returns what does not hold.
func CheckInvariants(f *FSM) []string {
	c := &checker{head: f.head.Load()}
	err := f.view(func(tx *bolt.Tx) error {
		c.tx = tx
		c.packages()
		c.references()
		c.candidates()
		c.names()
		c.notices()
		c.operate()
		return nil
	})
	if err != nil {
		c.fail("%v", err)
	}
	if stored, seen := HeadJSON(f); stored != seen {
		c.fail("stored head is %s, views see %s", stored, seen)
	}
	return c.broken
}

type checker struct {
	tx     *bolt.Tx
	head   *head
	broken []string
}

func (c *checker) fail(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

func (c *checker) each(bucket []byte, fn func(k, v []byte)) {
	err := c.tx.Bucket(bucket).ForEach(func(k, v []byte) error {
		fn(k, v)
		return nil
	})
	if err != nil {
		c.fail("bucket %s: %v", bucket, err)
	}
}

// packages compares each index with what the package rows derive.
func (c *checker) packages() {
	want, states := map[string]string{}, map[catalog.State]int{}
	c.each(bucketPackages, func(k, v []byte) {
		r := decodePackage(v)
		states[r.State]++
		for _, e := range r.derived() {
			want[string(e.bucket)+"\x00"+string(e.key)] = string(e.value)
		}
		c.counts(r)
	})
	if !maps.Equal(states, c.head.States) {
		c.fail("states counted %v, recount %v", c.head.States, states)
	}
	got := map[string]string{}
	for _, b := range [][]byte{bucketProducts, bucketIdempotent, bucketLeases, bucketQueue, bucketClaims, bucketVisible, bucketSweep} {
		c.each(b, func(k, v []byte) {
			if bytes.Equal(b, bucketSweep) && k[8] == sweepNotice {
				return
			}
			got[string(b)+"\x00"+string(k)] = string(v)
		})
	}
	if !maps.Equal(got, want) {
		c.fail("index entries %q, derived %q", got, want)
	}
}

// counts recounts files, bytes and findings of a package that is still whole.
func (c *checker) counts(r *packageRow) {
	if r.Swept > 0 || r.Released || r.State == catalog.StatePurged {
		return
	}
	files, reported, size := 0, 0, int64(0)
	for _, k := range prefixKeys(c.tx.Bucket(bucketFiles), []byte(r.ID), []byte(r.ID), 1<<20) {
		f := decodeFile(c.tx.Bucket(bucketFiles).Get(k))
		size += f.size
		if files != fileNo(k) {
			c.fail("package %s: file %d follows file %d", r.ID, fileNo(k), files-1)
		}
		files++
		if r.activeToken() != 0 && f.Token == r.activeToken() {
			reported++
		}
	}
	if files != r.Files || size != r.Bytes || reported != r.Reported {
		c.fail("package %s: %d files, %d bytes, %d reported; recount %d, %d, %d", r.ID, r.Files, r.Bytes, r.Reported, files, size, reported)
	}
	if r.activeToken() == 0 {
		return
	}
	var p catalog.Package
	prefix := findingPrefix(r.ID, r.activeToken(), -1)[:packageLen+8]
	for _, k := range prefixKeys(c.tx.Bucket(bucketFindings), prefix, prefix, 1<<20) {
		p.Count([]catalog.Finding{decodeFinding(c.tx.Bucket(bucketFindings).Get(k))})
	}
	if p.Errors != r.Errors || p.Warnings != r.Warnings || p.Infos != r.Infos {
		c.fail("package %s: findings %d %d %d, recount %d %d %d", r.ID, r.Errors, r.Warnings, r.Infos, p.Errors, p.Warnings, p.Infos)
	}
	if (r.State == catalog.StateGood && r.Errors > 0) || (r.State == catalog.StateFailed && r.Errors == 0) {
		c.fail("package %s: %s with %d errors", r.ID, r.State, r.Errors)
	}
}

// references compares reference counts, the histogram and the idle list with the
// file and blob rows.
func (c *checker) references() {
	refs := map[catalog.Digest]uint64{}
	c.each(bucketFiles, func(k, v []byte) {
		f := decodeFile(v)
		if f.released {
			return
		}
		refs[f.digest]++
		if c.tx.Bucket(bucketRefs).Get(append(f.digest[:], k...)) == nil {
			c.fail("file %q: no row in refs", k)
		}
	})
	total := 0
	c.each(bucketRefs, func(k, v []byte) { total++ })
	histogram, idle := []int{}, map[string]bool{}
	for _, n := range refs {
		total -= int(n)
	}
	if total != 0 {
		c.fail("refs has %d rows too many", total)
	}
	c.each(bucketBlobs, func(k, v []byte) {
		d, r := catalog.Digest(k), mustBlob(v)
		if r.refs != refs[d] {
			c.fail("blob %s: %d references, recount %d", d, r.refs, refs[d])
		}
		delete(refs, d)
		if r.refs > 0 && (r.retired || r.idleAt != 0) {
			c.fail("blob %s: referenced and retired or idle: %+v", d, r)
		}
		if r.refs > 0 && r.isPacked() {
			for len(histogram) <= len(r.holders) {
				histogram = append(histogram, 0)
			}
			histogram[len(r.holders)]++
		}
		if r.idle() {
			idle[string(timeKey(r.idleAt, k))] = true
		}
	})
	if len(refs) != 0 {
		c.fail("referenced blobs without a row: %v", refs)
	}
	have := slices.Clone(c.head.Histogram)
	for len(have) > 0 && have[len(have)-1] == 0 {
		have = have[:len(have)-1]
	}
	if !slices.Equal(have, histogram) {
		c.fail("histogram %v, recount %v", have, histogram)
	}
	c.each(bucketIdle, func(k, v []byte) {
		if !idle[string(k)] {
			c.fail("idle row %q: its blob is not idle", k)
		}
		delete(idle, string(k))
	})
	if len(idle) != 0 {
		c.fail("%d idle blobs without a row", len(idle))
	}
}

// candidates checks that each row belongs to a file that says so, and that no
// lookup shows a package that is not good.
func (c *checker) candidates() {
	type owner struct {
		pkg catalog.PackageID
		no  int
	}
	c.each(bucketCandidates, func(k, v []byte) {
		n := len(k) - candidateTail
		row, key := decodeCandidate(k, n), symid.IndexKey(k[2:n])
		f := fileByNo(c.tx, row.pkg, row.no)
		if f == nil || f.released || f.digest != row.digest || f.Report == nil ||
			!slices.ContainsFunc(f.Report.Keys, func(r catalog.RankedKey) bool { return storedKey(row.pkg, r.Key) == key && r.Rank == row.rank }) {
			c.fail("candidate %+v of key %q: no file reports it", owner{row.pkg, row.no}, key)
		}
		for _, found := range lookup(c.tx, key) {
			p, err := packageByID(c.tx, found.Package)
			if err != nil || p.State != catalog.StateGood {
				c.fail("key %q shows package %s: %v", key, found.Package, err)
				continue
			}
			file := fileByNo(c.tx, found.Package, found.File)
			if file == nil || file.Token != p.Token || file.digest != found.Digest {
				c.fail("key %q shows file %d of package %s, not what its verdict was about", key, found.File, found.Package)
			}
		}
	})
}

// names recounts the index of names.
func (c *checker) names() {
	if c.head.Feature < FeatureKnow {
		if c.tx.Bucket(bucketNames) != nil || c.head.Naming != nil {
			c.fail("level %d has an index of names", c.head.Feature)
		}
		return
	}
	s, want := &state{tx: c.tx, head: c.head}, map[string]uint64{}
	c.each(bucketCandidates, func(k, v []byte) {
		if s.named(k) {
			want[string(nameOf(k, v).encode())]++
		}
	})
	got := map[string]uint64{}
	c.each(bucketNames, func(k, v []byte) { got[string(k)], _ = binary.Uvarint(v) })
	if !maps.Equal(got, want) {
		c.fail("names %v, recount %v", got, want)
	}
}

func (c *checker) notices() {
	pending := 0
	c.each(bucketNotices, func(k, v []byte) {
		var n noticeRow
		if err := json.Unmarshal(v, &n); err != nil {
			c.fail("notice %q: %v", k, err)
		}
		listed := c.tx.Bucket(bucketPending).Get(k) != nil
		if is := n.State == catalog.NoticePending; is {
			pending++
			if !listed {
				c.fail("pending notice %d is not listed", n.Seq)
			}
		} else if listed {
			c.fail("notice %d is %s and listed as pending", n.Seq, n.State)
		}
	})
	if pending != c.head.Pending {
		c.fail("%d notices pending, recount %d", c.head.Pending, pending)
	}
}

// operate compares the rows of feature level 2 with what views see and with the
// member table they follow from.
func (c *checker) operate() {
	stored := &head{}
	if err := stored.loadOperate(c.tx); err != nil {
		c.fail("%v", err)
	}
	h := c.head
	rows := func(h *head) string {
		return fmt.Sprintf("%s %s", mustJSON(layoutsRow{h.layout, h.kept}), mustJSON(append([]catalog.Alarm{}, h.alarms...)))
	}
	if got, want := rows(stored), rows(h); got != want {
		c.fail("stored layouts and alarms are %s, views see %s", got, want)
	}
	if h.Feature < featureOperate {
		if h.layout.Version != 0 || len(h.kept)+len(h.alarms) != 0 || h.FrozenUntil != 0 {
			c.fail("level %d: layout %d, %d kept, %d alarms, frozen until %d", h.Feature, h.layout.Version, len(h.kept), len(h.alarms), h.FrozenUntil)
		}
		return
	}
	if h.layout.Version == 0 || !h.layout.Equal(h.derived()) {
		c.fail("layout is %+v, the members ask for %+v", h.layout, h.derived())
	}
	if len(h.kept) > maxKept {
		c.fail("%d former layouts are kept", len(h.kept))
	}
	reached, slots := h.layout.Version, map[catalog.NodeID]bool{}
	for _, n := range h.layout.Nodes {
		m, _ := h.member(n.ID)
		reached = min(reached, m.LayoutSynced)
		if slots[n.Slot] {
			c.fail("two members have slot %s", n.Slot)
		}
		slots[n.Slot] = true
	}
	newer := h.layout.Version
	for _, l := range h.kept {
		if l.Version >= newer || l.Version < reached {
			c.fail("layout %d is kept, every member reached %d, the next one is %d", l.Version, reached, newer)
		}
		newer = l.Version
	}
	seen := map[string]bool{}
	for i, a := range h.alarms {
		key := string(a.Node) + " " + string(a.Code)
		if seen[key] || (i > 0 && a.Index <= h.alarms[i-1].Index) || i >= MaxAlarms {
			c.fail("alarm %d of %d: %+v: twice, or out of order", i, len(h.alarms), a)
		}
		seen[key] = true
	}
}

// ForceFeature writes a feature level that no build of today raises, and returns a
// snapshot of it.
func ForceFeature(f *FSM, level int) []byte {
	h := f.head.Load().clone()
	h.Feature = level
	if err := f.db.Update(func(tx *bolt.Tx) error { return saveHead(tx, h) }); err != nil {
		panic(err)
	}
	var b bytes.Buffer
	tx, err := f.db.Begin(false)
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	if err := writeSnapshotOf(&b, tx, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// NoSync lets a test do without fsync: it never loses power.
func NoSync(f *FSM) { f.db.NoSync = true }

// AwaitContents returns once no digest is in work.
func AwaitContents(f *FSM) { f.contents.work.Wait() }

// DamagedPages runs f as a write of the catalog is.
func DamagedPages(f func()) {
	defer damagedPages(debug.SetPanicOnFault(true))
	f()
}
