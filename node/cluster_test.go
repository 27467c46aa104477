package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/courier"
)

// The test program is its own validator child: see moody.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == moodyCommand {
		os.Exit(moody(os.Args[2]))
	}
	if len(os.Args) > 1 && os.Args[1] == courierCommand {
		if err := courier.Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // children would sleep a second each
	code := m.Run()
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		if err := goleak.Find(
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),      // one per process
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),   // wakes up every 10 s to see that it is to end
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"), // waits for the last probe
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleIndirectPing.func2"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "left behind by nodes that have stopped:", err)
			code = 1
		}
	}
	os.Exit(code)
}

const (
	moodyCommand   = "moody-validator"
	courierCommand = "courier"
)

// moody is a validator child that does what the file says: "fine" or nothing is
// the real thing.
func moody(file string) int {
	mood, _ := os.ReadFile(file)
	if strings.HasSuffix(file, ".orphan") {
		time.Sleep(8 * time.Second) // nobody ends it
		return 0
	}
	switch string(mood) {
	case "exit":
		fmt.Fprintln(os.Stderr, "no mood for this")
		return 1
	case "kill":
		p, _ := os.FindProcess(os.Getpid())
		p.Kill()
		time.Sleep(time.Hour)
	case "hang":
		time.Sleep(time.Hour)
	case "orphan": // leaves somebody behind who holds its output open
		c := exec.Command(os.Args[0], moodyCommand, file+".orphan")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			return 1
		}
		time.Sleep(time.Hour)
	case "refuse": // lives, and says that it cannot
		fmt.Println(`{"done":{"error":"not today"}}`)
		return 0
	case "silent": // ends well without an answer
		return 0
	case "chatter":
		for {
			if _, err := fmt.Println(`{"file":{"no":0}}`); err != nil {
				return 1
			}
		}
	case "hungry":
		var eaten [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
		}
	}
	if err := ValidateChild(context.Background(), os.Stdin, os.Stdout); err != nil {
		return 1
	}
	return 0
}

// A testNode is a node in this process that can be stopped and started again.
type testNode struct {
	*Node
	t    *testing.T
	cfg  Config
	log  *lockedBuffer
	mood string // file that tells its validators what to do
	c    *api.Client
	stop func() error

	ended <-chan error // what Run returned
}

// newTestNode prepares a node on free loopback ports; nothing runs yet.
func newTestNode(t *testing.T, name string) *testNode {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := &testNode{t: t, log: &lockedBuffer{}, mood: filepath.Join(dir, "mood")}
	n.cfg = DefaultConfig()
	n.cfg.DataDir, n.cfg.Name = filepath.Join(dir, "data"), name
	n.cfg.HTTPAddr, n.cfg.PeerAddr, n.cfg.GossipAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n.cfg.ValidatorCommand, n.cfg.CourierCommand = []string{exe, moodyCommand, n.mood}, []string{exe, courierCommand}
	n.cfg.DrainTimeout, n.cfg.CacheBytes = 2*time.Second, 1<<20
	n.cfg.Disk.Ballast = -1
	n.cfg.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	t.Cleanup(func() {
		if n.stop != nil {
			n.halt()
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, n.log.tail(4000))
		}
	})
	return n
}

// start runs the node until halt.
func (n *testNode) start() {
	n.t.Helper()
	node, err := New(n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- node.Run(ctx) })
	n.Node = node
	if n.c, err = api.NewClient("http://" + node.httpAdvertised); err != nil {
		n.t.Fatal(err)
	}
	n.ended = ended
	n.stop = func() error {
		n.c.Close()
		cancel()
		running.Wait()
		return <-ended
	}
}

// ends waits for a node that stops itself, and returns what Run did.
func (n *testNode) ends(patience time.Duration) error {
	n.t.Helper()
	select {
	case err := <-n.ended:
		n.stop = nil
		n.c.Close()
		return err
	case <-time.After(patience):
		n.t.Fatalf("node %s still runs after %s", n.cfg.Name, patience)
		return nil
	}
}

// halt stops the node as a signal would. The others find it dead.
func (n *testNode) halt() {
	n.t.Helper()
	stop := n.stop
	n.stop = nil
	begun := time.Now()
	if err := stop(); err != nil {
		n.t.Errorf("node %s: Run = %v, want nil", n.cfg.Name, err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		n.t.Errorf("node %s took %s to stop", n.cfg.Name, took)
	}
}

// setMood tells the validators of the node what to do, see moody.
func (n *testNode) setMood(mood string) {
	n.t.Helper()
	if err := os.WriteFile(n.mood, []byte(mood), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// stay makes later starts use the addresses of this one.
func (n *testNode) stay() {
	n.cfg.HTTPAddr, n.cfg.PeerAddr, n.cfg.GossipAddr = n.httpAdvertised, n.peerAdvertised, n.gossip.Addr()
}

// startCluster runs k nodes and waits until they are a healthy cluster.
func startCluster(t *testing.T, k int) []*testNode {
	t.Helper()
	var nodes []*testNode
	for i := range k {
		n := newTestNode(t, fmt.Sprintf("n%d", i+1))
		if i > 0 {
			n.cfg.Join = []string{nodes[0].gossip.Addr()}
		}
		n.start()
		nodes = append(nodes, n)
	}
	awaitHealthy(t, nodes...)
	return nodes
}

// awaitHealthy waits until every one of the nodes calls the cluster healthy, with
// just these members.
func awaitHealthy(t *testing.T, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		var st api.ClusterStatus
		eventually(t, 20*time.Second, func() bool {
			st, _ = n.ClusterStatus(t.Context())
			return st.Healthy && len(st.Nodes) == len(nodes)
		}, func() string {
			return fmt.Sprintf("node %s sees %d members, healthy %t: %v", n.cfg.Name, len(st.Nodes), st.Healthy, st.Reasons)
		})
	}
}

// eventually polls until ok, and fails with what say returns.
func eventually(t *testing.T, patience time.Duration, ok func() bool, say func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s: %s", patience, say())
		}
	}
}

// leaderOf returns the node that leads, and the others.
func leaderOf(t *testing.T, nodes ...*testNode) (leader *testNode, others []*testNode) {
	t.Helper()
	eventually(t, 15*time.Second, func() bool {
		leader, others = nil, nil
		for _, n := range nodes {
			if c := n.consensus(); c != nil && n.leads() && n.readyTerm.Load() == c.raft.CurrentTerm() {
				leader = n
			} else {
				others = append(others, n)
			}
		}
		return leader != nil
	}, func() string { return "no node leads" })
	return leader, others
}

// A content is the bytes of one file of a package.
type content struct {
	path  string
	bytes []byte
}

func (f content) digest() catalog.Digest { return catalog.Digest(sha256.Sum256(f.bytes)) }

func (f content) entry() api.FileEntry {
	return api.FileEntry{Path: f.path, Size: int64(len(f.bytes)), SHA256: f.digest()}
}

// breakpad makes a valid symbol file of about size bytes that differs by seed.
func breakpad(seed uint64, size int) content {
	rnd := rand.New(rand.NewPCG(seed, 1))
	name := fmt.Sprintf("lib%d.so", seed)
	var b bytes.Buffer
	fmt.Fprintf(&b, "MODULE Linux x86_64 %016X%016X0 %s\nFILE 0 a.c\nFUNC 1000 10 0 main\n1000 10 1 0\n", rnd.Uint64(), rnd.Uint64(), name)
	for at := 0x2000; b.Len() < size; at += 16 {
		fmt.Fprintf(&b, "PUBLIC %x 0 f%x%x\n", at, rnd.Uint64(), rnd.Uint64())
	}
	return content{name + ".sym", b.Bytes()}
}

// lookup is the path at which a debugger asks for the file.
func (f content) lookup() string {
	fields := strings.Fields(string(f.bytes[:bytes.IndexByte(f.bytes, '\n')]))
	return "/" + fields[4] + "/" + fields[3] + "/" + f.path
}

// open opens a package and lists files in it.
func (n *testNode) open(key string, files ...content) catalog.PackageID {
	n.t.Helper()
	r, err := n.c.Open(n.t.Context(), api.OpenRequest{IdempotencyKey: key, Product: "app", Version: "1"})
	if err != nil {
		n.t.Fatalf("open through %s: %v", n.cfg.Name, err)
	}
	var entries []api.FileEntry
	for _, f := range files {
		entries = append(entries, f.entry())
	}
	if _, err := n.c.AddFiles(n.t.Context(), r.Package, api.AddFilesRequest{Files: entries}); err != nil {
		n.t.Fatalf("add files through %s: %v", n.cfg.Name, err)
	}
	return r.Package
}

// upload sends the raw bytes of a file. A connection is reset when the answer, that the
// blob is held, comes while the body is on its way.
func (n *testNode) upload(id catalog.PackageID, f content) error {
	for {
		_, err := n.c.Upload(n.t.Context(), id, f.digest(), 0, int64(len(f.bytes)), bytes.NewReader(f.bytes))
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			return err
		}
	}
}

// commit uploads the files of an open package and commits it.
func (n *testNode) commit(id catalog.PackageID, files ...content) {
	n.t.Helper()
	for _, f := range files {
		if err := n.upload(id, f); err != nil {
			n.t.Fatalf("upload of %s through %s: %v", f.path, n.cfg.Name, err)
		}
	}
	r, err := n.c.Commit(n.t.Context(), id, api.CommitRequest{Files: len(files)})
	if err != nil || len(r.Lacking) > 0 {
		n.t.Fatalf("commit through %s = %+v, %v", n.cfg.Name, r, err)
	}
}

// await waits until the package is in one of its last states.
func (n *testNode) await(id catalog.PackageID) api.PackageStatus {
	n.t.Helper()
	var st api.PackageStatus
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		var err error
		if st, err = n.c.Package(n.t.Context(), id, 5*time.Second); err != nil {
			n.t.Fatalf("package %s through %s: %v", id, n.cfg.Name, err)
		}
		if st.State != catalog.StateOpen && st.State != catalog.StateCommitted {
			return st
		}
	}
	n.t.Fatalf("package %s is still %s", id, st.State)
	return st
}

// push takes a package to a good verdict.
func (n *testNode) push(key string, files ...content) catalog.PackageID {
	n.t.Helper()
	id := n.open(key, files...)
	n.commit(id, files...)
	if st := n.await(id); st.State != catalog.StateGood || !st.Visible {
		n.t.Fatalf("package %s through %s is %s, visible %t (%s), want good and visible", id, n.cfg.Name, st.State, st.Visible, st.Reason)
	}
	return id
}

// get asks as a debugger does.
func (n *testNode) get(path string) (status int, body []byte) {
	n.t.Helper()
	resp, err := http.Get(n.c.Base() + path)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		n.t.Errorf("GET %s from %s: %v", path, n.cfg.Name, err)
	}
	return resp.StatusCode, body
}

// serves checks that a node answers a key with the bytes of the file.
func (n *testNode) serves(f content) {
	n.t.Helper()
	if status, body := n.get(f.lookup()); status != http.StatusOK || !bytes.Equal(body, f.bytes) {
		n.t.Errorf("GET %s from %s = %d with %d bytes, want 200 with the %d pushed", f.lookup(), n.cfg.Name, status, len(body), len(f.bytes))
	}
}

// wantError checks which of the catalog's conditions an error is.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error = %v, want one that wraps %q", what, err, want)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) tail(n int) string {
	s := l.String()
	return s[max(0, len(s)-n):]
}

// A step is a part of a test that leaves the cluster as the next part needs it.
type step struct {
	name string
	run  func(*testing.T, []*testNode)
}

// inSteps runs the steps as subtests until one fails.
func inSteps(t *testing.T, nodes []*testNode, steps []step) {
	t.Helper()
	for _, s := range steps {
		ok := t.Run(s.name, func(t *testing.T) {
			for _, n := range nodes {
				defer func(t *testing.T) { n.t = t }(n.t)
				n.t = t
			}
			s.run(t, nodes)
		})
		if !ok {
			return
		}
	}
}
