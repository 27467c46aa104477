package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

const (
	keepWorkers   = 4
	keepAttempts  = 3 // rounds over the servers, for one blob
	keepPause     = time.Second
	progressEvery = 10 * time.Second
)

// A keeper compares the blobs of a backup with a directory. With clients it brings
// what is missing there.
type keeper struct {
	clients []*api.Client // none: only look
	dir     string
	env     Env

	mu   sync.Mutex
	out  *backupResult
	told time.Time
}

// all looks after every blob that a backup file needs.
func (k *keeper) all(ctx context.Context, file string) error {
	if _, err := os.Stat(k.dir); err != nil && len(k.clients) == 0 {
		return err
	}
	k.told = k.env.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(keepWorkers)
	_, err := eachBackupBlob(file, func(b raftfsm.BackupBlob) error {
		g.Go(func() error { return k.one(gctx, b) })
		return gctx.Err()
	})
	if gerr := g.Wait(); gerr != nil {
		return gerr
	}
	return err
}

func (k *keeper) path(d catalog.Digest) string {
	return blobstore.PathIn(k.dir, d)
}

// one counts a blob as there, brought or lost. Any sound packed form of its bytes
// will do: a cluster may have packed it again since.
func (k *keeper) one(ctx context.Context, b raftfsm.BackupBlob) error {
	_, err := blobstore.VerifyPath(ctx, k.path(b.Digest), b.Digest)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found := err
	size := int64(0)
	if err != nil && len(k.clients) > 0 {
		if size, err = k.bring(ctx, b); ctx.Err() != nil {
			return ctx.Err()
		}
		var disk *fs.PathError
		if errors.As(err, &disk) { // the next ones would not fit either
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case found == nil:
		k.out.There++
	case err == nil:
		k.out.Fetched++
		k.out.FetchedBytes += size
	case errors.Is(found, fs.ErrNotExist):
		k.out.Missing++
		k.out.lose(b.Digest)
	default:
		k.out.Damaged++
		k.out.lose(b.Digest)
	}
	if err != nil && len(k.clients) > 0 {
		fmt.Fprintf(k.env.Stderr, "blob %s: %s\n", b.Digest, agent.Clean(err.Error()))
	}
	if now := k.env.Now(); now.Sub(k.told) >= progressEvery {
		k.told = now
		fmt.Fprintf(k.env.Stderr, "%d of %d blobs, %s brought\n", k.out.There+k.out.Fetched, k.out.Blobs, agent.Size(k.out.FetchedBytes))
	}
	return nil
}

// bring asks one server after the other for a blob.
func (k *keeper) bring(ctx context.Context, b raftfsm.BackupBlob) (size int64, err error) {
	if err := os.MkdirAll(filepath.Dir(k.path(b.Digest)), 0o755); err != nil {
		return 0, err
	}
	for round := range keepAttempts {
		if round > 0 && !sleep(ctx, keepPause) {
			return 0, ctx.Err()
		}
		worth := false
		for _, c := range k.clients {
			if size, err = k.from(ctx, c, b.Digest); err == nil || ctx.Err() != nil {
				return size, err
			}
			worth = worth || errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, cab.ErrCorrupt) || errors.Is(err, cab.ErrFormat)
		}
		if !worth {
			break
		}
	}
	return 0, err
}

func (k *keeper) from(ctx context.Context, c *api.Client, d catalog.Digest) (size int64, err error) {
	ctx, alive, stop := watchStall(ctx)
	defer stop()
	body, size, err := c.Blob(ctx, d)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return size, writeWhole(k.path(d), func(f *os.File) error {
		if n, err := io.Copy(f, alive(body)); err != nil || n != size {
			return errors.Join(err, fmt.Errorf("blob %s: %d of %d bytes: %w", d, n, size, catalog.ErrUnavailable))
		}
		_, err := blobstore.VerifyFile(ctx, f, d)
		return err
	})
}

// sleep waits and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
