package blobstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// faultyFS is the real file system until its step'th change: that one fails with
// err. With dead set, as after a crash, all later ones fail too.
type faultyFS struct {
	blobstore.OS
	mu    sync.Mutex // held by fault: directories are synced at the same time
	step  int        // counts down; 0 never fails
	err   error
	dead  bool
	torn  bool // the failing write leaves half of its bytes
	trace []string
}

func (f *faultyFS) fault(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trace = append(f.trace, what)
	if f.step == 0 {
		return nil
	}
	if f.step--; f.step == 0 {
		if f.dead {
			f.step = 1
		}
		return fmt.Errorf("%s: %w", what, f.err)
	}
	return nil
}

func (f *faultyFS) Create(path string) (blobstore.File, error) {
	if err := f.fault("create"); err != nil {
		return nil, err
	}
	file, err := f.OS.Create(path)
	return &faultyFile{file, f}, err
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.fault("rename"); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f *faultyFS) Remove(path string) error {
	if err := f.fault("remove"); err != nil {
		return err
	}
	return f.OS.Remove(path)
}

func (f *faultyFS) Mkdir(path string) error {
	if err := f.fault("mkdir"); err != nil {
		return err
	}
	return f.OS.Mkdir(path)
}

func (f *faultyFS) SyncDir(path string) error {
	if err := f.fault("syncdir"); err != nil {
		return err
	}
	return f.OS.SyncDir(path)
}

type faultyFile struct {
	blobstore.File
	fs *faultyFS
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.fault("write"); err != nil {
		n := 0
		if f.fs.torn {
			n, _ = f.File.WriteAt(p[:len(p)/2], off)
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Truncate(n int64) error {
	if err := f.fs.fault("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(n)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.fault("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

// steps runs one commit without faults and returns the changes it makes.
func steps(t *testing.T, b []byte) []string {
	fs := &faultyFS{}
	s := open(t, blobstore.Config{Dir: t.TempDir(), FS: fs})
	fs.trace = nil
	mustPut(t, s, "x", b)
	trace := fs.trace
	for _, want := range []string{"create", "write", "sync", "mkdir", "rename", "syncdir"} {
		found := false
		for _, got := range trace {
			found = found || got == want
		}
		if !found {
			t.Fatalf("a commit does %q, want %q among it", trace, want)
		}
	}
	return trace
}

// TestEveryFault fails each step of a commit in turn. The commit must fail or the
// blob be there; nothing partial is ever served, and another try works.
func TestEveryFault(t *testing.T) {
	b := raw(1, 100_000)
	n := len(steps(t, b))
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		for step := 1; step <= n; step++ {
			t.Run(fmt.Sprintf("%v at step %d", fault, step), func(t *testing.T) {
				fs := &faultyFS{err: fault, torn: true}
				s := open(t, blobstore.Config{Dir: t.TempDir(), FS: fs})
				other := mustPut(t, s, "other", raw(2, 500))
				fs.step = step
				e, err := put(s, "x", b)
				fs.step = 0
				if err == nil {
					if err := intact(s, e.Digest, b); err != nil {
						t.Fatalf("acknowledged blob: %v", err)
					}
				} else if fault == syscall.ENOSPC && !errors.Is(err, catalog.ErrFull) {
					t.Errorf("error = %v, want ErrFull", err)
				}
				if page, err := s.List(catalog.Digest{}, 10); err != nil || (err == nil && e.Digest.IsZero() && len(page) != 1) {
					t.Errorf("List = %+v, %v, want the other blob alone", page, err)
				}
				sp, _ := s.Space()
				if sp.Reserved != 0 {
					t.Errorf("%d bytes are still reserved", sp.Reserved)
				}
				if e, err = put(s, "x", b); err != nil {
					t.Fatalf("second try: %v", err)
				}
				if err := errors.Join(intact(s, e.Digest, b), intact(s, other.Digest, raw(2, 500))); err != nil {
					t.Error(err)
				}
				if names := left(t, s, "tmp"); len(names) > 1 { // its removal may be what failed
					t.Errorf("tmp holds %q", names)
				}
			})
		}
	}
}

// TestEveryCrash stops the world at each step of a commit, and opens the directory
// again. What was acknowledged before is there; of the blob under way there is all
// or nothing, and what is left of it is usable.
func TestEveryCrash(t *testing.T) {
	b := raw(1, 100_000)
	n := len(steps(t, b))
	adopted := 0
	for step := 1; step <= n+1; step++ {
		dir := t.TempDir()
		fs := &faultyFS{err: errors.New("crashed"), torn: true, dead: true}
		s := open(t, blobstore.Config{Dir: dir, FS: fs})
		other := mustPut(t, s, "other", raw(2, 500))
		fs.step = step
		e, err := put(s, "x", b)
		acked := err == nil
		crashed := t.TempDir()
		cloneDir(t, dir, crashed)

		again := open(t, blobstore.Config{Dir: crashed})
		if !again.NeedsReconcile() {
			t.Errorf("step %d: NeedsReconcile = false after a crash", step)
		}
		if err := intact(again, other.Digest, raw(2, 500)); err != nil {
			t.Errorf("step %d: blob acknowledged before: %v", step, err)
		}
		if acked {
			if err := intact(again, e.Digest, b); err != nil {
				t.Errorf("step %d: acknowledged blob: %v", step, err)
			}
		}
		if err := again.Reconcile(context.Background()); err != nil {
			t.Errorf("step %d: Reconcile: %v", step, err)
		}
		page, err := again.List(catalog.Digest{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if _, err := again.Verify(context.Background(), e.Digest); err != nil {
				t.Errorf("step %d: a partial blob is served: %v", step, err)
			}
		}
		if !acked && len(page) == 2 {
			adopted++
		}
		if len(left(t, again, "tmp")) > 0 || len(left(t, again, "quarantine")) > 0 {
			t.Errorf("step %d: tmp %q, quarantine %q", step, left(t, again, "tmp"), left(t, again, "quarantine"))
		}
	}
	if adopted == 0 {
		t.Error("no crash came between rename and index: the test does not reach Reconcile's work")
	}
}

// cloneDir copies a data directory as a crash would leave it.
func cloneDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if e.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o755)
		}
		copyFile(t, path, filepath.Join(to, rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReconcileDropsAndAdopts(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	s := open(t, blobstore.Config{Dir: dir})
	lost := mustPut(t, s, "lost", raw(1, 100))
	b := raw(2, 100)
	src := open(t, blobstore.Config{Dir: other})
	found := mustPut(t, src, "found", b)
	if err := os.MkdirAll(filepath.Dir(s.Path(found.Digest)), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, src.Path(found.Digest), s.Path(found.Digest))
	shardless := mustPut(t, s, "shardless", raw(3, 100))
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(s.Path(shardless.Digest)))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Path(lost.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s.Has(lost.Digest) || s.Has(shardless.Digest) {
		t.Error("an entry without a file is still there")
	}
	if err := intact(s, found.Digest, b); err != nil {
		t.Errorf("a file without an entry: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Reconcile(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Reconcile with an ended context = %v", err)
	}
}

// fullFS reports a file system of 1000 MB with some in use.
type fullFS struct {
	blobstore.OS
	used int64
}

func (f *fullFS) Usage(string) (int64, int64, error) { return f.used, 1e9 - f.used, nil }

func TestWatermark(t *testing.T) {
	fs := &fullFS{used: 87e7}
	s := open(t, blobstore.Config{Dir: t.TempDir(), FS: fs})
	release, err := s.Reserve(4e7)
	if err != nil {
		t.Fatalf("Reserve up to 91 %%: %v", err)
	}
	if _, err := s.Create(2e7); !errors.Is(err, catalog.ErrFull) {
		t.Errorf("Create beyond 92 %% with another promise: %v, want ErrFull", err)
	}
	release()
	release() // a second call does nothing
	st, err := s.Create(2e7)
	if err != nil {
		t.Fatalf("Create after the release: %v", err)
	}
	before, _ := s.Space()
	if _, err := st.Write(make([]byte, 1e6)); err != nil {
		t.Fatal(err)
	}
	after, _ := s.Space()
	if got := before.Reserved - after.Reserved; got != 1e6 {
		t.Errorf("1 MB written took %d bytes off the promise, want 1000000", got)
	}
	if _, err := s.CreateFor(blobstore.ForRepair, 1); !errors.Is(err, catalog.ErrFull) {
		t.Errorf("CreateFor(ForRepair) with 89 %% promised: %v, want ErrFull", err)
	}
	st.Abort()
	if sp, _ := s.Space(); sp.Reserved != 0 {
		t.Errorf("%d bytes reserved after Abort", sp.Reserved)
	}
	if st, err = s.CreateFor(blobstore.ForRepair, 1); err != nil {
		t.Fatalf("CreateFor(ForRepair) below 88 %%: %v", err)
	}
	st.Abort()
	fs.used = 96e7
	_, err = put(s, "x", []byte{1})
	if !errors.Is(err, catalog.ErrFull) {
		t.Errorf("put on a full disk: %v, want ErrFull", err)
	}
	for _, want := range []string{"96.", "1000000000 bytes", "92 %", "free or add disk space"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("put on a full disk: %q does not say %q", err, want)
		}
	}
	if sp, _ := s.Space(); !sp.Full() || sp.Share() < 0.95 {
		t.Errorf("Space = %+v, want full", sp)
	}
}

func TestLevels(t *testing.T) {
	fs := &fullFS{}
	s := open(t, blobstore.Config{Dir: t.TempDir(), FS: fs})
	for _, tt := range []struct {
		used int64
		want blobstore.Level
	}{
		{79e7, blobstore.LevelOK}, {81e7, blobstore.LevelWarn}, {89e7, blobstore.LevelNoRebalance},
		{93e7, blobstore.LevelNoIngest}, {98e7, blobstore.LevelReadOnly}, {1e9, blobstore.LevelReadOnly},
	} {
		fs.used = tt.used
		if sp, err := s.Space(); err != nil || sp.Level() != tt.want {
			t.Errorf("level with %d of 1000000000 bytes used = %s, %v, want %s", tt.used, sp.Level(), err, tt.want)
		}
	}
	if sp := (blobstore.Space{Used: 5, Avail: 5, Reserved: 4, Marks: blobstore.DefaultMarks()}); sp.Level() != blobstore.LevelNoRebalance {
		t.Errorf("level with 9 of 10 bytes used or promised = %s, want %s", sp.Level(), blobstore.LevelNoRebalance)
	}
	for _, m := range []blobstore.Marks{{Warn: 0.9}, {ReadOnly: 1.1}, {Warn: -0.1}, {Ingest: 0.5}} {
		if _, err := blobstore.Open(blobstore.Config{Dir: t.TempDir(), Marks: m}); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("Open with marks %+v: %v, want ErrInvalid", m, err)
		}
	}
}

func TestStagingIsAFile(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	st, err := s.Create(100)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	if _, err := st.Write([]byte("hello world")); err != nil {
		t.Fatal(err)
	}
	if pos, err := st.Seek(-5, 2); pos != 6 || err != nil {
		t.Fatalf("Seek = %d, %v, want 6", pos, err)
	}
	b := make([]byte, 10)
	if n, err := st.Read(b); string(b[:n]) != "world" || err != nil {
		t.Errorf("Read = %q, %v, want world", b[:n], err)
	}
	if _, err := st.Seek(-1, 0); err == nil {
		t.Error("Seek before the start succeeded")
	}
	if _, err := st.Commit(cab.Info{PackedSize: 12, RawSize: 100}); err == nil {
		t.Error("Commit of fewer bytes than announced succeeded")
	}
}
