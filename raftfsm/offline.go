package raftfsm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// OpenReadOnly opens the catalog of a node that does not run, to look at it. The
// error is os.ErrNotExist if there is none. Views work; Apply and Restore do not.
func OpenReadOnly(path string) (*FSM, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second, PreLoadFreelist: true})
	if err != nil {
		return nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	var h *head
	err = db.View(func(tx *bolt.Tx) error {
		h, err = loadHead(tx)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalog %s: %w", path, err), db.Close())
	}
	f := &FSM{path: path, db: db, advance: make(chan struct{})}
	f.head.Store(h)
	return f, nil
}

// maxPageFaults bounds what CheckPages reports.
const maxPageFaults = 20

// CheckPages walks every page of the file and returns what is wrong with its
// structure, at most 20 faults. Nothing may write meanwhile.
func (f *FSM) CheckPages() (faults []string, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		for e := range tx.Check() { // to the end, or its goroutine would wait forever
			if len(faults) < maxPageFaults {
				faults = append(faults, e.Error())
			}
		}
		return nil
	})
	return faults, err
}

// VerifySnapshot reads a whole snapshot and compares it with its hash. Errors wrap
// ErrSnapshot unless they are r's own.
func VerifySnapshot(r io.Reader) (SnapshotInfo, error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	info, err := ReadSnapshotInfo(in)
	if err != nil {
		return info, err
	}
	if n, err := io.CopyN(io.Discard, in, info.Size); err != nil {
		return info, fmt.Errorf("snapshot: %d of %d bytes: %w: %w", n, info.Size, err, ErrSnapshot)
	}
	return info, checkTrailer(r, sum)
}
