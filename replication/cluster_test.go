package replication_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// A cluster is a committed catalog, kept by the rules of the real one as far as
// copies are concerned, and nodes with stores of their own that speak HTTP.
type cluster struct {
	t   testing.TB
	mu  sync.Mutex
	ms  []catalog.Member
	set catalog.Settings

	version uint64 // of the layout
	kept    []catalog.Layout
	frozen  bool
	clock   catalog.ClusterTime

	rows  map[catalog.Digest]catalog.Blob
	nodes map[catalog.NodeID]*testNode
	moved chan struct{} // a change was committed
}

func newCluster(t testing.TB, replicas int) *cluster {
	return &cluster{
		t: t, set: catalog.Settings{Replicas: replicas}, rows: map[catalog.Digest]catalog.Blob{},
		nodes: map[catalog.NodeID]*testNode{}, moved: make(chan struct{}, 1),
	}
}

// commit changes the catalog and tells every node.
func (c *cluster) commit(change func()) {
	c.mu.Lock()
	change()
	var digests []catalog.Digest
	for d := range c.rows {
		digests = append(digests, d)
	}
	nodes := make([]*replication.Replicator, 0, len(c.nodes))
	for _, n := range c.nodes {
		nodes = append(nodes, n.r)
	}
	c.mu.Unlock()
	for _, r := range nodes {
		for _, d := range digests {
			r.Notify(d)
		}
	}
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// change edits the catalog as commit does, but tells nobody.
func (c *cluster) change(edit func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	edit()
}

// pin opens a package with the blobs: rows that ask for them.
func (c *cluster) pin(entries ...blobstore.Entry) {
	c.commit(func() {
		for _, e := range entries {
			row := c.rows[e.Digest]
			if row.Retired || row.Gen == 0 {
				row = catalog.Blob{Digest: e.Digest, Gen: row.Gen + 1, RawSize: e.RawSize}
			}
			row.Refs++
			c.rows[e.Digest] = row
		}
	})
}

func (c *cluster) retire(d catalog.Digest) {
	c.commit(func() {
		row := c.rows[d]
		row.Refs, row.Retired, row.Holders = 0, true, nil
		c.rows[d] = row
	})
}

func (c *cluster) row(d catalog.Digest) catalog.Blob {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cloneRow(c.rows[d])
}

func cloneRow(b catalog.Blob) catalog.Blob {
	b.Holders = slices.Clone(b.Holders)
	return b
}

// await waits until the committed catalog satisfies ok.
func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	late := time.After(30 * time.Second)
	again := time.NewTicker(5 * time.Millisecond) // stores change without a commit
	defer again.Stop()
	for !ok() {
		select {
		case <-c.moved:
		case <-again.C:
		case <-late:
			var state strings.Builder
			c.mu.Lock()
			for _, row := range c.rows {
				fmt.Fprintf(&state, "\n%s gen %d refs %d retired %v holders %v", row.Digest, row.Gen, row.Refs, row.Retired, row.Holders)
			}
			c.mu.Unlock()
			for id, n := range c.nodes {
				st, err := n.r.Status()
				fmt.Fprintf(&state, "\n%s: queue %d running %d missing %d synced %v errors %d, %v", id, st.Queue, st.Running, st.Missing, st.Synced, len(st.Errors), err)
				for d, text := range st.Errors {
					fmt.Fprintf(&state, "\n\t%s: %s", d, text)
					break
				}
			}
			c.t.Fatalf("never saw %s:%s", what, state.String())
		}
	}
}

// PutReceipts and DropHolders implement replication.Proposer.
func (c *cluster) PutReceipts(_ context.Context, rs []catalog.Receipt) error {
	c.commit(func() {
		for _, rc := range rs {
			row, ok := c.rows[rc.Digest]
			switch {
			case !ok || row.Retired || row.Refs == 0 || rc.RawSize != row.RawSize:
				continue
			case len(row.Holders) == 0:
				row.Packed = rc.Packed
			case row.Packed != rc.Packed:
				continue
			}
			for _, h := range rc.Holders {
				if !slices.Contains(row.Holders, h) {
					row.Holders = append(slices.Clone(row.Holders), h)
				}
			}
			slices.Sort(row.Holders)
			c.rows[rc.Digest] = row
		}
	})
	return nil
}

func (c *cluster) DropHolders(_ context.Context, node catalog.NodeID, ds []catalog.Digest) error {
	c.commit(func() {
		for _, d := range ds {
			row := c.rows[d]
			if len(row.Holders)-1 < c.set.Replicas && c.nodes[node].store.Has(d) {
				c.t.Errorf("%s gives up its copy of %s, held by %v", node, d, row.Holders)
			}
			row.Holders = slices.DeleteFunc(slices.Clone(row.Holders), func(n catalog.NodeID) bool { return n == node })
			c.rows[d] = row
		}
	})
	return nil
}

// A testNode is one node, its view of the catalog and its faults.
type testNode struct {
	c     *cluster
	id    catalog.NodeID
	store *blobstore.Store
	r     *replication.Replicator
	srv   *httptest.Server
	log   *bytes.Buffer

	mu     sync.Mutex
	behind map[catalog.Digest]catalog.Blob // what a lagging node still sees; nil: it keeps up
	noSync bool
	down   []catalog.NodeID // gossip's word

	off      atomic.Bool  // connections break
	stopped  atomic.Bool  // requests are taken and not answered
	cutAfter atomic.Int64 // bodies end after so many bytes, if positive
	flip     atomic.Bool  // bodies are damaged
	dieAt    atomic.Int64 // the request for bytes from which on connections break, if positive
	gets     atomic.Int64
	asks     atomic.Int64
	synced   atomic.Int64
}

type options struct {
	zone   string
	cfg    func(*replication.Config)
	store  func(*blobstore.Config)
	joined bool // not a member yet
}

func (c *cluster) add(i int, o options) *testNode {
	c.t.Helper()
	n := &testNode{c: c, id: member(i, "").ID, log: &bytes.Buffer{}}
	sc := blobstore.Config{Dir: c.t.TempDir()}
	if o.store != nil {
		o.store(&sc)
	}
	store, err := blobstore.Open(sc)
	if err != nil {
		c.t.Fatal(err)
	}
	n.store = store
	c.t.Cleanup(func() { store.Close() })
	n.srv = httptest.NewServer(http.HandlerFunc(n.serve))
	c.t.Cleanup(n.srv.Close)
	n.newReplicator(o.cfg)
	c.mu.Lock()
	c.nodes[n.id] = n
	c.mu.Unlock()
	if !o.joined {
		c.join(n, o.zone)
	}
	return n
}

func (n *testNode) newReplicator(edit func(*replication.Config)) {
	cfg := replication.Config{
		Self: n.id, Store: n.store, Catalog: n, Proposer: n.c, Peers: (*wire)(n),
		Alive:  func(id catalog.NodeID) bool { return !n.peer(id).off.Load() },
		Down:   func() []catalog.NodeID { n.mu.Lock(); defer n.mu.Unlock(); return n.down },
		Synced: func(context.Context) error { n.synced.Add(1); return nil },
		Window: 40_000, Stall: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	r, err := replication.New(cfg)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.r = r
}

// restart makes a new process of a node that does not run: it knows only what is
// on its disk. Meanwhile, what does happen passes it by.
func (n *testNode) restart(edit func(*replication.Config), meanwhile func()) {
	n.off.Store(true)
	meanwhile()
	n.newReplicator(edit)
	n.off.Store(false)
	n.run()
}

func (c *cluster) join(n *testNode, zone string) {
	c.commit(func() {
		c.ms = append(slices.Clone(c.ms), catalog.Member{ID: n.id, Zone: zone, PeerAddr: n.srv.Listener.Addr().String()})
	})
	for _, n := range c.nodes {
		n.r.Rescan()
	}
}

// run starts the node's replicator and returns what stops it.
func (n *testNode) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.c.t.Errorf("Run of %s = %v, want nil", n.id, err)
		}
	})
	n.c.t.Cleanup(stop)
	return stop
}

// trio returns three running nodes with the given number of replicas.
func trio(t *testing.T, replicas int) (*cluster, []*testNode) {
	c := newCluster(t, replicas)
	var ns []*testNode
	for i := range 3 {
		ns = append(ns, c.add(i, options{}))
	}
	for _, n := range ns {
		n.run()
	}
	return c, ns
}

func (n *testNode) peer(id catalog.NodeID) *testNode {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.nodes[id]
}

// Members and the rest implement replication.Catalog.
func (n *testNode) Members() []catalog.Member {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.ms
}

func (n *testNode) Settings() catalog.Settings {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.set
}

func (n *testNode) Layout() catalog.Layout {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	l := catalog.LayoutOf(n.c.ms, n.c.set.Replicas)
	l.Version = n.c.version
	return l
}

func (n *testNode) KeptLayouts() []catalog.Layout {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.kept
}

func (n *testNode) Frozen() bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.frozen
}

func (n *testNode) ClusterTime() catalog.ClusterTime {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.clock
}

func (n *testNode) view() map[catalog.Digest]catalog.Blob {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.behind != nil {
		return n.behind
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	view := map[catalog.Digest]catalog.Blob{}
	for d, b := range n.c.rows {
		view[d] = cloneRow(b)
	}
	return view
}

func (n *testNode) Blob(d catalog.Digest) (catalog.Blob, error) {
	n.mu.Lock()
	rows := n.behind
	n.mu.Unlock()
	if rows == nil {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		rows = n.c.rows
	}
	b, ok := rows[d]
	if !ok {
		return b, fmt.Errorf("blob %s: %w", d, catalog.ErrNotFound)
	}
	return cloneRow(b), nil
}

func (n *testNode) Blobs(after catalog.Digest, limit int) ([]catalog.Blob, error) {
	var out []catalog.Blob
	for _, b := range n.view() {
		if bytes.Compare(b.Digest[:], after[:]) > 0 {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b catalog.Blob) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	return out[:min(limit, len(out))], nil
}

// lag freezes the node's view until its next barrier.
func (n *testNode) lag() {
	view := n.view()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behind = view
}

func (n *testNode) Barrier(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.noSync {
		return fmt.Errorf("no leader: %w", catalog.ErrUnavailable)
	}
	n.behind = nil
	return nil
}

// serve is the node's peer protocol.
func (n *testNode) serve(w http.ResponseWriter, req *http.Request) {
	if n.off.Load() {
		panic(http.ErrAbortHandler)
	}
	if n.stopped.Load() {
		io.Copy(io.Discard, req.Body) // or the end of the request is not seen
		<-req.Context().Done()
		return
	}
	fail := func(err error) {
		code := http.StatusInternalServerError
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			code = http.StatusNotFound
		case errors.Is(err, catalog.ErrConflict):
			code = http.StatusConflict
		case errors.Is(err, catalog.ErrFull):
			code = http.StatusInsufficientStorage
		}
		http.Error(w, err.Error(), code)
	}
	switch req.URL.Path {
	case "/have":
		var ds []catalog.Digest
		if err := json.NewDecoder(req.Body).Decode(&ds); err != nil {
			fail(err)
			return
		}
		have, err := n.r.Have(ds)
		if err != nil {
			fail(err)
			return
		}
		json.NewEncoder(w).Encode(have)
	case "/fetch":
		n.asks.Add(1)
		var o replication.Order
		if err := json.NewDecoder(req.Body).Decode(&o); err != nil {
			fail(err)
			return
		}
		if _, err := n.r.Accept(req.Context(), o); err != nil {
			fail(err)
		}
	default:
		if got, die := n.gets.Add(1), n.dieAt.Load(); die > 0 && got >= die {
			panic(http.ErrAbortHandler)
		}
		d, err := catalog.ParseDigest(strings.TrimPrefix(req.URL.Path, "/blobs/"))
		if err != nil {
			fail(err)
			return
		}
		f, _, err := n.store.OpenBlob(d)
		if err != nil {
			fail(err)
			return
		}
		defer f.Close()
		http.ServeContent(&faultyBody{ResponseWriter: w, n: n, left: n.cutAfter.Load()}, req, "", time.Time{}, f)
	}
}

// faultyBody cuts or damages an answer.
type faultyBody struct {
	http.ResponseWriter
	n    *testNode
	left int64
}

func (f *faultyBody) Write(p []byte) (int, error) {
	if f.n.flip.Load() {
		p = slices.Clone(p)
		p[len(p)/2] ^= 1
	}
	if f.n.cutAfter.Load() > 0 {
		if int64(len(p)) > f.left {
			f.ResponseWriter.Write(p[:f.left])
			panic(http.ErrAbortHandler)
		}
		f.left -= int64(len(p))
	}
	return f.ResponseWriter.Write(p)
}

// wire speaks to other nodes.
type wire testNode

func (w *wire) do(ctx context.Context, node catalog.NodeID, method, path string, body any, header string) (*http.Response, error) {
	n := (*testNode)(w)
	if n.off.Load() {
		return nil, fmt.Errorf("this node is cut off: %w", catalog.ErrUnavailable)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, n.peer(node).srv.URL+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if header != "" {
		req.Header.Set("Range", header)
	}
	resp, err := n.srv.Client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, catalog.ErrUnavailable)
	}
	cause := error(nil)
	switch resp.StatusCode {
	case 200, 206:
		return resp, nil
	case 404:
		cause = catalog.ErrNotFound
	case 409:
		cause = catalog.ErrConflict
	case 507:
		cause = catalog.ErrFull
	default:
		cause = catalog.ErrUnavailable
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	return nil, fmt.Errorf("%s: %w", bytes.TrimSpace(text), cause)
}

func (w *wire) Have(ctx context.Context, node catalog.NodeID, ds []catalog.Digest) ([]*catalog.Packed, error) {
	resp, err := w.do(ctx, node, "POST", "/have", ds, "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out []*catalog.Packed
	return out, json.NewDecoder(resp.Body).Decode(&out)
}

func (w *wire) Fetch(ctx context.Context, node catalog.NodeID, d catalog.Digest, off, n int64) (io.ReadCloser, int64, error) {
	last := ""
	if n >= 0 {
		last = fmt.Sprint(off + n - 1)
	}
	resp, err := w.do(ctx, node, "GET", "/blobs/"+d.String(), nil, fmt.Sprintf("bytes=%d-%s", off, last))
	if err != nil {
		return nil, 0, err
	}
	var total int64
	_, size, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	fmt.Sscan(size, &total)
	return resp.Body, total, nil
}

func (w *wire) AskFetch(ctx context.Context, node catalog.NodeID, o replication.Order) error {
	resp, err := w.do(ctx, node, "POST", "/fetch", o, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func digestOf(b []byte) [32]byte { return sha256.Sum256(b) }

// raw returns bytes that pack a little.
func raw(seed, n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.IntN(64))
	}
	return b
}

// stage packs and commits bytes to the node's store.
func (n *testNode) stage(name string, b []byte) blobstore.Entry {
	n.c.t.Helper()
	st, err := n.store.Create(int64(len(b)))
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer st.Abort()
	w, err := cab.NewWriter(st, cab.Options{RawSize: int64(len(b)), Name: name, Workers: 1})
	if err != nil {
		n.c.t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		n.c.t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		n.c.t.Fatal(err)
	}
	e, err := st.Commit(info)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return e
}

// push takes a blob all the way: staged here, replicated, pinned and committed.
func (n *testNode) push(name string, b []byte) blobstore.Entry {
	n.c.t.Helper()
	e := n.stage(name, b)
	n.c.pin(e)
	w := catalog.WriteQuorum(n.c.set.Replicas, len(n.Members()))
	rc, err := n.r.Replicate(context.Background(), e.Digest, w)
	if err != nil || len(rc.Holders) < w {
		n.c.t.Fatalf("Replicate = %+v, %v, want %d holders", rc, err, w)
	}
	n.c.PutReceipts(context.Background(), []catalog.Receipt{rc})
	return e
}

// honest checks that every holder of a row has the very bytes.
func (c *cluster) honest(d catalog.Digest) {
	c.t.Helper()
	row := c.row(d)
	for _, h := range row.Holders {
		e, err := c.nodes[h].store.Verify(context.Background(), d)
		if err != nil || e.Packed != row.Packed {
			c.t.Errorf("holder %s has %+v, %v, want %+v", h, e.Packed, err, row.Packed)
		}
	}
}

// holders returns an await condition.
func (c *cluster) holders(d catalog.Digest, n int) func() bool {
	return func() bool { return len(c.row(d).Holders) == n }
}

// passes has the node make a full pass and waits for its end.
func (n *testNode) passes() {
	n.c.t.Helper()
	at := func() time.Time {
		st, err := n.r.Status()
		if err != nil {
			n.c.t.Fatal(err)
		}
		return st.PassAt
	}
	for range 2 { // the first end may be that of a pass under way
		before := at()
		n.r.Rescan()
		n.c.await("a full pass", func() bool { return at().After(before) })
	}
}

// damage flips a bit of a node's copy.
func (n *testNode) damage(d catalog.Digest) {
	n.c.t.Helper()
	b, err := os.ReadFile(n.store.Path(d))
	if err != nil {
		n.c.t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(n.store.Path(d), b, 0o644); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *testNode) tmp() []string {
	names, err := filepath.Glob(filepath.Join(n.store.Dir(), "tmp", "*"))
	if err != nil {
		n.c.t.Fatal(err)
	}
	return names
}
