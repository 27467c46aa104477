package symhttp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/symhttp"
)

const (
	clusterID = catalog.ClusterID("7d0c1a52-3f3e-4a39-9a7e-51c3a9b0d001")
	packageID = catalog.PackageID("01JD3ZK8Q2V7M4N5P6R7S8T9W0")
)

// world is everything the servers ask, in memory, with the blobs in real files.
type world struct {
	dir string

	mu        sync.Mutex
	deadline  time.Time // of the last commit
	files     map[symid.IndexKey]catalog.Candidate
	locateErr error
	slow      bool            // LocateNow states no miss
	version   uint64          // of files
	looks     int             // of Locate and LocateNow
	reading   func(off int64) // called at each read of a blob; set before the first request
	panics    bool
	openErr   func(n int) error // of the n-th OpenBlob, from 1
	opens     int
	suspects  []catalog.Digest
	remote    bool                      // blobs have no local file
	other     map[catalog.Digest]string // another copy, used once a blob is suspect
	health    []symhttp.Check
	purpose   symhttp.Purpose

	calls    []string // what the API was asked
	callErr  error
	state    symhttp.UploadState
	stateErr error
	uploaded bytes.Buffer
	upload   func(u symhttp.Upload, body io.Reader) (catalog.Receipt, error)
	waiting  chan struct{}
}

func newWorld(t testing.TB) *world {
	return &world{dir: t.TempDir(), files: map[symid.IndexKey]catalog.Candidate{}, other: map[catalog.Digest]string{}}
}

// add packs content and makes it the answer for the keys.
func (w *world) add(t testing.TB, name string, content []byte, keys ...symid.Key) catalog.Candidate {
	t.Helper()
	d := catalog.Digest(sha256.Sum256(content))
	pack(t, w.path(d), name, content)
	c := catalog.Candidate{Package: packageID, Name: name, Digest: d, State: catalog.StateGood}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	for _, k := range keys {
		w.files[k.Index()] = c
	}
	return c
}

func (w *world) path(d catalog.Digest) string { return filepath.Join(w.dir, d.String()) }

func pack(t testing.TB, path, name string, content []byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(content)), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(content); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) ClusterID() catalog.ClusterID { return clusterID }
func (w *world) AppliedIndex() uint64         { return 42 }

func (w *world) Locate(_ context.Context, keys []symid.Key) (catalog.Candidate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.panics {
		panic("locator broke")
	}
	if w.locateErr != nil {
		return catalog.Candidate{}, w.locateErr
	}
	for _, k := range keys {
		if c, ok := w.files[k.Index()]; ok {
			return c, nil
		}
	}
	return catalog.Candidate{}, fmt.Errorf("key %v: %w", keys, catalog.ErrNotFound)
}

func (w *world) LocateNow(keys []symid.Key) (catalog.Candidate, error) {
	c, err := w.Locate(context.Background(), keys)
	if errors.Is(err, catalog.ErrNotFound) && w.slow {
		return c, catalog.ErrUnavailable
	}
	if errors.Is(err, catalog.ErrNotFound) {
		err = catalog.ErrNotFound
	}
	return c, err
}

func (w *world) Version() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

func (w *world) StillMissing(version uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.slow && version == w.version
}

// file is a copy on this node, or one that pretends to be far away.
type file struct {
	f    *os.File
	size int64
	far  bool
	read func(off int64)
}

func openBlob(path string, local bool) (symhttp.Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrNotFound)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &file{f: f, size: fi.Size(), far: !local}, nil
}

func (b *file) ReadAt(p []byte, off int64) (int, error) {
	if b.read != nil {
		b.read(off)
	}
	return b.f.ReadAt(p, off)
}

func (b *file) Close() error { return b.f.Close() }
func (b *file) Size() int64  { return b.size }

func (b *file) File() *os.File {
	if b.far {
		return nil
	}
	return b.f
}

func (w *world) OpenBlob(_ context.Context, d catalog.Digest) (symhttp.Blob, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opens++
	if w.openErr != nil {
		if err := w.openErr(w.opens); err != nil {
			return nil, err
		}
	}
	path := w.path(d)
	if len(w.suspects) > 0 && w.other[d] != "" {
		path = w.other[d]
	}
	b, err := openBlob(path, !w.remote)
	if err == nil {
		b.(*file).read = w.reading
	}
	return b, err
}

func (w *world) Suspect(d catalog.Digest, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspects = append(w.suspects, d)
}

func (w *world) Live(context.Context) []symhttp.Check { return w.checks("") }

func (w *world) Ready(_ context.Context, p symhttp.Purpose) []symhttp.Check { return w.checks(p) }

func (w *world) checks(p symhttp.Purpose) []symhttp.Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.purpose = p
	return w.health
}

// called notes a call and returns the error the test wants.
func (w *world) called(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
	return w.callErr
}

// suspected returns the digests that were reported.
func (w *world) suspected() []catalog.Digest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.suspects)
}

// every returns every call so far.
func (w *world) every() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// last returns the last call.
func (w *world) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 {
		return ""
	}
	return w.calls[len(w.calls)-1]
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	f()
}

func (w *world) OpenPackage(_ context.Context, r api.OpenRequest) (api.OpenResponse, error) {
	return api.OpenResponse{Package: packageID, State: catalog.StateOpen, ClusterID: clusterID, Index: 7}, w.called("open %s %s %s", r.IdempotencyKey, r.Product, r.Version)
}

func (w *world) AddFiles(_ context.Context, id catalog.PackageID, r api.AddFilesRequest) (api.AddFilesResponse, error) {
	return api.AddFilesResponse{Lacking: []catalog.Digest{{1}}}, w.called("add %s %d %d", id, r.First, len(r.Files))
}

func (w *world) CommitPackage(ctx context.Context, id catalog.PackageID, r api.CommitRequest) (api.CommitResponse, error) {
	w.set(func() { w.deadline, _ = ctx.Deadline() })
	return api.CommitResponse{State: catalog.StateCommitted, Index: 9}, w.called("commit %s %d", id, r.Files)
}

func (w *world) RenewLease(_ context.Context, id catalog.PackageID) error {
	return w.called("lease %s", id)
}

func (w *world) UploadState(_ context.Context, u symhttp.Upload) (symhttp.UploadState, error) {
	err := w.called("state %s %s", u.Package, u.Digest)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, errors.Join(err, w.stateErr)
}

func (w *world) Upload(_ context.Context, u symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
	w.called("upload %s %s %d+%d of %d", u.Package, u.Digest, u.Offset, u.Size, u.Length)
	if w.upload != nil {
		return w.upload(u, body)
	}
	w.uploaded.Reset()
	_, err := w.uploaded.ReadFrom(body)
	return catalog.Receipt{Digest: u.Digest, RawSize: u.Length, Holders: []catalog.NodeID{"n1", "n2"}}, err
}

func (w *world) ArchiveState(_ context.Context, a symhttp.Archive) error {
	err := w.called("archive state %s %s", a.Package, a.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(err, w.stateErr)
}

func (w *world) AddArchive(_ context.Context, a symhttp.Archive, body io.Reader) (api.ArchiveResponse, error) {
	err := w.called("archive %s %s of %d", a.Package, a.Name, a.Size)
	w.uploaded.Reset()
	_, rerr := w.uploaded.ReadFrom(body)
	return api.ArchiveResponse{Package: a.Package, Files: 3, Added: 2, Ignored: 1}, errors.Join(err, rerr)
}

func (w *world) PackageStatus(ctx context.Context, id catalog.PackageID, wait time.Duration) (api.PackageStatus, error) {
	err := w.called("status %s %v", id, wait)
	if w.waiting != nil && wait > 0 {
		close(w.waiting)
		<-ctx.Done()
	}
	return api.PackageStatus{Package: catalog.Package{ID: id, State: catalog.StateCommitted}}, err
}

func (w *world) ListPackages(_ context.Context, q api.PackagesQuery) (api.PackagesPage, error) {
	return api.PackagesPage{Packages: []catalog.Package{{ID: packageID}}}, w.called("list %s %s %s %s %d", q.Product, q.Version, q.State, q.Before, q.Limit)
}

func (w *world) ListFiles(_ context.Context, id catalog.PackageID, after, limit int) (api.FilesPage, error) {
	return api.FilesPage{Files: []catalog.File{{No: 3, Path: "a/b.pdb"}}}, w.called("files %s %d %d", id, after, limit)
}

func (w *world) FindKeys(_ context.Context, queries []api.FindQuery) ([]api.FindResponse, error) {
	var answers []api.FindResponse
	said := "find"
	for _, q := range queries {
		answers = append(answers, api.FindResponse{Query: q.Q})
		said += " " + q.Q + q.Name
	}
	return answers, w.called("%s", said)
}

func (w *world) DeletePackage(_ context.Context, id catalog.PackageID, r api.DeleteRequest) error {
	return w.called("delete %s %s", id, r.Reason)
}

func (w *world) UndeletePackage(_ context.Context, id catalog.PackageID) error {
	return w.called("undelete %s", id)
}

func (w *world) RetryPackage(_ context.Context, id catalog.PackageID) error {
	return w.called("retry %s", id)
}

func (w *world) ClusterStatus(context.Context) (api.ClusterStatus, error) {
	return api.ClusterStatus{ClusterID: clusterID, Healthy: true}, w.called("cluster")
}

func (w *world) JoinCluster(_ context.Context, r api.ClusterJoinRequest) error {
	return w.called("join %v", r.Addrs)
}

func (w *world) LeaveCluster(context.Context) error { return w.called("leave") }

func (w *world) RemoveMember(_ context.Context, r api.NodeRequest) error {
	return w.called("remove %s %v", r.Node, r.Force)
}

func (w *world) DrainMember(_ context.Context, r api.NodeRequest) error {
	return w.called("drain %s %v", r.Node, r.Undo)
}

func (w *world) MaintainMember(_ context.Context, r api.NodeRequest) error {
	return w.called("maintenance %s %v %v", r.Node, r.For, r.Undo)
}

func (w *world) TransferLeader(_ context.Context, r api.NodeRequest) error {
	return w.called("transfer %q", r.Node)
}

func (w *world) CheckCluster(context.Context) (api.CheckReport, error) {
	return api.CheckReport{OK: true}, w.called("check")
}

func (w *world) ClearAlarms(_ context.Context, r api.AlarmRequest) error {
	return w.called("clear %s %s", r.Node, r.Code)
}

func (w *world) PlanLayout(_ context.Context, r api.LayoutRequest) (api.LayoutPlan, error) {
	return api.LayoutPlan{Base: 4}, w.called("plan %v %d", r.Weights, r.Replicas)
}

func (w *world) ApplyLayout(_ context.Context, r api.LayoutRequest) (api.LayoutPlan, error) {
	return api.LayoutPlan{Base: 5}, w.called("apply %v on %d", r.Weights, r.Base)
}

func (w *world) ReplStatus(context.Context) (api.ReplResponse, error) {
	return api.ReplResponse{Paused: true}, w.called("repl")
}

func (w *world) SetRepl(_ context.Context, r api.ReplRequest) (api.ReplResponse, error) {
	return api.ReplResponse{}, w.called("set repl %v %v %v", *r.Paused, r.Scrub, r.Nodes)
}

func (w *world) FeatureStatus(context.Context) (api.FeatureStatus, error) {
	return api.FeatureStatus{Level: 1}, w.called("feature")
}

func (w *world) RaiseFeature(_ context.Context, r api.FeatureRequest) (api.FeatureStatus, error) {
	return api.FeatureStatus{Level: r.Level}, w.called("raise %d", r.Level)
}

func (w *world) ShowPolicy(context.Context) (api.ClusterPolicy, error) {
	return api.ClusterPolicy{Deny: []string{"PDB-AGE"}}, w.called("policy")
}

func (w *world) SetPolicy(_ context.Context, r api.PolicyRequest) (api.ClusterPolicy, error) {
	return api.ClusterPolicy{}, w.called("set policy %v %v", *r.Allow, r.Deny)
}

func (w *world) CheckNode(_ context.Context, ask []catalog.NodeID) (api.PeerCheck, error) {
	return api.PeerCheck{NowMS: 8}, w.called("check node %s", ask)
}

func (w *world) ScrubNow(context.Context) error { return w.called("scrub") }

func (w *world) HandOver(_ context.Context, to catalog.NodeID) error {
	return w.called("hand over %q", to)
}

func (w *world) RaiseLevel(_ context.Context, level int) error { return w.called("level %d", level) }

func (w *world) Propose(_ context.Context, command []byte) ([]byte, error) {
	return []byte(`{"ok":true}`), w.called("propose %x", command)
}

func (w *world) ReadIndex(context.Context) (uint64, error) { return 17, w.called("read-index") }

func (w *world) LookupKeys(_ context.Context, keys []symid.IndexKey) (api.LookupResponse, error) {
	return api.LookupResponse{Index: 5, Candidates: []catalog.Candidate{{Name: "a"}}}, w.called("lookup %x", keys)
}

func (w *world) PeerStatus(context.Context) (api.PeerStatus, error) {
	return api.PeerStatus{Name: "n1", Term: 3}, w.called("peer status")
}

func (w *world) MemberLeaves(_ context.Context, d api.Departure) error {
	return w.called("leaves %s unless needed %t", d.Node, d.UnlessNeeded)
}

func (w *world) OpenCopy(_ context.Context, d catalog.Digest) (symhttp.Blob, error) {
	return openBlob(w.path(d), true)
}

func (w *world) HaveCopies(_ context.Context, ds []catalog.Digest) ([]*catalog.Packed, error) {
	have := make([]*catalog.Packed, len(ds))
	have[0] = &catalog.Packed{Size: 5, Container: catalog.ContainerCab}
	return have, w.called("have %d", len(ds))
}

func (w *world) FetchCopy(_ context.Context, d catalog.Digest, r api.FetchRequest) error {
	return w.called("fetch %s from %s", d, r.Source)
}

func (w *world) AdmitMember(_ context.Context, r api.JoinRequest) (api.JoinResponse, error) {
	return api.JoinResponse{ClusterID: clusterID, Leader: "n1"}, w.called("admit %s", r.Member.Name)
}

// testLog shows the server's log of a failed test.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func testConfig() symhttp.Config {
	cfg := symhttp.DefaultConfig("n1")
	cfg.Version = "test"
	cfg.ReachTimeout = 2 * time.Second
	cfg.DrainTimeout = 5 * time.Second
	return cfg
}

func (w *world) OpenBackup(context.Context) (symhttp.Backup, error) {
	if err := w.called("backup"); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("backup: %w", catalog.ErrUnavailable)
}

func (w *world) BlobStates(_ context.Context, ds []catalog.Digest) ([]api.BlobState, error) {
	return make([]api.BlobState, len(ds)), w.called("states of %d", len(ds))
}

func (w *world) public(t testing.TB) symhttp.Public {
	return symhttp.Public{
		Log: testLog(t), Self: w, Locator: w, Blobs: w, Health: w,
		Ingest: w, Uploads: w, Archives: w, Packages: w, Keeper: w, Cluster: w, Operator: w, Layouts: w, Tuning: w, Policies: w, Backups: w,
	}
}

// start runs the public server on a free port until the test ends.
func start(t testing.TB, cfg symhttp.Config, p symhttp.Public) (addr string) {
	t.Helper()
	s, err := symhttp.NewPublic(cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := run(t, s, listen(t))
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return addr
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// run runs a server; stop asks it to end and returns what Run returned.
func run(t testing.TB, s *symhttp.Server, ln net.Listener) (addr string, stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	t.Cleanup(cancel)
	return ln.Addr().String(), sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// damage overwrites some bytes of a file, at an offset from its end if that is negative.
func damage(t testing.TB, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if off < 0 {
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		off += fi.Size()
	}
	if _, err := f.WriteAt([]byte("damage"), off); err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes that shrink to about half.
func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(16))
	}
	return b
}
