package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

func backupCommand(env Env) *cobra.Command {
	return Group("backup", "save, verify and restore the catalog of a cluster", backupSave(env), backupVerify(env), backupRestore(env))
}

// A backupResult is what save and verify print with --json.
type backupResult struct {
	File      string            `json:"file"`
	OK        bool              `json:"ok"`
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Index     uint64            `json:"index"`
	Created   time.Time         `json:"created"`
	Bytes     int64             `json:"bytes"` // of the file
	Blobs     int64             `json:"blobs"` // that its catalog needs
	BlobBytes int64             `json:"blob_bytes"`

	Fetched      int64            `json:"fetched,omitempty"` // blobs brought to --blobs now
	FetchedBytes int64            `json:"fetched_bytes,omitempty"`
	There        int64            `json:"there,omitempty"`   // sound in --blobs already
	Missing      int64            `json:"missing,omitempty"` // not in --blobs
	Damaged      int64            `json:"damaged,omitempty"` // in --blobs
	NotHeld      int64            `json:"not_held,omitempty"`
	Lost         []catalog.Digest `json:"lost,omitempty"` // the first 1000 of those that are missing, damaged or not held
}

func (b *backupResult) describe(info raftfsm.BackupInfo) {
	b.ClusterID, b.Index, b.Created = info.ClusterID, info.AppliedIndex, info.Created
	b.Bytes, b.Blobs, b.BlobBytes = info.Size(), info.Blobs, info.BlobBytes
}

func backupSave(env Env) *cobra.Command {
	var r remote
	var blobs string
	c := &cobra.Command{
		Use:   "save FILE",
		Short: "save the catalog of a running cluster to a file, and its blobs to a directory",
		Long: "Saves the catalog as it is now, all that was acknowledged included, from any node. FILE\n" +
			"appears, or is replaced, only once it is whole and durable. With --blobs every blob that\n" +
			"the catalog needs is brought to DIR/ab/cd/DIGEST unless it is there already and sound, so\n" +
			"that one directory serves many backups, and an interrupted one goes on where it ended. A\n" +
			"backup without blobs is worth as much as the disks they are on.",
		Example: "  symkeep backup save /backup/symkeep-monday.bak --server http://symbols:8480\n" +
			"  symkeep backup save /backup/symkeep.bak --blobs /backup/blobs --server http://symbols:8480 --json",
		Args: Args(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.saveBackup(cmd.Context(), env, args[0], blobs)
		},
	}
	r.flags(c.Flags())
	c.Flags().StringVar(&blobs, "blobs", "", "bring the blobs to this `DIR` as well")
	return c
}

func (r *remote) saveBackup(ctx context.Context, env Env, file, dir string) error {
	clients, err := Dial(r.servers)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	out := backupResult{File: file}
	info, err := saveCatalog(ctx, clients, file)
	if err != nil {
		return err
	}
	out.describe(info)
	if dir != "" {
		keep := &keeper{clients: clients, dir: dir, env: env, out: &out}
		if err := keep.all(ctx, file); err != nil {
			return err
		}
	}
	out.OK = len(out.Lost) == 0
	return finish(printer{env, r.json}, out, func(w io.Writer) error {
		fmt.Fprintf(w, "%s: catalog of cluster %s at index %d, %s; it needs %s, %s\n", file, out.ClusterID, out.Index,
			agent.Size(out.Bytes), plural(out.Blobs, "blob"), agent.Size(out.BlobBytes))
		if dir == "" {
			return nil
		}
		_, err := fmt.Fprintf(w, "%s: %s brought (%s), %d there already\n", dir, plural(out.Fetched, "blob"), agent.Size(out.FetchedBytes), out.There)
		return errors.Join(err, writeLost(w, out, "could not be brought; run the command again"))
	})
}

func closeAll(clients []*api.Client) {
	for _, c := range clients {
		c.Close()
	}
}

// finish prints a result; one that is not OK ends with ExitFailure.
func finish(p printer, out backupResult, text func(io.Writer) error) error {
	err := p.print(out, text)
	if err == nil && !out.OK {
		err = &ExitError{Code: ExitFailure}
	}
	return err
}

func writeLost(w io.Writer, out backupResult, what string) error {
	if len(out.Lost) == 0 {
		return nil
	}
	n := max(out.Missing+out.Damaged+out.NotHeld, int64(len(out.Lost)))
	_, err := fmt.Fprintf(w, "%s %s:\n", plural(n, "blob"), what)
	for _, d := range out.Lost[:min(20, len(out.Lost))] {
		_, err = fmt.Fprintf(w, "  %s\n", d)
	}
	return err
}

// saveCatalog takes the backup file from the first server that gives a whole one.
func saveCatalog(ctx context.Context, clients []*api.Client, file string) (raftfsm.BackupInfo, error) {
	var failed error
	for _, c := range clients {
		info, err := saveFrom(ctx, c, file)
		if err == nil || ctx.Err() != nil {
			return info, err
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", c.Base(), err))
		if !errors.Is(err, catalog.ErrUnavailable) {
			break
		}
	}
	return raftfsm.BackupInfo{}, failed
}

func saveFrom(ctx context.Context, c *api.Client, file string) (info raftfsm.BackupInfo, err error) {
	ctx, alive, stop := watchStall(ctx)
	defer stop()
	body, _, err := c.Backup(ctx)
	if err != nil {
		return info, err
	}
	defer body.Close()
	err = writeWhole(file, func(f *os.File) error {
		info, err = raftfsm.VerifyBackup(io.TeeReader(alive(body), f), nil)
		if errors.Is(err, raftfsm.ErrBackup) { // cut on the way: another server may do better
			err = fmt.Errorf("%w: %w", err, catalog.ErrUnavailable)
		}
		return err
	})
	return info, err
}

// leftAfter is the age at which a temporary file is taken for that of a process that
// ended halfway.
const leftAfter = 48 * time.Hour

// writeWhole writes a file that appears under its name only once it is whole and
// durable. Others may write the same one meanwhile, as a backup does that begins while
// the last one goes on: each has a temporary file of its own.
func writeWhole(path string, write func(f *os.File) error) error {
	left, err := filepath.Glob(path + ".*.tmp")
	if err != nil {
		left = nil // the name is a pattern of its own; nothing is tidied up then
	}
	for _, old := range left {
		if st, err := os.Stat(old); err == nil && time.Since(st.ModTime()) > leftAfter {
			os.Remove(old)
		}
	}
	tmp := fmt.Sprintf("%s.%016x.tmp", path, rand.Uint64())
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if runtime.GOOS == "windows" { // there a directory cannot be synced
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// stallTime is how long a server may send nothing.
const stallTime = 30 * time.Second

var errStalled = fmt.Errorf("the server has sent nothing for %s: %w", stallTime, catalog.ErrUnavailable)

// watchStall returns a context that ends when a body, read through alive, gives
// nothing for stallTime.
func watchStall(ctx context.Context) (_ context.Context, alive func(io.Reader) io.Reader, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(stallTime, func() { cancel(errStalled) })
	alive = func(r io.Reader) io.Reader { return aliveReader{r, t, ctx} }
	return ctx, alive, func() { t.Stop(); cancel(nil) }
}

type aliveReader struct {
	io.Reader
	t   *time.Timer
	ctx context.Context
}

// Read implements io.Reader.
func (a aliveReader) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.t.Reset(stallTime)
	if cause := context.Cause(a.ctx); err != nil && cause != nil {
		err = cause
	} else if err != nil && err != io.EOF {
		err = fmt.Errorf("answer cut: %v: %w", err, catalog.ErrUnavailable)
	}
	return n, err
}

func backupVerify(env Env) *cobra.Command {
	var r remote
	var blobs string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "check a backup file, the blobs beside it, and what the cluster holds of them",
		Long: "Reads FILE to its end and compares it with its hash. With --blobs every byte of every\n" +
			"blob that it needs is read and compared too. With --server the cluster is asked whether\n" +
			"it still holds each of them.",
		Example: "  symkeep backup verify /backup/symkeep.bak --blobs /backup/blobs",
		Args:    Args(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.verifyBackup(cmd.Context(), env, args[0], blobs)
		},
	}
	r.flags(c.Flags())
	c.Flags().Lookup("server").Usage = "also ask the cluster at this `URL`"
	c.Flags().StringVar(&blobs, "blobs", "", "also read the blobs in this `DIR`")
	return c
}

func (r *remote) verifyBackup(ctx context.Context, env Env, file, dir string) error {
	out := backupResult{File: file}
	info, err := eachBackupBlob(file, nil)
	if err != nil {
		return err
	}
	out.describe(info)
	if dir != "" {
		keep := &keeper{dir: dir, env: env, out: &out}
		if err := keep.all(ctx, file); err != nil {
			return err
		}
	}
	if len(r.servers) > 0 {
		if err := r.askHeld(ctx, file, &out); err != nil {
			return err
		}
	}
	out.OK = len(out.Lost) == 0
	return finish(printer{env, r.json}, out, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is whole: catalog of cluster %s at index %d, saved %s; it needs %s, %s\n", file, out.ClusterID, out.Index,
			stamp(out.Created), plural(out.Blobs, "blob"), agent.Size(out.BlobBytes))
		if dir != "" {
			fmt.Fprintf(w, "%s: %d sound, %d missing, %d damaged\n", dir, out.There, out.Missing, out.Damaged)
		}
		if len(r.servers) > 0 {
			fmt.Fprintf(w, "cluster: does not hold %s\n", plural(out.NotHeld, "blob"))
		}
		return errors.Join(err, writeLost(w, out, "cannot be relied on"))
	})
}

// eachBackupBlob reads a whole backup file.
func eachBackupBlob(file string, each func(raftfsm.BackupBlob) error) (raftfsm.BackupInfo, error) {
	f, err := os.Open(file)
	if err != nil {
		return raftfsm.BackupInfo{}, err
	}
	defer f.Close()
	info, err := raftfsm.VerifyBackup(f, each)
	if err != nil {
		return info, fmt.Errorf("%s: %w", file, err)
	}
	return info, nil
}

// askHeld counts the blobs that the cluster has no copy of any more.
func (r *remote) askHeld(ctx context.Context, file string, out *backupResult) error {
	var page []catalog.Digest
	ask := func() error {
		var states []api.BlobState
		err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
			states, err = c.BlobStates(ctx, page)
			return err
		})
		if err != nil {
			return err
		}
		for i, s := range states {
			if len(s.Holders) == 0 {
				out.NotHeld++
				out.lose(page[i])
			}
		}
		page = page[:0]
		return nil
	}
	_, err := eachBackupBlob(file, func(b raftfsm.BackupBlob) error {
		if page = append(page, b.Digest); len(page) < api.MaxHave {
			return nil
		}
		return ask()
	})
	if err == nil && len(page) > 0 {
		err = ask()
	}
	return err
}

// maxLost bounds the digests that a result names.
const maxLost = 1000

func (b *backupResult) lose(d catalog.Digest) {
	if len(b.Lost) < maxLost {
		b.Lost = append(b.Lost, d)
	}
}
