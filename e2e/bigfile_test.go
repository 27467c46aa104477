package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxRSS is what the agent, each node and each validator may have resident while
// a file of any size goes through them.
const maxRSS = 300 << 20

func TestBigFile(t *testing.T) {
	size := int64(5) << 29 // 2.5 GiB: above the limit of a cabinet
	if os.Getenv("SYMKEEP_E2E_HUGE") != "" {
		size = 6 << 30
	}
	c := newCluster(t, 3, nil)
	begun := time.Now()
	lap := func() time.Duration {
		d := time.Since(begun).Round(100 * time.Millisecond)
		begun = time.Now()
		return d
	}
	file := makeHugeELF(t, filepath.Join(c.dir, "huge.debug"), size)
	info, err := os.Stat(file.path)
	if err != nil {
		t.Fatal(err)
	}
	made := lap()
	p := startPush(t, c.nodes[0].url(), "huge", file.path)
	rss := watchMemory(t, func() map[string]int {
		roots := map[string]int{"agent": p.cmd.Process.Pid}
		for _, n := range c.nodes {
			roots["node "+n.name] = n.cmd.Process.Pid
		}
		return roots
	})
	r := p.wait(t, 10*time.Minute)
	pushed := lap()
	if r.code != 0 {
		t.Fatalf("push: exit status %d, want 0\n%s", r.code, tail([]byte(r.stderr+r.stdout), 3000))
	}
	keys := keysOf(t, good(t, r))
	for path := range keys {
		if strings.HasSuffix(path, "/debuginfo") {
			download(t, c.nodes[2], path, file.sha256, info.Size())
			checkRange(t, c.nodes[1], path, file.path, info.Size()/2+12345)
		}
	}
	downloaded := lap()
	peaks := rss()
	t.Logf("%d bytes: made in %v, pushed in %v, downloaded in %v", info.Size(), made, pushed, downloaded)
	for _, who := range []string{"agent", "node n1", "node n2", "node n3", "validator"} {
		t.Logf("peak RSS of %s: %d MiB", who, peaks[who]>>20)
		if peaks[who] == 0 || peaks[who] > maxRSS {
			t.Errorf("peak RSS of %s: %d bytes, want 1 to %d", who, peaks[who], maxRSS)
		}
	}
}

// download fetches a path whole and compares it with its SHA-256.
func download(t testing.TB, n *node, path, sha256 string, size int64) {
	t.Helper()
	resp, err := once(n, path)
	if err != nil {
		t.Fatalf("%s: GET %s: %v", n.name, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		t.Fatalf("%s: GET %s: status %d, length %d, want 200 and %d", n.name, path, resp.StatusCode, resp.ContentLength, size)
	}
	if got := hashOf(t, resp.Body); got != sha256 {
		t.Errorf("%s: GET %s: bytes hash to %s, want %s", n.name, path, got, sha256)
	}
}

// checkRange fetches a MiB from offset on and compares it with the file.
func checkRange(t testing.TB, n *node, path, file string, offset int64) {
	t.Helper()
	want := make([]byte, 1<<20)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(want, offset); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", n.url()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(want))-1))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := hashOf(t, resp.Body)
	if wanted := hashOf(t, strings.NewReader(string(want))); resp.StatusCode != http.StatusPartialContent || got != wanted {
		t.Errorf("%s: GET %s from %d: status %d, bytes hash to %s, want 206 and %s", n.name, path, offset, resp.StatusCode, got, wanted)
	}
}

// watchMemory follows the peak resident memory of processes, and of their
// children under the name validator, until the returned function is called.
func watchMemory(t testing.TB, roots func() map[string]int) (peaks func() map[string]int64) {
	t.Helper()
	peak := map[string]int64{}
	pids := roots()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			for who, pid := range pids {
				peak[who] = max(peak[who], highWater(pid))
				for _, child := range children(pid) {
					peak["validator"] = max(peak["validator"], highWater(child))
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	once := sync.OnceFunc(func() { close(stop); <-ended })
	t.Cleanup(once)
	return func() map[string]int64 {
		once()
		return peak
	}
}

// highWater returns VmHWM of a process in bytes, 0 once it is gone.
func highWater(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// children returns the processes that threads of a process started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
