package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"symkeep/internal/catalog"
)

// An identity is who a data directory belongs to. The node id is made once; the
// cluster id is empty until the node founds or joins a cluster, then fixed.
type identity struct {
	dir     string
	Node    catalog.NodeID
	Cluster catalog.ClusterID
}

// openIdentity reads the identity of dir, and makes the node id of a fresh one.
func openIdentity(dir string) (*identity, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, restoringFile)); err == nil {
		return nil, fmt.Errorf("data directory %s: a restore into it has not ended: run the same restore again, or empty the directory: %w", dir, catalog.ErrConflict)
	}
	id := &identity{dir: dir}
	node, err := readID(filepath.Join(dir, "node-id"))
	if err != nil {
		return nil, err
	}
	if node == "" {
		if _, err := os.Stat(filepath.Join(dir, "fsm.db")); err == nil {
			return nil, fmt.Errorf("data directory %s: holds fsm.db and no node-id: restore the file, or empty the directory and join again", dir)
		}
		node = uuid.NewString()
		if err := writeID(dir, "node-id", node); err != nil {
			return nil, err
		}
	}
	cluster, err := readID(filepath.Join(dir, "cluster-id"))
	if err != nil {
		return nil, err
	}
	id.Node, id.Cluster = catalog.NodeID(node), catalog.ClusterID(cluster)
	return id, id.checkDiverged()
}

// setCluster records the cluster this node belongs to from now on.
func (id *identity) setCluster(c catalog.ClusterID) error {
	if id.Cluster != "" && id.Cluster != c {
		return fmt.Errorf("data directory %s belongs to cluster %s, asked to join %s: use another directory: %w",
			id.dir, id.Cluster, c, catalog.ErrConflict)
	}
	if err := writeID(id.dir, "cluster-id", string(c)); err != nil {
		return err
	}
	id.Cluster = c
	return nil
}

// found makes up the cluster that this node is about to found, and notes that, so
// that a start after a crash knows it was not joining one.
func (id *identity) found() (catalog.ClusterID, error) {
	c := uuid.NewString()
	return catalog.ClusterID(c), writeID(id.dir, "founding", c)
}

// isFounding reports whether this node began to found its cluster and may not
// have come to its first log entry.
func (id *identity) isFounding() (bool, error) {
	c, err := readID(filepath.Join(id.dir, "founding"))
	return c != "" && catalog.ClusterID(c) == id.Cluster, err
}

// founded says that the log has its first entry.
func (id *identity) founded() error { return os.Remove(filepath.Join(id.dir, "founding")) }

// readID returns the UUID in a file, empty when there is none.
func readID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	u, err := uuid.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("%s: %.80q is not a UUID: restore the file from a backup", path, b)
	}
	return u.String(), nil
}

// writeID writes a UUID so that a crash leaves the old file or the new one.
func writeID(dir, name, id string) error { return writeFile(dir, name, id) }

// writeFile writes a line of text, durably, so that a crash leaves the old file or
// the new one.
func writeFile(dir, name, text string) error {
	tmp, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
