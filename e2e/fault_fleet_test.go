package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// faultBin is symkeep built to be broken. Its directory goes with the tests.
var faultBin = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("SYMKEEP_FAULTS_BIN"); given != "" {
		return given, nil
	}
	var err error
	if faultDir, err = os.MkdirTemp("", "symkeep-faults"); err != nil {
		return "", err
	}
	return rig.Build(context.Background(), faultDir, "faults")
})

var faultDir string

func removeFaultBin() { os.RemoveAll(faultDir) }

// TestFaults breaks whatever can break, one fault after the other on each of
// several clusters. They wait for timeouts most of the time, so all of them go on
// at once.
func TestFaults(t *testing.T) {
	var playing sync.WaitGroup
	for name, play := range map[string]func(*testing.T){
		"points": faultPoints, "links": faultLinks, "weather": faultWeather,
		"full disk": faultFullDisk, "sick disk": faultSickDisk, "bits": faultBits,
	} {
		playing.Go(func() { t.Run(name, play) })
	}
	playing.Wait()
}

// A fleet is a cluster on a rig, and what it has promised to keep.
type fleet struct {
	*rig.Rig
	t    testing.TB // of the present step
	dir  string
	keys map[string]string // lookup paths and SHA-256 of every push that was good
	made int
}

// newFleet starts a cluster of cfg.Hosts nodes, and skips the test where there can
// be no rig, but not in CI.
func newFleet(t *testing.T, cfg rig.Config, before ...func(*rig.Rig) error) *fleet {
	t.Helper()
	if err := rig.Supported(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v, and CI must not skip", err)
		}
		t.Skip(err)
	}
	exe, err := faultBin()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bin, cfg.Dir, cfg.Seed = exe, diskDir(t), 1
	r, err := rig.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, h := range r.Hosts() {
			text, _ := h.Log(0)
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), h.Name+".log"), []byte(text), 0o644); err != nil {
				t.Error(err) // go test -artifacts keeps them
			}
			if t.Failed() {
				t.Logf("log of %s:\n%s", h.Name, tail([]byte(text), 3000))
			}
		}
		if err := r.Close(); err != nil {
			t.Errorf("close the rig: %v", err)
		}
	})
	f := &fleet{Rig: r, t: t, dir: cfg.Dir, keys: map[string]string{}}
	for _, prepare := range before {
		f.must(prepare(r))
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.must(r.StartCluster(ctx))
	t.Logf("%d nodes healthy after %v", cfg.Hosts, since(begun))
	return f
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }

// step runs one scenario. Afterwards every fault is healed, every node runs and is
// healthy, and everything that was ever good is served by all of them.
func (f *fleet) step(name string, play func()) {
	parent, ok := f.t.(*testing.T)
	if !ok {
		f.t.Fatal("a step within no test")
	}
	parent.Run(name, func(t *testing.T) {
		f.t = t
		play()
	})
	f.t = parent
	f.must(f.Heal())
	for _, h := range f.Hosts() {
		if !h.Running() {
			f.must(h.Start())
		}
	}
	f.settle(90 * time.Second)
	f.served(f.Hosts()...)
	if parent.Failed() {
		f.t.FailNow()
	}
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// settle waits until all hosts are healthy members, and logs how long that took.
func (f *fleet) settle(limit time.Duration) {
	f.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	f.must(f.WaitHealthy(ctx, len(f.Hosts())))
	if took := since(begun); took > time.Second {
		f.t.Logf("healthy %v after the end of the fault", took)
	}
}

// leads returns the host that leads.
func (f *fleet) leads() *rig.Host {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	h, err := f.Leader(ctx)
	f.must(err)
	return h
}

// follower returns a host that does not lead.
func (f *fleet) follower() *rig.Host { return f.Others(f.leads())[0] }

// files makes one more package and returns its directory.
func (f *fleet) files() (product, dir string) {
	f.made++
	product = fmt.Sprintf("p%d", f.made)
	return product, makePackage(f.t, f.dir, product)
}

// push pushes a package to hosts and fails the test unless it becomes good.
func (f *fleet) push(servers ...*rig.Host) time.Duration {
	f.t.Helper()
	product, dir := f.files()
	begun := time.Now()
	res := mustPush(f.t, rig.URLs(servers...), product, dir)
	f.keep(res)
	return since(begun)
}

// keep remembers what a push promised.
func (f *fleet) keep(res api.Result) {
	f.t.Helper()
	for path, sum := range keysOf(f.t, res) {
		f.keys[path] = sum
	}
}

// onHost makes the helpers for nodes on loopback work with a host.
func (f *fleet) onHost(h *rig.Host) *node {
	return &node{t: f.t, name: h.Name, http: strings.TrimPrefix(h.URL(), "http://")}
}

// served fails the test unless hosts serve all that was ever good.
func (f *fleet) served(hosts ...*rig.Host) {
	f.t.Helper()
	var nodes []*node
	for _, h := range hosts {
		nodes = append(nodes, f.onHost(h))
	}
	checkServed(f.t, f.keys, nodes...)
}

// status asks a host's node.
func (f *fleet) status(h *rig.Host) (api.ClusterStatus, error) { return h.Status(f.t.Context()) }

// line returns a host's line in a status.
func line(st api.ClusterStatus, h *rig.Host) api.NodeStatus {
	i := slices.IndexFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == h.Name })
	if i < 0 {
		return api.NodeStatus{}
	}
	return st.Nodes[i]
}

// sees waits until a host's status gives a reason that has all these words, and
// shows it.
func (f *fleet) sees(h *rig.Host, limit time.Duration, words ...string) {
	f.t.Helper()
	begun := time.Now()
	eventually(f.t, limit, fmt.Sprintf("status of %s tells of %q", h.Name, words), func() error {
		st, err := f.status(h)
		if err != nil {
			return err
		}
		for _, r := range st.Reasons {
			if hasAll(r, words) {
				f.t.Logf("after %v the status of %s says: %s", since(begun), h.Name, r)
				return nil
			}
		}
		return fmt.Errorf("reasons %q, alarms %v", st.Reasons, st.Alarms)
	})
}

// alarm waits until an alarm about a host stands, as another one sees it.
func (f *fleet) alarm(seenBy, about *rig.Host, limit time.Duration, code catalog.AlarmCode) {
	f.t.Helper()
	begun := time.Now()
	eventually(f.t, limit, fmt.Sprintf("alarm %s about %s", code, about.Name), func() error {
		st, err := f.status(seenBy)
		if err != nil {
			return err
		}
		for _, a := range st.Alarms {
			if a.Code == code && a.Node == line(st, about).ID {
				f.t.Logf("after %v the alarm %s stands about %s: %s", since(begun), code, about.Name, a.Text)
				return nil
			}
		}
		return fmt.Errorf("alarms %v, reasons %q", st.Alarms, st.Reasons)
	})
}

// calm waits until no alarm about a host stands any more.
func (f *fleet) calm(seenBy, about *rig.Host, limit time.Duration, code catalog.AlarmCode) {
	f.t.Helper()
	eventually(f.t, limit, fmt.Sprintf("alarm %s about %s is over", code, about.Name), func() error {
		st, err := f.status(seenBy)
		if err != nil {
			return err
		}
		for _, a := range st.Alarms {
			if a.Code == code && a.Node == line(st, about).ID {
				return fmt.Errorf("it stands: %s", a.Text)
			}
		}
		return nil
	})
}

// logs waits until a host logs a line with all these words after an offset, and
// shows it.
func (f *fleet) logs(h *rig.Host, from int64, limit time.Duration, words ...string) {
	f.t.Helper()
	eventually(f.t, limit, fmt.Sprintf("log of %s has %q", h.Name, words), func() error {
		text, _ := h.Log(from)
		for l := range strings.Lines(text) {
			if hasAll(l, words) {
				f.t.Logf("%s logs: %s", h.Name, strings.TrimSpace(l))
				return nil
			}
		}
		return fmt.Errorf("no such line in %d bytes", len(text))
	})
}

func hasAll(s string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
}

// mark returns where a host's log ends now.
func mark(h *rig.Host) int64 {
	_, end := h.Log(0)
	return end
}

// gone waits until a host's node has ended by itself.
func (f *fleet) gone(h *rig.Host, limit time.Duration) {
	f.t.Helper()
	begun := time.Now()
	state, err := h.Wait(limit)
	if err != nil {
		text, _ := h.Log(0)
		f.t.Fatalf("%v\n%s", err, tail([]byte(text), 3000))
	}
	f.t.Logf("%s ended by itself after %v: %v", h.Name, since(begun), state)
}

// within returns the path of something in a host's data directory.
func within(h *rig.Host, path ...string) string {
	return filepath.Join(append([]string{h.DataDir()}, path...)...)
}
