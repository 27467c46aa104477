package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

const (
	grownFiles  = 1000 // of a package
	grownKeys   = 4    // of a file
	grownAtOnce = 5    // commands in a transaction of the catalog
)

// grow adds packages with so many keys to the catalog of a node that is not running, by
// the commands that pushes and verdicts come to. Their files all have the bytes of f,
// which the node holds, so that every key can be served.
//
// Afterwards the catalog says that it is at the log index it was at: the node's log does
// not have the commands, which would take twice the room of the catalog.
func grow(ctx context.Context, dataDir string, keys int, f *file) error {
	path := filepath.Join(dataDir, "fsm.db")
	info, err := raftfsm.Inspect(path)
	if err != nil {
		return err
	}
	before, err := place(path, nil)
	if err != nil {
		return err
	}
	fsm, err := raftfsm.Open(path)
	if err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // nearly all of it is garbage of commands
	g := &grower{fsm: fsm, file: f, index: info.AppliedIndex, term: info.AppliedTerm}
	if err := g.grow(ctx, (keys+grownFiles*grownKeys-1)/(grownFiles*grownKeys)); err != nil {
		return errors.Join(err, fsm.Close())
	}
	if err := fsm.Close(); err != nil {
		return err
	}
	_, err = place(path, before)
	return err
}

// A grower writes packages.
type grower struct {
	fsm         *raftfsm.FSM
	file        *file
	index, term uint64 // of the last command that was encoded
}

// grow adds so many packages. The next ones are encoded while one batch is applied.
func (g *grower) grow(ctx context.Context, packages int) error {
	batches := make(chan []*raft.Log, 4)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer close(batches)
		for p := range packages {
			log, err := g.encode(p)
			if err != nil {
				return err
			}
			for batch := range slices.Chunk(log, grownAtOnce) {
				select {
				case batches <- batch:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	work.Go(func() error {
		for batch := range batches {
			for i, r := range g.fsm.ApplyBatch(batch) {
				if err := r.(raftfsm.Result).AsError(); err != nil {
					return fmt.Errorf("command at %d: %w", batch[i].Index, err)
				}
			}
		}
		return nil
	})
	return work.Wait()
}

// encode returns the commands of package number p, found good.
func (g *grower) encode(p int) (log []*raft.Log, err error) {
	digest, err := catalog.ParseDigest(g.file.sha256)
	if err != nil {
		return nil, err
	}
	id := catalog.PackageID(fmt.Sprintf("01BENCH%019d", p))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	list := raftfsm.AddFiles{Package: id}
	for i := range grownFiles {
		list.Files = append(list.Files, raftfsm.FileEntry{Path: fmt.Sprintf("bin/module-%d-%d.pdb", p, i), Size: g.file.size, SHA256: digest})
	}
	commands := []raftfsm.Command{
		raftfsm.OpenPackage{ID: id, IdempotencyKey: string(id), Product: "bench", Version: fmt.Sprint(p), LeaseMillis: 3_600_000, At: at},
		list,
		raftfsm.CommitPackage{Package: id, Files: grownFiles, At: at},
		raftfsm.ClaimValidation{Package: id, Node: g.fsm.Members()[0].ID},
	}
	token := g.index + uint64(len(commands)) // the index that grants the claim
	for chunk := range slices.Chunk(grownReports(p), grownFiles/4) {
		commands = append(commands, raftfsm.AddKeys{Package: id, Token: token, Reports: chunk})
	}
	for _, c := range append(commands, raftfsm.RecordVerdict{Package: id, Token: token, Files: grownFiles, At: at}) {
		b, err := raftfsm.Encode(c)
		if err != nil {
			return nil, err
		}
		g.index++
		log = append(log, &raft.Log{Index: g.index, Term: g.term, Type: raft.LogCommand, Data: b})
	}
	return log, nil
}

func grownReports(p int) []catalog.FileReport {
	reports := make([]catalog.FileReport, grownFiles)
	for i := range reports {
		reports[i] = catalog.FileReport{No: i, Kind: catalog.KindPDB, Arch: "x86_64"}
		for k := range grownKeys {
			reports[i].Keys = append(reports[i].Keys, catalog.RankedKey{Key: grownKey(p, i, k), Rank: 5})
		}
	}
	return reports
}

// grownKey is a key of a file of package p. Those of one package are neighbours, as
// otherwise growing would take an hour.
func grownKey(p, i, k int) symid.Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d", p, i, k))
	var guid symid.GUID
	copy(guid[:], binary.BigEndian.AppendUint32(nil, uint32(p)*2654435))
	copy(guid[4:], sum[:])
	return symid.PDBKey(fmt.Sprintf("module-%d-%d.pdb", p, i), symid.DebugID{GUID: guid, Age: 1})
}

// placed are the fields of a catalog's head row that say where in the log it is;
// FORMAT.md of raftfsm has them.
var placed = []string{"applied_index", "applied_term", "last_command", "hash"}

// place writes those fields if they are given, and returns those that were there.
func place(path string, fields map[string]json.RawMessage) (was map[string]json.RawMessage, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	was = map[string]json.RawMessage{}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		head := map[string]json.RawMessage{}
		if err := json.Unmarshal(meta.Get([]byte("head")), &head); err != nil {
			return err
		}
		for _, name := range placed {
			if was[name] = head[name]; was[name] == nil {
				return fmt.Errorf("catalog %s: head row has no %q", path, name)
			}
		}
		maps.Copy(head, fields)
		b, err := json.Marshal(head)
		if err != nil {
			return err
		}
		return meta.Put([]byte("head"), b)
	})
	return was, errors.Join(err, db.Close())
}
