package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// copyOf returns the path of a node's copy of the blob with that SHA-256.
func (n *node) copyOf(sha256 string) string {
	return filepath.Join(n.dir, "blobs", sha256[:2], sha256[2:4], sha256)
}

// flipBit changes one random bit of a file and leaves its modification time, as a
// disk does.
func flipBit(t testing.TB, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	off := rand.Int64N(info.Size())
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rand.IntN(8)
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// TestBitRot flips a bit in each of 100 copies of a running node while readers ask
// that node for all of them, and in 20 more that nobody asks for. No flipped bit is
// served; a scrub finds what the readers have not met; everything is put aside and
// whole again.
func TestBitRot(t *testing.T) {
	const asked, unasked, readsPerSecond = 100, 20, 200
	c := newCluster(t, 3, nil)
	dir := filepath.Join(c.dir, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range asked + unasked {
		makeSym(t, dir, fmt.Sprintf("rot%03d", i), rand.Int64N(128<<10))
	}
	res := mustPush(t, urls(c.nodes...), "rot", dir)
	c.waitHealthy(3, 60*time.Second)
	victim := c.others(c.leader())[0]

	keys := map[string]string{}
	var sums []string
	whole := map[string]string{} // SHA-256 of the packed file, by that of the blob
	for _, f := range res.Files {
		sum := f.SHA256.String()
		sums = append(sums, sum)
		whole[sum] = hashFile(t, victim.copyOf(sum))
		if len(sums) > asked {
			continue
		}
		for _, k := range f.Keys {
			keys["/"+k] = sum
			keys["/"+strings.TrimSuffix(k, "m")+"_"] = whole[sum] // foo.sy_ is the packed file itself
		}
	}
	if len(sums) != asked+unasked {
		t.Fatalf("%d blobs, want %d", len(sums), asked+unasked)
	}
	checkServed(t, keys, victim) // every one has been verified and sent whole before
	readers := startLoad(t, victim.url(), readsPerSecond, 0, keys)
	for _, sum := range sums {
		flipBit(t, victim.copyOf(sum))
	}
	begun, before := time.Now(), readers.read()
	readMore := func(n int) {
		t.Helper()
		eventually(t, 30*time.Second, fmt.Sprintf("%d reads since the bits were flipped", n), func() error {
			if got := readers.read() - before; got < n {
				return fmt.Errorf("%d reads", got)
			}
			return nil
		})
	}
	readMore(asked / 4)
	mustRun(t, 0, "", "cluster", "repl", "scrub", victim.name, "--server", c.nodes[0].url())
	eventually(t, 60*time.Second, "every damaged copy is put aside and replaced", func() error {
		bad, aside := 0, 0
		for _, sum := range sums {
			if b, err := os.ReadFile(victim.copyOf(sum)); err != nil || hashOf(t, strings.NewReader(string(b))) != whole[sum] {
				bad++
			}
			if kept, _ := filepath.Glob(filepath.Join(victim.dir, "quarantine", sum+".*")); len(kept) > 0 {
				aside++
			}
		}
		if bad > 0 || aside < len(sums) {
			return fmt.Errorf("of %d copies %d are not whole, %d put aside", len(sums), bad, aside)
		}
		return nil
	})
	healed := time.Since(begun)
	readMore(4 * asked)
	read := readers.stop()
	read.mustBeRight(t, "readers at "+victim.name)
	t.Logf("%d copies found and healed within %v; readers: %v", len(sums), healed.Round(10*time.Millisecond), read)

	// A person is told, and says when the disk has been looked at.
	eventually(t, 30*time.Second, "an alarm about the disk of "+victim.name, func() error {
		st, err := c.nodes[0].status()
		if err != nil {
			return err
		}
		for _, a := range st.Alarms {
			if a.Code == catalog.AlarmSuspectDisk {
				return nil
			}
		}
		return fmt.Errorf("alarms %v", st.Alarms)
	})
	mustRun(t, 0, "", "cluster", "alarms", "clear", victim.name, "--server", c.nodes[0].url())
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keys, c.nodes...)
	noPanics(t, c)
}
