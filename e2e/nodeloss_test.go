package e2e

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// makeIncompressible writes a folder of programs with random code, of a few sizes, and
// returns how many bytes they have together: about so many as wanted.
func makeIncompressible(t testing.TB, base, name string, want int64) (dir string, bytes int64) {
	t.Helper()
	dir = filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 0; bytes < want; i++ {
		size := []int{256 << 10, 4 << 20, 1 << 20, 16 << 20, 1 << 20, 2 << 20}[i%6]
		makeELF(t, dir, fmt.Sprintf("%s-%d", name, i), size)
		bytes += int64(size)
	}
	return dir, bytes
}

// copies returns the packed files of a node and their sizes.
func (n *node) copies(t testing.TB) map[string]int64 {
	t.Helper()
	files := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(n.dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != 64 {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files[d.Name()] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A madeCopy is a copy that a node lacked before.
type madeCopy struct {
	on   *node
	name string
	size int64
}

// verifiedCopy is what a copy costs without a cluster: it reads the file, hashes it
// and writes it durably.
func verifiedCopy(to, from string, buf []byte, h hash.Hash) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	h.Reset()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(out, h)}, struct{ io.Reader }{in}, buf); err != nil {
		return err
	}
	h.Sum(nil)
	return out.Sync()
}

// TestNodeLoss removes one of five nodes and waits until every blob has three
// copies again, while a debugger reads from another node.
//
// The speed of it is compared with plain verified copies, read + SHA-256 + write +
// fsync, of the very same files, made by as many writers at a time as there are
// nodes that repair. That is what these nodes could do at best if finding out what
// to copy, asking a peer for it, checking it and agreeing on it cost nothing: all
// nodes and the peer share the disk and the processors of one machine, the data is in
// its page cache in both cases, and what was written before is on the disk when
// either begins. The measuring run wants half of that speed, and the debugger's
// slowest hundredth at most three times as slow as on a quiet day.
func TestNodeLoss(t *testing.T) {
	size, missEvery := int64(96<<20), 0
	if long() { // a machine too busy to confirm a lease resets misses, as it should
		size, missEvery = 4<<30, 4
	}
	if mib, err := strconv.Atoi(os.Getenv("SYMKEEP_E2E_MIB")); err == nil {
		size = int64(mib) << 20
	}
	const readsPerSecond, batch = 100, int64(512 << 20)
	c := newCluster(t, 5, nil)
	var pushed int64
	for i := 0; pushed < size; i++ {
		dir, n := makeIncompressible(t, c.dir, fmt.Sprintf("loss%d", i), min(batch, size-pushed))
		mustPush(t, urls(c.nodes[i%5]), "loss", dir)
		pushed += n
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	keys := keysOf(t, mustPush(t, urls(c.nodes...), "read", makePackage(t, c.dir, "read")))
	c.waitHealthy(5, 10*time.Minute)
	syscall.Sync()

	victim := c.others(c.leader())[0]
	rest := c.others(victim)
	lost, lostBytes := victim.copies(t), int64(0)
	for _, size := range lost {
		lostBytes += size
	}
	before := map[*node]map[string]int64{}
	for _, n := range rest {
		before[n] = n.copies(t)
	}
	quietFor := 3 * time.Second
	if long() {
		quietFor = 20 * time.Second
	}
	load := startLoad(t, rest[0].url(), readsPerSecond, missEvery, keys)
	time.Sleep(quietFor) // a measurement takes its time
	quiet := load.stop()

	victim.kill()
	mustRun(t, 0, "", "cluster", "remove", victim.name, "--yes", "--force", "--server", urls(rest...))
	begun := time.Now()
	load = startLoad(t, rest[0].url(), readsPerSecond, missEvery, keys)
	var steps []string // what was left, as time went by
	eventually(t, 20*time.Minute, "every blob has three copies again", func() error {
		st, err := rest[0].status()
		if err != nil {
			return err
		}
		missing, bytes := 0, int64(0)
		for _, s := range st.Nodes {
			missing += s.Missing
			bytes += s.MissBytes
		}
		steps = append(steps, fmt.Sprintf("%v: %d under-replicated, %d MiB missing", time.Since(begun).Round(10*time.Millisecond), st.Under, bytes>>20))
		if len(st.Nodes) != 4 || st.Under > 0 || missing > 0 {
			return fmt.Errorf("%d nodes, %d of %d blobs under-replicated, %d missing", len(st.Nodes), st.Under, st.Blobs, missing)
		}
		return nil
	})
	took := time.Since(begun)
	repairing := load.stop()

	var made []madeCopy
	var total int64
	for _, n := range rest {
		for name, size := range n.copies(t) {
			if _, had := before[n][name]; !had {
				made = append(made, madeCopy{n, name, size})
				total += size
			}
		}
	}
	syscall.Sync()
	peer := timeCopies(t, c, rest, made)
	ratio := peer.Seconds() / took.Seconds()
	mib := func(d time.Duration) float64 { return float64(total) / (1 << 20) / d.Seconds() }
	t.Logf("%d MiB packed; %s lost: %d copies, %d MiB made again in %v, %.0f MiB/s; verified copies of the same in %v, %.0f MiB/s; ratio %.2f",
		pushed>>20, victim.name, len(made), total>>20, took.Round(10*time.Millisecond), mib(took), peer.Round(10*time.Millisecond), mib(peer), ratio)
	for i := 0; i < len(steps); i += len(steps)/10 + 1 {
		t.Log(steps[i])
	}
	t.Logf("debugger, quiet: %v", quiet)
	t.Logf("debugger, during repair: %v; slowest hundredth %.1f times that of a quiet day", repairing,
		repairing.percentile(0.99).Seconds()/quiet.percentile(0.99).Seconds())
	quiet.mustBeRight(t, "debugger before")
	repairing.mustBeRight(t, "debugger during repair")
	if total < lostBytes/2 || len(lost) == 0 {
		t.Errorf("%d copies of %d bytes lost, %d of %d bytes made: hardly anything", len(lost), lostBytes, len(made), total)
	}
	if long() {
		if ratio < 0.5 {
			t.Errorf("repair at %.2f of the speed of verified copies, want 0.5 or more", ratio)
		}
		if p, q := repairing.percentile(0.99), quiet.percentile(0.99); p > 3*q {
			t.Errorf("the slowest hundredth of answers took %v during repair and %v before, want at most 3 times that", p, q)
		}
	}
	checkCopies(t, c, rest)
	c.waitHealthy(4, 60*time.Second)
	checkServed(t, keys, rest...)
	noPanics(t, c)
}

// timeCopies makes verified copies of the files, those of each node one after the
// other, and returns how long that took.
func timeCopies(t testing.TB, c *cluster, nodes []*node, made []madeCopy) time.Duration {
	t.Helper()
	dir := filepath.Join(c.dir, "peer")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			buf, h := make([]byte, 1<<20), sha256.New()
			for _, m := range made {
				if m.on != n {
					continue
				}
				if err := verifiedCopy(filepath.Join(dir, fmt.Sprintf("%d-%s", i, m.name)), n.copyOf(m.name), buf, h); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return took
}

// checkCopies fails the test unless each blob is on three of the nodes, the same
// bytes on each.
func checkCopies(t testing.TB, c *cluster, nodes []*node) {
	t.Helper()
	holders := map[string]int{}
	sizes := map[string]int64{}
	for _, n := range nodes {
		for name, size := range n.copies(t) {
			holders[name]++
			if old, ok := sizes[name]; ok && old != size {
				t.Errorf("%s: copy of %s has %d bytes, another has %d", n.name, name, size, old)
			}
			sizes[name] = size
		}
	}
	few := []string{}
	for name, n := range holders {
		if n < 3 {
			few = append(few, name)
		}
	}
	if len(few) > 0 {
		t.Errorf("%d of %d blobs have fewer than three copies: %s", len(few), len(holders), strings.Join(few[:min(len(few), 5)], " "))
	}
	if len(holders) == 0 {
		t.Error("there are no copies at all")
	}
}
