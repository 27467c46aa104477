package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A load asks a node, or what stands in front of some, for keys at a steady rate
// over kept connections, as debuggers do, and judges every answer.
type load struct {
	base      string
	missEvery int // every so many questions are for keys that nobody has; 0: none
	client    *http.Client
	stop      func() loaded

	mu   sync.Mutex
	keys []string          // paths
	want map[string]string // their SHA-256
	loaded
}

// loaded is what came of a load.
type loaded struct {
	hits, misses   int
	wrong          []string // answers that must not be: no answer, 5xx, a false 404, other bytes; the first 20
	wrongs         int
	took, tookMiss []time.Duration // of hits, and of misses
	gap            time.Duration   // the longest time without a right answer
	last           time.Time
}

// startLoad asks perSecond times a second, at most 32 at a time. It ends with the
// test, or by stop.
func startLoad(t testing.TB, base string, perSecond, missEvery int, keys map[string]string) *load {
	t.Helper()
	l := &load{base: base, missEvery: missEvery, want: map[string]string{}}
	l.last = time.Now()
	l.add(keys)
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	l.client = &http.Client{Timeout: 30 * time.Second, Transport: transport}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		slots := make(chan struct{}, 32)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			select {
			case <-end:
				return
			case slots <- struct{}{}:
			}
			running.Go(func() {
				l.ask(i)
				<-slots
			})
		}
	})
	l.stop = sync.OnceValue(func() loaded {
		close(end)
		running.Wait()
		transport.CloseIdleConnections()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.loaded
	})
	t.Cleanup(func() { l.stop() })
	return l
}

// add makes the load ask for more keys from now on: path to SHA-256.
func (l *load) add(keys map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for path, sum := range keys {
		l.keys = append(l.keys, path)
		l.want[path] = sum
	}
}

// read returns how many answers there were.
func (l *load) read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hits + l.misses + l.wrongs
}

// pick returns a path to ask for, and its SHA-256, empty for one that nobody has.
func (l *load) pick(i int) (path, sum string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missEvery > 0 && i%l.missEvery == 0 {
		return fmt.Sprintf("/nobody.pdb/%016X%016X1/nobody.pdb", rand.Uint64(), rand.Uint64()), ""
	}
	path = l.keys[rand.IntN(len(l.keys))]
	return path, l.want[path]
}

func (l *load) ask(i int) {
	path, want := l.pick(i)
	begun := time.Now()
	found, err := l.fetch(path, want)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.wrongs++
		if len(l.wrong) < 20 {
			l.wrong = append(l.wrong, fmt.Sprintf("%s GET %s after %v: %v", now.Format("15:04:05.000"), path, now.Sub(begun).Round(time.Millisecond), err))
		}
		return
	case found:
		l.hits++
		l.took = append(l.took, now.Sub(begun))
	default:
		l.misses++
		l.tookMiss = append(l.tookMiss, now.Sub(begun))
	}
	if now.After(l.last) {
		l.gap = max(l.gap, now.Sub(l.last))
		l.last = now
	}
}

// fetch returns an error unless the answer is the right one.
func (l *load) fetch(path, want string) (found bool, err error) {
	resp, err := l.client.Get(l.base + path)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	switch {
	case err != nil:
		return false, fmt.Errorf("status %d, body ends after %d bytes: %w", resp.StatusCode, n, err)
	case want == "" && resp.StatusCode == http.StatusNotFound && n == 0:
		return false, nil
	case want == "" || resp.StatusCode != http.StatusOK:
		return false, fmt.Errorf("status %d with %d bytes, wanted %q", resp.StatusCode, n, want)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return false, fmt.Errorf("%d bytes that hash to %s, want %s", n, got, want)
	}
	return true, nil
}

// percentile returns how long that part of all answers took at most.
func (l loaded) percentile(p float64) time.Duration {
	return percentile(append(slices.Clone(l.took), l.tookMiss...), p)
}

func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// mustBeRight fails the test if an answer was wrong, or there was none.
func (l loaded) mustBeRight(t testing.TB, who string) {
	t.Helper()
	if l.wrongs > 0 || l.hits == 0 {
		t.Errorf("%s: %d hits, %d misses, %d wrong answers, want none of those:\n%s", who, l.hits, l.misses, l.wrongs, strings.Join(l.wrong, "\n"))
	}
}

// String counts the answers.
func (l loaded) String() string {
	times := func(ds []time.Duration) string {
		r := func(p float64) time.Duration { return percentile(ds, p).Round(10 * time.Microsecond) }
		return fmt.Sprintf("half within %v, 99%% within %v, all within %v", r(0.5), r(0.99), r(1))
	}
	if l.misses == 0 {
		return fmt.Sprintf("%d hits, %s; %d wrong", l.hits, times(l.took), l.wrongs)
	}
	return fmt.Sprintf("%d hits, %s; %d misses, %s; %d wrong", l.hits, times(l.took), l.misses, times(l.tookMiss), l.wrongs)
}
