package share

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// A tree is the directory on disk. All access goes through an os.Root, which no
// symbolic link leads out of.
type tree struct {
	root   *os.Root
	tmp    *os.File // the directory .tmp
	marker *os.File // holds the lock
}

type markerFile struct {
	Version int               `json:"version"`
	Cluster catalog.ClusterID `json:"cluster_id"`
}

// openTree opens dir for cluster, making it if it is missing or empty.
func openTree(dir string, cluster catalog.ClusterID) (*tree, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root}
	if err := t.take(cluster); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// take makes the directory ours to change.
func (t *tree) take(cluster catalog.ClusterID) error {
	if err := t.claim(cluster); err != nil {
		return err
	}
	if err := t.mkdir(tmpName); err != nil {
		return err
	}
	var err error
	if t.tmp, err = t.root.Open(tmpName); err != nil {
		return err
	}
	return t.clearTmp()
}

func (t *tree) close() {
	for _, f := range []*os.File{t.tmp, t.marker} {
		if f != nil {
			_ = f.Close()
		}
	}
	_ = t.root.Close()
}

// claim checks the marker, or sets it in an empty directory, and locks it.
func (t *tree) claim(cluster catalog.ClusterID) error {
	if _, err := t.root.Lstat(markerName); errors.Is(err, fs.ErrNotExist) {
		if err := t.mark(cluster); err != nil {
			return err
		}
	}
	st, err := t.root.Lstat(markerName)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() > 4096 {
		return fmt.Errorf("marker %s: not a file of ours, wanted a small JSON file", markerName)
	}
	if t.marker, err = t.root.Open(markerName); err != nil {
		return err
	}
	b, err := io.ReadAll(t.marker)
	if err != nil {
		return err
	}
	var m markerFile
	switch err := json.Unmarshal(b, &m); {
	case err != nil:
		return fmt.Errorf("marker %s: not JSON: %w", markerName, err)
	case m.Version != 1:
		return fmt.Errorf("marker %s: version %d, this build writes 1: use another directory", markerName, m.Version)
	case m.Cluster != cluster:
		return fmt.Errorf("the directory belongs to cluster %s, this is %s: use another one", m.Cluster, cluster)
	}
	if err := lockFile(t.marker); err != nil {
		return fmt.Errorf("another node uses the directory, give each its own: %w", err)
	}
	return nil
}

func (t *tree) mark(cluster catalog.ClusterID) error {
	d, err := t.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(4)
	if err != nil && err != io.EOF {
		return err
	}
	for _, n := range names {
		if n != markerNew { // left by a crash right here
			return fmt.Errorf("the directory holds %q but no %s: it is not ours to change, use an empty one", n, markerName)
		}
	}
	b, err := json.Marshal(markerFile{1, cluster})
	if err != nil {
		return err
	}
	f, err := t.root.OpenFile(markerNew, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return t.root.Rename(markerNew, markerName)
}

// mkdir makes one directory, or accepts the one that is there.
func (t *tree) mkdir(name string) error {
	err := t.root.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := t.root.Lstat(name)
	if err == nil && !st.IsDir() {
		return fmt.Errorf("%s: not a directory, and not ours: move it away", name)
	}
	return err
}

// packMagic starts the header reserve of every cabinet of internal/cab, at byte 40.
const packMagic = "SYMKPACK"

func isTmp(name string) bool { return strings.HasPrefix(name, "new-") }

// tmpPath returns the path of a new file in .tmp.
func tmpPath() string { return path.Join(tmpName, "new-"+rand.Text()) }

func (t *tree) clearTmp() error {
	return t.each(tmpName, func(e fs.DirEntry) error {
		if !isTmp(e.Name()) || !e.Type().IsRegular() {
			return nil
		}
		return t.root.Remove(path.Join(tmpName, e.Name()))
	})
}

// each calls fn with every entry of a directory, reading a few at a time.
func (t *tree) each(dir string, fn func(fs.DirEntry) error) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		es, err := d.ReadDir(256)
		for _, e := range es {
			if err := fn(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// probe proves that a file of dataDir can be linked into the tree.
func (t *tree) probe(dataDir string) error {
	dir := filepath.Join(dataDir, "tmp")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "share-probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	tmp := tmpPath()
	if err := t.link(f.Name(), tmp); err != nil {
		return fmt.Errorf("no hard link from data directory %s: both must be on one file system that has hard links: %w", dataDir, err)
	}
	return t.root.Remove(tmp)
}

// open opens the regular file name with its size; a symbolic link is an error.
func (t *tree) open(name string) (*os.File, fs.FileInfo, error) {
	st, err := t.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %s, and not ours: move it away", name, st.Mode().Type())
	}
	f, err := t.root.Open(name)
	return f, st, err
}

// isOurs reports whether the regular file name starts as the cabinets we make do.
// Damage further on does not change whose it is.
func (t *tree) isOurs(name string) bool {
	f, st, err := t.open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	if st.Size() == 0 {
		return false
	}
	var head [48]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false
	}
	return string(head[:4]) == "MSCF" && string(head[40:48]) == packMagic
}

// install moves the finished file tmp to its place.
func (t *tree) install(tmp string, p place) error {
	defer func() { _ = t.root.Remove(tmp) }() // after a failure, or if both names were links to one file
	if err := t.mkdir(p.name); err != nil {
		return err
	}
	if err := t.mkdir(p.dir()); err != nil {
		return err
	}
	if st, err := t.root.Lstat(p.file()); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s: %s, and not ours: move it away", p.file(), st.Mode().Type())
	}
	return t.root.Rename(tmp, p.file())
}

// remove removes the file at p, if it is there and ours, and the folders that
// become empty by that.
func (t *tree) remove(p place) (removed bool, err error) {
	if !t.isOurs(p.file()) {
		return false, nil
	}
	if err := t.root.Remove(p.file()); err != nil {
		return false, err
	}
	t.prune(p)
	return true, nil
}

// prune removes the folders of p that are empty.
func (t *tree) prune(p place) {
	if t.root.Remove(p.dir()) == nil { // fails while anything is in there
		_ = t.root.Remove(p.name)
	}
}

// ping notes a change of the tree.
func (t *tree) ping(now time.Time) error {
	f, err := t.root.OpenFile(pingName, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return t.root.Chtimes(pingName, now, now)
}
