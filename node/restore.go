package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

const (
	// freezeTime is how long nothing is retired after a restore or a recovery: what
	// the catalog has forgotten may be found to be needed.
	freezeTime = 7 * 24 * time.Hour
	// restoringFile marks a data directory whose restore has not ended, by the
	// SHA-256 of its backup file. No node starts on it.
	restoringFile = "restoring"
)

// A RestoreConfig says what to make a new cluster of.
type RestoreConfig struct {
	File    string   // backup file
	DataDir string   // of the node to be; empty, or left behind by a restore of the same file
	Blobs   []string // directories with packed blobs: of a backup, or data directories of the past
	Logger  *slog.Logger
}

// Restore makes a data directory with the catalog of a backup, as the founder of a
// new cluster, and brings in the blobs that are found and sound. A blob that is not
// is counted, never fatal. No node may run on any of the directories.
func Restore(ctx context.Context, cfg RestoreConfig) (api.RestoreResult, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &restore{cfg: cfg, result: api.RestoreResult{DataDir: cfg.DataDir}}
	if err := r.run(ctx); err != nil {
		return r.result, fmt.Errorf("restore into %s: %w", cfg.DataDir, err)
	}
	return r.result, nil
}

type restore struct {
	cfg    RestoreConfig
	result api.RestoreResult
	wanted []raftfsm.BackupBlob
	info   raftfsm.BackupInfo

	mu   sync.Mutex
	have map[catalog.Digest]bool // in the data directory, verified
}

func (r *restore) run(ctx context.Context) error {
	mark, err := r.readBackup()
	if err != nil {
		return err
	}
	if err := r.claim(mark); err != nil {
		return err
	}
	node, cluster := uuid.NewString(), uuid.NewString()
	r.result.Node, r.result.ClusterID = catalog.NodeID(node), catalog.ClusterID(cluster)
	fsm, err := r.restoreCatalog()
	if err != nil {
		return err
	}
	err = r.fill(ctx, fsm)
	if err == nil {
		err = founding(filepath.Join(r.cfg.DataDir, "raft"), fsm, r.info.AppliedIndex, r.info.AppliedTerm, r.result.Node, "restored.invalid:0", r.cfg.Logger)
	}
	if err = errors.Join(err, fsm.Close()); err != nil {
		return err
	}
	if err := r.buildIndex(); err != nil {
		return err
	}
	if err := writeID(r.cfg.DataDir, "cluster-id", cluster); err != nil {
		return err
	}
	if err := writeID(r.cfg.DataDir, "node-id", node); err != nil {
		return err
	}
	return os.Remove(filepath.Join(r.cfg.DataDir, restoringFile))
}

// readBackup verifies the whole file and notes what it needs. It returns a mark of
// the file.
func (r *restore) readBackup() (string, error) {
	f, err := os.Open(r.cfg.File)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r.info, err = raftfsm.VerifyBackup(f, func(b raftfsm.BackupBlob) error {
		r.wanted = append(r.wanted, b)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", r.cfg.File, err)
	}
	r.result.From, r.result.Index, r.result.Created = r.info.ClusterID, r.info.AppliedIndex, r.info.Created
	r.result.Blobs.Wanted = int64(len(r.wanted))
	var trailer [32]byte
	if _, err := f.Seek(-int64(len(trailer)), io.SeekEnd); err != nil {
		return "", err
	}
	_, err = io.ReadFull(f, trailer[:])
	return hex.EncodeToString(trailer[:]), err
}

// claim takes an empty directory, or one that an earlier run with the same file has
// left. Only its blobs are used again.
func (r *restore) claim(mark string) error {
	dir := r.cfg.DataDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(filepath.Join(dir, restoringFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for _, e := range entries {
			if e.Name() != "lost+found" && !strings.HasPrefix(e.Name(), restoringFile+".") {
				return fmt.Errorf("directory is not empty, it holds %s: name an empty one: %w", e.Name(), catalog.ErrConflict)
			}
		}
		return writeFile(dir, restoringFile, mark)
	case err != nil:
		return err
	case strings.TrimSpace(string(old)) != mark:
		return fmt.Errorf("the directory holds an interrupted restore of another backup file: empty it: %w", catalog.ErrConflict)
	}
	for _, name := range []string{"fsm.db", "fsm.db.new", "raft", "local.db", "cluster-id", "node-id", "tmp"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// restoreCatalog writes fsm.db and makes it the catalog of a new cluster.
func (r *restore) restoreCatalog() (*raftfsm.FSM, error) {
	f, err := os.Open(r.cfg.File)
	if err != nil {
		return nil, err
	}
	b, err := raftfsm.ReadBackup(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	fsm, err := raftfsm.Open(filepath.Join(r.cfg.DataDir, "fsm.db"))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = fsm.Restore(struct {
		io.Reader
		io.Closer
	}{b.Catalog(), f})
	if err == nil {
		var did raftfsm.Anew
		did, err = fsm.BeginAnew(r.result.ClusterID, freezeTime.Milliseconds())
		r.result.Expired, r.result.Requeued, r.result.Notices = did.Expired, did.Requeued, did.Dropped
	}
	if err != nil {
		return nil, errors.Join(err, fsm.Close())
	}
	return fsm, nil
}
