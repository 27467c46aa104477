package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// errLocal marks a failure to read a file that was readable during the scan.
var errLocal = errors.New("cannot read a scanned file")

// A body streams one file from disk and hashes it again on the way. Its last
// bytes are given out only if the whole is what the scan saw, so that a file
// which changed can never arrive complete. It is read by one goroutine; failure
// and Close may be called from others.
type body struct {
	file  *File
	disk  *os.File
	hash  hash.Hash
	pos   int64
	moved func(pos int64) // after each read, sent or not; must not block

	mu  sync.Mutex
	err error
}

// openBody opens f at offset. The bytes before are hashed, not sent.
func openBody(ctx context.Context, f *File, offset int64, moved func(pos int64)) (*body, error) {
	disk, err := f.open()
	if err != nil {
		if errors.Is(err, ErrChanged) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", err, errLocal)
	}
	b := &body{file: f, disk: disk, hash: sha256.New(), moved: moved}
	err = b.skip(ctx, offset)
	if err == nil && offset == f.Size {
		err = b.verify()
	}
	if err != nil {
		disk.Close()
		return nil, err
	}
	return b, nil
}

func (b *body) skip(ctx context.Context, offset int64) error {
	buf := make([]byte, min(hashChunk, offset))
	for b.pos < offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(b.disk, buf[:min(int64(len(buf)), offset-b.pos)])
		b.hash.Write(buf[:n])
		b.pos += int64(n)
		if err != nil {
			return b.broken(err)
		}
		b.moved(b.pos)
	}
	return nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	left := b.file.Size - b.pos
	if left == 0 {
		return 0, io.EOF
	}
	n, err := b.disk.Read(p[:min(int64(len(p)), left)])
	b.hash.Write(p[:n])
	b.pos += int64(n)
	if b.pos < b.file.Size {
		if err != nil {
			return 0, b.fail(b.broken(err))
		}
	} else if err := b.verify(); err != nil {
		return 0, b.fail(err)
	}
	b.moved(b.pos)
	return n, nil
}

func (b *body) verify() error {
	if got := catalog.Digest(b.hash.Sum(nil)); got != b.file.SHA256 {
		return fmt.Errorf("%s: holds sha256 %s now, was %s: %w; wait for the build to finish and push again", b.file.Local, got, b.file.SHA256, ErrChanged)
	}
	return nil
}

// broken explains a read that gave less than the scan saw.
func (b *body) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: ends at %d, was %d bytes long: %w; wait for the build to finish and push again", b.file.Local, b.pos, b.file.Size, ErrChanged)
	}
	return fmt.Errorf("%w: %w", err, errLocal)
}

func (b *body) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	return err
}

// failure returns what was wrong with the file, whatever the transport made of it.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Close may be called more than once.
func (b *body) Close() error {
	b.disk.Close()
	return nil
}

// A watchdog ends an attempt that does not move.
type watchdog struct {
	context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

func newWatchdog(ctx context.Context, patience time.Duration) *watchdog {
	w := &watchdog{}
	w.Context, w.cancel = context.WithCancel(ctx)
	w.timer = time.AfterFunc(patience, w.cancel)
	return w
}

// feed gives the attempt more time.
func (w *watchdog) feed(patience time.Duration) { w.timer.Reset(patience) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel()
}
